//! From a process inside the container to the program: the one path of the container's first program and of every exec.
//!
//! It runs in a process that is already in all namespaces and cgroups and whose root is the container's. It is not for making any of
//! them.

mod caps;
mod exec;
mod filter;
mod init;
mod landlock;
pub(crate) mod terminal;
mod user;
pub(crate) mod verify;

pub(crate) use exec::strings;

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use coble_protocol::{Accounts, Failure, Isolation, ProcessSpec, Rlimit, Step};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::failure::{During, explained};
use crate::ids::IdMaps;
use crate::root::Root;
use crate::sys;
use user::{Database, Identity};

/// The largest `passwd` or `group` file.
const MAX_DATABASE: u64 = 4 << 20;
/// The first descriptor that exec closes.
const FIRST_CLOSED: u32 = 3;
/// What the kernel says of a process with a filter.
const FILTERED: u8 = 2;

/// What the program is made from.
pub(crate) struct Program<'a> {
    pub(crate) spec: &'a ProcessSpec,
    /// Where it is, if its first argument does not say so.
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) maps: &'a IdMaps,
    /// The shim's own procfs.
    pub(crate) proc: BorrowedFd<'a>,
    /// The soft limit of core files that the shim was started with.
    pub(crate) core_limit: u64,
    /// Whether this process stays behind, as the init of the container.
    pub(crate) init: bool,
}

/// A program whose user is known and whose working directory is entered.
pub(crate) struct Prepared<'a> {
    program: Program<'a>,
    identity: Identity,
    /// Whether the working directory is still to be entered, as the user.
    enter_later: bool,
    env: Vec<Vec<u8>>,
    filter: Vec<libc::sock_filter>,
    rules: Option<landlock::Rules>,
}

/// The last of the way for a program that enters the processes of a container, where somebody may have the right to trace it. So by then it has nothing more than its program has.
pub(crate) struct Entrance<'a> {
    /// A procfs that this process is in, which it has not any more inside.
    pub(crate) own: OwnedFd,
    /// What returns inside.
    pub(crate) enter: &'a dyn Fn() -> Result<(), Failure>,
    /// What returns when the process is known to whoever waits for its end. It says meanwhile that it is ready, unless a filter could keep it from waiting then.
    pub(crate) known: &'a dyn Fn() -> Result<(), Failure>,
}

impl<'a> Program<'a> {
    /// Does everything that may write to the root: looks up the user, makes and enters the working directory.
    pub(crate) fn prepare(self, root: &Root) -> Result<Prepared<'a>, Failure> {
        let filter = filter(&self.spec.seccomp)?;
        let mut files = Files { root, passwd: None, group: None };
        let identity = user::resolve(&self.spec.user, &self.spec.additional_groups, &mut files)?;
        let mut env = self.spec.env.clone();
        if !env.iter().any(|entry| entry.starts_with(b"HOME=")) {
            let fallback: &[u8] = if identity.uid == 0 { b"/root" } else { b"/" };
            env.push([b"HOME=", identity.home.as_deref().unwrap_or(fallback)].concat());
        }
        let enter_later = match enter(root, self.spec) {
            Ok(()) => false,
            // The user may be allowed what user 0 of a user namespace is not.
            Err(failure) if failure.errno == Errno::ACCESS.raw_os_error() => true,
            Err(failure) => return Err(failure),
        };
        let wanted = &self.spec.landlock;
        let rules = if wanted.is_empty() { None } else { Some(landlock::Rules::prepare(wanted, root)?) };
        Ok(Prepared { program: self, identity, enter_later, env, filter, rules })
    }
}

