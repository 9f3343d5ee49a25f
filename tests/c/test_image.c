/* Images: import, list, names, inspection, removal. */

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

/* A tar with one file, "hello", written here byte by byte. */
static int small_tar(void) {
  char path[] = "/tmp/coble-test-XXXXXX";
  char block[512 * 4];
  unsigned sum = 0;
  size_t index;
  int fd = mkstemp(path);
  CHECK(fd >= 0);
  CHECK(unlink(path) == 0);
  memset(block, 0, sizeof block);
  memcpy(block, "hello", 5);
  memcpy(block + 100, "0000644", 7);
  memcpy(block + 108, "0000000", 7);
  memcpy(block + 116, "0000000", 7);
  memcpy(block + 124, "00000000003", 11);
  memcpy(block + 136, "00000000000", 11);
  memset(block + 148, ' ', 8);
  block[156] = '0';
  memcpy(block + 257, "ustar\00000", 8);
  for (index = 0; index < 512; index++) {
    sum += (unsigned char)block[index];
  }
  (void)snprintf(block + 148, 8, "%06o", sum);
  memcpy(block + 512, "hi\n", 3);
  CHECK(write(fd, block, sizeof block) == (ssize_t)sizeof block);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  return fd;
}

int main(int argc, char **argv) {
  coble_error_t *error = NULL;
  coble_engine_t *engine = open_engine(argc, argv);
  coble_import_options_t *options = coble_import_options_new();
  coble_image_t *image = NULL;
  coble_image_t *again = NULL;
  coble_image_list_t *list = NULL;
  coble_string_t *json = NULL;
  const char *command[1] = {"/hello"};
  size_t index;
  int found = 0;
  int fd = small_tar();

  CHECK(options != NULL);
  CHECK_OK(coble_import_options_set_command(options, command, 1, &error));
  CHECK_OK(coble_import_options_set_entrypoint(options, command, 1, &error));
  CHECK_OK(coble_import_options_add_environment(options, "A", "b", &error));
  CHECK_OK(coble_import_options_set_working_dir(options, "/tmp", &error));
  CHECK_OK(coble_import_options_set_user(options, "1:2", &error));
  CHECK_OK(coble_import_options_add_label(options, "k", "v", &error));
  CHECK_OK(coble_import_options_set_message(options, "made by a test", &error));
  CHECK_OK(coble_image_import_rootfs_fd(engine, fd, "small:1", options, NULL, &image, &error));
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  coble_import_options_delete(options);

  CHECK(strncmp(coble_image_id(image), "sha256:", 7) == 0);
  CHECK(strncmp(coble_image_digest(image), "sha256:", 7) == 0);
  CHECK(coble_image_reference_count(image) == 1);
  CHECK(strstr(coble_image_reference(image, 0), "small:1") != NULL);
  CHECK(coble_image_reference(image, 1) == NULL);
  CHECK(coble_image_size(image) > 0);
  CHECK(strcmp(coble_image_os(image), "linux") == 0);
  CHECK(strlen(coble_image_architecture(image)) > 0);
  CHECK(coble_image_created(image) != NULL);
  CHECK_OK(coble_image_json(image, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"labels\":{\"k\":\"v\"}") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_image_inspect(engine, "small:1", &json, &error));
  CHECK(strstr(coble_string_data(json), "\"WorkingDir\":\"/tmp\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_image_history(engine, "small:1", &json, &error));
  CHECK(strstr(coble_string_data(json), "made by a test") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_image_tag(engine, "small:1", "small:2", &error));
  CHECK_OK(coble_image_get(engine, "small:2", &again, &error));
  CHECK(strcmp(coble_image_id(image), coble_image_id(again)) == 0);
  CHECK(coble_image_reference_count(again) == 2);
  coble_image_delete(again);

  CHECK_OK(coble_image_list(engine, NULL, 0, &list, &error));
  for (index = 0; index < coble_image_list_count(list); index++) {
    found += strcmp(coble_image_id(coble_image_list_get(list, index)), coble_image_id(image)) == 0;
  }
  CHECK(found == 1);
  CHECK(coble_image_list_get(list, coble_image_list_count(list)) == NULL);
  coble_image_list_delete(list);
  list = NULL;

  CHECK_OK(coble_image_untag(engine, "small:2", &error));
  CHECK_FAILS(coble_image_untag(engine, "small:2", &error), COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK_OK(coble_image_remove(engine, "small:1", 0, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"deleted\":[\"sha256:") != NULL);
  coble_string_delete(json);
  CHECK_FAILS(coble_image_remove(engine, coble_image_id(image), 1, NULL, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  coble_image_delete(image);

  CHECK_FAILS(coble_image_load(engine, "/nowhere/at/all", NULL, NULL, &list, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK_FAILS(coble_image_load_fd(engine, fd, NULL, NULL, &list, &error), COBLE_ERR_INVALID_ARCHIVE);
  CHECK_FAILS(coble_image_load_fd(engine, 12345, NULL, NULL, &list, &error), COBLE_ERR_IO);
  CHECK_FAILS(coble_image_import_rootfs_fd(engine, fd, "Not A Reference", NULL, NULL, &again, &error),
              COBLE_ERR_INVALID_REFERENCE);
  CHECK(close(fd) == 0);
  coble_engine_delete(engine);
  return 0;
}
