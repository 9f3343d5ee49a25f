/* Containers: their life, logs, other programs in them. */

#include <signal.h>
#include <unistd.h>

#include "check.h"

static void own_ids(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("true");
  coble_container_t *container = NULL;

  CHECK_FAILS(coble_container_spec_set_userns_mode(spec, "somebody", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_userns_mode(spec, "keep-id:uid=somebody", &error), COBLE_ERR_INVALID_ARGUMENT);
  if (geteuid() == 0) {
    CHECK_OK(coble_container_spec_set_userns_mode(spec, "keep-id", &error));
    CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_UNSUPPORTED);
  }
  CHECK_OK(coble_container_spec_set_userns_mode(spec, "private", &error));
  CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_add_uidmap(spec, "0:100000:65536", &error));
  CHECK_OK(coble_container_spec_add_gidmap(spec, "1:100000:65536", &error));
  CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK(container == NULL);
  coble_container_spec_delete(spec);
}

static void a_life(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("echo \"$A $B\"; echo to-err >&2; exit 4");
  coble_container_t *container = NULL;
  coble_container_t *second = NULL;
  coble_container_list_t *list = NULL;
  coble_log_stream_t *stream = NULL;
  coble_log_options_t options;
  const coble_container_summary_t *summary = NULL;
  const coble_log_record_t *record = NULL;
  coble_string_t *json = NULL;
  coble_container_details_t *details = NULL;
  int32_t number = -1;
  size_t index;
  int found = 0, sources = 0;

  CHECK_OK(coble_container_spec_set_name(spec, "a-life", &error));
  CHECK_OK(coble_container_spec_add_environment(spec, "A", "one", &error));
  CHECK_OK(coble_container_spec_add_environment(spec, "B", "two", &error));
  CHECK_OK(coble_container_spec_add_label(spec, "k", "v", &error));
  CHECK_OK(coble_container_spec_set_hostname(spec, "host-of-test", &error));
  CHECK_OK(coble_container_spec_set_working_dir(spec, "/", &error));
  CHECK_OK(coble_container_spec_set_user(spec, "0:0", &error));
  CHECK_OK(coble_container_spec_set_stop_signal(spec, "INT", &error));
  CHECK_OK(coble_container_spec_set_stop_timeout(spec, 1, &error));
  CHECK_OK(coble_container_spec_set_shm_size(spec, 1 << 20, &error));
  CHECK_OK(coble_container_spec_add_host(spec, "other", "10.0.0.1", &error));
  CHECK_OK(coble_container_spec_add_dns(spec, "10.0.0.2", &error));
  CHECK_OK(coble_container_spec_add_dns_search(spec, "a.example", &error));
  CHECK_OK(coble_container_spec_add_dns_opt(spec, "ndots:2", &error));
  CHECK_OK(coble_container_spec_set_domainname(spec, "b.example", &error));
  CHECK_OK(coble_container_spec_set_tz(spec, "UTC", &error));
  CHECK_OK(coble_container_spec_set_tz(spec, NULL, &error));
  CHECK_OK(coble_container_spec_set_passwd(spec, 1, &error));
  CHECK_OK(coble_container_spec_set_passwd_entry(spec, "$USERNAME:x:$UID:$GID:Me:$HOME:/bin/sh", &error));
  CHECK_OK(coble_container_spec_set_group_entry(spec, "$GROUPNAME:x:$GID:", &error));
  CHECK_OK(coble_container_spec_set_pid_mode(spec, "private", &error));
  CHECK_OK(coble_container_spec_set_ipc_mode(spec, "shareable", &error));
  CHECK_OK(coble_container_spec_set_uts_mode(spec, "private", &error));
  CHECK_OK(coble_container_spec_set_cgroupns(spec, "private", &error));
  CHECK_FAILS(coble_container_spec_set_pid_mode(spec, "somebody", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_network_of(spec, "nobody", &error));
  CHECK_OK(coble_container_spec_set_cgroup_parent(spec, "../x", &error));
  CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_cgroup_parent(spec, NULL, &error));
  CHECK_OK(coble_container_spec_drop_capability(spec, "NET_RAW", &error));
  CHECK_OK(coble_container_spec_set_network(spec, COBLE_NETWORK_NONE, &error));
  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_DETACHED, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  CHECK(strlen(coble_container_id(container)) == 64);
  CHECK(strcmp(coble_container_name(container), "a-life") == 0);
  CHECK_FAILS(coble_container_create(engine, spec, &second, &error), COBLE_ERR_NAME_IN_USE);
  coble_container_spec_delete(spec);

  CHECK_OK(coble_container_state(container, &number, &error));
  CHECK(number == COBLE_STATE_CREATED);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_wait(container, 60000, NULL, &number, &error));
  CHECK(number == 4);
  CHECK_OK(coble_container_state(container, &number, &error));
  CHECK(number == COBLE_STATE_EXITED);
  CHECK_FAILS(coble_container_kill(container, SIGTERM, &error), COBLE_ERR_INVALID_STATE);

  CHECK_OK(coble_container_logs(container, NULL, &stream, &error));
  for (;;) {
    CHECK_OK(coble_log_stream_next(stream, NULL, &record, &error));
    if (record == NULL) {
      break;
    }
    sources |= coble_log_record_source(record);
    CHECK(coble_log_record_time_ns(record) > 1000000000);
    CHECK(coble_log_record_data(record, NULL) != NULL);
  }
  CHECK(sources == (COBLE_LOG_STDOUT | COBLE_LOG_STDERR));
  coble_log_stream_delete(stream);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.sources = COBLE_LOG_STDOUT;
  options.tail = 1;
  CHECK_OK(coble_container_logs(container, &options, &stream, &error));
  CHECK_OK(coble_log_stream_try_next(stream, &record, &error));
  CHECK(record_is(record, "one two\n"));
  CHECK_OK(coble_log_stream_try_next(stream, &record, &error));
  CHECK(record == NULL);
  CHECK_OK(coble_log_stream_next(stream, NULL, &record, &error));
  CHECK(record == NULL);
  coble_log_stream_delete(stream);
  options.sources = 4;
  CHECK_FAILS(coble_container_logs(container, &options, &stream, &error), COBLE_ERR_INVALID_ARGUMENT);

  CHECK_OK(coble_container_list(engine, 1, &list, &error));
  for (index = 0; index < coble_container_list_count(list); index++) {
    summary = coble_container_list_get(list, index);
    if (strcmp(coble_container_summary_id(summary), coble_container_id(container)) == 0) {
      found++;
      CHECK(strcmp(coble_container_summary_name(summary), "a-life") == 0);
      CHECK(strcmp(coble_container_summary_image(summary), IMAGE) == 0);
      CHECK(strncmp(coble_container_summary_image_id(summary), "sha256:", 7) == 0);
      CHECK(coble_container_summary_state(summary) == COBLE_STATE_EXITED);
      CHECK(coble_container_summary_exit_code(summary) == 4);
      CHECK(coble_container_summary_created(summary)[4] == '-');
      CHECK(coble_container_summary_started_at(summary)[4] == '-');
      CHECK(coble_container_summary_finished_at(summary)[4] == '-');
      CHECK_OK(coble_container_summary_json(summary, &json, &error));
      CHECK(strstr(coble_string_data(json), "\"labels\":{\"k\":\"v\"}") != NULL);
      coble_string_delete(json);
    }
  }
  CHECK(found == 1);
  coble_container_list_delete(list);

  CHECK_OK(coble_container_inspect(container, &details, &error));
  summary = coble_container_details_summary(details);
  CHECK(coble_container_summary_exit_code(summary) == 4);
  CHECK(coble_container_details_pid(details) == -1);
  CHECK(coble_container_details_error(details) == NULL);
  CHECK_OK(coble_container_details_json(details, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"exit_code\":4") != NULL);
  coble_string_delete(json);
  coble_container_details_delete(details);
  CHECK_OK(coble_container_get(engine, "a-life", &second, &error));
  CHECK(strcmp(coble_container_id(container), coble_container_id(second)) == 0);
  CHECK_OK(coble_container_remove(second, 0, &error));
  CHECK_FAILS(coble_container_remove(container, 0, &error), COBLE_ERR_CONTAINER_NOT_FOUND);
  coble_container_delete(second);
  coble_container_delete(container);
}

