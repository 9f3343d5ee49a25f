/**
 * @file coble.hh
 * coble for C++17: the C interface with handles that delete themselves and exceptions for errors. Header only. What
 * it does not wrap is reached through `get()` and the functions of coble.h.
 */

#ifndef COBLE_COBLE_HH
#define COBLE_COBLE_HH

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <coble/coble.h>

namespace coble {

/** Deletes a handle of the C interface. */
struct Deleter {
  void operator()(coble_error_t *handle) const noexcept { coble_error_delete(handle); }
  void operator()(coble_string_t *handle) const noexcept { coble_string_delete(handle); }
  void operator()(coble_cancel_t *handle) const noexcept { coble_cancel_delete(handle); }
  void operator()(coble_engine_t *handle) const noexcept { coble_engine_delete(handle); }
  void operator()(coble_import_options_t *handle) const noexcept { coble_import_options_delete(handle); }
  void operator()(coble_image_t *handle) const noexcept { coble_image_delete(handle); }
  void operator()(coble_image_list_t *handle) const noexcept { coble_image_list_delete(handle); }
  void operator()(coble_registry_options_t *handle) const noexcept { coble_registry_options_delete(handle); }
  void operator()(coble_pull_options_t *handle) const noexcept { coble_pull_options_delete(handle); }
  void operator()(coble_pull_plan_t *handle) const noexcept { coble_pull_plan_delete(handle); }
  void operator()(coble_push_options_t *handle) const noexcept { coble_push_options_delete(handle); }
  void operator()(coble_copy_options_t *handle) const noexcept { coble_copy_options_delete(handle); }
  void operator()(coble_pushed_t *handle) const noexcept { coble_pushed_delete(handle); }
  void operator()(coble_search_options_t *handle) const noexcept { coble_search_options_delete(handle); }
  void operator()(coble_search_results_t *handle) const noexcept { coble_search_results_delete(handle); }
  void operator()(coble_pin_list_t *handle) const noexcept { coble_pin_list_delete(handle); }
  void operator()(coble_remote_image_t *handle) const noexcept { coble_remote_image_delete(handle); }
  void operator()(coble_container_spec_t *handle) const noexcept { coble_container_spec_delete(handle); }
  void operator()(coble_exec_spec_t *handle) const noexcept { coble_exec_spec_delete(handle); }
  void operator()(coble_run_result_t *handle) const noexcept { coble_run_result_delete(handle); }
  void operator()(coble_container_t *handle) const noexcept { coble_container_delete(handle); }
  void operator()(coble_container_details_t *handle) const noexcept { coble_container_details_delete(handle); }
  void operator()(coble_container_list_t *handle) const noexcept { coble_container_list_delete(handle); }
  void operator()(coble_process_t *handle) const noexcept { coble_process_delete(handle); }
  void operator()(coble_log_stream_t *handle) const noexcept { coble_log_stream_delete(handle); }
  void operator()(coble_stats_stream_t *handle) const noexcept { coble_stats_stream_delete(handle); }
  void operator()(coble_event_stream_t *handle) const noexcept { coble_event_stream_delete(handle); }
};

/** A handle that deletes itself. */
template <typename T> using Handle = std::unique_ptr<T, Deleter>;

/** What went wrong. Copies share the details. */
class Error : public std::runtime_error {
public:
  /** Takes the error of a function that failed. */
  Error(coble_status_t code, coble_error_t *error)
      : std::runtime_error(text(code, error)), code_(code), error_(error, Deleter{}) {}

  /** One of the COBLE_ERR_ codes. */
  coble_status_t code() const noexcept { return code_; }
  /** The name of the kind, such as "ImageNotFound". */
  std::string_view kind() const noexcept {
    const char *name = coble_status_name(code_);
    return name != nullptr ? name : "Unknown";
  }
  /** The errno of the system call that failed, or 0. */
  int system_error() const noexcept { return coble_error_errno(error_.get()); }
  /** The error of the C interface, with the rest. */
  const coble_error_t *get() const noexcept { return error_.get(); }

private:
  static std::string text(coble_status_t code, const coble_error_t *error) {
    const char *message = coble_error_message(error);
    if (message == nullptr) {
      message = coble_status_name(code);
    }
    return message != nullptr ? message : "unknown error";
  }

