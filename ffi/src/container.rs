//! Containers.

use std::ffi::{CString, c_char, c_void};

use core::{Container, ContainerSummary, ListOptions, Result, Signal, State, Stdio};

use crate::boundary::Out;
use crate::cancel::{coble_cancel_t, token};
use crate::engine::coble_engine_t;
use crate::error::coble_error_t;
use crate::exec::coble_exec_spec_t;
use crate::handle::{self, Handle, borrow};
use crate::log::{coble_log_options_t, coble_log_stream_t};
use crate::options::{self, Options, flag};
use crate::process::coble_process_t;
use crate::progress::{Callback, coble_progress_callback_t};
use crate::run::{coble_run_options_t, coble_run_result_t, optional_duration, optional_signal};
use crate::spec::coble_container_spec_t;
use crate::status::coble_status_t;
use crate::stdio::{coble_stdio_t, streams};
use crate::string::coble_string_t;
use crate::strings::{c_string, pointer_or_null, text, texts};

/// A container. Deleting the handle does nothing to the container itself.
pub struct coble_container_t {
    pub(crate) container: Container,
    id: CString,
    name: CString,
}

impl coble_container_t {
    /// Makes the handle one of the same container by another name.
    pub(crate) fn become_known_as(&mut self, container: Container) {
        *self = coble_container_t::new(container);
    }
}

impl Handle for coble_container_t {
    const NAME: &'static str = "container";
}

impl coble_container_t {
    pub(crate) fn new(container: Container) -> coble_container_t {
        coble_container_t { id: c_string(container.id()), name: c_string(container.name()), container }
    }
}

/// Made, never started.
pub const COBLE_STATE_CREATED: i32 = 1;
/// Its program runs.
pub const COBLE_STATE_RUNNING: i32 = 2;
/// Its program ended.
pub const COBLE_STATE_EXITED: i32 = 3;
/// Its program is there, and stopped until somebody lets it go on.
pub const COBLE_STATE_PAUSED: i32 = 4;
/// Its program ended, and will be started again.
pub const COBLE_STATE_RESTARTING: i32 = 5;
/// A state that this version of the interface has no number for.
pub const COBLE_STATE_OTHER: i32 = 0;

fn state_number(state: State) -> i32 {
    match state {
        State::Created => COBLE_STATE_CREATED,
        State::Running => COBLE_STATE_RUNNING,
        State::Paused => COBLE_STATE_PAUSED,
        State::Exited => COBLE_STATE_EXITED,
        State::Restarting => COBLE_STATE_RESTARTING,
        _ => COBLE_STATE_OTHER,
    }
}

/// A container as it was when it was looked at. Borrowed from the list or the details that it is in.
pub struct coble_container_summary_t {
    summary: ContainerSummary,
    id: CString,
    name: CString,
    image: CString,
    image_id: CString,
    created: CString,
    started_at: Option<CString>,
    finished_at: Option<CString>,
}

impl Handle for coble_container_summary_t {
    const NAME: &'static str = "summary";
}

/// Some containers. Those in it are borrowed from it.
pub struct coble_container_list_t(Vec<coble_container_summary_t>);

impl Handle for coble_container_list_t {
    const NAME: &'static str = "list";
}

impl coble_container_list_t {
    fn new(listed: Vec<ContainerSummary>) -> coble_container_list_t {
        coble_container_list_t(listed.into_iter().map(coble_container_summary_t::new).collect())
    }
}

impl coble_container_summary_t {
    pub(crate) fn new(summary: ContainerSummary) -> coble_container_summary_t {
        coble_container_summary_t {
            id: c_string(&summary.id),
            name: c_string(&summary.name),
            image: c_string(&summary.image),
            image_id: c_string(&summary.image_id),
            created: c_string(&summary.created),
            started_at: summary.started_at.as_deref().map(c_string),
            finished_at: summary.finished_at.as_deref().map(c_string),
            summary,
        }
    }
}

