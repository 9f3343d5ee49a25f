//! An image's root file system, mounted where only the holder can see it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::resolve;
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Result};
use crate::process::reader::{self, View};
use crate::snapshot;
use crate::state::{Lease, Session};

/// An image's root file system, mounted read-only, with no devices, set-id programs or programs at all.
///
/// The mount is nowhere in the tree of the host: it is reached through the descriptor only, and goes with the last copy of it, however the process
/// ends. The image's layers stay in the store until this is dropped, also when the image is removed.
///
/// Links in an image may point anywhere, and an absolute one that is followed from outside leads to the host's files. Who opens paths that
/// an image chose resolves them with `openat2` and `RESOLVE_IN_ROOT`.
#[derive(Debug)]
pub struct ImageMount {
    fd: OwnedFd,
    lease: Option<Lease>,
    inner: Arc<Inner>,
}

impl ImageMount {
    /// A path to the root that this process can use, as long as it has the descriptor: `/proc/self/fd/...`.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }
}

impl AsFd for ImageMount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ImageMount {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end(&self.inner.store, &*self.inner);
        }
    }
}

pub(super) fn mount(inner: &Arc<Inner>, image: &str, cancel: &CancelToken) -> Result<ImageMount> {
    let lease = Session::lease(&inner.store, cancel)?;
    let mounted = (|| {
        let image = resolve(&inner.store, image)?;
        let lower = snapshot::ensure(&inner.store, &**inner, &image, cancel)?;
        let view = View::Merged {
            layers: inner.store.layers.as_fd(),
            lower: &lower,
            directory: None,
            container: None,
        };
        reader::mount(&**inner, view, cancel)
    })();
    match mounted.context(|| format!("mounting image \"{image}\"")) {
        Ok(fd) => Ok(ImageMount { fd, lease: Some(lease), inner: inner.clone() }),
        Err(error) => {
            lease.end(&inner.store, &**inner);
            Err(error)
        }
    }
}