  coble_status_t code_;
  std::shared_ptr<coble_error_t> error_;
};

namespace detail {

/** Calls a function of the C interface whose last argument is the place for the error, and throws what it says. */
template <typename Function, typename... Arguments> void call(Function function, Arguments... arguments) {
  coble_error_t *error = nullptr;
  const coble_status_t status = function(arguments..., &error);
  if (status != COBLE_OK) {
    throw Error(status, error);
  }
}

/** As call, for a function whose last but one argument is the place for a handle. */
template <typename T, typename Function, typename... Arguments> Handle<T> make(Function function, Arguments... arguments) {
  T *made = nullptr;
  call(function, arguments..., &made);
  return Handle<T>(made);
}

/** Text of the library as a string of ours. */
inline std::string text(const Handle<coble_string_t> &string) {
  return std::string(coble_string_data(string.get()), coble_string_length(string.get()));
}

/** A string that may be missing. */
inline std::string text(const char *string) { return string != nullptr ? string : std::string(); }

/** The pointers of some strings, as the C interface takes them. */
inline std::vector<const char *> pointers(const std::vector<std::string> &strings) {
  std::vector<const char *> result;
  result.reserve(strings.size());
  for (const std::string &string : strings) {
    result.push_back(string.c_str());
  }
  return result;
}

/** A time-out as the C interface takes it: a negative number where there is none. */
inline std::int64_t milliseconds(std::optional<std::chrono::milliseconds> timeout) {
  return timeout ? static_cast<std::int64_t>(timeout->count()) : -1;
}

} // namespace detail

/** Ends long calls early. Any thread may cancel. */
class CancelToken {
public:
  CancelToken() : handle_(coble_cancel_new()) {}
  /** Cancels every call that uses the token, now and later. */
  void cancel() const noexcept { coble_cancel_cancel(handle_.get()); }
  /** Whether it was cancelled. */
  bool cancelled() const noexcept { return coble_cancel_is_cancelled(handle_.get()) != 0; }
  /** The handle of the C interface. */
  const coble_cancel_t *get() const noexcept { return handle_.get(); }

private:
  Handle<coble_cancel_t> handle_;
};

/** A step of a transfer. Valid as long as the function runs that gets it. */
class Progress {
public:
  explicit Progress(const coble_progress_t *handle) : handle_(handle) {}
  /** One of the COBLE_PROGRESS_ numbers. */
  std::int32_t kind() const noexcept { return coble_progress_kind(handle_); }
  /** Its name, such as "blob-done". */
  std::string kind_name() const { return detail::text(coble_progress_kind_name(handle_)); }
  /** The name that is transferred. */
  std::string reference() const { return detail::text(coble_progress_reference(handle_)); }
  /** The blob that it is about; empty: all of it. */
  std::string digest() const { return detail::text(coble_progress_digest(handle_)); }
  /** Words for people. */
  std::string message() const { return detail::text(coble_progress_message(handle_)); }
  /** Bytes of the blob that are done. */
  std::uint64_t current() const noexcept { return coble_progress_current(handle_); }
  /** Bytes of the blob; 0: not known. */
  std::uint64_t total() const noexcept { return coble_progress_total(handle_); }
  /** Bytes of all blobs that are done. */
  std::uint64_t overall_current() const noexcept { return coble_progress_overall_current(handle_); }
  /** Bytes of all blobs; 0: not known yet. */
  std::uint64_t overall_total() const noexcept { return coble_progress_overall_total(handle_); }
  /** The handle of the C interface. */
  const coble_progress_t *get() const noexcept { return handle_; }

private:
  const coble_progress_t *handle_;
};

/** Gets the progress of a transfer, on its threads, one call at a time. False cancels the transfer, and so does an exception, which comes out of
 * the call that was made. */
using ProgressFunction = std::function<bool(const Progress &)>;

namespace detail {

/** Calls a function of the caller from C, and keeps what it throws. */
class Told {
public:
  explicit Told(const ProgressFunction &function) : function_(function) {}
  coble_progress_callback_t callback() const noexcept { return function_ ? &Told::call : nullptr; }
  /** Makes the call, and throws what the function threw rather than that it was cancelled. */
  template <typename Function> auto around(Function function) -> decltype(function()) {
    try {
      return function();
    } catch (...) {
      if (thrown_) {
        std::rethrow_exception(thrown_);
      }
      throw;
    }
  }

private:
  static std::int32_t call(const coble_progress_t *progress, void *userdata) {
    auto *self = static_cast<Told *>(userdata);
    try {
      return self->function_(Progress(progress)) ? 0 : 1;
    } catch (...) {
      self->thrown_ = std::current_exception();
      return 1;
    }
  }

  const ProgressFunction &function_;
  std::exception_ptr thrown_{};
};

} // namespace detail

/** How a registry is reached; setters can be chained. */
class RegistryOptions {
public:
  RegistryOptions() : handle_(coble_registry_options_new()) {}
  RegistryOptions &password(const std::string &username, const std::string &password) {
    return set(coble_registry_options_set_password, username.c_str(), password.c_str());
  }
  RegistryOptions &token(const std::string &token) { return set(coble_registry_options_set_token, token.c_str()); }
  RegistryOptions &insecure(bool insecure) { return set(coble_registry_options_set_insecure, insecure ? 1 : 0); }
  RegistryOptions &auth_file(const std::string &path) { return set(coble_registry_options_set_auth_file, path.c_str()); }
  RegistryOptions &cert_dir(const std::string &path) { return set(coble_registry_options_set_cert_dir, path.c_str()); }
  /** The handle of the C interface, for the other setters. */
  coble_registry_options_t *get() const noexcept { return handle_.get(); }

private:
  template <typename Function, typename... Arguments> RegistryOptions &set(Function function, Arguments... arguments) {
    detail::call(function, handle_.get(), arguments...);
    return *this;
  }