impl Prepared<'_> {
    /// The user and the group that the program will be.
    pub(crate) fn owner(&self) -> (u32, u32) {
        (self.identity.uid, self.identity.gid)
    }

    /// Takes everything away that the program does not get, reads back what is left into `isolation`, calls `ready`, and executes the program.
    /// Returns only when something failed.
    pub(crate) fn become_program(
        self,
        root: &Root,
        mut isolation: Isolation,
        warnings: &mut Vec<Failure>,
        entrance: Option<Entrance<'_>>,
        ready: impl FnOnce(Isolation, &mut Vec<Failure>) -> Result<(), Failure>,
    ) -> Result<Infallible, Failure> {
        let spec = self.program.spec;
        let argv = exec::strings(&spec.argv, "arguments")?;
        let env = exec::strings(&self.env, "environment")?;
        let own = entrance.as_ref().map_or(self.program.proc, |entrance| entrance.own.as_fd());
        // Opened before a filter could forbid it; what it says is made up when it is read.
        let status = verify::open(own, "self/status")?;
        // A filter that does not let it in goes on inside, where one without privileges has nothing that it could keep from anybody but this.
        let complete = entrance.is_none() || filter::allows_entering(&self.filter, spec.terminal.is_some());

        sys::restore_descriptor_limit().during(Step::Rlimit, "descriptors")?;
        // Whoever enters is two processes for a moment.
        let later = entrance.is_some() && filter::allows_limits(&self.filter);
        let mut number_of_processes = None;
        for (resource, soft, hard) in &spec.rlimits {
            let wanted = (*soft, *hard);
            if later && *resource == sys::RLIMIT_NPROC && is_lower(*resource, wanted) {
                number_of_processes = Some(wanted);
            } else {
                isolation.rlimits.extend(limit(*resource, wanted, warnings));
            }
        }
        if !spec.rlimits.iter().any(|(resource, ..)| *resource == sys::RLIMIT_CORE) {
            let (_, hard) = sys::prlimit(sys::RLIMIT_CORE, None).during(Step::Rlimit, "core")?;
            let soft = self.program.core_limit.min(hard);
            sys::prlimit(sys::RLIMIT_CORE, Some((soft, hard))).during(Step::Rlimit, "core")?;
        }
        if let Some(profile) = &spec.apparmor {
            isolation.apparmor = confine(own, profile).during(Step::AppArmor, profile)?;
        }
        if spec.no_new_privileges {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).during(Step::NoNewPrivileges, "")?;
        }
        if let Some(rules) = self.rules {
            // Before a filter could forbid it, and before the rights for it have gone.
            rules.enforce()?;
            isolation.landlock = spec.landlock.words();
        }
        if !spec.no_new_privileges && !self.filter.is_empty() {
            // Needs CAP_SYS_ADMIN, which is about to go.
            sys::seccomp(&self.filter).during(Step::Seccomp, "")?;
        }
        if spec.terminal.is_some()
            && self.identity.uid != 0
            && let Err(errno) = terminal::give(self.identity.uid)
        {
            warnings.push(Failure::new(Step::Terminal, errno.raw_os_error(), "owner"));
        }
        if self.identity.uid != 0 {
            let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
            streams.into_iter().for_each(|stream| give_pipe(stream, self.identity.uid, None));
        }
        let granted = caps::become_user(&self.identity, spec, self.program.maps, warnings)?;
        // A change of ids may have made the process dumpable or not, as the host's policy says.
        sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).during(Step::SetIds, "dumpable")?;
        if self.enter_later {
            enter(root, spec)?;
        }
        sys::close_on_exec_from(FIRST_CLOSED).during(Step::Exec, "descriptors")?;
        rustix::process::umask(Mode::from_raw_mode(spec.umask & 0o777));
        if spec.no_new_privileges && complete && !self.filter.is_empty() {
            sys::seccomp(&self.filter).during(Step::Seccomp, "")?;
        }
        verify::status(&verify::read_piece(status.as_fd(), "status")?, &mut isolation)?;
        let filtered = !self.filter.is_empty() && (complete || !spec.no_new_privileges);
        let expected = verify::Expected {
            identity: &self.identity,
            groups: self.program.maps.setgroups,
            granted,
            no_new_privileges: spec.no_new_privileges,
            seccomp: filtered,
            umask: spec.umask & 0o777,
        };
        verify::compare(&isolation, &expected)?;
        drop(status);
        let mut unknown = None;
        if let Some(Entrance { own, enter, known }) = entrance {
            drop(own);
            enter()?;
            unknown = Some(known);
            let last = number_of_processes.and_then(|wanted| limit(sys::RLIMIT_NPROC, wanted, warnings));
            isolation.rlimits.extend(last);
            if !filtered && !self.filter.is_empty() {
                unknown.take().map_or(Ok(()), |known| known())?;
                sys::seccomp(&self.filter).during(Step::Seccomp, "")?;
                // The process has no other procfs than the container's, whose files it may not be allowed to open.
                isolation.seccomp = FILTERED;
            }
        }
        ready(isolation, warnings)?;
        unknown.map_or(Ok(()), |known| known())?;
        if self.program.init {
            init::stay_behind(self.program.maps)?;
        }
        let name = self.program.path.or_else(|| spec.argv.first().map(Vec::as_slice));
        exec::exec(name.unwrap_or_default(), &argv, &env, &self.env)
    }
}

