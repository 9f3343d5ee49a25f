//! Which ids exist in the shim's user namespace, as the kernel says.

use coble_protocol::{Failure, Step};

use crate::failure::During;

/// The ids of one kind that are mapped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mapped(Vec<(u32, u32)>);

/// Users and groups of the current user namespace.
#[derive(Debug, Clone, Default)]
pub(crate) struct IdMaps {
    pub(crate) uids: Mapped,
    pub(crate) gids: Mapped,
    /// Whether `setgroups` is allowed.
    pub(crate) setgroups: bool,
    /// The text of `uid_map`.
    pub(crate) uid_text: String,
    /// The text of `gid_map`.
    pub(crate) gid_text: String,
}

impl Mapped {
    fn parse(text: &str) -> Mapped {
        let line = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let (first, _, count) = (fields.next()?, fields.next()?, fields.next()?);
            Some((first.parse().ok()?, count.parse().ok()?))
        };
        Mapped(text.lines().filter_map(line).collect())
    }

    /// Whether the id is mapped.
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|(first, count)| id.checked_sub(*first).is_some_and(|offset| offset < *count))
    }
}

impl IdMaps {
    /// Reads the maps of this process from the host's procfs.
    pub(crate) fn read() -> Result<IdMaps, Failure> {
        let read = |path: &str| {
            let text = std::fs::read_to_string(path);
            text.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
                .during(Step::ReadBack, path)
        };
        let (uid_text, gid_text) = (read("/proc/self/uid_map")?, read("/proc/self/gid_map")?);
        Ok(IdMaps {
            uids: Mapped::parse(&uid_text),
            gids: Mapped::parse(&gid_text),
            setgroups: read("/proc/self/setgroups")?.trim_end() != "deny",
            uid_text,
            gid_text,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps() {
        let whole = Mapped::parse("         0          0 4294967295\n");
        assert!(whole.contains(0) && whole.contains(4294967294) && !whole.contains(u32::MAX));
        let ranges = Mapped::parse(" 0 1000 1\n 1 100000 65536\n");
        assert!(ranges.contains(0) && ranges.contains(65536) && !ranges.contains(65537));
        assert!(!Mapped::parse("").contains(0));
    }
}