  Handle<coble_registry_options_t> handle_;
};

/** How an image is pulled; setters can be chained. */
class PullOptions {
public:
  PullOptions() : handle_(coble_pull_options_new()) {}
  PullOptions &platform(const std::string &platform) { return set(coble_pull_options_set_platform, platform.c_str()); }
  /** One of the COBLE_PULL_ numbers. */
  PullOptions &policy(std::int32_t policy) { return set(coble_pull_options_set_policy, policy); }
  /** Whether URLs that descriptors name may be asked for what the registry does not have. */
  PullOptions &allow_foreign_urls(bool allow) { return set(coble_pull_options_set_allow_foreign_urls, allow ? 1 : 0); }
  PullOptions &lock(const std::string &path) { return set(coble_pull_options_set_lock, path.c_str()); }
  PullOptions &registry(const RegistryOptions &options) {
    return set(coble_pull_options_set_registry, static_cast<const coble_registry_options_t *>(options.get()));
  }
  /** The handle of the C interface, for the other setters. */
  coble_pull_options_t *get() const noexcept { return handle_.get(); }

private:
  template <typename Function, typename... Arguments> PullOptions &set(Function function, Arguments... arguments) {
    detail::call(function, handle_.get(), arguments...);
    return *this;
  }

  Handle<coble_pull_options_t> handle_;
};

/** How an image is pushed; setters can be chained. */
class PushOptions {
public:
  PushOptions() : handle_(coble_push_options_new()) {}
  PushOptions &platform(const std::string &platform) { return set(coble_push_options_set_platform, platform.c_str()); }
  PushOptions &compression(const std::string &name) { return set(coble_push_options_set_compression, name.c_str()); }
  /** 1 to 9 of gzip, 1 to 22 of zstd; 0: quickly. */
  PushOptions &compression_level(std::uint32_t level) { return set(coble_push_options_set_compression_level, level); }
  /** "oci" or "v2s2": the form that manifests have in the registry. */
  PushOptions &format(const std::string &name) { return set(coble_push_options_set_format, name.c_str()); }
  /** A further tag in the same repository; can be called again. */
  PushOptions &tag(const std::string &tag) { return set(coble_push_options_add_tag, tag.c_str()); }
  PushOptions &chunk_size(std::uint64_t bytes) { return set(coble_push_options_set_chunk_size, bytes); }
  PushOptions &registry(const RegistryOptions &options) {
    return set(coble_push_options_set_registry, static_cast<const coble_registry_options_t *>(options.get()));
  }
  /** The handle of the C interface, for the other setters. */
  coble_push_options_t *get() const noexcept { return handle_.get(); }

private:
  template <typename Function, typename... Arguments> PushOptions &set(Function function, Arguments... arguments) {
    detail::call(function, handle_.get(), arguments...);
    return *this;
  }

  Handle<coble_push_options_t> handle_;
};

/** What a program left. */
class RunResult {
public:
  explicit RunResult(Handle<coble_run_result_t> handle) : handle_(std::move(handle)) {}
  /** The exit code, or 128 plus the signal that ended the program. */
  int exit_code() const noexcept { return coble_run_result_exit_code(handle_.get()); }
  /** Standard output; valid as long as the result. */
  std::string_view out() const noexcept { return view(coble_run_result_stdout); }
  /** Standard error; valid as long as the result. */
  std::string_view err() const noexcept { return view(coble_run_result_stderr); }
  /** The isolation that the program really had, as JSON; coble_run_result_isolation has it typed. Empty for exec. */
  std::string isolation() const {
    const coble_isolation_t *isolation = coble_run_result_isolation(handle_.get());
    return isolation != nullptr ? detail::text(detail::make<coble_string_t>(coble_isolation_json, isolation)) : "";
  }
  /** What the program could not be given, in words. */
  std::vector<std::string> warnings() const {
    std::vector<std::string> messages;
    for (std::size_t index = 0; index < coble_run_result_warning_count(handle_.get()); index++) {
      messages.emplace_back(coble_run_result_warning_message(handle_.get(), index));
    }
    return messages;
  }
  /** The handle of the C interface. */
  const coble_run_result_t *get() const noexcept { return handle_.get(); }

private:
  template <typename Function> std::string_view view(Function function) const noexcept {
    std::size_t length = 0;
    const std::uint8_t *data = function(handle_.get(), &length);
    return {reinterpret_cast<const char *>(data), length};
  }

