/* What the programs of this directory share: checks, an engine on the store that they are given, and an image in it. */

#ifndef COBLE_TESTS_CHECK_H
#define COBLE_TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <coble/coble.h>

/* The image that the runner has made: sh, echo, cat, sleep, true, false, test. */
#define IMAGE "tests"

#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);    \
      exit(1);                                                                           \
    }                                                                                    \
  } while (0)

/* The call has to succeed; `error` is the place it was given. */
#define CHECK_OK(call)                                                                   \
  do {                                                                                   \
    coble_status_t status_ = (call);                                                     \
    if (status_ != COBLE_OK) {                                                           \
      (void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                \
                    error != NULL ? coble_error_message(error) : coble_status_name(status_)); \
      exit(1);                                                                           \
    }                                                                                    \
  } while (0)

/* The call has to fail with the status, and to say so in the error too, which is deleted. */
#define CHECK_FAILS(call, status)                                                        \
  do {                                                                                   \
    coble_status_t status_ = (call);                                                     \
    if (status_ != (status)) {                                                           \
      (void)fprintf(stderr, "%s:%d: %s: status %d, not %d: %s\n", __FILE__, __LINE__,    \
                    #call, (int)status_, (int)(status),                                  \
                    error != NULL ? coble_error_message(error) : "-");                   \
      exit(1);                                                                           \
    }                                                                                    \
    CHECK(error != NULL);                                                                \
    CHECK(coble_error_code(error) == status_);                                           \
    CHECK(strlen(coble_error_message(error)) > 0);                                       \
    coble_error_delete(error);                                                           \
    error = NULL;                                                                        \
  } while (0)

static inline coble_engine_t *open_engine(int argc, char **argv) {
  coble_error_t *error = NULL;
  coble_engine_t *engine = NULL;
  coble_engine_options_t options;
  CHECK(argc == 3);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.data_root = argv[1];
  options.run_root = argv[2];
  CHECK_OK(coble_engine_open(&options, &engine, &error));
  return engine;
}

/* A specification of a shell script in the image. */
static inline coble_container_spec_t *shell(const char *script) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = NULL;
  const char *command[3];
  command[0] = "sh";
  command[1] = "-c";
  command[2] = script;
  CHECK_OK(coble_container_spec_new(IMAGE, &spec, &error));
  CHECK_OK(coble_container_spec_set_command(spec, command, 3, &error));
  return spec;
}

static inline int is_text(const uint8_t *data, size_t length, const char *text) {
  return length == strlen(text) && memcmp(data, text, length) == 0;
}

static inline int stdout_is(const coble_run_result_t *result, const char *text) {
  size_t length = 0;
  const uint8_t *data = coble_run_result_stdout(result, &length);
  return is_text(data, length, text);
}

static inline int stderr_is(const coble_run_result_t *result, const char *text) {
  size_t length = 0;
  const uint8_t *data = coble_run_result_stderr(result, &length);
  return is_text(data, length, text);
}

static inline int record_is(const coble_log_record_t *record, const char *text) {
  size_t length = 0;
  const uint8_t *data = coble_log_record_data(record, &length);
  return is_text(data, length, text);
}

#endif
