/* Images: import, list, names, inspection, removal. */

#include <fcntl.h>
#include <unistd.h>

#include "check.h"

/* A tar with one file, "hello", written here byte by byte. */
static int small_tar(void) {
  char path[] = "/tmp/coble-test-XXXXXX";
  char block[512 * 4];
  char extended[512 * 2];
  int length;
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
  /* Before it, the same header once more as that of an attribute that images may not set. */
  memcpy(extended, block, 512);
  memset(extended + 512, 0, 512);
  extended[156] = 'x';
  length = snprintf(extended + 512, 512, "%d SCHILY.xattr.trusted.overlay.opaque=y\n", 41);
  CHECK(length == 41);
  (void)snprintf(extended + 124, 12, "%011o", (unsigned)length);
  memset(extended + 148, ' ', 8);
  for (sum = 0, index = 0; index < 512; index++) {
    sum += (unsigned char)extended[index];
  }
  (void)snprintf(extended + 148, 8, "%06o", sum);
  CHECK(write(fd, extended, sizeof extended) == (ssize_t)sizeof extended);
  CHECK(write(fd, block, sizeof block) == (ssize_t)sizeof block);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  return fd;
}

/* What a callback saw. */
typedef struct {
  int calls;
  int last;
  int stop_at;
  uint64_t read;
  uint64_t overall;
} seen_t;

static int32_t see(const coble_progress_t *progress, void *userdata) {
  seen_t *seen = userdata;
  seen->calls++;
  seen->last = coble_progress_kind(progress);
  if (seen->last == COBLE_PROGRESS_READ) {
    seen->read = coble_progress_current(progress);
  }
  seen->overall = coble_progress_overall_total(progress);
  return seen->last == seen->stop_at;
}

/* Calls from here on are seen anew, and none is stopped. */
static void look_anew(seen_t *seen) {
  memset(seen, 0, sizeof *seen);
  seen->stop_at = -1;
}