/// Whether a limit is not above the one in force.
fn is_lower(number: u32, wanted: (u64, u64)) -> bool {
    sys::prlimit(number, None).is_ok_and(|found| wanted.0 <= found.0 && wanted.1 <= found.1)
}

/// Gives a standard stream that is a pipe to a user, and to a group, who could not open it by its name in `/dev` or `/proc` otherwise. What is not to be had stays as it is.
pub(crate) fn give_pipe(stream: BorrowedFd<'_>, uid: u32, gid: Option<u32>) {
    const PIPES: i64 = 0x5049_5045;
    if rustix::fs::fstatfs(stream).is_ok_and(|fs| fs.f_type == PIPES) {
        let (uid, gid) = (rustix::fs::Uid::from_raw(uid), gid.map(rustix::fs::Gid::from_raw));
        let _ = rustix::fs::fchown(stream, Some(uid), gid);
    }
}

/// Has the kernel confine this process by an AppArmor profile when it executes the program, through the shim's own procfs. What the kernel says that it will be, if it says so.
fn confine(proc: BorrowedFd<'_>, profile: &str) -> rustix::io::Result<Option<String>> {
    let open = |path: &str| {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        crate::root::open(proc, path.as_bytes(), OFlags::RDWR, resolve)
    };
    let file = match open("self/attr/apparmor/exec") {
        // Before Linux 5.8.
        Err(Errno::NOENT) => open("self/attr/exec")?,
        file => file?,
    };
    let text = format!("exec {profile}");
    if rustix::io::write(&file, text.as_bytes())? != text.len() {
        return Err(Errno::IO);
    }
    let mut label = [0; 4096];
    Ok(rustix::io::pread(&file, &mut label, 0).ok().map(|length| {
        String::from_utf8_lossy(label.get(..length).unwrap_or_default())
            .trim_end_matches(['\n', '\0'])
            .to_owned()
    }))
}

/// Sets a resource limit, as far as it may be set, and reads it back. None if the kernel does not know it.
fn limit(number: u32, asked: (u64, u64), warnings: &mut Vec<Failure>) -> Option<Rlimit> {
    let object = number.to_string();
    if let Err(errno) = sys::prlimit(number, Some(asked)) {
        let (_, most) = sys::prlimit(number, None).unwrap_or_default();
        // Raising the hard limit needs a right that this process may not have; what is below it needs none.
        let nearest = (asked.0.min(most), asked.1.min(most));
        let detail = match errno {
            Errno::PERM if sys::prlimit(number, Some(nearest)).is_ok() => "the host does not allow more",
            _ => "",
        };
        warnings.push(explained(Step::Rlimit, errno, &object, detail));
    }
    let found = sys::prlimit(number, None).ok()?;
    Some(Rlimit { number, asked, found })
}

/// Sets this process's `oom_score_adj`, which what it becomes and makes inherits, and reads it back: as it was asked for, and as it is. Only where no process of
/// the container can see this one: for a moment it is as open to others as any process, since the kernel lets only user 0 of the host write the files of one that is not.
pub(crate) fn oom_score(
    proc: BorrowedFd<'_>,
    spec: &ProcessSpec,
    warnings: &mut Vec<Failure>,
) -> Result<Option<(i32, i32)>, Failure> {
    let step = Step::OomScore;
    let Some(score) = spec.oom_score_adj else { return Ok(None) };
    let open = |flags: OFlags| {
        rustix::fs::openat(proc, "self/oom_score_adj", flags | OFlags::CLOEXEC, Mode::empty())
    };
    sys::prctl(libc::PR_SET_DUMPABLE, 1, 0).during(step, "dumpable")?;
    let written =
        open(OFlags::WRONLY).and_then(|file| rustix::io::write(&file, score.to_string().as_bytes()));
    sys::prctl(libc::PR_SET_DUMPABLE, 0, 0).during(step, "dumpable")?;
    if let Err(errno) = written {
        warnings.push(Failure::new(step, errno.raw_os_error(), score.to_string()));
    }
    let mut text = [0; 16];
    let length = open(OFlags::RDONLY)
        .and_then(|file| rustix::io::read(&file, &mut text))
        .during(step, "oom_score_adj")?;
    let text = std::str::from_utf8(text.get(..length).unwrap_or_default()).unwrap_or_default();
    Ok(Some((score, text.trim().parse().unwrap_or_default())))
}

