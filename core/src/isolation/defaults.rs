//! What every container gets: masked and read-only paths, device nodes, device rules. The lists are those of docker and runc.

use std::sync::OnceLock;

use coble_protocol::Device;

/// Paths that are made invisible, but for those that depend on the machine: see [`masked_paths`].
pub(crate) const MASKED_PATHS: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that are made read-only.
pub(crate) const READONLY_PATHS: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The most processors whose counters are masked one by one.
const MOST_PROCESSORS: u32 = 8192;

/// Paths that are made invisible: files of the kernel that tell about the host, its hardware or its secrets. With the thermal counters of every
/// processor that the machine can have, which show what others compute.
pub(crate) fn masked_paths() -> Vec<String> {
    // What the machine can have does not change while it runs.
    static THERMAL: OnceLock<Vec<String>> = OnceLock::new();
    let thermal = THERMAL.get_or_init(|| {
        let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
        processors(&possible)
            .into_iter()
            .map(|number| format!("/sys/devices/system/cpu/cpu{number}/thermal_throttle"))
            .filter(|path| std::fs::exists(path).unwrap_or(true))
            .collect()
    });
    MASKED_PATHS.iter().map(|path| (*path).to_owned()).chain(thermal.iter().cloned()).collect()
}

/// Paths that are made read-only, as owned texts.
pub(crate) fn readonly_paths() -> Vec<String> {
    READONLY_PATHS.iter().map(|path| (*path).to_owned()).collect()
}

/// The numbers in a list as the kernel writes it: `0-3,8`.
fn processors(list: &str) -> Vec<u32> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse::<u32>()) {
            numbers.extend(first..=last.min(MOST_PROCESSORS));
        }
    }
    numbers
}

/// The device nodes of a container's `/dev`, beside those of its terminals.
pub(crate) fn default_devices() -> Vec<Device> {
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)]
        .map(|(name, major, minor)| Device {
            name: name.to_owned(),
            major,
            minor,
            mode: 0o666,
            block: false,
            uid: 0,
            gid: 0,
        })
        .into()
}

/// The kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// Access to devices that the device cgroup allows. What no rule allows is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    /// The kind.
    pub(crate) kind: DeviceKind,
    /// Major number; None: all.
    pub(crate) major: Option<u32>,
    /// Minor number; None: all.
    pub(crate) minor: Option<u32>,
    /// Reading.
    pub(crate) read: bool,
    /// Writing.
    pub(crate) write: bool,
    /// Making nodes.
    pub(crate) mknod: bool,
}

impl DeviceRule {
    /// As of `device_cgroup_rules`, such as `c 1:3 rwm`.
    pub(crate) fn text(&self) -> String {
        let kind = match self.kind {
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let rights = [(self.read, 'r'), (self.write, 'w'), (self.mknod, 'm')];
        let rights: String = rights.iter().filter(|(held, _)| *held).map(|(_, letter)| letter).collect();
        format!("{kind} {}:{} {rights}", number(self.major), number(self.minor))
    }
}

const fn nodes(kind: DeviceKind) -> DeviceRule {
    DeviceRule { kind, major: None, minor: None, read: false, write: false, mknod: true }
}

const fn whole(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule { kind: DeviceKind::Char, major: Some(major), minor, read: true, write: true, mknod: true }
}

/// The device rules of every container: any node may be made (archives are full of them), only these may be used. The host's
/// console (5:1), which docker adds, is not among them: a container's console is a pseudo terminal.
pub(crate) const DEVICE_RULES: &[DeviceRule] = &[
    nodes(DeviceKind::Char),
    nodes(DeviceKind::Block),
    whole(1, Some(3)),
    whole(1, Some(8)),
    whole(1, Some(7)),
    whole(5, Some(0)),
    whole(1, Some(5)),
    whole(1, Some(9)),
    whole(136, None),
    whole(5, Some(2)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_lists_are_read() {
        assert_eq!(processors("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(processors("0"), [0]);
        assert_eq!(processors("x,1-,4-2"), [] as [u32; 0]);
        assert_eq!(processors("0-4294967295").len(), MOST_PROCESSORS as usize + 1);
    }

    #[test]
    fn power_and_heat_are_masked() {
        let masked = masked_paths();
        for path in [
            "/sys/devices/virtual/powercap",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/sys/firmware",
        ] {
            assert!(masked.iter().any(|known| known == path), "{path}");
        }
        let here = "/sys/devices/system/cpu/cpu0/thermal_throttle";
        assert_eq!(masked.iter().any(|known| known == here), std::path::Path::new(here).exists());
    }

    #[test]
    fn every_default_device_may_be_used() {
        for device in default_devices() {
            assert!(
                DEVICE_RULES.iter().any(|rule| rule.kind == DeviceKind::Char
                    && rule.major == Some(device.major)
                    && rule.minor == Some(device.minor)
                    && rule.read
                    && rule.write),
                "{}",
                device.name
            );
        }
    }
}
