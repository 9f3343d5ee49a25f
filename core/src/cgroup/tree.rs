//! Directories of a cgroup hierarchy: making, killing, removing. The same for both versions.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{PARENT, is_name};

/// How long a removal may take. Killed processes are gone within milliseconds, unless the kernel or a device holds them up.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of a cgroup file.
const MAX_FILE: u64 = 8 << 20;

/// The cgroups of a store in one hierarchy.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// The cgroup that [`PARENT`] is in.
    pub(super) base: PathBuf,
    /// The store.
    key: String,
}

impl Tree {
    pub(super) fn new(base: PathBuf, key: &str) -> Tree {
        Tree { base, key: key.to_owned() }
    }

    /// The cgroup of a container.
    pub(super) fn leaf(&self, id: &str) -> PathBuf {
        self.store().join(id)
    }

    /// The cgroups above those of containers that are ours, from the top.
    pub(super) fn parents(&self) -> [PathBuf; 2] {
        [self.base.join(PARENT), self.store()]
    }

    fn store(&self) -> PathBuf {
        self.base.join(PARENT).join(&self.key)
    }

    /// Makes the cgroup of a container, new and empty. Others may make and remove the parents at the same time.
    pub(super) fn make(&self, id: &str) -> io::Result<PathBuf> {
        let leaf = self.leaf(id);
        for _ in 0..1000 {
            match mkdir(&leaf) {
                Ok(()) => return Ok(leaf),
                Err(error) if error.kind() == Io::AlreadyExists => {
                    remove(&leaf)?;
                }
                Err(error) if error.kind() == Io::NotFound => {
                    for parent in self.parents() {
                        match mkdir(&parent) {
                            Err(error) if error.kind() == Io::AlreadyExists => {}
                            // Somebody removed the one above just now.
                            Err(error)
                                if error.kind() == Io::NotFound && parent != self.base.join(PARENT) => {}
                            result => result?,
                        }
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::from(Io::ResourceBusy))
    }

    /// Removes the cgroup of a container with everything in it, and the parents if they are empty.
    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        // Most containers use few hierarchies: where there was none, nobody made the parents for it.
        if remove(&self.leaf(id))? {
            self.prune();
        }
        Ok(())
    }

    /// Removes the parents if they are empty. That they are not is fine.
    pub(super) fn prune(&self) {
        for parent in self.parents().iter().rev() {
            if fs::remove_dir(parent).is_err() {
                break;
            }
        }
    }

    /// The containers that have a cgroup here.
    pub(super) fn children(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.store()) else { return Vec::new() };
        entries
            .flatten()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| is_name(name))
            .collect()
    }
}

/// Makes a cgroup that nobody else may make cgroups in, whatever the umask of the host program.
fn mkdir(cgroup: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(cgroup)
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

/// Kills every process in a cgroup and below, and removes it. A missing one is fine: false.
fn remove(cgroup: &Path) -> io::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(200);
    let mut there = false;
    loop {
        match fs::remove_dir(cgroup) {
            Err(error) if error.kind() == Io::NotFound => return Ok(there),
            // Somebody is in it, or a cgroup is below it.
            Err(error) if matches!(error.kind(), Io::ResourceBusy | Io::DirectoryNotEmpty) => {
                if Instant::now() > deadline {
                    return Err(error);
                }
            }
            result => return result.map(|()| true),
        }
        there = true;
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
