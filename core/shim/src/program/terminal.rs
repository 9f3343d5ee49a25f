//! The terminal of a program: a pair of the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Failure, Step, TerminalSize};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::failure::During;
use crate::root::{self, Root};
use crate::sys;

/// `DEVPTS_SUPER_MAGIC`.
const DEVPTS_MAGIC: i64 = 0x1cd1;
const PATH: &str = "/dev/pts";

/// Both ends.
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
    /// The name of the slave below `/dev/pts`.
    pub(crate) number: String,
}

impl Pair {
    /// Makes one in the container's devpts. Whatever a running container has put in its place is refused, and the slave is opened by its master, never by its path.
    pub(crate) fn new(root: &Root, size: TerminalSize) -> Result<Pair, Failure> {
        let step = Step::Terminal;
        let directory = root.strict(PATH.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).during(step, PATH)?;
        if rustix::fs::fstatfs(&directory).during(step, PATH)?.f_type != DEVPTS_MAGIC {
            return Err(Failure::rule(step, PATH, "not a file system of terminals"));
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let master = root::open(directory.as_fd(), b"ptmx", flags, resolve).during(step, "/dev/pts/ptmx")?;
        rustix::pty::unlockpt(&master).during(step, "slave")?;
        let slave = slave_of(&master)?;
        resize(master.as_fd(), size)?;
        let name = rustix::pty::ptsname(&master, Vec::new()).during(step, "slave")?;
        let number = name.to_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Ok(Pair { number: String::from_utf8_lossy(number).into_owned(), master, slave })
    }

    /// Makes the slave the standard streams.
    pub(crate) fn place(&self) -> Result<(), Failure> {
        (0..3).try_for_each(|number| {
            sys::place(self.slave.as_fd(), number, false).during(Step::Stdio, number.to_string())
        })
    }
}

/// The other end of a master, and an error if it is none.
pub(crate) fn slave_of(master: &OwnedFd) -> Result<OwnedFd, Failure> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    rustix::pty::ioctl_tiocgptpeer(master, flags).during(Step::Terminal, "slave")
}

/// Makes standard input the controlling terminal of this process, which leads a session that has none.
pub(crate) fn control() -> Result<(), Failure> {
    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).during(Step::Terminal, "controlling terminal")
}

/// Gives the slave to the user, who may want to open it by its name.
pub(crate) fn give(uid: u32) -> Result<(), Errno> {
    rustix::fs::fchown(rustix::stdio::stdin(), Some(rustix::fs::Uid::from_raw(uid)), None)
}

/// Sets the size, as far as it is known, and tells the program.
pub(crate) fn resize(terminal: BorrowedFd<'_>, size: TerminalSize) -> Result<(), Failure> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size).during(Step::Terminal, "size")
}

/// Opens the console, where the slave will be mounted. `dev` is the container's `/dev`, to which only the shim has written.
pub(crate) fn console_place(dev: BorrowedFd<'_>) -> Result<(), Failure> {
    let mode = Mode::from_raw_mode(0o620);
    match rustix::fs::mknodat(dev, "console", rustix::fs::FileType::RegularFile, mode, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).during(Step::Terminal, "/dev/console"),
    }
}
