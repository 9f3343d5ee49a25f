// Runs a program in a container, from C++.
//
//   c++ -std=c++17 hello.cc $(pkg-config --cflags --libs coble) -o hello
//   ./hello [DATA_ROOT RUN_ROOT]

#include <chrono>
#include <iostream>
#include <string>

#include <coble/coble.hh>

int main(int argc, char **argv) {
  const std::string data_root = argc == 3 ? argv[1] : "";
  const std::string run_root = argc == 3 ? argv[2] : "";
  try {
    coble::Engine engine(data_root, run_root);
    engine.image_from_host({"sh", "cat"}, "hello-cpp");

    coble::RunOptions options;
    options.input = "and what it read\n";
    options.timeout = std::chrono::seconds(10);
    coble::ContainerSpec spec("hello-cpp");
    spec.command({"sh", "-c", "echo hello; cat; exit 3"}).pids_limit(16);
    const auto done = engine.run(spec, options);
    std::cout << done.out() << "exit code " << done.exit_code() << '\n';

    try {
      engine.run(coble::ContainerSpec("hello-cpp").command({"no-such-program"}));
    } catch (const coble::Error &error) {
      std::cout << error.kind() << ": " << error.what() << '\n';
    }
    engine.image_remove("hello-cpp");
    return 0;
  } catch (const coble::Error &error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
