//! A small init: process 1 of a container that does nothing but reap what ends there, pass signals on to the program, and end with it.
//!
//! It is this process, after everything was taken away from it that the program does not get; the program is its child. Nobody in the container may look into it or at its file, as
//! long as nobody has the capability to trace everything there, or is its user in a user namespace; and its file cannot be written to.

use coble_protocol::{Failure, Step};
use rustix::process::{Pid, WaitOptions, WaitStatus};

use crate::failure::During;
use crate::ids::IdMaps;
use crate::sys::{self, Signals};

/// Makes the process that becomes the program, and returns in that one.
pub(crate) fn stay_behind(maps: &IdMaps) -> Result<(), Failure> {
    let step = Step::Init;
    // From here on, so that none is lost: what is blocked waits, whatever it would do.
    let signals = Signals::block_all();
    match sys::fork().during(step, "program")? {
        Some(program) => {
            // The channel to the monitor among them: the program's copy is the one that says whether it was executed.
            let _ = sys::close_from(0);
            if maps.is_partial() {
                // This program was executed outside of the user namespace. So not even the monitor could join it, as exec does, and copies. It is then as open as any program is.
                let _ = sys::prctl(libc::PR_SET_DUMPABLE, 1, 0);
            }
            let _ = rustix::thread::set_name(c"init");
            sys::trim_memory();
            sys::exit(watch(program, &signals))
        }
        None => {
            // In the foreground alone, so that a key of its terminal is not told to it twice.
            rustix::process::setpgid(None, None).during(step, "process group")?;
            let own = rustix::process::getpid();
            if rustix::termios::isatty(rustix::stdio::stdin()) {
                // Fails where the terminal is not the one of this session.
                let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own);
            }
            signals.unblock_all();
            Ok(())
        }
    }
}

/// Reaps and passes on until the program has ended. Its exit status, or 128 plus the signal that ended it.
fn watch(program: Pid, signals: &Signals) -> i32 {
    loop {
        let signal = signals.wait();
        if signal != libc::SIGCHLD {
            // It may have ended just now.
            let _ = sys::kill(program, signal);
            continue;
        }
        let mut code = None;
        while let Ok(Some((ended, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if ended == program {
                code = Some(code_of(status));
            }
        }
        if let Some(code) = code {
            return code;
        }
    }
}

fn code_of(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, signal) => 128 + signal.unwrap_or(0),
    }
}