/// Makes a container. It does not run yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_create(
    engine: *const coble_engine_t,
    spec: *const coble_container_spec_t,
    container: *mut *mut coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, spec, out) =
            unsafe { (borrow(engine)?, borrow(spec)?, Out::new(container, "container")?) };
        coble_container_t::new(engine.0.containers().create(spec.0.clone())?).give(out);
    })
}

/// As coble_container_create. If the image has to be pulled, which the specification says, the callback gets the progress, and the token ends it. The callback may be
/// NULL; see coble_progress_callback_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_create_within(
    engine: *const coble_engine_t,
    spec: *const coble_container_spec_t,
    progress: coble_progress_callback_t,
    userdata: *mut c_void,
    cancel: *const coble_cancel_t,
    container: *mut *mut coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, spec, cancel, out) =
            unsafe { (borrow(engine)?, borrow(spec)?, token(cancel), Out::new(container, "container")?) };
        let callback = Callback::new(progress, userdata, cancel);
        let told = |progress: &core::Progress| callback.tell(progress);
        let containers = engine.0.containers();
        let made = containers.create_within(spec.0.clone(), &told, callback.token())?;
        coble_container_t::new(made).give(out);
    })
}

/// The container with this name, id, or unambiguous id prefix of at least four digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_get(
    engine: *const coble_engine_t,
    name: *const c_char,
    container: *mut *mut coble_container_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, name, out) =
            unsafe { (borrow(engine)?, text(name, "name")?, Out::new(container, "container")?) };
        coble_container_t::new(engine.0.containers().get(name)?).give(out);
    })
}

/// Which containers coble_container_find finds, and what it shows of them. Zero everything but the size for those that run.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct coble_list_options_t {
    /// sizeof(coble_list_options_t).
    pub size: usize,
    /// Conditions of the form key=value, or NULL: ancestor, before, exited, expose, health, id, label, label!, name, network, publish, since, status, until, volume. All keys are to be met; of several
    /// values for one key one is enough, except for labels. A status means all containers.
    pub filters: *const *const c_char,
    /// How many conditions there are.
    pub filter_count: usize,
    /// Only that many, the newest, whatever their state. 0: no such bound.
    pub limit: u64,
    /// 1: all containers. 0: those that run.
    pub all: i32,
    /// 1: measure what each wrote.
    pub with_size: i32,
}

const _: () = assert!(size_of::<coble_list_options_t>() == 3 * size_of::<usize>() + 16, "padding");

// SAFETY: repr(C), size first, raw pointers and integers only, and no padding as asserted above.
unsafe impl Options for coble_list_options_t {
    const NAME: &'static str = "options";
}

/// # Safety
/// As [`options::read`], and the filters as [`texts`].
unsafe fn list_options(options: *const coble_list_options_t) -> Result<ListOptions> {
    // SAFETY: passed on.
    let given = unsafe { options::read(options) }?;
    let mut options = ListOptions::default();
    options.all = flag(given.all, "options.all")?;
    // SAFETY: passed on.
    options.filters = unsafe { texts(given.filters, given.filter_count, "options.filters") }?;
    options.limit = Some(given.limit).filter(|limit| *limit > 0);
    options.size = flag(given.with_size, "options.with_size")?;
    Ok(options)
}

/// The running containers (`all` is 0), or all (1), newest first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_list(
    engine: *const coble_engine_t,
    all: i32,
    containers: *mut *mut coble_container_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, all, out) =
            unsafe { (borrow(engine)?, flag(all, "all")?, Out::new(containers, "containers")?) };
        let mut options = ListOptions::default();
        options.all = all;
        coble_container_list_t::new(engine.0.containers().list(&options)?).give(out);
    })
}

/// The running containers, or those that the options ask for, newest first. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_find(
    engine: *const coble_engine_t,
    options: *const coble_list_options_t,
    containers: *mut *mut coble_container_list_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (engine, options, out) =
            unsafe { (borrow(engine)?, list_options(options)?, Out::new(containers, "containers")?) };
        let listed = engine.0.containers().list(&options)?;
        coble_container_list_t::new(listed).give(out);
    })
}

