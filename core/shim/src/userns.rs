//! The first step of a rootless shim: a user namespace in which it is user 0.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{Failure, Fds, IdRange, Step, UserNamespace};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions};
use rustix::thread::{Gid, LinkNameSpaceType, Uid, UnshareFlags, move_into_link_name_space};

use crate::failure::{During, explained};
use crate::ids::IdMaps;
use crate::sys;

/// The most bytes of a helper's error text that are kept.
const MAX_TEXT: usize = 1024;

/// Makes the namespace and its maps, or joins one that has them, and becomes user 0 in it.
pub(crate) fn enter(namespace: &UserNamespace, fds: &mut Fds) -> Result<(), Failure> {
    match namespace {
        UserNamespace::Joined { namespace, .. } => {
            let namespace = fds.take(*namespace).during(Step::Protocol, "namespaces")?;
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
                .during(Step::JoinSpace, "user")?;
        }
        UserNamespace::Single { uid, gid } => {
            unshare()?;
            // The kernel lets an ordinary user write a group map only after this.
            write("/proc/self/setgroups", "deny")?;
            write("/proc/self/uid_map", &format!("0 {uid} 1\n"))?;
            write("/proc/self/gid_map", &format!("0 {gid} 1\n"))?;
        }
        UserNamespace::Ranges { uids, gids, newuidmap, newgidmap } => {
            // The helpers have to run outside of the namespace and can do their work only once it is there.
            let users = Helper::start(newuidmap, uids)?;
            let groups = Helper::start(newgidmap, gids)?;
            unshare()?;
            users.go()?.finish()?;
            groups.go()?.finish()?;
        }
    }
    set_ids(matches!(namespace, UserNamespace::Ranges { .. } | UserNamespace::Joined { groups: true, .. }))
}

/// Becomes user 0 of a namespace that this process has just come into, and gives up its supplementary groups where that is allowed.
fn set_ids(groups: bool) -> Result<(), Failure> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    rustix::thread::set_thread_res_gid(gid, gid, gid).during(Step::SetIds, "0")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).during(Step::SetIds, "0")?;
    if groups {
        rustix::thread::set_thread_groups(&[]).during(Step::SetIds, "setgroups")?;
    }
    Ok(())
}

/// As the end of [`enter`], in a namespace with these ids, for a process that nobody may look into, which a change of ids may have changed. Where there is no user 0, the process is the only one that there is, and stays it.
pub(crate) fn become_root(maps: &IdMaps) -> Result<(), Failure> {
    if maps.uids.contains(0) {
        set_ids(maps.setgroups)?;
    }
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).during(Step::SetIds, "dumpable").map(drop)
}

fn unshare() -> Result<(), Failure> {
    sys::unshare(UnshareFlags::NEWUSER).during(Step::UserNamespace, "")
}

fn write(path: &str, text: &str) -> Result<(), Failure> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .during(Step::IdMap, path)?;
    // One write: the kernel takes a map only as a whole.
    rustix::io::write(&file, text.as_bytes()).during(Step::IdMap, path).map(drop)
}

/// A child that waits to execute one of the set-id helpers.
struct Helper {
    program: String,
    pidfd: OwnedFd,
    start: OwnedFd,
    errors: OwnedFd,
}

impl Helper {
    fn start(program: &str, ranges: &[IdRange]) -> Result<Helper, Failure> {
        if !program.starts_with('/') {
            return Err(Failure::rule(Step::IdMap, program, "not an absolute path"));
        }
        let mut words = vec![program.to_string(), rustix::process::getpid().as_raw_nonzero().to_string()];
        for range in ranges {
            words.extend([range.inside, range.outside, range.count].map(|number| number.to_string()));
        }
        let argv: Vec<CString> = words
            .into_iter()
            .map(CString::new)
            .collect::<Result<_, _>>()
            .map_err(|_| Failure::rule(Step::IdMap, program, "has a NUL byte"))?;
        let (wait, start) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::IdMap, program)?;
        let (errors, output) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::IdMap, program)?;
        match sys::clone(0, None).during(Step::IdMap, program)? {
            sys::Clone::Parent(pidfd) => Ok(Helper { program: program.to_string(), pidfd, start, errors }),
            sys::Clone::Child => {
                drop(start);
                let told = rustix::io::read(&wait, &mut [0; 1]);
                if told == Ok(1)
                    && sys::place(output.as_fd(), 2, false).is_ok()
                    && sys::close_on_exec_from(3).is_ok()
                    && let Some(path) = argv.first()
                {
                    let Err(errno) = sys::execve(path, &argv, &[]);
                    // As a shell says it; the text goes into the failure.
                    let _ = rustix::io::write(rustix::stdio::stderr(), format!("exec: {errno}").as_bytes());
                }
                sys::exit(127)
            }
        }
    }

    /// Lets it execute.
    fn go(self) -> Result<Helper, Failure> {
        rustix::io::write(&self.start, &[1]).during(Step::IdMap, &self.program)?;
        Ok(self)
    }

    /// Waits for its end; a failure carries what it said.
    fn finish(self) -> Result<(), Failure> {
        let mut text = [0; MAX_TEXT];
        let mut filled = 0;
        loop {
            // Past the bound the rest is read and forgotten, so that the helper never waits for us.
            let mut rest = [0; 256];
            let room = if filled < MAX_TEXT { &mut text[filled..] } else { &mut rest[..] };
            match rustix::io::read(&self.errors, room) {
                Ok(0) => break,
                Ok(n) => filled = (filled + n).min(MAX_TEXT),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).during(Step::IdMap, &self.program),
            }
        }
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
        })
        .during(Step::IdMap, &self.program)?;
        match status.and_then(|status| status.exit_status()) {
            Some(0) => Ok(()),
            _ => {
                let said = String::from_utf8_lossy(&text[..filled]).trim().replace(char::is_control, " ");
                Err(explained(Step::IdMap, Errno::PERM, &self.program, said))
            }
        }
    }
}
