/* Errors: what they say, outputs that stay untouched, pointers and options that are refused. */

#include "check.h"

static void null_is_refused(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_container_t *container = NULL;
  coble_container_spec_t *spec = NULL;
  coble_image_t *image = NULL;
  coble_string_t *json = NULL;
  int32_t number = 0;
  const char *words[2] = {"a", NULL};

  CHECK_FAILS(coble_engine_open(NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_engine_info(NULL, &json, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_engine_info(engine, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_image_get(engine, NULL, &image, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_image_get(NULL, "x", &image, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_new(IMAGE, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  /* No image is none yet: a directory or a bundle may follow, and has to. */
  CHECK_OK(coble_container_spec_new(NULL, &spec, &error));
  CHECK_FAILS(coble_container_create(engine, spec, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
  CHECK_FAILS(coble_container_create(engine, NULL, &container, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_wait(NULL, -1, NULL, &number, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK(coble_container_id(NULL) == NULL);
  CHECK(coble_run_result_exit_code(NULL) == -1);
  CHECK(coble_string_data(NULL) == NULL);
  CHECK(coble_image_list_count(NULL) == 0);
  CHECK(coble_error_message(NULL) == NULL);

  CHECK_OK(coble_container_spec_new(IMAGE, &spec, &error));
  CHECK_FAILS(coble_container_spec_set_command(spec, NULL, 1, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_command(spec, words, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_network(spec, 77, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_lifetime(spec, -1, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_read_only(spec, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_name(spec, "\xff\xfe", &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_spec_set_name(NULL, "x", &error), COBLE_ERR_INVALID_ARGUMENT);
  /* Nobody has to want the details. */
  CHECK(coble_container_spec_set_network(spec, 77, NULL) == COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
}

/* A structure of a later version of the header. */
typedef struct {
  coble_engine_options_t known;
  uint64_t later;
} longer_options_t;

static void options_grow(char **argv) {
  coble_error_t *error = NULL;
  coble_engine_t *engine = NULL;
  longer_options_t longer;
  coble_engine_options_t options;

  memset(&longer, 0, sizeof longer);
  longer.known.size = sizeof longer;
  longer.known.data_root = argv[1];
  longer.known.run_root = argv[2];
  CHECK_OK(coble_engine_open(&longer.known, &engine, &error));
  coble_engine_delete(engine);
  engine = NULL;

  longer.later = (uint64_t)1 << 63;
  CHECK_FAILS(coble_engine_open(&longer.known, &engine, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK(engine == NULL);

  /* One of an earlier version: what lies behind its size is not looked at. */
  memset(&options, 0xff, sizeof options);
  options.size = offsetof(coble_engine_options_t, rootless);
  options.data_root = argv[1];
  options.run_root = argv[2];
  CHECK_OK(coble_engine_open(&options, &engine, &error));
  coble_engine_delete(engine);
  engine = NULL;

  memset(&options, 0, sizeof options);
  CHECK_FAILS(coble_engine_open(&options, &engine, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.size = sizeof options;
  options.rootless = 9;
  CHECK_FAILS(coble_engine_open(&options, &engine, &error), COBLE_ERR_INVALID_ARGUMENT);
  options.rootless = COBLE_ROOTLESS_AUTO;
  options.offline = 3;
  CHECK_FAILS(coble_engine_open(&options, &engine, &error), COBLE_ERR_INVALID_ARGUMENT);
}

int main(int argc, char **argv) {
  coble_error_t *error = NULL;
  coble_engine_t *engine = open_engine(argc, argv);
  coble_image_t *image = (coble_image_t *)&argc;
  coble_container_t *container = NULL;

  CHECK(coble_image_get(engine, "not-there:1", &image, &error) == COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK(image == (coble_image_t *)&argc);
  CHECK(error != NULL);
  CHECK(coble_error_code(error) == COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK(strcmp(coble_error_kind_name(error), "ImageNotFound") == 0);
  CHECK(strstr(coble_error_message(error), "not-there") != NULL);
  CHECK(coble_error_object(error) != NULL && strstr(coble_error_object(error), "not-there") != NULL);
  CHECK(coble_error_run_result(error) == NULL);
  CHECK(coble_error_context_get(error, coble_error_context_count(error)) == NULL);
  coble_error_delete(error);
  error = NULL;

  CHECK_FAILS(coble_container_get(engine, "nobody", &container, &error), COBLE_ERR_CONTAINER_NOT_FOUND);
  null_is_refused(engine);
  options_grow(argv);

  coble_engine_close(engine);
  coble_engine_close(engine);
  CHECK_FAILS(coble_container_get(engine, "nobody", &container, &error), COBLE_ERR_CLOSED);
  coble_engine_delete(engine);
  return 0;
}