/// Enters the working directory and makes sure that it is inside the root.
fn enter(root: &Root, spec: &ProcessSpec) -> Result<(), Failure> {
    let cwd = &spec.cwd[..];
    let step = Step::WorkingDirectory;
    if cwd.first() != Some(&b'/') {
        return Err(Failure::rule(step, cwd, "not an absolute path"));
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = match root.follow(cwd, flags) {
        Err(Errno::NOENT) if spec.create_cwd => root.make_directory(cwd),
        opened => opened,
    }
    .during(step, cwd)?;
    rustix::process::fchdir(&directory).during(step, cwd)?;
    // A directory outside of the root is "(unreachable)/...", one that was removed has no path at all.
    let path = rustix::process::getcwd(Vec::new()).during(step, cwd)?;
    if path.as_bytes().first() != Some(&b'/') {
        return Err(Failure::rule(step, cwd, "not inside the container"));
    }
    Ok(())
}

/// The bytes of a seccomp program as the kernel's structure.
fn filter(bytes: &[u8]) -> Result<Vec<libc::sock_filter>, Failure> {
    let (instructions, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || instructions.len() > usize::from(u16::MAX) {
        return Err(Failure::rule(Step::Seccomp, "", "not a list of BPF instructions"));
    }
    let instruction = |[a, b, jt, jf, k @ ..]: [u8; 8]| libc::sock_filter {
        code: u16::from_ne_bytes([a, b]),
        jt,
        jf,
        k: u32::from_ne_bytes(k),
    };
    Ok(instructions.iter().map(|bytes| instruction(*bytes)).collect())
}

/// The container's own user database, read when it is needed.
struct Files<'a> {
    root: &'a Root,
    passwd: Option<Vec<u8>>,
    group: Option<Vec<u8>>,
}

/// The ids of a user of the tree, as of [`ProcessSpec::user`].
pub(crate) fn ids_of(root: &Root, user: &str) -> Result<(u32, u32), Failure> {
    let mut files = Files { root, passwd: None, group: None };
    user::resolve(user, &[], &mut files).map(|identity| (identity.uid, identity.gid))
}

/// The files of users and groups of the tree with one more line, as far as they lack the program's. None if there is nothing to add.
pub(crate) fn missing_accounts(root: &Root, accounts: &Accounts, user: &str) -> Option<[Option<Vec<u8>>; 2]> {
    let mut files = Files { root, passwd: None, group: None };
    let identity = user::resolve(user, &[], &mut files).ok()?;
    let (passwd, group) = (files.passwd().ok()?.to_vec(), files.group().ok()?.to_vec());
    let added = user::missing(accounts, &identity, &passwd, &group);
    added.iter().any(Option::is_some).then_some(added)
}

impl Database for Files<'_> {
    fn passwd(&mut self) -> Result<&[u8], Failure> {
        load(self.root, &mut self.passwd, "/etc/passwd", Step::User)
    }

    fn group(&mut self) -> Result<&[u8], Failure> {
        load(self.root, &mut self.group, "/etc/group", Step::Group)
    }
}

fn load<'a>(root: &Root, slot: &'a mut Option<Vec<u8>>, path: &str, step: Step) -> Result<&'a [u8], Failure> {
    if slot.is_none() {
        *slot = Some(read_database(root, path, step)?);
    }
    Ok(slot.as_deref().unwrap_or_default())
}

fn read_database(root: &Root, path: &str, step: Step) -> Result<Vec<u8>, Failure> {
    // A FIFO must not hold us up, a terminal not become ours.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: OwnedFd = match root.follow(path.as_bytes(), flags) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(Failure::new(step, errno.raw_os_error(), path)),
    };
    let stat = rustix::fs::fstat(&file).during(step, path)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Failure::rule(step, path, "not a regular file"));
    }
    if u64::try_from(stat.st_size).is_ok_and(|size| size > MAX_DATABASE) {
        return Err(explained(step, Errno::FBIG, path, "larger than 4 MiB"));
    }
    let mut bytes = Vec::new();
    let mut piece = [0; 8192];
    loop {
        match rustix::io::read(&file, &mut piece).during(step, path)? {
            0 => return Ok(bytes),
            n => bytes.extend_from_slice(&piece[..n]),
        }
        // It may grow while it is read.
        if bytes.len() as u64 > MAX_DATABASE {
            return Err(explained(step, Errno::FBIG, path, "larger than 4 MiB"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_whole_instructions() {
        assert!(filter(&[]).unwrap().is_empty());
        assert!(filter(&[0; 7]).is_err());
        let program = filter(&[6, 0, 1, 2, 0, 0, 0xff, 0x7f]).unwrap();
        assert_eq!((program[0].code, program[0].jt, program[0].jf, program[0].k), (6, 1, 2, 0x7fff_0000));
    }
}
