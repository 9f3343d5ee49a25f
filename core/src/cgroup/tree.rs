//! Directories of a cgroup hierarchy: making, killing, removing. The same for both versions.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{PREFIX, is_name};

/// How long a removal may take. Killed processes are gone within milliseconds, unless the kernel or a device holds them up.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of a cgroup file.
const MAX_FILE: u64 = 8 << 20;
/// The mode of our cgroups: nobody else may make cgroups in them.
const MODE: u32 = 0o755;
/// The mark of a cgroup that was made for a container that runs, as long as not everything of that is in it. It is in the mode, so that it is there as soon as
/// the cgroup is, and outlives whoever made it.
const INCOMPLETE: u32 = 0o1000;

/// The cgroups of a store in one hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// The cgroup that those of containers are in: one level below it, since a cgroup costs the kernel more than all else that is made for a container.
    pub(super) base: PathBuf,
    /// What the names of this store's begin with.
    prefix: String,
    /// The cgroup that somebody wants his containers in, relative to the base. It is not ours, and stays.
    chosen: Option<PathBuf>,
}

impl Tree {
    pub(super) fn new(base: PathBuf, key: &str) -> Tree {
        Tree { base, prefix: format!("{PREFIX}-{key}-"), chosen: None }
    }

    /// The same, for containers in another cgroup than that of the store.
    pub(super) fn below(&self, parent: &Path) -> Tree {
        Tree { chosen: Some(parent.to_owned()), ..self.clone() }
    }

    /// Whether somebody has chosen where containers are.
    pub(super) fn is_chosen(&self) -> bool {
        self.chosen.is_some()
    }

    /// The cgroup of a container.
    pub(super) fn leaf(&self, id: &str) -> PathBuf {
        match &self.chosen {
            Some(chosen) => self.base.join(chosen).join(id),
            None => self.base.join(format!("{}{id}", self.prefix)),
        }
    }

    /// The cgroups between the base and those of containers, from the top.
    pub(super) fn parents(&self) -> Vec<PathBuf> {
        let Some(chosen) = &self.chosen else { return Vec::new() };
        let parent = self.base.join(chosen);
        let mut all: Vec<PathBuf> =
            parent.ancestors().take_while(|cgroup| *cgroup != self.base).map(Path::to_owned).collect();
        all.reverse();
        all
    }

    /// Makes the cgroup of a container, new and empty. Others may make and remove the parents at the same time.
    pub(super) fn make(&self, id: &str) -> io::Result<PathBuf> {
        let leaf = self.leaf(id);
        for _ in 0..1000 {
            if self.make_once(&leaf, MODE)? {
                return Ok(leaf);
            }
            remove(&leaf)?;
        }
        Err(io::Error::from(Io::ResourceBusy))
    }

    /// Makes one more cgroup of a container that runs. One that is there stays, with everything in it. True: it is incomplete, since it is new, or whoever made it
    /// did not come further.
    pub(super) fn make_beside(&self, id: &str) -> io::Result<bool> {
        let leaf = self.leaf(id);
        Ok(self.make_once(&leaf, MODE | INCOMPLETE)? || is_incomplete(&leaf))
    }

    /// Makes a cgroup, and those above it as far as they are missing. False if it was there.
    fn make_once(&self, leaf: &Path, mode: u32) -> io::Result<bool> {
        for _ in 0..1000 {
            match mkdir(leaf, mode) {
                Ok(()) => return Ok(true),
                Err(error) if error.kind() == Io::AlreadyExists => return Ok(false),
                Err(error) if error.kind() == Io::NotFound && self.chosen.is_some() => {
                    for (above, parent) in self.parents().iter().enumerate() {
                        match mkdir(parent, MODE) {
                            Err(error) if error.kind() == Io::AlreadyExists => {}
                            // Somebody removed the one above just now.
                            Err(error) if error.kind() == Io::NotFound && above > 0 => {}
                            result => result?,
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(Io::ResourceBusy))
    }

    /// Removes the cgroup of a container with everything in it.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        remove(&self.leaf(id))
    }

    /// The containers that have a cgroup here.
    pub(super) fn children(&self) -> Vec<String> {
        let (place, prefix) = match &self.chosen {
            Some(chosen) => (self.base.join(chosen), ""),
            None => (self.base.clone(), &self.prefix[..]),
        };
        let Ok(entries) = fs::read_dir(place) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(prefix)?.to_owned()))
            .filter(|name| is_name(name))
            .collect()
    }
}

fn mkdir(cgroup: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(cgroup)
}

/// Whether something of the container is perhaps not in this one of its cgroups.
pub(super) fn is_incomplete(cgroup: &Path) -> bool {
    fs::symlink_metadata(cgroup).is_ok_and(|found| found.mode() & INCOMPLETE != 0)
}

/// Takes the mark off.
pub(super) fn complete(cgroup: &Path) -> io::Result<()> {
    fs::set_permissions(cgroup, fs::Permissions::from_mode(MODE))
}

/// Reads a file of a cgroup.
pub(super) fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file of a cgroup, in one call.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The directory of a cgroup.
pub(super) fn open(cgroup: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(cgroup)?.into())
}

