/*
 * Runs a program in a container and prints what it says.
 *
 *   cc hello.c $(pkg-config --cflags --libs coble) -o hello
 *   ./hello [DATA_ROOT RUN_ROOT]
 */

#include <stdio.h>
#include <string.h>

#include <coble/coble.h>

/* Says what went wrong, and gives the exit status of the program. */
static int fail(const char *doing, coble_error_t *error) {
  (void)fprintf(stderr, "%s: %s\n", doing, coble_error_message(error));
  coble_error_delete(error);
  return 1;
}

static int run(const coble_engine_t *engine) {
  const char *const items[] = {"sh", "cat"};
  const char *const command[] = {"sh", "-c", "echo hello from $HOSTNAME; cat; exit 3"};
  coble_error_t *error = NULL;
  coble_image_t *image = NULL;
  coble_container_spec_t *spec = NULL;
  coble_run_result_t *result = NULL;
  coble_run_options_t options;
  const uint8_t *output = NULL;
  size_t length = 0;
  int status = 0;

  /* An image made of two programs of this machine and the libraries that they need: no registry is asked. */
  if (coble_image_from_host(engine, items, 2, "hello-c", NULL, NULL, &image, &error) != COBLE_OK) {
    return fail("making the image", error);
  }
  coble_image_delete(image);

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.input = "and what it read\n";
  options.input_length = strlen("and what it read\n");
  options.timeout_ms = 10000;

  if (coble_container_spec_new("hello-c", &spec, &error) != COBLE_OK ||
      coble_container_spec_set_command(spec, command, 3, &error) != COBLE_OK ||
      coble_container_spec_set_pids_limit(spec, 16, &error) != COBLE_OK ||
      coble_engine_run(engine, spec, &options, NULL, &result, &error) != COBLE_OK) {
    status = fail("running the container", error);
  } else {
    output = coble_run_result_stdout(result, &length);
    (void)fwrite(output, 1, length, stdout);
    (void)printf("exit code %d\n", coble_run_result_exit_code(result));
  }
  coble_run_result_delete(result);
  coble_container_spec_delete(spec);
  return status;
}

int main(int argc, char **argv) {
  coble_error_t *error = NULL;
  coble_engine_t *engine = NULL;
  coble_engine_options_t options;
  int status;

  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  if (argc == 3) {
    options.data_root = argv[1];
    options.run_root = argv[2];
  }
  if (coble_engine_open(&options, &engine, &error) != COBLE_OK) {
    return fail("opening the engine", error);
  }
  status = run(engine);
  if (coble_image_remove(engine, "hello-c", 0, NULL, NULL) != COBLE_OK && status == 0) {
    status = 1;
  }
  coble_engine_delete(engine);
  return status;
}