/// The id: 64 hexadecimal digits. NULL if the container is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_id(container: *const coble_container_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(container) }.map_or(std::ptr::null(), |container| container.id.as_ptr())
    })
}

/// The name. NULL if the container is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_name(container: *const coble_container_t) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(container) }.map_or(std::ptr::null(), |container| container.name.as_ptr())
    })
}

/// The state now: COBLE_STATE_CREATED, COBLE_STATE_RUNNING, COBLE_STATE_PAUSED, COBLE_STATE_RESTARTING or COBLE_STATE_EXITED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_state(
    container: *const coble_container_t,
    state: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, out) = unsafe { (borrow(container)?, Out::new(state, "state")?) };
        out.set(state_number(container.container.state()?));
    })
}

/// Starts the program and returns when it runs. COBLE_STREAM_DEFAULT is /dev/null for standard input and COBLE_STREAM_LOG for the
/// outputs; `stdio` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_start(
    container: *const coble_container_t,
    stdio: *const coble_stdio_t,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, stdio, cancel) =
            unsafe { (borrow(container)?, streams(stdio, Stdio::log())?, token(cancel)) };
        container.container.start(stdio, &cancel)?;
    })
}

/// Waits for the program's end and gives its exit code, or 128 plus the signal that ended it. COBLE_ERR_TIMEOUT after `timeout_ms`
/// milliseconds; a negative number waits for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_wait(
    container: *const coble_container_t,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    exit_code: *mut i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel, out) =
            unsafe { (borrow(container)?, token(cancel), Out::new(exit_code, "exit_code")?) };
        out.set(container.container.wait(optional_duration(timeout_ms), &cancel)?);
    })
}

/// Sends the stop signal, and SIGKILL after `timeout_ms` milliseconds; a negative number is the container's own stop timeout. A
/// container that does not run is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_stop(
    container: *const coble_container_t,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel) = unsafe { (borrow(container)?, token(cancel)) };
        container.container.stop(optional_duration(timeout_ms), &cancel)?;
    })
}

/// As coble_container_stop, with this signal instead of the container's stop signal; 0 is that.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_stop_with_signal(
    container: *const coble_container_t,
    signal: i32,
    timeout_ms: i64,
    cancel: *const coble_cancel_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, cancel) = unsafe { (borrow(container)?, token(cancel)) };
        let signal = optional_signal(signal)?;
        container.container.stop_with(signal, optional_duration(timeout_ms), &cancel)?;
    })
}

/// Sends a signal, such as SIGTERM, to the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_kill(
    container: *const coble_container_t,
    signal: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let container = unsafe { borrow(container)? };
        container.container.kill(Signal::new(signal)?)?;
    })
}

/// Removes the container and everything it wrote. A running one only with `force` (0 or 1), which kills it. The handle still has to be deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_remove(
    container: *const coble_container_t,
    force: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let container = unsafe { borrow(container)? };
        container.container.remove(flag(force, "force")?)?;
    })
}

/// As coble_container_remove, with the anonymous volumes that were made for it, unless another container has them. They go without that, too, with a container that is removed at its end or with its session.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_remove_with_volumes(
    container: *const coble_container_t,
    force: i32,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let container = unsafe { borrow(container)? };
        container.container.remove_with_volumes(flag(force, "force")?)?;
    })
}

/// What the program wrote, if it was started with COBLE_STREAM_LOG. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_logs(
    container: *const coble_container_t,
    options: *const coble_log_options_t,
    stream: *mut *mut coble_log_stream_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, options, out) =
            unsafe { (borrow(container)?, coble_log_options_t::read(options)?, Out::new(stream, "stream")?) };
        coble_log_stream_t::new(container.container.logs(options)?).give(out);
    })
}

/// Runs another program in the running container and collects its output. Options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_exec(
    container: *const coble_container_t,
    spec: *const coble_exec_spec_t,
    options: *const coble_run_options_t,
    cancel: *const coble_cancel_t,
    result: *mut *mut coble_run_result_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, spec, options, cancel, out) = unsafe {
            let options = coble_run_options_t::read(options)?;
            (borrow(container)?, borrow(spec)?, options, token(cancel), Out::new(result, "result")?)
        };
        coble_run_result_t::new(container.container.exec(spec.0.clone(), options, &cancel)?).give(out);
    })
}