  Handle<coble_run_result_t> handle_;
};

/** How a run treats its program. */
struct RunOptions {
  /** Bytes for standard input. */
  std::string_view input{};
  /** After this time the program is killed and the call fails with COBLE_ERR_TIMEOUT. */
  std::optional<std::chrono::milliseconds> timeout{};
  /** Fail with COBLE_ERR_CONTAINER_EXIT unless the exit code is 0. */
  bool check = false;

  /** As the C interface takes them. */
  coble_run_options_t get() const noexcept {
    coble_run_options_t options{};
    options.size = sizeof options;
    options.input = input.data();
    options.input_length = input.size();
    // 0 would mean no time-out at all.
    options.timeout_ms = timeout ? std::max<std::int64_t>(1, timeout->count()) : 0;
    options.check = check ? 1 : 0;
    return options;
  }
};

/** The options of a new container; setters can be chained. */
class ContainerSpec {
public:
  explicit ContainerSpec(const std::string &image)
      : handle_(detail::make<coble_container_spec_t>(coble_container_spec_new, image.c_str())) {}

  /** A container whose root file system is a directory of this host. */
  static ContainerSpec of_rootfs(const std::string &directory) {
    return std::move(ContainerSpec().set(coble_container_spec_set_rootfs, directory.c_str()));
  }
  /** A container of an OCI bundle. */
  static ContainerSpec of_bundle(const std::string &directory) {
    return std::move(ContainerSpec().set(coble_container_spec_set_bundle, directory.c_str()));
  }

  ContainerSpec &command(const std::vector<std::string> &words) {
    const auto pointers = detail::pointers(words);
    return set(coble_container_spec_set_command, pointers.data(), pointers.size());
  }
  ContainerSpec &entrypoint(const std::vector<std::string> &words) {
    const auto pointers = detail::pointers(words);
    return set(coble_container_spec_set_entrypoint, pointers.data(), pointers.size());
  }
  ContainerSpec &name(const std::string &name) { return set(coble_container_spec_set_name, name.c_str()); }
  ContainerSpec &environment(const std::string &name, const std::string &value) {
    return set(coble_container_spec_add_environment, name.c_str(), value.c_str());
  }
  ContainerSpec &working_dir(const std::string &path) { return set(coble_container_spec_set_working_dir, path.c_str()); }
  ContainerSpec &user(const std::string &user) { return set(coble_container_spec_set_user, user.c_str()); }
  ContainerSpec &hostname(const std::string &name) { return set(coble_container_spec_set_hostname, name.c_str()); }
  ContainerSpec &label(const std::string &name, const std::string &value) {
    return set(coble_container_spec_add_label, name.c_str(), value.c_str());
  }
  ContainerSpec &hooks(const std::string &json) { return set(coble_container_spec_set_hooks, json.c_str()); }
  ContainerSpec &mem_limit(std::uint64_t bytes) { return set(coble_container_spec_set_mem_limit, bytes); }
  ContainerSpec &nano_cpus(std::uint64_t nano_cpus) { return set(coble_container_spec_set_nano_cpus, nano_cpus); }
  ContainerSpec &memswap_limit(std::int64_t bytes) { return set(coble_container_spec_set_memswap_limit, bytes); }
  ContainerSpec &cpuset_cpus(const std::string &cpus) { return set(coble_container_spec_set_cpuset_cpus, cpus.c_str()); }
  /** As name=soft:hard. */
  ContainerSpec &ulimit(const std::string &limit) { return set(coble_container_spec_add_ulimit, limit.c_str()); }
  ContainerSpec &sysctl(const std::string &name, const std::string &value) {
    return set(coble_container_spec_add_sysctl, name.c_str(), value.c_str());
  }
  ContainerSpec &pids_limit(std::uint64_t count) { return set(coble_container_spec_set_pids_limit, count); }
  /** A directory or file of the host: "source:target" or "source:target:options". */
  ContainerSpec &volume(const std::string &volume) { return set(coble_container_spec_add_volume, volume.c_str()); }
  /** A list of key=value: "type=bind,src=/data,dst=/data,readonly". */
  ContainerSpec &mount(const std::string &mount) { return set(coble_container_spec_add_mount, mount.c_str()); }
  /** A file system in memory. */
  ContainerSpec &tmpfs(const std::string &target, const std::string &options = {}) {
    return set(coble_container_spec_add_tmpfs, target.c_str(), options.c_str());
  }
  /** A device of the host: "source", "source:target" or "source:target:access". */
  ContainerSpec &device(const std::string &device) { return set(coble_container_spec_add_device, device.c_str()); }
  ContainerSpec &device_cgroup_rule(const std::string &rule) {
    return set(coble_container_spec_add_device_cgroup_rule, rule.c_str());
  }
  ContainerSpec &privileged(bool privileged) { return set(coble_container_spec_set_privileged, privileged ? 1 : 0); }
  /** A file in memory: "id=NAME,src=FILE" or "id=NAME,env=VARIABLE", with target=, uid=, gid= and mode=. */
  ContainerSpec &secret(const std::string &secret) {
    return set(coble_container_spec_add_secret, secret.c_str(), static_cast<const void *>(nullptr), std::size_t{0});
  }
  /** The same with these bytes: "id=NAME". */
  ContainerSpec &secret(const std::string &secret, std::string_view bytes) {
    return set(coble_container_spec_add_secret, secret.c_str(), static_cast<const void *>(bytes.data() ? bytes.data() : ""),
               bytes.size());
  }
  /** What is made invisible instead of the usual paths. */
  ContainerSpec &masked_paths(const std::vector<std::string> &paths) {
    const auto pointers = detail::pointers(paths);
    return set(coble_container_spec_set_masked_paths, pointers.data(), pointers.size());
  }
  /** What is made read-only instead of the usual paths. */
  ContainerSpec &readonly_paths(const std::vector<std::string> &paths) {
    const auto pointers = detail::pointers(paths);
    return set(coble_container_spec_set_readonly_paths, pointers.data(), pointers.size());
  }
  ContainerSpec &read_only(bool read_only) { return set(coble_container_spec_set_read_only, read_only ? 1 : 0); }
  ContainerSpec &auto_remove(bool remove) { return set(coble_container_spec_set_auto_remove, remove ? 1 : 0); }
  /** How the health of the program is looked at; the size is filled in. */
  ContainerSpec &healthcheck(coble_healthcheck_t check) {
    check.size = sizeof check;
    return set(coble_container_spec_set_healthcheck, static_cast<const coble_healthcheck_t *>(&check));
  }
  /** When the program is started again: "no", "on-failure", "on-failure:N", "always" or "unless-stopped". */
  ContainerSpec &restart_policy(const std::string &policy) {
    return set(coble_container_spec_set_restart_policy, policy.c_str());
  }
  /** When a registry is asked for the image: one of the COBLE_PULL_ numbers. */
  ContainerSpec &pull(std::int32_t policy) { return set(coble_container_spec_set_pull, policy); }
  /** COBLE_NETWORK_NONE or COBLE_NETWORK_HOST. */
  ContainerSpec &network(std::int32_t network) { return set(coble_container_spec_set_network, network); }
  /** COBLE_LIFETIME_DETACHED or COBLE_LIFETIME_SESSION. */
  ContainerSpec &lifetime(std::int32_t lifetime) { return set(coble_container_spec_set_lifetime, lifetime); }
  /** Seconds after which the program is killed. */
  ContainerSpec &run_timeout(std::uint32_t seconds) { return set(coble_container_spec_set_run_timeout, seconds); }
  ContainerSpec &exposed_port(const std::string &port) {
    return set(coble_container_spec_add_exposed_port, port.c_str());
  }
  ContainerSpec &annotation(const std::string &name, const std::string &value) {
    return set(coble_container_spec_add_annotation, name.c_str(), value.c_str());
  }

