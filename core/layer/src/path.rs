//! Names in archives: made canonical, or refused. Pure.

/// The longest name of one component.
const NAME_MAX: usize = 255;
/// The longest path that the kernel takes, without its NUL.
pub(crate) const PATH_MAX: usize = 4095;

/// Writes the canonical form of a path of an archive to `out`: relative, single slashes, no `.`. Empty means the root. Returns
/// whether the name can only mean a directory, because it ends in `/` or `/.` or is the root.
pub(crate) fn normalise(raw: &[u8], out: &mut Vec<u8>) -> Result<bool, &'static str> {
    out.clear();
    if raw.is_empty() {
        return Err("the name is empty");
    }
    if raw.contains(&0) {
        return Err("the name has a NUL byte");
    }
    let mut directory = true;
    for component in raw.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => directory = true,
            b".." => return Err("the name has a `..` component"),
            _ if component.len() > NAME_MAX => return Err("the name has a component of more than 255 bytes"),
            _ => {
                if !out.is_empty() {
                    out.push(b'/');
                }
                if out.len() + component.len() > PATH_MAX {
                    return Err("the name is longer than 4095 bytes");
                }
                out.extend_from_slice(component);
                directory = false;
            }
        }
    }
    Ok(directory)
}

/// Splits a canonical path into its parent (empty for the root) and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

/// Whether `path` is `base` or below it. Both canonical.
pub(crate) fn is_below(path: &[u8], base: &[u8]) -> bool {
    base.is_empty() || (path.starts_with(base) && matches!(path.get(base.len()), None | Some(b'/')))
}

/// What the names of a layer mean beside naming a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// An ordinary entry.
    Entry,
    /// `.wh..wh.` anything but the opaque marker: private data of another tool, never created.
    Private,
    /// The directory hides what the layers below have in it.
    Opaque {
        /// The directory.
        dir: &'a [u8],
    },
    /// A name of the layers below is gone.
    Whiteout {
        /// The directory.
        dir: &'a [u8],
        /// The name in it.
        name: &'a [u8],
    },
}

/// Reads the meaning out of a canonical path.
pub(crate) fn meaning(path: &[u8]) -> Result<Meaning<'_>, &'static str> {
    const WHITEOUT: &[u8] = b".wh.";
    const PRIVATE: &[u8] = b".wh..wh.";
    let (dir, last) = split(path);
    if !dir.is_empty() {
        for component in dir.split(|&byte| byte == b'/') {
            if component.starts_with(PRIVATE) {
                return Ok(Meaning::Private);
            }
            if component.starts_with(WHITEOUT) {
                return Err("a whiteout cannot be a directory");
            }
        }
    }
    let Some(name) = last.strip_prefix(WHITEOUT) else { return Ok(Meaning::Entry) };
    if last == b".wh..wh..opq" {
        return Ok(Meaning::Opaque { dir });
    }
    if last.starts_with(PRIVATE) {
        return Ok(Meaning::Private);
    }
    match name {
        b"" | b"." | b".." => Err("a whiteout of nothing, `.` or `..`"),
        _ => Ok(Meaning::Whiteout { dir, name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(raw: &[u8]) -> Result<(Vec<u8>, bool), &'static str> {
        let mut out = Vec::new();
        normalise(raw, &mut out).map(|directory| (out, directory))
    }

    #[test]
    fn names_become_canonical() {
        for (raw, path, directory) in [
            (&b"a/b"[..], &b"a/b"[..], false),
            (b"/a/b", b"a/b", false),
            (b"./a//./b/", b"a/b", true),
            (b"////a", b"a", false),
            (b"a/.", b"a", true),
            (b".", b"", true),
            (b"./", b"", true),
            (b"/", b"", true),
            (b"/.", b"", true),
            (b"...", b"...", false),
            (b"..a/b..", b"..a/b..", false),
            (b"\xff\xfe\n", b"\xff\xfe\n", false),
        ] {
            assert_eq!(canonical(raw), Ok((path.to_vec(), directory)), "{}", raw.escape_ascii());
        }
        assert!(canonical(&[b'x'; 255]).is_ok());
        assert!(canonical(&b"x/".repeat(2047)).is_ok());
    }

    #[test]
    fn bad_names_are_refused() {
        for raw in [
            &b""[..],
            b"..",
            b"a/..",
            b"../a",
            b"/../a",
            b"a/../b",
            b"a\0b",
            &[b'x'; 256],
            &b"x/".repeat(2049),
        ] {
            assert!(canonical(raw).is_err(), "{}", raw.escape_ascii());
        }
    }

    #[test]
    fn whiteouts_have_meanings() {
        assert_eq!(meaning(b"a/.wh.b"), Ok(Meaning::Whiteout { dir: b"a", name: b"b" }));
        assert_eq!(meaning(b".wh..b"), Ok(Meaning::Whiteout { dir: b"", name: b".b" }));
        assert_eq!(meaning(b".wh..wh..opq"), Ok(Meaning::Opaque { dir: b"" }));
        assert_eq!(meaning(b".wh..wh.plnk"), Ok(Meaning::Private));
        assert_eq!(meaning(b".wh..wh.plnk/1.2"), Ok(Meaning::Private));
        assert_eq!(meaning(b"a/.wh..wh.aufs"), Ok(Meaning::Private));
        assert_eq!(meaning(b"a.wh.b"), Ok(Meaning::Entry));
        for bad in [&b".wh."[..], b"a/.wh..", b"a/.wh...", b".wh.a/b"] {
            assert!(meaning(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn below_is_by_component() {
        assert!(is_below(b"a/b", b"a") && is_below(b"a", b"a") && is_below(b"a", b""));
        assert!(!is_below(b"ab", b"a") && !is_below(b"a", b"a/b"));
    }
}
