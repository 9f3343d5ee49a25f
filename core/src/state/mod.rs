//! The store: directories, database and locks that many processes share without a daemon.
//!
//! Order of locks, always: a session (see [`session`]), the gate, the database. Nobody takes the gate inside a transaction.

mod base;
pub(crate) mod containers;
mod db;
pub(crate) mod events;
pub(crate) mod ids;
pub(crate) mod images;
mod lock;
pub(crate) mod origins;
mod reserve;
mod schema;
mod session;
mod sweep;
mod time;
mod verify;
pub(crate) mod volumes;

pub(crate) use base::{BASE, fill as fill_base};
pub(crate) use containers::ContainerRow;
pub(crate) use db::Db;
pub(crate) use lock::{Gate, Locked, Pause};
pub(crate) use session::{Lease, Session};
pub(crate) use sweep::{find_strays, sweep};
pub(crate) use time::{NEVER, from_nanos, micros, now_nanos, parse_rfc3339, rfc3339};
pub(crate) use verify::{Object, is_intact, strays, structure as verify_structure, verify};

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::cancel::CancelToken;
use crate::content::{Content, Staged};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::Digest;

/// Where the parts of a store are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    /// The data root, without symbolic links.
    pub(crate) data: PathBuf,
}

impl Paths {
    pub(crate) fn database(&self) -> PathBuf {
        self.data.join("store.db")
    }

    pub(crate) fn content(&self) -> PathBuf {
        self.data.join("content")
    }

    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }
}

/// The store of an engine, as this process has it open.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) paths: Paths,
    pub(crate) db: Db,
    pub(crate) content: Content,
    /// The kind of id map that unpacked layers are made for: `host`, `single:1000:1000`, `ranges:...`.
    pub(crate) idmap: String,
    /// The data root.
    pub(crate) data: OwnedFd,
    /// The directory of unpacked layers.
    pub(crate) layers: OwnedFd,
    pub(crate) gate: Gate,
}

impl Store {
    /// Opens a store, making it if it is not there. Sweeps nothing.
    pub(crate) fn open(data_root: &Path, idmap: String) -> Result<Store> {
        let data = make_root(data_root)?;
        let paths = Paths { data: std::fs::canonicalize(data_root).call("realpath", data_root)? };
        let gate = Gate::open(&data, &paths.data)?;
        let db = match Db::open(&paths.database())? {
            Some(db) => db,
            None => {
                let _gate = gate.exclusive(&CancelToken::never())?;
                // Somebody else may have made it while we waited.
                match Db::open(&paths.database())? {
                    Some(db) => db,
                    None => {
                        for dir in
                            ["content", "content/blobs", "content/blobs/sha256", "content/ingest", "layers"]
                        {
                            make_dir(&data, dir, &paths.data)?;
                        }
                        Content::make_layout(&data, &paths.data)?;
                        Db::create(&data, &paths.database())?
                    }
                }
            }
        };
        let content = Content::open(&data, &paths.content())?;
        let layers = open_dir(&data, "layers", &paths.data)?;
        spread(&layers);
        base::make(&data, &paths.data)?;
        Ok(Store { paths, db, content, idmap, data, layers, gate })
    }

    /// Puts a staged file in its place as a blob, and records it. What no image refers to in the end goes with the last session.
    pub(crate) fn publish(&self, session: &Session, staged: &Staged, digest: &Digest) -> Result<()> {
        self.content.publish(session, staged, digest)?;
        // A file without a row would be nobody's to take away before the next crash.
        self.freeing(|| self.db.write(|tx| images::add_blob(tx, digest, staged.size)))
    }

    /// Whether there is a blob of this size. Within a session it stays.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool> {
        let found = self.content.has(digest, size)?;
        if found {
            self.db.write(|tx| images::add_blob(tx, digest, size))?;
        }
        Ok(found)
    }

    /// The gate, for making and locking a temporary thing.
    pub(crate) fn gate_shared(&self) -> Result<Locked> {
        self.gate.shared(&CancelToken::never())
    }

    /// The gate, for looking at temporary things.
    pub(crate) fn gate_exclusive(&self) -> Result<Locked> {
        self.gate.exclusive(&CancelToken::never())
    }
}

/// Tells file systems that know the difference that what is in a directory has nothing to do with each other, and may be anywhere on the disk.
fn spread(dir: &OwnedFd) {
    // Only a hint.
    if let Ok(flags) = rustix::fs::ioctl_getflags(dir)
        && !flags.contains(IFlags::TOPDIR)
    {
        let _ = rustix::fs::ioctl_setflags(dir, flags | IFlags::TOPDIR);
    }
}

