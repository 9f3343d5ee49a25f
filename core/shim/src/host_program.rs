//! The program role: runs one program of the host for the engine, with pipes for its input and output, and ends with it. It is ended, with everything that
//! it started and that stayed in its group, when the engine's end of the socket closes.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Connection, Exit, Failure, Fds, HostProgram, Report, Step};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use crate::failure::During;
use crate::sys;

/// Runs the program and reports its end.
pub(crate) fn run(control: &Connection, program: &HostProgram, mut fds: Fds) -> Result<(), Failure> {
    let _ = rustix::thread::set_name(c"coble-program");
    let path = program.path.as_str();
    if !path.starts_with('/') {
        return Err(Failure::rule(Step::Exec, path, "not an absolute path"));
    }
    let strings = |texts: &[String]| -> Result<Vec<CString>, Failure> {
        let all = texts.iter().map(|text| CString::new(text.as_str())).collect::<Result<_, _>>();
        all.map_err(|_| Failure::rule(Step::Exec, path, "an argument has a NUL byte"))
    };
    let mut argv = strings(std::slice::from_ref(&program.path))?;
    argv.extend(strings(&program.arguments)?);
    let env = strings(&program.environment)?;
    let (input, output) =
        (fds.take_nth(0).during(Step::Stdio, path)?, fds.take_nth(1).during(Step::Stdio, path)?);
    let (errors, failed) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).during(Step::Exec, path)?;
    let child = match sys::clone(0, None).during(Step::Exec, path)? {
        sys::Clone::Parent(pidfd) => pidfd,
        sys::Clone::Child => {
            let errno = become_program(&argv, &env, &input, &output);
            let _ = rustix::io::write(&failed, &errno.raw_os_error().to_ne_bytes());
            sys::exit(127)
        }
    };
    drop((input, output, failed));
    let mut errno = [0; 4];
    let told =
        rustix::io::retry_on_intr(|| rustix::io::read(&errors, &mut errno)).during(Step::Exec, path)?;
    if told == errno.len() {
        return Err(Failure::new(Step::Exec, i32::from_ne_bytes(errno), path));
    }
    loop {
        let mut wanted =
            [PollFd::new(&child, PollFlags::IN), PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)];
        match rustix::event::poll(&mut wanted, None) {
            Err(Errno::INTR) => continue,
            result => result.during(Step::Signal, path)?,
        };
        if !wanted[0].revents().is_empty() {
            break;
        }
        // The engine says nothing more, so this is its end. This process leads the group, and goes with it.
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
        sys::exit(1);
    }
    let status = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)
    })
    .during(Step::Signal, path)?;
    let (code, signal) = match status {
        Some(status) => (status.exit_status(), status.terminating_signal()),
        None => (None, None),
    };
    let exit = Exit {
        code: code.unwrap_or_else(|| 128 + signal.unwrap_or_default()),
        signal,
        finished_at: 0,
        core_dumped: false,
        timed_out: false,
    };
    // Nobody is there to hear it if sending fails.
    let _ = control.send(&Report::Exited(exit), &[]);
    Ok(())
}

/// The errno of what failed.
fn become_program(argv: &[CString], env: &[CString], input: &OwnedFd, output: &OwnedFd) -> Errno {
    // What a caller's mask was is not known here. Such programs keep secrets.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let prepared = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| sys::place(input.as_fd(), 0, false))
        .and_then(|()| sys::place(output.as_fd(), 1, false))
        .and_then(|()| sys::close_on_exec_from(3));
    match (prepared, argv.first()) {
        (Err(errno), _) => errno,
        (Ok(()), None) => Errno::INVAL,
        (Ok(()), Some(path)) => match sys::execve(path, argv, env) {
            Err(errno) => errno,
        },
    }
}
