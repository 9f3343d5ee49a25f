//! Which extended attributes of an archive are given to files: the one table.

/// The overlay file system's own attributes, which decide what a directory shows.
pub(crate) const OVERLAY_USER: &[u8] = b"user.overlay.";

/// What happens to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// It is set.
    Keep,
    /// It is left out, with a warning.
    Drop,
}

/// The first line that fits decides. A pattern that ends in a dot stands for all names that start so.
pub const TABLE: &[(&str, Policy)] = &[
    // File capabilities: a program such as `ping` has them, and the kernel binds them to the user namespace.
    ("security.capability", Policy::Keep),
    // Labels of security modules, and signatures of the host's keys: they mean something to the host only.
    ("security.", Policy::Drop),
    // What would make a directory opaque, redirect it or take a file's content from elsewhere.
    ("user.overlay.", Policy::Drop),
    ("user.overlay", Policy::Drop),
    ("user.", Policy::Keep),
    // The privileged twin of `user.overlay.`, and whatever else the host's administrator keeps there.
    ("trusted.", Policy::Drop),
    // ACLs, which grant to numbers of users that the archive's writer did not know.
    ("system.", Policy::Drop),
];

/// Looks an attribute up.
pub fn policy(name: &[u8]) -> Policy {
    TABLE
        .iter()
        .find(|(pattern, _)| match pattern.strip_suffix('.') {
            Some(_) => name.len() > pattern.len() && name.starts_with(pattern.as_bytes()),
            None => name == pattern.as_bytes(),
        })
        .map_or(Policy::Drop, |&(_, policy)| policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_decides() {
        for keep in ["security.capability", "user.mime_type", "user.overlays", "user.a.b"] {
            assert_eq!(policy(keep.as_bytes()), Policy::Keep, "{keep}");
        }
        for drop in [
            "security.selinux",
            "security.ima",
            "security.capability2",
            "user.overlay.opaque",
            "user.overlay.origin",
            "user.overlay",
            "user.",
            "trusted.overlay.opaque",
            "trusted.x",
            "system.posix_acl_access",
            "nonsense",
            "",
        ] {
            assert_eq!(policy(drop.as_bytes()), Policy::Drop, "{drop}");
        }
    }
}
