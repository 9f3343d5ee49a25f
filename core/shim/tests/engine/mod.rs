//! Plays the engine: starts the shim, launches containers over a small root made from `busybox`, and listens.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use coble_protocol::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

/// An ordinary user without an entry anywhere.
pub const USER: u32 = 54_321;
const PATIENCE: i64 = 20;

/// The program under test: `COBLE_SHIM`, to test the one that is shipped, or the one just built.
pub fn shim_program() -> PathBuf {
    std::env::var_os("COBLE_SHIM").map_or_else(|| env!("CARGO_BIN_EXE_coble-shim").into(), PathBuf::from)
}

/// The field's default set.
pub const CAPABILITIES: u64 = 0xa804_25fb;

/// One container's files, and how the shim is started.
pub struct Engine {
    pub dir: tempfile::TempDir,
    rootless: bool,
}

/// What a test changes about a launch.
pub struct Options {
    pub process: ProcessSpec,
    pub userns: Option<UserNamespace>,
    pub network: Network,
    pub files: Vec<ProvidedFile>,
    pub masked: Vec<&'static str>,
    pub readonly: Vec<&'static str>,
    pub readonly_root: bool,
    pub lower: Vec<String>,
    pub stdin: Option<OwnedFd>,
    pub log: bool,
    pub session: Option<OwnedFd>,
    pub cgroup: Option<OwnedFd>,
    pub view: CgroupView,
    pub once: bool,
    /// Whether the engine says that the container is on record.
    pub commit: bool,
}

