/* Versions, status names, and deleting nothing. */

#include "check.h"

int main(void) {
  char version[64];
  (void)snprintf(version, sizeof version, "%d.%d.%d", COBLE_VERSION_MAJOR, COBLE_VERSION_MINOR, COBLE_VERSION_PATCH);
  CHECK(strcmp(COBLE_VERSION, version) == 0);
  CHECK(strcmp(coble_version(), COBLE_VERSION) == 0);
  CHECK(coble_abi_version() == COBLE_ABI_VERSION);

  CHECK(strcmp(coble_status_name(COBLE_OK), "Ok") == 0);
  CHECK(strcmp(coble_status_name(COBLE_ERR_IMAGE_NOT_FOUND), "ImageNotFound") == 0);
  CHECK(strcmp(coble_status_name(COBLE_ERR_PANIC), "Panic") == 0);
  CHECK(coble_status_name(1) == NULL);
  CHECK(coble_status_name(-100000) == NULL);
  CHECK(coble_status_name(INT32_MIN) == NULL);

  coble_error_delete(NULL);
  coble_string_delete(NULL);
  coble_cancel_delete(NULL);
  coble_engine_close(NULL);
  coble_engine_delete(NULL);
  coble_import_options_delete(NULL);
  coble_image_delete(NULL);
  coble_image_list_delete(NULL);
  coble_container_spec_delete(NULL);
  coble_exec_spec_delete(NULL);
  coble_run_result_delete(NULL);
  coble_container_delete(NULL);
  coble_container_list_delete(NULL);
  coble_process_delete(NULL);
  coble_log_stream_delete(NULL);
  return 0;
}
