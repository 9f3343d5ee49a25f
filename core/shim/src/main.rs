//! The helper executable of coble: everything that touches namespaces, container roots and untrusted archives happens here.
//!
//! The engine starts it with one end of a socket pair and tells it which role to play: [`monitor`] of one container, [`archive`] worker,
//! parent of a [`host_program`], or of [`hooks`] that a monitor could not run.
//! It decides nothing: what a container gets comes as data.

// No part of the standard library's start-up is wanted: it would install signal handlers and look at the standard streams.
#![cfg_attr(not(test), no_main)]
#![deny(unsafe_code)]

// Confining a process takes calls that nothing safe wraps.
#[allow(unsafe_code)]
mod archive;
mod container;
mod failure;
mod hooks;
mod host_program;
mod ids;
mod monitor;
mod program;
mod root;
mod sys;
mod userns;

use coble_protocol::{ArchiveJob, CONTROL_FD, Connection, Failure, Fds, Launch, Report, Step, VERSION};
use rustix::fs::Mode;

use failure::During;

/// What the process was before the shim changed it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Origin {
    /// The soft limit of core files.
    core_limit: u64,
}

/// The entry point, called by libc.
#[cfg(not(test))]
#[allow(unsafe_code)]
// SAFETY: the one symbol of this name in the program, with the type that libc calls.
#[unsafe(no_mangle)]
pub extern "C" fn main(_argc: libc::c_int, _argv: *const *const libc::c_char) -> libc::c_int {
    run()
}

/// Everything, with the exit status of the process. 0 also when the engine went away: that is no defect of the shim.
#[cfg_attr(test, allow(dead_code))]
fn run() -> i32 {
    let control = match sys::control_socket() {
        Ok(socket) => Connection::new(socket),
        Err(_) => {
            let text = b"coble-shim: a part of coble, started by it and of no use by itself\n";
            let _ = rustix::io::write(rustix::stdio::stderr(), text);
            return 2;
        }
    };
    let origin = match tidy() {
        Ok(origin) => origin,
        Err(failure) => return fail(&control, failure),
    };
    if control.send(&Report::Hello(VERSION), &[]).is_err() {
        return 0;
    }
    match control.recv::<Launch>() {
        Ok(Some((Launch::Monitor(ground), fds))) => monitor::run(control, ground, fds, origin),
        Ok(Some((Launch::Archive(job), fds))) => work(control, *job, fds),
        Ok(Some((Launch::Program(program), fds))) => match host_program::run(&control, &program, fds) {
            Ok(()) => 0,
            Err(failure) => fail(&control, failure),
        },
        Ok(Some((Launch::Hooks(owed), fds))) => match hooks::run_owed(&control, &owed, fds) {
            Ok(()) => 0,
            Err(failure) => fail(&control, failure),
        },
        Ok(None) => 0,
        Err(error) => fail(&control, Failure::new(Step::Protocol, error.errno(), error.to_string())),
    }
}

/// Frees the process from what it inherited from the host program.
fn tidy() -> Result<Origin, Failure> {
    sys::reset_signals();
    // The engine leaves nothing else open. This is the second lock: a descriptor of the host must not reach a container.
    sys::close_from(CONTROL_FD as u32 + 1).during(Step::Launch, "descriptors")?;
    // Fails if it is the leader of a session already, which is as good.
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").during(Step::Launch, "/")?;
    rustix::process::umask(Mode::empty());
    let core = sys::RLIMIT_CORE;
    let (soft, hard) = sys::prlimit(core, None).during(Step::Launch, "core limit")?;
    sys::prlimit(core, Some((0, hard))).during(Step::Launch, "core limit")?;
    Ok(Origin { core_limit: soft })
}

/// The archive role.
fn work(control: Connection, job: ArchiveJob, mut fds: Fds) -> i32 {
    let result = (|| {
        archive::watch(rustix::fd::AsFd::as_fd(&control))?;
        let _ = rustix::thread::set_name(c"coble-archive");
        if let Some(namespace) = &job.userns {
            userns::enter(namespace, &mut fds)?;
        }
        archive::run(job.work, &mut fds)
    })();
    match result {
        // Nobody is there to hear it if sending fails.
        Ok(archive::Outcome::Done(done)) => {
            control.send(&Report::Done(Box::new(done)), &[]).map_or(0, |()| 0)
        }
        Ok(archive::Outcome::Mounted(mount)) => {
            control.send(&Report::Mounted, &[rustix::fd::AsFd::as_fd(&mount)]).map_or(0, |()| 0)
        }
        Err(failure) => fail(&control, failure),
    }
}

/// Reports a failure; the exit status for it.
pub(crate) fn fail(control: &Connection, failure: Failure) -> i32 {
    let _ = control.send(&Report::Failed(failure), &[]);
    1
}