/// A shim that has got its launch.
pub struct Launched {
    pub control: Connection,
    pub shim: Child,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Ends a monitor, so that a test that fails leaves nothing.
pub struct Ender(OwnedFd);

/// A container that runs.
pub struct Running {
    _ender: Ender,
    pub control: Connection,
    pub started: Started,
    pub monitor: OwnedFd,
    pub program: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// A container that has run.
pub struct Done {
    pub started: Started,
    pub exit: Exit,
    pub stdout: String,
    pub stderr: String,
}

pub fn process(argv: &[&str]) -> ProcessSpec {
    ProcessSpec {
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        env: vec![b"PATH=/usr/bin:/bin".to_vec()],
        cwd: b"/".to_vec(),
        create_cwd: true,
        user: String::new(),
        additional_groups: Vec::new(),
        capabilities: Capabilities { bounding: CAPABILITIES, ambient: 0 },
        no_new_privileges: true,
        apparmor: None,
        landlock: coble_protocol::Landlock::default(),
        seccomp: Vec::new(),
        rlimits: Vec::new(),
        oom_score_adj: None,
        terminal: None,
        umask: 0o022,
    }
}

pub fn shell(script: &str) -> Options {
    Options {
        process: process(&["sh", "-c", script]),
        userns: None,
        network: Network::None,
        files: Vec::new(),
        masked: vec!["/proc/keys", "/proc/timer_list", "/sys/firmware", "/no/such"],
        readonly: vec!["/proc/sys", "/proc/irq", "/proc/none"],
        readonly_root: false,
        lower: vec!["1".into()],
        stdin: None,
        log: false,
        session: None,
        cgroup: None,
        view: CgroupView::Hidden,
        once: false,
        commit: true,
    }
}

pub fn with(options: Options, change: impl FnOnce(&mut Options)) -> Options {
    let mut options = options;
    change(&mut options);
    options
}

impl Engine {
    /// As root.
    pub fn new() -> Engine {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make containers as root: run them as root"
        );
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "these tests need a static /bin/busybox (Debian: busybox-static)");
        let dir = tempfile::Builder::new().prefix("coble-shim-test-").tempdir().unwrap();
        let path = dir.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        let root = path.join("layers/1");
        for name in ["bin", "etc", "proc", "sys", "dev", "tmp", "root", "home/web", "usr/bin"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for name in "sh cat ls id echo sleep env hostname mount ip stat mkdir touch pwd readlink head wc kill true dd \
                     grep test rm ln mknod chmod umount seq tr"
            .split_whitespace()
        {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        fs::write(root.join("bin/data"), "not a program").unwrap();
        fs::set_permissions(root.join("bin/data"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("bin/script"), "#!/no/such/interpreter\n").unwrap();
        fs::set_permissions(root.join("bin/script"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("etc/plain"), "").unwrap();
        fs::write(
            root.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:www:/home/web:/bin/sh\n1000:x:0:0::/:/bin/sh\n",
        )
        .unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nweb:x:34:\naudio:x:29:web\nstaff:x:50:\n").unwrap();
        for name in ["container/upper", "container/work", "run"] {
            fs::create_dir_all(path.join(name)).unwrap();
        }
        Engine { dir, rootless: false }
    }

    /// As an ordinary user.
    pub fn rootless() -> Engine {
        let engine = Engine { rootless: true, ..Engine::new() };
        let owner = format!("{USER}:{USER}");
        let status = Command::new("chown").args(["-R", &owner]).arg(engine.dir.path()).status().unwrap();
        assert!(status.success());
        engine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a program of a script and returns its path. Another process writes it: a file that this one has open for writing could be
    /// inherited by what another test starts at that moment, and nobody could execute it meanwhile.
    pub fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name).to_str().unwrap().to_string();
        let write = r#"printf %s "$2" > "$1" && chmod 755 "$1""#;
        assert!(Command::new("sh").args(["-c", write, "sh", &path, text]).status().unwrap().success());
        path
    }

    /// A path of the image.
    pub fn image(&self, name: &str) -> PathBuf {
        self.path("layers/1").join(name)
    }

    fn open(&self, name: &str) -> OwnedFd {
        OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(self.path(name)).unwrap().into()
    }

    fn open_real(&self, name: &str) -> OwnedFd {
        File::open(self.path(name)).unwrap().into()
    }

    /// Starts the shim and says hello.
    pub fn shim(&self) -> (Connection, Child) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let number = theirs.as_raw_fd();
        // By descriptor, since an ordinary user may not have access to the build directory.
        let program = rustix::io::fcntl_dupfd_cloexec(File::open(shim_program()).unwrap(), 10).unwrap();
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command.env_clear().stdin(null()).stdout(null()).stderr(null());
        if self.rootless {
            command.uid(USER).gid(USER);
        }
        // SAFETY: only async-signal-safe calls; everything above 3 is closed on exec.
        unsafe {
            command.pre_exec(move || {
                // As the engine: all signals blocked, one ignored.
                let mut all = std::mem::zeroed();
                libc::sigfillset(&mut all);
                libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
                libc::signal(libc::SIGUSR1, libc::SIG_IGN);
                if number == 3 {
                    libc::fcntl(3, libc::F_SETFD, 0);
                } else {
                    libc::dup2(number, 3);
                }
                Ok(())
            });
        }
        let shim = command.spawn().unwrap();
        drop(theirs);
        let control = Connection::new(ours);
        let (hello, _) = control.recv::<Report>().unwrap().expect("hello");
        assert_eq!(hello, Report::Hello(VERSION));
        (control, shim)
    }

    /// Sends a launch.
    pub fn launch(&self, mut options: Options) -> Launched {
        // A test may want no layer at all.
        let base = options.lower.pop().into_iter().collect();
        let (control, shim) = self.shim();
        let (stdout, out) = pipe();
        let (stderr, err) = pipe();
        let (layers, container) = (self.open("layers"), self.open("container"));
        let run_dir = self.open_real("run");
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.path("run/lock")).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
        let log = OpenOptions::new().append(true).create(true).open(self.path("log")).unwrap();
        let mut list = FdList::default();
        let devices = [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ];
        let stdin = options.stdin.as_ref().map(|fd| list.push(fd.as_fd()));
        let stdio = if options.log {
            let stdin = stdin.map_or(Input::Null, Input::Pass);
            let log = LogSink {
                file: list.push(log.as_fd()),
                attributes: None,
                form: LogForm::Frames,
                rotation: None,
                journald: None,
            };
            Stdio::Log { log: Some(log), stdin, readers: [None; 2] }
        } else {
            Stdio::Pass { stdin, stdout: Some(list.push(out.as_fd())), stderr: Some(list.push(err.as_fd())) }
        };
        let this =
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty());
        let this = this.unwrap();
        let spec = MonitorSpec {
            mounts: Vec::new(),
            locks: Vec::new(),
            hooks: None,
            privileged: false,
            writable_cgroups: false,
            id: "0123456789ab".repeat(5) + "abcd",
            host_namespaces: host_namespaces(),
            rootfs: Rootfs::Overlay {
                layers: list.push(layers.as_fd()),
                lower: options.lower,
                directory: None,
                base,
                container: list.push(container.as_fd()),
                userxattr: self.rootless,
            },
            spaces: coble_protocol::Spaces::default(),
            hostname: "box".into(),
            domainname: None,
            accounts: None,
            process: options.process,
            files: options.files,
            masked_paths: options.masked.iter().map(ToString::to_string).collect(),
            readonly_paths: options.readonly.iter().map(ToString::to_string).collect(),
            devices: devices
                .iter()
                .map(|(name, major, minor)| Device {
                    name: name.to_string(),
                    major: *major,
                    minor: *minor,
                    mode: 0o666,
                    block: false,
                    uid: 0,
                    gid: 0,
                })
                .collect(),
            shm_size: 1 << 20,
            readonly_root: options.readonly_root,
            init: false,
            cgroup_home: None,
            oom: None,
            cgroup_procs: options.cgroup.iter().map(|fd| list.push(fd.as_fd())).collect(),
            cgroup_view: options.view,
            stdio,
            lifetime: match &options.session {
                Some(pidfd) => Lifetime::Session(list.push(pidfd.as_fd())),
                None => Lifetime::Detached(list.push(this.as_fd())),
            },
            once: options.once,
            run_dir: list.push(run_dir.as_fd()),
            lock: list.push(lock.as_fd()),
            sysctls: Vec::new(),
            maps: None,
            journal: 0,
            health: None,
            restart: None,
            run_timeout: None,
        };
        let userns =
            options.userns.or(self.rootless.then_some(UserNamespace::Single { uid: USER, gid: USER }));
        control
            .send(
                &Launch::Monitor(Ground {
                    userns,
                    network: options.network,
                    shared_pids: false,
                    mapped: false,
                    made: None,
                }),
                &[],
            )
            .unwrap();
        control.send(&spec, list.as_slice()).unwrap();
        Launched { control, shim, stdout, stderr }
    }

