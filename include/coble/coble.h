/* Generated from ffi/src by "make header". Do not edit. */

/**
 * @file coble.h
 * coble: an embeddable container engine. The C interface.
 *
 * Errors. Every function that can fail returns a coble_status_t: COBLE_OK, which is 0, or one of the negative COBLE_ERR_ codes. Results
 * go through out parameters, which are not touched when the function fails. The last parameter is an optional place for a coble_error_t,
 * which says more; pass NULL if the code is enough. It is only written when the function fails, and what is written belongs to the
 * caller (coble_error_delete). Pass the address of a pointer that is NULL: an error that is already there is neither read nor deleted.
 *
 * Ownership. A non-const pointer that a function gives out is the caller's, and is deleted with the function of its type
 * that ends in _delete; deleting NULL does nothing. A const pointer that a function gives out is borrowed: it is valid as long as the object
 * that it came from, unless the function says otherwise, and is never deleted. What a function takes in it copies or duplicates; nothing
 * has to outlive the call, and file descriptors that are passed in stay the caller's.
 *
 * Strings. Strings are NUL-terminated UTF-8 in both directions. File names of the host are bytes. What could contain a NUL
 * (output of programs) comes with a length.
 *
 * Threads. Every object may be moved between threads. A function that takes a const pointer to an object may be called
 * on the same object from many threads at once; one that takes a non-const pointer may not. Functions that can block take a coble_cancel_t,
 * with which any thread can end them early; NULL means never.
 *
 * The host program. coble changes no signal handler, no working directory, no environment and no umask, starts no
 * child that the host's wait would meet, prints nothing and never exits. After a fork without exec the child must not use coble's objects.
 *
 * Option structures begin with their size: set it to sizeof, zero the rest, and set what is wanted. Zero always means the default. A
 * pointer to options may be NULL.
 *
 * JSON. What programs use every day has an accessor; the rest is JSON text with the field names of the Rust and Python interfaces.
 */

#ifndef COBLE_COBLE_H
#define COBLE_COBLE_H

#include <stddef.h>
#include <stdint.h>

/** The version of this header, as text. */
#define COBLE_VERSION "0.1.0"
/** The version of this header: major. */
#define COBLE_VERSION_MAJOR 0
/** The version of this header: minor. */
#define COBLE_VERSION_MINOR 1
/** The version of this header: patch. */
#define COBLE_VERSION_PATCH 0

/**
 * The version of the binary interface: the number in the file name libcoble.so.N. It changes when programs have to be built anew.
 */
#define COBLE_ABI_VERSION 0

/**
 * Rootless unless the caller is root with the needed capabilities.
 */
#define COBLE_ROOTLESS_AUTO 0

/**
 * Containers run in a user namespace.
 */
#define COBLE_ROOTLESS_YES 1

/**
 * Containers run without a user namespace.
 */
#define COBLE_ROOTLESS_NO 2

/**
 * Offline if the environment variable COBLE_OFFLINE says so.
 */
#define COBLE_OFFLINE_AUTO 0

/**
 * No registry is asked for anything.
 */
#define COBLE_OFFLINE_YES 1

/**
 * Registries are asked, whatever the environment says.
 */
#define COBLE_OFFLINE_NO 2

/**
 * The reference is being looked up at the registry.
 */
#define COBLE_PROGRESS_RESOLVE 0

/**
 * A blob begins to be transferred.
 */
#define COBLE_PROGRESS_BLOB_START 1

/**
 * A part of a blob was transferred.
 */
#define COBLE_PROGRESS_BLOB_PROGRESS 2

/**
 * A blob was transferred and verified.
 */
#define COBLE_PROGRESS_BLOB_DONE 3

/**
 * A blob was there already.
 */
#define COBLE_PROGRESS_BLOB_CACHED 4

/**
 * The registry took a blob from another repository of its own.
 */
#define COBLE_PROGRESS_BLOB_MOUNTED 5

/**
 * A layer is being unpacked.
 */
#define COBLE_PROGRESS_UNPACK 6

/**
 * A layer was unpacked.
 */
#define COBLE_PROGRESS_UNPACK_DONE 7

/**
 * A request failed and is made again; the message says why.
 */
#define COBLE_PROGRESS_RETRY 8

/**
 * The registry says how many requests are left, in the message.
 */
#define COBLE_PROGRESS_RATE_LIMIT 9

/**
 * The registry, or the engine, has something to say, in the message.
 */
#define COBLE_PROGRESS_WARNING 10

/**
 * The call is complete.
 */
#define COBLE_PROGRESS_DONE 11

/**
 * A part was read of what an image or an archive is made of: an archive, a container's files, or those of the host.
 */
#define COBLE_PROGRESS_READ 12

/**
 * A part of the store was checked.
 */
#define COBLE_PROGRESS_CHECK 13

/**
 * The registry is asked each time; what is in the store already is not fetched again.
 */
#define COBLE_PULL_ALWAYS 0

/**
 * The registry is asked for an image that the store does not have.
 */
#define COBLE_PULL_MISSING 1

/**
 * The registry is never asked.
 */
#define COBLE_PULL_NEVER 2

/**
 * The image is pulled if the registry has another one; if it cannot be reached, the store's is good enough.
 */
#define COBLE_PULL_NEWER 3

/**
 * No network but loopback.
 */
#define COBLE_NETWORK_NONE 0

/**
 * The network of the host.
 */
#define COBLE_NETWORK_HOST 1

/**
 * The container outlives its starter.
 */
#define COBLE_LIFETIME_DETACHED 0

/**
 * The container dies with the process that started it, however that process ends.
 */
#define COBLE_LIFETIME_SESSION 1

/**
 * What the function does when nobody asks: it says so.
 */
#define COBLE_STREAM_DEFAULT 0

/**
 * /dev/null.
 */
#define COBLE_STREAM_NULL 1

/**
 * Kept for coble_container_logs. Only for output of a container's own program.
 */
#define COBLE_STREAM_LOG 2

/**
 * A new pipe, whose other end the process object has. Only for coble_container_popen.
 */
#define COBLE_STREAM_PIPE 3

/**
 * The caller's own stream of the same number: 0, 1 or 2.
 */
#define COBLE_STREAM_INHERIT 4

/**
 * The descriptor `fd`, which is duplicated.
 */
#define COBLE_STREAM_FD 5

/**
 * Made, never started.
 */
#define COBLE_STATE_CREATED 1

/**
 * Its program runs.
 */
#define COBLE_STATE_RUNNING 2

/**
 * Its program ended.
 */
#define COBLE_STATE_EXITED 3

/**
 * Its program is there, and stopped until somebody lets it go on.
 */
#define COBLE_STATE_PAUSED 4

/**
 * Its program ended, and will be started again.
 */
#define COBLE_STATE_RESTARTING 5

/**
 * A state that this version of the interface has no number for.
 */
#define COBLE_STATE_OTHER 0

/**
 * It does not run.
 */
#define COBLE_WAIT_NOT_RUNNING 0

/**
 * The next end of its program, which may still have to be started.
 */
#define COBLE_WAIT_NEXT_EXIT 1

/**
 * It is gone.
 */
#define COBLE_WAIT_REMOVED 2

/**
 * Its program is healthy, by its health checks; the exit code is 0. COBLE_ERR_INVALID_STATE if it has none, or ends before.
 */
#define COBLE_WAIT_HEALTHY 3

/**
 * Standard input: a bit of coble_attach_options_t.streams.
 */
#define COBLE_ATTACH_STDIN 1

/**
 * Standard output, which is all output of a terminal: a bit of coble_attach_options_t.streams.
 */
#define COBLE_ATTACH_STDOUT 2

/**
 * Standard error: a bit of coble_attach_options_t.streams.
 */
#define COBLE_ATTACH_STDERR 4

/**
 * Standard output: a record's source, and a bit of coble_log_options_t.sources.
 */
#define COBLE_LOG_STDOUT 1

/**
 * Standard error: a record's source, and a bit of coble_log_options_t.sources.
 */
#define COBLE_LOG_STDERR 2

/**
 * A token that ends long calls early. A cancelled call fails with COBLE_ERR_CANCELLED and leaves nothing half done.
 */
typedef struct coble_cancel_t coble_cancel_t;

/**
 * How an image is made of a container.
 */
typedef struct coble_commit_options_t coble_commit_options_t;

/**
 * A container as it was when it was inspected.
 */
typedef struct coble_container_details_t coble_container_details_t;

/**
 * Some containers. Those in it are borrowed from it.
 */
typedef struct coble_container_list_t coble_container_list_t;

/**
 * The options of a new container.
 */
typedef struct coble_container_spec_t coble_container_spec_t;

/**
 * A container as it was when it was looked at. Borrowed from the list or the details that it is in.
 */
typedef struct coble_container_summary_t coble_container_summary_t;

/**
 * A container. Deleting the handle does nothing to the container itself.
 */
typedef struct coble_container_t coble_container_t;

/**
 * How an image is copied.
 */
typedef struct coble_copy_options_t coble_copy_options_t;

/**
 * What a callback for credentials is asked, and its answer. Borrowed by the callback for as long as it runs.
 */
typedef struct coble_credential_request_t coble_credential_request_t;

/**
 * A container engine in this process, over a store that other processes may use at the same time.
 */
typedef struct coble_engine_t coble_engine_t;

/**
 * What went wrong. Made by a function that failed; the caller's.
 */
typedef struct coble_error_t coble_error_t;

/**
 * Events, one after the other.
 */
typedef struct coble_event_stream_t coble_event_stream_t;

/**
 * Something that happened. Borrowed from its stream until the next call on that.
 */
typedef struct coble_event_t coble_event_t;

/**
 * The options of another program in a running container.
 */
typedef struct coble_exec_spec_t coble_exec_spec_t;

/**
 * Some images. Those in it are borrowed from it.
 */
typedef struct coble_image_list_t coble_image_list_t;

/**
 * An image's root file system, mounted read-only where only the holder sees it.
 */
typedef struct coble_image_mount_t coble_image_mount_t;

/**
 * An image of the store, as it was when it was looked up.
 */
typedef struct coble_image_t coble_image_t;

/**
 * The configuration of an image that is made from files instead of from another image.
 */
typedef struct coble_import_options_t coble_import_options_t;

/**
 * The isolation that a program really got, read back from its process. Borrowed from the result or the details that it belongs to.
 */
typedef struct coble_isolation_t coble_isolation_t;

/**
 * A piece of output, as it arrived. Borrowed from its stream until the next call on that.
 */
typedef struct coble_log_record_t coble_log_record_t;

/**
 * The output of a container, read piece by piece.
 */
typedef struct coble_log_stream_t coble_log_stream_t;

/**
 * Names and what they are pinned to.
 */
typedef struct coble_pin_list_t coble_pin_list_t;

/**
 * A program started with coble_container_popen, or connected to with coble_container_attach. Deleting the handle closes its pipes and leaves the program alone.
 */
typedef struct coble_process_t coble_process_t;

/**
 * A step of a long call. Borrowed by a callback for as long as it runs.
 */
typedef struct coble_progress_t coble_progress_t;

/**
 * How an image is pulled.
 */
typedef struct coble_pull_options_t coble_pull_options_t;

/**
 * What a pull would fetch.
 */
typedef struct coble_pull_plan_t coble_pull_plan_t;

/**
 * How an image is pushed.
 */
typedef struct coble_push_options_t coble_push_options_t;

/**
 * What a push or copy did.
 */
typedef struct coble_pushed_t coble_pushed_t;

/**
 * What a container can be waited for with coble_container_wait_ready. It may be used for many containers, also at once.
 */
typedef struct coble_ready_t coble_ready_t;

/**
 * How a registry is reached. By default the files of docker and podman say it, and the system's certificates are trusted.
 */
typedef struct coble_registry_options_t coble_registry_options_t;

/**
 * An image as its registry has it.
 */
typedef struct coble_remote_image_t coble_remote_image_t;

/**
 * What a program left.
 */
typedef struct coble_run_result_t coble_run_result_t;

/**
 * Where and how images are searched.
 */
typedef struct coble_search_options_t coble_search_options_t;

/**
 * What a search found.
 */
typedef struct coble_search_results_t coble_search_results_t;

/**
 * What a container uses, again and again.
 */
typedef struct coble_stats_stream_t coble_stats_stream_t;

/**
 * Text that is the caller's.
 */
typedef struct coble_string_t coble_string_t;

/**
 * A volume.
 */
typedef struct coble_volume_t coble_volume_t;

/**
 * The result of a function that can fail: COBLE_OK or a negative COBLE_ERR_ code. The codes are never changed and never reused.
 */
typedef int32_t coble_status_t;

/**
 * A function of the caller that knows credentials, with the pointer that was given along with it. It is called when a registry wants to know who asks, or an
 * engine knows that from before, and the options have no credentials: at most once for each registry of a call, and once more for each answer that was refused.
 * What it sets with one of coble_credential_request_set_ is for that registry; if it sets nothing, the files are looked into. A return value other than 0
 * fails the call with COBLE_ERR_UNAUTHORIZED.
 *
 * It is called on threads of the call, by several calls at once if there are several, and may call the engine itself. It must not throw. There is nothing to
 * finalize: `userdata` has to live as long as calls are made with the options, a copy of them, or an engine that was opened with them.
 */
typedef int32_t (*coble_credential_callback_t)(coble_credential_request_t *request, void *userdata);

/**
 * A function of the caller that gets the progress of a long call, with the pointer that was given along with it. Calls to registries that move nothing have
 * coble_registry_options_set_progress, and tell of retries, rate limits and warnings.
 *
 * It may be called on threads of the call's own, but never twice at a time, and never after the call that it was given to
 * has returned, so that there is nothing to finalize. It has to be quick, must not call the engine with the same image, and must not throw. A return value other than 0
 * cancels the call, which then fails with COBLE_ERR_CANCELLED, and it is not called again.
 */
typedef int32_t (*coble_progress_callback_t)(const coble_progress_t *progress, void *userdata);

/**
 * Where an engine keeps its things. Zero everything but the size for the defaults.
 */
typedef struct {
  /**
   * sizeof(coble_engine_options_t).
   */
  size_t size;
  /**
   * Directory of images, layers, containers and the database. NULL: the default of the user.
   */
  const char *data_root;
  /**
   * Directory of sockets, locks and the state of running containers. NULL: the default of the user, or one for this data root.
   */
  const char *run_root;
  /**
   * COBLE_ROOTLESS_AUTO, COBLE_ROOTLESS_YES or COBLE_ROOTLESS_NO.
   */
  int32_t rootless;
  /**
   * COBLE_OFFLINE_AUTO, COBLE_OFFLINE_YES or COBLE_OFFLINE_NO: offline, what would need a registry fails at once with COBLE_ERR_OFFLINE.
   */
  int32_t offline;
  /**
   * A lock file that every pull of the engine obeys, as coble_image_lock writes it. NULL: none.
   */
  const char *lock_file;
  /**
   * How many connections to registries all calls of the engine together use at once. 0: the default.
   */
  uint32_t connections;
  /**
   * How many of them to one host. 0: the default.
   */
  uint32_t connections_per_host;
  /**
   * How registries are reached where a call says nothing: time-outs, mirrors, files, who is asked for credentials. Copied. Credentials, certificates and
   * plain HTTP are for one registry, and refused. NULL: the defaults.
   */
  const coble_registry_options_t *registry;
} coble_engine_options_t;

/**
 * Where a standard stream goes.
 */
typedef struct {
  /**
   * One of COBLE_STREAM_DEFAULT, COBLE_STREAM_NULL, COBLE_STREAM_LOG, COBLE_STREAM_PIPE, COBLE_STREAM_INHERIT, COBLE_STREAM_FD.
   */
  int32_t mode;
  /**
   * The descriptor of COBLE_STREAM_FD.
   */
  int32_t fd;
} coble_stream_t;

/**
 * How coble_engine_run and coble_container_exec treat the program. Zero everything but the size for the defaults.
 */
typedef struct {
  /**
   * sizeof(coble_run_options_t).
   */
  size_t size;
  /**
   * Bytes for standard input, or NULL.
   */
  const void *input;
  /**
   * How many bytes `input` has.
   */
  size_t input_length;
  /**
   * Milliseconds after which the program is killed and the call fails with COBLE_ERR_TIMEOUT. 0: never. What was collected until then: see coble_error_run_result.
   */
  int64_t timeout_ms;
  /**
   * The most bytes that are collected of each output; more fails with COBLE_ERR_LIMIT_EXCEEDED. 0: 1 GiB.
   */
  uint64_t capture_limit;
  /**
   * 1: fail with COBLE_ERR_CONTAINER_EXIT unless the exit code is 0. See coble_error_run_result.
   */
  int32_t check;
  /**
   * Has to be 0.
   */
  int32_t reserved;
  /**
   * Standard input. COBLE_STREAM_DEFAULT: `input`, or /dev/null.
   */
  coble_stream_t stdin_stream;
  /**
   * Standard output. COBLE_STREAM_DEFAULT: collected.
   */
  coble_stream_t stdout_stream;
  /**
   * Standard error. COBLE_STREAM_DEFAULT: collected.
   */
  coble_stream_t stderr_stream;
} coble_run_options_t;

/**
 * Which images coble_image_prune removes. Zero everything but the size for the defaults.
 */
typedef struct {
  /**
   * sizeof(coble_prune_options_t).
   */
  size_t size;
  /**
   * Conditions as of coble_image_list, or NULL.
   */
  const char *const *filters;
  /**
   * How many conditions there are.
   */
  size_t filter_count;
  /**
   * Keep at least this many bytes of blobs and unpacked layers. 0: none.
   */
  uint64_t reserved_space;
  /**
   * Remove only what it takes to have no more than this many bytes. 0: no such bound.
   */
  uint64_t max_used_space;
  /**
   * Remove only what it takes for the file system to have this many bytes free. 0: no such bound.
   */
  uint64_t min_free_space;
  /**
   * 1: every image that no container uses. 0: those without a name.
   */
  int32_t all;
  /**
   * Has to be 0.
   */
  int32_t reserved;
} coble_prune_options_t;

/**
 * How the health of a container's program is looked at. Zero everything but the size for what the image says, or docker's defaults.
 */
typedef struct {
  /**
   * sizeof(coble_healthcheck_t).
   */
  size_t size;
  /**
   * "CMD" and the words of a command, "CMD-SHELL" and a line for /bin/sh, or "NONE", for no checks whatever the image says. NULL: the image's.
   */
  const char *const *test;
  /**
   * How many strings there are.
   */
  size_t test_count;
  /**
   * Nanoseconds from the end of a check to the start of the next. 0: 30 s.
   */
  uint64_t interval_ns;
  /**
   * How many nanoseconds a check may take before its processes are killed. 0: 30 s.
   */
  uint64_t timeout_ns;
  /**
   * For how many nanoseconds after the start failures do not count, unless a check has succeeded.
   */
  uint64_t start_period_ns;
  /**
   * The interval in that time. 0: 5 s.
   */
  uint64_t start_interval_ns;
  /**
   * How many failures in a row make it unhealthy. 0: 3.
   */
  uint32_t retries;
  /**
   * 0.
   */
  int32_t reserved;
} coble_healthcheck_t;

