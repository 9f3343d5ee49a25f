// The C++ wrapper: handles, exceptions, a container's life.

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <thread>

#include <coble/coble.hh>

const char *other_version();

#define CHECK(condition)                                                                     \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::cerr << __FILE__ << ':' << __LINE__ << ": not true: " << #condition << '\n';      \
      std::exit(1);                                                                          \
    }                                                                                        \
  } while (false)

template <typename Function> coble_status_t failure(Function function) {
  try {
    function();
  } catch (const coble::Error &error) {
    CHECK(std::string_view(error.what()).size() > 0);
    CHECK(error.get() != nullptr);
    return error.code();
  }
  return COBLE_OK;
}

int main(int argc, char **argv) {
  CHECK(argc == 3);
  CHECK(coble::version() == other_version());
  coble::Engine engine(argv[1], argv[2]);
  CHECK(engine.info().find("\"rootless\":") != std::string::npos);
  CHECK(!engine.images().empty());

  coble::RunOptions options;
  options.input = "in";
  options.timeout = std::chrono::seconds(60);
  auto done = engine.run(coble::ContainerSpec("tests").command({"sh", "-c", "cat; echo err >&2; exit 3"}), options);
  CHECK(done.exit_code() == 3);
  CHECK(done.out() == "in");
  CHECK(done.err() == "err\n");
  CHECK(coble_isolation_no_new_privileges(coble_run_result_isolation(done.get())) == 1);
  CHECK(done.warnings().size() == coble_run_result_warning_count(done.get()));
  CHECK(done.isolation().find("\"no_new_privileges\":true") != std::string::npos);

  options.check = true;
  try {
    engine.run(coble::ContainerSpec("tests").command({"false"}), options);
    CHECK(false);
  } catch (const coble::Error &error) {
    const coble::Error copy = error;
    CHECK(copy.code() == COBLE_ERR_CONTAINER_EXIT);
    CHECK(copy.kind() == "ContainerExit");
    CHECK(coble_run_result_exit_code(coble_error_run_result(copy.get())) == 1);
  }
  CHECK(failure([&] { engine.run(coble::ContainerSpec("not-there").pull(COBLE_PULL_NEVER)); }) == COBLE_ERR_IMAGE_NOT_FOUND);

  auto spec = coble::ContainerSpec("tests");
  spec.command({"sh", "-c", "trap 'exit 7' TERM; echo started; while :; do sleep 0.05; done"})
      .name("of-cpp")
      .environment("A", "b")
      .label("k", "v")
      .lifetime(COBLE_LIFETIME_SESSION);
  auto container = engine.create(spec);
  CHECK(container.name() == "of-cpp");
  CHECK(engine.container(container.id()).name() == "of-cpp");
  container.start();
  CHECK(container.state() == COBLE_STATE_RUNNING);
  CHECK(container.exec({"sh", "-c", "echo $A"}).out() == "b\n");
  CHECK(failure([&] { container.wait(std::chrono::milliseconds(1)); }) == COBLE_ERR_TIMEOUT);
  // Before that it does not hear of signals.
  while (container.logs() != "started\n") {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }

  coble::CancelToken token;
  std::thread canceller([&] { token.cancel(); });
  CHECK(failure([&] { container.wait({}, &token); }) == COBLE_ERR_CANCELLED);
  canceller.join();
  CHECK(token.cancelled());

  container.kill(SIGTERM);
  CHECK(container.wait() == 7);
  CHECK(container.logs() == "started\n");
  CHECK(container.inspect().find("of-cpp") != std::string::npos);
  CHECK(coble_container_details_pid(container.details().get()) == -1);
  container.write_file("/written", "by C++", 0600);
  CHECK(container.list_files("/").find("{\"name\":\"written\",\"kind\":\"file\",\"size\":6,\"mode\":384") != std::string::npos);
  auto snapshot = container.snapshot("of-snapshot");
  CHECK(snapshot.name() == "of-snapshot" && snapshot.list_files("/").find("written") != std::string::npos);
  CHECK(failure([&] { snapshot.copy_to("/nowhere/at/all", "/"); }) == COBLE_ERR_PATH_NOT_FOUND);
  CHECK(failure([&] { snapshot.copy_from("/none", "/tmp"); }) == COBLE_ERR_PATH_NOT_FOUND);
  CHECK(failure([&] { snapshot.put_archive("/", "/nowhere/at/all"); }) == COBLE_ERR_PATH_NOT_FOUND);
  snapshot.remove();
  container.remove();
  coble_healthcheck_t check{};
  const char *const test[] = {"CMD", "true"};
  check.test = test;
  check.test_count = 2;
  check.interval_ns = 50000000;
  const coble::Container checked =
      engine.create(coble::ContainerSpec("tests").command({"sh", "-c", "sleep 60"}).healthcheck(check).restart_policy("always"));
  CHECK(checked.health() == "null");
  checked.start();
  CHECK(checked.wait_until(COBLE_WAIT_HEALTHY, std::chrono::minutes(1)) == 0);
  CHECK(checked.health().find("\"healthy\"") != std::string::npos);
  checked.remove(true);
  const coble::Container failing = engine.create(coble::ContainerSpec("tests")
                                                    .command({"sh", "-c", "cat /run/secrets/key; exit 3"})
                                                    .secret("id=key", "canary")
                                                    .masked_paths({"/proc/version"})
                                                    .readonly_paths({})
                                                    .exposed_port("80")
                                                    .annotation("a", "b")
                                                    .run_timeout(60));
  failing.start();
  CHECK(failure([&] { failing.wait_checked(COBLE_WAIT_NOT_RUNNING, std::chrono::minutes(1)); }) == COBLE_ERR_CONTAINER_EXIT);
  CHECK(failing.inspect_docker().find("canary") == std::string::npos);
  failing.remove();
  const char *const of_it[] = {"container=of-cpp"};
  coble_event_options_t wanted{};
  wanted.filters = of_it;
  wanted.filter_count = 1;
  const coble::EventStream events = engine.events(wanted);
  std::string told;
  while (const coble_event_t *event = events.next()) {
    told += std::string(coble_event_action(event)).substr(0, 6) + " ";
  }
  CHECK(told.rfind("create start ", 0) == 0 && told.find("kill die ") != std::string::npos && told.find(" destro ") != std::string::npos);
  CHECK(failure([&] { engine.container("of-cpp"); }) == COBLE_ERR_CONTAINER_NOT_FOUND);

  // Images from and to a registry.
  const char *host = std::getenv("COBLE_TEST_REGISTRY");
  CHECK(host != nullptr);
  const std::string reference = std::string(host) + "/cpp/image:1";
  coble::detail::call(coble_image_tag, engine.get(), "tests", reference.c_str());
  coble::RegistryOptions registry;
  registry.insecure(true);
  int steps = 0;
  auto count = [&](const coble::Progress &progress) {
    CHECK(progress.reference() == reference && !progress.kind_name().empty());
    steps++;
    return true;
  };
  const auto pushed = engine.image_push(reference, coble::PushOptions().registry(registry).tag("2"), count);
  CHECK(steps > 0 && coble_pushed_blobs_sent(pushed.get()) == 2);
  CHECK(coble_pushed_tag_count(pushed.get()) == 2 && coble_pushed_tag(pushed.get(), 1) == std::string_view("2"));
  CHECK(failure([&] { engine.image_push(reference, coble::PushOptions().compression("zstd").compression_level(23)); }) ==
        COBLE_ERR_INVALID_ARGUMENT);
  const auto docker = engine.image_push(reference, coble::PushOptions().registry(registry).format("v2s2"));
  CHECK(coble_pushed_media_type(docker.get()) == std::string_view("application/vnd.docker.distribution.manifest.v2+json"));
  CHECK(coble_pushed_warning_count(docker.get()) == 0);
  engine.image_remove(reference);
  CHECK(failure([&] {
          engine.image_pull(reference, coble::PullOptions().registry(registry).allow_foreign_urls(true), [](const coble::Progress &) { return false; });
        }) == COBLE_ERR_CANCELLED);
  try {
    engine.image_pull(reference, coble::PullOptions().registry(registry),
                      [](const coble::Progress &) -> bool { throw std::runtime_error("of the callback"); });
    CHECK(false);
  } catch (const std::runtime_error &error) {
    CHECK(std::string_view(error.what()) == "of the callback");
  }
  CHECK(!engine.image_pull(reference, coble::PullOptions().policy(COBLE_PULL_ALWAYS).registry(registry), count).empty());
  CHECK(engine.run(coble::ContainerSpec(reference).command({"true"}).pull(COBLE_PULL_NEVER)).exit_code() == 0);
  engine.image_remove(reference);
  engine.close();
  CHECK(failure([&] { engine.images(); }) == COBLE_ERR_CLOSED);
}