/// `cgroup.procs` of a cgroup, open for writing.
pub(super) fn open_procs(cgroup: &Path) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().write(true).open(cgroup.join("cgroup.procs"))?.into())
}

/// An event descriptor by which version 1 tells of something about a file of a cgroup, which is open.
pub(super) fn event(file: &Path, open: &OwnedFd) -> io::Result<OwnedFd> {
    let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = file.with_file_name("cgroup.event_control");
    write(&control, &format!("{} {}", event.as_raw_fd(), open.as_raw_fd()))?;
    Ok(event)
}

/// Kills every process in a cgroup and below, and removes it. A missing one is fine.
fn remove(cgroup: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == Io::NotFound => return Ok(()),
            // Somebody is in it, or a cgroup is below it.
            Err(error) if matches!(error.kind(), Io::ResourceBusy | Io::DirectoryNotEmpty) => {
                if Instant::now() > deadline {
                    return Err(error);
                }
            }
            result => return result,
        }
        kill(cgroup);
        for below in below(cgroup) {
            // Those that are still busy are met again in the next round.
            let _ = fs::remove_dir(below);
        }
        // A cgroup stays busy for a moment after its last process was seen to end, and no event tells when that is over.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Every cgroup below one, the deepest first.
fn below(cgroup: &Path) -> Vec<PathBuf> {
    let mut found = vec![cgroup.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next) {
        next += 1;
        if let Ok(entries) = fs::read_dir(path) {
            let children =
                entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(children.map(|entry| entry.path()));
        }
    }
    // Each came after the one above it.
    found.split_off(1).into_iter().rev().collect()
}

/// Kills what is in a cgroup and below now, and waits a moment for it to end.
fn kill(cgroup: &Path) {
    // Version 2 kills all at once, also what is in another pid namespace, and what is being forked.
    if write(&cgroup.join("cgroup.kill"), "1").is_ok() {
        until_empty(cgroup);
        return;
    }
    let mut victims = Vec::new();
    for cgroup in below(cgroup).into_iter().chain([cgroup.to_owned()]) {
        let procs = cgroup.join("cgroup.procs");
        let handles: Vec<(Pid, OwnedFd)> = pids(&procs)
            .into_iter()
            .filter_map(|pid| Some((pid, pidfd_open(pid, PidfdFlags::empty()).ok()?)))
            .collect();
        if handles.is_empty() {
            continue;
        }
        // A number may have gone to another process before it was opened. Now it cannot: who is still listed is who was opened.
        let members = pids(&procs);
        for (pid, handle) in handles {
            if members.contains(&pid) && pidfd_send_signal(&handle, Signal::KILL).is_ok() {
                victims.push(handle);
            }
        }
    }
    // A frozen process of version 1 does not even end.
    let freezer = cgroup.join("freezer.state");
    if !victims.is_empty() && freezer.exists() {
        let _ = write(&freezer, "THAWED");
    }
    let deadline = Instant::now() + Duration::from_secs(1);
    for victim in &victims {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        // An interrupted wait is a shorter one: the caller looks again.
        let _ = poll(&mut [PollFd::new(victim, PollFlags::IN)], Some(&timeout));
    }
}

/// Waits a moment for the last process in a version 2 cgroup and below to end. Whether it has, the caller finds out.
fn until_empty(cgroup: &Path) {
    let Ok(mut events) = File::open(cgroup.join("cgroup.events")) else { return };
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let mut text = String::new();
        let read = events.rewind().and_then(|()| events.read_to_string(&mut text));
        let left = deadline.saturating_duration_since(Instant::now());
        if read.is_err() || !text.contains("populated 1") || left.is_zero() {
            return;
        }
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
        // The kernel tells a change since the last reading.
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&timeout));
    }
}

/// The processes in a `cgroup.procs` file. Those of another pid namespace are listed as 0 and left out.
pub(super) fn pids(procs: &Path) -> Vec<Pid> {
    let text = read(procs).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)).collect()
}

/// The processes in a cgroup and below.
pub(super) fn members(cgroup: &Path) -> Vec<i32> {
    let below = below(cgroup);
    let all = below.iter().map(PathBuf::as_path).chain([cgroup]);
    all.flat_map(|cgroup| pids(&cgroup.join("cgroup.procs"))).map(|pid| pid.as_raw_nonzero().get()).collect()
}