/**
 * Which containers coble_container_find finds, and what it shows of them. Zero everything but the size for those that run.
 */
typedef struct {
  /**
   * sizeof(coble_list_options_t).
   */
  size_t size;
  /**
   * Conditions of the form key=value, or NULL: ancestor, before, exited, expose, health, id, label, label!, name, network, publish, since, status, until, volume. All keys are to be met; of several
   * values for one key one is enough, except for labels. A status means all containers.
   */
  const char *const *filters;
  /**
   * How many conditions there are.
   */
  size_t filter_count;
  /**
   * Only that many, the newest, whatever their state. 0: no such bound.
   */
  uint64_t limit;
  /**
   * 1: all containers. 0: those that run.
   */
  int32_t all;
  /**
   * 1: measure what each wrote.
   */
  int32_t with_size;
} coble_list_options_t;

/**
 * The three standard streams of a program.
 */
typedef struct {
  /**
   * sizeof(coble_stdio_t).
   */
  size_t size;
  /**
   * Standard input.
   */
  coble_stream_t stdin_stream;
  /**
   * Standard output.
   */
  coble_stream_t stdout_stream;
  /**
   * Standard error.
   */
  coble_stream_t stderr_stream;
} coble_stdio_t;

/**
 * Which part of a log to read. Zero everything but the size for the defaults.
 */
typedef struct {
  /**
   * sizeof(coble_log_options_t).
   */
  size_t size;
  /**
   * Only what came at or after this time, in nanoseconds since the epoch. 0: from the beginning.
   */
  int64_t since_ns;
  /**
   * Only what came before this time, in nanoseconds since the epoch. 0: to the end.
   */
  int64_t until_ns;
  /**
   * Only the last lines. 0: all.
   */
  uint64_t tail;
  /**
   * 1: wait for more until the container ends.
   */
  int32_t follow;
  /**
   * COBLE_LOG_STDOUT, COBLE_LOG_STDERR, or both together. 0: both.
   */
  int32_t sources;
} coble_log_options_t;

/**
 * What to change with coble_container_update; the fields mean what the setters of coble_container_spec_t say. Zero is no change.
 *
 * What is said of block devices is a list of texts of the form "path:number"; a number of 0 takes the limit of that device away, and devices that are not named stay as they are.
 */
typedef struct {
  /**
   * sizeof(coble_update_options_t).
   */
  size_t size;
  /**
   * CPUs that may be used, such as "0-2,7".
   */
  const char *cpuset_cpus;
  /**
   * NUMA nodes that memory may come from.
   */
  const char *cpuset_mems;
  /**
   * Bytes of memory.
   */
  uint64_t mem_limit;
  /**
   * Bytes of memory that are taken from it last.
   */
  uint64_t mem_reservation;
  /**
   * Bytes of memory and swap together; -1 for swap without limit.
   */
  int64_t memswap_limit;
  /**
   * Billionths of a CPU.
   */
  uint64_t nano_cpus;
  /**
   * CPU weight.
   */
  uint64_t cpu_shares;
  /**
   * Microseconds of CPU time in each period; UINT64_MAX takes any limit of CPU time away.
   */
  uint64_t cpu_quota;
  /**
   * The period in microseconds.
   */
  uint64_t cpu_period;
  /**
   * Processes and threads; UINT64_MAX for as many as the host lets.
   */
  uint64_t pids_limit;
  /**
   * Block I/O weight.
   */
  uint64_t blkio_weight;
  /**
   * When the program is started again, as coble_container_spec_set_restart_policy has it. It holds for the program that runs; one that was started without any, with files of the caller's as its
   * streams or with secrets, gets none while it runs: COBLE_ERR_INVALID_STATE.
   */
  const char *restart_policy;
  /**
   * Weights of block devices.
   */
  const char *const *blkio_weight_device;
  /**
   * How many.
   */
  size_t blkio_weight_device_count;
  /**
   * Bytes that may be read each second.
   */
  const char *const *device_read_bps;
  /**
   * How many.
   */
  size_t device_read_bps_count;
  /**
   * Bytes that may be written each second.
   */
  const char *const *device_write_bps;
  /**
   * How many.
   */
  size_t device_write_bps_count;
  /**
   * Reads each second.
   */
  const char *const *device_read_iops;
  /**
   * How many.
   */
  size_t device_read_iops_count;
  /**
   * Writes each second.
   */
  const char *const *device_write_iops;
  /**
   * How many.
   */
  size_t device_write_iops_count;
  /**
   * Files of the container's version 2 cgroup, as "file=value".
   */
  const char *const *unified;
  /**
   * How many.
   */
  size_t unified_count;
} coble_update_options_t;

/**
 * Which streams to connect to. Zero everything but the size for the defaults.
 */
typedef struct {
  /**
   * sizeof(coble_attach_options_t).
   */
  size_t size;
  /**
   * COBLE_ATTACH_STDIN, COBLE_ATTACH_STDOUT and COBLE_ATTACH_STDERR together. 0: both outputs.
   */
  int32_t streams;
  /**
   * 1: first what the program has written already.
   */
  int32_t logs;
  /**
   * Of coble_container_start_attached. 1: the program keeps pace with whoever reads its output, which comes from it and not from the log, though that gets it, too. It is held up by who
   * reads slowly, and hears when nobody reads any more, as of any pipe. Not for a terminal, and not with `logs`.
   */
  int32_t paced;
  /**
   * Must be 0.
   */
  int32_t reserved;
  /**
   * Of coble_container_start_attached: what the program reads, itself, with nobody between, by COBLE_STREAM_INHERIT or COBLE_STREAM_FD. Not for a terminal, and not with
   * COBLE_ATTACH_STDIN. COBLE_STREAM_DEFAULT and COBLE_STREAM_NULL: nothing.
   */
  coble_stream_t input;
} coble_attach_options_t;

/**
 * Which events are wanted. Zero everything but the size for all that are kept.
 */
typedef struct {
  /**
   * sizeof(coble_event_options_t).
   */
  size_t size;
  /**
   * Conditions of the form key=value, or NULL: container, event, image, label, type. All keys are to be met; of several values for one key one is enough,
   * except for labels.
   */
  const char *const *filters;
  /**
   * How many conditions there are.
   */
  size_t filter_count;
  /**
   * Those from this time on, in nanoseconds since the epoch. 0: no such bound.
   */
  int64_t since_ns;
  /**
   * Those before this time, in nanoseconds since the epoch: a stream ends then. 0: no such bound.
   */
  int64_t until_ns;
  /**
   * Those with greater ids than this one: to go on where another stream has ended. 0: no such bound.
   */
  uint64_t after;
  /**
   * 1: wait for more; with neither since_ns nor after, only what is still to come.
   */
  int32_t follow;
  /**
   * 0.
   */
  int32_t reserved;
} coble_event_options_t;

/**
 * Success.
 */
#define COBLE_OK 0

/**
 * A defect of coble itself: a state that should not be possible.
 */
#define COBLE_ERR_INTERNAL -1

/**
 * An argument that no operation could accept, whatever the state of the store.
 */
#define COBLE_ERR_INVALID_ARGUMENT -2

/**
 * A system call failed for a reason that has no kind of its own; coble_error_errno tells which.
 */
#define COBLE_ERR_IO -3

/**
 * The caller may not do this on this host.
 */
#define COBLE_ERR_PERMISSION_DENIED -4

/**
 * The host lacks something that the operation needs.
 */
#define COBLE_ERR_UNSUPPORTED -5

/**
 * A file or directory of the host that the caller named is not there.
 */
#define COBLE_ERR_PATH_NOT_FOUND -6

/**
 * No image has this reference or id.
 */
#define COBLE_ERR_IMAGE_NOT_FOUND -7

/**
 * No container has this name or id.
 */
#define COBLE_ERR_CONTAINER_NOT_FOUND -8

/**
 * The name is taken.
 */
#define COBLE_ERR_NAME_IN_USE -9

/**
 * The object is in use by another one.
 */
#define COBLE_ERR_IN_USE -10

/**
 * The object is not in a state that allows the operation.
 */
#define COBLE_ERR_INVALID_STATE -11

/**
 * Not an image reference of the distribution grammar.
 */
#define COBLE_ERR_INVALID_REFERENCE -12

/**
 * Not a digest of the image specification.
 */
#define COBLE_ERR_INVALID_DIGEST -13

/**
 * Content does not have the digest or size that it was announced with.
 */
#define COBLE_ERR_DIGEST_MISMATCH -14

/**
 * An archive is truncated, malformed, or does what no archive may do.
 */
#define COBLE_ERR_INVALID_ARCHIVE -15

/**
 * An image's manifest, index or configuration is malformed.
 */
#define COBLE_ERR_INVALID_IMAGE -16

/**
 * Input is larger, deeper or longer than coble accepts.
 */
#define COBLE_ERR_LIMIT_EXCEEDED -17

/**
 * No space, quota or inode is left.
 */
#define COBLE_ERR_STORAGE_FULL -18

/**
 * The store's database failed or is damaged.
 */
#define COBLE_ERR_DATABASE -19

/**
 * The store was written by a version of coble that this one cannot work with.
 */
#define COBLE_ERR_STORE_VERSION -20

/**
 * The time the caller gave is over.
 */
#define COBLE_ERR_TIMEOUT -21

/**
 * The caller cancelled the operation.
 */
#define COBLE_ERR_CANCELLED -22

/**
 * The handle is closed, or belongs to another process (after a fork).
 */
#define COBLE_ERR_CLOSED -23

/**
 * The user or group is not known to the image, or its number is out of range.
 */
#define COBLE_ERR_USER_NOT_FOUND -24

/**
 * The program is not in the image.
 */
#define COBLE_ERR_COMMAND_NOT_FOUND -25

/**
 * The program is in the image and cannot be executed.
 */
#define COBLE_ERR_COMMAND_NOT_EXECUTABLE -26

/**
 * The container's monitor ended without saying how.
 */
#define COBLE_ERR_MONITOR_LOST -27

/**
 * A program ended with a status that is not zero, and the caller asked for an error in that case.
 */
#define COBLE_ERR_CONTAINER_EXIT -28

/**
 * A panic reached the edge of the library and was stopped there.
 */
#define COBLE_ERR_PANIC -29

/**
 * A registry answered with an error that has no kind of its own, or with what the distribution specification does not allow.
 */
#define COBLE_ERR_REGISTRY -30

/**
 * A registry wants credentials, or those that were given are not enough.
 */
#define COBLE_ERR_UNAUTHORIZED -31

/**
 * A registry cannot be reached: no address, no route, no connection, no trust in its certificate, or the connection was cut.
 */
#define COBLE_ERR_NETWORK -32

/**
 * A registry refuses more requests for a while.
 */
#define COBLE_ERR_RATE_LIMITED -33

/**
 * A name stands for another digest than the lock file says.
 */
#define COBLE_ERR_DIGEST_DRIFT -34

/**
 * The engine is offline, and the operation would have to ask a registry or another server.
 */
#define COBLE_ERR_OFFLINE -35

/**
 * No volume has this name.
 */
#define COBLE_ERR_VOLUME_NOT_FOUND -36

/**
 * Events were dropped before a stream has read them. It goes on with those that are kept.
 */
#define COBLE_ERR_EVENTS_LOST -37

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, such as "0.1.0". Compare with COBLE_VERSION, that of the header. Valid for ever.
 */
const char *coble_version(void);

/**
 * COBLE_ABI_VERSION of the library that runs.
 */
uint32_t coble_abi_version(void);

/**
 * The name of a status code, such as "ImageNotFound"; "Ok" for COBLE_OK, and NULL for a number that is no status code. Valid for ever.
 */
const char *coble_status_name(coble_status_t status);

/**
 * The status code of an error, which the failed function returned too.
 */
coble_status_t coble_error_code(const coble_error_t *error);

/**
 * The name of an error's kind, such as "ImageNotFound". Valid for ever; NULL if the error is NULL.
 */
const char *coble_error_kind_name(const coble_error_t *error);

/**
 * The whole message for people: what was being done, what went wrong, and the way out on a line of its own. NULL if the error is NULL.
 */
const char *coble_error_message(const coble_error_t *error);

/**
 * The errno of the system call that failed, or 0.
 */
int32_t coble_error_errno(const coble_error_t *error);

/**
 * The name of the object that the error is about: a reference, an id, a path. NULL if there is none.
 */
const char *coble_error_object(const coble_error_t *error);

/**
 * A way out. NULL if there is none.
 */
const char *coble_error_hint(const coble_error_t *error);

/**
 * How many items the chain of context has: what the engine was doing, outermost first.
 */
size_t coble_error_context_count(const coble_error_t *error);

/**
 * An item of the chain of context. NULL if the index is too large.
 */
const char *coble_error_context_get(const coble_error_t *error, size_t index);

/**
 * What a program left: for COBLE_ERR_CONTAINER_EXIT everything that the run returned; when coble_engine_run or coble_container_exec ended otherwise after the start of the program, as with COBLE_ERR_TIMEOUT and COBLE_ERR_LIMIT_EXCEEDED, what was collected
 * until then, at most the capture limit, and the exit code 137, since the program was killed. NULL for other errors. Borrowed from the error.
 */
const coble_run_result_t *coble_error_run_result(const coble_error_t *error);

/**
 * Deletes an error. NULL is fine.
 */
void coble_error_delete(coble_error_t *error);

/**
 * The text, NUL-terminated. Borrowed; NULL if the string is NULL.
 */
const char *coble_string_data(const coble_string_t *string);

/**
 * The length of the text in bytes, without the NUL.
 */
size_t coble_string_length(const coble_string_t *string);

/**
 * Deletes text. NULL is fine.
 */
void coble_string_delete(coble_string_t *string);

/**
 * A new token.
 */
coble_cancel_t *coble_cancel_new(void);

/**
 * Cancels every call that uses the token, now and later. Any thread may do it; it is not for signal handlers.
 */
void coble_cancel_cancel(const coble_cancel_t *cancel);

/**
 * 1 if the token was cancelled, or 0.
 */
int32_t coble_cancel_is_cancelled(const coble_cancel_t *cancel);

/**
 * Deletes a token. Calls that use it go on. NULL is fine.
 */
void coble_cancel_delete(coble_cancel_t *cancel);

/**
 * The registry, as it is called in references and credential files. A mirror is asked for by its own name. NULL if the request is NULL.
 */
const char *coble_credential_request_registry(const coble_credential_request_t *request);

/**
 * The repository there, without the registry; empty for what concerns none. NULL if the request is NULL.
 */
const char *coble_credential_request_repository(const coble_credential_request_t *request);

/**
 * Whether the registry has refused the last answer in this call: 0 or 1.
 */
int32_t coble_credential_request_refused(const coble_credential_request_t *request);

/**
 * Answers with a user name and a password.
 */
coble_status_t coble_credential_request_set_password(coble_credential_request_t *request,
                                                     const char *username,
                                                     const char *password,
                                                     coble_error_t **error);

/**
 * Answers with an identity token, which a token server exchanges for access tokens.
 */
coble_status_t coble_credential_request_set_identity_token(coble_credential_request_t *request,
                                                           const char *token,
                                                           coble_error_t **error);

/**
 * Answers with an access token, which is sent to the registry as it is.
 */
coble_status_t coble_credential_request_set_token(coble_credential_request_t *request,
                                                  const char *token,
                                                  coble_error_t **error);

/**
 * Every default.
 */
coble_registry_options_t *coble_registry_options_new(void);

/**
 * Sets a user name and a password, which take the place of other credentials.
 */
coble_status_t coble_registry_options_set_password(coble_registry_options_t *options,
                                                   const char *username,
                                                   const char *password,
                                                   coble_error_t **error);

/**
 * Sets an identity token, which a token server exchanges for access tokens. It takes the place of other credentials.
 */
coble_status_t coble_registry_options_set_identity_token(coble_registry_options_t *options,
                                                         const char *token,
                                                         coble_error_t **error);

/**
 * Sets an access token, which is sent to the registry as it is. It takes the place of other credentials.
 */
coble_status_t coble_registry_options_set_token(coble_registry_options_t *options,
                                                const char *token,
                                                coble_error_t **error);

/**
 * Sets whether the registry may be reached by plain HTTP, and with a certificate that nobody vouches for: 0 or 1.
 */
coble_status_t coble_registry_options_set_insecure(coble_registry_options_t *options,
                                                   int32_t insecure,
                                                   coble_error_t **error);

/**
 * Sets the only file that credentials are read from, and that login and logout write. NULL: docker's and podman's.
 */
coble_status_t coble_registry_options_set_auth_file(coble_registry_options_t *options,
                                                    const char *auth_file,
                                                    coble_error_t **error);

/**
 * Sets a directory with certificates for this registry: *.crt of authorities, *.cert and *.key of ours. NULL: certs.d of docker and
 * podman.
 */
coble_status_t coble_registry_options_set_cert_dir(coble_registry_options_t *options,
                                                   const char *cert_dir,
                                                   coble_error_t **error);

/**
 * Sets how often a request is made again that failed for a reason that may pass. 0: never.
 */
coble_status_t coble_registry_options_set_retries(coble_registry_options_t *options,
                                                  uint32_t retries,
                                                  coble_error_t **error);

/**
 * Sets how many milliseconds are waited for a connection, with name and TLS. 0: the engine's, or 30 seconds.
 */
coble_status_t coble_registry_options_set_connect_timeout(coble_registry_options_t *options,
                                                          uint64_t timeout_ms,
                                                          coble_error_t **error);

/**
 * Sets how many milliseconds are waited for data of a connection that is there; a transfer that moves has no end. 0: the engine's, or 60 seconds.
 */
coble_status_t coble_registry_options_set_idle_timeout(coble_registry_options_t *options,
                                                       uint64_t timeout_ms,
                                                       coble_error_t **error);

/**
 * Adds a mirror to ask first, after those that were added before and before those of the files: a URL, for every registry or with one and a `=` in front
 * ("docker.io=https://mirror.example"). It is asked as those of hosts.toml are: never with the credentials of the call, and never for what is pushed. With none,
 * the engine's are asked.
 */
coble_status_t coble_registry_options_add_mirror(coble_registry_options_t *options,
                                                 const char *mirror,
                                                 coble_error_t **error);

/**
 * Sets the only file in the form of registries.conf that is read. NULL: the engine's, or those in the usual places.
 */
coble_status_t coble_registry_options_set_registries_conf(coble_registry_options_t *options,
                                                          const char *registries_conf,
                                                          coble_error_t **error);

/**
 * Sets a directory with one directory for each registry, instead of certs.d of docker, podman and containerd. NULL: the engine's, or those.
 */
coble_status_t coble_registry_options_set_hosts_dir(coble_registry_options_t *options,
                                                    const char *hosts_dir,
                                                    coble_error_t **error);

/**
 * Sets who is asked for credentials that the options do not have, before the files are. NULL: the engine's, or nobody. `userdata` has to live as long as
 * calls are made with these options, a copy of them, or an engine that was opened with them.
 */
coble_status_t coble_registry_options_set_credential_provider(coble_registry_options_t *options,
                                                              coble_credential_callback_t callback,
                                                              void *userdata,
                                                              coble_error_t **error);

