//! What a container uses, in docker's numbers. The kernel's counts for its cgroups are taken where there are any, and otherwise sums over its processes.

use std::time::{Duration, Instant, SystemTime};

use super::processes::{self, Found};
use super::{Container, NetworkMode, Stats};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, ErrorKind, Result};
use crate::state::{ContainerRow, rfc3339};
use crate::sys;

impl Container {
    /// What it uses now. The share of the CPUs is that of `interval`, which is waited for; with an interval of zero it is 0. Fails with
    /// [`ErrorKind::InvalidState`] if it does not run.
    pub fn stats(&self, interval: Duration, cancel: &CancelToken) -> Result<Stats> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("measuring \"{}\"", self.name());
        let first = self.measure(inner, None).context(doing)?;
        if interval.is_zero() {
            return Ok(first);
        }
        pause(Instant::now().checked_add(interval), cancel).context(doing)?;
        self.measure(inner, Some(&first)).context(doing)
    }

    /// What it uses, again and again: at once, and then after each interval, until it does not run any more.
    pub fn stats_stream(&self, interval: Duration) -> Result<StatsStream> {
        let inner = &*self.engine.inner()?;
        self.running(inner).context(|| format!("measuring \"{}\"", self.name()))?;
        // Less would keep a processor busy.
        let interval = interval.max(Duration::from_millis(10));
        Ok(StatsStream { container: self.clone(), interval, last: None, next: None })
    }

    fn measure(&self, inner: &Inner, before: Option<&Stats>) -> Result<Stats> {
        let row = self.row(inner)?;
        let found = self.processes(inner)?;
        let usage = inner.cgroups.usage(self.id());
        let tick = 1_000_000_000 / sys::clock_ticks();
        let page = sys::page_size();
        let sum = |value: fn(&Found) -> u64| found.iter().map(value).fold(0, u64::saturating_add);
        let [total, user, system] = usage.cpu.unwrap_or_else(|| {
            let (user, system) = (sum(|process| process.user), sum(|process| process.system));
            let all = user.saturating_add(system).saturating_add(sum(|process| process.of_children));
            [all, user, system].map(|ticks| ticks.saturating_mul(tick))
        });
        let (host, online) = host_cpu(tick);
        let host_memory = host_memory();
        let cached = usage.inactive_file.unwrap_or(0);
        let memory = match usage.memory {
            Some(bytes) if cached < bytes => bytes - cached,
            Some(bytes) => bytes,
            None => sum(|process| process.resident).saturating_mul(page),
        };
        let memory_limit = usage.memory_limit.unwrap_or(host_memory).min(host_memory);
        let (block_read, block_write) = usage.blocks.unwrap_or_else(|| blocks(&found));
        let (network_rx, network_tx) = network(&row)?;
        let [cpu_pressure, memory_pressure, io_pressure] = usage.pressure;
        let cpu_percent = before.map_or(0.0, |before| {
            let used = total.saturating_sub(before.cpu_total_ns) as f64;
            let passed = host.saturating_sub(before.system_cpu_ns) as f64;
            if passed > 0.0 { used / passed * online as f64 * 100.0 } else { 0.0 }
        });
        Ok(Stats {
            id: self.id().to_owned(),
            name: row.name,
            time: rfc3339(SystemTime::now()),
            cpu_percent,
            cpu_total_ns: total,
            cpu_user_ns: user,
            cpu_system_ns: system,
            system_cpu_ns: host,
            online_cpus: online,
            throttled_periods: usage.throttled.map(|(periods, _)| periods),
            throttled_ns: usage.throttled.map(|(_, nanos)| nanos),
            memory_usage: memory,
            memory_limit,
            memory_percent: if memory_limit > 0 { memory as f64 / memory_limit as f64 * 100.0 } else { 0.0 },
            memory_peak: usage.memory_peak,
            memory_counted: usage.memory.is_some(),
            oom_kills: usage.oom_kills,
            memory_events: usage.memory_events,
            pids_events: usage.pids_events,
            pids: usage.pids.unwrap_or_else(|| sum(|process| process.threads)),
            pids_limit: usage.pids_limit,
            block_read,
            block_write,
            blocks_counted: usage.blocks.is_some(),
            network_rx,
            network_tx,
            cpu_pressure,
            memory_pressure,
            io_pressure,
        })
    }
}

/// What a container uses, again and again.
#[derive(Debug)]
pub struct StatsStream {
    container: Container,
    interval: Duration,
    last: Option<Stats>,
    /// When it is time for the next look.
    next: Option<Instant>,
}

impl StatsStream {
    /// Waits for the next look. None when the container does not run any more.
    pub fn next(&mut self, cancel: &CancelToken) -> Result<Option<Stats>> {
        pause(self.next, cancel)?;
        let inner = &*self.container.engine.inner()?;
        let measured = match self.container.measure(inner, self.last.as_ref()) {
            Err(error) if matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::ContainerNotFound) => {
                return Ok(None);
            }
            measured => measured.context(|| format!("measuring \"{}\"", self.container.name()))?,
        };
        self.next = Instant::now().checked_add(self.interval);
        self.last = Some(measured.clone());
        Ok(Some(measured))
    }
}

/// Waits until a time, unless somebody cancels.
fn pause(until: Option<Instant>, cancel: &CancelToken) -> Result<()> {
    loop {
        cancel.check()?;
        let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(20)));
    }
}

/// Nanoseconds of CPU time of the host, idle time included, and how many CPUs it has.
fn host_cpu(tick: u64) -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let mut lines = stat.lines();
    let all = lines.next().unwrap_or_default();
    // Time of guests is part of the user's.
    let ticks = all.split_whitespace().skip(1).take(8).filter_map(|word| word.parse::<u64>().ok());
    let online = lines.take_while(|line| line.starts_with("cpu")).count() as u64;
    (ticks.fold(0, u64::saturating_add).saturating_mul(tick), online.max(1))
}

pub(super) fn host_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = info.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

/// Bytes that the processes that live have read from and written to block devices.
fn blocks(found: &[Found]) -> (u64, u64) {
    let (mut read, mut written) = (0u64, 0u64);
    for process in found {
        let text = processes::read(process.pid, "io").unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        read = read.saturating_add(field("read_bytes:"));
        written = written.saturating_add(field("write_bytes:"));
    }
    (read, written)
}

/// Bytes received and sent, but for loopback, if the network is not the host's.
fn network(row: &ContainerRow) -> Result<(u64, u64)> {
    let (NetworkMode::None | NetworkMode::Container(_), Some(pid)) = (row.spec()?.network, row.pid) else {
        return Ok((0, 0));
    };
    // A line for each interface, and a container may have the right to make many.
    let text = processes::read_up_to(pid, "net/dev", 1 << 20).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let (mut received, mut sent) = (0u64, 0u64);
    for (name, numbers) in text.lines().filter_map(|line| line.split_once(':')) {
        if name.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        received = received.saturating_add(numbers.first().copied().unwrap_or(0));
        sent = sent.saturating_add(numbers.get(8).copied().unwrap_or(0));
    }
    Ok((received, sent))
}
