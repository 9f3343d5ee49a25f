/* Registries: options, and against one that the runner has started, push, pull, progress, lock files, copying, looking and deleting. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

typedef struct {
  int calls;
  int last;
  int stop_at;
  uint64_t overall;
} seen_t;

/* Called on threads of the transfer, one call at a time. */
static int32_t see(const coble_progress_t *progress, void *userdata) {
  seen_t *seen = userdata;
  seen->calls++;
  seen->last = coble_progress_kind(progress);
  if (strlen(coble_progress_kind_name(progress)) == 0 || strlen(coble_progress_reference(progress)) == 0 ||
      coble_progress_current(progress) > coble_progress_total(progress) + coble_progress_current(progress)) {
    return 1;
  }
  if (coble_progress_kind(progress) == COBLE_PROGRESS_BLOB_DONE && coble_progress_digest(progress) == NULL) {
    return 1;
  }
  (void)coble_progress_message(progress);
  seen->overall = coble_progress_overall_total(progress);
  (void)coble_progress_overall_current(progress);
  return seen->calls == seen->stop_at ? 1 : 0;
}

static void options_are_checked(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_pull_options_t *pull = coble_pull_options_new();
  coble_push_options_t *push = coble_push_options_new();
  coble_copy_options_t *copy = coble_copy_options_new();
  coble_search_options_t *search = coble_search_options_new();
  coble_registry_options_t *registry = coble_registry_options_new();
  coble_container_spec_t *spec = NULL;
  coble_image_t *image = NULL;
  coble_string_t *json = NULL;
  CHECK_OK(coble_registry_options_set_password(registry, "somebody", "secret", &error));
  CHECK_OK(coble_registry_options_set_identity_token(registry, "secret", &error));
  CHECK_OK(coble_registry_options_set_token(registry, "secret", &error));
  CHECK_OK(coble_registry_options_set_insecure(registry, 1, &error));
  CHECK_FAILS(coble_registry_options_set_insecure(registry, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_registry_options_set_password(registry, "somebody", NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_registry_options_set_auth_file(registry, "/nowhere", &error));
  CHECK_OK(coble_registry_options_set_cert_dir(registry, NULL, &error));
  CHECK_OK(coble_registry_options_set_retries(registry, 0, &error));
  CHECK_OK(coble_pull_options_set_platform(pull, "all", &error));
  CHECK_OK(coble_pull_options_set_policy(pull, COBLE_PULL_NEVER, &error));
  CHECK_FAILS(coble_pull_options_set_policy(pull, 4, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_pull_options_set_jobs(pull, 2, &error));
  CHECK_OK(coble_pull_options_set_lock(pull, NULL, &error));
  CHECK_OK(coble_pull_options_set_registry(pull, registry, &error));
  CHECK_OK(coble_pull_options_set_platform(pull, NULL, &error));
  CHECK_FAILS(coble_pull_options_set_allow_foreign_urls(pull, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_pull_options_add_foreign_url_host(pull, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_pull_options_add_foreign_url_host(pull, "layers.example:8443", &error));
  CHECK_FAILS(coble_image_pull(engine, "not-there", pull, NULL, NULL, NULL, &image, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_pull_options_set_allow_foreign_urls(pull, 1, &error));
  CHECK_FAILS(coble_image_pull(engine, "not-there", pull, NULL, NULL, NULL, &image, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK_FAILS(coble_image_pull(engine, NULL, pull, NULL, NULL, NULL, &image, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_image_pull(engine, "Not A Name", NULL, NULL, NULL, NULL, &image, &error), COBLE_ERR_INVALID_REFERENCE);
  CHECK(image == NULL);
  CHECK_OK(coble_push_options_set_platform(push, NULL, &error));
  CHECK_OK(coble_push_options_set_compression(push, "zstd", &error));
  CHECK_OK(coble_push_options_set_compression_level(push, 23, &error));
  CHECK_FAILS(coble_image_push(engine, "not-there", push, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_push_options_set_compression_level(push, 0, &error));
  CHECK_FAILS(coble_push_options_add_tag(push, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_push_options_set_format(push, "v2s2", &error));
  CHECK_FAILS(coble_image_push(engine, "not-there", push, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_push_options_set_format(push, "v2s1", &error));
  CHECK_FAILS(coble_image_push(engine, "not-there", push, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_push_options_set_format(push, "oci", &error));
  CHECK_FAILS(coble_push_options_set_allow_nondistributable_artifacts(push, 2, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_push_options_set_allow_nondistributable_artifacts(push, 1, &error));
  CHECK_OK(coble_push_options_set_chunk_size(push, 0, &error));
  CHECK_OK(coble_push_options_set_jobs(push, 0, &error));
  CHECK_OK(coble_push_options_set_registry(push, NULL, &error));
  CHECK_FAILS(coble_image_push(engine, "not-there", push, NULL, NULL, NULL, NULL, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK_OK(coble_push_options_add_tag(push, "no tag", &error));
  CHECK_FAILS(coble_image_push(engine, "not-there", push, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_REFERENCE);
  CHECK_OK(coble_copy_options_set_platform(copy, NULL, &error));
  CHECK_OK(coble_copy_options_set_jobs(copy, 1, &error));
  CHECK_OK(coble_copy_options_set_format(copy, "v2s1", &error));
  CHECK_FAILS(coble_image_copy(engine, "localhost:1/a", "localhost:1/b", copy, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_copy_options_set_format(copy, "v2s2", &error));
  CHECK_OK(coble_copy_options_set_allow_nondistributable_artifacts(copy, 1, &error));
  CHECK_OK(coble_copy_options_add_foreign_url_host(copy, "no host", &error));
  CHECK_OK(coble_copy_options_set_allow_foreign_urls(copy, 1, &error));
  CHECK_FAILS(coble_image_copy(engine, "localhost:1/a", "localhost:1/b", copy, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_copy_options_set_source(copy, registry, &error));
  CHECK_OK(coble_copy_options_set_target(copy, registry, &error));
  CHECK_FAILS(coble_image_copy(engine, "Not A Name", "b", copy, NULL, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_REFERENCE);
  CHECK_OK(coble_search_options_set_registry(search, "localhost:1", &error));
  CHECK_OK(coble_search_options_set_limit(search, 3, &error));
  CHECK_OK(coble_search_options_add_filter(search, "color=red", &error));
  CHECK_OK(coble_search_options_set_registry_options(search, registry, &error));
  CHECK_FAILS(coble_image_search(engine, "x", search, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_registry_options_delete(registry);
  registry = coble_registry_options_new();
  CHECK_FAILS(coble_registry_login(engine, "localhost:1", registry, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_FAILS(coble_registry_tags(engine, NULL, registry, NULL, &json, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_new("not-there", &spec, &error));
  CHECK_FAILS(coble_container_spec_set_pull(spec, -1, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_container_spec_set_pull(spec, COBLE_PULL_NEVER, &error));
  CHECK_FAILS(coble_engine_run(engine, spec, NULL, NULL, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  coble_container_spec_delete(spec);
  coble_registry_options_delete(registry);
  coble_search_options_delete(search);
  coble_copy_options_delete(copy);
  coble_push_options_delete(push);
  coble_pull_options_delete(pull);
  coble_pull_options_delete(NULL);
  CHECK(coble_progress_kind(NULL) == -1);
  CHECK(coble_pushed_digest(NULL) == NULL);
  CHECK(coble_pushed_warning_count(NULL) == 0 && coble_pushed_warning_code(NULL, 0) == NULL && coble_pushed_warning_message(NULL, 0) == NULL);
}

/* A registry that nobody serves: an error of the network, and of no other kind. */
static void nobody_answers(coble_engine_t *engine) {
  coble_error_t *error = NULL;
  coble_registry_options_t *registry = coble_registry_options_new();
  coble_pull_options_t *pull = coble_pull_options_new();
  coble_search_options_t *search = coble_search_options_new();
  coble_cancel_t *cancel = coble_cancel_new();
  coble_string_t *json = NULL;
  coble_pull_plan_t *plan = NULL;
  coble_search_results_t *results = NULL;
  coble_pin_list_t *pins = NULL;
  const char *names[1] = {"127.0.0.1:1/x:1"};
  seen_t seen = {0, 0, 1, 0};
  CHECK_OK(coble_registry_options_set_retries(registry, 0, &error));
  CHECK_FAILS(coble_registry_tags(engine, "127.0.0.1:1/x", registry, NULL, &json, &error), COBLE_ERR_NETWORK);
  /* Who hears that it is tried again can end that, in every call, and without the caller's token. */
  CHECK_OK(coble_registry_options_set_retries(registry, 1, &error));
  CHECK_OK(coble_registry_options_set_progress(registry, see, &seen, &error));
  CHECK_OK(coble_pull_options_set_registry(pull, registry, &error));
  CHECK_OK(coble_search_options_set_registry_options(search, registry, &error));
  CHECK_FAILS(coble_registry_tags(engine, "127.0.0.1:1/x", registry, cancel, &json, &error), COBLE_ERR_CANCELLED);
  CHECK(seen.calls == 1 && seen.last == COBLE_PROGRESS_RETRY && coble_cancel_is_cancelled(cancel) == 0);
  seen.calls = 0;
  CHECK_FAILS(coble_registry_catalog(engine, "127.0.0.1:1", registry, cancel, &json, &error), COBLE_ERR_CANCELLED);
  seen.calls = 0;
  CHECK_FAILS(coble_registry_referrers(engine, names[0], NULL, registry, cancel, &json, &error), COBLE_ERR_CANCELLED);
  seen.calls = 0;
  CHECK_FAILS(coble_registry_delete(engine, names[0], registry, cancel, &error), COBLE_ERR_CANCELLED);
  seen.calls = 0;
  CHECK_FAILS(coble_image_plan(engine, names[0], pull, cancel, &plan, &error), COBLE_ERR_CANCELLED);
  seen.calls = 0;
  CHECK_FAILS(coble_image_search(engine, "127.0.0.1:1/x", search, cancel, &results, &error), COBLE_ERR_CANCELLED);
  seen.calls = 0;
  CHECK_FAILS(coble_image_lock(engine, names, 1, "/nowhere/lock", registry, cancel, &pins, &error), COBLE_ERR_CANCELLED);
  CHECK(seen.calls == 1 && coble_cancel_is_cancelled(cancel) == 0);
  CHECK_OK(coble_registry_options_set_progress(registry, NULL, NULL, &error));
  CHECK_FAILS(coble_registry_tags(engine, "127.0.0.1:1/x", registry, cancel, &json, &error), COBLE_ERR_NETWORK);
  CHECK(seen.calls == 1);
  coble_cancel_delete(cancel);
  coble_search_options_delete(search);
  coble_pull_options_delete(pull);
  coble_registry_options_delete(registry);
}

static const char *name_of(char *buffer, size_t size, const char *host, const char *rest) {
  CHECK(snprintf(buffer, size, "%s/%s", host, rest) < (int)size);
  return buffer;
}

static void there_and_back(coble_engine_t *engine, char **argv, const char *host) {
  coble_error_t *error = NULL;
  char first[256];
  char second[256];
  char repository[256];
  char lock_file[] = "/tmp/coble-test-lock-XXXXXX";
  const char *names[1];
  seen_t seen = {0, 0, 0, 0};
  size_t index;
  int32_t removed = 1;
  char *digest;
  coble_push_options_t *push = coble_push_options_new();
  coble_pushed_t *pushed = NULL;
  coble_pull_plan_t *plan = NULL;
  coble_image_t *image = NULL;
  coble_pin_list_t *pins = NULL;
  coble_remote_image_t *remote = NULL;
  coble_string_t *json = NULL;
  coble_container_spec_t *spec = NULL;
  coble_run_result_t *result = NULL;
  coble_container_t *container = NULL;
  coble_engine_t *locked = NULL;
  coble_engine_options_t options;
  const char *command[2] = {"echo", "pulled"};
  coble_cancel_t *cancel = coble_cancel_new();
  int fd = mkstemp(lock_file);

  CHECK(fd >= 0 && close(fd) == 0 && unlink(lock_file) == 0);
  (void)name_of(first, sizeof first, host, "c/image:1");
  (void)name_of(second, sizeof second, host, "c/copy:1");
  (void)name_of(repository, sizeof repository, host, "c/image");
  CHECK_OK(coble_image_tag(engine, IMAGE, first, &error));
  CHECK_OK(coble_push_options_add_tag(push, "2", &error));
  CHECK_OK(coble_image_push(engine, first, push, see, &seen, NULL, &pushed, &error));
  coble_push_options_delete(push);
  CHECK(coble_pushed_tag_count(pushed) == 2 && strcmp(coble_pushed_tag(pushed, 0), "1") == 0);
  CHECK(strcmp(coble_pushed_tag(pushed, 1), "2") == 0 && coble_pushed_tag(pushed, 2) == NULL);
  CHECK(seen.calls > 2 && seen.last == COBLE_PROGRESS_DONE && seen.overall > 0);
  CHECK(strcmp(coble_pushed_reference(pushed), first) == 0);
  CHECK(strncmp(coble_pushed_digest(pushed), "sha256:", 7) == 0);
  CHECK(strstr(coble_pushed_media_type(pushed), "manifest") != NULL);
  CHECK(coble_pushed_size(pushed) > 0 && coble_pushed_blobs_sent(pushed) == 2 && coble_pushed_bytes_sent(pushed) > 0);
  CHECK(coble_pushed_blobs_present(pushed) == 0 && coble_pushed_blobs_mounted(pushed) == 0);
  CHECK_OK(coble_pushed_json(pushed, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"bytes_sent\":") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_image_untag(engine, first, &error));

  CHECK_OK(coble_image_plan(engine, first, NULL, NULL, &plan, &error));
  CHECK(strcmp(coble_pull_plan_digest(plan), coble_pushed_digest(pushed)) == 0);
  CHECK(strcmp(coble_pull_plan_reference(plan), first) == 0);
  /* The store has it under another name. */
  CHECK(coble_pull_plan_missing_bytes(plan) == 0 && coble_pull_plan_present_bytes(plan) > 0);
  CHECK(coble_pull_plan_blob_count(plan) == 2);
  for (index = 0; index < 2; index++) {
    CHECK(coble_pull_plan_blob_present(plan, index) == 1 && coble_pull_plan_blob_size(plan, index) > 0);
    CHECK(strncmp(coble_pull_plan_blob_digest(plan, index), "sha256:", 7) == 0);
  }
  CHECK(coble_pull_plan_blob_digest(plan, 2) == NULL);
  CHECK_OK(coble_pull_plan_json(plan, &json, &error));
  coble_string_delete(json);
  coble_pull_plan_delete(plan);

  /* A callback that says no. */
  memset(&seen, 0, sizeof seen);
  seen.stop_at = 1;
  CHECK_FAILS(coble_image_pull(engine, first, NULL, see, &seen, cancel, &image, &error), COBLE_ERR_CANCELLED);
  CHECK(seen.calls == 1 && coble_cancel_is_cancelled(cancel) == 0);
  coble_cancel_cancel(cancel);
  CHECK_FAILS(coble_image_pull(engine, first, NULL, see, &seen, cancel, &image, &error), COBLE_ERR_CANCELLED);
  memset(&seen, 0, sizeof seen);
  CHECK_OK(coble_image_pull(engine, first, NULL, see, &seen, NULL, &image, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE);
  CHECK(strcmp(coble_image_digest(image), coble_pushed_digest(pushed)) == 0);
  coble_image_delete(image);
  CHECK_OK(coble_image_untag(engine, first, &error));

  /* A container of an image that has to be pulled first. */
  CHECK_OK(coble_container_spec_new(first, &spec, &error));
  CHECK_OK(coble_container_spec_set_command(spec, command, 2, &error));
  CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
  CHECK(stdout_is(result, "pulled\n"));
  coble_run_result_delete(result);
  CHECK_OK(coble_container_spec_set_pull(spec, COBLE_PULL_ALWAYS, &error));
  memset(&seen, 0, sizeof seen);
  seen.stop_at = 1;
  CHECK_FAILS(coble_container_create_within(engine, spec, see, &seen, NULL, &container, &error), COBLE_ERR_CANCELLED);
  seen.stop_at = 0;
  CHECK_OK(coble_container_create_within(engine, spec, see, &seen, NULL, &container, &error));
  CHECK(seen.last == COBLE_PROGRESS_DONE);
  CHECK_OK(coble_container_remove(container, 0, &error));
  coble_container_delete(container);
  coble_container_spec_delete(spec);

  names[0] = first;
  CHECK_OK(coble_image_lock(engine, names, 1, lock_file, NULL, NULL, &pins, &error));
  CHECK(coble_pin_list_count(pins) == 1);
  CHECK(strcmp(coble_pin_list_reference(pins, 0), first) == 0);
  CHECK(strcmp(coble_pin_list_digest(pins, 0), coble_pushed_digest(pushed)) == 0);
  CHECK(coble_pin_list_digest(pins, 1) == NULL);
  CHECK_OK(coble_pin_list_json(pins, &json, &error));
  coble_string_delete(json);
  coble_pin_list_delete(pins);

  CHECK_OK(coble_image_copy(engine, first, second, NULL, NULL, NULL, NULL, NULL, &error));
  CHECK_OK(coble_registry_inspect(engine, second, NULL, NULL, NULL, &remote, &error));
  CHECK(strcmp(coble_remote_image_digest(remote), coble_pushed_digest(pushed)) == 0);
  CHECK(strcmp(coble_remote_image_reference(remote), second) == 0);
  CHECK(strcmp(coble_remote_image_media_type(remote), coble_pushed_media_type(pushed)) == 0);
  CHECK(coble_remote_image_size(remote) > coble_pushed_size(pushed));
  CHECK(coble_remote_image_platform_count(remote) == 1 && coble_remote_image_platform(remote, 1) == NULL);
  CHECK(strncmp(coble_remote_image_platform(remote, 0), "linux/", 6) == 0);
  CHECK_OK(coble_remote_image_json(remote, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"manifest\":") != NULL);
  coble_string_delete(json);
  coble_remote_image_delete(remote);

  CHECK_OK(coble_registry_tags(engine, repository, NULL, NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[\"1\",\"2\"]") == 0);
  coble_string_delete(json);
  CHECK_OK(coble_registry_catalog(engine, host, NULL, NULL, &json, &error));
  CHECK(strstr(coble_string_data(json), "\"c/copy\"") != NULL);
  coble_string_delete(json);
  CHECK_OK(coble_registry_referrers(engine, first, NULL, NULL, NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[]") == 0);
  coble_string_delete(json);
  CHECK_FAILS(coble_image_pull(engine, repository, NULL, NULL, NULL, NULL, NULL, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  CHECK_OK(coble_registry_logout(engine, host, "/nowhere/auth.json", &removed, &error));
  CHECK(removed == 0);

  /* Another image under the name that is pinned. */
  names[0] = "true";
  CHECK_OK(coble_image_from_host(engine, names, 1, first, NULL, NULL, &image, &error));
  coble_image_delete(image);
  CHECK_OK(coble_image_push(engine, first, NULL, NULL, NULL, NULL, NULL, &error));
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.data_root = argv[1];
  options.run_root = argv[2];
  options.lock_file = lock_file;
  CHECK_OK(coble_engine_open(&options, &locked, &error));
  CHECK_FAILS(coble_image_pull(locked, first, NULL, NULL, NULL, NULL, NULL, &error), COBLE_ERR_DIGEST_DRIFT);
  coble_engine_close(locked);
  coble_engine_delete(locked);
  CHECK(unlink(lock_file) == 0);

  /* Offline: at once, and with the name of who would have been asked. */
  options.lock_file = NULL;
  options.offline = COBLE_OFFLINE_YES;
  options.connections = 3;
  options.connections_per_host = 2;
  CHECK_OK(coble_engine_open(&options, &locked, &error));
  CHECK(coble_image_pull(locked, first, NULL, NULL, NULL, NULL, NULL, &error) == COBLE_ERR_OFFLINE);
  CHECK(strcmp(coble_error_object(error), host) == 0);
  coble_error_delete(error);
  error = NULL;
  coble_engine_close(locked);
  coble_engine_delete(locked);
  options.connections = 5000;
  CHECK_FAILS(coble_engine_open(&options, &locked, &error), COBLE_ERR_INVALID_ARGUMENT);

  digest = malloc(strlen(repository) + strlen(coble_pushed_digest(pushed)) + 2);
  CHECK(digest != NULL);
  (void)sprintf(digest, "%s@%s", repository, coble_pushed_digest(pushed));
  CHECK_OK(coble_registry_delete(engine, digest, NULL, NULL, &error));
  CHECK_FAILS(coble_registry_inspect(engine, digest, NULL, NULL, NULL, &remote, &error), COBLE_ERR_IMAGE_NOT_FOUND);
  free(digest);
  CHECK_OK(coble_image_remove(engine, first, 0, NULL, &error));
  coble_pushed_delete(pushed);
  coble_cancel_delete(cancel);
}

/* A registry that wants to know who asks: me, with the password "s3". */
static pid_t guarded(char *host) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  pid_t child;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 8) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
  (void)sprintf(host, "127.0.0.1:%d", ntohs(address.sin_port));
  child = fork();
  CHECK(child >= 0);
  while (child == 0) {
    static const char no[] = "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    static const char yes[] = "HTTP/1.1 200 Yes\r\nContent-Length: 14\r\nConnection: close\r\n\r\n{\"tags\":[\"1\"]}";
    char request[8192];
    size_t size = 0;
    ssize_t amount = 0;
    const char *answer;
    int stream = accept(listener, NULL, NULL);
    if (stream < 0) {
      _exit(1);
    }
    request[0] = 0;
    /* What does not begin as a request is a handshake of TLS. */
    while (strstr(request, "\r\n\r\n") == NULL && (size == 0 || request[0] == 'G') && size < sizeof request - 1 &&
           (amount = read(stream, request + size, sizeof request - 1 - size)) > 0) {
      size += (size_t)amount;
      request[size] = 0;
    }
    answer = strstr(request, "Basic bWU6czM=") != NULL ? yes : no;
    if (request[0] == 'G' && write(stream, answer, strlen(answer)) < 0) {
      _exit(1);
    }
    (void)close(stream);
  }
  (void)close(listener);
  return child;
}

typedef struct {
  const char *host;
  int calls;
  int refused;
  int result;
} asked_t;

static int32_t know(coble_credential_request_t *request, void *userdata) {
  asked_t *asked = userdata;
  coble_error_t *error = NULL;
  asked->calls++;
  asked->refused += coble_credential_request_refused(request);
  if (strcmp(coble_credential_request_registry(request), asked->host) != 0 || strcmp(coble_credential_request_repository(request), "a/b") != 0) {
    return 99;
  }
  CHECK_OK(coble_credential_request_set_token(request, "t", &error));
  CHECK_OK(coble_credential_request_set_identity_token(request, "t", &error));
  CHECK_FAILS(coble_credential_request_set_password(request, "me", NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_credential_request_set_password(request, "me", asked->calls == 1 ? "old" : "s3", &error));
  return asked->result;
}

static void credentials_are_asked_for(coble_engine_t *engine, char **argv, const char *host) {
  coble_error_t *error = NULL;
  coble_string_t *json = NULL;
  coble_engine_t *other = NULL;
  coble_engine_options_t options;
  coble_registry_options_t *registry = coble_registry_options_new();
  asked_t asked = {NULL, 0, 0, 0};
  char repository[64];
  asked.host = host;
  (void)sprintf(repository, "%s/a/b", host);
  CHECK_OK(coble_registry_options_set_insecure(registry, 1, &error));
  CHECK_OK(coble_registry_options_set_auth_file(registry, "/dev/null", &error));
  CHECK_FAILS(coble_registry_tags(engine, repository, registry, NULL, &json, &error), COBLE_ERR_UNAUTHORIZED);
  CHECK_OK(coble_registry_options_set_credential_provider(registry, know, &asked, &error));
  CHECK_OK(coble_registry_options_set_connect_timeout(registry, 20000, &error));
  CHECK_OK(coble_registry_options_set_idle_timeout(registry, 20000, &error));
  CHECK_OK(coble_registry_tags(engine, repository, registry, NULL, &json, &error));
  CHECK(strcmp(coble_string_data(json), "[\"1\"]") == 0 && asked.calls == 2 && asked.refused == 1);
  coble_string_delete(json);
  asked.result = 7;
  CHECK_FAILS(coble_registry_tags(engine, repository, registry, NULL, &json, &error), COBLE_ERR_UNAUTHORIZED);
  CHECK(asked.calls == 3);

  /* Of an engine: what is for one registry is refused, the rest is for its calls. */
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.data_root = argv[1];
  options.run_root = argv[2];
  options.registry = registry;
  CHECK_FAILS(coble_engine_open(&options, &other, &error), COBLE_ERR_INVALID_ARGUMENT);
  asked.result = 0;
  CHECK_OK(coble_registry_options_set_insecure(registry, 0, &error));
  CHECK_OK(coble_engine_open(&options, &other, &error));
  coble_registry_options_delete(registry);
  registry = coble_registry_options_new();
  CHECK_OK(coble_registry_options_set_insecure(registry, 1, &error));
  CHECK_OK(coble_registry_tags(other, repository, registry, NULL, &json, &error));
  CHECK(asked.calls == 4);
  coble_string_delete(json);
  CHECK_FAILS(coble_registry_options_add_mirror(registry, NULL, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_registry_options_add_mirror(registry, "ftp://nowhere", &error));
  CHECK_FAILS(coble_registry_tags(other, repository, registry, NULL, &json, &error), COBLE_ERR_INVALID_ARGUMENT);
  CHECK_OK(coble_registry_options_set_hosts_dir(registry, "/nowhere", &error));
  CHECK_FAILS(coble_registry_tags(other, repository, registry, NULL, &json, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK_OK(coble_registry_options_set_hosts_dir(registry, NULL, &error));
  CHECK_OK(coble_registry_options_set_registries_conf(registry, "/nowhere", &error));
  CHECK_FAILS(coble_registry_tags(other, repository, registry, NULL, &json, &error), COBLE_ERR_PATH_NOT_FOUND);
  CHECK(coble_credential_request_registry(NULL) == NULL && coble_credential_request_refused(NULL) == 0);
  coble_engine_delete(other);
  coble_registry_options_delete(registry);
}

int main(int argc, char **argv) {
  char asking[32];
  pid_t child = guarded(asking);
  coble_engine_t *engine = open_engine(argc, argv);
  const char *host = getenv("COBLE_TEST_REGISTRY");
  options_are_checked(engine);
  nobody_answers(engine);
  CHECK(host != NULL);
  there_and_back(engine, argv, host);
  credentials_are_asked_for(engine, argv, asking);
  coble_engine_delete(engine);
  CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
  return 0;
}
