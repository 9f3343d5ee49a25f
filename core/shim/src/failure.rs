//! From the result of a system call to a [`Failure`].

use coble_protocol::{Failure, ProtocolError, Step};
use rustix::io::Errno;

/// Says what was being done, to what.
pub(crate) trait During<T> {
    /// The failure of `step`, done to `object`.
    fn during(self, step: Step, object: impl AsRef<[u8]>) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: Step, object: impl AsRef<[u8]>) -> Result<T, Failure> {
        self.map_err(|errno| Failure::new(step, errno.raw_os_error(), object))
    }
}

impl<T> During<T> for Result<T, ProtocolError> {
    fn during(self, step: Step, object: impl AsRef<[u8]>) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(step, error.errno(), object))
    }
}

/// A failure with an errno and an explanation.
pub(crate) fn explained(
    step: Step,
    errno: Errno,
    object: impl AsRef<[u8]>,
    detail: impl Into<String>,
) -> Failure {
    Failure { detail: detail.into(), ..Failure::new(step, errno.raw_os_error(), object) }
}
