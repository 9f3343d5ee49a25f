//! Noticing that there may be something new, without looking again and again: the kernel tells of a change of the database, and of monitors that have something to say or have gone.
//!
//! One watch is on the data root: a write to the database's log shows, and whoever has written opens and closes the directory after the commit, which shows too. The
//! other one is on the directory of all run directories: a monitor has its own run directory open as long as it lives, and opens and closes it once more when
//! it has something to say. The kernel closes it when the monitor is killed, so that is noticed like everything else.
//!
//! What is told comes a moment before or after what it tells of: so after each wake there are a few more looks, at growing distances, and then none until the next one.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};

use rustix::fs::inotify;

use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, ErrorKind, Result};
use crate::process::{Deadline, readable};

/// The looks after a wake, in milliseconds from one to the next.
const LOOKS: [u64; 5] = [1, 4, 15, 60, 250];

/// The watches of one stream.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    /// The watch of the run directories.
    monitors: i32,
    /// Which look comes next.
    look: usize,
    /// The containers whose monitors were heard of since the last wake.
    heard: BTreeSet<String>,
}

/// What to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The database, and these containers.
    At(Vec<String>),
    /// Everything: the kernel could not keep up.
    Everything,
    /// The time is over.
    End,
}

impl Watch {
    pub(super) fn new(inner: &Inner) -> Result<Watch> {
        use inotify::{CreateFlags, WatchFlags};
        let data = &inner.store.paths.data;
        let run = inner.run_root.join("containers");
        let inotify =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).call("inotify_init1", data)?;
        let changes = WatchFlags::MODIFY | WatchFlags::CLOSE_NOWRITE | WatchFlags::ONLYDIR;
        inotify::add_watch(&inotify, data, changes).call("inotify_add_watch", data)?;
        let monitors = WatchFlags::CLOSE_NOWRITE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        let monitors = inotify::add_watch(&inotify, &run, monitors).call("inotify_add_watch", &run)?;
        Ok(Watch { inotify, monitors, look: LOOKS.len(), heard: BTreeSet::new() })
    }

    /// Waits until it is worth while to look.
    pub(super) fn wait(&mut self, until: Option<SystemTime>, cancel: &CancelToken) -> Result<Look> {
        let left = until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Look::End);
        }
        let pause = LOOKS.get(self.look).map(|millis| Duration::from_millis(*millis));
        let deadline = Deadline::after(pause.into_iter().chain(left).min());
        match readable(&self.inotify, deadline, cancel, "events") {
            Ok(()) => Ok(self.hear()),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                self.look += 1;
                let heard = self.heard.iter().cloned().collect();
                if self.look >= LOOKS.len() {
                    self.heard.clear();
                }
                Ok(Look::At(heard))
            }
            Err(error) => Err(error),
        }
    }

    fn hear(&mut self) -> Look {
        self.look = 0;
        let mut all = false;
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            all |= event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            if event.wd() == self.monitors
                && let Some(name) = event.file_name().and_then(|name| name.to_str().ok())
            {
                self.heard.insert(name.to_owned());
            }
        }
        if all { Look::Everything } else { Look::At(self.heard.iter().cloned().collect()) }
    }
}
