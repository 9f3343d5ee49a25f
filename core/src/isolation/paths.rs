//! Which paths of a container are masked, and which are read-only.

use super::defaults;
use crate::container::ContainerSpec;
use crate::container::mount::clean;
use crate::container::validate::{SecurityOptions, invalid};
use crate::error::Result;
use crate::text::fits;

/// The most paths of each kind: every one is a mount.
const MOST: usize = 1024;

/// The word that unmasks all.
const ALL: &str = "ALL";

/// The paths of a container, as its first process gets them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) masked: Vec<String>,
    pub(crate) readonly: Vec<String>,
}

/// Reads the value of `mask=`: paths with colons between them.
pub(crate) fn mask(value: &str) -> Result<Vec<String>> {
    value.split(':').map(|path| one("security_opt", path)).collect()
}

/// Reads the value of `unmask=`: `ALL`, or paths and patterns with colons between them.
pub(crate) fn unmask(value: &str) -> Result<Vec<String>> {
    let pattern = |text: &str| if text == ALL { Ok(ALL.to_owned()) } else { one("security_opt", text) };
    value.split(':').map(pattern).collect()
}

/// Checks the lists of the caller.
pub(crate) fn check(spec: &ContainerSpec) -> Result<()> {
    for (field, paths) in [("masked_paths", &spec.masked_paths), ("readonly_paths", &spec.readonly_paths)] {
        for path in paths.iter().flatten() {
            one(field, path)?;
        }
        if paths.as_ref().is_some_and(|paths| paths.len() > MOST) {
            return Err(invalid(field, format!("are more than {MOST}")));
        }
    }
    Ok(())
}

/// A path that can be covered, without `.` and repeated or final `/`.
fn one(field: &str, path: &str) -> Result<String> {
    let why = |why: &str| Err(invalid(field, format!("\"{}\" {why}", path.escape_default())));
    if !path.starts_with('/') {
        return why("is not an absolute path");
    }
    if path.contains('\0') || path.len() >= libc::PATH_MAX as usize {
        return why("has a NUL character or is too long");
    }
    if path.split('/').any(|name| name == "..") {
        return why("has .. in it");
    }
    match clean(path) {
        path if path == "/" => why("is the root of the container"),
        path => Ok(path),
    }
}

/// The paths of a container whose options were checked: the caller's lists or the usual ones, with what `mask=` adds and without what `unmask=` names.
pub(crate) fn of(spec: &ContainerSpec, security: &SecurityOptions) -> Paths {
    let usual = |given: &Option<Vec<String>>, usual: fn() -> Vec<String>| match given {
        Some(paths) => paths.clone(),
        None if security.system_paths => usual(),
        None => Vec::new(),
    };
    let unmasked = |path: &String| {
        security.unmask.iter().any(|pattern| pattern == ALL || fits(pattern.as_bytes(), path.as_bytes()))
    };
    let list = |paths: Vec<String>, more: &[String]| {
        let mut list: Vec<String> = Vec::with_capacity(paths.len() + more.len());
        let kept = paths.into_iter().map(|path| clean(&path)).filter(|path| !unmasked(path));
        for path in kept.chain(more.iter().cloned()) {
            if !list.contains(&path) {
                list.push(path);
            }
        }
        list
    };
    Paths {
        masked: list(usual(&spec.masked_paths, defaults::masked_paths), &security.mask),
        readonly: list(usual(&spec.readonly_paths, defaults::readonly_paths), &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::validate;

    fn paths(change: impl FnOnce(&mut ContainerSpec)) -> Paths {
        let mut spec = ContainerSpec::new("image");
        change(&mut spec);
        of(&spec, &validate::spec(&spec).unwrap())
    }

    #[test]
    fn lists_take_the_place_of_the_usual_ones() {
        let usual = paths(|_| {});
        assert_eq!(usual.masked, defaults::masked_paths());
        assert_eq!(usual.readonly, defaults::readonly_paths());
        let own = paths(|spec| {
            spec.masked_paths = Some(vec!["/a//b/./".into(), "/a/b".into(), "/c".into()]);
            spec.readonly_paths = Some(Vec::new());
        });
        assert_eq!(own, Paths { masked: vec!["/a/b".into(), "/c".into()], readonly: Vec::new() });
        assert!(paths(|spec| spec.privileged = true).masked.is_empty());
        let held = paths(|spec| (spec.privileged, spec.masked_paths) = (true, Some(vec!["/a".into()])));
        assert_eq!(held.masked, ["/a"]);
    }

    #[test]
    fn mask_adds_and_unmask_takes_away() {
        let some = paths(|spec| {
            spec.security_opt = vec!["mask=/a:/b/".into(), "unmask=/proc/kcore:/proc/s*".into()];
        });
        let has = |path: &str| some.masked.iter().any(|known| known == path);
        assert!(has("/a") && has("/b") && has("/proc/keys") && has("/sys/firmware"));
        assert!(!has("/proc/kcore") && !has("/proc/scsi"));
        assert_eq!(some.readonly, ["/proc/bus", "/proc/fs", "/proc/irq"]);
        let none = paths(|spec| spec.security_opt = vec!["unmask=ALL".into(), "mask=/a".into()]);
        assert_eq!(none, Paths { masked: vec!["/a".into()], readonly: Vec::new() });
    }

    #[test]
    fn what_cannot_be_covered_is_refused() {
        for path in ["", "relative", "/", "/.", "/a/../b", "/a\0", &"/a".repeat(3000)] {
            for field in ["masked_paths", "readonly_paths"] {
                let mut spec = ContainerSpec::new("image");
                match field {
                    "masked_paths" => spec.masked_paths = Some(vec![path.to_owned()]),
                    _ => spec.readonly_paths = Some(vec![path.to_owned()]),
                }
                assert_eq!(check(&spec).unwrap_err().object(), Some(field), "{path}");
            }
            assert!(mask(path).is_err(), "{path}");
        }
        let mut spec = ContainerSpec::new("image");
        spec.masked_paths = Some((0..=MOST).map(|n| format!("/{n}")).collect());
        assert!(check(&spec).is_err());
    }
}
