//! The processes of a running container, as `/proc` of the host has them. What a contained process can choose of that, such as its name and its arguments, is
//! bounded, and otherwise left as it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;

use super::Container;
use super::monitor::{Monitor, stopped};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process;

/// The most bytes that are read of a file of a process.
const MAX_FILE: u64 = 4096;

/// What the kernel says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    /// One letter, as in `ps`.
    pub(super) state: String,
    /// Whether it is of the group that has the terminal.
    pub(super) foreground: bool,
    pub(super) priority: i64,
    pub(super) nice: i64,
    pub(super) processor: u64,
    /// Bytes of address space.
    pub(super) virtual_size: u64,
    /// Its name.
    pub(super) name: String,
    pub(super) terminal: i32,
    /// Ticks of CPU time: its own in user mode and in the kernel, and all of those of its children that were waited for.
    pub(super) user: u64,
    pub(super) system: u64,
    pub(super) of_children: u64,
    pub(super) threads: u64,
    /// Ticks after the boot.
    pub(super) started: u64,
    /// Pages of memory.
    pub(super) resident: u64,
}

impl Container {
    /// The processes of the container, in the order of their numbers. Fails with `InvalidState` if it does not run.
    pub(super) fn processes(&self, inner: &Inner) -> Result<Vec<Found>> {
        let monitor = Monitor::connect(inner, self.id(), self.name())?.ok_or_else(|| stopped(self.name()))?;
        let mut pids = match inner.cgroups.members(self.id()) {
            Some(pids) => pids,
            None => descendants(self.monitor_pid(inner, &monitor)?),
        };
        pids.sort_unstable();
        Ok(pids.into_iter().filter_map(look_at).collect())
    }
}

impl Container {
    /// The monitor's number in this process's pid namespace. Before Linux 6.5 nobody says who is at the other end of a socket, but it is the parent of the first process.
    fn monitor_pid(&self, inner: &Inner, monitor: &Monitor) -> Result<i32> {
        if let Some(pid) = crate::sys::peer_pidfd(monitor.as_fd()).ok().and_then(process::host_pid) {
            return Ok(pid);
        }
        let init = self.row(inner)?.pid;
        init.and_then(parent_of).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the processes of \"{}\" cannot be told from those of the host", self.name()),
            )
            .with_object(self.name())
            .with_hint("give containers cgroups, or use Linux 6.5 or later")
        })
    }
}

/// The parent of a process, if it is in this process's pid namespace, too.
fn parent_of(pid: i32) -> Option<i32> {
    look_at(pid).map(|found| found.parent).filter(|parent| *parent > 0)
}

/// All processes below a monitor: every process of its container is one of them.
fn descendants(top: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let all = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for found in all.filter_map(look_at) {
        children.entry(found.parent).or_default().push(found.pid);
    }
    let mut pids = Vec::new();
    let mut next = vec![top];
    while let Some(pid) = next.pop() {
        // Taken out, so that numbers that change hands meanwhile lead to no circle.
        for child in children.remove(&pid).unwrap_or_default() {
            pids.push(child);
            next.push(child);
        }
    }
    pids
}

/// A file of a process, as far as it is read.
pub(super) fn read(pid: i32, file: &str) -> Option<Vec<u8>> {
    read_up_to(pid, file, MAX_FILE)
}

/// As [`read`], with a bound of its own.
pub(super) fn read_up_to(pid: i32, file: &str, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/{file}")).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What the kernel says of a process; None if it has ended.
fn look_at(pid: i32) -> Option<Found> {
    parse(pid, &String::from_utf8_lossy(&read(pid, "stat")?))
}

/// Reads `/proc/PID/stat`. The name is the process's own choice, and may have anything in it.
fn parse(pid: i32, text: &str) -> Option<Found> {
    let (_, after) = text.split_once('(')?;
    let (name, rest) = after.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    let signed = |n: usize| fields.get(n - 3)?.parse::<i64>().ok();
    // Those of the kernel's documentation, counted from 1.
    Some(Found {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        group: signed(5)? as i32,
        session: signed(6)? as i32,
        state: fields.first()?.chars().take(1).collect(),
        foreground: fields.get(5) == fields.get(2),
        priority: signed(18)?,
        nice: signed(19)?,
        processor: number(39).unwrap_or(0),
        virtual_size: number(23)?,
        name: name.to_owned(),
        terminal: fields.get(4)?.parse().ok()?,
        user: number(14)?,
        system: number(15)?,
        of_children: number(16)?.saturating_add(number(17)?),
        threads: number(20)?,
        started: number(22)?,
        resident: number(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_found_by_their_parents() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let (own, pid) = (std::process::id() as i32, child.id() as i32);
        assert_eq!((parent_of(pid), parent_of(i32::MAX)), (Some(own), None));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let below = loop {
            let below = descendants(pid);
            if !below.is_empty() {
                break below;
            }
            assert!(std::time::Instant::now() < deadline);
        };
        assert!(below.len() == 1 && parent_of(below[0]) == Some(pid));
        for pid in [pid, below[0]] {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        }
        child.wait().unwrap();
    }

    #[test]
    fn a_process_may_have_any_name() {
        let text = "7 (a) S 1 (x) S 3 7 7 34816 -1 0 1 2 3 4 10 20 30 40 20 0 5 0 600 700 800 900\n";
        let found = parse(7, text).unwrap();
        assert_eq!((found.name.as_str(), found.parent, found.terminal), ("a) S 1 (x", 3, 34816));
        assert_eq!((found.user, found.system, found.of_children), (10, 20, 70));
        assert_eq!((found.threads, found.started, found.resident, found.virtual_size), (5, 600, 800, 700));
        assert_eq!((found.group, found.session, found.state.as_str(), found.foreground), (7, 7, "S", false));
        assert!(parse(7, "7 (a").is_none() && parse(7, "").is_none() && parse(7, "7 (a) S").is_none());
        assert_eq!(look_at(std::process::id() as i32).unwrap().pid, std::process::id() as i32);
    }
}
