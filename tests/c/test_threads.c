/* One engine and one container on many threads; a call that another thread cancels. */

#include <pthread.h>

#include "check.h"

#define THREADS 8
#define RUNS 3

static coble_engine_t *engine;
static coble_container_t *container;
static coble_cancel_t *cancel;

static void *run(void *argument) {
  coble_error_t *error = NULL;
  char script[64], expected[64];
  int number = *(int *)argument, round;
  for (round = 0; round < RUNS; round++) {
    coble_container_spec_t *spec = NULL;
    coble_run_result_t *result = NULL;
    (void)snprintf(script, sizeof script, "echo %d; exit %d", number, number);
    (void)snprintf(expected, sizeof expected, "%d\n", number);
    spec = shell(script);
    CHECK_OK(coble_engine_run(engine, spec, NULL, NULL, &result, &error));
    CHECK(coble_run_result_exit_code(result) == number);
    CHECK(stdout_is(result, expected));
    coble_run_result_delete(result);
    coble_container_spec_delete(spec);
  }
  return NULL;
}

static void *wait_for_it(void *argument) {
  coble_error_t *error = NULL;
  int32_t code = -1;
  (void)argument;
  CHECK_FAILS(coble_container_wait(container, -1, cancel, &code, &error), COBLE_ERR_CANCELLED);
  CHECK(code == -1);
  return NULL;
}

static void on_threads(void *(*function)(void *), int count) {
  pthread_t threads[THREADS];
  int numbers[THREADS], index;
  for (index = 0; index < count; index++) {
    numbers[index] = index;
    CHECK(pthread_create(&threads[index], NULL, function, &numbers[index]) == 0);
  }
  if (function == wait_for_it) {
    coble_cancel_cancel(cancel);
  }
  for (index = 0; index < count; index++) {
    CHECK(pthread_join(threads[index], NULL) == 0);
  }
}

int main(int argc, char **argv) {
  coble_error_t *error = NULL;
  coble_container_spec_t *spec = NULL;
  engine = open_engine(argc, argv);
  on_threads(run, THREADS);

  cancel = coble_cancel_new();
  CHECK(cancel != NULL && coble_cancel_is_cancelled(cancel) == 0);
  spec = shell("exec sleep 1000");
  CHECK_OK(coble_container_spec_set_lifetime(spec, COBLE_LIFETIME_SESSION, &error));
  CHECK_OK(coble_container_create(engine, spec, &container, &error));
  CHECK_OK(coble_container_start(container, NULL, NULL, &error));
  on_threads(wait_for_it, 4);
  CHECK(coble_cancel_is_cancelled(cancel) == 1);
  CHECK_OK(coble_container_remove(container, 1, &error));

  coble_cancel_delete(cancel);
  coble_container_delete(container);
  coble_container_spec_delete(spec);
  coble_engine_delete(engine);
  return 0;
}
