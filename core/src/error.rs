//! The one error type of the engine.
//!
//! [`Error`] is opaque: it carries a kind, a message, the object it is about, the errno of the failed system call and a
//! chain of context. [`ErrorKind`] has fixed numbers and names; every surface (C status codes, Python exception classes,
//! exit statuses) derives from them through [`ErrorKind::code`], [`ErrorKind::name`] and [`ErrorKind::ALL`], never by
//! matching on variants or on text.

use std::fmt;
use std::path::Path;

/// The result of every fallible operation of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal, exit $exit:literal;)*) => {
        /// What went wrong, in one word. The numbers are part of the ABI: they are never changed and never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[doc = $doc])* $name = $number,)*
        }

        impl ErrorKind {
            /// Every kind, in the order of its number.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];

            /// The name, in CamelCase without a suffix: `ImageNotFound`.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$name => stringify!($name),)* }
            }

            /// What it means, in a sentence or two: the documentation of the kind.
            pub const fn description(self) -> &'static str {
                match self { $(ErrorKind::$name => concat!($($doc),*).trim_ascii(),)* }
            }

            /// The exit status of the command line for an error of this kind, as docker reports it: 125 for the engine,
            /// 126 and 127 for a program that cannot be run or found.
            pub const fn exit_status(self) -> u8 {
                match self { $(ErrorKind::$name => $exit,)* }
            }
        }
    };
}

kinds! {
    /// A defect of coble itself: a state that should not be possible.
    Internal = 1, exit 125;
    /// An argument that no operation could accept, whatever the state of the store.
    InvalidArgument = 2, exit 125;
    /// A system call failed for a reason that has no kind of its own; [`Error::errno`] tells which.
    Io = 3, exit 125;
    /// The caller may not do this on this host.
    PermissionDenied = 4, exit 125;
    /// The host lacks something that the operation needs.
    Unsupported = 5, exit 125;
    /// A file or directory of the host that the caller named is not there.
    PathNotFound = 6, exit 125;
    /// No image has this reference or id.
    ImageNotFound = 7, exit 125;
    /// No container has this name or id.
    ContainerNotFound = 8, exit 125;
    /// The name is taken.
    NameInUse = 9, exit 125;
    /// The object is in use by another one.
    InUse = 10, exit 125;
    /// The object is not in a state that allows the operation.
    InvalidState = 11, exit 125;
    /// Not an image reference of the distribution grammar.
    InvalidReference = 12, exit 125;
    /// Not a digest of the image specification.
    InvalidDigest = 13, exit 125;
    /// Content does not have the digest or size that it was announced with.
    DigestMismatch = 14, exit 125;
    /// An archive is truncated, malformed, or does what no archive may do.
    InvalidArchive = 15, exit 125;
    /// An image's manifest, index or configuration is malformed.
    InvalidImage = 16, exit 125;
    /// Input is larger, deeper or longer than coble accepts.
    LimitExceeded = 17, exit 125;
    /// No space, quota or inode is left.
    StorageFull = 18, exit 125;
    /// The store's database failed or is damaged.
    Database = 19, exit 125;
    /// The store was written by a version of coble that this one cannot work with.
    StoreVersion = 20, exit 125;
    /// The time the caller gave is over.
    Timeout = 21, exit 125;
    /// The caller cancelled the operation.
    Cancelled = 22, exit 125;
    /// The handle is closed, or belongs to another process (after a fork).
    Closed = 23, exit 125;
    /// The user or group is not known to the image, or its number is out of range.
    UserNotFound = 24, exit 125;
    /// The program is not in the image.
    CommandNotFound = 25, exit 127;
    /// The program is in the image and cannot be executed.
    CommandNotExecutable = 26, exit 126;
    /// The container's monitor ended without saying how.
    MonitorLost = 27, exit 125;
    /// A program ended with a status that is not zero, and the caller asked for an error in that case.
    ContainerExit = 28, exit 125;
    /// A panic reached the edge of the library and was stopped there.
    Panic = 29, exit 125;
    /// A registry answered with an error that has no kind of its own, or with what the distribution specification does not allow.
    Registry = 30, exit 125;
    /// A registry wants credentials, or those that were given are not enough.
    Unauthorized = 31, exit 125;
    /// A registry cannot be reached: no address, no route, no connection, no trust in its certificate, or the connection was cut.
    Network = 32, exit 125;
    /// A registry refuses more requests for a while.
    RateLimited = 33, exit 125;
    /// A name stands for another digest than the lock file says.
    DigestDrift = 34, exit 125;
    /// The engine is offline, and the operation would have to ask a registry or another server.
    Offline = 35, exit 125;
    /// No volume has this name.
    VolumeNotFound = 36, exit 125;
    /// Events were dropped before a stream has read them. It goes on with those that are kept.
    EventsLost = 37, exit 125;
}

