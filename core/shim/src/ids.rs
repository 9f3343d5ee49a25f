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
    /// Whether this is a user namespace that does not have all ids, as that of the host has.
    pub(crate) fn is_partial(&self) -> bool {
        self.uid_text.split_ascii_whitespace().ne(["0", "0", "4294967295"])
    }

    /// User and group on the host that are 0 here.
    pub(crate) fn root(&self) -> Option<(u32, u32)> {
        let line = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            (fields.next() == Some("0")).then(|| fields.next()?.parse().ok())?
        };
        self.uid_text.lines().find_map(line).zip(self.gid_text.lines().find_map(line))
    }

    /// Reads the maps of this process from the host's procfs.
    pub(crate) fn read() -> Result<IdMaps, Failure> {
        IdMaps::of("self")
    }

    /// Those of a process, by its name in the host's procfs.
    pub(crate) fn of(process: &str) -> Result<IdMaps, Failure> {
        IdMaps::collect(|file| {
            let path = format!("/proc/{process}/{file}");
            let text = std::fs::read_to_string(&path);
            text.map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
                .during(Step::ReadBack, &path)
        })
    }

    /// From the files of a process in procfs.
    pub(crate) fn collect(read: impl Fn(&str) -> Result<String, Failure>) -> Result<IdMaps, Failure> {
        let (uid_text, gid_text) = (read("uid_map")?, read("gid_map")?);
        Ok(IdMaps {
            uids: Mapped::parse(&uid_text),
            gids: Mapped::parse(&gid_text),
            setgroups: read("setgroups")?.trim_end() != "deny",
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
        let of = |text: &str| IdMaps { uid_text: text.into(), ..IdMaps::default() };
        let both = |uids: &str, gids: &str| IdMaps { gid_text: gids.into(), ..of(uids) }.root();
        assert_eq!(both("5 6 1\n 0 1000 1\n", "0 7 1\n"), Some((1000, 7)));
        assert_eq!(both("0 1000 1\n", "5 6 1\n"), None);
        assert!(!of("         0          0 4294967295\n").is_partial() && of("0 1000 1\n").is_partial());
    }
}
