//! The monitor's files in the container's run directory: the socket and the record of the end.

use std::os::fd::{BorrowedFd, OwnedFd};

use coble_protocol::{
    COMPLAINTS_FILE, CONDITION_FILE, CONDITION_TEMPORARY, CONTROL_SOCKET, Condition, EXIT_FILE, ExitRecord,
    Failure, OWED_FILE, Step, TEMPORARY_FILE, encode_complaints,
};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::failure::During;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// The listening socket. Its name goes when this is dropped.
pub(crate) struct Socket {
    pub(crate) listener: OwnedFd,
    run_dir: OwnedFd,
}

impl Socket {
    /// Makes the socket, for this user only.
    pub(crate) fn new(run_dir: &OwnedFd) -> Result<Socket, Failure> {
        let step = Step::State;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .during(step, CONTROL_SOCKET)?;
        // Relative to the directory, since the path of a socket has but 108 bytes.
        rustix::process::fchdir(run_dir).during(step, CONTROL_SOCKET)?;
        let address = SocketAddrUnix::new(CONTROL_SOCKET).during(step, CONTROL_SOCKET)?;
        let before = rustix::process::umask(Mode::from_raw_mode(0o177));
        let bound = match rustix::net::bind(&listener, &address) {
            // Left by a monitor that was killed. There is no other one: we have the lock.
            Err(Errno::ADDRINUSE) => rustix::fs::unlinkat(run_dir, CONTROL_SOCKET, AtFlags::empty())
                .and_then(|()| rustix::net::bind(&listener, &address)),
            bound => bound,
        };
        rustix::process::umask(before);
        bound.during(step, CONTROL_SOCKET)?;
        let run_dir = rustix::io::fcntl_dupfd_cloexec(run_dir, 0).during(step, CONTROL_SOCKET)?;
        let socket = Socket { listener, run_dir };
        rustix::process::chdir("/").during(step, "/")?;
        rustix::net::listen(&socket.listener, BACKLOG).during(step, CONTROL_SOCKET)?;
        Ok(socket)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = rustix::fs::unlinkat(&self.run_dir, CONTROL_SOCKET, AtFlags::empty());
    }
}

/// Notes that hooks will have to be run at the end, whoever is there then.
pub(crate) fn owe_hooks(run_dir: &OwnedFd) -> Result<(), Failure> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(run_dir, OWED_FILE, flags, Mode::from_raw_mode(0o600))
        .during(Step::State, OWED_FILE)
        .map(drop)
}

/// Takes it upon this process to run them. Fails if somebody else has.
pub(crate) fn take_hooks(run_dir: &OwnedFd) -> Result<(), Failure> {
    rustix::fs::unlinkat(run_dir, OWED_FILE, AtFlags::empty()).during(Step::State, OWED_FILE)
}

/// Writes what went wrong with them. Who reads it has the lock of the container, which this process has still.
pub(crate) fn write_complaints(run_dir: &OwnedFd, complaints: &[Failure]) {
    if let Ok(bytes) = encode_complaints(complaints) {
        // Without it they are not told.
        let _ = put(run_dir, &bytes, TEMPORARY_FILE, COMPLAINTS_FILE);
    }
}

/// Writes the record of the end.
pub(crate) fn write(run_dir: &OwnedFd, record: &ExitRecord) -> Result<(), Failure> {
    let bytes = record.encode().during(Step::State, EXIT_FILE)?;
    put(run_dir, &bytes, TEMPORARY_FILE, EXIT_FILE)
}

/// Writes the condition of the container. One that cannot be written stays as it was.
pub(crate) fn write_condition(run_dir: &OwnedFd, condition: &Condition) {
    if let Ok(bytes) = condition.encode() {
        let _ = put(run_dir, &bytes, CONDITION_TEMPORARY, CONDITION_FILE);
    }
}

/// Writes a file so that a reader finds all of it or none.
fn put(run_dir: &OwnedFd, bytes: &[u8], temporary: &str, name: &str) -> Result<(), Failure> {
    let step = Step::State;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat(run_dir, temporary, flags, Mode::from_raw_mode(0o600)).during(step, temporary)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(&file, rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during(step, temporary),
        }
    }
    rustix::fs::renameat(run_dir, temporary, run_dir, name).during(step, name)
}

/// Removes the mark that a volatile overlay leaves in its work directory, so that nobody mounts it again. Nobody will, and while the program runs there is time for it: taking away a
/// directory is slow on some file systems. No program of the container can reach the name.
pub(crate) fn clear_mark(container: BorrowedFd<'_>) {
    clear(
        container,
        [
            ("work/work/incompat/volatile/dirty", AtFlags::empty()),
            ("work/work/incompat/volatile", AtFlags::REMOVEDIR),
            ("work/work/incompat", AtFlags::REMOVEDIR),
        ],
    );
}

/// Removes the work directory of an overlay that is not mounted any more, while the engine removes the rest.
pub(crate) fn clear_work(container: BorrowedFd<'_>) {
    clear(container, [("work/work", AtFlags::REMOVEDIR), ("work", AtFlags::REMOVEDIR)]);
}

/// Whatever is in the way is left to the engine.
fn clear<const N: usize>(container: BorrowedFd<'_>, names: [(&str, AtFlags); N]) {
    for (name, flags) in names {
        let _ = rustix::fs::unlinkat(container, name, flags);
    }
}