impl ErrorKind {
    /// The status code of the C interface: the negated number of the kind. 0 means success.
    pub const fn code(self) -> i32 {
        -(self as i32)
    }
}

/// An error of the engine. Display prints one line: context first, cause last, then a `hint:` line if there is a way out.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<String>,
    object: Option<String>,
    errno: Option<i32>,
    hint: Option<String>,
    transient: bool,
    retry_after: Option<std::time::Duration>,
    exit: Option<Box<crate::container::RunResult>>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A new error. Messages are lower case, without a full stop, with the object in quotes.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            object: None,
            errno: None,
            hint: None,
            transient: false,
            retry_after: None,
            exit: None,
            cause: None,
        }))
    }

    /// The error of a failed system call. The kind follows from the errno.
    pub fn syscall(call: &str, object: impl AsRef<Path>, errno: i32) -> Error {
        let object = object.as_ref().to_string_lossy().into_owned();
        let message = format!("{call} \"{object}\": {}", errno_text(errno));
        let mut error = Error::new(kind_of_errno(errno), message);
        error.0.object = Some(object);
        error.0.errno = Some(errno);
        error
    }

    /// As [`Error::syscall`], from a standard library error.
    pub fn io(call: &str, object: impl AsRef<Path>, source: &std::io::Error) -> Error {
        match source.raw_os_error() {
            Some(errno) => Error::syscall(call, object, errno),
            None => {
                let object = object.as_ref().to_string_lossy().into_owned();
                let kind = match source.kind() {
                    std::io::ErrorKind::NotFound => ErrorKind::PathNotFound,
                    std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
                    std::io::ErrorKind::StorageFull => ErrorKind::StorageFull,
                    std::io::ErrorKind::TimedOut => ErrorKind::Timeout,
                    _ => ErrorKind::Io,
                };
                Error::new(kind, format!("{call} \"{object}\": {source}")).with_object(object)
            }
        }
    }

    /// The error of reading a stream: the one that the reader put into it, or that of the call.
    pub(crate) fn of_read(source: std::io::Error, object: impl AsRef<Path>) -> Error {
        match source.downcast::<Error>() {
            Ok(error) => error,
            Err(source) => Error::io("read", object, &source),
        }
    }

    /// What went wrong, in one word.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The innermost message, without context and hint.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the engine was doing, outermost first.
    pub fn context(&self) -> &[String] {
        &self.0.context
    }

    /// The name of the object the error is about: a reference, an id, a path.
    pub fn object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The errno of the failed system call.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// A way out, if there is one.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What a program left: for [`ErrorKind::ContainerExit`] everything that the run returned; when a run or exec ended otherwise after its start, as with
    /// [`ErrorKind::Timeout`] and [`ErrorKind::LimitExceeded`], what was collected until then, at most the capture limit, and the exit code 137, since the program was killed.
    pub fn run_result(&self) -> Option<&crate::container::RunResult> {
        self.0.exit.as_deref()
    }

    /// Names the object.
    pub fn with_object(mut self, object: impl Into<String>) -> Error {
        self.0.object = Some(object.into());
        self
    }

    /// Adds the errno.
    pub fn with_errno(mut self, errno: i32) -> Error {
        self.0.errno = Some(errno);
        self
    }

    /// Adds a way out.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds what a function of the caller failed with, which is the source of the error.
    pub fn with_cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says what the engine was doing when the error came up.
    pub fn while_doing(mut self, context: impl Into<String>) -> Error {
        self.0.context.insert(0, context.into());
        self
    }

    /// Marks a failure that may be over when the same is tried again: a cut connection, an overloaded server.
    pub(crate) fn transient(mut self) -> Error {
        self.0.transient = true;
        self
    }

    /// Says that trying again was of no use.
    pub(crate) fn lasting(mut self) -> Error {
        self.0.transient = false;
        self
    }

    /// As [`Error::transient`], when the other side has said how long to wait.
    pub(crate) fn transient_after(mut self, wait: Option<std::time::Duration>) -> Error {
        self.0.retry_after = wait;
        self.transient()
    }

    /// How long the other side has asked to wait before the same is tried again.
    pub(crate) fn retry_after(&self) -> Option<std::time::Duration> {
        self.0.retry_after
    }

    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        self.0.transient
    }

    pub(crate) fn with_run_result(mut self, result: crate::container::RunResult) -> Error {
        self.0.exit = Some(Box::new(result));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in &self.0.context {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.0.message)?;
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({self})", self.0.kind.name())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Error {
        let kind = match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StorageFull,
            Some(rusqlite::ErrorCode::PermissionDenied | rusqlite::ErrorCode::ReadOnly) => {
                ErrorKind::PermissionDenied
            }
            _ => ErrorKind::Database,
        };
        Error::new(kind, format!("database: {source}"))
    }
}

