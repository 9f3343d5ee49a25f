//! Passing signals on to the program of a container in the foreground, as `docker run` does. The container's processes are in a session of
//! their own, so that a Ctrl-C of the terminal reaches only us.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use coble::{CancelToken, Error, ErrorKind, Signal};
use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::emulate_default_handler;

use crate::output::Failure;

/// As long as it lives, signals of this process go to its receiver, on a thread of its own.
pub(crate) struct Forwarder {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Starts to pass signals on.
    pub(crate) fn start(receive: impl FnMut(Signal) + Send + 'static) -> Result<Forwarder, Error> {
        Forwarder::of(&[SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM], receive)
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
        Ok(Forwarder { handle, thread: Some(thread) })
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
