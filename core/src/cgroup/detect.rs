//! Where the hierarchies are and where in them this process is. Pure parsing, and one look at permissions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

/// The controllers that containers need.
pub(super) const CONTROLLERS: [&str; 4] = ["devices", "memory", "cpu", "pids"];
/// Those that are used where somebody asks for what they do.
const OTHERS: [&str; 3] = ["cpuset", "blkio", "freezer"];

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Version 1: the controllers. Version 2: empty.
    pub(super) controllers: Vec<String>,
    /// The mount point.
    pub(super) top: PathBuf,
    /// The cgroup of this process; None if it is outside of what is mounted.
    pub(super) own: Option<PathBuf>,
}

/// The hierarchies of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Version 1, with at least one controller that is of use each.
    pub(super) v1: Vec<Hierarchy>,
    /// Version 2.
    pub(super) v2: Option<Hierarchy>,
}

impl Layout {
    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`. Of several mounts of a hierarchy the first one that shows the cgroup of this
    /// process counts. What is not understood is left out.
    pub(super) fn parse(mountinfo: &str, membership: &str) -> Layout {
        let mut layout = Layout::default();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            if mount.fstype == "cgroup2" {
                let hierarchy = mount.hierarchy(Vec::new(), own_path(membership, None));
                let better =
                    layout.v2.as_ref().is_none_or(|old| old.own.is_none() && hierarchy.own.is_some());
                if better {
                    layout.v2 = Some(hierarchy);
                }
            } else if mount.fstype == "cgroup" {
                let options = mount.options.split(',');
                let controllers: Vec<String> =
                    options.filter(|option| is_known(option)).map(str::to_owned).collect();
                let Some(first) = controllers.first().cloned() else { continue };
                let hierarchy = mount.hierarchy(controllers, own_path(membership, Some(&first)));
                match layout.v1.iter_mut().find(|old| old.controllers.contains(&first)) {
                    Some(old) if old.own.is_none() && hierarchy.own.is_some() => *old = hierarchy,
                    Some(_) => {}
                    None => layout.v1.push(hierarchy),
                }
            }
        }
        layout
    }
}

fn is_known(controller: &str) -> bool {
    CONTROLLERS.contains(&controller) || OTHERS.contains(&controller)
}

/// The fields of a line of mountinfo that matter.
struct Mount<'a> {
    root: PathBuf,
    point: PathBuf,
    fstype: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (fstype, _, options) = (right.next()?, right.next()?, right.next()?);
        Some(Mount { root: unescape(root), point: unescape(point), fstype, options })
    }

    fn hierarchy(self, controllers: Vec<String>, own: Option<&str>) -> Hierarchy {
        let own = own.map(Path::new).and_then(|own| {
            let inside = own.strip_prefix(&self.root).ok()?;
            // A cgroup outside of the cgroup namespace is written with dots.
            inside
                .components()
                .all(|part| matches!(part, Component::Normal(_)))
                .then(|| self.point.join(inside))
        });
        Hierarchy { controllers, top: self.point, own }
    }
}

/// The path of this process in the hierarchy of a controller, or in version 2's.
fn own_path<'a>(membership: &'a str, controller: Option<&str>) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let found = match controller {
            Some(controller) => controllers.split(',').any(|known| known == controller),
            None => number == "0" && controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = bytes
            .get(at + 1..at + 4)
            .filter(|digits| digits.iter().all(|digit| (b'0'..b'8').contains(digit)));
        match octal {
            Some(digits) if *byte == b'\\' => {
                plain
                    .push(digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0')) as u8);
                at += 4;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&plain))
}

/// Whether this process may write to a file or directory.
pub(super) fn writable(path: &Path) -> bool {
    rustix::fs::access(path, Access::WRITE_OK).is_ok()
}