/// Adds what was being done to the error of a result.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| error.while_doing(doing()))
    }
}

/// Turns the error of a system call into an [`Error`] that names the call and its object.
pub(crate) trait Call<T> {
    fn call(self, call: &str, object: impl AsRef<Path>) -> Result<T>;
}

impl<T> Call<T> for std::result::Result<T, rustix::io::Errno> {
    fn call(self, call: &str, object: impl AsRef<Path>) -> Result<T> {
        self.map_err(|errno| Error::syscall(call, object, errno.raw_os_error()))
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call(self, call: &str, object: impl AsRef<Path>) -> Result<T> {
        self.map_err(|error| Error::io(call, object, &error))
    }
}

/// The kind that an errno stands for when nothing more is known.
pub(crate) fn kind_of_errno(errno: i32) -> ErrorKind {
    match errno {
        libc::ENOENT | libc::ENOTDIR => ErrorKind::PathNotFound,
        libc::EACCES | libc::EPERM | libc::EROFS => ErrorKind::PermissionDenied,
        libc::ENOSPC | libc::EDQUOT => ErrorKind::StorageFull,
        libc::ENOSYS | libc::EOPNOTSUPP => ErrorKind::Unsupported,
        libc::ETIMEDOUT => ErrorKind::Timeout,
        _ => ErrorKind::Io,
    }
}

/// The text of an errno, in lower case, without the number that the standard library appends.
pub(crate) fn errno_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_names_are_not_empty() {
        let mut codes: Vec<i32> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert!(codes.iter().all(|code| *code < 0));
        assert!(ErrorKind::ALL.iter().all(|kind| !kind.name().is_empty()));
        assert!(ErrorKind::ALL.iter().all(|kind| kind.description().ends_with('.')));
    }

    #[test]
    fn a_failed_call_names_itself_its_object_and_the_cause() {
        let error = Error::syscall("openat2", "/a/b", libc::ENOENT).while_doing("starting \"web\"");
        assert_eq!(error.kind(), ErrorKind::PathNotFound);
        assert_eq!(error.errno(), Some(libc::ENOENT));
        assert_eq!(error.to_string(), "starting \"web\": openat2 \"/a/b\": no such file or directory");
    }
}