    /// Starts a container that must start.
    pub fn start(&self, options: Options) -> Running {
        match self.try_start(options) {
            Ok(running) => running,
            Err(failure) => panic!("{failure:?} {}", String::from_utf8_lossy(&failure.object)),
        }
    }

    pub fn try_start(&self, options: Options) -> Result<Running, Failure> {
        let commit = options.commit && !options.once;
        let Launched { control, mut shim, stdout, stderr } = self.launch(options);
        let (report, mut fds) = control.recv::<Report>().unwrap().expect("a report");
        let status = shim.wait().unwrap();
        match report {
            Report::Started(started) => {
                assert!(status.success());
                if commit {
                    control.send(&Commit, &[]).unwrap();
                }
                let (monitor, program) = (fds.take_nth(0).unwrap(), fds.take_nth(1).unwrap());
                let _ender = Ender(monitor.try_clone().unwrap());
                Ok(Running { _ender, control, started: *started, monitor, program, stdout, stderr })
            }
            Report::Failed(failure) => {
                // The monitor goes too, at once.
                assert!(control.recv::<Report>().unwrap().is_none());
                self.free();
                assert!(!self.path("run/ctl").exists());
                Err(failure)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Starts a container that must fail.
    pub fn fails(&self, options: Options) -> Failure {
        match self.try_start(options) {
            Err(failure) => failure,
            Ok(running) => panic!("it started: {:?}", running.started),
        }
    }

    /// Runs a container to its end.
    pub fn run(&self, options: Options) -> Done {
        self.start(options).finish(self)
    }

    /// The record of the end.
    pub fn record(&self) -> ExitRecord {
        ExitRecord::decode(&fs::read(self.path("run").join(EXIT_FILE)).unwrap()).unwrap()
    }

    /// Waits until nobody holds the lock, as the next engine does: what another thread forks has a copy of it until it is another program.
    pub fn free(&self) {
        let lock = File::open(self.path("run/lock")).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            assert!(Instant::now() < end, "the lock is held");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A connection to the monitor.
    pub fn connect(&self) -> Connection {
        Connection::new(self.socket().into())
    }

    pub fn socket(&self) -> UnixStream {
        let path = self.path("run/ctl");
        let connect = || {
            if self.rootless {
                // Of this thread only; the monitor answers nobody but its own user.
                let (uid, gid) = (rustix::thread::Uid::from_raw(USER), rustix::thread::Gid::from_raw(USER));
                rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
                rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            }
            UnixStream::connect(&path).unwrap()
        };
        let socket = std::thread::scope(|scope| scope.spawn(connect).join().unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(PATIENCE as u64))).unwrap();
        socket
    }

    /// The whole log as (stream, data).
    pub fn log(&self) -> Vec<(u8, Vec<u8>)> {
        let bytes = fs::read(self.path("log")).unwrap();
        let mut rest = &bytes[..];
        let mut records = Vec::new();
        while let Some((header, more)) = rest.split_first_chunk::<16>() {
            let frame = LogFrame::decode(header).expect("a header");
            let (data, more) = more.split_at(frame.length as usize);
            records.push((frame.stream, data.to_vec()));
            rest = more;
        }
        assert!(rest.is_empty());
        records
    }
}

impl Running {
    /// Waits for the end.
    pub fn finish(self, engine: &Engine) -> Done {
        let (out, err) = (self.stdout, self.stderr);
        let reader = std::thread::spawn(move || text(out));
        let stderr = text(err);
        let stdout = reader.join().unwrap();
        let (report, _) = self.control.recv::<Report>().unwrap().expect("exited");
        let Report::Exited(exit) = report else { panic!("{report:?}") };
        // All is done before it is told.
        assert_eq!(engine.record().exit, exit);
        engine.free();
        assert!(self.control.recv::<Report>().unwrap().is_none());
        gone(&self.monitor);
        Done { started: self.started, exit, stdout, stderr }
    }
}

/// Runs another program: the connection, and the pidfd and output if it runs.
pub fn exec(
    engine: &Engine,
    process: ProcessSpec,
) -> (Connection, Result<(OwnedFd, OwnedFd, OwnedFd), Failure>) {
    let connection = engine.connect();
    let null = File::open("/dev/null").unwrap();
    let ((stdout, out), (stderr, err)) = (pipe(), pipe());
    connection.send(&Request::Exec(Box::new(process)), &[null.as_fd(), out.as_fd(), err.as_fd()]).unwrap();
    drop((out, err));
    let result = match connection.recv::<Response>().unwrap().expect("an answer") {
        (Response::Running { .. }, mut fds) => Ok((fds.take_nth(0).unwrap(), stdout, stderr)),
        (Response::Failed(failure), _) => Err(failure),
        other => panic!("{other:?}"),
    };
    (connection, result)
}

/// Runs another program to its end.
pub fn exec_done(engine: &Engine, process: ProcessSpec) -> (i32, String, String) {
    let (connection, result) = exec(engine, process);
    let (_, stdout, stderr) = result.unwrap();
    let (stdout, stderr) = (text(stdout), text(stderr));
    match connection.recv::<Response>().unwrap().expect("an exit") {
        (Response::Exited(exit), _) => (exit.code, stdout, stderr),
        other => panic!("{other:?}"),
    }
}

impl Drop for Ender {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.0, rustix::process::Signal::KILL);
    }
}

/// Waits until the process of the pidfd has ended.
pub fn gone(pidfd: &OwnedFd) {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let time = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
    assert_eq!(poll(&mut fds, Some(&time)).unwrap(), 1, "the process is still there");
}

pub fn kill(pidfd: &OwnedFd) {
    rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL).unwrap();
}

pub fn text(fd: OwnedFd) -> String {
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    text
}

/// Reads exactly one line.
pub fn line(fd: &OwnedFd) -> String {
    let mut line = String::new();
    let mut byte = [0];
    while rustix::io::read(fd, &mut byte).unwrap() == 1 && byte != *b"\n" {
        line.push(char::from(byte[0]));
    }
    line
}

pub fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

fn null() -> std::process::Stdio {
    std::process::Stdio::null()
}

/// The namespaces of this process.
fn host_namespaces() -> Vec<(String, u64)> {
    let inode = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, std::os::unix::fs::MetadataExt::ino(&fs::metadata(entry.path()).unwrap()))
    };
    let all = fs::read_dir("/proc/self/ns").unwrap().map(inode);
    all.filter(|(name, _)| !name.ends_with("_for_children") && name != "time").collect()
}