  /** The handle of the C interface, for the other setters. */
  coble_container_spec_t *get() const noexcept { return handle_.get(); }

private:
  ContainerSpec()
      : handle_(detail::make<coble_container_spec_t>(coble_container_spec_new, static_cast<const char *>(nullptr))) {}

  template <typename Function, typename... Arguments> ContainerSpec &set(Function function, Arguments... arguments) {
    detail::call(function, handle_.get(), arguments...);
    return *this;
  }

  Handle<coble_container_spec_t> handle_;
};

/** A container. The object is a handle: its end does nothing to the container. */
class Container {
public:
  explicit Container(Handle<coble_container_t> handle) : handle_(std::move(handle)) {}

  std::string id() const { return detail::text(coble_container_id(handle_.get())); }
  std::string name() const { return detail::text(coble_container_name(handle_.get())); }
  /** One of the COBLE_STATE_ numbers. */
  std::int32_t state() const {
    std::int32_t state = 0;
    detail::call(coble_container_state, handle_.get(), &state);
    return state;
  }
  /** Starts the program; its outputs are kept for logs(). */
  void start(const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_start, handle_.get(), static_cast<const coble_stdio_t *>(nullptr), get(cancel));
  }
  /** Waits for the program's end and returns its exit code. */
  int wait(std::optional<std::chrono::milliseconds> timeout = {}, const CancelToken *cancel = nullptr) const {
    std::int32_t code = 0;
    detail::call(coble_container_wait, handle_.get(), detail::milliseconds(timeout), get(cancel), &code);
    return code;
  }
  /** Sends the stop signal, or another one, and SIGKILL when the time is over. */
  void stop(std::optional<std::chrono::milliseconds> timeout = {}, const CancelToken *cancel = nullptr,
            std::int32_t signal = 0) const {
    detail::call(coble_container_stop_with_signal, handle_.get(), signal, detail::milliseconds(timeout), get(cancel));
  }
  void kill(int signal) const { detail::call(coble_container_kill, handle_.get(), signal); }
  /** Stops all of its processes, without their notice, until unpause(). */
  void pause() const { detail::call(coble_container_pause, handle_.get()); }
  void unpause() const { detail::call(coble_container_unpause, handle_.get()); }
  /** Stops it as stop() does, and starts it again. */
  void restart(std::optional<std::chrono::milliseconds> timeout = {}, const CancelToken *cancel = nullptr,
               std::int32_t signal = 0) const {
    detail::call(coble_container_restart_with_signal, handle_.get(), signal, detail::milliseconds(timeout), get(cancel));
  }
  /** Gives it another name. */
  void rename(const std::string &name) { detail::call(coble_container_rename, handle_.get(), name.c_str()); }
  /** Waits for one of the COBLE_WAIT_ conditions and returns the exit code that it came with. */
  int wait_until(std::int32_t condition, std::optional<std::chrono::milliseconds> timeout = {},
                 const CancelToken *cancel = nullptr) const {
    std::int32_t code = 0;
    detail::call(coble_container_wait_until, handle_.get(), condition, detail::milliseconds(timeout), get(cancel), &code);
    return code;
  }
  /** The same; an exit code other than 0 throws an error with a run result, which has the end of what it wrote. */
  void wait_checked(std::int32_t condition = COBLE_WAIT_NOT_RUNNING, std::optional<std::chrono::milliseconds> timeout = {},
                    const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_wait_checked, handle_.get(), condition, detail::milliseconds(timeout), get(cancel));
  }
  /** Changes limits; zero is no change. The size is filled in. */
  void update(coble_update_options_t limits) const {
    limits.size = sizeof limits;
    detail::call(coble_container_update, handle_.get(), static_cast<const coble_update_options_t *>(&limits),
                 static_cast<coble_string_t **>(nullptr));
  }
  /** Its processes, as JSON. */
  std::string top() const { return detail::text(detail::make<coble_string_t>(coble_container_top, handle_.get())); }
  /** What it uses, as JSON; the share of the CPUs is that of the interval, which is waited for. */
  std::string stats(std::chrono::milliseconds interval, const CancelToken *cancel = nullptr) const {
    return detail::text(detail::make<coble_string_t>(coble_container_stats, handle_.get(),
                                                     static_cast<std::uint32_t>(interval.count()), get(cancel)));
  }
  /** Everything about it as docker inspect has it, as JSON. */
  std::string inspect_docker() const {
    return detail::text(detail::make<coble_string_t>(coble_container_inspect_docker, handle_.get()));
  }
  /** The health of its program, as JSON; "null" if that is not looked at. */
  std::string health() const { return detail::text(detail::make<coble_string_t>(coble_container_health, handle_.get())); }
  void remove(bool force = false) const { detail::call(coble_container_remove, handle_.get(), force ? 1 : 0); }

  /// A new container with the options of this one, and with its files as they are now. An empty `name` is made up.
  Container snapshot(const std::string &name = {}, bool pause = true, const CancelToken *cancel = nullptr) const {
    return Container(detail::make<coble_container_t>(coble_container_snapshot, handle_.get(),
                                                     name.empty() ? nullptr : name.c_str(), pause ? 1 : 0, get(cancel)));
  }

  /// Copies a file or directory of the host into the container, by docker's rules for paths.
  void copy_to(const std::string &source, const std::string &dest, bool follow_link = false, bool archive = false,
               const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_copy_to, handle_.get(), source.c_str(), dest.c_str(), follow_link ? 1 : 0, archive ? 1 : 0,
                 get(cancel), static_cast<coble_string_t **>(nullptr));
  }

  /// Copies a file or directory of the container to the host.
  void copy_from(const std::string &source, const std::string &dest, bool follow_link = false, bool archive = false,
                 const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_copy_from, handle_.get(), source.c_str(), dest.c_str(), follow_link ? 1 : 0, archive ? 1 : 0,
                 get(cancel), static_cast<coble_string_t **>(nullptr));
  }

  /// Unpacks a tar, plain or compressed, in a directory of the container.
  void put_archive(const std::string &dest, const std::string &archive, const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_put_archive, handle_.get(), dest.c_str(), archive.c_str(), get(cancel),
                 static_cast<coble_string_t **>(nullptr));
  }

  /// Makes or replaces a file of the container. An empty `user` is user 0.
  void write_file(const std::string &path, const std::string &content, std::uint32_t mode = 0644, const std::string &user = {},
                  const CancelToken *cancel = nullptr) const {
    detail::call(coble_container_write_file, handle_.get(), path.c_str(), static_cast<const void *>(content.data()),
                 content.size(), mode, user.empty() ? nullptr : user.c_str(), get(cancel));
  }

  /// The entries of a directory of the container, as JSON.
  std::string list_files(const std::string &directory, const CancelToken *cancel = nullptr) const {
    return detail::text(
        detail::make<coble_string_t>(coble_container_list_files, handle_.get(), directory.c_str(), get(cancel)));
  }
  /** Everything about it, for the coble_container_details_ functions. */
  Handle<coble_container_details_t> details() const {
    return detail::make<coble_container_details_t>(coble_container_inspect, handle_.get());
  }
  /** Everything about it, as JSON. */
  std::string inspect() const {
    const auto given = details();
    return detail::text(detail::make<coble_string_t>(coble_container_details_json,
                                                     static_cast<const coble_container_details_t *>(given.get())));
  }
  /** Runs another program in it and collects its output. */
  RunResult exec(const std::vector<std::string> &command, const RunOptions &options = {},
                 const CancelToken *cancel = nullptr) const {
    const auto pointers = detail::pointers(command);
    const auto spec = detail::make<coble_exec_spec_t>(coble_exec_spec_new, pointers.data(), pointers.size());
    const coble_run_options_t given = options.get();
    return RunResult(detail::make<coble_run_result_t>(coble_container_exec, handle_.get(),
                                                      static_cast<const coble_exec_spec_t *>(spec.get()), &given,
                                                      get(cancel)));
  }
  /** Connects to the standard streams of its program, for the coble_process_ functions: bits of COBLE_ATTACH_STDIN and its like, or 0 for both outputs. */
  Handle<coble_process_t> attach(std::int32_t streams = 0, bool logs = false) const {
    const coble_attach_options_t options = {sizeof options, streams, logs ? 1 : 0, 0, 0, {COBLE_STREAM_DEFAULT, 0}};
    return detail::make<coble_process_t>(coble_container_attach, handle_.get(), &options);
  }
  /** Starts it, and connects to it before it can have written anything. `paced`: it keeps pace with whoever reads its output. */
  Handle<coble_process_t> start_attached(std::int32_t streams = 0, const CancelToken *cancel = nullptr, bool paced = false) const {
    const coble_attach_options_t options = {sizeof options, streams, 0, paced ? 1 : 0, 0, {COBLE_STREAM_DEFAULT, 0}};
    return detail::make<coble_process_t>(coble_container_start_attached, handle_.get(), &options, get(cancel));
  }
  /** Sets height and width of the terminal of its program. */
  void resize(std::uint16_t height, std::uint16_t width) const {
    detail::call(coble_container_resize, handle_.get(), height, width);
  }
  /** What its program wrote so far, both outputs in the order of their arrival. */
  std::string logs() const {
    const auto stream = detail::make<coble_log_stream_t>(coble_container_logs, handle_.get(),
                                                         static_cast<const coble_log_options_t *>(nullptr));
    std::string text;
    for (;;) {
      const coble_log_record_t *record = nullptr;
      detail::call(coble_log_stream_next, stream.get(), static_cast<const coble_cancel_t *>(nullptr), &record);
      if (record == nullptr) {
        return text;
      }
      std::size_t length = 0;
      const std::uint8_t *data = coble_log_record_data(record, &length);
      text.append(reinterpret_cast<const char *>(data), length);
    }
  }
  /** The handle of the C interface. */
  const coble_container_t *get() const noexcept { return handle_.get(); }

