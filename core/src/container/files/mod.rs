//! Files of a container, running or not, one path at a time: read, written, listed, and copied in and out by docker's rules.
//!
//! Everything in the container is done by a confined worker that sees nothing but the container's root ([`tree`]); which path means what is decided here ([`paths`]).

mod copy_from;
mod copy_to;
mod list;
mod local;
mod paths;
mod put;
mod read;
mod stream;
mod tree;

pub(crate) use stream::through;

use super::Container;
use crate::error::{Error, ErrorKind};

impl Container {
    /// The caller named the path, so its errors are about an argument.
    fn of_path(&self, path: &str, error: Error) -> Error {
        // A host that refuses the view says so with the same numbers.
        if error.kind() == ErrorKind::Unsupported {
            return error;
        }
        let (kind, what) = match error.errno() {
            Some(libc::ENOENT) => (ErrorKind::PathNotFound, "is not there"),
            Some(libc::ENOTDIR) => {
                (ErrorKind::PathNotFound, "is not there: something on the way is no directory")
            }
            Some(libc::EFBIG) => (ErrorKind::LimitExceeded, "has more bytes than allowed"),
            Some(libc::EISDIR) => (ErrorKind::InvalidArgument, "is a directory"),
            Some(libc::EINVAL) => (ErrorKind::InvalidArgument, "is not a regular file"),
            Some(libc::ELOOP) => (ErrorKind::InvalidArgument, "has too many symbolic links"),
            Some(libc::ENAMETOOLONG) => (ErrorKind::InvalidArgument, "is too long"),
            _ => return error,
        };
        let errno = error.errno().unwrap_or_default();
        Error::new(kind, format!("\"{path}\" {what}")).with_object(path).with_errno(errno)
    }
}
