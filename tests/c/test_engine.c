/* The engine: facts, check-ups, runs. */

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

static void facts(coble_engine_t *engine, char **argv) {
  coble_error_t *error = NULL;
  coble_string_t *json = NULL;
  coble_engine_options_t options;
  int32_t ok = -1;

  CHECK_OK(coble_engine_info(engine, &json, &error));
  CHECK(strlen(coble_string_data(json)) == coble_string_length(json));
  CHECK(strstr(coble_string_data(json), "\"data_root\":") != NULL);
  CHECK(strstr(coble_string_data(json), argv[1]) != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_engine_doctor(engine, &ok, &json, &error));
  /* Under valgrind the doctor says, rightly, that system calls are missing. */
  CHECK(ok == (getenv("UNDER_VALGRIND") == NULL));
  CHECK(strstr(coble_string_data(json), "\"checks\":[") != NULL);
  coble_string_delete(json);

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.data_root = argv[1];
  CHECK_OK(coble_doctor(&options, &ok, &json, &error));
  CHECK(ok == (getenv("UNDER_VALGRIND") == NULL));
  coble_string_delete(json);

  CHECK_OK(coble_engine_verify(engine, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[]") == 0);
  coble_string_delete(json);
}

static void runs(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("cat; echo to-err >&2; exit 3");
  coble_run_result_t *result = NULL;
  coble_run_options_t options;
  coble_string_t *json = NULL;
  const coble_isolation_t *isolation = NULL;
  const coble_run_result_t *of_error = NULL;
  size_t length = 0;
  size_t index, seen[2];
  int32_t source = 0;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.input = "in\0put";
  options.input_length = 6;
  options.timeout_ms = 60000;
  CHECK_OK(coble_engine_run(engine, spec, &options, NULL, &result, &error));
  CHECK(coble_run_result_exit_code(result) == 3);
  CHECK(memcmp(coble_run_result_stdout(result, &length), "in\0put", 6) == 0);
  CHECK(length == 6);
  CHECK(stderr_is(result, "to-err\n"));
  for (index = 0, seen[0] = seen[1] = 0; index < coble_run_result_record_count(result); index++) {
    CHECK(coble_run_result_record(result, index, &source, &length) != NULL && length > 0);
    CHECK(source == COBLE_LOG_STDOUT || source == COBLE_LOG_STDERR);
    seen[source == COBLE_LOG_STDERR] += length;
  }
  CHECK(seen[0] == 6 && seen[1] == 7);
  CHECK(coble_run_result_record(result, index, NULL, NULL) == NULL);
  CHECK(coble_run_result_record_count(NULL) == 0);
  CHECK(coble_run_result_timing_count(result) > 0);
  CHECK(coble_run_result_timing_name(result, 0) != NULL);
  CHECK(coble_run_result_timing_name(result, coble_run_result_timing_count(result)) == NULL);
  CHECK(coble_run_result_warning_code(result, coble_run_result_warning_count(result)) == NULL);
  isolation = coble_run_result_isolation(result);
  CHECK(strcmp(coble_isolation_seccomp(isolation), "filter") == 0);
  CHECK_OK(coble_isolation_json(isolation, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"seccomp\":\"filter\"") != NULL);
  coble_string_delete(json);
  coble_run_result_delete(result);
  result = NULL;

  options.check = 1;
  CHECK(coble_engine_run(engine, spec, &options, NULL, &result, &error) == COBLE_ERR_CONTAINER_EXIT);
  CHECK(result == NULL);
  of_error = coble_error_run_result(error);
  CHECK(coble_run_result_exit_code(of_error) == 3);
  CHECK(stderr_is(of_error, "to-err\n"));
  coble_error_delete(error);
  error = NULL;

  /* What was collected until the limit was reached. */
  options.capture_limit = 6;
  CHECK(coble_engine_run(engine, spec, &options, NULL, &result, &error) == COBLE_ERR_LIMIT_EXCEEDED);
  of_error = coble_error_run_result(error);
  CHECK(coble_run_result_exit_code(of_error) == 137);
  CHECK(memcmp(coble_run_result_stdout(of_error, &length), "in\0put", 6) == 0);
  CHECK(length == 6 && stderr_is(of_error, "to-err"));
  coble_error_delete(error);
  error = NULL;
  options.capture_limit = 0;

  options.input = NULL;
  CHECK_FAILS(coble_engine_run(engine, spec, &options, NULL, &result, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.input_length = 0;
  options.stdout_stream.mode = COBLE_STREAM_PIPE;
  CHECK_FAILS(coble_engine_run(engine, spec, &options, NULL, &result, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.stdout_stream.mode = COBLE_STREAM_FD;
  options.stdout_stream.fd = -1;
  CHECK_FAILS(coble_engine_run(engine, spec, &options, NULL, &result, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
}

static void streams_of_the_caller(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("echo out; echo err >&2");
  coble_run_result_t *result = NULL;
  coble_run_options_t options;
  char text[16];
  size_t length = 99;
  int fds[2];

  CHECK(pipe(fds) == 0);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.stdout_stream.mode = COBLE_STREAM_FD;
  options.stdout_stream.fd = fds[1];
  options.stderr_stream.mode = COBLE_STREAM_NULL;
  CHECK_OK(coble_engine_run(engine, spec, &options, NULL, &result, &error));
  /* Ours is still ours, and nobody else has it. */
  CHECK(close(fds[1]) == 0);
  CHECK(read(fds[0], text, sizeof text) == 4 && memcmp(text, "out\n", 4) == 0);
  CHECK(read(fds[0], text, sizeof text) == 0);
  CHECK(close(fds[0]) == 0);
  (void)coble_run_result_stdout(result, &length);
  CHECK(length == 0);
  coble_run_result_delete(result);
  coble_container_spec_delete(spec);
}

static void time_outs(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = shell("exec sleep 1000");
  coble_run_result_t *result = NULL;
  coble_run_options_t options;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.timeout_ms = 200;
  CHECK_FAILS(coble_engine_run(engine, spec, &options, NULL, &result, &error), COBLE_ERR_TIMEOUT);
  options.timeout_ms = -1;
  CHECK_FAILS(coble_engine_run(engine, spec, &options, NULL, &result, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
}

int main(int argc, char **argv) {
  coble_engine_t *engine = open_engine(argc, argv);
  facts(engine, argv);
  runs(engine);
  streams_of_the_caller(engine);
  time_outs(engine);
  coble_engine_delete(engine);
  return 0;
}