/* What a running container really got, by its accessors. */
static void what_it_got(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("sleep 1000");
  coble_container_t *container = NULL;
  coble_container_details_t *details = NULL;
  const coble_isolation_t *isolation = NULL;
  uint64_t applied = 1;
  size_t index;
  int own = 0, chown = 0, admin = 0, warned = 0;

  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_spec_set_mem_limit(spec, 64 << 20, &error));
  CHECK_OK(coble_container_spec_set_read_only(spec, 1, &error));
  CHECK_OK(coble_container_spec_add_tmpfs(spec, "/run", "size=1m", &error));
  CHECK_OK(coble_container_spec_add_tmpfs(spec, "/var/tmp", NULL, &error));
  CHECK_OK(coble_container_spec_add_volume(spec, "/etc/passwd:/etc/passwd:ro", &error));
  CHECK_OK(coble_container_spec_add_mount(spec, "type=bind,src=/etc/group,dst=/etc/group,ro", &error));
  CHECK_FAILS(coble_container_spec_add_volume(spec, "/a:/b:c", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_add_mount(spec, "type=bind", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_add_tmpfs(spec, "/x", "frob", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_inspect(container, &details, &error));
  CHECK(coble_container_summary_state(coble_container_details_summary(details)) == COBLE_STATE_CREATED);
  CHECK(coble_container_summary_started_at(coble_container_details_summary(details)) == NULL);
  CHECK(coble_container_details_isolation(details) == NULL);
  coble_container_details_delete(details);

  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_inspect(container, &details, &error));
  CHECK(coble_container_summary_state(coble_container_details_summary(details)) == COBLE_STATE_RUNNING);
  CHECK(coble_container_details_pid(details) > 1);
  isolation = coble_container_details_isolation(details);
  CHECK(strcmp(coble_isolation_seccomp(isolation), "filter") == 0);
  CHECK(coble_isolation_no_new_privileges(isolation) == 1);
  CHECK(coble_isolation_root_readonly(isolation) == 1);
  CHECK(coble_isolation_rootless(isolation) == (geteuid() != 0));
  CHECK(coble_isolation_uid(isolation) == 0 && coble_isolation_gid(isolation) == 0);
  for (index = 0; index < coble_isolation_namespace_count(isolation); index++) {
    own += strcmp(coble_isolation_namespace_name(isolation, index), "pid") == 0 &&
           coble_isolation_namespace_own(isolation, index) == 1;
  }
  CHECK(own == 1);
  CHECK(coble_isolation_namespace_name(isolation, index) == NULL);
  CHECK(coble_isolation_namespace_own(isolation, index) == 0);
  for (index = 0; index < coble_isolation_capability_count(isolation); index++) {
    chown += strcmp(coble_isolation_capability(isolation, index), "CAP_CHOWN") == 0;
    admin += strcmp(coble_isolation_capability(isolation, index), "CAP_SYS_ADMIN") == 0;
  }
  CHECK(chown == 1 && admin == 0);
  CHECK(coble_isolation_limit_count(isolation) == 1);
  CHECK(strcmp(coble_isolation_limit_name(isolation, 0), "mem_limit") == 0);
  CHECK(coble_isolation_limit_requested(isolation, 0) == 64 << 20);
  for (index = 0; index < coble_container_details_warning_count(details); index++) {
    CHECK(strlen(coble_container_details_warning_message(details, index)) > 0);
    warned += strcmp(coble_container_details_warning_code(details, index), "memory-limit-not-applied") == 0;
  }
  CHECK(coble_container_details_warning_code(details, index) == NULL);
  if (coble_isolation_limit_applied(isolation, 0, &applied)) {
    CHECK(applied == 64 << 20 && warned == 0);
  } else {
    CHECK(applied == 1 && warned == 1);
  }
  CHECK(coble_isolation_limit_applied(isolation, 1, &applied) == 0);
  coble_container_details_delete(details);
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_container_delete(container);
}

/* What can be done with a container besides starting and ending it. */
static void other_verbs(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("echo ready; while :; do sleep 0.05; done");
  coble_container_t *container = NULL;
  coble_container_list_t *list = NULL;
  coble_stats_stream_t *stream = NULL;
  coble_string_t *json = NULL;
  coble_list_options_t which;
  coble_update_options_t limits;
  const char *filters[2] = {"name=^renamed$", "status=paused"};
  const char *rates[1] = {"/dev/null:1m"};
  const char *ps_args[2] = {"-eo", "pid,comm"};
  int32_t state = 0, code = 0;
  coble_status_t status;

  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_spec_add_ulimit(spec, "nofile=64:128", &error));
  CHECK_OK(coble_container_spec_add_sysctl(spec, "kernel.panic", "1", &error));
  CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
  spec = shell("echo ready; while :; do sleep 0.05; done");
  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_spec_add_ulimit(spec, "nofile=64:128", &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_FAILS(coble_container_pause(container, &error), COBLE_ERR_INVALID_STATE);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_rename(container, "renamed", &error));
  CHECK(strcmp(coble_container_name(container), "renamed") == 0);
  CHECK_FAILS(coble_container_rename(container, "no name", &error), COBLE_ERR_INVALID_ARGUMENT);

  memset(&which, 0, sizeof which);
  which.size = sizeof which;
  which.filters = filters;
  which.filter_count = 1;
  which.with_size = 1;
  CHECK_OK(coble_container_find(engine, &which, &list, &error));
  CHECK(coble_container_list_count(list) == 1);
  CHECK(coble_container_summary_size_rw(coble_container_list_get(list, 0)) >= 0);
  coble_container_list_delete(list);

  status = coble_container_pause(container, &error);
  if (status == COBLE_OK) {
    CHECK_OK(coble_container_state(container, &state, &error));
    CHECK(state == COBLE_STATE_PAUSED);
    which.filter_count = 2;
    CHECK_OK(coble_container_find(engine, &which, &list, &error));
    CHECK(coble_container_list_count(list) == 1);
    coble_container_list_delete(list);
    CHECK_OK(coble_container_unpause(container, &error));
  } else {
    /* A user without a freezer. */
    CHECK(status == COBLE_ERR_UNSUPPORTED && geteuid() != 0);
    coble_error_delete(error);
    error = NULL;
  }
  CHECK_FAILS(coble_container_unpause(container, &error), COBLE_ERR_INVALID_STATE);

  memset(&limits, 0, sizeof limits);
  limits.size = sizeof limits;
  limits.pids_limit = 60;
  status = coble_container_update(container, &limits, &json, &error);
  if (status == COBLE_OK) {
    CHECK(strcmp(coble_string_data(json), "[]") == 0);
    coble_string_delete(json);
  } else {
    CHECK(status == COBLE_ERR_UNSUPPORTED && geteuid() != 0);
    coble_error_delete(error);
    error = NULL;
  }
  limits.pids_limit = 0;
  limits.restart_policy = "never";
  CHECK_FAILS(coble_container_update(container, &limits, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  limits.restart_policy = "on-failure:2";
  CHECK_OK(coble_container_update(container, &limits, NULL, &error));
  limits.restart_policy = "no";
  CHECK_OK(coble_container_update(container, &limits, NULL, &error));
  limits.restart_policy = NULL;
  limits.device_read_bps = rates;
  limits.device_read_bps_count = 1;
  CHECK_FAILS(coble_container_update(container, &limits, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  limits.device_read_bps_count = 0;
  limits.mem_limit = 1;
  CHECK_FAILS(coble_container_update(container, &limits, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);

  CHECK_OK(coble_container_inspect_docker_with_size(container, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"SizeRootFs\":") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_container_top(container, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"titles\":[\"UID\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_top_with(container, ps_args, 2, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"titles\":[\"PID\",\"COMMAND\"]") != NULL);
  coble_string_delete(json);
  CHECK_FAILS(coble_container_top_with(container, ps_args, 1, &json, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_log_attributes(container, &json, &error));
  CHECK(strcmp(coble_string_data(json), "{}") == 0);
  coble_string_delete(json);
  CHECK_OK(coble_container_stats(container, 0, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"name\":\"renamed\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_stats_stream(container, 20, &stream, &error));
  CHECK_OK(coble_stats_stream_next(stream, NULL, &json, &error));
  coble_string_delete(json);
  CHECK_OK(coble_container_inspect_docker(container, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":64,\"Hard\":128}]") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_container_restart(container, 0, NULL, &error));
  CHECK_OK(coble_container_restart_with_signal(container, SIGKILL, 60000, NULL, &error));
  CHECK_FAILS(coble_container_stop_with_signal(container, 9999, 0, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_wait_until(container, COBLE_WAIT_REMOVED, 10, NULL, &code, &error), COBLE_ERR_TIMEOUT);
  CHECK_FAILS(coble_container_wait_until(container, 9, 10, NULL, &code, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_stop_with_signal(container, SIGKILL, 60000, NULL, &error));
  CHECK_OK(coble_container_wait_until(container, COBLE_WAIT_NOT_RUNNING, 10000, NULL, &code, &error));
  CHECK(code == 137);
  json = NULL;
  CHECK_OK(coble_stats_stream_next(stream, NULL, &json, &error));
  CHECK(json == NULL);
  coble_stats_stream_delete(stream);
  CHECK_OK(coble_container_remove(container, 0, &error));
  coble_container_delete(container);
  filters[0] = "until=1h";
  CHECK_OK(coble_container_prune(engine, filters, 1, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"deleted\":[]") != NULL);
  coble_string_delete(json);
}

static void programs_in_it(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("trap 'exit 9' TERM; : > /ready; while :; do sleep 0.05; done");
  coble_container_t *container = NULL;
  coble_exec_spec_t *exec = NULL;
  coble_run_result_t *result = NULL;
  coble_process_t *process = NULL;
  coble_stdio_t stdio;
  /* Before that it does not hear of signals. */
  const char *script[3] = {"sh", "-c", "until test -e /ready; do sleep 0.01; done; echo \"$X\"; exit 5"};
  const char *cat[1] = {"cat"};
  int32_t number = -1, exited = -1;
  char text[16];
  int in, out;

  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_exec_spec_new(script, 3, &exec, &error));
  CHECK_OK(coble_exec_spec_add_environment(exec, "X", "yes", &error));
  CHECK_OK(coble_exec_spec_set_working_dir(exec, "/", &error));
  CHECK_OK(coble_exec_spec_set_user(exec, NULL, &error));
  CHECK_FAILS(coble_container_exec(container, exec, NULL, NULL, &result, &error), COBLE_ERR_INVALID_STATE);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_FAILS(coble_container_remove(container, 0, &error), COBLE_ERR_INVALID_STATE);
  CHECK_FAILS(coble_container_wait(container, 0, NULL, &number, &error), COBLE_ERR_TIMEOUT);

  CHECK_OK(coble_container_exec(container, exec, NULL, NULL, &result, &error));
  CHECK(coble_run_result_exit_code(result) == 5);
  CHECK(stdout_is(result, "yes\n"));
  coble_run_result_delete(result);
  coble_exec_spec_delete(exec);

  CHECK_OK(coble_exec_spec_new(cat, 1, &exec, &error));
  memset(&stdio, 0, sizeof stdio);
  stdio.size = sizeof stdio;
  stdio.stdin_stream.mode = COBLE_STREAM_PIPE;
  stdio.stdout_stream.mode = COBLE_STREAM_PIPE;
  CHECK_OK(coble_container_popen(container, exec, &stdio, &process, &error));
  coble_exec_spec_delete(exec);
  CHECK(coble_process_pid(process) > 1);
  in = coble_process_take_stdin(process);
  out = coble_process_take_stdout(process);
  CHECK(in >= 0 && out >= 0);
  CHECK(coble_process_take_stdout(process) == -1);
  CHECK(coble_process_take_stderr(process) == -1);
  CHECK(coble_process_warning_code(process, coble_process_warning_count(process)) == NULL);
  CHECK(coble_process_warning_message(process, coble_process_warning_count(process)) == NULL);
  CHECK(write(in, "abc", 3) == 3);
  CHECK(read(out, text, sizeof text) == 3 && memcmp(text, "abc", 3) == 0);
  CHECK_OK(coble_process_poll(process, &exited, &number, &error));
  CHECK(exited == 0);
  CHECK(close(in) == 0);
  CHECK_OK(coble_process_wait(process, 60000, NULL, &number, &error));
  CHECK(number == 0);
  CHECK_OK(coble_process_poll(process, &exited, &number, &error));
  CHECK(exited == 1 && number == 0);
  CHECK(read(out, text, sizeof text) == 0);
  CHECK(close(out) == 0);
  coble_process_delete(process);

  CHECK_FAILS(coble_container_kill(container, 1000, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_stop(container, 10000, NULL, &error));
  CHECK_OK(coble_container_wait(container, -1, NULL, &number, &error));
  CHECK(number == 9);
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_container_delete(container);
}

static void what_happened(coble_engine_t *engine) {
  static const char *const actions[] = {"create", "start", "die", "destroy"};
  char name[32];
  char filter[64];
  const char *filters[] = {NULL, "type=container"};
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("exit 3");
  coble_run_result_t *result = NULL;
  coble_event_options_t options;
  coble_event_stream_t *stream = NULL;
  const coble_event_t *event = NULL;
  coble_string_t *json = NULL;
  uint64_t last = 0;
  size_t index;

  /* The store is that of other runs of this program, too. */
  (void)snprintf(name, sizeof name, "told-c-%ld", (long)getpid());
  (void)snprintf(filter, sizeof filter, "container=%s", name);
  filters[0] = filter;
  CHECK_OK(coble_container_spec_set_name(spec, name, &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  coble_run_result_delete(result);
  coble_container_spec_delete(spec);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.filters = filters;
  options.filter_count = 2;
  CHECK_OK(coble_engine_events(engine, &options, &stream, &error));
  for (index = 0; index < 4; index++) {
    CHECK_OK(coble_event_stream_next(stream, NULL, &event, &error));
    CHECK(strcmp(coble_event_type(event), "container") == 0 && strcmp(coble_event_action(event), actions[index]) == 0);
    CHECK(coble_event_id(event) > last && coble_event_time_ns(event) > 0 && strlen(coble_event_actor(event)) == 64);
    CHECK(strcmp(coble_event_attribute(event, "name"), name) == 0);
    last = coble_event_id(event);
    if (index == 2) {
      CHECK(strcmp(coble_event_attribute(event, "exitCode"), "3") == 0);
      CHECK_OK(coble_event_json(event, &json, &error));
      CHECK(strstr(coble_string_data(json), "\"timeNano\"") != NULL);
      coble_string_delete(json);
    }
  }
  CHECK(coble_event_attribute(event, "exitCode") == NULL);
  CHECK_OK(coble_event_stream_next(stream, NULL, &event, &error));
  CHECK(event == NULL && coble_event_type(event) == NULL && coble_event_id(event) == 0);
  coble_event_stream_delete(stream);
  options.follow = 1;
  options.after = last;
  CHECK_OK(coble_engine_events(engine, &options, &stream, &error));
  CHECK_OK(coble_event_stream_try_next(stream, &event, &error));
  CHECK(event == NULL);
  coble_event_stream_delete(stream);
  options.reserved = 1;
  CHECK_FAILS(coble_engine_events(engine, &options, &stream, &error), COBLE_ERR_INVALID_ARGUMENT);
}

static void what_its_monitor_does(coble_engine_t *engine) {
  static const char *const test[] = {"CMD-SHELL", "test -e /ok"};
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell(": > /ok; sleep 60");
  coble_container_t *container = NULL;
  coble_healthcheck_t check;
  coble_string_t *json = NULL;
  int32_t number = -1;

  memset(&check, 0, sizeof check);
  check.size = sizeof check;
  check.test = test;
  check.test_count = 2;
  check.interval_ns = 50000000;
  CHECK_OK(coble_container_spec_set_healthcheck(spec, &check, &error));
  check.reserved = 1;
  CHECK_FAILS(coble_container_spec_set_healthcheck(spec, &check, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_restart_policy(spec, "sometimes", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_restart_policy(spec, "on-failure:2", &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_health(container, &json, &error));
  CHECK(strcmp(coble_string_data(json), "null") == 0);
  coble_string_delete(json);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_wait_until(container, COBLE_WAIT_HEALTHY, 60000, NULL, &number, &error));
  CHECK(number == 0);
  CHECK_OK(coble_container_health(container, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"healthy\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_container_delete(container);
}

static void what_fails_in_the_background(coble_engine_t *engine) {
  static const char *const nothing[] = {"/proc/version"};
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("cat /run/secrets/key /proc/version; echo why >&2; exit 3");
  coble_container_t *container = NULL;
  coble_string_t *json = NULL;
  const coble_run_result_t *result = NULL;
  const uint8_t *data = NULL;
  size_t length = 0;

  CHECK_FAILS(coble_container_spec_add_secret(spec, "id=key", NULL, 3, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_add_secret(spec, "id=../key", "abc", 3, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_add_secret(spec, "id=key,mode=400", "canary\n", 7, &error));
  CHECK_OK(coble_container_spec_set_masked_paths(spec, nothing, 1, &error));
  CHECK_OK(coble_container_spec_set_readonly_paths(spec, NULL, 0, &error));
  CHECK_OK(coble_container_spec_add_exposed_port(spec, "80", &error));
  CHECK_OK(coble_container_spec_add_annotation(spec, "a", "b", &error));
  CHECK_OK(coble_container_spec_set_run_timeout(spec, 60, &error));
  CHECK_OK(coble_container_spec_set_use_config_proxy(spec, 0, &error));
  CHECK_OK(coble_container_spec_set_network_disabled(spec, 1, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_inspect_docker(container, &json, &error));
  CHECK(strstr(coble_string_data(json), "canary") == NULL);
  CHECK(strstr(coble_string_data(json), "80/tcp") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK(coble_container_wait_checked(container, COBLE_WAIT_NOT_RUNNING, 60000, NULL, &error) == COBLE_ERR_CONTAINER_EXIT);
  result = coble_error_run_result(error);
  CHECK(result != NULL && coble_run_result_exit_code(result) == 3);
  data = coble_run_result_stdout(result, &length);
  CHECK(is_text(data, length, "canary\n"));
  data = coble_run_result_stderr(result, &length);
  CHECK(is_text(data, length, "why\n"));
  coble_error_delete(error);
  error = NULL;
  CHECK_OK(coble_container_remove(container, 0, &error));
  coble_container_delete(container);
}

/* Volumes: made, used, cloned, exported, and removed when nothing has them. */
static void volumes(coble_engine_t *engine) {
  const char *const labels[] = {"a=b", "alone"};
  const char *const filters[] = {"label=a=b"};
  coble_error_t *error = NULL;
  coble_volume_t *data = NULL, *same = NULL, *copy = NULL, *none = NULL;
  coble_container_spec_t *spec = NULL;
  coble_container_t *container = NULL;
  coble_run_result_t *result = NULL;
  coble_string_t *json = NULL;
  FILE *file = tmpfile();
  const uint8_t *out;
  size_t length;

  CHECK_FAILS(coble_volume_create(engine, "no/name", NULL, NULL, 0, &none, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_volume_create(engine, "data", "nfs", NULL, 0, &none, &error), COBLE_ERR_UNSUPPORTED);
  CHECK_FAILS(coble_volume_get(engine, "data", &none, &error), COBLE_ERR_VOLUME_NOT_FOUND);
  CHECK_OK(coble_volume_create(engine, "data", "local", labels, 2, &data, &error));
  CHECK(strcmp(coble_volume_name(data), "data") == 0);
  CHECK_OK(coble_volume_get(engine, "data", &same, &error));
  coble_volume_delete(same);

  spec = shell("echo kept > /data/file");
  CHECK_OK(coble_container_spec_add_volume(spec, "data:/data", &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  CHECK(coble_run_result_exit_code(result) == 0);
  coble_run_result_delete(result);
  coble_container_spec_delete(spec);

  CHECK_OK(coble_volume_clone(engine, "data", "copy", NULL, &copy, &error));
  CHECK_FAILS(coble_volume_remove(engine, "data", 1, &error), COBLE_ERR_IN_USE);
  spec = shell("cat /data/file");
  CHECK_OK(coble_container_spec_add_volume(spec, "copy:/data", &error));
  CHECK_OK(coble_container_spec_add_volume(spec, "/cache", &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  spec = shell("cat /data/file; cd /cache && pwd");
  CHECK_OK(coble_container_spec_add_volumes_from(spec, coble_container_name(container), &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  out = coble_run_result_stdout(result, &length);
  CHECK(is_text(out, length, "kept\n/cache\n"));
  coble_run_result_delete(result);
  coble_container_spec_delete(spec);
  CHECK_FAILS(coble_volume_remove(engine, "copy", 0, &error), COBLE_ERR_IN_USE);
  CHECK_OK(coble_container_remove_with_volumes(container, 0, &error));
  coble_container_delete(container);

  CHECK_OK(coble_volume_list(engine, filters, 1, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"name\":\"data\"") != NULL && strstr(coble_string_data(json), "\"source\":\"data\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_volume_inspect(data, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"clones\":[\"copy\"]") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_volume_inspect_docker(data, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"Scope\":\"local\"") != NULL);
  coble_string_delete(json);
  CHECK(file != NULL);
  CHECK_OK(coble_volume_export_fd(data, fileno(file), NULL, NULL, &error));
  CHECK_FAILS(coble_volume_export(data, "/missing/data.tar", NULL, NULL, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK_FAILS(coble_volume_import(data, "/dev/null", NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_volume_remove(engine, "copy", 0, &error));
  rewind(file);
  CHECK_OK(coble_volume_import_fd(data, fileno(file), NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"entries\"") != NULL);
  coble_string_delete(json);
  fclose(file);
  CHECK_OK(coble_volume_prune(engine, 1, NULL, 0, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"deleted\":[\"data\"]") != NULL);
  coble_string_delete(json);
  CHECK_FAILS(coble_volume_remove(engine, "data", 0, &error), COBLE_ERR_VOLUME_NOT_FOUND);
  CHECK_OK(coble_volume_remove(engine, "data", 1, &error));
  coble_volume_delete(copy);
  coble_volume_delete(data);
  coble_volume_delete(NULL);
}

static void until_it_is_ready(coble_engine_t *engine) {
  static const char *const yes[] = {"sh", "-c", "test -e /flag"};
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("echo ready; : > /flag; read x; sleep 1000");
  coble_container_t *container = NULL;
  coble_exec_spec_t *program = NULL;
  coble_ready_t *ready = NULL;
  coble_ready_t *parts[3] = {NULL, NULL, NULL};
  const coble_ready_t *both[3];
  coble_cancel_t *cancel = coble_cancel_new();

  CHECK_OK(coble_container_spec_set_stdin_open(spec, 1, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_FAILS(coble_ready_parse("ready", &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_ready_log("(", 1, 1, 1, &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_ready_log("x", 0, 1, 1, &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_ready_http(0, "/", 0, &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_ready_any_of(NULL, 0, &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_ready_all_of(NULL, 1, &ready, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK(ready == NULL);

  CHECK_OK(coble_ready_log("^ready$", 1, 1, 0, &parts[0], &error));
  /* Files are looked for with openat2, which valgrind does not know. */
  CHECK_OK(coble_ready_parse(getenv("UNDER_VALGRIND") != NULL ? "log=ready" : "file=/flag", &parts[1], &error));
  CHECK_OK(coble_exec_spec_new(yes, 3, &program, &error));
  CHECK_OK(coble_ready_exec(program, 0, 50, &parts[2], &error));
  coble_exec_spec_delete(program);
  both[0] = parts[0];
  both[1] = parts[1];
  both[2] = parts[2];
  CHECK_OK(coble_ready_all_of(both, 3, &ready, &error));
  CHECK_FAILS(coble_container_wait_ready(container, ready, 1000, NULL, &error), COBLE_ERR_INVALID_STATE);
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  CHECK_OK(coble_container_wait_ready(container, ready, 30000, NULL, &error));
  coble_ready_delete(ready);
  coble_ready_delete(parts[0]);
  coble_ready_delete(parts[1]);

  CHECK_OK(coble_ready_parse("port=5432", &parts[0], &error));
  both[0] = parts[0];
  both[1] = parts[2];
  CHECK_OK(coble_ready_any_of(both, 2, &ready, &error));
  CHECK_OK(coble_container_wait_ready(container, ready, 30000, NULL, &error));
  CHECK_FAILS(coble_container_wait_ready(container, parts[0], 100, NULL, &error), COBLE_ERR_TIMEOUT);
  coble_cancel_cancel(cancel);
  CHECK_FAILS(coble_container_wait_ready(container, parts[0], -1, cancel, &error), COBLE_ERR_CANCELLED);
  CHECK_OK(coble_container_kill(container, SIGKILL, &error));
  CHECK(coble_container_wait_ready(container, parts[0], -1, NULL, &error) == COBLE_ERR_CONTAINER_EXIT);
  CHECK(error != NULL && strstr(coble_error_message(error), "its log ends with \"ready\"") != NULL);
  CHECK(coble_error_run_result(error) != NULL && coble_run_result_exit_code(coble_error_run_result(error)) == 137);
  coble_error_delete(error);
  error = NULL;
  CHECK_OK(coble_container_remove(container, 1, &error));
  coble_ready_delete(ready);
  coble_ready_delete(parts[0]);
  coble_ready_delete(parts[2]);
  coble_cancel_delete(cancel);
  coble_container_delete(container);
}

int main(int argc, char **argv) {
  coble_engine_t *engine = open_engine(argc, argv);
  what_happened(engine);
  what_its_monitor_does(engine);
  a_life(engine);
  until_it_is_ready(engine);
  own_ids(engine);
  own_ids(engine);
  what_it_got(engine);
  other_verbs(engine);
  programs_in_it(engine);
  what_fails_in_the_background(engine);
  volumes(engine);
  coble_engine_delete(engine);
  return 0;
}
