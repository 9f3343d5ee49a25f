//! What the kernel has counted of a cgroup. Every number is there or not, by itself: which ones are depends on the controllers that the container is in.

use std::collections::BTreeMap;
use std::path::Path;

use super::tree;
use crate::container::{Pressure, PressureShare};

/// What a container uses and has used.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Usage {
    /// Nanoseconds of CPU time, in all, in user mode and in the kernel.
    pub(crate) cpu: Option<[u64; 3]>,
    /// How often, and for how many nanoseconds, a CPU limit held it up.
    pub(crate) throttled: Option<(u64, u64)>,
    /// Bytes of memory, with caches.
    pub(crate) memory: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    /// Bytes of the caches that were not used lately.
    pub(crate) inactive_file: Option<u64>,
    pub(crate) memory_peak: Option<u64>,
    /// How many programs were killed for want of memory.
    pub(crate) oom_kills: Option<u64>,
    /// Processes and threads.
    pub(crate) pids: Option<u64>,
    pub(crate) pids_limit: Option<u64>,
    /// Bytes read from and written to block devices.
    pub(crate) blocks: Option<(u64, u64)>,
    /// How often what happened for want of memory, and how often the limit on processes was met.
    pub(crate) memory_events: Option<BTreeMap<String, u64>>,
    pub(crate) pids_events: Option<u64>,
    /// How much was held up by want of CPU, memory, and input or output.
    pub(crate) pressure: [Option<Pressure>; 3],
}

fn read(leaf: &Path, file: &str) -> Option<String> {
    tree::read(&leaf.join(file)).ok()
}

/// A file with one number; None for `max`, and for the number that stands for no limit in version 1.
fn number(leaf: &Path, file: &str) -> Option<u64> {
    read(leaf, file)?.trim().parse().ok().filter(|number| *number < 1 << 62)
}

/// The number after a word at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The files of version 2.
pub(super) fn second(leaf: &Path, usage: &mut Usage) {
    if let Some(text) = read(leaf, "cpu.stat") {
        let nanos = |name: &str| field(&text, name).map(|micros| micros.saturating_mul(1000));
        if let (Some(all), Some(user), Some(system)) =
            (nanos("usage_usec"), nanos("user_usec"), nanos("system_usec"))
        {
            usage.cpu = Some([all, user, system]);
        }
        usage.throttled = field(&text, "nr_throttled").zip(nanos("throttled_usec"));
    }
    usage.memory = number(leaf, "memory.current");
    usage.memory_limit = number(leaf, "memory.max");
    usage.inactive_file = read(leaf, "memory.stat").and_then(|text| field(&text, "inactive_file"));
    usage.memory_peak = number(leaf, "memory.peak");
    usage.memory_events = read(leaf, "memory.events").map(|text| fields(&text));
    usage.oom_kills = usage.memory_events.as_ref().and_then(|events| events.get("oom_kill").copied());
    pids(leaf, usage);
    usage.blocks = read(leaf, "io.stat").map(|text| {
        let sum = |key: &str| {
            let words = text.split_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            words.filter_map(|value| value.parse::<u64>().ok()).fold(0, u64::saturating_add)
        };
        (sum("rbytes"), sum("wbytes"))
    });
    for (pressure, file) in usage.pressure.iter_mut().zip(["cpu.pressure", "memory.pressure", "io.pressure"])
    {
        *pressure = read(leaf, file).as_deref().and_then(pressure_of);
    }
}

/// What stalls there were: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
fn pressure_of(text: &str) -> Option<Pressure> {
    let share = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let word = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let average = |name| word(name)?.parse().ok();
        Some(PressureShare {
            avg10: average("avg10")?,
            avg60: average("avg60")?,
            avg300: average("avg300")?,
            total_us: word("total")?.trim().parse().ok()?,
        })
    };
    // A kernel that has no line for `full`, as of CPU once, has none.
    Some(Pressure { some: share("some")?, full: share("full") })
}

/// Lines of a word and a number.
fn fields(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, number) = line.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// The controller of processes, of both versions.
pub(super) fn pids(leaf: &Path, usage: &mut Usage) {
    usage.pids = number(leaf, "pids.current");
    usage.pids_limit = number(leaf, "pids.max");
    usage.pids_events = read(leaf, "pids.events").and_then(|text| field(&text, "max"));
}

