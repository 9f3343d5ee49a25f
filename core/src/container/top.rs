//! The processes of a container as a table, as docker shows it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::processes::{self, Found};
use super::{Container, Top};
use crate::error::{Context, Result};
use crate::event::note;
use crate::state::rfc3339;
use crate::sys;

/// The most processes that are shown.
const MAX_ROWS: usize = 10_000;

impl Container {
    /// Its processes, at most 10,000 of them, with the columns of `ps -ef`. The numbers are those of the host, times are UTC. Fails with
    /// [`ErrorKind::InvalidState`](crate::ErrorKind::InvalidState) if it does not run.
    pub fn top(&self) -> Result<Top> {
        let inner = &*self.engine.inner()?;
        let found =
            self.processes(inner).context(|| format!("listing the processes of \"{}\"", self.name()))?;
        note(inner, self.id(), "top", &[]);
        let clock = Clock::now();
        let users = users();
        let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
        Ok(Top {
            titles: titles.iter().map(|title| (*title).to_owned()).collect(),
            processes: found.iter().take(MAX_ROWS).map(|process| row(process, &clock, &users)).collect(),
        })
    }
}

struct Clock {
    ticks: u64,
    boot: u64,
    now: u64,
}

impl Clock {
    fn now() -> Clock {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Clock { ticks: sys::clock_ticks(), boot: boot.unwrap_or(now), now }
    }
}

/// The names of the host's users.
fn users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        Some((number, name.to_owned()))
    };
    text.lines().rev().filter_map(user).collect()
}

fn row(process: &Found, clock: &Clock, users: &BTreeMap<u32, String>) -> Vec<String> {
    let status = processes::read(process.pid, "status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let effective = || status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    let user = match effective().and_then(|uid| uid.parse::<u32>().ok()) {
        Some(uid) => users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        None => "?".to_owned(),
    };
    let began = clock.boot + process.started / clock.ticks;
    let used = (process.user + process.system) / clock.ticks;
    let lived = clock.now.saturating_sub(began).max(1);
    let arguments = processes::read(process.pid, "cmdline").unwrap_or_default();
    let words: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let command = words.join(" ").trim_end().to_owned();
    vec![
        user,
        process.pid.to_string(),
        process.parent.to_string(),
        (used * 100 / lived).min(99).to_string(),
        start_time(began, clock.now),
        terminal(process.terminal),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        // The kernel's own threads have no arguments, and whoever has overwritten them has none, either.
        if command.is_empty() { format!("[{}]", process.name) } else { command },
    ]
}

/// The time of today, or the day.
fn start_time(began: u64, now: u64) -> String {
    let text = rfc3339(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(began));
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    if now.saturating_sub(began) < 24 * 3600 {
        return part(11, 16).to_owned();
    }
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = part(5, 7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    format!("{}{}", month.unwrap_or(&"?"), part(8, 10))
}

/// The name of a terminal's device number.
fn terminal(device: i32) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_and_times_are_named() {
        assert_eq!(
            [terminal(0), terminal(34816), terminal(34817), terminal(1025)],
            ["?", "pts/0", "pts/1", "tty1"]
        );
        assert_eq!(start_time(3600, 7200), "01:00");
        assert_eq!(start_time(3600, 7200 + 86_400), "Jan01");
    }
}
