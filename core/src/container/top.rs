//! The processes of a container as a table, as docker shows it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::processes::{self, Found};
use super::ps::{self, Column, Field};
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
        self.top_with::<&str>(&[])
    }

    /// As [`Container::top`], with the columns that options of `ps` ask for, each a word or several: `-ef`, `aux`, or `-o` (`-eo`, `--format`) and a list such as `pid,ppid,user,stat,etime,rss,comm,args`, with titles as in
    /// `pid=Number`. All processes of the container are shown, whatever they say. Fails with [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument), and the word's name, for what is not known.
    pub fn top_with<S: AsRef<str>>(&self, ps_args: &[S]) -> Result<Top> {
        let columns = ps::columns(ps_args)?;
        let inner = &*self.engine.inner()?;
        let found =
            self.processes(inner).context(|| format!("listing the processes of \"{}\"", self.name()))?;
        note(inner, self.id(), "top", &[]);
        let host = Host::now();
        Ok(Top {
            titles: columns.iter().map(|(_, title)| title.clone()).collect(),
            processes: found.iter().take(MAX_ROWS).map(|process| row(process, &columns, &host)).collect(),
        })
    }
}

/// What is the same for all processes.
struct Host {
    ticks: u64,
    boot: u64,
    now: u64,
    page: u64,
    memory: u64,
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Host {
    fn now() -> Host {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        Host {
            ticks: sys::clock_ticks(),
            boot: boot.unwrap_or(now),
            now,
            page: sys::page_size(),
            memory: super::stats::host_memory(),
            users: names("/etc/passwd"),
            groups: names("/etc/group"),
        }
    }
}

/// The names of the host's users, or groups.
fn names(file: &str) -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        Some((number, name.to_owned()))
    };
    text.lines().rev().filter_map(name).collect()
}

fn row(process: &Found, columns: &[Column], host: &Host) -> Vec<String> {
    let status = processes::read(process.pid, "status").unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let id = |kind: &str, place: usize| {
        let line = status.lines().find_map(|line| line.strip_prefix(kind));
        line.and_then(|line| line.split_whitespace().nth(place)).unwrap_or("?").to_owned()
    };
    let named = |names: &BTreeMap<u32, String>, id: String| {
        id.parse().ok().and_then(|number: u32| names.get(&number).cloned()).unwrap_or(id)
    };
    let began = host.boot + process.started / host.ticks;
    let used = (process.user + process.system) / host.ticks;
    let lived = host.now.saturating_sub(began);
    let percent = |part: u64, whole: u64| format!("{:.1}", part as f64 * 100.0 / whole.max(1) as f64);
    let resident = process.resident.saturating_mul(host.page);
    let cell = |field: &Field| match field {
        Field::Args => arguments(process),
        Field::Comm => process.name.clone(),
        Field::Cpu => (used * 100 / lived.max(1)).min(99).to_string(),
        Field::CpuPercent => percent(process.user + process.system, lived.max(1) * host.ticks),
        Field::Elapsed => elapsed(lived),
        Field::ElapsedSeconds => lived.to_string(),
        Field::Gid => id("Gid:", 1),
        Field::Group => named(&host.groups, id("Gid:", 1)),
        Field::MemoryPercent => percent(resident, host.memory),
        Field::Nice => process.nice.to_string(),
        Field::Parent => process.parent.to_string(),
        Field::Pid => process.pid.to_string(),
        Field::Priority => (39 - process.priority).to_string(),
        Field::ProcessGroup => process.group.to_string(),
        Field::Processor => process.processor.to_string(),
        Field::RealGid => id("Gid:", 0),
        Field::RealUid => id("Uid:", 0),
        Field::RealUser => named(&host.users, id("Uid:", 0)),
        Field::Resident => (resident / 1024).to_string(),
        Field::Session => process.session.to_string(),
        Field::Start => start_time(began, host.now),
        Field::StartLong => rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(began)),
        Field::Stat => stat(process),
        Field::State => process.state.clone(),
        Field::Terminal => terminal(process.terminal),
        Field::Threads => process.threads.to_string(),
        Field::Time => format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        Field::Uid => id("Uid:", 1),
        Field::User => named(&host.users, id("Uid:", 1)),
        Field::VirtualSize => (process.virtual_size / 1024).to_string(),
    };
    columns.iter().map(|(field, _)| cell(field)).collect()
}

/// The kernel's own threads have no arguments, and whoever has overwritten them has none, either.
fn arguments(process: &Found) -> String {
    let arguments = processes::read(process.pid, "cmdline").unwrap_or_default();
    let words: Vec<_> = arguments.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let command = words.join(" ").trim_end().to_owned();
    if command.is_empty() { format!("[{}]", process.name) } else { command }
}

/// The state with what `ps` says beside it.
fn stat(process: &Found) -> String {
    let mut text = process.state.clone();
    let flags = [
        ('<', process.nice < 0),
        ('N', process.nice > 0),
        ('s', process.session == process.pid),
        ('l', process.threads > 1),
        ('+', process.foreground),
    ];
    text.extend(flags.into_iter().filter(|(_, holds)| *holds).map(|(flag, _)| flag));
    text
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => rest,
        (0, hours) => format!("{hours:02}:{rest}"),
        (days, hours) => format!("{days}-{hours:02}:{rest}"),
    }
}

/// The time of today, or the day.
fn start_time(began: u64, now: u64) -> String {
    let text = rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(began));
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
        assert_eq!([elapsed(61), elapsed(3600), elapsed(90_061)], ["01:01", "01:00:00", "1-01:01:01"]);
        assert_eq!(start_time(3600, 7200), "01:00");
        assert_eq!(start_time(3600, 7200 + 86_400), "Jan01");
    }
}