int main(int argc, char **argv) {
  seen_t seen;
  coble_error_t *error = NULL;
  coble_engine_t *engine = open_engine(argc, argv);
  coble_import_options_t *options = coble_import_options_new();
  coble_image_t *image = NULL;
  coble_image_t *again = NULL;
  coble_image_list_t *list = NULL;
  coble_string_t *json = NULL;
  const char *command[1] = {"/hello"};
  const char *filters[1];
  const char *names[1];
  char path[] = "/tmp/coble-test-XXXXXX";
  char other[] = "/tmp/coble-test-XXXXXX";
  coble_image_mount_t *mount = NULL;
  coble_prune_options_t prune = {0};
  coble_container_spec_t *spec = NULL;
  coble_container_t *container = NULL;
  coble_container_t *snapshot = NULL;
  coble_commit_options_t *commit = coble_commit_options_new();
  size_t index;
  int saved = -1;
  off_t size;
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
  CHECK_OK(coble_import_options_set_author(options, "somebody", &error));
  CHECK_OK(coble_import_options_add_change(options, "EXPOSE 80", &error));
  look_anew(&seen);
  CHECK_OK(coble_import_options_set_progress(options, see, &seen, &error));
  CHECK_OK(coble_image_import_rootfs_fd(engine, fd, "small:1", options, NULL, &image, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE && seen.read == seen.overall && seen.read > 1024);
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK_OK(coble_import_options_set_platform(options, "linux/arm/v7", &error));
  CHECK_OK(coble_image_import_rootfs_fd(engine, fd, NULL, options, NULL, &again, &error));
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(coble_image_reference_count(again) == 0);
  CHECK(strcmp(coble_image_architecture(again), "arm") == 0 && strcmp(coble_image_variant(again), "v7") == 0);
  CHECK(coble_image_os_version(again) == NULL && coble_image_os_feature_count(again) == 0 && coble_image_os_feature(again, 0) == NULL);
  CHECK_OK(coble_image_remove(engine, coble_image_id(again), 0, NULL, &error));
  coble_image_delete(again);
  again = NULL;
  CHECK_OK(coble_import_options_set_platform(options, "windows(10.0.17763.1+win32k)/amd64", &error));
  CHECK_OK(coble_image_import_rootfs_fd(engine, fd, NULL, options, NULL, &again, &error));
  CHECK(lseek(fd, 0, SEEK_SET) == 0);
  CHECK(strcmp(coble_image_os(again), "windows") == 0 && strcmp(coble_image_os_version(again), "10.0.17763.1") == 0);
  CHECK(coble_image_os_feature_count(again) == 1 && strcmp(coble_image_os_feature(again, 0), "win32k") == 0);
  CHECK(coble_image_os_feature(again, 1) == NULL && coble_image_os_version(NULL) == NULL && coble_image_os_feature_count(NULL) == 0);
  CHECK_OK(coble_image_remove(engine, coble_image_id(again), 0, NULL, &error));
  coble_image_delete(again);
  again = NULL;
  CHECK_OK(coble_import_options_add_change(options, "RUN x", &error));
  CHECK_FAILS(coble_image_import_rootfs_fd(engine, fd, NULL, options, NULL, &again, &error), COBLE_ERR_INVALID_ARGUMENT);
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
  CHECK(coble_image_label_count(image) == 1);
  CHECK(strcmp(coble_image_label_name(image, 0), "k") == 0 && strcmp(coble_image_label_value(image, 0), "v") == 0);
  CHECK(coble_image_label_name(image, 1) == NULL && coble_image_label_value(image, 1) == NULL);
  CHECK(coble_image_repo_digest_count(image) == 0 && coble_image_repo_digest(image, 0) == NULL);
  CHECK(coble_image_repo_digest_count(NULL) == 0 && coble_image_label_count(NULL) == 0);
  CHECK(coble_image_warning_count(image) == 1);
  CHECK(strcmp(coble_image_warning_code(image, 0), "metadata") == 0);
  CHECK(strstr(coble_image_warning_message(image, 0), "trusted.overlay.opaque") != NULL);
  CHECK(coble_image_warning_code(image, 1) == NULL && coble_image_warning_message(image, 1) == NULL);
  CHECK_OK(coble_image_json(image, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"labels\":{\"k\":\"v\"}") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_image_inspect(engine, "small:1", &json, &error));
  CHECK(strstr(coble_string_data(json), "\"WorkingDir\":\"/tmp\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_image_inspect_docker(engine, "small:1", &json, &error));
  CHECK(strstr(coble_string_data(json), "\"RepoTags\":[\"small:1\"]") != NULL);
  CHECK(strstr(coble_string_data(json), "\"Size\":3,") != NULL);
  CHECK(strstr(coble_string_data(json), "\"Author\":\"somebody\"") != NULL);
  CHECK(strstr(coble_string_data(json), "\"ExposedPorts\":{\"80/tcp\":{}}") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_image_history(engine, "small:1", &json, &error));
  CHECK(strstr(coble_string_data(json), "made by a test") != NULL);
  coble_string_delete(json);

  CHECK_OK(coble_image_get_platform(engine, "small:1", coble_image_architecture(image), &again, &error));
  CHECK(strcmp(coble_image_id(image), coble_image_id(again)) == 0);
  coble_image_delete(again);
  again = NULL;
  CHECK_FAILS(coble_image_get_platform(engine, "small:1", "windows/amd64", &again, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK_OK(coble_image_tag(engine, "small:1", "small:2", &error));
  CHECK_OK(coble_image_get(engine, "small:2", &again, &error));
  CHECK(strcmp(coble_image_id(image), coble_image_id(again)) == 0);
  CHECK(coble_image_reference_count(again) == 2);
  CHECK(coble_image_warning_count(again) == 0);
  coble_image_delete(again);

  CHECK_OK(coble_image_list(engine, NULL, 0, &list, &error));
  for (index = 0; index < coble_image_list_count(list); index++) {
    found += strcmp(coble_image_id(coble_image_list_get(list, index)), coble_image_id(image)) == 0;
  }
  CHECK(found == 1);
  CHECK(coble_image_list_get(list, coble_image_list_count(list)) == NULL);
  coble_image_list_delete(list);
  list = NULL;

  filters[0] = "label=k=other";
  CHECK_OK(coble_image_list(engine, filters, 1, &list, &error));
  CHECK(coble_image_list_count(list) == 0);
  coble_image_list_delete(list);
  list = NULL;
  filters[0] = "color=red";
  CHECK_FAILS(coble_image_list(engine, filters, 1, &list, &error), COBLE_ERR_INVALID_ARGUMENT);

  names[0] = "small:1";
  saved = mkstemp(path);
  CHECK(saved >= 0);
  CHECK(unlink(path) == 0);
  CHECK_OK(coble_image_save_fd(engine, names, 1, saved, NULL, NULL, NULL, &error));
  CHECK(lseek(saved, 0, SEEK_SET) == 0);
  CHECK_OK(coble_image_load_fd(engine, saved, "all", NULL, &list, &error));
  CHECK(coble_image_list_count(list) == 1);
  CHECK(strcmp(coble_image_digest(coble_image_list_get(list, 0)), coble_image_digest(image)) == 0);
  coble_image_list_delete(list);
  list = NULL;
  size = lseek(saved, 0, SEEK_END);
  CHECK(lseek(saved, 0, SEEK_SET) == 0);
  look_anew(&seen);
  CHECK_OK(coble_image_load_fd_with_progress(engine, saved, NULL, see, &seen, NULL, &list, &error));
  CHECK(seen.calls >= 3 && seen.last == COBLE_PROGRESS_DONE && seen.read == (uint64_t)size);
  coble_image_list_delete(list);
  list = NULL;
  CHECK(lseek(saved, 0, SEEK_SET) == 0);
  seen.stop_at = COBLE_PROGRESS_READ;
  CHECK_FAILS(coble_image_load_fd_with_progress(engine, saved, NULL, see, &seen, NULL, &list, &error), COBLE_ERR_CANCELLED);
  CHECK(lseek(saved, 0, SEEK_SET) == 0);
  look_anew(&seen);
  CHECK_OK(coble_image_save_fd_with_progress(engine, names, 1, saved, NULL, NULL, see, &seen, NULL, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE && seen.overall > 0);
  seen.stop_at = COBLE_PROGRESS_BLOB_START;
  CHECK_FAILS(coble_image_save_with_progress(engine, names, 1, "/tmp", NULL, NULL, see, &seen, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_image_save_with_progress(engine, names, 1, "/dev/null", NULL, NULL, see, &seen, NULL, &error), COBLE_ERR_CANCELLED);
  CHECK_FAILS(coble_image_load_with_progress(engine, "/nowhere/at/all", NULL, NULL, NULL, NULL, &list, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK(close(saved) == 0);
  CHECK_FAILS(coble_image_save(engine, names, 1, "/dev/null", "rar", NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_image_save(engine, names, 0, "/dev/null", NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_image_diff(engine, "small:1", "small:2", NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[]") == 0);
  coble_string_delete(json);
  CHECK_OK(coble_image_mount(engine, "small:1", NULL, &mount, &error));
  CHECK(coble_image_mount_fd(mount) >= 0);
  CHECK(faccessat(coble_image_mount_fd(mount), ".", W_OK, 0) != 0);
  coble_image_mount_delete(mount);
  CHECK(coble_image_mount_fd(NULL) == -1);
  coble_image_mount_delete(NULL);
  CHECK_OK(coble_engine_disk_usage(engine, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"total\":") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_engine_scrub(engine, 0, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"problems\":[]") != NULL);
  coble_string_delete(json);
  look_anew(&seen);
  CHECK_OK(coble_engine_scrub_with_progress(engine, 0, see, &seen, NULL, &json, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE && seen.overall > 0);
  coble_string_delete(json);
  CHECK_OK(coble_engine_verify_with_progress(engine, see, &seen, NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[]") == 0);
  coble_string_delete(json);
  seen.stop_at = COBLE_PROGRESS_CHECK;
  CHECK_FAILS(coble_engine_scrub_with_progress(engine, 0, see, &seen, NULL, &json, &error), COBLE_ERR_CANCELLED);
  CHECK_FAILS(coble_engine_verify_with_progress(engine, see, &seen, NULL, &json, &error), COBLE_ERR_CANCELLED);

  CHECK_OK(coble_container_spec_new("small:1", &spec, &error));
  CHECK_OK(coble_container_spec_set_platform(spec, NULL, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  coble_container_spec_delete(spec);
  CHECK_OK(coble_container_diff(container, NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[]") == 0);
  coble_string_delete(json);
  CHECK_OK(coble_commit_options_add_change(commit, "LABEL made=here", &error));
  CHECK_OK(coble_commit_options_set_author(commit, "somebody", &error));
  CHECK_OK(coble_commit_options_set_message(commit, "said", &error));
  CHECK_OK(coble_commit_options_set_pause(commit, 0, &error));
  CHECK_OK(coble_commit_options_set_compression(commit, "zstd", &error));
  look_anew(&seen);
  CHECK_OK(coble_commit_options_set_progress(commit, see, &seen, &error));
  CHECK_OK(coble_container_commit(container, "made:1", commit, NULL, &again, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE && seen.read > 0);
  CHECK(strstr(coble_image_reference(again, 0), "made:1") != NULL);
  CHECK_OK(coble_image_json(again, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"made\":\"here\"") != NULL);
  coble_string_delete(json);
  coble_image_delete(again);
  again = NULL;
  CHECK_OK(coble_commit_options_add_change(commit, "RUN x", &error));
  CHECK_FAILS(coble_container_commit(container, NULL, commit, NULL, &again, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_commit_options_delete(commit);
  saved = mkstemp(other);
  CHECK(saved >= 0);
  CHECK_OK(coble_container_export_fd(container, saved, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"entries\":") != NULL);
  coble_string_delete(json);
  CHECK(lseek(saved, 0, SEEK_END) >= 1024);
  CHECK(close(saved) == 0);
  CHECK_OK(coble_container_export(container, other, NULL, NULL, &error));
  look_anew(&seen);
  CHECK_OK(coble_container_export_with_progress(container, other, see, &seen, NULL, NULL, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE && seen.read >= 1024);
  seen.stop_at = COBLE_PROGRESS_READ;
  saved = open("/dev/null", O_WRONLY);
  CHECK(saved >= 0);
  CHECK_FAILS(coble_container_export_fd_with_progress(container, saved, see, &seen, NULL, NULL, &error), COBLE_ERR_CANCELLED);
  CHECK(close(saved) == 0);
  CHECK_OK(coble_container_write_file(container, "/file", "content", 7, 0600, NULL, NULL, &error));
  CHECK_OK(coble_container_list_files(container, "/", NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "{\"name\":\"file\",\"kind\":\"file\",\"size\":7,\"mode\":384,\"uid\":0") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_copy_from(container, "/file", other, 0, 0, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"entries\":1") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_copy_to(container, other, "/again", 0, 0, NULL, NULL, &error));
  CHECK_OK(coble_container_snapshot(container, NULL, 1, NULL, &snapshot, &error));
  CHECK_OK(coble_container_list_files(snapshot, "/", NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"name\":\"again\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_container_remove(snapshot, 0, &error));
  coble_container_delete(snapshot);
  CHECK_OK(coble_container_get_archive(container, "/again", other, 0, NULL, NULL, &error));
  CHECK_OK(coble_container_put_archive(container, "/", other, NULL, NULL, &error));
  saved = open(other, O_RDONLY);
  CHECK(saved >= 0);
  CHECK_OK(coble_container_put_archive_fd(container, "/", saved, NULL, NULL, &error));
  CHECK(close(saved) == 0);
  CHECK_FAILS(coble_container_copy_to(container, "/nowhere/at/all", "/", 0, 0, NULL, NULL, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK_FAILS(coble_container_copy_to(container, other, "/", 2, 0, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_write_file(container, "/", NULL, 0, 0600, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_write_file(container, "/x", NULL, 1, 0600, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_container_list_files(container, "/file", NULL, &json, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK(unlink(other) == 0);
  CHECK_OK(coble_container_remove(container, 0, &error));
  coble_container_delete(container);
  CHECK_OK(coble_image_remove(engine, "made:1", 0, NULL, &error));

  prune.size = sizeof prune;
  CHECK_OK(coble_image_prune(engine, &prune, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"reclaimed\":") != NULL);
  coble_string_delete(json);
  prune.all = 2;
  CHECK_FAILS(coble_image_prune(engine, &prune, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);

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
  CHECK_FAILS(coble_image_import_rootfs(engine, "/no/such/archive", "small:2", NULL, NULL, &again, &error),
              COBLE_ERR_PATH_NOT_FOUND);
  CHECK_FAILS(coble_image_import_rootfs_fd(engine, fd, "Not A Reference", NULL, NULL, &again, &error),
              COBLE_ERR_INVALID_REFERENCE);
  CHECK(close(fd) == 0);
  coble_engine_delete(engine);
  return 0;
}