/// Makes the data root, or checks that the one that is there is ours. A directory with something else in it is refused, so that a wrong path changes
/// nothing.
fn make_root(path: &Path) -> Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).call("mkdir", parent)?;
    }
    crate::paths::check_parent(path)?;
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::syscall("mkdir", path, errno.raw_os_error())),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOTDIR => {
            Error::new(ErrorKind::InvalidArgument, format!("\"{}\" is not a directory", path.display()))
                .with_object(path.to_string_lossy())
        }
        errno => Error::syscall("open", path, errno.raw_os_error()),
    })?;
    let stat = rustix::fs::fstat(&fd).call("fstat", path)?;
    let uid = rustix::process::geteuid().as_raw();
    let refuse = |kind, why: String| {
        Err(Error::new(kind, format!("\"{}\" {why}", path.display()))
            .with_object(path.to_string_lossy())
            .with_hint("give a directory of your own as the data root, one that does not exist yet"))
    };
    if stat.st_uid != uid {
        return refuse(
            ErrorKind::PermissionDenied,
            format!("belongs to user {}, not to user {uid}", stat.st_uid),
        );
    }
    if stat.st_mode & 0o7777 == 0o700 {
        return Ok(fd);
    }
    // Either it was just made, with a umask that took bits away, or somebody else made it.
    if rustix::fs::statat(&fd, "gate", AtFlags::SYMLINK_NOFOLLOW).is_err() {
        if stat.st_mode & 0o022 != 0 {
            return refuse(ErrorKind::PermissionDenied, "can be written to by others".into());
        }
        let listing = list_names(&fd, path)?;
        if !listing.is_empty() {
            return refuse(ErrorKind::InvalidArgument, "is in use by something else: it is not empty".into());
        }
    }
    rustix::fs::fchmod(&fd, Mode::RWXU).call("fchmod", path)?;
    Ok(fd)
}

/// Makes a directory of mode 0700 whatever the umask; one that is there is fine.
pub(crate) fn make_dir(at: &OwnedFd, name: &str, parent: &Path) -> Result<()> {
    loop {
        match rustix::fs::mkdirat(at, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Error::syscall("mkdir", parent.join(name), errno.raw_os_error())),
        }
        let stat = match rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Somebody else has removed or moved it since.
            Err(Errno::NOENT) => continue,
            result => result.call("stat", parent.join(name))?,
        };
        if stat.st_mode & 0o7777 == 0o700 {
            return Ok(());
        }
        match rustix::fs::chmodat(at, name, Mode::RWXU, AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            result => return result.call("chmod", parent.join(name)),
        }
    }
}

pub(crate) fn open_dir(at: &OwnedFd, name: &str, parent: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).call("open", parent.join(name))
}

/// The names in a directory, without `.` and `..`, in no order.
pub(crate) fn list_names(dir: &OwnedFd, path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir).call("readdir", path)? {
        let entry = entry.call("readdir", path)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    Ok(names)
}

/// Lower-case hexadecimal digits from the kernel's random numbers.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        filled +=
            rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).call("getrandom", "")?;
    }
    Ok(crate::oci::hex(&buffer))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store in a directory of its own.
    pub(crate) fn temporary() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data"), "host".into()).unwrap();
        (dir, store)
    }

    /// Every directory of the store proper is 0700 and every file 0600.
    pub(crate) fn assert_private(path: &Path) {
        use std::os::unix::fs::MetadataExt;
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.path().symlink_metadata().unwrap();
            let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(metadata.mode() & 0o7777, wanted, "{}", entry.path().display());
            // What is below these is for containers.
            let ours = path.file_name().is_none_or(|name| name != "layers") && entry.file_name() != "base";
            if metadata.is_dir() && ours {
                assert_private(&entry.path());
            }
        }
    }

    #[test]
    fn opening_makes_a_private_store_and_finds_it_again() {
        let (dir, store) = temporary();
        assert_private(dir.path());
        drop(store);
        let again = Store::open(&dir.path().join("data"), "host".into()).unwrap();
        assert_eq!(verify(&again, &crate::progress::Reporter::silent(), &CancelToken::never()).unwrap(), []);
    }

    #[test]
    fn many_open_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| Store::open(&dir.path().join("data"), "host".into()).unwrap());
            }
        });
    }

    #[test]
    fn directories_of_others_are_left_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(data.join("letter"), "dear").unwrap();
        let error = Store::open(&data, "host".into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
        std::fs::remove_file(data.join("letter")).unwrap();
        Store::open(&data, "host".into()).unwrap();
        assert_eq!(data.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(Store::open(&file, "host".into()).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn newer_and_foreign_databases_are_refused() {
        let (dir, store) = temporary();
        store.db.write(|tx| Ok(tx.pragma_update(None, "user_version", 999)?)).unwrap();
        drop(store);
        let open = || Store::open(&dir.path().join("data"), "host".into());
        assert_eq!(open().unwrap_err().kind(), ErrorKind::StoreVersion);
        std::fs::write(dir.path().join("data/store.db"), "not a database, and long enough for a header")
            .unwrap();
        for rest in ["store.db-wal", "store.db-shm"] {
            let _ = std::fs::remove_file(dir.path().join("data").join(rest));
        }
        assert_eq!(open().unwrap_err().kind(), ErrorKind::Database);
    }
}
