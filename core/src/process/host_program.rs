//! Programs of the host that the engine has to ask something. The shim starts them and is their parent: the host program gets no child and no signal from
//! it, and the program does not outlive the call.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use coble_protocol::{Exit, HostProgram, Launch, Report, VERSION};

use super::{Deadline, Shim, error_of, poll};
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};

/// So much input fits into a pipe before anybody reads it.
const MAX_INPUT: usize = 32 << 10;

/// What a program of the host did.
pub(crate) struct Answered {
    pub(crate) code: i32,
    pub(crate) output: Vec<u8>,
}

/// Runs a program until its end, with `input`, and with no more than `limit` bytes of output, for no longer than `time`.
pub(crate) fn ask_program(
    shim: &Shim,
    program: HostProgram,
    input: &[u8],
    limit: usize,
    time: Duration,
    cancel: &CancelToken,
) -> Result<Answered> {
    let name = program.path.clone();
    let refuse = |kind, why: &str| Error::new(kind, format!("\"{name}\": {why}")).with_object(name.clone());
    if input.len() > MAX_INPUT {
        return Err(refuse(ErrorKind::LimitExceeded, "its input is too long"));
    }
    let deadline = Deadline::after(Some(time));
    let (their_input, our_input) = pipe_with(PipeFlags::CLOEXEC).call("pipe2", &name)?;
    let (our_output, their_output) =
        pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).call("pipe2", &name)?;
    // The program is to have an ordinary end.
    rustix::fs::fcntl_setfl(&their_output, rustix::fs::OFlags::empty()).call("fcntl", &name)?;
    let written = rustix::io::write(&our_input, input).call("write", &name)?;
    if written != input.len() {
        return Err(refuse(ErrorKind::Io, "its input does not fit into a pipe"));
    }
    drop(our_input);
    let launch = Launch::Program(Box::new(program));
    // When this returns early the connection is dropped, which ends the program.
    let control = shim.start(&launch, &[their_input.as_fd(), their_output.as_fd()])?;
    drop((their_input, their_output));
    let mut output = Vec::new();
    let mut is_open = true;
    let mut exit: Option<Exit> = None;
    // What it started may keep the output open for ever, so its own end counts.
    while exit.is_none() {
        let mut wanted = vec![(control.as_fd(), PollFlags::IN)];
        if is_open {
            wanted.push((our_output.as_fd(), PollFlags::IN));
        }
        let mut ready = Vec::new();
        if poll(&wanted, &mut ready, deadline, cancel)? == 0 {
            return Err(refuse(ErrorKind::Timeout, &format!("no answer within {} s", time.as_secs())));
        }
        let control_is_ready = ready.first().is_some_and(|events| !events.is_empty());
        if control_is_ready {
            // The greeting comes first, long before the end: nothing is waited for here.
            match control.recv::<Report>() {
                Ok(Some((Report::Hello(VERSION), _))) => {}
                Ok(Some((Report::Exited(ended), _))) => exit = Some(ended),
                Ok(Some((Report::Failed(failure), _))) => return Err(error_of(&failure)),
                Ok(Some(_)) => return Err(refuse(ErrorKind::MonitorLost, "an unexpected report")),
                Ok(None) => return Err(refuse(ErrorKind::MonitorLost, "the helper ended without a word")),
                Err(error) => return Err(refuse(ErrorKind::MonitorLost, &error.to_string())),
            }
        }
        loop {
            let mut piece = [0; 4096];
            match rustix::io::read(&our_output, &mut piece) {
                Ok(0) => {
                    is_open = false;
                    break;
                }
                Ok(amount) => output.extend_from_slice(piece.get(..amount).unwrap_or_default()),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno).call("read", &name),
            }
            if output.len() > limit {
                return Err(refuse(ErrorKind::LimitExceeded, &format!("it writes more than {limit} bytes")));
            }
        }
    }
    Ok(Answered { code: exit.map_or(0, |exit| exit.code), output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, input: &[u8], time: Duration, cancel: &CancelToken) -> Result<Answered> {
        let shim = Shim::new(&std::env::temp_dir()).unwrap();
        let program = HostProgram {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec!["PATH=/usr/bin:/bin".into(), "GIVEN=yes".into()],
        };
        ask_program(&shim, program, input, 10_000, time, cancel)
    }

    #[test]
    fn input_output_environment_and_status() {
        let never = CancelToken::never();
        let minute = Duration::from_secs(60);
        let done = shell(
            "read line; echo \"$line $GIVEN $(umask) $(ls /proc/self/fd | wc -l)\"; exit 3",
            b"hello\n",
            minute,
            &never,
        )
        .unwrap();
        // Three streams, and the one that ls reads the directory with.
        assert_eq!((done.code, String::from_utf8(done.output).unwrap().trim()), (3, "hello yes 0077 4"));
        let signals = shell("grep -E '^Sig(Blk|Ign)' /proc/self/status", b"", minute, &never).unwrap();
        assert!(
            String::from_utf8(signals.output).unwrap().lines().all(|line| line.ends_with("0000000000000000"))
        );
        assert_eq!(shell("kill -9 $$", b"", minute, &never).unwrap().code, 137);
        // A program that leaves something behind which keeps its output open.
        assert_eq!(shell("echo x; setsid sleep 1 & exit 0", b"", minute, &never).unwrap().output, b"x\n");
    }

    #[test]
    fn sec_108_output_and_time_are_bounded() {
        let never = CancelToken::never();
        let too_much =
            shell("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxx; done", b"", Duration::from_secs(60), &never);
        assert_eq!(too_much.err().map(|error| error.kind()), Some(ErrorKind::LimitExceeded));
        let begin = Instant::now();
        let too_long = shell("sleep 60", b"", Duration::from_millis(300), &never);
        assert_eq!(too_long.err().map(|error| error.kind()), Some(ErrorKind::Timeout));
        assert!(begin.elapsed() < Duration::from_secs(10));
        let shim = Shim::new(&std::env::temp_dir()).unwrap();
        let missing = HostProgram { path: "/nonexistent".into(), arguments: vec![], environment: vec![] };
        let error = ask_program(&shim, missing, b"", 1, Duration::from_secs(60), &never).err().unwrap();
        assert_eq!(error.errno(), Some(libc::ENOENT));
    }

    #[test]
    fn the_program_ends_with_the_call() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("pid");
        let script = format!("echo $$ > {}; sleep 60", file.display());
        let result = shell(&script, b"", Duration::from_millis(700), &CancelToken::never());
        assert!(result.is_err());
        let pid = std::fs::read_to_string(&file).unwrap();
        let begin = Instant::now();
        while std::path::Path::new(&format!("/proc/{}", pid.trim())).exists() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