/// The memory controller of version 1.
pub(super) fn memory_of_the_first(leaf: &Path, usage: &mut Usage) {
    usage.memory = number(leaf, "memory.usage_in_bytes");
    usage.memory_limit = number(leaf, "memory.limit_in_bytes");
    usage.inactive_file = read(leaf, "memory.stat").and_then(|text| field(&text, "total_inactive_file"));
    usage.memory_peak = number(leaf, "memory.max_usage_in_bytes");
    usage.oom_kills = read(leaf, "memory.oom_control").and_then(|text| field(&text, "oom_kill"));
    // In the words of version 2, as far as version 1 counts.
    let events = [("max", number(leaf, "memory.failcnt")), ("oom_kill", usage.oom_kills)];
    let events: BTreeMap<String, u64> =
        events.into_iter().filter_map(|(name, count)| Some((name.to_owned(), count?))).collect();
    usage.memory_events = Some(events).filter(|events| !events.is_empty());
}

/// The CPU controller of version 1, which counts only how often its limit held somebody up.
pub(super) fn cpu_of_the_first(leaf: &Path, usage: &mut Usage) {
    if let Some(text) = read(leaf, "cpu.stat") {
        usage.throttled = field(&text, "nr_throttled").zip(field(&text, "throttled_time"));
    }
}

/// The controller of block devices of version 1.
pub(super) fn blocks_of_the_first(leaf: &Path, usage: &mut Usage) {
    let text = read(leaf, "blkio.throttle.io_service_bytes_recursive");
    usage.blocks = text.map(|text| {
        let sum = |kind: &str| {
            let lines = text.lines().filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                (words.next() == Some(kind)).then(|| words.next()?.parse::<u64>().ok()).flatten()
            });
            lines.fold(0, u64::saturating_add)
        };
        (sum("Read"), sum("Write"))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_both_versions_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("cpu.stat", "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_throttled 2\nthrottled_usec 7\n");
        write("memory.current", "100\n");
        write("memory.max", "max\n");
        write("memory.stat", "anon 1\ninactive_file 40\ntotal_inactive_file 41\n");
        write("io.stat", "8:0 rbytes=1 wbytes=2 rios=9\n8:16 rbytes=3 wbytes=4\n");
        write(
            "cpu.pressure",
            "some avg10=1.50 avg60=2.00 avg300=0.25 total=17\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=3\n",
        );
        write("memory.pressure", "some avg10=1.00 avg60=0.00 avg300=0.00 total=1\n");
        write("io.pressure", "some avg10=1.00\n");
        write("memory.events", "low 0\nmax 7\noom_kill 2\nnew thing 3\n");
        write("memory.failcnt", "5\n");
        write("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n");
        write("pids.events", "max 3\n");
        write("memory.limit_in_bytes", "9223372036854771712\n");
        write(
            "blkio.throttle.io_service_bytes_recursive",
            "8:0 Read 5\n8:0 Write 6\n8:0 Total 11\nTotal 11\n",
        );
        let mut usage = Usage::default();
        second(dir.path(), &mut usage);
        assert_eq!((usage.cpu, usage.throttled), (Some([30_000, 20_000, 10_000]), Some((2, 7000))));
        assert_eq!((usage.memory, usage.memory_limit, usage.inactive_file), (Some(100), None, Some(40)));
        assert_eq!((usage.blocks, usage.pids_events, usage.oom_kills), (Some((4, 6)), Some(3), Some(2)));
        let [Some(cpu), Some(memory), None] = usage.pressure.clone() else { panic!("{:?}", usage.pressure) };
        let some = PressureShare { avg10: 1.5, avg60: 2.0, avg300: 0.25, total_us: 17 };
        assert_eq!((cpu.some, cpu.full.map(|full| (full.avg10, full.total_us))), (some, Some((9.0, 3))));
        assert_eq!((memory.some.avg10, memory.full), (1.0, None));
        assert_eq!(usage.memory_events.as_ref().unwrap()["max"], 7);
        memory_of_the_first(dir.path(), &mut usage);
        blocks_of_the_first(dir.path(), &mut usage);
        assert_eq!((usage.memory_limit, usage.inactive_file, usage.blocks), (None, Some(41), Some((5, 6))));
        let events = usage.memory_events.unwrap();
        assert_eq!((events["max"], events["oom_kill"], events.len()), (5, 4, 2));
    }
}