/// Starts another program in the running container. COBLE_STREAM_DEFAULT is /dev/null for all streams; `stdio` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_popen(
    container: *const coble_container_t,
    spec: *const coble_exec_spec_t,
    stdio: *const coble_stdio_t,
    process: *mut *mut coble_process_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (container, spec, stdio, out) = unsafe {
            (borrow(container)?, borrow(spec)?, streams(stdio, Stdio::null())?, Out::new(process, "process")?)
        };
        coble_process_t::new(container.container.popen(spec.0.clone(), stdio)?).give(out);
    })
}

/// Deletes the handle; the container stays. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_delete(container: *mut coble_container_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(container) }
    })
}

/// How many containers the list has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_list_count(containers: *const coble_container_list_t) -> usize {
    boundary_value!(0, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(containers) }.map_or(0, |containers| containers.0.len())
    })
}

/// A container of the list, borrowed from it. NULL if the index is too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_list_get(
    containers: *const coble_container_list_t,
    index: usize,
) -> *const coble_container_summary_t {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        let summary = unsafe { borrow(containers) }.ok().and_then(|containers| containers.0.get(index));
        summary.map_or(std::ptr::null(), |summary| summary as *const _)
    })
}

/// Deletes a list; the containers of the store stay. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_list_delete(containers: *mut coble_container_list_t) {
    boundary_value!((), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { handle::delete(containers) }
    })
}

/// The id. NULL if the summary is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_id(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| summary.id.as_ptr())
    })
}

/// The name. NULL if the summary is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_name(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| summary.name.as_ptr())
    })
}

/// The image as the creator named it. NULL if the summary is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_image(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| summary.image.as_ptr())
    })
}

/// The id of the image. NULL if the summary is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_image_id(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| summary.image_id.as_ptr())
    })
}

/// The state: COBLE_STATE_CREATED, COBLE_STATE_RUNNING, COBLE_STATE_PAUSED, COBLE_STATE_RESTARTING or COBLE_STATE_EXITED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_state(summary: *const coble_container_summary_t) -> i32 {
    boundary_value!(COBLE_STATE_OTHER, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(COBLE_STATE_OTHER, |summary| state_number(summary.summary.state))
    })
}

/// The exit code of the last run, or -1 if there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_exit_code(summary: *const coble_container_summary_t) -> i32 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.ok().and_then(|summary| summary.summary.exit_code).unwrap_or(-1)
    })
}

/// When it was made, RFC 3339. NULL if the summary is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_created(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| summary.created.as_ptr())
    })
}

/// When it was last started, RFC 3339. NULL if it never was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_started_at(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| pointer_or_null(&summary.started_at))
    })
}

/// When it last ended, RFC 3339. NULL if it never did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_finished_at(
    summary: *const coble_container_summary_t,
) -> *const c_char {
    boundary_value!(std::ptr::null(), {
        // SAFETY: the caller's, by the contract of the header.
        unsafe { borrow(summary) }.map_or(std::ptr::null(), |summary| pointer_or_null(&summary.finished_at))
    })
}

/// Bytes of the disk that it wrote, or -1 if that was not measured.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_size_rw(summary: *const coble_container_summary_t) -> i64 {
    boundary_value!(-1, {
        // SAFETY: the caller's, by the contract of the header.
        let size = unsafe { borrow(summary) }.ok().and_then(|summary| summary.summary.size_rw);
        size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1)
    })
}

/// The container as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn coble_container_summary_json(
    summary: *const coble_container_summary_t,
    json: *mut *mut coble_string_t,
    error: *mut *mut coble_error_t,
) -> coble_status_t {
    boundary!(error, {
        // SAFETY: the caller's, by the contract of the header.
        let (summary, out) = unsafe { (borrow(summary)?, Out::new(json, "json")?) };
        coble_string_t::json(&summary.summary)?.give(out);
    })
}
