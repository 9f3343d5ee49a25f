//! Files of containers that are looked at and put there.

use serde::{Deserialize, Serialize};

use super::{FdIndex, ProtocolError, Rootfs};

/// The file of a container's directory that whoever writes into the container locks (shared) as long as he has its overlay mounted. It need not be there.
pub const WRITERS_FILE: &str = "writers";

/// A tree that is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// A directory of the host.
    Host(FdIndex),
    /// A directory that containers have, or will have, mounted: with everything that is in archives of layers. The entry of the root gives it its attributes.
    Volume(FdIndex),
    /// What an overlay of directories of the store shows, likewise.
    Clone {
        /// The directory that the names are relative to.
        base: FdIndex,
        /// Lower directories, uppermost first, as in [`Rootfs::Overlay`].
        lower: Vec<String>,
        /// A directory that has `upper` and `work`, likewise a name.
        own: String,
        /// Use `user.overlay.*` attributes.
        userxattr: bool,
    },
    /// The root of a container that does not run.
    Stopped {
        /// Its root file system.
        rootfs: Rootfs,
        /// It may not be written to.
        readonly: bool,
    },
    /// The root of a running container, with what is mounted in it.
    Live {
        /// The container.
        container: Live,
        /// Its directory, for [`WRITERS_FILE`]: the next overlay over the same directories has to wait until this one is gone.
        directory: FdIndex,
    },
}

/// The mount namespace of a running container, as it is now, but for `/proc`, `/sys`, `/dev` and the kernel's other file systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// A pidfd of the container's first process.
    pub init: FdIndex,
    /// The worker has no rights over it but as the owner of its user namespace, which it joins, too.
    pub userns: bool,
}

/// Whom files belong to that are put somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Whom the archive says.
    Archive,
    /// A user of the tree, as of [`ProcessSpec::user`](super::ProcessSpec::user).
    User(String),
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Look {
    /// What is at the path.
    Itself,
    /// The entries of the directory that is at the path.
    Entries,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
}

/// A file of a tree, as one that looks at it sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name in its directory; of what was looked at itself, empty.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner, as the container sees it.
    pub uid: u32,
    /// Group, as the container sees it.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Time of the last change of the content, seconds since the epoch.
    pub mtime: i64,
    /// Nanoseconds after that.
    pub mtime_nanos: u32,
    /// Where a link leads; empty for everything else.
    pub link: Vec<u8>,
}

impl Node {
    /// The bytes of a record.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        postcard::to_stdvec(self).map_err(|_| ProtocolError::Malformed)
    }

    /// Reads records until the bytes are over.
    pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Node>, ProtocolError> {
        let mut nodes = Vec::new();
        while !bytes.is_empty() {
            let (node, rest) = postcard::take_from_bytes(bytes).map_err(|_| ProtocolError::Malformed)?;
            nodes.push(node);
            bytes = rest;
        }
        Ok(nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_follow_each_other() {
        let node = |name: &[u8]| Node {
            name: name.to_vec(),
            kind: NodeKind::Symlink,
            mode: 0o777,
            uid: 0,
            gid: 70_000,
            size: 3,
            mtime: -1,
            mtime_nanos: 5,
            link: b"a\xffb".to_vec(),
        };
        let both = [node(b"x"), node(b"")];
        let bytes: Vec<u8> = both.iter().flat_map(|node| node.encode().unwrap()).collect();
        assert_eq!(Node::decode_all(&bytes).unwrap(), both);
        assert!(Node::decode_all(&bytes[..bytes.len() - 1]).is_err());
    }
}