private:
  static const coble_cancel_t *get(const CancelToken *cancel) noexcept {
    return cancel != nullptr ? cancel->get() : nullptr;
  }

  Handle<coble_container_t> handle_;
};

/** What happens to containers and images, event by event. */
class EventStream {
public:
  explicit EventStream(Handle<coble_event_stream_t> handle) : handle_(std::move(handle)) {}

  /** The next event, for the coble_event_ functions, until the next call; NULL at the end. */
  const coble_event_t *next(const CancelToken *cancel = nullptr) const {
    const coble_event_t *event = nullptr;
    detail::call(coble_event_stream_next, handle_.get(), cancel != nullptr ? cancel->get() : nullptr, &event);
    return event;
  }

private:
  Handle<coble_event_stream_t> handle_;
};

/** A container engine in this process. */
class Engine {
public:
  /** Opens the store of the user, or the one in `data_root`. */
  explicit Engine(const std::string &data_root = {}, const std::string &run_root = {}, const std::string &lock_file = {},
                  std::int32_t offline = COBLE_OFFLINE_AUTO) {
    coble_engine_options_t options{};
    options.size = sizeof options;
    options.data_root = data_root.empty() ? nullptr : data_root.c_str();
    options.run_root = run_root.empty() ? nullptr : run_root.c_str();
    options.lock_file = lock_file.empty() ? nullptr : lock_file.c_str();
    options.offline = offline;
    handle_ = detail::make<coble_engine_t>(coble_engine_open, &options);
  }

