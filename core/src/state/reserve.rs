//! A small file that takes up space for one purpose: what frees space needs some first, for the database's log and for `index.json`. It is given up when that fails for want
//! of space, and made again afterwards.

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::Store;
use crate::error::{ErrorKind, Result};

const NAME: &str = "reserve";
/// Bytes: a removal writes a few dozen pages of the database.
const SIZE: u64 = 1 << 20;

impl Store {
    /// Does what frees space, if need be with the space that is kept for it.
    pub(crate) fn freeing<T>(&self, work: impl Fn() -> Result<T>) -> Result<T> {
        match work() {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                match rustix::fs::unlinkat(&self.data, NAME, AtFlags::empty()) {
                    // Somebody else has just given it up.
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(_) => return Err(error),
                }
                let result = work();
                self.keep_reserve();
                result
            }
            result => result,
        }
    }

    /// Makes the reserve if it is not there, or not whole, as far as there is space. Asked for before something takes space.
    pub(crate) fn keep_reserve(&self) {
        match rustix::fs::statat(&self.data, NAME, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if found.st_size as u64 >= SIZE => {}
            _ => {
                // Without one, removing may fail on a full disk, and that is all.
                let _ = self.make_reserve();
            }
        }
    }

    fn make_reserve(&self) -> rustix::io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::openat(&self.data, NAME, flags, mode)?;
        rustix::fs::fchmod(&file, mode)?;
        let allocate = |size| rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size);
        allocate(SIZE).or_else(|_| allocate(SIZE / 4)).or_else(|_| allocate(SIZE / 16))
    }
}
