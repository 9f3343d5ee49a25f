//! Passing signals on to the program of a container in the foreground, as `docker run` does. The container's processes are in a session of
//! their own, so that a Ctrl-C of the terminal reaches only us.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use coble::{CancelToken, Error, ErrorKind, Signal};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

use crate::output::{self, Failure};

/// As long as it lives, signals of this process go to its receiver, on a thread of its own.
pub(crate) struct Forwarder {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    reminder: Option<Reminder>,
    /// For the reminder: the program runs.
    _running: Option<Sender<Infallible>>,
}

impl Forwarder {
    /// Starts to pass signals on.
    pub(crate) fn start(receive: impl FnMut(Signal) + Send + 'static) -> Result<Forwarder, Error> {
        Forwarder::of(&[SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM], receive)
    }

    /// Starts to pass signals on to a program, of which the receiver reminds when it is interrupted.
    pub(crate) fn to_program(
        mut receive: impl FnMut(Signal, &Reminder) + Send + 'static,
    ) -> Result<Forwarder, Error> {
        let (reminder, running) = Reminder::new();
        let reminds = reminder.clone();
        let mut forwarder = Forwarder::start(move |signal| receive(signal, &reminds))?;
        forwarder.reminder = Some(reminder);
        forwarder._running = Some(running);
        Ok(forwarder)
    }

    /// Reminds of interrupts that came before the program ran, and that it was sent then.
    pub(crate) fn interrupted(&self, interrupts: u32) {
        self.reminder.iter().for_each(|reminder| reminder.interrupted(interrupts));
    }

    /// Lets signals end this process, which a receiver before may have kept from that: it does not take its handlers away.
    pub(crate) fn defaults() -> Result<Forwarder, Error> {
        Forwarder::start(|signal| {
            let _ = emulate_default_handler(signal.number());
        })
    }

    /// Starts to pass these signals on.
    pub(crate) fn of(
        wanted: &[i32],
        mut receive: impl FnMut(Signal) + Send + 'static,
    ) -> Result<Forwarder, Error> {
        let mut signals =
            Signals::new(wanted).map_err(|error| Error::io("sigaction", "signal handlers", &error))?;
        let handle = signals.handle();
        let thread = std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever().filter_map(|number| Signal::new(number).ok()) {
                    receive(signal);
                }
            })
            .map_err(|error| Error::io("clone", "signal thread", &error))?;
        Ok(Forwarder { handle, thread: Some(thread), reminder: None, _running: None })
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many interrupts in a row a program in the foreground may ignore.
pub(crate) const PATIENCE: u32 = 3;

/// Says once, on a terminal, how a program is ended that goes on after an interrupt: process 1 of a container ignores those that it does not handle.
#[derive(Clone)]
pub(crate) struct Reminder {
    interrupts: Arc<AtomicU32>,
    ended: Arc<Mutex<Option<Receiver<Infallible>>>>,
}

impl Reminder {
    /// The other end is dropped when the program has ended.
    fn new() -> (Reminder, Sender<Infallible>) {
        let (sender, receiver) = channel();
        (Reminder { interrupts: Arc::default(), ended: Arc::new(Mutex::new(Some(receiver))) }, sender)
    }

    /// The program was sent that many interrupts in a row.
    pub(crate) fn interrupted(&self, interrupts: u32) {
        const GRACE: Duration = Duration::from_secs(1);
        self.interrupts.store(interrupts, Ordering::Relaxed);
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(ended) = ended.filter(|_| std::io::stderr().is_terminal()) else { return };
        let interrupts = self.interrupts.clone();
        // Without the thread, nothing is said.
        let _ = std::thread::Builder::new().name("reminder".to_owned()).spawn(move || {
            if let Some(left) = left_after(GRACE, &ended, &interrupts) {
                let times = if left == 1 { "once more" } else { &format!("{left} more times") };
                output::note(format_args!("coble: press Ctrl-C {times} to kill it"));
            }
        });
    }
}

/// How many more interrupts lead to the end of a program that has not ended after some time.
fn left_after(grace: Duration, ended: &Receiver<Infallible>, interrupts: &AtomicU32) -> Option<u32> {
    match ended.recv_timeout(grace) {
        Err(RecvTimeoutError::Timeout) => {
            // One more than it may ignore.
            Some((PATIENCE + 1).saturating_sub(interrupts.load(Ordering::Relaxed))).filter(|left| *left > 0)
        }
        _ => None,
    }
}

/// Makes a call that a signal cancels, so that the engine cleans up. Whoever asks a second time does not want to wait for that.
pub(crate) fn cancellable<T>(call: impl FnOnce(&CancelToken) -> Result<T, Error>) -> Result<T, Failure> {
    let token = CancelToken::new();
    let first = Arc::new(OnceLock::new());
    let forwarder = {
        let (token, first) = (token.clone(), first.clone());
        Forwarder::start(move |signal| {
            let ends = [SIGHUP, SIGINT, SIGQUIT, SIGTERM].contains(&signal.number());
            if ends && first.set(signal).is_err() {
                let _ = emulate_default_handler(signal.number());
            }
            if ends {
                token.cancel();
            }
        })?
    };
    let result = call(&token);
    drop(forwarder);
    match (result, first.get()) {
        (Err(error), Some(signal)) if error.kind() == ErrorKind::Cancelled => Err(Failure::Signal(*signal)),
        (result, _) => Ok(result?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_is_told_only_of_a_program_that_goes_on() {
        let (reminder, program) = Reminder::new();
        let ended = reminder.ended.lock().unwrap().take().unwrap();
        let after = |interrupts| left_after(Duration::ZERO, &ended, &AtomicU32::new(interrupts));
        assert_eq!(after(1), Some(PATIENCE));
        assert_eq!(after(PATIENCE), Some(1));
        assert_eq!(after(PATIENCE + 1), None);
        drop(program);
        assert_eq!(left_after(Duration::from_secs(60), &ended, &AtomicU32::new(1)), None);
    }
}
