//! Masked and read-only paths.

use std::os::fd::{BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::binds::refuse_shared;
use super::mount::{self, Identity, RDONLY, fd};
use crate::failure::During;
use crate::root::Root;

/// One empty read-only directory for all places that need one.
#[derive(Default)]
pub(crate) struct Empty(Option<OwnedFd>);

impl Empty {
    /// Puts it over a directory.
    pub(crate) fn cover(&mut self, target: BorrowedFd<'_>, step: Step, object: &str) -> Result<(), Failure> {
        let mount = match &self.0 {
            // Only what is attached can be copied, and the first one is.
            Some(first) => mount::copy(fd(first), "", false).during(step, object)?,
            None => mount::empty(step, object)?,
        };
        mount::attach(fd(&mount), target).during(step, object)?;
        self.0.get_or_insert(mount);
        Ok(())
    }
}

/// Opens a path that may be missing.
fn find(root: &Root, path: &str, step: Step) -> Result<Option<OwnedFd>, Failure> {
    if !path.starts_with('/') || path.split('/').any(|name| name == "..") {
        return Err(Failure::rule(step, path, "not an absolute path"));
    }
    // A link of the image is followed, inside the root: what it leads to is what a program would see.
    match root.follow(path.as_bytes(), OFlags::PATH) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno).during(step, path),
    }
}

/// Makes paths read-only, with all that is mounted below them. Returns those that exist. `shared` is the procfs of the container if something in it is shared with the host: what is put there would be
/// put there for the host, too.
pub(crate) fn make_readonly(
    root: &Root,
    paths: &[String],
    shared: Option<BorrowedFd<'_>>,
) -> Result<Vec<String>, Failure> {
    let step = Step::ReadOnly;
    let mut done = Vec::new();
    for path in paths {
        let Some(target) = find(root, path, step)? else { continue };
        if let Some(proc) = shared {
            refuse_shared(&target, proc, step, path)?;
        }
        let copy = mount::copy(fd(&target), "", true).during(step, path)?;
        mount::restrict(fd(&copy), RDONLY, true).during(step, path)?;
        mount::attach(fd(&copy), fd(&target)).during(step, path)?;
        let expected = Identity::of(fd(&copy)).during(step, path)?;
        let found = find(root, path, step)?;
        let seen = found.as_ref().map(|found| Identity::of(fd(found))).transpose().during(step, path)?;
        let flags = found.map(|found| rustix::fs::fstatvfs(&found)).transpose().during(step, path)?;
        let readonly = flags.is_some_and(|stat| stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY));
        if seen != Some(expected) || !readonly {
            return Err(Failure::rule(step, path, "it is not read-only after it was made so"));
        }
        done.push(path.clone());
    }
    Ok(done)
}

/// Makes paths invisible. Returns those that exist. `shared` as in [`make_readonly`].
pub(crate) fn mask(
    root: &Root,
    paths: &[String],
    dev: BorrowedFd<'_>,
    shared: Option<BorrowedFd<'_>>,
    empty: &mut Empty,
) -> Result<Vec<String>, Failure> {
    let step = Step::Mask;
    let mut done = Vec::new();
    let mut null: Option<(OwnedFd, Identity)> = None;
    for path in paths {
        let Some(target) = find(root, path, step)? else { continue };
        if let Some(proc) = shared {
            refuse_shared(&target, proc, step, path)?;
        }
        let before = Identity::of(fd(&target)).during(step, path)?;
        if before.kind == FileType::Directory {
            empty.cover(fd(&target), step, path)?;
        } else {
            if null.is_none() {
                let file = super::kernel::verified_null(dev)?;
                let identity = Identity::of(fd(&file)).during(step, path)?;
                null = Some((file, identity));
            }
            let Some((file, _)) = &null else { continue };
            let copy = mount::copy(fd(file), "", false).during(step, path)?;
            mount::attach(fd(&copy), fd(&target)).during(step, path)?;
        }
        let found = find(root, path, step)?;
        let seen = found.map(|found| Identity::of(fd(&found))).transpose().during(step, path)?;
        let expected = match (before.kind, &empty.0, &null) {
            (FileType::Directory, Some(empty), _) => Some(Identity::of(fd(empty)).during(step, path)?),
            (FileType::Directory, None, _) => None,
            (_, _, null) => null.as_ref().map(|(_, identity)| *identity),
        };
        let masked = matches!((seen, expected), (Some(seen), Some(expected))
            if seen.mount_root && seen.same_file(&expected) && seen.mount != before.mount);
        if !masked {
            return Err(Failure::rule(step, path, "it is not masked after it was masked"));
        }
        done.push(path.clone());
    }
    Ok(done)
}