  /** Makes an image of files of the host, with the libraries that its programs need, and returns its id. */
  std::string image_from_host(const std::vector<std::string> &items, const std::string &reference) const {
    const auto pointers = detail::pointers(items);
    return id(detail::make<coble_image_t>(coble_image_from_host, get(), pointers.data(), pointers.size(),
                                          reference.c_str(), static_cast<const coble_import_options_t *>(nullptr),
                                          static_cast<const coble_cancel_t *>(nullptr)));
  }
  /** Makes an image from a root file system tar and returns its id. */
  std::string image_import_rootfs(const std::string &archive, const std::string &reference) const {
    return id(detail::make<coble_image_t>(coble_image_import_rootfs, get(), archive.c_str(), reference.c_str(),
                                          static_cast<const coble_import_options_t *>(nullptr),
                                          static_cast<const coble_cancel_t *>(nullptr)));
  }
  /** Fetches an image from its registry and returns its id. */
  std::string image_pull(const std::string &reference, const PullOptions &options = {}, const ProgressFunction &progress = {},
                         const CancelToken *cancel = nullptr) const {
    detail::Told told(progress);
    return told.around([&] {
      return id(detail::make<coble_image_t>(coble_image_pull, get(), reference.c_str(),
                                            static_cast<const coble_pull_options_t *>(options.get()), told.callback(),
                                            static_cast<void *>(&told), cancel != nullptr ? cancel->get() : nullptr));
    });
  }
  /** Sends an image to the registry of its name. The coble_pushed_ functions tell what was done. */
  Handle<coble_pushed_t> image_push(const std::string &reference, const PushOptions &options = {},
                                    const ProgressFunction &progress = {}, const CancelToken *cancel = nullptr) const {
    detail::Told told(progress);
    return told.around([&] {
      return detail::make<coble_pushed_t>(coble_image_push, get(), reference.c_str(),
                                          static_cast<const coble_push_options_t *>(options.get()), told.callback(),
                                          static_cast<void *>(&told), cancel != nullptr ? cancel->get() : nullptr);
    });
  }
  /** The ids of all images, newest first. */
  std::vector<std::string> images() const {
    const auto list = detail::make<coble_image_list_t>(coble_image_list, get(), static_cast<const char *const *>(nullptr), std::size_t{0});
    std::vector<std::string> ids;
    for (std::size_t index = 0; index < coble_image_list_count(list.get()); index++) {
      ids.emplace_back(coble_image_id(coble_image_list_get(list.get(), index)));
    }
    return ids;
  }
  /** Removes an image. */
  void image_remove(const std::string &name, bool force = false) const {
    detail::call(coble_image_remove, get(), name.c_str(), force ? 1 : 0, static_cast<coble_string_t **>(nullptr));
  }
  /** Creates a container, starts it, waits, collects its output and removes it. */
  RunResult run(const ContainerSpec &spec, const RunOptions &options = {}, const CancelToken *cancel = nullptr) const {
    const coble_run_options_t given = options.get();
    return RunResult(detail::make<coble_run_result_t>(coble_engine_run, get(),
                                                      static_cast<const coble_container_spec_t *>(spec.get()), &given,
                                                      cancel != nullptr ? cancel->get() : nullptr));
  }
  /** Makes a container. It does not run yet. */
  Container create(const ContainerSpec &spec) const {
    return Container(detail::make<coble_container_t>(coble_container_create, get(),
                                                     static_cast<const coble_container_spec_t *>(spec.get())));
  }
  /** As above, with the progress of a pull of its image, and a token that ends that. */
  Container create(const ContainerSpec &spec, const ProgressFunction &progress, const CancelToken *cancel = nullptr) const {
    detail::Told told(progress);
    return told.around([&] {
      return Container(detail::make<coble_container_t>(
          coble_container_create_within, get(), static_cast<const coble_container_spec_t *>(spec.get()), told.callback(),
          static_cast<void *>(&told), cancel != nullptr ? cancel->get() : nullptr));
    });
  }
  /** The container with this name, id or id prefix. */
  Container container(const std::string &name) const {
    return Container(detail::make<coble_container_t>(coble_container_get, get(), name.c_str()));
  }
  /** What happens to containers and images; the size of the options is filled in. */
  EventStream events(coble_event_options_t options = {}) const {
    options.size = sizeof options;
    return EventStream(detail::make<coble_event_stream_t>(coble_engine_events, get(),
                                                          static_cast<const coble_event_options_t *>(&options)));
  }
  /** Facts about the engine and its host, as JSON. */
  std::string info() const { return detail::text(detail::make<coble_string_t>(coble_engine_info, get())); }
  /** Closes it; later calls fail with COBLE_ERR_CLOSED. */
  void close() const noexcept { coble_engine_close(handle_.get()); }
  /** The handle of the C interface. */
  const coble_engine_t *get() const noexcept { return handle_.get(); }

private:
  static std::string id(const Handle<coble_image_t> &image) { return detail::text(coble_image_id(image.get())); }

  Handle<coble_engine_t> handle_;
};

/** The version of the library that runs. */
inline std::string_view version() noexcept { return coble_version(); }

} // namespace coble

#endif // COBLE_COBLE_HH
