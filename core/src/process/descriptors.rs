//! How many descriptors there are left for work that can do with more or fewer of them.

use rustix::process::{Resource, getrlimit};

/// With a limit from here on nobody counts.
const MANY: u64 = 1 << 14;

/// How many descriptors the process may still open, roughly: others open and close theirs meanwhile.
pub(crate) fn spare_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current.map_or(MANY, |limit| limit.min(MANY));
    // Without procfs, as if half of them were in use.
    let used = if limit == MANY {
        0
    } else {
        std::fs::read_dir("/proc/self/fd").map_or(limit / 2, |open| open.count() as u64)
    };
    usize::try_from(limit.saturating_sub(used)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_does_not_count() {
        let before = spare_descriptors();
        assert!(before > 0);
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(MANY);
        assert!(before as u64 <= limit.min(MANY));
    }
}
