/* Options of containers that no other program here sets, and being connected to a program. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "check.h"

/* What inspect says of a container that is made with a specification, and not started. The specification is deleted. */
static coble_string_t *described(coble_engine_t *engine, coble_container_spec_t *spec) {
  coble_error_t *error = NULL;
  coble_container_t *container = NULL;
  coble_container_details_t *details = NULL;
  coble_string_t *json = NULL;
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_inspect(container, &details, &error));
  CHECK_OK(coble_container_details_json(details, &json, &error));
  coble_container_details_delete(details);
  CHECK_OK(coble_container_remove(container, 0, &error));
  coble_container_delete(container);
  return json;
}

static void has(const coble_string_t *json, const char *text) {
  if (strstr(coble_string_data(json), text) == NULL) {
    (void)fprintf(stderr, "%s is not in %s\n", text, coble_string_data(json));
    exit(1);
  }
}

static void limits(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("true");
  coble_container_t *container = NULL;
  coble_string_t *json = NULL;
  CHECK_OK(coble_container_spec_set_mem_limit(spec, 64 << 20, &error));
  CHECK_OK(coble_container_spec_set_mem_reservation(spec, 32 << 20, &error));
  CHECK_OK(coble_container_spec_set_memswap_limit(spec, 128 << 20, &error));
  CHECK_OK(coble_container_spec_set_mem_swappiness(spec, 10, &error));
  CHECK_OK(coble_container_spec_set_oom_kill_disable(spec, 1, &error));
  CHECK_FAILS(coble_container_spec_set_oom_kill_disable(spec, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_oom_score_adj(spec, 500, &error));
  CHECK_OK(coble_container_spec_set_cpu_shares(spec, 512, &error));
  CHECK_OK(coble_container_spec_set_cpu_quota(spec, 50000, &error));
  CHECK_OK(coble_container_spec_set_cpu_period(spec, 100000, &error));
  CHECK_OK(coble_container_spec_set_cpuset_cpus(spec, "0", &error));
  CHECK_OK(coble_container_spec_set_cpuset_mems(spec, "0", &error));
  CHECK_OK(coble_container_spec_set_pids_limit(spec, 100, &error));
  CHECK_OK(coble_container_spec_set_blkio_weight(spec, 300, &error));
  CHECK_OK(coble_container_spec_add_unified(spec, "memory.high", "1000000", &error));
  json = described(engine, spec);
  has(json, "\"mem_reservation\":33554432");
  has(json, "\"memswap_limit\":134217728");
  has(json, "\"mem_swappiness\":10");
  has(json, "\"oom_kill_disable\":true");
  has(json, "\"oom_score_adj\":500");
  has(json, "\"cpu_shares\":512");
  has(json, "\"cpu_quota\":50000");
  has(json, "\"cpu_period\":100000");
  has(json, "\"cpuset_cpus\":\"0\"");
  has(json, "\"cpuset_mems\":\"0\"");
  has(json, "\"pids_limit\":100");
  has(json, "\"blkio_weight\":300");
  has(json, "memory.high");
  coble_string_delete(json);

  spec = shell("true");
  CHECK_OK(coble_container_spec_set_nano_cpus(spec, 500000000, &error));
  json = described(engine, spec);
  has(json, "\"nano_cpus\":500000000");
  coble_string_delete(json);

  /* Devices are looked up when the container starts; what is no device is refused. */
  spec = shell("true");
  CHECK_OK(coble_container_spec_add_blkio_weight_device(spec, "/dev/null", 100, &error));
  CHECK_OK(coble_container_spec_add_device_read_bps(spec, "/dev/null", 1000, &error));
  CHECK_OK(coble_container_spec_add_device_read_iops(spec, "/dev/null", 1000, &error));
  CHECK_OK(coble_container_spec_add_device_write_bps(spec, "/dev/null", 1000, &error));
  CHECK_OK(coble_container_spec_add_device_write_iops(spec, "/dev/null", 1000, &error));
  CHECK_FAILS(coble_engine_run(engine, spec, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
  CHECK(container == NULL);
}

static void isolation(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("test -c /dev/null && test -e /dev/full2 && cat /proc/1/comm");
  coble_run_result_t *result = NULL;
  const coble_isolation_t *got = NULL;
  const char *entrypoint[2] = {"sh", "-c"};
  const char *command[1] = {"exit 6"};
  size_t index;
  int found = 0, rules = 0;
  int32_t code;
  coble_status_t status;

  CHECK_OK(coble_container_spec_add_capability(spec, "SYS_NICE", &error));
  CHECK_OK(coble_container_spec_add_device(spec, "/dev/full:/dev/full2:rw", &error));
  CHECK_FAILS(coble_container_spec_add_device(spec, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_add_device_cgroup_rule(spec, "c 1:* rw", &error));
  CHECK_FAILS(coble_container_spec_add_device_cgroup_rule(spec, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_init(spec, 1, &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  coble_container_spec_delete(spec);
  CHECK(coble_run_result_exit_code(result) == 0 && !stdout_is(result, "sh\n"));
  got = coble_run_result_isolation(result);
  for (index = 0; index < coble_isolation_capability_count(got); index++) {
    found += strcmp(coble_isolation_capability(got, index), "CAP_SYS_NICE") == 0;
  }
  CHECK(found == 1);
  CHECK(coble_isolation_landlock_count(got) == 0 && coble_isolation_landlock(got, 0) == NULL);
  CHECK(strcmp(coble_isolation_seccomp_profile(got), "default") == 0 && coble_isolation_apparmor(got) == NULL);
  CHECK(coble_isolation_umask(got) == 022 && coble_isolation_umask(NULL) == UINT32_MAX);
  for (index = 0; index < coble_isolation_device_rule_count(got); index++) {
    CHECK(coble_isolation_device_rule(got, index)[0] == 'c' || coble_isolation_device_rule(got, index)[0] == 'b');
  }
  CHECK(coble_isolation_device_rule(got, index) == NULL && coble_isolation_device_rule_count(NULL) == 0);
  CHECK(coble_run_result_timing_ns(result, 0) > 0);
  for (index = 0; index < coble_run_result_warning_count(result); index++) {
    CHECK(strlen(coble_run_result_warning_message(result, index)) > 0);
  }
  CHECK(coble_run_result_warning_message(result, index) == NULL);
  coble_run_result_delete(result);

  /* The kernel may have no Landlock. */
  spec = shell("true");
  CHECK_OK(coble_container_spec_add_security_opt(spec, "landlock=write:/tmp", &error));
  CHECK_OK(coble_container_spec_add_security_opt(spec, "landlock=exec:/", &error));
  CHECK_FAILS(coble_container_spec_add_security_opt(spec, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  status = coble_engine_run(engine, spec, NULL, NULL, &result, &error);
  coble_container_spec_delete(spec);
  if (status == COBLE_OK) {
    got = coble_run_result_isolation(result);
    CHECK(coble_isolation_landlock_count(got) == 2);
    for (index = 0; index < 2; index++) {
      rules += strcmp(coble_isolation_landlock(got, index), "write:/tmp") == 0;
      rules += strcmp(coble_isolation_landlock(got, index), "exec:/") == 0;
    }
    CHECK(rules == 2 && coble_isolation_landlock(got, 2) == NULL);
    coble_run_result_delete(result);
  } else {
    CHECK(status == COBLE_ERR_UNSUPPORTED);
    coble_error_delete(error);
    error = NULL;
  }

  /* An entrypoint takes the command as its arguments. */
  CHECK_OK(coble_container_spec_new(IMAGE, &spec, &error));
  CHECK_OK(coble_container_spec_set_entrypoint(spec, entrypoint, 2, &error));
  CHECK_OK(coble_container_spec_set_command(spec, command, 1, &error));
  CHECK_OK(coble_container_spec_set_privileged(spec, 1, &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  coble_container_spec_delete(spec);
  CHECK(coble_run_result_exit_code(result) == 6);
  CHECK(strcmp(coble_isolation_seccomp(coble_run_result_isolation(result)), "filter") != 0);
  coble_run_result_delete(result);

  /* Where there is one id only, there is one group only. */
  spec = shell("true");
  CHECK_OK(coble_container_spec_add_group(spec, "12", &error));
  status = coble_engine_run(engine, spec, NULL, NULL, &result, &error);
  coble_container_spec_delete(spec);
  if (status == COBLE_OK) {
    code = coble_run_result_exit_code(result);
    CHECK(code == 0);
    coble_run_result_delete(result);
  } else {
    CHECK(geteuid() != 0 && strlen(coble_error_message(error)) > 0);
    (void)coble_error_hint(error);
    coble_error_delete(error);
    error = NULL;
  }
}

/* Roots that are no image's, hooks, and errors that name what is wrong. */
static void other_roots(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = NULL;
  coble_container_t *container = NULL;
  coble_string_t *json = NULL;
  coble_run_result_t *result = NULL;
  int32_t code = 0;
  const char *command[3] = {"/bin/sh", "-c", "test -d /usr && echo root"};

  CHECK_OK(coble_container_spec_new("", &spec, &error));
  CHECK_OK(coble_container_spec_set_rootfs(spec, "/", &error));
  CHECK_OK(coble_container_spec_set_command(spec, command, 3, &error));
  /* The root of this host may be what the store is in, which cannot be below an overlay of itself. */
  if (coble_engine_run(engine, spec, NULL, NULL, &result, &error) == COBLE_OK) {
    CHECK(stdout_is(result, "root\n"));
    coble_run_result_delete(result);
  } else {
    CHECK(strlen(coble_error_message(error)) > 0);
    coble_error_delete(error);
    error = NULL;
  }
  CHECK_OK(coble_container_spec_set_rootfs(spec, "/no/such/directory", &error));
  CHECK(coble_container_create(engine, spec, &container, &error) != COBLE_OK);
  CHECK(container == NULL && coble_error_errno(error) == ENOENT);
  CHECK(strstr(coble_error_message(error), "/no/such/directory") != NULL);
  coble_error_delete(error);
  error = NULL;
  CHECK_OK(coble_container_spec_set_rootfs(spec, NULL, &error));
  CHECK_OK(coble_container_spec_set_bundle(spec, "/no/such/bundle", &error));
  CHECK(coble_container_create(engine, spec, &container, &error) != COBLE_OK);
  CHECK(strstr(coble_error_message(error), "/no/such/bundle") != NULL);
  coble_error_delete(error);
  error = NULL;
  coble_container_spec_delete(spec);

  spec = shell("true");
  CHECK_FAILS(coble_container_spec_set_hooks(spec, "no json", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_hooks(spec, "{\"poststop\": [{\"path\": \"/bin/true\"}]}", &error));
  CHECK_OK(coble_container_spec_set_log_driver(spec, "json-file", &error));
  CHECK_OK(coble_container_spec_add_log_opt(spec, "max-size", "1m", &error));
  CHECK_OK(coble_container_spec_set_auto_remove(spec, 0, &error));
  json = described(engine, spec);
  has(json, "/bin/true");
  has(json, "\"log_driver\":\"json-file\"");
  has(json, "max-size");
  coble_string_delete(json);

  spec = shell("true");
  CHECK_OK(coble_container_spec_set_auto_remove(spec, 1, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_wait_until(container, COBLE_WAIT_REMOVED, 60000, NULL, &code, &error));
  CHECK_FAILS(coble_container_start(container, NULL, NULL, &error), COBLE_ERR_CONTAINER_NOT_FOUND);
  coble_container_delete(container);
}

static void read_to_end(int fd, const char *expected) {
  char text[256];
  size_t length = 0;
  ssize_t got;
  while ((got = read(fd, text + length, sizeof text - 1 - length)) > 0) {
    length += (size_t)got;
  }
  text[length] = '\0';
  if (strcmp(text, expected) != 0) {
    (void)fprintf(stderr, "%s instead of %s\n", text, expected);
    exit(1);
  }
  CHECK(close(fd) == 0);
}

static void connected(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("cat; echo end; exit 3");
  coble_container_t *container = NULL;
  coble_process_t *process = NULL;
  coble_attach_options_t options;
  int32_t code = -1;
  int pipes[2], fd;

  CHECK_OK(coble_container_spec_set_stdin_open(spec, 1, &error));
  CHECK_OK(coble_container_spec_set_stdin_once(spec, 1, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.streams = COBLE_ATTACH_STDIN | COBLE_ATTACH_STDOUT;
  CHECK_FAILS(coble_container_attach(container, &options, &process, &error), COBLE_ERR_INVALID_STATE);
  CHECK_OK(coble_container_start_attached(container, &options, NULL, &process, &error));
  fd = coble_process_take_stdin(process);
  CHECK(write(fd, "given\n", 6) == 6 && close(fd) == 0);
  read_to_end(coble_process_take_stdout(process), "given\nend\n");
  CHECK_OK(coble_process_wait(process, 60000, NULL, &code, &error));
  CHECK(code == 3);
  coble_process_delete(process);

  /* At its reader's pace, and with a descriptor of ours to read from. */
  CHECK(pipe(pipes) == 0);
  CHECK(write(pipes[1], "own\n", 4) == 4 && close(pipes[1]) == 0);
  options.streams = COBLE_ATTACH_STDOUT;
  options.paced = 1;
  options.input.mode = COBLE_STREAM_FD;
  options.input.fd = pipes[0];
  CHECK_FAILS(coble_container_attach(container, &options, &process, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.reserved = 1;
  CHECK_FAILS(coble_container_start_attached(container, &options, NULL, &process, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.reserved = 0;
  CHECK_OK(coble_container_start_attached(container, &options, NULL, &process, &error));
  CHECK(close(pipes[0]) == 0);
  read_to_end(coble_process_take_stdout(process), "own\nend\n");
  CHECK_OK(coble_process_wait(process, 60000, NULL, &code, &error));
  coble_process_delete(process);
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_container_delete(container);
}

static void terminals(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("sleep 1000");
  coble_container_t *container = NULL;
  coble_exec_spec_t *exec = NULL;
  coble_process_t *process = NULL;
  coble_stdio_t stdio;
  coble_string_t *json = NULL;
  const char *sleeper[2] = {"sleep", "1000"};
  char block[512];
  int pipes[2];
  int32_t code = -1;

  CHECK_OK(coble_container_spec_set_tty(spec, 1, &error));
  CHECK_FAILS(coble_container_spec_set_tty(spec, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_console_size(spec, 30, 100, &error));
  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_FAILS(coble_container_resize(container, 10, 20, &error), COBLE_ERR_INVALID_STATE);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_resize(container, 10, 20, &error));
  CHECK_OK(coble_container_attach(container, NULL, &process, &error));
  CHECK_OK(coble_process_detach(process, &error));
  coble_process_delete(process);

  CHECK_OK(coble_exec_spec_new(sleeper, 2, &exec, &error));
  CHECK_OK(coble_exec_spec_set_tty(exec, 1, &error));
  CHECK_FAILS(coble_exec_spec_set_privileged(exec, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_exec_spec_set_privileged(exec, 1, &error));
  CHECK_OK(coble_exec_spec_set_console_size(exec, 10, 20, &error));
  memset(&stdio, 0, sizeof stdio);
  stdio.size = sizeof stdio;
  stdio.stdout_stream.mode = COBLE_STREAM_PIPE;
  stdio.stdin_stream.mode = stdio.stderr_stream.mode = COBLE_STREAM_NULL;
  CHECK_OK(coble_container_popen(container, exec, &stdio, &process, &error));
  coble_exec_spec_delete(exec);
  CHECK_OK(coble_process_resize(process, 11, 21, &error));
  CHECK_OK(coble_process_detach(process, &error));
  CHECK_FAILS(coble_process_resize(process, 11, 21, &error), COBLE_ERR_INVALID_STATE);
  CHECK_FAILS(coble_process_wait(process, 0, NULL, &code, &error), COBLE_ERR_TIMEOUT);
  if (getenv("UNDER_VALGRIND") == NULL) {
    CHECK_OK(coble_process_send_signal(process, SIGKILL, &error));
  } else {
    /* It does not know pidfd_send_signal. */
    CHECK_FAILS(coble_process_send_signal(process, SIGKILL, &error), COBLE_ERR_UNSUPPORTED);
    CHECK_OK(coble_container_kill(container, SIGKILL, &error));
  }
  CHECK_OK(coble_process_wait(process, 60000, NULL, &code, &error));
  CHECK(code == 137);
  coble_process_delete(process);

  if (getenv("UNDER_VALGRIND") != NULL) {
    /* The container ends a moment after its programs. */
    CHECK_OK(coble_container_wait(container, 60000, NULL, &code, &error));
    CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  }
  CHECK(pipe(pipes) == 0);
  CHECK_OK(coble_container_get_archive_fd(container, "/etc/hostname", pipes[1], 0, NULL, &json, &error));
  coble_string_delete(json);
  CHECK(close(pipes[1]) == 0);
  CHECK(read(pipes[0], block, sizeof block) == (ssize_t)sizeof block && strcmp(block, "hostname") == 0);
  CHECK(close(pipes[0]) == 0);
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_container_delete(container);
}

/* What was asked for and what there is, in words. */
static void limits_in_words(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("true");
  coble_run_result_t *result = NULL;
  const coble_isolation_t *got = NULL;
  uint64_t applied = 0;
  CHECK_OK(coble_container_spec_set_pids_limit(spec, 64, &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  coble_container_spec_delete(spec);
  got = coble_run_result_isolation(result);
  CHECK(coble_isolation_limit_count(got) == 1);
  CHECK(strcmp(coble_isolation_limit_requested_text(got, 0), "64") == 0);
  if (coble_isolation_limit_applied(got, 0, &applied)) {
    CHECK(strcmp(coble_isolation_limit_applied_text(got, 0), "64") == 0);
  } else {
    CHECK(coble_isolation_limit_applied_text(got, 0) == NULL);
  }
  CHECK(coble_isolation_limit_requested_text(got, 1) == NULL);
  coble_run_result_delete(result);
}

/* There is no server here that searches. */
static void nothing_found(void) {
  coble_error_t *error = NULL;
  coble_string_t *json = NULL;
  CHECK(coble_search_results_count(NULL) == 0);
  CHECK(coble_search_results_name(NULL, 0) == NULL);
  CHECK(coble_search_results_description(NULL, 0) == NULL);
  CHECK(coble_search_results_stars(NULL, 0) == 0);
  CHECK(coble_search_results_official(NULL, 0) == 0);
  CHECK(coble_search_results_automated(NULL, 0) == 0);
  CHECK_FAILS(coble_search_results_json(NULL, &json, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_search_results_delete(NULL);
}

int main(int argc, char **argv) {
  coble_engine_t *engine = open_engine(argc, argv);
  limits(engine);
  isolation(engine);
  other_roots(engine);
  connected(engine);
  terminals(engine);
  limits_in_words(engine);
  nothing_found();
  coble_engine_delete(engine);
  return 0;
}
