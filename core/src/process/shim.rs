//! The embedded helper executable.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use coble_protocol::{Connection, Failure, Fds, Ground, Launch, Report, Step, VERSION};

use super::{Deadline, error_of, readable};
use crate::cancel::CancelToken;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::sys::{self, NotStarted};

static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/coble-shim"));

/// The shim as a file that can be executed by descriptor and by nobody be changed.
#[derive(Debug)]
pub(crate) struct Shim {
    program: OwnedFd,
}

impl Shim {
    /// Makes the file: a sealed memfd, or where that cannot be, an unnamed file in the run root.
    pub(crate) fn new(run_root: &Path) -> Result<Shim> {
        if let Some(path) = std::env::var_os("COBLE_SHIM") {
            let program = File::open(&path).call("open", &path).context(|| "COBLE_SHIM".into())?;
            return Ok(Shim { program: program.into() });
        }
        match sealed_memfd() {
            Ok(program) => Ok(Shim { program }),
            Err(errno) => {
                let program =
                    unnamed_file(run_root).context(|| format!("memfd_create for the helper: {errno}"))?;
                Ok(Shim { program })
            }
        }
    }

    /// Starts a shim, in whose socket its role waits already. It is heard with [`report`], nothing waits for it here. One whose ground says that it is in a pid namespace
    /// is put into a new one.
    pub(crate) fn start(&self, launch: &Launch, fds: &[BorrowedFd<'_>]) -> Result<Connection> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .call("socketpair", "control socket")?;
        let connection = Connection::new(ours);
        // Far below what a socket takes without a reader.
        connection.try_send(launch, fds).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("sending the helper its role: {error}"))
        })?;
        let inside = matches!(launch, Launch::Monitor(Ground { made: Some(_), shared_pids: false, .. }));
        sys::spawn_shim(self.program.as_fd(), theirs.as_fd(), inside).map_err(|failed| {
            let call = |name, errno: Errno| {
                Error::syscall(name, "coble-shim", errno.raw_os_error())
                    .with_hint("run `coble doctor` to see what this host does not allow")
            };
            let error = match failed {
                NotStarted::Cloned(errno) if inside => {
                    error_of(&Failure::new(Step::MonitorNamespace, errno.raw_os_error(), "pid"))
                }
                NotStarted::Cloned(errno) => call("clone", errno),
                NotStarted::Prepared(errno) => call("dup3", errno),
                NotStarted::Executed(errno) => call("execveat", errno),
            };
            error.while_doing("starting the helper")
        })?;
        Ok(connection)
    }
}

/// The next report of a shim; its greeting is checked and passed over. Cancelled or late, the caller drops the connection, which ends a shim that is not done.
pub(crate) fn report(
    control: &Connection,
    deadline: Deadline,
    cancel: &CancelToken,
    what: &str,
) -> Result<(Report, Fds)> {
    let lost = |why: &str| Error::new(ErrorKind::MonitorLost, format!("{what}: {why}"));
    loop {
        readable(control, deadline, cancel, what)?;
        match control.recv::<Report>() {
            Ok(Some((Report::Hello(VERSION), _))) => {}
            Ok(Some((Report::Hello(version), _))) => {
                let text =
                    format!("the helper speaks version {version} of the protocol, this library {VERSION}");
                return Err(Error::new(ErrorKind::Internal, text));
            }
            Ok(Some((Report::Failed(failure), _))) => return Err(error_of(&failure)),
            Ok(Some(report)) => return Ok(report),
            Ok(None) => return Err(lost("the helper ended without a word")),
            Err(error) => return Err(lost(&error.to_string())),
        }
    }
}

fn sealed_memfd() -> Result<OwnedFd, Errno> {
    /// `MFD_EXEC`, of Linux 6.3; older kernels refuse the flag.
    const EXEC: MemfdFlags = MemfdFlags::from_bits_retain(0x10);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = match rustix::fs::memfd_create(c"coble-shim", flags | EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"coble-shim", flags)?,
        result => result?,
    };
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        let written = rustix::io::write(&memfd, rest)?;
        rest = rest.get(written..).unwrap_or_default();
    }
    rustix::fs::fcntl_add_seals(
        &memfd,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )?;
    Ok(memfd)
}

/// A file without a name, reopened for reading, so that it can be executed while nobody can write to it.
fn unnamed_file(run_root: &Path) -> Result<OwnedFd> {
    let mut file = OpenOptions::new()
        .write(true)
        .mode(0o500)
        .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
        .open(run_root)
        .call("open(O_TMPFILE)", run_root)?;
    file.write_all(PROGRAM).call("write", run_root)?;
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Ok(File::open(&path).call("open", &path)?.into())
}
