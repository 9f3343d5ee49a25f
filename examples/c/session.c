/*
 * Keeps a container for as long as it is of use, runs programs in it, and talks to one of them.
 *
 *   cc session.c $(pkg-config --cflags --libs coble) -o session
 *   ./session [DATA_ROOT RUN_ROOT]
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <coble/coble.h>

/* Ends the program on an error. The container is session-scoped: it ends with us, whatever happens. */
static void must(coble_status_t status, coble_error_t *error) {
  if (status != COBLE_OK) {
    (void)fprintf(stderr, "%s\n", coble_error_message(error));
    exit(1);
  }
}

/* Runs a shell script in the container and prints its output. */
static void script(const coble_container_t *container, const char *text) {
  const char *const command[] = {"sh", "-c", text};
  coble_error_t *error = NULL;
  coble_exec_spec_t *spec = NULL;
  coble_run_result_t *result = NULL;
  const uint8_t *output = NULL;
  size_t length = 0;

  must(coble_exec_spec_new(command, 3, &spec, &error), error);
  must(coble_container_exec(container, spec, NULL, NULL, &result, &error), error);
  output = coble_run_result_stdout(result, &length);
  (void)printf("%s -> %.*s", text, (int)length, (const char *)output);
  coble_run_result_delete(result);
  coble_exec_spec_delete(spec);
}

/* Sends a line to a program in the container and reads its answer. */
static void talk(const coble_container_t *container) {
  const char *const command[] = {"cat"};
  const char line[] = "over a pipe\n";
  coble_error_t *error = NULL;
  coble_exec_spec_t *spec = NULL;
  coble_process_t *process = NULL;
  coble_stdio_t stdio;
  char answer[64];
  ssize_t length;
  int32_t code = -1;
  int in, out;

  memset(&stdio, 0, sizeof stdio);
  stdio.size = sizeof stdio;
  stdio.stdin_stream.mode = COBLE_STREAM_PIPE;
  stdio.stdout_stream.mode = COBLE_STREAM_PIPE;
  must(coble_exec_spec_new(command, 1, &spec, &error), error);
  must(coble_container_popen(container, spec, &stdio, &process, &error), error);
  in = coble_process_take_stdin(process);
  out = coble_process_take_stdout(process);
  if (write(in, line, sizeof line - 1) == (ssize_t)(sizeof line - 1)) {
    length = read(out, answer, sizeof answer);
    (void)printf("cat -> %.*s", length > 0 ? (int)length : 0, answer);
  }
  (void)close(in);
  must(coble_process_wait(process, 10000, NULL, &code, &error), error);
  (void)printf("cat ended with %d\n", (int)code);
  (void)close(out);
  coble_process_delete(process);
  coble_exec_spec_delete(spec);
}

int main(int argc, char **argv) {
  const char *const items[] = {"sh", "cat", "sleep"};
  const char *const command[] = {"sleep", "600"};
  coble_error_t *error = NULL;
  coble_engine_t *engine = NULL;
  coble_image_t *image = NULL;
  coble_container_spec_t *spec = NULL;
  coble_container_t *container = NULL;
  coble_engine_options_t options;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  if (argc == 3) {
    options.data_root = argv[1];
    options.run_root = argv[2];
  }
  must(coble_engine_open(&options, &engine, &error), error);
  must(coble_image_from_host(engine, items, 3, "session-c", NULL, NULL, &image, &error), error);
  must(coble_container_spec_new(coble_image_id(image), &spec, &error), error);
  must(coble_container_spec_set_command(spec, command, 2, &error), error);
  must(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error), error);
  must(coble_container_create(engine, spec, &container, &error), error);
  must(coble_container_start(container, NULL, NULL, &error), error);

  script(container, "echo first > /note; cat /note");
  script(container, "echo second >> /note; cat /note");
  talk(container);

  must(coble_container_remove(container, 1, &error), error);
  must(coble_image_remove(engine, "session-c", 0, NULL, &error), error);
  coble_container_delete(container);
  coble_container_spec_delete(spec);
  coble_image_delete(image);
  coble_engine_delete(engine);
  return 0;
}
