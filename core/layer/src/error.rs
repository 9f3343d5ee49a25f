//! Why a layer was refused or could not be applied.

use std::fmt;

use rustix::io::Errno;

use crate::decode::Format;

/// What was being done to the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Making a file, directory, link or node.
    Write,
    /// Setting owner, mode, times or attributes.
    Metadata,
    /// Applying a whiteout.
    Whiteout,
    /// Removing a tree.
    Remove,
    /// Reading a tree.
    Read,
}

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// Reading the input failed with this errno.
    Read(i32),
    /// Writing the output failed with this errno.
    Output(i32),
    /// The compressed stream is truncated, corrupt or asks for too much.
    Decode {
        /// The compression.
        format: Format,
        /// What is wrong with it.
        rule: &'static str,
    },
    /// The archive breaks a rule of its format or of layers.
    Invalid {
        /// The name in the archive, as far as it is known.
        entry: Vec<u8>,
        /// The rule.
        rule: &'static str,
    },
    /// The archive exceeds a limit.
    Limit {
        /// The name in the archive, as far as it is known.
        entry: Vec<u8>,
        /// The limit.
        rule: &'static str,
    },
    /// A system call failed.
    System {
        /// What was being done.
        act: Act,
        /// The errno.
        errno: i32,
        /// The path in the layer.
        object: Vec<u8>,
    },
}

impl Error {
    pub(crate) fn invalid(entry: &[u8], rule: &'static str) -> Error {
        Error::Invalid { entry: entry.to_vec(), rule }
    }

    pub(crate) fn limit(entry: &[u8], rule: &'static str) -> Error {
        Error::Limit { entry: entry.to_vec(), rule }
    }

    pub(crate) fn system(act: Act, errno: Errno, object: &[u8]) -> Error {
        Error::System { act, errno: errno.raw_os_error(), object: object.to_vec() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(errno) => write!(f, "cannot read the archive: {}", Errno::from_raw_os_error(*errno)),
            Error::Output(errno) => {
                write!(f, "cannot write the archive: {}", Errno::from_raw_os_error(*errno))
            }
            Error::Decode { format, rule } => {
                write!(f, "cannot decompress the archive: {}: {rule}", format.name())
            }
            Error::Invalid { entry, rule } | Error::Limit { entry, rule } => {
                write!(f, "cannot accept the archive entry \"{}\": {rule}", entry.escape_ascii())
            }
            Error::System { act, errno, object } => {
                let what = match act {
                    Act::Write => "write",
                    Act::Metadata => "set the attributes of",
                    Act::Whiteout => "white out",
                    Act::Remove => "remove",
                    Act::Read => "read",
                };
                write!(f, "cannot {what} \"{}\": {}", object.escape_ascii(), Errno::from_raw_os_error(*errno))
            }
        }
    }
}

impl std::error::Error for Error {}