/**
 * Sets who hears what registries say beside their answers: retries, rate limits and warnings, of login, search, plan, lock and everything that begins with
 * coble_registry_. What moves images has a callback of its own. NULL: nobody. `userdata` has to live as long as calls are made with these options or a copy of
 * them.
 */
coble_status_t coble_registry_options_set_progress(coble_registry_options_t *options,
                                                   coble_progress_callback_t progress,
                                                   void *userdata,
                                                   coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_registry_options_delete(coble_registry_options_t *options);

/**
 * Opens the store, making it if it is not there, and sweeps what crashed processes left. Options may be NULL.
 */
coble_status_t coble_engine_open(const coble_engine_options_t *options,
                                 coble_engine_t **engine,
                                 coble_error_t **error);

/**
 * Closes an engine. Later calls on it and on its containers fail with COBLE_ERR_CLOSED; closing it again does nothing. It still has to be
 * deleted. NULL is fine.
 */
void coble_engine_close(const coble_engine_t *engine);

/**
 * Deletes an engine. Containers made with it stay usable. NULL is fine.
 */
void coble_engine_delete(coble_engine_t *engine);

/**
 * Creates a container, starts it, waits, collects its output and removes it. The container dies with this process, however that ends.
 * Options may be NULL. A program that ends with a status other than 0 is not an error, unless the options say so.
 */
coble_status_t coble_engine_run(const coble_engine_t *engine,
                                const coble_container_spec_t *spec,
                                const coble_run_options_t *options,
                                const coble_cancel_t *cancel,
                                coble_run_result_t **result,
                                coble_error_t **error);

/**
 * Facts about the engine and its host, as a JSON object.
 */
coble_status_t coble_engine_info(const coble_engine_t *engine, coble_string_t **json, coble_error_t **error);

/**
 * Looks for damage in the store, and for what belongs to nothing. Gives a JSON array of strings, which is empty when nothing is wrong.
 */
coble_status_t coble_engine_verify(const coble_engine_t *engine,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * As coble_engine_verify, with a token that ends it and a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_engine_verify_with_progress(const coble_engine_t *engine,
                                                 coble_progress_callback_t progress,
                                                 void *userdata,
                                                 const coble_cancel_t *cancel,
                                                 coble_string_t **json,
                                                 coble_error_t **error);

/**
 * Looks at the host of an engine: as coble_doctor, with the engine's own options.
 */
coble_status_t coble_engine_doctor(const coble_engine_t *engine,
                                   int32_t *ok,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * Looks at the host, also when no engine can be opened. `ok` becomes 1 if containers can run, or 0; the JSON object says what
 * was found and how to mend it. Options may be NULL.
 */
coble_status_t coble_doctor(const coble_engine_options_t *options,
                            int32_t *ok,
                            coble_string_t **json,
                            coble_error_t **error);

/**
 * A configuration with every default.
 */
coble_import_options_t *coble_import_options_new(void);

/**
 * Sets the default command: `count` strings.
 */
coble_status_t coble_import_options_set_command(coble_import_options_t *options,
                                                const char *const *command,
                                                size_t count,
                                                coble_error_t **error);

/**
 * Sets the entrypoint: `count` strings.
 */
coble_status_t coble_import_options_set_entrypoint(coble_import_options_t *options,
                                                   const char *const *entrypoint,
                                                   size_t count,
                                                   coble_error_t **error);

/**
 * Adds an environment variable.
 */
coble_status_t coble_import_options_add_environment(coble_import_options_t *options,
                                                    const char *name,
                                                    const char *value,
                                                    coble_error_t **error);

/**
 * Sets the default working directory. NULL: none.
 */
coble_status_t coble_import_options_set_working_dir(coble_import_options_t *options,
                                                    const char *working_dir,
                                                    coble_error_t **error);

/**
 * Sets the default user. NULL: none.
 */
coble_status_t coble_import_options_set_user(coble_import_options_t *options,
                                             const char *user,
                                             coble_error_t **error);

/**
 * Adds a label.
 */
coble_status_t coble_import_options_add_label(coble_import_options_t *options,
                                              const char *name,
                                              const char *value,
                                              coble_error_t **error);

/**
 * Sets the comment for the history. NULL: none.
 */
coble_status_t coble_import_options_set_message(coble_import_options_t *options,
                                                const char *message,
                                                coble_error_t **error);

/**
 * Sets who hears how far a call with them is. NULL: nobody. `userdata` has to live as long as calls are made with these options. See coble_progress_callback_t.
 */
coble_status_t coble_import_options_set_progress(coble_import_options_t *options,
                                                 coble_progress_callback_t progress,
                                                 void *userdata,
                                                 coble_error_t **error);

/**
 * Sets the author. NULL: none.
 */
coble_status_t coble_import_options_set_author(coble_import_options_t *options,
                                               const char *author,
                                               coble_error_t **error);

/**
 * Adds a change of the configuration, an instruction of a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR.
 * It comes after what the other options say.
 */
coble_status_t coble_import_options_add_change(coble_import_options_t *options,
                                               const char *change,
                                               coble_error_t **error);

/**
 * Sets what the files are for, such as "linux/arm64/v8". NULL: the host's platform.
 */
coble_status_t coble_import_options_set_platform(coble_import_options_t *options,
                                                 const char *platform,
                                                 coble_error_t **error);

/**
 * Deletes a configuration. NULL is fine.
 */
void coble_import_options_delete(coble_import_options_t *options);

/**
 * Loads images from a docker-archive tar, or an OCI image layout (directory or tar). The tar may be compressed. `platform` is one such as "linux/arm64/v8", or
 * "all", or NULL for the host's. An image that is not for the platform that was asked for, by its configuration, is COBLE_ERR_INVALID_IMAGE; with NULL one that
 * is not for the host has a warning ("foreign-platform").
 */
coble_status_t coble_image_load(const coble_engine_t *engine,
                                const char *archive,
                                const char *platform,
                                const coble_cancel_t *cancel,
                                coble_image_list_t **images,
                                coble_error_t **error);

/**
 * As coble_image_load, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_image_load_with_progress(const coble_engine_t *engine,
                                              const char *archive,
                                              const char *platform,
                                              coble_progress_callback_t progress,
                                              void *userdata,
                                              const coble_cancel_t *cancel,
                                              coble_image_list_t **images,
                                              coble_error_t **error);

/**
 * As coble_image_load, from an open file or pipe, which is read to its end and stays open.
 */
coble_status_t coble_image_load_fd(const coble_engine_t *engine,
                                   int32_t fd,
                                   const char *platform,
                                   const coble_cancel_t *cancel,
                                   coble_image_list_t **images,
                                   coble_error_t **error);

/**
 * As coble_image_load_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_image_load_fd_with_progress(const coble_engine_t *engine,
                                                 int32_t fd,
                                                 const char *platform,
                                                 coble_progress_callback_t progress,
                                                 void *userdata,
                                                 const coble_cancel_t *cancel,
                                                 coble_image_list_t **images,
                                                 coble_error_t **error);

/**
 * Makes an image of one layer from a root file system tar, plain or compressed with gzip, zstd, bzip2 or xz. The reference may be NULL, for an image
 * without a name; so may the options.
 */
coble_status_t coble_image_import_rootfs(const coble_engine_t *engine,
                                         const char *archive,
                                         const char *reference,
                                         const coble_import_options_t *options,
                                         const coble_cancel_t *cancel,
                                         coble_image_t **image,
                                         coble_error_t **error);

/**
 * As coble_image_import_rootfs, from an open file or pipe, which is read to its end and stays open.
 */
coble_status_t coble_image_import_rootfs_fd(const coble_engine_t *engine,
                                            int32_t fd,
                                            const char *reference,
                                            const coble_import_options_t *options,
                                            const coble_cancel_t *cancel,
                                            coble_image_t **image,
                                            coble_error_t **error);

/**
 * Makes an image of `count` files of the host, with the interpreters and shared libraries that its programs need. An item is a path, or
 * the bare name of a program that is looked up in PATH; "source:target" puts it elsewhere in the image. The reference may be NULL, for an image without a name; so
 * may the options. A script that is named brings the interpreter of its first line, which has to be there; of scripts in a directory those interpreters are taken that the host has in full,
 * and others are no error.
 */
coble_status_t coble_image_from_host(const coble_engine_t *engine,
                                     const char *const *items,
                                     size_t count,
                                     const char *reference,
                                     const coble_import_options_t *options,
                                     const coble_cancel_t *cancel,
                                     coble_image_t **image,
                                     coble_error_t **error);

/**
 * The images that meet all of `count` conditions, or all images, newest first. Conditions are "dangling=true", "label=name" or "label=name=value", "label!=...",
 * "reference=pattern", "before=image", "since=image", "until=time".
 */
coble_status_t coble_image_list(const coble_engine_t *engine,
                                const char *const *filters,
                                size_t count,
                                coble_image_list_t **images,
                                coble_error_t **error);

/**
 * The image with this reference, id, or unambiguous id prefix of at least four digits.
 */
coble_status_t coble_image_get(const coble_engine_t *engine,
                               const char *name,
                               coble_image_t **image,
                               coble_error_t **error);

/**
 * As coble_image_get, of the images that a name has the one for a platform, such as "linux/arm64". Its id says to other functions that this one is meant.
 */
coble_status_t coble_image_get_platform(const coble_engine_t *engine,
                                        const char *name,
                                        const char *platform,
                                        coble_image_t **image,
                                        coble_error_t **error);

/**
 * Everything about an image, as a JSON object.
 */
coble_status_t coble_image_inspect(const coble_engine_t *engine,
                                   const char *name,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * Everything about an image as a JSON object in docker's form: Id, RepoTags, RepoDigests, Created, Config, RootFS and so on; Coble has what coble_image_inspect
 * gives.
 */
coble_status_t coble_image_inspect_docker(const coble_engine_t *engine,
                                          const char *name,
                                          coble_string_t **json,
                                          coble_error_t **error);

/**
 * How an image was made, newest step first, as a JSON array of objects.
 */
coble_status_t coble_image_history(const coble_engine_t *engine,
                                   const char *name,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * Gives an image one more name.
 */
coble_status_t coble_image_tag(const coble_engine_t *engine,
                               const char *name,
                               const char *reference,
                               coble_error_t **error);

/**
 * Takes a name away. The image stays, also without a name.
 */
coble_status_t coble_image_untag(const coble_engine_t *engine, const char *reference, coble_error_t **error);

/**
 * Removes an image. By reference: takes the name away, and deletes the image with its last name. By id: deletes it; one with several
 * names only with `force`, which is 0 or 1. An image that a container uses is refused with COBLE_ERR_IN_USE; with `force` one whose containers do not run
 * loses its names and stays for them, until they are gone and it is pruned. `json`, which may be NULL, gets an object with the arrays "untagged" and "deleted".
 */
coble_status_t coble_image_remove(const coble_engine_t *engine,
                                  const char *name,
                                  int32_t force,
                                  coble_string_t **json,
                                  coble_error_t **error);

/**
 * The id: the digest of the image's configuration. NULL if the image is NULL.
 */
const char *coble_image_id(const coble_image_t *image);

/**
 * The digest of the image's manifest. NULL if the image is NULL.
 */
const char *coble_image_digest(const coble_image_t *image);

/**
 * How many names the image has.
 */
size_t coble_image_reference_count(const coble_image_t *image);

/**
 * A name of the image, in canonical form. NULL if the index is too large.
 */
const char *coble_image_reference(const coble_image_t *image, size_t index);

/**
 * How many digests the image is known by in registries.
 */
size_t coble_image_repo_digest_count(const coble_image_t *image);

/**
 * What the image is in a registry, "repository@digest": a manifest or index that it was pulled or pushed as. NULL if the index is too large.
 */
const char *coble_image_repo_digest(const coble_image_t *image,
                                    size_t index);

/**
 * When the image was made, as it says itself, in RFC 3339. NULL if it does not say.
 */
const char *coble_image_created(const coble_image_t *image);

/**
 * The bytes of the image's blobs: manifest, configuration and compressed layers.
 */
uint64_t coble_image_size(const coble_image_t *image);

/**
 * The CPU architecture, such as "amd64". NULL if the image is NULL.
 */
const char *coble_image_architecture(const coble_image_t *image);

/**
 * The operating system, such as "linux". NULL if the image is NULL.
 */
const char *coble_image_os(const coble_image_t *image);

/**
 * The variant of the architecture, such as "v7". NULL if there is none.
 */
const char *coble_image_variant(const coble_image_t *image);

/**
 * The version of the operating system that the image is made for, as the image specification has it (`os.version`): of Windows the build, such as "10.0.17763.1". NULL if it
 * does not say. Valid as long as the image.
 */
const char *coble_image_os_version(const coble_image_t *image);

/**
 * How many things the operating system has to be able to do for the image (`os.features` of the image specification).
 */
size_t coble_image_os_feature_count(const coble_image_t *image);

/**
 * Something that the operating system has to be able to do for the image, such as "win32k". NULL if the index is too large. Valid as long as the image.
 */
const char *coble_image_os_feature(const coble_image_t *image,
                                   size_t index);

/**
 * How many labels the image has.
 */
size_t coble_image_label_count(const coble_image_t *image);

/**
 * The name of a label, in their order. NULL if the index is too large.
 */
const char *coble_image_label_name(const coble_image_t *image, size_t index);

/**
 * The value of a label. NULL if the index is too large.
 */
const char *coble_image_label_value(const coble_image_t *image, size_t index);

/**
 * How many things of the image's layers could not be kept. Known to the call that unpacked the layers (a load or an import); 0 for an
 * image that was looked up.
 */
size_t coble_image_warning_count(const coble_image_t *image);

/**
 * The stable code of a warning, such as "device". NULL if the index is too large.
 */
const char *coble_image_warning_code(const coble_image_t *image, size_t index);

/**
 * The explanation of a warning. NULL if the index is too large.
 */
const char *coble_image_warning_message(const coble_image_t *image, size_t index);

/**
 * The image as a JSON object, with its labels.
 */
coble_status_t coble_image_json(const coble_image_t *image, coble_string_t **json, coble_error_t **error);

/**
 * Deletes the handle; the image stays in the store. NULL is fine.
 */
void coble_image_delete(coble_image_t *image);

/**
 * How many images the list has.
 */
size_t coble_image_list_count(const coble_image_list_t *images);

/**
 * An image of the list, borrowed from it. NULL if the index is too large.
 */
const coble_image_t *coble_image_list_get(const coble_image_list_t *images, size_t index);

/**
 * Deletes a list and the images in it; those of the store stay. NULL is fine.
 */
void coble_image_list_delete(coble_image_list_t *images);

/**
 * Saves `count` images to a file, which appears when it is complete, or to a directory. The format is "oci-archive" (NULL is the same), a tar of an OCI image
 * layout that is a docker archive, too; "oci-dir", a layout as a directory; or "docker-archive". `platform`, such as "linux/arm64", may be NULL: all
 * that the names have in the store; for "docker-archive", which has one image for a name, the one for the host.
 */
coble_status_t coble_image_save(const coble_engine_t *engine,
                                const char *const *names,
                                size_t count,
                                const char *file,
                                const char *format,
                                const char *platform,
                                const coble_cancel_t *cancel,
                                coble_error_t **error);

/**
 * As coble_image_save, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_image_save_with_progress(const coble_engine_t *engine,
                                              const char *const *names,
                                              size_t count,
                                              const char *file,
                                              const char *format,
                                              const char *platform,
                                              coble_progress_callback_t progress,
                                              void *userdata,
                                              const coble_cancel_t *cancel,
                                              coble_error_t **error);

/**
 * As coble_image_save, to an open file or pipe, which stays open. Not for "oci-dir".
 */
coble_status_t coble_image_save_fd(const coble_engine_t *engine,
                                   const char *const *names,
                                   size_t count,
                                   int32_t fd,
                                   const char *format,
                                   const char *platform,
                                   const coble_cancel_t *cancel,
                                   coble_error_t **error);

/**
 * As coble_image_save_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_image_save_fd_with_progress(const coble_engine_t *engine,
                                                 const char *const *names,
                                                 size_t count,
                                                 int32_t fd,
                                                 const char *format,
                                                 const char *platform,
                                                 coble_progress_callback_t progress,
                                                 void *userdata,
                                                 const coble_cancel_t *cancel,
                                                 coble_error_t **error);

/**
 * What is different in one image's root file system against another's: a JSON array of objects with "kind" ("added", "changed", "deleted") and
 * "path".
 */
coble_status_t coble_image_diff(const coble_engine_t *engine,
                                const char *old_name,
                                const char *new_name,
                                const coble_cancel_t *cancel,
                                coble_string_t **json,
                                coble_error_t **error);

/**
 * Mounts an image's root file system read-only. It is nowhere in the tree of the host, but reached through a descriptor, and goes with
 * that, however the process ends. Links in an image may lead anywhere: paths that an image chose are opened with openat2 and RESOLVE_IN_ROOT.
 */
coble_status_t coble_image_mount(const coble_engine_t *engine,
                                 const char *name,
                                 const coble_cancel_t *cancel,
                                 coble_image_mount_t **mount,
                                 coble_error_t **error);

/**
 * The descriptor of the root directory, for openat and the like. It belongs to the mount. -1 if that is NULL.
 */
int32_t coble_image_mount_fd(const coble_image_mount_t *mount);

/**
 * Unmounts. NULL is fine.
 */
void coble_image_mount_delete(coble_image_mount_t *mount);

/**
 * Removes images that are not used. Options may be NULL. `json`, which may be NULL, gets an object with the arrays "untagged" and "deleted" and the
 * number "reclaimed" of bytes.
 */
coble_status_t coble_image_prune(const coble_engine_t *engine,
                                 const coble_prune_options_t *options,
                                 const coble_cancel_t *cancel,
                                 coble_string_t **json,
                                 coble_error_t **error);

/**
 * What the store takes of the disk, in bytes of allocated blocks, in all and for each image and container, as a JSON object. "total" is what du sees
 * of the data root.
 */
coble_status_t coble_engine_disk_usage(const coble_engine_t *engine,
                                       const coble_cancel_t *cancel,
                                       coble_string_t **json,
                                       coble_error_t **error);

/**
 * Looks at every byte of the store, and with `repair`, which is 0 or 1, mends what can be mended. The result is a JSON object with the number of "blobs" and
 * "layers" that were looked at and the array "problems", whose objects have "kind" ("blob", "layer", "stray" for what belongs to nothing,
 * "store"), "object", "message", "images" and "repaired".
 */
coble_status_t coble_engine_scrub(const coble_engine_t *engine,
                                  int32_t repair,
                                  const coble_cancel_t *cancel,
                                  coble_string_t **json,
                                  coble_error_t **error);

/**
 * As coble_engine_scrub, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_engine_scrub_with_progress(const coble_engine_t *engine,
                                                int32_t repair,
                                                coble_progress_callback_t progress,
                                                void *userdata,
                                                const coble_cancel_t *cancel,
                                                coble_string_t **json,
                                                coble_error_t **error);

/**
 * What happened: one of the COBLE_PROGRESS_ numbers. Kinds that later versions add are COBLE_PROGRESS_WARNING here and have names of their own. -1 if the progress is NULL.
 */
int32_t coble_progress_kind(const coble_progress_t *progress);

/**
 * The name of what happened, such as "blob-done". NULL if the progress is NULL.
 */
const char *coble_progress_kind_name(const coble_progress_t *progress);

/**
 * What the call is about: a reference, the name of a container, or the path of an archive or a store. NULL if the progress is NULL.
 */
const char *coble_progress_reference(const coble_progress_t *progress);

/**
 * The digest of the blob or manifest that it is about, or in a scrub the chain id of a layer. NULL if it is about none.
 */
const char *coble_progress_digest(const coble_progress_t *progress);

/**
 * Words for people. NULL if there are none.
 */
const char *coble_progress_message(const coble_progress_t *progress);

/**
 * How many bytes of it are done.
 */
uint64_t coble_progress_current(const coble_progress_t *progress);

/**
 * How many bytes it has. 0: not known.
 */
uint64_t coble_progress_total(const coble_progress_t *progress);

/**
 * How many bytes are done of everything that the call moves, reads or checks.
 */
uint64_t coble_progress_overall_current(const coble_progress_t *progress);

/**
 * How many bytes all of that has. 0: not known yet, or nothing.
 */
uint64_t coble_progress_overall_total(const coble_progress_t *progress);

/**
 * Every default: the registry is asked for the host's platform.
 */
coble_pull_options_t *coble_pull_options_new(void);

/**
 * Sets the platform, such as "linux/arm64/v8", or "all" for every one that the name has. NULL: the host's.
 */
coble_status_t coble_pull_options_set_platform(coble_pull_options_t *options,
                                               const char *platform,
                                               coble_error_t **error);

/**
 * Sets when the registry is asked: one of the COBLE_PULL_ numbers.
 */
coble_status_t coble_pull_options_set_policy(coble_pull_options_t *options,
                                             int32_t policy,
                                             coble_error_t **error);

/**
 * Sets how many blobs are fetched at once, 1 to 64. 0: 4.
 */
coble_status_t coble_pull_options_set_jobs(coble_pull_options_t *options,
                                           uint32_t jobs,
                                           coble_error_t **error);

/**
 * Sets a lock file that names are checked against. NULL: the engine's, if it has one.
 */
coble_status_t coble_pull_options_set_lock(coble_pull_options_t *options,
                                           const char *lock,
                                           coble_error_t **error);

/**
 * Sets whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: 1 or 0, which is the default. They are
 * asked over TLS, without credentials, on public addresses and on the registry's own host; what comes is verified. At most 16 URLs of each are tried.
 */
coble_status_t coble_pull_options_set_allow_foreign_urls(coble_pull_options_t *options,
                                                         int32_t allow,
                                                         coble_error_t **error);

/**
 * Adds a host, "host" or "host:port", that such URLs may have although its addresses are not public. Plain HTTP is used only for what registries.conf says to be insecure.
 */
coble_status_t coble_pull_options_add_foreign_url_host(coble_pull_options_t *options,
                                                       const char *host,
                                                       coble_error_t **error);

/**
 * Sets how the registry is reached; a copy is kept. NULL: the defaults.
 */
coble_status_t coble_pull_options_set_registry(coble_pull_options_t *options,
                                               const coble_registry_options_t *registry,
                                               coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_pull_options_delete(coble_pull_options_t *options);

/**
 * Fetches an image from its registry, verified, and unpacks its layers while they come in. A tag names the image afterwards, a digest does not. When the call
 * fails or is cancelled, nothing has changed; what was fetched of a blob is kept for a while, and the next pull goes on from there. The options, the
 * callback and `image` may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_image_pull(const coble_engine_t *engine,
                                const char *reference,
                                const coble_pull_options_t *options,
                                coble_progress_callback_t progress,
                                void *userdata,
                                const coble_cancel_t *cancel,
                                coble_image_t **image,
                                coble_error_t **error);

/**
 * Finds out what a pull would fetch, and fetches nothing but manifests. Options may be NULL.
 */
coble_status_t coble_image_plan(const coble_engine_t *engine,
                                const char *reference,
                                const coble_pull_options_t *options,
                                const coble_cancel_t *cancel,
                                coble_pull_plan_t **plan,
                                coble_error_t **error);

/**
 * The canonical name. NULL if the plan is NULL.
 */
const char *coble_pull_plan_reference(const coble_pull_plan_t *plan);

/**
 * The digest of the manifest or index that the name stands for. NULL if the plan is NULL.
 */
const char *coble_pull_plan_digest(const coble_pull_plan_t *plan);

/**
 * How many bytes would be fetched.
 */
uint64_t coble_pull_plan_missing_bytes(const coble_pull_plan_t *plan);

/**
 * How many bytes are in the store already.
 */
uint64_t coble_pull_plan_present_bytes(const coble_pull_plan_t *plan);

/**
 * How many blobs the image has: configurations and layers, in the order of the manifest, each once.
 */
size_t coble_pull_plan_blob_count(const coble_pull_plan_t *plan);

/**
 * The digest of a blob. NULL if the index is too large.
 */
const char *coble_pull_plan_blob_digest(const coble_pull_plan_t *plan, size_t index);

/**
 * The bytes of a blob.
 */
uint64_t coble_pull_plan_blob_size(const coble_pull_plan_t *plan, size_t index);

/**
 * 1 if the store has the blob, or 0.
 */
int32_t coble_pull_plan_blob_present(const coble_pull_plan_t *plan, size_t index);

/**
 * The plan as a JSON object.
 */
coble_status_t coble_pull_plan_json(const coble_pull_plan_t *plan,
                                    coble_string_t **json,
                                    coble_error_t **error);

/**
 * Deletes a plan. NULL is fine.
 */
void coble_pull_plan_delete(coble_pull_plan_t *plan);

/**
 * Every default: all platforms that the name has, byte for byte.
 */
coble_push_options_t *coble_push_options_new(void);

/**
 * Sets the platform, such as "linux/arm64/v8". NULL: all that the name has in the store, with their index.
 */
coble_status_t coble_push_options_set_platform(coble_push_options_t *options,
                                               const char *platform,
                                               coble_error_t **error);

/**
 * Sets what layers that were made here are compressed with: "gzip", "zstd" or "none", which gives the image another digest in the registry. NULL: everything goes byte for byte.
 */
coble_status_t coble_push_options_set_compression(coble_push_options_t *options,
                                                  const char *compression,
                                                  coble_error_t **error);

/**
 * Sets how hard is tried to make such layers small: 1 to 9 of gzip, 1 to 22 of zstd. 0: quickly, and a layer that has the compression stays as it is.
 */
coble_status_t coble_push_options_set_compression_level(coble_push_options_t *options,
                                                        uint32_t level,
                                                        coble_error_t **error);

/**
 * Sets the form of the manifests that are sent: "oci", or "v2s2" for those of docker's schema 2, which gives the image another digest there. What is in that form already stays as it is. Layers that are compressed with zstd, which have no place in "v2s2", are compressed anew with gzip. NULL: as they are.
 */
coble_status_t coble_push_options_set_format(coble_push_options_t *options,
                                             const char *format,
                                             coble_error_t **error);

/**
 * Sets whether layers are sent, too, that are not meant to be passed on (foreign, or non-distributable, by their media types): 1 or 0, which is the default.
 */
coble_status_t coble_push_options_set_allow_nondistributable_artifacts(coble_push_options_t *options,
                                                                       int32_t allow,
                                                                       coble_error_t **error);

/**
 * Adds a tag that the image gets in the same repository, beside the one of its reference. A registry that can do so sets all of them with one request.
 */
coble_status_t coble_push_options_add_tag(coble_push_options_t *options,
                                          const char *tag,
                                          coble_error_t **error);

/**
 * Sets the bytes of the pieces that blobs are sent in. 0: each blob goes in one request.
 */
coble_status_t coble_push_options_set_chunk_size(coble_push_options_t *options,
                                                 uint64_t chunk_size,
                                                 coble_error_t **error);

/**
 * Sets how many blobs are sent at once, 1 to 64. 0: 4.
 */
coble_status_t coble_push_options_set_jobs(coble_push_options_t *options,
                                           uint32_t jobs,
                                           coble_error_t **error);

/**
 * Sets how the registry is reached; a copy is kept. NULL: the defaults.
 */
coble_status_t coble_push_options_set_registry(coble_push_options_t *options,
                                               const coble_registry_options_t *registry,
                                               coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_push_options_delete(coble_push_options_t *options);

/**
 * Every default: everything that the name stands for, byte for byte.
 */
coble_copy_options_t *coble_copy_options_new(void);

/**
 * Sets the platform, such as "linux/arm64/v8". NULL: everything that the name stands for in the source.
 */
coble_status_t coble_copy_options_set_platform(coble_copy_options_t *options,
                                               const char *platform,
                                               coble_error_t **error);

/**
 * Sets the form that the manifests get: "oci", or "v2s2" for those of docker's schema 2, which gives the image another digest there. What is in that form already stays as it is. Layers are never changed, so that one that is compressed with zstd is an error with "v2s2". NULL: everything goes byte for byte.
 */
coble_status_t coble_copy_options_set_format(coble_copy_options_t *options,
                                             const char *format,
                                             coble_error_t **error);

/**
 * Sets whether layers are copied, too, that are not meant to be passed on (foreign, or non-distributable, by their media types): 1 or 0, which is the default.
 */
coble_status_t coble_copy_options_set_allow_nondistributable_artifacts(coble_copy_options_t *options,
                                                                       int32_t allow,
                                                                       coble_error_t **error);

/**
 * Sets how many blobs are copied at once, 1 to 64. 0: 4.
 */
coble_status_t coble_copy_options_set_jobs(coble_copy_options_t *options,
                                           uint32_t jobs,
                                           coble_error_t **error);

/**
 * Sets whether what the registry does not have is fetched from the URLs that its descriptor names, as that of a layer that is not distributable does: 1 or 0, which is the default. They are
 * asked over TLS, without credentials, on public addresses and on the registry's own host; what comes is verified. At most 16 URLs of each are tried.
 */
coble_status_t coble_copy_options_set_allow_foreign_urls(coble_copy_options_t *options,
                                                         int32_t allow,
                                                         coble_error_t **error);

/**
 * Adds a host, "host" or "host:port", that such URLs may have although its addresses are not public. Plain HTTP is used only for what registries.conf says to be insecure.
 */
coble_status_t coble_copy_options_add_foreign_url_host(coble_copy_options_t *options,
                                                       const char *host,
                                                       coble_error_t **error);

/**
 * Sets how the registry is reached that has the image; a copy is kept. NULL: the defaults.
 */
coble_status_t coble_copy_options_set_source(coble_copy_options_t *options,
                                             const coble_registry_options_t *source,
                                             coble_error_t **error);

/**
 * Sets how the registry is reached that gets the image; a copy is kept. NULL: the defaults.
 */
coble_status_t coble_copy_options_set_target(coble_copy_options_t *options,
                                             const coble_registry_options_t *target,
                                             coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_copy_options_delete(coble_copy_options_t *options);

/**
 * Sends an image to the registry of its name, with what the registry does not have. The options, the callback and `pushed` may be NULL; see
 * coble_progress_callback_t.
 */
coble_status_t coble_image_push(const coble_engine_t *engine,
                                const char *reference,
                                const coble_push_options_t *options,
                                coble_progress_callback_t progress,
                                void *userdata,
                                const coble_cancel_t *cancel,
                                coble_pushed_t **pushed,
                                coble_error_t **error);

/**
 * Copies an image from one registry to another, byte for byte unless the options say another form. A target with a digest in place of a tag gets no name there, and has to be what is copied. The store is not touched. The options, the callback and `pushed` may be NULL; see
 * coble_progress_callback_t.
 */
coble_status_t coble_image_copy(const coble_engine_t *engine,
                                const char *source,
                                const char *target,
                                const coble_copy_options_t *options,
                                coble_progress_callback_t progress,
                                void *userdata,
                                const coble_cancel_t *cancel,
                                coble_pushed_t **pushed,
                                coble_error_t **error);

/**
 * The canonical name that the image has in the registry now. NULL if the argument is NULL.
 */
const char *coble_pushed_reference(const coble_pushed_t *pushed);

/**
 * How many tags were set: the one of the name, and those that were added.
 */
size_t coble_pushed_tag_count(const coble_pushed_t *pushed);

/**
 * A tag that was set. NULL if the index is too large.
 */
const char *coble_pushed_tag(const coble_pushed_t *pushed, size_t index);

/**
 * The digest of the manifest or index that the name stands for. NULL if the argument is NULL.
 */
const char *coble_pushed_digest(const coble_pushed_t *pushed);

/**
 * The media type of that manifest or index. NULL if the argument is NULL.
 */
const char *coble_pushed_media_type(const coble_pushed_t *pushed);

/**
 * The bytes of that manifest or index.
 */
uint64_t coble_pushed_size(const coble_pushed_t *pushed);

/**
 * How many blobs were sent.
 */
uint64_t coble_pushed_blobs_sent(const coble_pushed_t *pushed);

/**
 * How many blobs the registry took from another of its repositories.
 */
uint64_t coble_pushed_blobs_mounted(const coble_pushed_t *pushed);

/**
 * How many blobs were there already.
 */
uint64_t coble_pushed_blobs_present(const coble_pushed_t *pushed);

/**
 * How many bytes of blobs were sent.
 */
uint64_t coble_pushed_bytes_sent(const coble_pushed_t *pushed);

/**
 * How many warnings there are: what is not in the registry as it is in the source, such as annotations that docker's form has no place for, or layers that are not distributable.
 */
size_t coble_pushed_warning_count(const coble_pushed_t *pushed);

/**
 * The stable code of a warning: "annotations-dropped", "attestations-dropped" or "nondistributable-skipped". NULL if the index is too large.
 */
const char *coble_pushed_warning_code(const coble_pushed_t *pushed,
                                      size_t index);

/**
 * The explanation of a warning. NULL if the index is too large.
 */
const char *coble_pushed_warning_message(const coble_pushed_t *pushed, size_t index);

/**
 * All of it as a JSON object.
 */
coble_status_t coble_pushed_json(const coble_pushed_t *pushed, coble_string_t **json, coble_error_t **error);

/**
 * Deletes what a push or copy gave. NULL is fine.
 */
void coble_pushed_delete(coble_pushed_t *pushed);

/**
 * Every default: 25 results of Docker Hub.
 */
coble_search_options_t *coble_search_options_new(void);

/**
 * Sets the registry that is asked. NULL: the one of the term, or Docker Hub.
 */
coble_status_t coble_search_options_set_registry(coble_search_options_t *options,
                                                 const char *registry,
                                                 coble_error_t **error);

/**
 * Sets how many results there may be, 1 to 100. 0: 25.
 */
coble_status_t coble_search_options_set_limit(coble_search_options_t *options,
                                              uint32_t limit,
                                              coble_error_t **error);

/**
 * Adds a condition that results have to meet: "is-official=true" or "stars=3".
 */
coble_status_t coble_search_options_add_filter(coble_search_options_t *options,
                                               const char *filter,
                                               coble_error_t **error);

/**
 * Sets how the registry is reached; a copy is kept. NULL: the defaults.
 */
coble_status_t coble_search_options_set_registry_options(coble_search_options_t *options,
                                                         const coble_registry_options_t *registry,
                                                         coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_search_options_delete(coble_search_options_t *options);

/**
 * Searches a registry for repositories. Options may be NULL.
 */
coble_status_t coble_image_search(const coble_engine_t *engine,
                                  const char *term,
                                  const coble_search_options_t *options,
                                  const coble_cancel_t *cancel,
                                  coble_search_results_t **results,
                                  coble_error_t **error);

/**
 * How many results there are.
 */
size_t coble_search_results_count(const coble_search_results_t *results);

/**
 * The name of a repository. NULL if the index is too large.
 */
const char *coble_search_results_name(const coble_search_results_t *results, size_t index);

/**
 * What a repository says about itself, which may be empty. NULL if the index is too large.
 */
const char *coble_search_results_description(const coble_search_results_t *results, size_t index);

/**
 * How many people liked a repository.
 */
uint64_t coble_search_results_stars(const coble_search_results_t *results, size_t index);

/**
 * 1 if Docker vouches for a repository, or 0.
 */
int32_t coble_search_results_official(const coble_search_results_t *results, size_t index);

/**
 * 1 if the images of a repository are built automatically, or 0.
 */
int32_t coble_search_results_automated(const coble_search_results_t *results, size_t index);

/**
 * The results as a JSON array of objects.
 */
coble_status_t coble_search_results_json(const coble_search_results_t *results,
                                         coble_string_t **json,
                                         coble_error_t **error);

/**
 * Deletes results. NULL is fine.
 */
void coble_search_results_delete(coble_search_results_t *results);

/**
 * Asks the registries what `count` names stand for, and pins them to it in a lock file, which is made if it is not there. Pins of other names stay as
 * they are. The options and `pins` may be NULL.
 */
coble_status_t coble_image_lock(const coble_engine_t *engine,
                                const char *const *references,
                                size_t count,
                                const char *file,
                                const coble_registry_options_t *options,
                                const coble_cancel_t *cancel,
                                coble_pin_list_t **pins,
                                coble_error_t **error);

/**
 * How many pins there are.
 */
size_t coble_pin_list_count(const coble_pin_list_t *pins);

/**
 * The canonical name of a pin. NULL if the index is too large.
 */
const char *coble_pin_list_reference(const coble_pin_list_t *pins, size_t index);

/**
 * The digest of the manifest or index that a name is pinned to. NULL if the index is too large.
 */
const char *coble_pin_list_digest(const coble_pin_list_t *pins, size_t index);

/**
 * The pins as a JSON array of objects.
 */
coble_status_t coble_pin_list_json(const coble_pin_list_t *pins,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * Deletes a list of pins; the lock file stays. NULL is fine.
 */
void coble_pin_list_delete(coble_pin_list_t *pins);

/**
 * Asks a registry whether it takes the credentials of the options, and stores them as docker does: in the helper that is configured for the
 * registry, or in the credentials file. Docker Hub is "docker.io". `json`, which may be NULL, gets an object with "server", "username" and "stored_in".
 */
coble_status_t coble_registry_login(const coble_engine_t *engine,
                                    const char *server,
                                    const coble_registry_options_t *options,
                                    const coble_cancel_t *cancel,
                                    coble_string_t **json,
                                    coble_error_t **error);

/**
 * Forgets the credentials of a registry. `auth_file` is the file to look in, and NULL the ones of docker and podman. `removed`, which may be NULL, becomes 1 if there
 * were any, or 0.
 */
coble_status_t coble_registry_logout(const coble_engine_t *engine,
                                     const char *server,
                                     const char *auth_file,
                                     int32_t *removed,
                                     coble_error_t **error);

/**
 * The tags of a repository, such as "registry.example/team/app", as a JSON array of strings. Options may be NULL.
 */
coble_status_t coble_registry_tags(const coble_engine_t *engine,
                                   const char *repository,
                                   const coble_registry_options_t *options,
                                   const coble_cancel_t *cancel,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * The repositories of a registry, as a JSON array of strings. Many registries refuse to say. Options may be NULL.
 */
coble_status_t coble_registry_catalog(const coble_engine_t *engine,
                                      const char *server,
                                      const coble_registry_options_t *options,
                                      const coble_cancel_t *cancel,
                                      coble_string_t **json,
                                      coble_error_t **error);

/**
 * Takes a tag away from a registry, or with a digest the manifest with all its tags, or else the blob with that digest. Many registries do not allow it. Options may be
 * NULL.
 */
coble_status_t coble_registry_delete(const coble_engine_t *engine,
                                     const char *reference,
                                     const coble_registry_options_t *options,
                                     const coble_cancel_t *cancel,
                                     coble_error_t **error);

/**
 * What refers to an image in its registry, such as signatures and bills of materials: a JSON array of objects with "digest", "media_type", "artifact_type", "size" and "annotations". `artifact_type` may be NULL: all. Options may be NULL.
 */
coble_status_t coble_registry_referrers(const coble_engine_t *engine,
                                        const char *reference,
                                        const char *artifact_type,
                                        const coble_registry_options_t *options,
                                        const coble_cancel_t *cancel,
                                        coble_string_t **json,
                                        coble_error_t **error);

/**
 * Looks at an image in its registry without pulling it. With a `platform`, such as "linux/arm64", the image of that; with NULL, of an index the index itself.
 * Options may be NULL.
 */
coble_status_t coble_registry_inspect(const coble_engine_t *engine,
                                      const char *reference,
                                      const char *platform,
                                      const coble_registry_options_t *options,
                                      const coble_cancel_t *cancel,
                                      coble_remote_image_t **image,
                                      coble_error_t **error);

/**
 * The canonical name. NULL if the image is NULL.
 */
const char *coble_remote_image_reference(const coble_remote_image_t *image);

/**
 * The digest of the manifest or index. NULL if the image is NULL.
 */
const char *coble_remote_image_digest(const coble_remote_image_t *image);

/**
 * The media type of the manifest or index. NULL if the image is NULL.
 */
const char *coble_remote_image_media_type(const coble_remote_image_t *image);

/**
 * The bytes of the manifest, the configuration and the layers together; of an index, those of the index alone.
 */
uint64_t coble_remote_image_size(const coble_remote_image_t *image);

/**
 * How many platforms the name has.
 */
size_t coble_remote_image_platform_count(const coble_remote_image_t *image);

/**
 * A platform of the name, such as "linux/arm64/v8". NULL if the index is too large.
 */
const char *coble_remote_image_platform(const coble_remote_image_t *image, size_t index);

/**
 * All of it as a JSON object, with "manifest" and "config".
 */
coble_status_t coble_remote_image_json(const coble_remote_image_t *image,
                                       coble_string_t **json,
                                       coble_error_t **error);

/**
 * Deletes the handle; the image stays in the registry. NULL is fine.
 */
void coble_remote_image_delete(coble_remote_image_t *image);

/**
 * A container of an image, with every default. The image is a reference, an id, or an unambiguous id prefix of at least four digits. NULL: none; then
 * coble_container_spec_set_rootfs or coble_container_spec_set_bundle has to follow.
 */
coble_status_t coble_container_spec_new(const char *image,
                                        coble_container_spec_t **spec,
                                        coble_error_t **error);

/**
 * Sets a directory of this host that is the root file system instead of an image. Nothing is written to it: what the container writes is its own. NULL: none.
 */
coble_status_t coble_container_spec_set_rootfs(coble_container_spec_t *spec,
                                               const char *rootfs,
                                               coble_error_t **error);

/**
 * Sets the directory of an OCI bundle, instead of an image: its config.json says what is not said here, with the caller's rights. What cannot be given is
 * COBLE_ERR_UNSUPPORTED when the container is created, and the error names it. NULL: none.
 */
coble_status_t coble_container_spec_set_bundle(coble_container_spec_t *spec,
                                               const char *bundle,
                                               coble_error_t **error);

/**
 * Sets hooks: programs that are run at moments of the container's life, as the OCI runtime specification has them, in JSON, such as {"poststop": [{"path": "/bin/x"}]}.
 */
coble_status_t coble_container_spec_set_hooks(coble_container_spec_t *spec,
                                              const char *hooks,
                                              coble_error_t **error);

/**
 * Deletes a specification; containers made from it stay. NULL is fine.
 */
void coble_container_spec_delete(coble_container_spec_t *spec);

/**
 * Sets the command: `count` strings. Not set: the image's.
 */
coble_status_t coble_container_spec_set_command(coble_container_spec_t *spec,
                                                const char *const *command,
                                                size_t count,
                                                coble_error_t **error);

/**
 * Sets the entrypoint: `count` strings, and drops the image's command. None removes the image's entrypoint. Not set: the image's.
 */
coble_status_t coble_container_spec_set_entrypoint(coble_container_spec_t *spec,
                                                   const char *const *entrypoint,
                                                   size_t count,
                                                   coble_error_t **error);

/**
 * Sets the name: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 128 characters. NULL: one is made up.
 */
coble_status_t coble_container_spec_set_name(coble_container_spec_t *spec,
                                             const char *name,
                                             coble_error_t **error);

/**
 * Adds an environment variable, over the image's.
 */
coble_status_t coble_container_spec_add_environment(coble_container_spec_t *spec,
                                                    const char *name,
                                                    const char *value,
                                                    coble_error_t **error);

/**
 * Sets whether its programs have the proxies of docker's client configuration (proxies.default in config.json) as HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY and
 * ALL_PROXY, in both cases: over the image's, not over those of coble_container_spec_add_environment. They are read at each start and kept nowhere: 0 or 1.
 */
coble_status_t coble_container_spec_set_use_config_proxy(coble_container_spec_t *spec,
                                                         int32_t use_config_proxy,
                                                         coble_error_t **error);

/**
 * Sets the working directory, which is absolute and made when missing. NULL: the image's, or /.
 */
coble_status_t coble_container_spec_set_working_dir(coble_container_spec_t *spec,
                                                    const char *working_dir,
                                                    coble_error_t **error);

/**
 * Sets the user: name, uid, name:group or uid:gid. NULL: the image's, or 0:0.
 */
coble_status_t coble_container_spec_set_user(coble_container_spec_t *spec,
                                             const char *user,
                                             coble_error_t **error);

/**
 * Adds one more group, by id or name.
 */
coble_status_t coble_container_spec_add_group(coble_container_spec_t *spec,
                                              const char *group,
                                              coble_error_t **error);

/**
 * Sets the host name. NULL: the first 12 characters of the id, or the host's name on the host's network.
 */
coble_status_t coble_container_spec_set_hostname(coble_container_spec_t *spec,
                                                 const char *hostname,
                                                 coble_error_t **error);

/**
 * Sets the domain name, with which the host name is complete. NULL: none.
 */
coble_status_t coble_container_spec_set_domainname(coble_container_spec_t *spec,
                                                   const char *domainname,
                                                   coble_error_t **error);

/**
 * Sets the time zone of /etc/localtime: a name of the host's zone data, as Europe/Berlin, or local for the host's own. NULL: what the image has.
 */
coble_status_t coble_container_spec_set_tz(coble_container_spec_t *spec,
                                           const char *tz,
                                           coble_error_t **error);

/**
 * Sets whether a user or group of the program that the image lacks gets a line in the container's /etc/passwd or /etc/group: 0, or 1, which is the default.
 */
coble_status_t coble_container_spec_set_passwd(coble_container_spec_t *spec,
                                               int32_t passwd,
                                               coble_error_t **error);

/**
 * Sets that line of /etc/passwd, with $USERNAME, $UID, $GID, $NAME and $HOME replaced. NULL: $USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh.
 */
coble_status_t coble_container_spec_set_passwd_entry(coble_container_spec_t *spec,
                                                     const char *passwd_entry,
                                                     coble_error_t **error);

/**
 * Sets that line of /etc/group, with $GROUPNAME, $GID and $USERLIST replaced. NULL: $GROUPNAME:x:$GID:$USERLIST.
 */
coble_status_t coble_container_spec_set_group_entry(coble_container_spec_t *spec,
                                                    const char *group_entry,
                                                    coble_error_t **error);

/**
 * Sets the network: COBLE_NETWORK_NONE, which is the default, or COBLE_NETWORK_HOST.
 */
coble_status_t coble_container_spec_set_network(coble_container_spec_t *spec,
                                                int32_t network,
                                                coble_error_t **error);

/**
 * Gives it the network of another container that runs, by its name or id: that has its names and name servers, too.
 */
coble_status_t coble_container_spec_set_network_of(coble_container_spec_t *spec,
                                                   const char *container,
                                                   coble_error_t **error);

/**
 * Sets whether it has no network but loopback: 0 or 1. Any network but COBLE_NETWORK_NONE is an error then.
 */
coble_status_t coble_container_spec_set_network_disabled(coble_container_spec_t *spec,
                                                         int32_t network_disabled,
                                                         coble_error_t **error);

/**
 * Adds a port that its programs listen on, as "80", "53/udp" or "8000-8010/tcp", beside the image's: for inspect, and for images that are made of it.
 */
coble_status_t coble_container_spec_add_exposed_port(coble_container_spec_t *spec,
                                                     const char *port,
                                                     coble_error_t **error);

/**
 * Sets whose processes it sees: private, which is the default, host, or container: and a name or id. Other than private needs a cgroup of version 2.
 */
coble_status_t coble_container_spec_set_pid_mode(coble_container_spec_t *spec,
                                                 const char *pid_mode,
                                                 coble_error_t **error);

/**
 * Sets whose System V objects, message queues and /dev/shm it has: private, which is the default, shareable, none, host, or container: and a name or id.
 */
coble_status_t coble_container_spec_set_ipc_mode(coble_container_spec_t *spec,
                                                 const char *ipc_mode,
                                                 coble_error_t **error);

/**
 * Sets whose host name and domain name it has: private, which is the default, or host.
 */
coble_status_t coble_container_spec_set_uts_mode(coble_container_spec_t *spec,
                                                 const char *uts_mode,
                                                 coble_error_t **error);

/**
 * Sets how it sees cgroups: private, which is the default, or host.
 */
coble_status_t coble_container_spec_set_cgroupns(coble_container_spec_t *spec,
                                                 const char *cgroupns,
                                                 coble_error_t **error);

/**
 * Sets which user namespace it has: "" (the default: its own if there are maps for it, else that of the engine's containers), host, auto, auto:size= and a number of ids, or private, for
 * which maps are added. In its own one its programs are nobody on the host. Rootless there are keep-id, keep-id:uid=N,gid=N (who the caller is outside is who he is inside) and nomap (he is nobody inside), too, which fail with
 * COBLE_ERR_UNSUPPORTED for root; auto and private are ids of the caller's ranges in /etc/subuid there, and fail with COBLE_ERR_UNSUPPORTED if he has none.
 */
coble_status_t coble_container_spec_set_userns_mode(coble_container_spec_t *spec,
                                                    const char *userns_mode,
                                                    coble_error_t **error);

/**
 * Adds a line of the map of user ids of its own user namespace, as "container:host:count", of which the count may be left out. Without any, the map is that of group ids. Rootless, 0 is the caller
 * instead of an id of the host, and his ranges in /etc/subuid follow one another from 1.
 */
coble_status_t coble_container_spec_add_uidmap(coble_container_spec_t *spec,
                                               const char *line,
                                               coble_error_t **error);

/**
 * Adds a line of the map of group ids, as coble_container_spec_add_uidmap does it for users.
 */
coble_status_t coble_container_spec_add_gidmap(coble_container_spec_t *spec,
                                               const char *line,
                                               coble_error_t **error);

/**
 * Sets the cgroup that the container's is in: a path below where the caller may make any, such as /jobs/night. NULL: one of the engine's own.
 */
coble_status_t coble_container_spec_set_cgroup_parent(coble_container_spec_t *spec,
                                                      const char *cgroup_parent,
                                                      coble_error_t **error);

/**
 * Sets the memory limit in bytes. 0: none.
 */
coble_status_t coble_container_spec_set_mem_limit(coble_container_spec_t *spec,
                                                  uint64_t mem_limit,
                                                  coble_error_t **error);

/**
 * Sets the CPU limit in billionths of a CPU. 0: none.
 */
coble_status_t coble_container_spec_set_nano_cpus(coble_container_spec_t *spec,
                                                  uint64_t nano_cpus,
                                                  coble_error_t **error);

/**
 * Sets the limit on the number of processes and threads. 0 and UINT64_MAX: none.
 */
coble_status_t coble_container_spec_set_pids_limit(coble_container_spec_t *spec,
                                                   uint64_t pids_limit,
                                                   coble_error_t **error);

/**
 * Sets the bytes of memory that are taken from the container last when the host runs out of it. 0: none.
 */
coble_status_t coble_container_spec_set_mem_reservation(coble_container_spec_t *spec,
                                                        uint64_t mem_reservation,
                                                        coble_error_t **error);

/**
 * Sets the CPU weight against others, 2 to 262144. 0: none.
 */
coble_status_t coble_container_spec_set_cpu_shares(coble_container_spec_t *spec,
                                                   uint64_t cpu_shares,
                                                   coble_error_t **error);

/**
 * Sets the microseconds of CPU time in each period. 0 and UINT64_MAX: no limit.
 */
coble_status_t coble_container_spec_set_cpu_quota(coble_container_spec_t *spec,
                                                  uint64_t cpu_quota,
                                                  coble_error_t **error);

/**
 * Sets the length of that period in microseconds. 0: 100000.
 */
coble_status_t coble_container_spec_set_cpu_period(coble_container_spec_t *spec,
                                                   uint64_t cpu_period,
                                                   coble_error_t **error);

/**
 * Sets the block I/O weight against others, 10 to 1000. 0: none.
 */
coble_status_t coble_container_spec_set_blkio_weight(coble_container_spec_t *spec,
                                                     uint64_t blkio_weight,
                                                     coble_error_t **error);

/**
 * Adds the weight of a block device against others, 10 to 1000.
 */
coble_status_t coble_container_spec_add_blkio_weight_device(coble_container_spec_t *spec,
                                                            const char *path,
                                                            uint64_t weight,
                                                            coble_error_t **error);

/**
 * Sets the bytes of memory and swap together; -1 for swap without limit, 0 for twice the memory.
 */
coble_status_t coble_container_spec_set_memswap_limit(coble_container_spec_t *spec,
                                                      int64_t memswap_limit,
                                                      coble_error_t **error);

/**
 * Sets how willingly the kernel swaps the container's memory out, 0 to 100; UINT64_MAX: none. Only with cgroup version 1.
 */
coble_status_t coble_container_spec_set_mem_swappiness(coble_container_spec_t *spec,
                                                       uint64_t mem_swappiness,
                                                       coble_error_t **error);

/**
 * Sets how likely the kernel is to kill the container's programs when the host runs out of memory, -1000 to 1000.
 */
coble_status_t coble_container_spec_set_oom_score_adj(coble_container_spec_t *spec,
                                                      int32_t oom_score_adj,
                                                      coble_error_t **error);

/**
 * Sets whether programs wait for memory instead of being killed for want of it: 0 or 1. Only with cgroup version 1.
 */
coble_status_t coble_container_spec_set_oom_kill_disable(coble_container_spec_t *spec,
                                                         int32_t oom_kill_disable,
                                                         coble_error_t **error);

/**
 * Sets the CPUs that may be used, such as "0-2,7". NULL: all.
 */
coble_status_t coble_container_spec_set_cpuset_cpus(coble_container_spec_t *spec,
                                                    const char *cpuset_cpus,
                                                    coble_error_t **error);

/**
 * Sets the NUMA nodes that memory may come from. NULL: all.
 */
coble_status_t coble_container_spec_set_cpuset_mems(coble_container_spec_t *spec,
                                                    const char *cpuset_mems,
                                                    coble_error_t **error);

/**
 * Adds a limit on the bytes that are read of a block device each second.
 */
coble_status_t coble_container_spec_add_device_read_bps(coble_container_spec_t *spec,
                                                        const char *path,
                                                        uint64_t rate,
                                                        coble_error_t **error);

/**
 * Adds a limit on the bytes that are written to a block device each second.
 */
coble_status_t coble_container_spec_add_device_write_bps(coble_container_spec_t *spec,
                                                         const char *path,
                                                         uint64_t rate,
                                                         coble_error_t **error);

/**
 * Adds a limit on the reads of a block device each second.
 */
coble_status_t coble_container_spec_add_device_read_iops(coble_container_spec_t *spec,
                                                         const char *path,
                                                         uint64_t rate,
                                                         coble_error_t **error);

/**
 * Adds a limit on the writes to a block device each second.
 */
coble_status_t coble_container_spec_add_device_write_iops(coble_container_spec_t *spec,
                                                          const char *path,
                                                          uint64_t rate,
                                                          coble_error_t **error);

/**
 * Adds a resource limit of processes, as "name=soft:hard" or "name=both"; -1 is no limit.
 */
coble_status_t coble_container_spec_add_ulimit(coble_container_spec_t *spec,
                                               const char *ulimit,
                                               coble_error_t **error);

/**
 * Sets a parameter of the kernel that the container has for itself, such as "net.core.somaxconn".
 */
coble_status_t coble_container_spec_add_sysctl(coble_container_spec_t *spec,
                                               const char *name,
                                               const char *value,
                                               coble_error_t **error);

/**
 * Writes to a file of the container's version 2 cgroup, such as "memory.high".
 */
coble_status_t coble_container_spec_add_unified(coble_container_spec_t *spec,
                                                const char *name,
                                                const char *value,
                                                coble_error_t **error);

/**
 * Adds a capability to the default set: a name with or without CAP_, or ALL.
 */
coble_status_t coble_container_spec_add_capability(coble_container_spec_t *spec,
                                                   const char *capability,
                                                   coble_error_t **error);

/**
 * Takes a capability from the default set: a name with or without CAP_, or ALL.
 */
coble_status_t coble_container_spec_drop_capability(coble_container_spec_t *spec,
                                                    const char *capability,
                                                    coble_error_t **error);

/**
 * Sets whether the root file system is mounted read-only: 0 or 1.
 */
coble_status_t coble_container_spec_set_read_only(coble_container_spec_t *spec,
                                                  int32_t read_only,
                                                  coble_error_t **error);

/**
 * Adds a security option: seccomp= and a file or the text of a profile in docker's JSON format, or unconfined or builtin; no-new-privileges, no-new-privileges=false,
 * systempaths=unconfined, writable-cgroups, apparmor= and a profile, label= and a label, mask= and paths with colons between them, unmask= and such paths, patterns or ALL,
 * landlock= and read:PATH, write:PATH, exec:PATH, bind:PORT, connect:PORT or scope.
 */
coble_status_t coble_container_spec_add_security_opt(coble_container_spec_t *spec,
                                                     const char *option,
                                                     coble_error_t **error);

/**
 * Sets the paths that are made invisible, instead of the usual ones: `count` strings. None: nothing is. Not set: the usual ones. A path that is not there is left out.
 */
coble_status_t coble_container_spec_set_masked_paths(coble_container_spec_t *spec,
                                                     const char *const *paths,
                                                     size_t count,
                                                     coble_error_t **error);

/**
 * Sets the paths that are made read-only, with all that is mounted below them, instead of the usual ones: `count` strings. None: nothing is. Not set: the usual ones.
 */
coble_status_t coble_container_spec_set_readonly_paths(coble_container_spec_t *spec,
                                                       const char *const *paths,
                                                       size_t count,
                                                       coble_error_t **error);

/**
 * Adds a label.
 */
coble_status_t coble_container_spec_add_label(coble_container_spec_t *spec,
                                              const char *name,
                                              const char *value,
                                              coble_error_t **error);

/**
 * Adds an annotation, which is for other tools and means nothing to the engine.
 */
coble_status_t coble_container_spec_add_annotation(coble_container_spec_t *spec,
                                                   const char *name,
                                                   const char *value,
                                                   coble_error_t **error);

/**
 * Sets the platform of the image, such as "linux/arm64/v8", if its name has several. NULL: the one for the host.
 */
coble_status_t coble_container_spec_set_platform(coble_container_spec_t *spec,
                                                 const char *platform,
                                                 coble_error_t **error);

/**
 * Sets when a registry is asked for the image: one of the COBLE_PULL_ numbers. Not set: COBLE_PULL_MISSING.
 */
coble_status_t coble_container_spec_set_pull(coble_container_spec_t *spec,
                                             int32_t pull,
                                             coble_error_t **error);

/**
 * Sets the signal that stops the container: a name or a number. NULL: the image's, or SIGTERM.
 */
coble_status_t coble_container_spec_set_stop_signal(coble_container_spec_t *spec,
                                                    const char *stop_signal,
                                                    coble_error_t **error);

/**
 * Sets the seconds that stop waits before it kills. Not set: 10.
 */
coble_status_t coble_container_spec_set_stop_timeout(coble_container_spec_t *spec,
                                                     uint32_t stop_timeout,
                                                     coble_error_t **error);

/**
 * Sets the seconds after which the program is killed, counted from each start of it. 0: it may run as long as it likes.
 */
coble_status_t coble_container_spec_set_run_timeout(coble_container_spec_t *spec,
                                                    uint32_t run_timeout,
                                                    coble_error_t **error);

/**
 * Sets the size of /dev/shm in bytes. 0: 64 MiB.
 */
coble_status_t coble_container_spec_set_shm_size(coble_container_spec_t *spec,
                                                 uint64_t shm_size,
                                                 coble_error_t **error);

/**
 * Adds a line to /etc/hosts.
 */
coble_status_t coble_container_spec_add_host(coble_container_spec_t *spec,
                                             const char *name,
                                             const char *address,
                                             coble_error_t **error);

/**
 * Adds a name server for /etc/resolv.conf. None: the host's.
 */
coble_status_t coble_container_spec_add_dns(coble_container_spec_t *spec,
                                            const char *address,
                                            coble_error_t **error);

/**
 * Adds a domain in which names are looked for. None: the host's; . alone: none.
 */
coble_status_t coble_container_spec_add_dns_search(coble_container_spec_t *spec,
                                                   const char *domain,
                                                   coble_error_t **error);

/**
 * Adds an option for /etc/resolv.conf, such as ndots:2. None: the host's.
 */
coble_status_t coble_container_spec_add_dns_opt(coble_container_spec_t *spec,
                                                const char *option,
                                                coble_error_t **error);

/**
 * Sets whether the program has a terminal: 0 or 1. All of its output is then that of standard output.
 */
coble_status_t coble_container_spec_set_tty(coble_container_spec_t *spec, int32_t tty, coble_error_t **error);

/**
 * Sets whether standard input is kept open for coble_container_attach: 0 or 1.
 */
coble_status_t coble_container_spec_set_stdin_open(coble_container_spec_t *spec,
                                                   int32_t stdin_open,
                                                   coble_error_t **error);

/**
 * Sets whether the end of the first input that is attached is the end of standard input: 0 or 1. Needs coble_container_spec_set_stdin_open.
 */
coble_status_t coble_container_spec_set_stdin_once(coble_container_spec_t *spec,
                                                   int32_t stdin_once,
                                                   coble_error_t **error);

/**
 * Sets height and width of the terminal at first, in characters. Both 0: not known yet.
 */
coble_status_t coble_container_spec_set_console_size(coble_container_spec_t *spec,
                                                     uint16_t height,
                                                     uint16_t width,
                                                     coble_error_t **error);

/**
 * Sets whether process 1 is a small init, which reaps what ends in the container, passes signals on to the program, and ends with it: 0 or 1.
 */
coble_status_t coble_container_spec_set_init(coble_container_spec_t *spec,
                                             int32_t init,
                                             coble_error_t **error);

/**
 * Sets where output that is kept goes: "local", "json-file", "journald" or "none". NULL: "local".
 */
coble_status_t coble_container_spec_set_log_driver(coble_container_spec_t *spec,
                                                   const char *log_driver,
                                                   coble_error_t **error);

/**
 * Adds an option of the log driver: "max-size", "max-file", and with "json-file" and "journald" "tag", "labels", "labels-regex", "env" or "env-regex".
 */
coble_status_t coble_container_spec_add_log_opt(coble_container_spec_t *spec,
                                                const char *name,
                                                const char *value,
                                                coble_error_t **error);

/**
 * Sets whether the container is removed when it ends: 0 or 1.
 */
coble_status_t coble_container_spec_set_auto_remove(coble_container_spec_t *spec,
                                                    int32_t auto_remove,
                                                    coble_error_t **error);

/**
 * Sets how long the container may live: COBLE_LIFETIME_DETACHED, which is the default, or COBLE_LIFETIME_SESSION.
 */
coble_status_t coble_container_spec_set_lifetime(coble_container_spec_t *spec,
                                                 int32_t lifetime,
                                                 coble_error_t **error);

/**
 * Mounts a directory or file of the host, or a volume: "source:target" or "source:target:options", as docker's --volume has it, or "target" alone, which is an anonymous volume. A source that begins neither with / nor with . is
 * the name of a volume, which is made when it is missing; an empty one gets what the image has at the target, unless an option is nocopy. The options are a comma-separated list of ro or rw,
 * rprivate, private, rslave, slave, rshared or shared, noexec, nosuid, nodev, z or Z. A missing source is made, as a directory.
 */
coble_status_t coble_container_spec_add_volume(coble_container_spec_t *spec,
                                               const char *volume,
                                               coble_error_t **error);

/**
 * Mounts what another container has mounted at the same places: "name", "name:ro" or "name:rw". Where the container has something mounted of its own, that counts.
 */
coble_status_t coble_container_spec_add_volumes_from(coble_container_spec_t *spec,
                                                     const char *container,
                                                     coble_error_t **error);

/**
 * Mounts something: a comma-separated list of key=value, as docker's --mount has it: type (volume, which is the default, bind or tmpfs), src, dst, readonly, bind-propagation, bind-recursive,
 * bind-create-src, tmpfs-size, tmpfs-mode, volume-nocopy, volume-subpath, volume-label. A field may stand in double quotes, with commas in it.
 */
coble_status_t coble_container_spec_add_mount(coble_container_spec_t *spec,
                                              const char *mount,
                                              coble_error_t **error);

/**
 * Mounts a file system in memory, which goes with the container. The options, or NULL, are a comma-separated list as docker's --tmpfs has it: size=BYTES, mode=OCTAL, uid=,
 * gid=, ro, exec, suid, dev and their opposites; without any it is noexec,nosuid,nodev.
 */
coble_status_t coble_container_spec_add_tmpfs(coble_container_spec_t *spec,
                                              const char *target,
                                              const char *options,
                                              coble_error_t **error);

/**
 * Adds a file whose content is in memory alone: a comma-separated list of id=NAME, src=FILE or env=VARIABLE, and target=, uid=, gid= and mode= (octal). It is at /run/secrets/NAME, read-only,
 * with mode 0444, unless told otherwise. Unless `data` is NULL, it consists of these bytes, which are copied, instead of a file or variable. A file or variable is read at each start; bytes are known
 * to the engine that makes the container only, so another one cannot start it.
 */
coble_status_t coble_container_spec_add_secret(coble_container_spec_t *spec,
                                               const char *secret,
                                               const void *data,
                                               size_t size,
                                               coble_error_t **error);

/**
 * Gives the container a device of the host: "source", "source:target", "source:access" or "source:target:access", where access is some of r, w and m. A directory stands for
 * the devices in it.
 */
coble_status_t coble_container_spec_add_device(coble_container_spec_t *spec,
                                               const char *device,
                                               coble_error_t **error);

/**
 * Lets the container use more devices, such as "c 10:* rwm".
 */
coble_status_t coble_container_spec_add_device_cgroup_rule(coble_container_spec_t *spec,
                                                           const char *rule,
                                                           coble_error_t **error);

/**
 * Holds nothing back that the caller has, if not 0: all capabilities, the host's devices, no seccomp filter, nothing masked or read-only. Default: 0.
 */
coble_status_t coble_container_spec_set_privileged(coble_container_spec_t *spec,
                                                   int32_t privileged,
                                                   coble_error_t **error);

/**
 * Sets how the health of the program is looked at.
 */
coble_status_t coble_container_spec_set_healthcheck(coble_container_spec_t *spec,
                                                    const coble_healthcheck_t *check,
                                                    coble_error_t **error);

/**
 * Sets when the program is started again after its end: "no", "on-failure", "on-failure:N", "always" or "unless-stopped".
 */
coble_status_t coble_container_spec_set_restart_policy(coble_container_spec_t *spec,
                                                       const char *policy,
                                                       coble_error_t **error);

/**
 * The health of the container's program as a JSON object: "status" (starting, healthy or unhealthy), "failing_streak", and in "log" the last checks; "null" if that is not
 * looked at.
 */
coble_status_t coble_container_health(const coble_container_t *container,
                                      coble_string_t **json,
                                      coble_error_t **error);

/**
 * Whether it runs in a user namespace of the caller: 1 or 0.
 */
int32_t coble_isolation_rootless(const coble_isolation_t *isolation);

/**
 * Whether no_new_privs is set: 1 or 0.
 */
int32_t coble_isolation_no_new_privileges(const coble_isolation_t *isolation);

/**
 * Whether the root file system is mounted read-only: 1 or 0.
 */
int32_t coble_isolation_root_readonly(const coble_isolation_t *isolation);

/**
 * "filter" if a seccomp filter is in force, or "none". NULL if the isolation is NULL.
 */
const char *coble_isolation_seccomp(const coble_isolation_t *isolation);

/**
 * Which profile the seccomp filter is from: "default", "unconfined", or of the caller's own the digest of its text, such as "sha256:...". NULL if the isolation is NULL.
 */
const char *coble_isolation_seccomp_profile(const coble_isolation_t *isolation);

/**
 * The AppArmor profile that was asked for, as the kernel says it, such as "web (enforce)". NULL if none was asked for, or the kernel does not say.
 */
const char *coble_isolation_apparmor(const coble_isolation_t *isolation);

/**
 * The bits that new files of the program do not get; UINT32_MAX if the isolation is NULL.
 */
uint32_t coble_isolation_umask(const coble_isolation_t *isolation);

/**
 * How many device rules are in force: what none of them allows is refused. 0 if there are none, as for a rootless or privileged container.
 */
size_t coble_isolation_device_rule_count(const coble_isolation_t *isolation);

/**
 * A device rule in force, such as "c 1:3 rwm". NULL if the index is too large.
 */
const char *coble_isolation_device_rule(const coble_isolation_t *isolation, size_t index);

/**
 * The program's user id inside; UINT32_MAX if the isolation is NULL.
 */
uint32_t coble_isolation_uid(const coble_isolation_t *isolation);

/**
 * The program's group id inside; UINT32_MAX if the isolation is NULL.
 */
uint32_t coble_isolation_gid(const coble_isolation_t *isolation);

/**
 * How many kinds of namespaces there are.
 */
size_t coble_isolation_namespace_count(const coble_isolation_t *isolation);

/**
 * The name of a namespace as in /proc/self/ns, such as "net". NULL if the index is too large.
 */
const char *coble_isolation_namespace_name(const coble_isolation_t *isolation, size_t index);

/**
 * Whether a namespace is the container's own (1) or the host's (0). 0 if the index is too large.
 */
int32_t coble_isolation_namespace_own(const coble_isolation_t *isolation, size_t index);

/**
 * How many capabilities the program has in effect.
 */
size_t coble_isolation_capability_count(const coble_isolation_t *isolation);

/**
 * A capability that the program has in effect, such as "CAP_CHOWN". NULL if the index is too large.
 */
const char *coble_isolation_capability(const coble_isolation_t *isolation, size_t index);

/**
 * How many rules of Landlock the program is under.
 */
size_t coble_isolation_landlock_count(const coble_isolation_t *isolation);

/**
 * A rule of Landlock that the program is under, in the words of coble_container_spec_add_security_opt, such as "read:/usr". They are as the program has put them in force: the kernel
 * does not show them. NULL if the index is too large.
 */
const char *coble_isolation_landlock(const coble_isolation_t *isolation,
                                     size_t index);

/**
 * How many limits were asked for.
 */
size_t coble_isolation_limit_count(const coble_isolation_t *isolation);

/**
 * The name of a limit, such as "mem_limit". NULL if the index is too large.
 */
const char *coble_isolation_limit_name(const coble_isolation_t *isolation, size_t index);

/**
 * What was asked for. 0 if the index is too large.
 */
uint64_t coble_isolation_limit_requested(const coble_isolation_t *isolation, size_t index);

/**
 * Gives what the kernel says is in force, and 1. 0, and `applied` stays untouched, if the limit is not in force (a warning says why) or the
 * index is too large. `applied` may be NULL.
 */
int32_t coble_isolation_limit_applied(const coble_isolation_t *isolation,
                                      size_t index,
                                      uint64_t *applied);

/**
 * What was asked for, in words, such as "0-3" or "unlimited". NULL if the index is too large.
 */
const char *coble_isolation_limit_requested_text(const coble_isolation_t *isolation, size_t index);

/**
 * What is in force, in words. NULL if it is not in force or the index is too large.
 */
const char *coble_isolation_limit_applied_text(const coble_isolation_t *isolation, size_t index);

/**
 * All of it as a JSON object.
 */
coble_status_t coble_isolation_json(const coble_isolation_t *isolation,
                                    coble_string_t **json,
                                    coble_error_t **error);

/**
 * The program's exit code, or 128 plus the signal that ended it; -1 if the result is NULL.
 */
int32_t coble_run_result_exit_code(const coble_run_result_t *result);

/**
 * Standard output, if it was collected, and its length. Borrowed; `length` may be NULL. There is no NUL at the end.
 */
const uint8_t *coble_run_result_stdout(const coble_run_result_t *result,
                                       size_t *length);

/**
 * How many pieces both streams have in the order in which they were read. 0 if nothing was collected.
 */
size_t coble_run_result_record_count(const coble_run_result_t *result);

/**
 * A piece of the output, in the order in which it was read, and its length: of what a program had written to both streams before either was read, standard output comes first. `source`, which may be NULL, gets COBLE_LOG_STDOUT or
 * COBLE_LOG_STDERR. Borrowed; `length` may be NULL. There is no NUL at the end. NULL if the index is too large.
 */
const uint8_t *coble_run_result_record(const coble_run_result_t *result,
                                       size_t index,
                                       int32_t *source,
                                       size_t *length);

/**
 * Standard error, if it was collected, and its length. Borrowed; `length` may be NULL. There is no NUL at the end.
 */
const uint8_t *coble_run_result_stderr(const coble_run_result_t *result,
                                       size_t *length);

/**
 * How many phases were timed.
 */
size_t coble_run_result_timing_count(const coble_run_result_t *result);

/**
 * The name of a phase, in order. NULL if the index is too large.
 */
const char *coble_run_result_timing_name(const coble_run_result_t *result, size_t index);

/**
 * How long a phase took, in nanoseconds. 0 if the index is too large.
 */
uint64_t coble_run_result_timing_ns(const coble_run_result_t *result, size_t index);

/**
 * How many things could not be given and were not essential.
 */
size_t coble_run_result_warning_count(const coble_run_result_t *result);

/**
 * The stable code of a warning, such as "memory-limit-not-applied". NULL if the index is too large.
 */
const char *coble_run_result_warning_code(const coble_run_result_t *result, size_t index);

/**
 * The explanation of a warning. NULL if the index is too large.
 */
const char *coble_run_result_warning_message(const coble_run_result_t *result, size_t index);

/**
 * The isolation that the program really had. Borrowed from the result; NULL for exec, which has that of its container.
 */
const coble_isolation_t *coble_run_result_isolation(const coble_run_result_t *result);

/**
 * Deletes a result, which is not one borrowed from an error. NULL is fine.
 */
void coble_run_result_delete(coble_run_result_t *result);

/**
 * A program and its arguments, `count` strings, with every default.
 */
coble_status_t coble_exec_spec_new(const char *const *command,
                                   size_t count,
                                   coble_exec_spec_t **spec,
                                   coble_error_t **error);

/**
 * Adds an environment variable, over the container's.
 */
coble_status_t coble_exec_spec_add_environment(coble_exec_spec_t *spec,
                                               const char *name,
                                               const char *value,
                                               coble_error_t **error);

/**
 * Sets the working directory. NULL: the container's.
 */
coble_status_t coble_exec_spec_set_working_dir(coble_exec_spec_t *spec,
                                               const char *working_dir,
                                               coble_error_t **error);

/**
 * Sets the user. NULL: the container's.
 */
coble_status_t coble_exec_spec_set_user(coble_exec_spec_t *spec, const char *user, coble_error_t **error);

/**
 * Sets whether the program has every capability that the caller has, whatever the container has: 0 or 1. They are those of user 0; all else stays the container's (seccomp, AppArmor, Landlock,
 * no_new_privs, what is masked, and which devices may be used).
 */
coble_status_t coble_exec_spec_set_privileged(coble_exec_spec_t *spec,
                                              int32_t privileged,
                                              coble_error_t **error);

/**
 * Sets whether the program has a terminal: 0 or 1. coble_container_popen then gives copies of its master for COBLE_STREAM_PIPE; reading from that fails with EIO when
 * no program has the terminal open any more.
 */
coble_status_t coble_exec_spec_set_tty(coble_exec_spec_t *spec,
                                       int32_t tty,
                                       coble_error_t **error);

/**
 * Sets height and width of the terminal at first, in characters. Both 0: not known yet.
 */
coble_status_t coble_exec_spec_set_console_size(coble_exec_spec_t *spec,
                                                uint16_t height,
                                                uint16_t width,
                                                coble_error_t **error);

/**
 * Deletes a specification; programs made from it go on. NULL is fine.
 */
void coble_exec_spec_delete(coble_exec_spec_t *spec);

/**
 * Makes a container. It does not run yet.
 */
coble_status_t coble_container_create(const coble_engine_t *engine,
                                      const coble_container_spec_t *spec,
                                      coble_container_t **container,
                                      coble_error_t **error);

/**
 * As coble_container_create. If the image has to be pulled, which the specification says, the callback gets the progress, and the token ends it. The callback may be
 * NULL; see coble_progress_callback_t.
 */
coble_status_t coble_container_create_within(const coble_engine_t *engine,
                                             const coble_container_spec_t *spec,
                                             coble_progress_callback_t progress,
                                             void *userdata,
                                             const coble_cancel_t *cancel,
                                             coble_container_t **container,
                                             coble_error_t **error);

/**
 * The container with this name, id, or unambiguous id prefix of at least four digits.
 */
coble_status_t coble_container_get(const coble_engine_t *engine,
                                   const char *name,
                                   coble_container_t **container,
                                   coble_error_t **error);

/**
 * The running containers (`all` is 0), or all (1), newest first.
 */
coble_status_t coble_container_list(const coble_engine_t *engine,
                                    int32_t all,
                                    coble_container_list_t **containers,
                                    coble_error_t **error);

/**
 * The running containers, or those that the options ask for, newest first. Options may be NULL.
 */
coble_status_t coble_container_find(const coble_engine_t *engine,
                                    const coble_list_options_t *options,
                                    coble_container_list_t **containers,
                                    coble_error_t **error);

/**
 * The id: 64 hexadecimal digits. NULL if the container is NULL.
 */
const char *coble_container_id(const coble_container_t *container);

/**
 * The name. NULL if the container is NULL.
 */
const char *coble_container_name(const coble_container_t *container);

/**
 * The state now: COBLE_STATE_CREATED, COBLE_STATE_RUNNING, COBLE_STATE_PAUSED, COBLE_STATE_RESTARTING or COBLE_STATE_EXITED.
 */
coble_status_t coble_container_state(const coble_container_t *container,
                                     int32_t *state,
                                     coble_error_t **error);

/**
 * Starts the program and returns when it runs. COBLE_STREAM_DEFAULT is /dev/null for standard input and COBLE_STREAM_LOG for the
 * outputs; `stdio` may be NULL.
 */
coble_status_t coble_container_start(const coble_container_t *container,
                                     const coble_stdio_t *stdio,
                                     const coble_cancel_t *cancel,
                                     coble_error_t **error);

/**
 * Waits for the program's end and gives its exit code, or 128 plus the signal that ended it. COBLE_ERR_TIMEOUT after `timeout_ms`
 * milliseconds; a negative number waits for ever.
 */
coble_status_t coble_container_wait(const coble_container_t *container,
                                    int64_t timeout_ms,
                                    const coble_cancel_t *cancel,
                                    int32_t *exit_code,
                                    coble_error_t **error);

/**
 * Sends the stop signal, and SIGKILL after `timeout_ms` milliseconds; a negative number is the container's own stop timeout. A
 * container that does not run is fine.
 */
coble_status_t coble_container_stop(const coble_container_t *container,
                                    int64_t timeout_ms,
                                    const coble_cancel_t *cancel,
                                    coble_error_t **error);

/**
 * As coble_container_stop, with this signal instead of the container's stop signal; 0 is that.
 */
coble_status_t coble_container_stop_with_signal(const coble_container_t *container,
                                                int32_t signal,
                                                int64_t timeout_ms,
                                                const coble_cancel_t *cancel,
                                                coble_error_t **error);

/**
 * Sends a signal, such as SIGTERM, to the program.
 */
coble_status_t coble_container_kill(const coble_container_t *container,
                                    int32_t signal,
                                    coble_error_t **error);

/**
 * Removes the container and everything it wrote. A running one only with `force` (0 or 1), which kills it. The handle still has to be deleted.
 */
coble_status_t coble_container_remove(const coble_container_t *container,
                                      int32_t force,
                                      coble_error_t **error);

/**
 * As coble_container_remove, with the anonymous volumes that were made for it, unless another container has them. They go without that, too, with a container that is removed at its end or with its session.
 */
coble_status_t coble_container_remove_with_volumes(const coble_container_t *container,
                                                   int32_t force,
                                                   coble_error_t **error);

/**
 * What the program wrote, if it was started with COBLE_STREAM_LOG. Options may be NULL.
 */
coble_status_t coble_container_logs(const coble_container_t *container,
                                    const coble_log_options_t *options,
                                    coble_log_stream_t **stream,
                                    coble_error_t **error);

/**
 * Runs another program in the running container and collects its output. Options may be NULL.
 */
coble_status_t coble_container_exec(const coble_container_t *container,
                                    const coble_exec_spec_t *spec,
                                    const coble_run_options_t *options,
                                    const coble_cancel_t *cancel,
                                    coble_run_result_t **result,
                                    coble_error_t **error);

/**
 * Starts another program in the running container. COBLE_STREAM_DEFAULT is /dev/null for all streams; `stdio` may be NULL.
 */
coble_status_t coble_container_popen(const coble_container_t *container,
                                     const coble_exec_spec_t *spec,
                                     const coble_stdio_t *stdio,
                                     coble_process_t **process,
                                     coble_error_t **error);

/**
 * Deletes the handle; the container stays. NULL is fine.
 */
void coble_container_delete(coble_container_t *container);

/**
 * How many containers the list has.
 */
size_t coble_container_list_count(const coble_container_list_t *containers);

/**
 * A container of the list, borrowed from it. NULL if the index is too large.
 */
const coble_container_summary_t *coble_container_list_get(const coble_container_list_t *containers,
                                                          size_t index);

/**
 * Deletes a list; the containers of the store stay. NULL is fine.
 */
void coble_container_list_delete(coble_container_list_t *containers);

/**
 * The id. NULL if the summary is NULL.
 */
const char *coble_container_summary_id(const coble_container_summary_t *summary);

/**
 * The name. NULL if the summary is NULL.
 */
const char *coble_container_summary_name(const coble_container_summary_t *summary);

/**
 * The image as the creator named it. NULL if the summary is NULL.
 */
const char *coble_container_summary_image(const coble_container_summary_t *summary);

/**
 * The id of the image. NULL if the summary is NULL.
 */
const char *coble_container_summary_image_id(const coble_container_summary_t *summary);

/**
 * The state: COBLE_STATE_CREATED, COBLE_STATE_RUNNING, COBLE_STATE_PAUSED, COBLE_STATE_RESTARTING or COBLE_STATE_EXITED.
 */
int32_t coble_container_summary_state(const coble_container_summary_t *summary);

/**
 * The exit code of the last run, or -1 if there is none.
 */
int32_t coble_container_summary_exit_code(const coble_container_summary_t *summary);

/**
 * When it was made, RFC 3339. NULL if the summary is NULL.
 */
const char *coble_container_summary_created(const coble_container_summary_t *summary);

/**
 * When it was last started, RFC 3339. NULL if it never was.
 */
const char *coble_container_summary_started_at(const coble_container_summary_t *summary);

/**
 * When it last ended, RFC 3339. NULL if it never did.
 */
const char *coble_container_summary_finished_at(const coble_container_summary_t *summary);

/**
 * Bytes of the disk that it wrote, or -1 if that was not measured.
 */
int64_t coble_container_summary_size_rw(const coble_container_summary_t *summary);

/**
 * The container as a JSON object.
 */
coble_status_t coble_container_summary_json(const coble_container_summary_t *summary,
                                            coble_string_t **json,
                                            coble_error_t **error);

/**
 * Every default: a running container is paused, and the layer is compressed with gzip.
 */
coble_commit_options_t *coble_commit_options_new(void);

/**
 * Adds a change of the configuration, an instruction as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL,
 * USER, VOLUME or WORKDIR.
 */
coble_status_t coble_commit_options_add_change(coble_commit_options_t *options,
                                               const char *change,
                                               coble_error_t **error);

/**
 * Sets the author. NULL: none.
 */
coble_status_t coble_commit_options_set_author(coble_commit_options_t *options,
                                               const char *author,
                                               coble_error_t **error);

/**
 * Sets the comment for the history. NULL: none.
 */
coble_status_t coble_commit_options_set_message(coble_commit_options_t *options,
                                                const char *message,
                                                coble_error_t **error);

/**
 * Sets whether a running container is stopped while its files are read: 0 or 1.
 */
coble_status_t coble_commit_options_set_pause(coble_commit_options_t *options,
                                              int32_t pause,
                                              coble_error_t **error);

/**
 * Sets how the layer is compressed: "gzip", "zstd" or "none". NULL: gzip.
 */
coble_status_t coble_commit_options_set_compression(coble_commit_options_t *options,
                                                    const char *compression,
                                                    coble_error_t **error);

/**
 * Sets who hears how far a commit with them is. NULL: nobody. `userdata` has to live as long as calls are made with these options. See coble_progress_callback_t.
 */
coble_status_t coble_commit_options_set_progress(coble_commit_options_t *options,
                                                 coble_progress_callback_t progress,
                                                 void *userdata,
                                                 coble_error_t **error);

/**
 * Deletes options. NULL is fine.
 */
void coble_commit_options_delete(coble_commit_options_t *options);

/**
 * Makes an image of a container: its image's layers, one more with what it changed, and its configuration. `reference`, the name of the new image, may be
 * NULL, and so may the options.
 */
coble_status_t coble_container_commit(const coble_container_t *container,
                                      const char *reference,
                                      const coble_commit_options_t *options,
                                      const coble_cancel_t *cancel,
                                      coble_image_t **image,
                                      coble_error_t **error);

/**
 * What a container changed of its image: a JSON array of objects with "kind" ("added", "changed", "deleted") and "path".
 */
coble_status_t coble_container_diff(const coble_container_t *container,
                                    const coble_cancel_t *cancel,
                                    coble_string_t **json,
                                    coble_error_t **error);

/**
 * Writes a container's root file system as a tar to a file, which appears when it is complete. `json`, which may be NULL, gets an object with
 * "bytes", "entries" and "warnings".
 */
coble_status_t coble_container_export(const coble_container_t *container,
                                      const char *file,
                                      const coble_cancel_t *cancel,
                                      coble_string_t **json,
                                      coble_error_t **error);

/**
 * As coble_container_export, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_container_export_with_progress(const coble_container_t *container,
                                                    const char *file,
                                                    coble_progress_callback_t progress,
                                                    void *userdata,
                                                    const coble_cancel_t *cancel,
                                                    coble_string_t **json,
                                                    coble_error_t **error);

/**
 * As coble_container_export, to an open file or pipe, which stays open.
 */
coble_status_t coble_container_export_fd(const coble_container_t *container,
                                         int32_t fd,
                                         const coble_cancel_t *cancel,
                                         coble_string_t **json,
                                         coble_error_t **error);

/**
 * As coble_container_export_fd, with a callback for the progress, which may be NULL; see coble_progress_callback_t.
 */
coble_status_t coble_container_export_fd_with_progress(const coble_container_t *container,
                                                       int32_t fd,
                                                       coble_progress_callback_t progress,
                                                       void *userdata,
                                                       const coble_cancel_t *cancel,
                                                       coble_string_t **json,
                                                       coble_error_t **error);

/**
 * Writes what is at a path of a container, and everything below it, as a tar to a file, which appears when it is complete. The names begin with the path's
 * last component. A link there is followed if `follow_link` is not 0. No link leads out of the container, and what is mounted in it is not seen.
 * `json`, which may be NULL, gets an object as of coble_container_export.
 */
coble_status_t coble_container_get_archive(const coble_container_t *container,
                                           const char *source,
                                           const char *file,
                                           int32_t follow_link,
                                           const coble_cancel_t *cancel,
                                           coble_string_t **json,
                                           coble_error_t **error);

/**
 * As coble_container_get_archive, to an open file or pipe, which stays open.
 */
coble_status_t coble_container_get_archive_fd(const coble_container_t *container,
                                              const char *source,
                                              int32_t fd,
                                              int32_t follow_link,
                                              const coble_cancel_t *cancel,
                                              coble_string_t **json,
                                              coble_error_t **error);

/**
 * Copies a file or directory of the host into a container, whether it runs or not, by docker's rules for `docker cp`: `source` goes into `dest` if that is a
 * directory, only its content if `source` ends in `/.`; else it becomes `dest`. A link at the end of `source` is copied as a link, unless `follow_link` is
 * not 0. Everything belongs to the container's user 0, unless `archive` is not 0, which keeps the numbers of owners. `json`, which may be NULL,
 * gets an object as of coble_container_export.
 */
coble_status_t coble_container_copy_to(const coble_container_t *container,
                                       const char *source,
                                       const char *dest,
                                       int32_t follow_link,
                                       int32_t archive,
                                       const coble_cancel_t *cancel,
                                       coble_string_t **json,
                                       coble_error_t **error);

/**
 * Copies a file or directory of a container to the host, by the same rules as coble_container_copy_to with the sides exchanged. Everything belongs to the
 * caller and has no set-id bits, unless `archive` is not 0. Directories that are there keep their mode and owner. Device nodes and file capabilities are left out.
 */
coble_status_t coble_container_copy_from(const coble_container_t *container,
                                         const char *source,
                                         const char *dest,
                                         int32_t follow_link,
                                         int32_t archive,
                                         const coble_cancel_t *cancel,
                                         coble_string_t **json,
                                         coble_error_t **error);

/**
 * Unpacks a tar, plain or compressed, in a directory of a container, whether it runs or not. Directories are merged, files replaced; a file does not replace a directory, nor a
 * directory a file. Owners are the archive's. `json`, which may be NULL, gets an object as of coble_container_export.
 */
coble_status_t coble_container_put_archive(const coble_container_t *container,
                                           const char *dest,
                                           const char *archive,
                                           const coble_cancel_t *cancel,
                                           coble_string_t **json,
                                           coble_error_t **error);

/**
 * As coble_container_put_archive, from an open file or pipe, which stays open.
 */
coble_status_t coble_container_put_archive_fd(const coble_container_t *container,
                                              const char *dest,
                                              int32_t fd,
                                              const coble_cancel_t *cancel,
                                              coble_string_t **json,
                                              coble_error_t **error);

/**
 * Makes a file of a container, or replaces it, whether the container runs or not. Its directory has to be there. `mode`: permission bits with set-id and sticky.
 * `user`: whom it belongs to, as `name`, `uid`, `name:group` or `uid:gid`; NULL: user 0.
 */
coble_status_t coble_container_write_file(const coble_container_t *container,
                                          const char *file,
                                          const void *content,
                                          size_t size,
                                          uint32_t mode,
                                          const char *user,
                                          const coble_cancel_t *cancel,
                                          coble_error_t **error);

/**
 * The entries of a directory of a container, by name, as an array of objects with the members `name`, `kind` (`file`, `directory`, `symlink`, `fifo`,
 * `socket`, `character-device` or `block-device`), `size`, `mode`, `uid`, `gid`, `modified` (RFC 3339), and `link_target` of links.
 * A directory with more than a million entries fails with COBLE_ERR_LIMIT_EXCEEDED.
 */
coble_status_t coble_container_list_files(const coble_container_t *container,
                                          const char *directory,
                                          const coble_cancel_t *cancel,
                                          coble_string_t **json,
                                          coble_error_t **error);

/**
 * Makes a new container with the options of this one, and with its files as they are now. It does not run yet: as long as it is not started it is a snapshot, of which others can be
 * made; started, it is a clone, whose program begins anew, upon these files. `name` may be NULL. Of a container that does not run nothing is copied; a running one is stopped while what it wrote is copied, if
 * `pause` is not 0.
 */
coble_status_t coble_container_snapshot(const coble_container_t *container,
                                        const char *name,
                                        int32_t pause,
                                        const coble_cancel_t *cancel,
                                        coble_container_t **snapshot,
                                        coble_error_t **error);

/**
 * Everything about the container.
 */
coble_status_t coble_container_inspect(const coble_container_t *container,
                                       coble_container_details_t **details,
                                       coble_error_t **error);

/**
 * What a list shows of it: names, image, state, exit code, times. Borrowed from the details; NULL if they are NULL.
 */
const coble_container_summary_t *coble_container_details_summary(const coble_container_details_t *details);

/**
 * The process id of its program on the host, or -1 if it does not run.
 */
int32_t coble_container_details_pid(const coble_container_details_t *details);

/**
 * Why the last start failed. NULL if it did not.
 */
const char *coble_container_details_error(const coble_container_details_t *details);

/**
 * The isolation of the current or last run. Borrowed from the details; NULL if it never ran.
 */
const coble_isolation_t *coble_container_details_isolation(const coble_container_details_t *details);

/**
 * How many things the last run did not get that were not essential.
 */
size_t coble_container_details_warning_count(const coble_container_details_t *details);

/**
 * The stable code of a warning, such as "memory-limit-not-applied". NULL if the index is too large.
 */
const char *coble_container_details_warning_code(const coble_container_details_t *details, size_t index);

/**
 * The explanation of a warning. NULL if the index is too large.
 */
const char *coble_container_details_warning_message(const coble_container_details_t *details, size_t index);

/**
 * All of it as a JSON object, with what was asked for.
 */
coble_status_t coble_container_details_json(const coble_container_details_t *details,
                                            coble_string_t **json,
                                            coble_error_t **error);

/**
 * Deletes details, with what was borrowed from them. NULL is fine.
 */
void coble_container_details_delete(coble_container_details_t *details);

/**
 * Makes a volume, or gives the one that has the name, as it is. A name is [a-zA-Z0-9][a-zA-Z0-9_.-]+, at most 255 characters; NULL is an anonymous volume, with a name of 64 hexadecimal digits. The driver is
 * "local", as is NULL. `labels` are `label_count` texts "name=value". The handle has to be deleted.
 */
coble_status_t coble_volume_create(const coble_engine_t *engine,
                                   const char *name,
                                   const char *driver,
                                   const char *const *labels,
                                   size_t label_count,
                                   coble_volume_t **volume,
                                   coble_error_t **error);

/**
 * The volume with this name. The handle has to be deleted.
 */
coble_status_t coble_volume_get(const coble_engine_t *engine,
                                const char *name,
                                coble_volume_t **volume,
                                coble_error_t **error);

/**
 * Makes a volume that has what another one has, in milliseconds whatever the size: they share what neither changes. Without a name it is anonymous. As long as a volume has clones, nothing can be written to it: a container that
 * would mount it otherwise than read-only does not start, and while one that may write to it runs there is no clone of it; both fail with COBLE_ERR_IN_USE. A clone is mounted by one running container at a time. The
 * handle has to be deleted.
 */
coble_status_t coble_volume_clone(const coble_engine_t *engine,
                                  const char *source,
                                  const char *name,
                                  const coble_cancel_t *cancel,
                                  coble_volume_t **volume,
                                  coble_error_t **error);

/**
 * The volumes that meet conditions, by name, as a JSON array of objects with "name", "driver", "mountpoint", "created", "labels", "anonymous", "source" (the volume that it is a clone of) and "containers" (how many have
 * it). `filters` are `filter_count` texts "key=value": dangling, driver, label, label!, name.
 */
coble_status_t coble_volume_list(const coble_engine_t *engine,
                                 const char *const *filters,
                                 size_t filter_count,
                                 coble_string_t **json,
                                 coble_error_t **error);

/**
 * Removes a volume. Fails with COBLE_ERR_IN_USE if a container has it, running or not, or a clone is made upon it, and with COBLE_ERR_VOLUME_NOT_FOUND if there is none, unless `force` (0 or 1) is set.
 */
coble_status_t coble_volume_remove(const coble_engine_t *engine,
                                   const char *name,
                                   int32_t force,
                                   coble_error_t **error);

/**
 * Removes the anonymous volumes that no container has, or with `all` (0 or 1) every volume that none has. `filters` are `filter_count` texts "key=value": all, label, label!. `json`, which may be NULL, gets an object with
 * the array "deleted" of names and the number "reclaimed" of bytes.
 */
coble_status_t coble_volume_prune(const coble_engine_t *engine,
                                  int32_t all,
                                  const char *const *filters,
                                  size_t filter_count,
                                  const coble_cancel_t *cancel,
                                  coble_string_t **json,
                                  coble_error_t **error);

/**
 * The name. NULL if the volume is NULL.
 */
const char *coble_volume_name(const coble_volume_t *volume);

/**
 * Everything about the volume as a JSON object: as in coble_volume_list, and "used_by", the names of the containers that have it, and "clones".
 */
coble_status_t coble_volume_inspect(const coble_volume_t *volume,
                                    coble_string_t **json,
                                    coble_error_t **error);

/**
 * Everything about the volume as a JSON object in docker's form: Name, Driver, Mountpoint, CreatedAt, Labels, Options and Scope; Coble has what coble_volume_inspect gives.
 */
coble_status_t coble_volume_inspect_docker(const coble_volume_t *volume,
                                           coble_string_t **json,
                                           coble_error_t **error);

/**
 * Writes what is in the volume as a tar to a file, which appears when it is complete. The entry "./" has the attributes of the volume itself. `json`, which may be NULL, gets an object with "bytes", "entries" and "warnings".
 */
coble_status_t coble_volume_export(const coble_volume_t *volume,
                                   const char *file,
                                   const coble_cancel_t *cancel,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * As coble_volume_export, to an open file or pipe, which stays open.
 */
coble_status_t coble_volume_export_fd(const coble_volume_t *volume,
                                      int32_t fd,
                                      const coble_cancel_t *cancel,
                                      coble_string_t **json,
                                      coble_error_t **error);

/**
 * Unpacks a tar (plain, or compressed with gzip, zstd, bzip2 or xz) in the volume. Directories that are there are merged, and get the attributes of the archive; files are replaced. Fails with COBLE_ERR_IN_USE if the volume has
 * clones, or is one that a running container has. `json` as of coble_volume_export.
 */
coble_status_t coble_volume_import(const coble_volume_t *volume,
                                   const char *archive,
                                   const coble_cancel_t *cancel,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * As coble_volume_import, from an open file or pipe, which stays open.
 */
coble_status_t coble_volume_import_fd(const coble_volume_t *volume,
                                      int32_t fd,
                                      const coble_cancel_t *cancel,
                                      coble_string_t **json,
                                      coble_error_t **error);

/**
 * Deletes the handle; the volume stays. NULL is fine.
 */
void coble_volume_delete(coble_volume_t *volume);

/**
 * Stops all processes of the container, without their notice, until coble_container_unpause. COBLE_ERR_INVALID_STATE if it does not run or is paused,
 * COBLE_ERR_UNSUPPORTED where the host has no freezer for it.
 */
coble_status_t coble_container_pause(const coble_container_t *container,
                                     coble_error_t **error);

/**
 * Lets the processes of a paused container go on. COBLE_ERR_INVALID_STATE if it is not paused.
 */
coble_status_t coble_container_unpause(const coble_container_t *container, coble_error_t **error);

/**
 * Stops the container as coble_container_stop does, and starts it again, with its output kept for logs. One that does not run is started.
 */
coble_status_t coble_container_restart(const coble_container_t *container,
                                       int64_t timeout_ms,
                                       const coble_cancel_t *cancel,
                                       coble_error_t **error);

/**
 * As coble_container_restart, stopped with this signal instead of the container's stop signal; 0 is that.
 */
coble_status_t coble_container_restart_with_signal(const coble_container_t *container,
                                                   int32_t signal,
                                                   int64_t timeout_ms,
                                                   const coble_cancel_t *cancel,
                                                   coble_error_t **error);

/**
 * Gives the container another name. What coble_container_name returned for this handle is not valid any more. Other handles have the old name, and work.
 */
coble_status_t coble_container_rename(coble_container_t *container,
                                      const char *name,
                                      coble_error_t **error);

/**
 * Waits for a condition, COBLE_WAIT_NOT_RUNNING, COBLE_WAIT_NEXT_EXIT, COBLE_WAIT_REMOVED or COBLE_WAIT_HEALTHY, and gives the exit code that it came with. COBLE_ERR_TIMEOUT
 * after `timeout_ms` milliseconds; a negative number waits for ever.
 */
coble_status_t coble_container_wait_until(const coble_container_t *container,
                                          int32_t condition,
                                          int64_t timeout_ms,
                                          const coble_cancel_t *cancel,
                                          int32_t *exit_code,
                                          coble_error_t **error);

/**
 * As coble_container_wait_until, but an exit code other than 0 is COBLE_ERR_CONTAINER_EXIT, and the error has a run result (coble_error_run_result): the exit code and, as far as the log keeps them and
 * the container is still there, the last 64 KiB that this run of the program wrote to each stream.
 */
coble_status_t coble_container_wait_checked(const coble_container_t *container,
                                            int32_t condition,
                                            int64_t timeout_ms,
                                            const coble_cancel_t *cancel,
                                            coble_error_t **error);

/**
 * Changes limits, and when it is started again, of a container in any state. While it runs they are in force when this returns, or all are as they were; one that does not run has them
 * from its next start. `warnings`, which may be NULL, gets a JSON array of objects with "code" and "message".
 */
coble_status_t coble_container_update(const coble_container_t *container,
                                      const coble_update_options_t *options,
                                      coble_string_t **warnings,
                                      coble_error_t **error);

/**
 * Removes the containers that do not run and meet conditions: until, label and label!. `json`, which may be NULL, gets an object with the array "deleted" of
 * ids and the number "reclaimed" of bytes.
 */
coble_status_t coble_container_prune(const coble_engine_t *engine,
                                     const char *const *filters,
                                     size_t filter_count,
                                     coble_string_t **json,
                                     coble_error_t **error);

/**
 * Everything about the container as a JSON object in docker's form: Id, Created, State, Config, HostConfig, NetworkSettings and so on; Coble has what
 * coble_container_details_json gives.
 */
coble_status_t coble_container_inspect_docker(const coble_container_t *container,
                                              coble_string_t **json,
                                              coble_error_t **error);

/**
 * As coble_container_inspect_docker, with what is to be measured on the disk, in bytes: SizeRw, what the container wrote, and SizeRootFs, that and the files of its image.
 */
coble_status_t coble_container_inspect_docker_with_size(const coble_container_t *container,
                                                        coble_string_t **json,
                                                        coble_error_t **error);

/**
 * Reads a condition from a text: "log=PATTERN" (a regular expression matches the output), "port=NUMBER" (a program of the container listens on the TCP port), "http=PORT" or "http=PORT/PATH" (a GET is answered
 * with a status of 200 to 399), "file=PATH" (the path is there), "exec=COMMAND" (the program, words as in a shell without one, ends with 0) or "healthy" (the health checks say so).
 */
coble_status_t coble_ready_parse(const char *condition,
                                 coble_ready_t **ready,
                                 coble_error_t **error);

/**
 * A regular expression that has matched the output `times` times, on standard output if `standard_output` is 1 and on standard error if `standard_error` is 1. The streams are searched separately, from the container's
 * first start; `^` and `$` match at every line.
 */
coble_status_t coble_ready_log(const char *pattern,
                               uint32_t times,
                               int32_t standard_output,
                               int32_t standard_error,
                               coble_ready_t **ready,
                               coble_error_t **error);

/**
 * A GET of a path, on a TCP port of a container on the host's network, that is answered with this status; 0 is any of 200 to 399.
 */
coble_status_t coble_ready_http(uint16_t port,
                                const char *path,
                                uint16_t status,
                                coble_ready_t **ready,
                                coble_error_t **error);

/**
 * A program that, run in the container again and again, ends with this exit code. Its output is thrown away. `interval_ms` is the pause after a failure, in milliseconds. One that the image does not have fails the
 * wait with COBLE_ERR_COMMAND_NOT_FOUND.
 */
coble_status_t coble_ready_exec(const coble_exec_spec_t *spec,
                                int32_t exit_code,
                                uint32_t interval_ms,
                                coble_ready_t **ready,
                                coble_error_t **error);

/**
 * Each of the conditions has held once. They are copied.
 */
coble_status_t coble_ready_all_of(const coble_ready_t *const *conditions,
                                  size_t count,
                                  coble_ready_t **ready,
                                  coble_error_t **error);

/**
 * One of the conditions holds. They are copied.
 */
coble_status_t coble_ready_any_of(const coble_ready_t *const *conditions,
                                  size_t count,
                                  coble_ready_t **ready,
                                  coble_error_t **error);

/**
 * Waits until the container, which has been started, is ready. COBLE_ERR_CONTAINER_EXIT at once if it ends before: the error has a run result (coble_error_run_result) with the exit code and the last 20 lines of each
 * stream. COBLE_ERR_TIMEOUT after `timeout_ms` milliseconds; a negative number waits for ever. COBLE_ERR_INVALID_STATE if it was not started, or there is nothing to wait for, as with the health of a container that has no
 * health checks.
 */
coble_status_t coble_container_wait_ready(const coble_container_t *container,
                                          const coble_ready_t *ready,
                                          int64_t timeout_ms,
                                          const coble_cancel_t *cancel,
                                          coble_error_t **error);

/**
 * Deletes a condition; those made of it stay. NULL is fine.
 */
void coble_ready_delete(coble_ready_t *ready);

/**
 * The processes of the container as a JSON object: "titles" has those of the columns of ps -ef, "processes" has a row of texts for each. The numbers are those of the
 * host, times are UTC. COBLE_ERR_INVALID_STATE if it does not run.
 */
coble_status_t coble_container_top(const coble_container_t *container,
                                   coble_string_t **json,
                                   coble_error_t **error);

/**
 * As coble_container_top, with the columns that options of ps ask for, `count` texts of a word or several each: -ef, aux, or -o (-eo, --format) and a list such as pid,ppid,user,stat,etime,rss,comm,args.
 * COBLE_ERR_INVALID_ARGUMENT for what is not known.
 */
coble_status_t coble_container_top_with(const coble_container_t *container,
                                        const char *const *ps_args,
                                        size_t count,
                                        coble_string_t **json,
                                        coble_error_t **error);

/**
 * What the log options of the container have each record of its log say of it, as a JSON object of texts: labels, variables and the tag. Empty for a driver that has no such options.
 */
coble_status_t coble_container_log_attributes(const coble_container_t *container,
                                              coble_string_t **json,
                                              coble_error_t **error);

/**
 * What the container uses, as a JSON object: "cpu_percent", which is that of `interval_ms` milliseconds that are waited for (0: it is 0), "memory_usage",
 * "memory_limit", "pids", "block_read", "block_write", "network_rx", "network_tx" and so on. COBLE_ERR_INVALID_STATE if it does not run.
 */
coble_status_t coble_container_stats(const coble_container_t *container,
                                     uint32_t interval_ms,
                                     const coble_cancel_t *cancel,
                                     coble_string_t **json,
                                     coble_error_t **error);

/**
 * What the container uses, again and again: at once, and then after each interval.
 */
coble_status_t coble_container_stats_stream(const coble_container_t *container,
                                            uint32_t interval_ms,
                                            coble_stats_stream_t **stream,
                                            coble_error_t **error);

/**
 * Waits for the next look, and gives it as coble_container_stats does; NULL when the container does not run any more.
 */
coble_status_t coble_stats_stream_next(coble_stats_stream_t *stream,
                                       const coble_cancel_t *cancel,
                                       coble_string_t **json,
                                       coble_error_t **error);

/**
 * Deletes a stream. NULL is fine.
 */
void coble_stats_stream_delete(coble_stats_stream_t *stream);

/**
 * Gives the write end of standard input, which is the caller's to close; -1 if it is no pipe or was given before.
 */
int32_t coble_process_take_stdin(coble_process_t *process);

/**
 * Gives the read end of standard output, which is the caller's to close; -1 if it is no pipe or was given before.
 */
int32_t coble_process_take_stdout(coble_process_t *process);

/**
 * Gives the read end of standard error, which is the caller's to close; -1 if it is no pipe or was given before.
 */
int32_t coble_process_take_stderr(coble_process_t *process);

/**
 * Its process id on the host, or -1 if the process is NULL.
 */
int32_t coble_process_pid(const coble_process_t *process);

/**
 * How many things the program could not be given and were not essential.
 */
size_t coble_process_warning_count(const coble_process_t *process);

/**
 * The stable code of a warning. NULL if the index is too large.
 */
const char *coble_process_warning_code(const coble_process_t *process, size_t index);

/**
 * The explanation of a warning. NULL if the index is too large.
 */
const char *coble_process_warning_message(const coble_process_t *process, size_t index);

/**
 * Waits for the program's end and gives its exit code, or 128 plus the signal that ended it. COBLE_ERR_TIMEOUT after `timeout_ms`
 * milliseconds; a negative number waits for ever.
 */
coble_status_t coble_process_wait(const coble_process_t *process,
                                  int64_t timeout_ms,
                                  const coble_cancel_t *cancel,
                                  int32_t *exit_code,
                                  coble_error_t **error);

/**
 * Looks whether the program ended: `exited` becomes 1 and `exit_code` its exit code, or `exited` becomes 0.
 */
coble_status_t coble_process_poll(const coble_process_t *process,
                                  int32_t *exited,
                                  int32_t *exit_code,
                                  coble_error_t **error);

/**
 * Sends a signal, such as SIGTERM, to the program.
 */
coble_status_t coble_process_send_signal(const coble_process_t *process,
                                         int32_t signal,
                                         coble_error_t **error);

/**
 * Sets height and width of the program's terminal, in characters; it is told with SIGWINCH. COBLE_ERR_INVALID_STATE if it has none.
 */
coble_status_t coble_process_resize(const coble_process_t *process,
                                    uint16_t height,
                                    uint16_t width,
                                    coble_error_t **error);

/**
 * Leaves the program, as docker's keys do: it goes on, and there is an event `detach`, or `exec_detach` for one of coble_container_popen. The descriptors that were taken are to be
 * closed now. A terminal is not hung up, as deleting the handle does it: what is written to it from here on is lost.
 */
coble_status_t coble_process_detach(const coble_process_t *process,
                                    coble_error_t **error);

/**
 * Deletes the handle, and closes the pipes that were not taken; the program goes on. NULL is fine.
 */
void coble_process_delete(coble_process_t *process);

/**
 * Connects to the standard streams of the container's program, which goes on without whoever is connected. Output is read from the log, so it has to be kept there; input
 * needs coble_container_spec_set_stdin_open. The streams are pipes, which coble_process_take_stdin and its like give. `options` may be NULL.
 */
coble_status_t coble_container_attach(const coble_container_t *container,
                                      const coble_attach_options_t *options,
                                      coble_process_t **process,
                                      coble_error_t **error);

/**
 * Starts the program with its output kept in the log, and connects to it as coble_container_attach does before it can have written anything. `options` and `cancel` may
 * be NULL.
 */
coble_status_t coble_container_start_attached(const coble_container_t *container,
                                              const coble_attach_options_t *options,
                                              const coble_cancel_t *cancel,
                                              coble_process_t **process,
                                              coble_error_t **error);

/**
 * Sets height and width of the terminal of the container's program, in characters; it is told with SIGWINCH. COBLE_ERR_INVALID_STATE if it has none, or does not run.
 */
coble_status_t coble_container_resize(const coble_container_t *container,
                                      uint16_t height,
                                      uint16_t width,
                                      coble_error_t **error);

/**
 * Gives the next piece, or NULL at the end. Blocks only when the options say to follow. The piece is valid until the next call on the stream.
 */
coble_status_t coble_log_stream_next(coble_log_stream_t *stream,
                                     const coble_cancel_t *cancel,
                                     const coble_log_record_t **record,
                                     coble_error_t **error);

/**
 * Gives the next piece that is there already, or NULL; it never blocks, and NULL says nothing about the end. The piece is valid until the
 * next call on the stream.
 */
coble_status_t coble_log_stream_try_next(coble_log_stream_t *stream,
                                         const coble_log_record_t **record,
                                         coble_error_t **error);

/**
 * When a piece arrived, in nanoseconds since the epoch.
 */
int64_t coble_log_record_time_ns(const coble_log_record_t *record);

/**
 * Where a piece was written: COBLE_LOG_STDOUT or COBLE_LOG_STDERR; 0 if the record is NULL.
 */
int32_t coble_log_record_source(const coble_log_record_t *record);

/**
 * The bytes of a piece, and their number. `length` may be NULL. There is no NUL at the end.
 */
const uint8_t *coble_log_record_data(const coble_log_record_t *record, size_t *length);

/**
 * Deletes a stream. NULL is fine.
 */
void coble_log_stream_delete(coble_log_stream_t *stream);

/**
 * What happens to containers and images, whichever process does it. Options may be NULL. Events are kept for a week, and at most 20000 of them; a stream that is further behind tells so.
 */
coble_status_t coble_engine_events(const coble_engine_t *engine,
                                   const coble_event_options_t *options,
                                   coble_event_stream_t **stream,
                                   coble_error_t **error);

/**
 * Gives the next event, or NULL at the end: of what there is, or with follow when the time is over. The event is valid until the next call on the stream.
 * COBLE_ERR_EVENTS_LOST, once, if events were dropped that were still to be read, since more than are kept came after them; the next call goes on with the oldest one that is kept.
 */
coble_status_t coble_event_stream_next(coble_event_stream_t *stream,
                                       const coble_cancel_t *cancel,
                                       const coble_event_t **event,
                                       coble_error_t **error);

/**
 * Gives the next event that is on record already, or NULL; it never waits, and NULL says nothing about the end. The event is valid until the next call on the
 * stream.
 */
coble_status_t coble_event_stream_try_next(coble_event_stream_t *stream,
                                           const coble_event_t **event,
                                           coble_error_t **error);

/**
 * The number of an event, which grows from event to event and is never used again. 0 if the event is NULL.
 */
uint64_t coble_event_id(const coble_event_t *event);

/**
 * When it happened, in nanoseconds since the epoch.
 */
int64_t coble_event_time_ns(const coble_event_t *event);

/**
 * What it happened to: "container" or "image". NULL if the event is NULL.
 */
const char *coble_event_type(const coble_event_t *event);

/**
 * What happened, in docker's words, such as "start", "die" or "health_status: healthy". NULL if the event is NULL.
 */
const char *coble_event_action(const coble_event_t *event);

/**
 * The id of the container or image, or for "pull" and "push" the image's name. NULL if the event is NULL.
 */
const char *coble_event_actor(const coble_event_t *event);

/**
 * An attribute of an event, such as "name", "image", "exitCode" or a label; NULL if it has none of this name.
 */
const char *coble_event_attribute(const coble_event_t *event, const char *name);

/**
 * An event as a JSON object, in the form of docker's API.
 */
coble_status_t coble_event_json(const coble_event_t *event, coble_string_t **json, coble_error_t **error);

/**
 * Deletes a stream. NULL is fine.
 */
void coble_event_stream_delete(coble_event_stream_t *stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* COBLE_COBLE_H */
