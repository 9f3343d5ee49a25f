//! What an image has at the place of an empty volume is copied to it, with owners and modes, as docker does it.
//!
//! It is read in the image's own root, where no link leads out, by one worker, and written by another one, which sees nothing but the volume, beside the volume's files. When it is whole, the two change places. So whoever dies
//! when, the volume is empty or filled, and what is left half done is removed by the next one who fills it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{FdList, Owner, Place};
use rustix::fs::{CWD, RenameFlags};

use super::files::{self, DATA};
use crate::cancel::CancelToken;
use crate::container::files::through;
use crate::engine::Inner;
use crate::error::{Call, Context, Result};
use crate::process::reader::{self, View};
use crate::process::{Workers, remove_tree, writer};

/// The name of what is being copied.
const NAME: &str = "fill";

/// The files of an image, or what a container has instead.
pub(crate) struct Origin<'a> {
    /// Names relative to the directory of layers, uppermost first.
    pub(crate) lower: &'a [String],
    /// A directory below them.
    pub(crate) directory: Option<&'a OwnedFd>,
}

/// Fills a volume with what is at a path, if it is empty and no container that runs has it. Whether it did.
pub(crate) fn fill(
    inner: &Inner,
    workers: Workers<'_>,
    name: &str,
    origin: &Origin<'_>,
    path: &str,
) -> Result<bool> {
    if !files::is_empty(inner, name)? {
        return Ok(false);
    }
    // Whoever else fills it now is waited for by who mounts it.
    let Some(_alone) = files::try_unused(inner, name)? else { return Ok(false) };
    if !files::is_empty(inner, name)? {
        return Ok(false);
    }
    let directory = files::directory(inner, name);
    let doing = || format!("copying \"{path}\" of the image to volume \"{name}\"");
    remove_tree(inner, &directory, NAME).context(doing)?;
    let copied = copy(inner, workers, &directory, origin, path);
    match copied {
        Ok(()) => {}
        // The image has nothing there, or no directory.
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            remove_tree(inner, &directory, NAME).context(doing)?;
            return Ok(false);
        }
        Err(error) => {
            let _ = remove_tree(inner, &directory, NAME);
            return Err(error).context(doing);
        }
    }
    let (filled, data) = (directory.join(NAME), directory.join(DATA));
    rustix::fs::renameat_with(CWD, &filled, CWD, &data, RenameFlags::EXCHANGE).call("rename", &data)?;
    remove_tree(inner, &directory, NAME).context(doing)?;
    Ok(true)
}

fn copy(
    inner: &Inner,
    workers: Workers<'_>,
    directory: &std::path::Path,
    origin: &Origin<'_>,
    path: &str,
) -> Result<()> {
    let never = CancelToken::never();
    let volume = crate::container::frozen::open_at(CWD, directory).call("open", directory)?;
    let view = View::Merged {
        layers: inner.store.layers.as_fd(),
        lower: origin.lower,
        directory: origin.directory.map(AsFd::as_fd),
        container: None,
    };
    let write = |to: BorrowedFd<'_>| {
        reader::path(workers, view, path.as_bytes(), (true, true), NAME.as_bytes(), to, &never)
    };
    let read = |from: BorrowedFd<'_>| {
        let mut fds = FdList::default();
        let place = Place::Volume(fds.push(volume.as_fd()));
        writer::put(workers, (place, fds), b"/", from, (Owner::Archive, None), &never)
    };
    through(write, read).map(drop)
}
