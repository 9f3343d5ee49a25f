//! The shim as the engine sees it: containers that run, that fail to start, and that are ended.

#![allow(clippy::unwrap_used)]

mod engine;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use coble_protocol::*;
use engine::*;

/// Waits for something that nobody tells of.
fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_program_runs_and_its_end_is_told() {
    let engine = Engine::new();
    let done = engine.run(shell("echo out; echo err >&2; exit 7"));
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!((done.exit.code, done.exit.signal), (7, None));
    assert!(done.started.warnings.is_empty(), "{:?}", done.started.warnings);
    let steps: Vec<Step> = done.started.timings.iter().map(|(step, _)| *step).collect();
    for step in [Step::Clone, Step::RootMount, Step::PivotRoot, Step::Mount, Step::Ready, Step::Exec] {
        assert!(steps.contains(&step), "{step:?} in {steps:?}");
    }
    assert!(done.started.timings.is_sorted_by_key(|(_, time)| *time));
    assert!(engine.record().warnings.is_empty());
    assert!(done.started.started_at <= done.exit.finished_at);

    let again = engine.run(shell("kill -9 $$"));
    assert_eq!((again.exit.code, again.exit.signal), (0, None), "process 1 is safe from itself");
    let again = engine.run(shell("sh -c 'kill -SEGV $$'; exit $?"));
    assert_eq!(again.exit.code, 139);
}

#[test]
fn the_program_is_isolated() {
    let engine = Engine::new();
    let script = "
        id; hostname; pwd; ls /proc/self/fd | wc -l; cat /proc/self/status; ip -o addr; ip -o link show lo
        cat /proc/keys | wc -c; ls /sys/firmware | wc -l; ls /sys/fs/cgroup | wc -l
        echo 1 > /proc/sys/kernel/panic && echo WRITTEN; mkdir /sys/x && echo WRITTEN
        for f in null zero full random urandom tty; do stat -c '%n %F %a %t:%T' /dev/$f; done
        for f in fd stdin stdout stderr ptmx core; do readlink /dev/$f; done
        test -c /dev/pts/ptmx && echo PTMX; test -d /dev/mqueue && echo MQ; echo x > /dev/shm/y && echo SHM
        ls -1 /proc | grep -c '^[0-9]'; echo $HOME; cat /proc/self/mountinfo; env";
    let done = engine.run(shell(script));
    let out = &done.stdout;
    let has = |line: &str| assert!(out.lines().any(|l| l == line), "{line:?} in:\n{out}\n{}", done.stderr);
    has("uid=0(root) gid=0(root) groups=0(root)");
    has("box");
    has("/");
    // 0, 1, 2 and the directory itself.
    has("4");
    for (name, value) in
        [("Inh", 0), ("Prm", CAPABILITIES), ("Eff", CAPABILITIES), ("Bnd", CAPABILITIES), ("Amb", 0)]
    {
        has(&format!("Cap{name}:\t{value:016x}"));
    }
    for line in [
        "NoNewPrivs:\t1",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
        "SHM",
        "PTMX",
        "MQ",
        "/root",
    ] {
        has(line);
    }
    assert!(out.contains("127.0.0.1/8") && out.contains("LOOPBACK,UP"), "{out}");
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        assert!(out.contains(&format!("/dev/{name} character special file 666 ")), "{out}");
    }
    for target in ["/proc/self/fd", "/proc/self/fd/0", "pts/ptmx", "/proc/kcore", "HOME=/root"] {
        has(target);
    }
    assert_eq!(
        out.matches("\n0\n").count() + out.matches("\n0\n0\n").count(),
        3,
        "masked places are empty:\n{out}"
    );
    assert!(!out.contains("WRITTEN"), "{out}");
    // Nothing of the host's mounts.
    let host = engine.dir.path().display().to_string();
    assert!(!out.contains(&host), "{out}");
    assert!(!out.contains(" /old") && !out.contains(" ext4 "), "{out}");

    let got = &done.started.isolation;
    assert_eq!((got.effective, got.permitted, got.bounding), (CAPABILITIES, CAPABILITIES, CAPABILITIES));
    assert_eq!((got.inheritable, got.ambient, got.no_new_privileges, got.seccomp), (0, 0, true, 0));
    assert_eq!((got.uid, got.gid, got.groups.as_slice()), (0, 0, &[0][..]));
    for (name, own, host) in &got.namespaces {
        assert_eq!(own == host, name == "user", "{name}");
        assert_eq!(*host, fs::metadata(format!("/proc/self/ns/{name}")).unwrap().ino(), "{name}");
    }
    assert_eq!(got.namespaces.len(), 7);
    assert_eq!(got.masked_paths, ["/proc/keys", "/proc/timer_list", "/sys/firmware"]);
    assert_eq!(got.readonly_paths, ["/proc/sys", "/proc/irq"]);
    assert_eq!(got.cgroup, fs::read_to_string("/proc/self/cgroup").unwrap());
    assert!(got.root_mount.contains(" / / rw,nodev,"), "{}", got.root_mount);
    assert!(got.uid_map.split_ascii_whitespace().eq(["0", "0", "4294967295"]));
}

#[test]
fn what_a_launch_may_change() {
    let engine = Engine::new();
    let done = engine.run(with(
        shell("touch /x; touch /tmp/x; touch /dev/shm/x && echo shm; echo hi >/etc/hosts"),
        |o| {
            o.readonly_root = true;
            o.files = vec![ProvidedFile { path: "/etc/hosts".into(), content: b"h".to_vec() }];
            o.network = Network::Host;
        },
    ));
    assert_eq!(done.stderr.matches("Read-only file system").count(), 3, "{}", done.stderr);
    assert_eq!(done.stdout, "shm\n");
    assert!(done.started.isolation.root_mount.contains(" / / ro,nodev"));
    let net = done.started.isolation.namespaces.iter().find(|(name, ..)| name == "net").unwrap();
    assert_eq!(net.1, net.2);

    let done = engine.run(with(
        shell("pwd; id; umask; ulimit -n; ulimit -c; cat /proc/self/status; echo $HOME"),
        |o| {
            o.process.cwd = b"/srv/made/here".to_vec();
            o.process.user = "web".into();
            o.process.additional_groups = vec!["staff".into(), "77".into()];
            o.process.umask = 0o027;
            o.process.rlimits = vec![(7, 100, 200), (200, 1, 1)];
            o.process.no_new_privileges = false;
            o.process.capabilities.ambient = 1 << 10;
        },
    ));
    let out = &done.stdout;
    assert!(
        out.starts_with(
            "/srv/made/here\nuid=33(web) gid=34(web) groups=29(audio),34(web),50(staff),77\n0027\n100\n"
        ),
        "{out}"
    );
    assert!(out.contains("CapEff:\t0000000000000400") && out.contains("CapAmb:\t0000000000000400"), "{out}");
    assert!(out.contains("NoNewPrivs:\t0") && out.ends_with("/home/web\n"), "{out}");
    assert_eq!(done.started.warnings.len(), 1);
    assert_eq!(done.started.warnings[0].step, Step::Rlimit);
    let made = fs::metadata(engine.path("container/upper/srv/made")).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o755));

    let done = engine.run(with(shell("cat /proc/self/status"), |o| o.process.user = "5:6".into()));
    for set in ["Inh", "Prm", "Eff", "Amb"] {
        assert!(done.stdout.contains(&format!("Cap{set}:\t0000000000000000")), "{}", done.stdout);
    }
    assert!(done.stdout.contains("Groups:\t6 \n"), "{}", done.stdout);
}

#[test]
fn standard_streams() {
    let engine = Engine::new();
    let (input, feed) = pipe();
    let running = engine.start(with(shell("cat; echo end"), |o| o.stdin = Some(input)));
    rustix::io::write(&feed, b"fed\n").unwrap();
    assert_eq!(line(&running.stdout), "fed");
    drop(feed);
    assert_eq!(running.finish(&engine).stdout, "end\n");
    // Without a stream it is the container's own null device.
    let done =
        engine.run(shell("stat -L -c '%t:%T' /proc/self/fd/0; cat; stat -L -c %d /dev/null /proc/self/fd/0"));
    let lines: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(lines[0], "1:3");
    assert_eq!(lines[1], lines[2]);
}

#[test]
fn failures_name_the_step() {
    type Change = Box<dyn FnOnce(&mut Options)>;
    let argv = |name: &'static str| -> Change { Box::new(move |o| o.process.argv = vec![name.into()]) };
    let cwd = |name: &'static str| -> Change { Box::new(move |o| o.process.cwd = name.into()) };
    let user = |name: &'static str| -> Change { Box::new(move |o| o.process.user = name.into()) };
    let cases: Vec<(Change, Step, i32)> = vec![
        (argv("nothing"), Step::FindProgram, libc::ENOENT),
        (argv("/bin/nothing"), Step::FindProgram, libc::ENOENT),
        (argv("/bin/script"), Step::FindProgram, libc::ENOENT),
        (argv(""), Step::FindProgram, libc::ENOENT),
        (argv("/etc"), Step::Exec, libc::EACCES),
        (argv("/etc/plain"), Step::Exec, libc::EACCES),
        (argv("/bin/data"), Step::Exec, libc::ENOEXEC),
        (argv("/bin/data/x"), Step::Exec, libc::ENOTDIR),
        (Box::new(|o| o.process.argv = vec![]), Step::FindProgram, libc::ENOENT),
        (Box::new(|o| o.process.argv = vec![b"a\0b".to_vec()]), Step::Exec, 0),
        (user("nobody"), Step::User, 0),
        (user("-1"), Step::User, 0),
        (user("4294967295"), Step::User, 0),
        (user("root:none"), Step::Group, 0),
        (cwd("etc"), Step::WorkingDirectory, 0),
        (cwd("/etc/plain"), Step::WorkingDirectory, libc::ENOTDIR),
        (cwd("/proc/self/cwd"), Step::WorkingDirectory, libc::ELOOP),
        (cwd("/proc/self/root/etc"), Step::WorkingDirectory, libc::ELOOP),
        (
            Box::new(|o| (o.process.cwd, o.process.create_cwd) = (b"/none".to_vec(), false)),
            Step::WorkingDirectory,
            libc::ENOENT,
        ),
        (Box::new(|o| o.process.seccomp = vec![0; 7]), Step::Seccomp, 0),
        (Box::new(|o| o.process.seccomp = vec![0xff; 8]), Step::Seccomp, libc::EINVAL),
        (Box::new(|o| o.lower = vec!["missing".into()]), Step::RootMount, libc::ENOENT),
        (Box::new(|o| o.lower = vec!["1:/etc".into()]), Step::RootMount, 0),
        (Box::new(|o| o.lower = vec!["../layers/1".repeat(400)]), Step::RootMount, 0),
        (
            Box::new(|o| o.cgroup = Some(fs::File::open("/dev/null").unwrap().into())),
            Step::Cgroup,
            libc::EBADF,
        ),
        (Box::new(|o| o.masked = vec!["relative"]), Step::Mask, 0),
    ];
    let engine = Engine::new();
    for (n, (change, step, errno)) in cases.into_iter().enumerate() {
        println!("case {n}");
        let failure = engine.fails(with(shell("true"), change));
        assert_eq!((failure.step, failure.errno), (step, errno), "{failure:?}");
    }
    for n in 0..40 {
        let path = format!("/proc/self/fd/{n}");
        let failure = engine.fails(with(shell("true"), |o| o.process.cwd = path.into()));
        assert_eq!(failure.step, Step::WorkingDirectory, "{failure:?}");
    }
    let script = engine.fails(with(shell("true"), |o| o.process.argv = vec![b"/bin/script".to_vec()]));
    assert!(script.detail.contains("interpreter"));
}

#[test]
fn an_image_cannot_redirect_the_kernels_file_systems() {
    for name in ["proc", "sys", "dev"] {
        for kind in ["absolute", "relative", "file", "dangling"] {
            let engine = Engine::new();
            let canary = engine.path("canary");
            fs::create_dir(&canary).unwrap();
            fs::remove_dir(engine.image(name)).unwrap();
            match kind {
                "absolute" => symlink(&canary, engine.image(name)).unwrap(),
                "relative" => symlink("tmp", engine.image(name)).unwrap(),
                "dangling" => symlink("/nowhere", engine.image(name)).unwrap(),
                _ => fs::write(engine.image(name), "").unwrap(),
            }
            let failure = engine.fails(shell("true"));
            assert_eq!(
                (failure.step, failure.object),
                (Step::Mount, format!("/{name}").into_bytes()),
                "{kind}"
            );
            assert!(fs::read_dir(&canary).unwrap().next().is_none());
        }
    }
    // Missing ones are made, and what an image has below them does not count.
    let engine = Engine::new();
    for name in ["proc", "sys"] {
        fs::remove_dir(engine.image(name)).unwrap();
    }
    for name in ["null", "shm", "pts", "mqueue", "ptmx", "fd"] {
        symlink("/etc/plain", engine.image("dev").join(name)).unwrap();
    }
    let done =
        engine.run(shell("echo x > /dev/null; test -c /dev/null && test -d /dev/shm && wc -c < /etc/plain"));
    assert_eq!(done.stdout, "0\n", "{}", done.stderr);
}

#[test]
fn provided_files_go_where_they_should_and_nowhere_else() {
    let file =
        |path: &str| ProvidedFile { path: path.into(), content: format!("content of {path}\n").into_bytes() };
    let engine = Engine::new();
    let canary = engine.path("canary");
    fs::write(&canary, "untouched").unwrap();
    symlink(&canary, engine.image("etc/hosts")).unwrap();
    symlink("../run/systemd/resolv.conf", engine.image("etc/resolv.conf")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        engine.image("etc/hostname"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    symlink("/proc/sys/kernel/hostname", engine.image("etc/kernel")).unwrap();
    fs::write(engine.image("etc/plain"), "image").unwrap();
    let paths =
        ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/etc/plain", "/new/dir/plain", "/etc/kernel"];
    let script =
        "cat /etc/hosts /etc/resolv.conf /etc/hostname /etc/plain /new/dir/plain; echo more >> /etc/plain
        cat /etc/plain; cat /proc/sys/kernel/hostname";
    let done = engine.run(with(shell(script), |o| o.files = paths.map(file).to_vec()));
    let mut expected: String = paths[..5].iter().map(|path| format!("content of {path}\n")).collect();
    expected.push_str("content of /etc/plain\nmore\nbox\n");
    assert_eq!(done.stdout, expected, "{}", done.stderr);
    assert_eq!(fs::read_to_string(&canary).unwrap(), "untouched");
    assert_eq!(fs::read_to_string(engine.image("etc/plain")).unwrap(), "image");
    // Nothing of the content is left in the container's layer, only empty places for what was missing.
    assert_eq!(fs::metadata(engine.path("container/upper/run/systemd/resolv.conf")).unwrap().len(), 0);
    assert_eq!(fs::metadata(engine.path("container/upper/new/dir/plain")).unwrap().len(), 0);
    assert!(!engine.path("container/upper/etc/plain").exists());

    fs::remove_file(engine.image("etc/hosts")).unwrap();
    fs::create_dir(engine.image("etc/hosts")).unwrap();
    let failure = engine.fails(with(shell("true"), |o| o.files = vec![file("/etc/hosts")]));
    assert_eq!((failure.step, failure.errno), (Step::ProvideFile, libc::EISDIR));
}

#[test]
fn odd_user_databases_are_refused_when_they_are_needed() {
    for kind in ["fifo", "device", "directory", "huge", "canary"] {
        let engine = Engine::new();
        let passwd = engine.image("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        let node = |kind, number| {
            rustix::fs::mknodat(rustix::fs::CWD, &passwd, kind, rustix::fs::Mode::RWXU, number).unwrap();
        };
        let mut step = Step::User;
        match kind {
            "fifo" => node(rustix::fs::FileType::Fifo, 0),
            "device" => node(rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5)),
            "directory" => fs::create_dir(&passwd).unwrap(),
            "huge" => fs::File::create(&passwd).unwrap().set_len(10 << 30).unwrap(),
            _ => {
                let canary = engine.path("canary");
                fs::write(&canary, "web:x:0:0::/:\n").unwrap();
                symlink(&canary, &passwd).unwrap();
                step = Step::User;
            }
        }
        let failure = engine.fails(with(shell("true"), |o| o.process.user = "web".into()));
        assert_eq!(failure.step, step, "{kind}: {failure:?}");
        for user in ["", "0:0", "7:8"] {
            engine.run(with(shell("true"), |o| o.process.user = user.into()));
        }
    }
}

#[test]
fn seccomp_filters_apply_with_and_without_new_privileges() {
    // Architecture is not looked at: the test's filter only has to be seen to work. mkdir gets EPERM.
    let instruction = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
        bytes
    };
    // What the C library calls for mkdir(2).
    #[cfg(target_arch = "x86_64")]
    let mkdir = libc::SYS_mkdir as u32;
    #[cfg(not(target_arch = "x86_64"))]
    let mkdir = libc::SYS_mkdirat as u32;
    let filter = [
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, mkdir),
        instruction(0x06, 0, 0, 0x0005_0000 | libc::EPERM as u32),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ]
    .concat();
    let engine = Engine::new();
    for no_new_privileges in [true, false] {
        let options = with(shell("mkdir /x; cat /proc/self/status"), |o| {
            o.process.seccomp = filter.clone();
            o.process.no_new_privileges = no_new_privileges;
        });
        let done = engine.run(options);
        assert!(done.stderr.contains("Operation not permitted"), "{}", done.stderr);
        assert!(done.stdout.contains("Seccomp:\t2"), "{}", done.stdout);
        assert_eq!(done.started.isolation.seccomp, 2);
        assert_eq!(done.started.isolation.no_new_privileges, no_new_privileges);
    }
}

#[test]
fn exec_runs_programs_in_the_container() {
    let engine = Engine::new();
    let running = engine.start(shell("echo up; while true; do sleep 1000; done"));
    assert_eq!(line(&running.stdout), "up");
    assert_eq!(fs::symlink_metadata(engine.path("run/ctl")).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::symlink_metadata(engine.path("run/ctl")).unwrap().file_type().is_socket());

    let inner = |script: &str| process(&["sh", "-c", script]);
    let script = "echo $$; ls /proc/self/fd | wc -l; hostname; cat /proc/self/status; for n in mnt pid net ipc uts cgroup; do
        test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo DIFFERENT $n; done; exit 3";
    let (code, out, err) = exec_done(&engine, inner(script));
    assert_eq!(code, 3, "{out} {err}");
    assert!(out.contains("\n4\nbox\n") && !out.contains("DIFFERENT"), "{out}");
    assert!(
        out.contains(&format!("CapBnd:\t{CAPABILITIES:016x}")) && out.contains("CapInh:\t0000000000000000")
    );
    assert!(out.contains("NoNewPrivs:\t1"));

    let (_, out, _) =
        exec_done(&engine, ProcessSpec { user: "web".into(), ..inner("id; cat /proc/self/status") });
    assert!(out.starts_with("uid=33(web) gid=34(web) groups=29(audio),34(web)\n"), "{out}");
    assert!(out.contains("CapEff:\t0000000000000000"), "{out}");

    for (process, step, errno) in [
        (process(&["nothing"]), Step::FindProgram, libc::ENOENT),
        (process(&["/etc"]), Step::Exec, libc::EACCES),
        (ProcessSpec { user: "-1".into(), ..inner("") }, Step::User, 0),
        (ProcessSpec { cwd: b"/proc/self/fd/5".to_vec(), ..inner("") }, Step::WorkingDirectory, libc::ELOOP),
        (
            ProcessSpec { cwd: b"/none".to_vec(), create_cwd: false, ..inner("") },
            Step::WorkingDirectory,
            libc::ENOENT,
        ),
    ] {
        let (connection, result) = exec(&engine, process);
        let failure = result.err().unwrap();
        assert_eq!((failure.step, failure.errno), (step, errno), "{failure:?}");
        // The connection is still good.
        connection.send(&Request::Signal(0), &[]).unwrap();
        assert!(matches!(connection.recv().unwrap().unwrap(), (Response::Ok, _)));
    }

    // Its pidfd is the program's.
    let (connection, result) = exec(&engine, process(&["sleep", "1000"]));
    let (pidfd, ..) = result.unwrap();
    kill(&pidfd);
    let (response, _) = connection.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Exited(Exit { code: 137, signal: Some(9), .. })), "{response:?}");

    // Whoever goes away leaves the program running; whoever waits hears of the end; what runs ends with the container.
    let (connection, result) = exec(&engine, process(&["sleep", "1000"]));
    let (orphan, ..) = result.unwrap();
    drop(connection);
    let (busy, result) = exec(&engine, process(&["sleep", "1000"]));
    let (other, ..) = result.unwrap();
    let waiting = engine.connect();
    waiting.send(&Request::Wait, &[]).unwrap();
    let killer = engine.connect();
    killer.send(&Request::Signal(999), &[]).unwrap();
    let (response, _) = killer.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Failed(Failure { step: Step::Signal, errno: libc::EINVAL, .. })));
    killer.send(&Request::Signal(libc::SIGKILL), &[]).unwrap();
    assert!(matches!(killer.recv().unwrap().unwrap(), (Response::Ok, _)));
    let (response, _) = waiting.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Exited(Exit { code: 137, .. })), "{response:?}");
    let (response, _) = busy.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Exited(Exit { code: 137, .. })), "{response:?}");
    gone(&orphan);
    gone(&other);
    assert_eq!(running.finish(&engine).exit.code, 137);
    assert!(!engine.path("run/ctl").exists());
}

#[test]
fn bad_clients_hold_up_nobody() {
    use std::io::{Read, Write};
    let engine = Engine::new();
    let running = engine.start(shell("while true; do sleep 1000; done"));
    // Half a frame, nonsense, an endless frame, an exec without streams, requests that nobody reads the answers of.
    let mut half = engine.socket();
    half.write_all(&[9, 0, 0]).unwrap();
    let mut nonsense = engine.socket();
    nonsense.write_all(&[1, 0, 0, 0, 77]).unwrap();
    let closed = |socket: &mut std::os::unix::net::UnixStream| {
        let read = socket.read(&mut [0; 8]);
        matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    };
    assert!(closed(&mut nonsense));
    let mut endless = engine.socket();
    endless.write_all(&[0xff; 4]).unwrap();
    assert!(closed(&mut endless));
    let empty = engine.connect();
    empty.send(&Request::Exec(Box::new(process(&["true"]))), &[]).unwrap();
    let (response, _) = empty.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Failed(Failure { step: Step::Protocol, .. })), "{response:?}");
    let deaf = engine.connect();
    while deaf.try_send(&Request::Signal(0), &[]).is_ok() {}
    let wait = |_| {
        let connection = engine.connect();
        connection.send(&Request::Wait, &[]).unwrap();
        connection
    };
    let many: Vec<Connection> = (0..250).map(wait).collect();
    // More who say nothing than are kept.
    let _idle: Vec<Connection> = (0..250).map(|_| engine.connect()).collect();
    assert_eq!(exec_done(&engine, process(&["echo", "fine"])).1, "fine\n");
    kill(&running.program);
    for connection in &many {
        assert!(matches!(connection.recv().unwrap().unwrap(), (Response::Exited(_), _)));
    }
    assert_eq!(running.finish(&engine).exit.code, 137);
}

#[test]
fn logs_are_whole_records_in_order() {
    let engine = Engine::new();
    let script =
        "echo one; read x; echo two >&2; read x; echo three; dd if=/dev/zero bs=64k count=100 2>/dev/null";
    let (input, feed) = pipe();
    let running = engine.start(with(shell(script), |o| {
        o.log = true;
        o.stdin = Some(input);
    }));
    // Each is in the log before the next one is written: a header of 16 bytes, and 4.
    for records in [1, 2] {
        until("a record", || fs::metadata(engine.path("log")).unwrap().len() >= records * 20);
        rustix::io::write(&feed, b"x\n").unwrap();
    }
    let done = running.finish(&engine);
    assert_eq!(done.exit.code, 0);
    let log = engine.log();
    let short: Vec<_> =
        log.iter().take(3).map(|(stream, data)| (*stream, &data[..data.len().min(6)])).collect();
    assert_eq!(short[..2], [(1, &b"one\n"[..]), (2, &b"two\n"[..])]);
    let out: usize = log.iter().filter(|(stream, _)| *stream == 1).map(|(_, data)| data.len()).sum();
    assert_eq!(out, 4 + 6 + 100 * 65536);
}

/// A small file system, unmounted whatever happens.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: std::path::PathBuf) -> Small {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &path, "tmpfs", flags, Some(c"size=128k")).unwrap();
        Small(path)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_log_that_is_full_loses_output_and_nothing_else() {
    let engine = Engine::new();
    fs::write(engine.path("log"), "").unwrap();
    let tmpfs = engine.path("small");
    fs::create_dir(&tmpfs).unwrap();
    let small = Small::mount(tmpfs);
    fs::remove_file(engine.path("log")).unwrap();
    symlink("small/log", engine.path("log")).unwrap();
    let (input, feed) = pipe();
    let script = "echo begin; read x; dd if=/dev/zero bs=1M count=3; exit 4";
    let running = engine.start(with(shell(script), |o| {
        o.log = true;
        o.stdin = Some(input);
    }));
    until("a record", || fs::metadata(engine.path("log")).unwrap().len() > 0);
    rustix::io::write(&feed, b"x\n").unwrap();
    let done = running.finish(&engine);
    let log = engine.log();
    drop(small);
    assert_eq!(done.exit.code, 4);
    assert_eq!(log[0], (1, b"begin\n".to_vec()));
    let loss = engine.record().warnings;
    assert!(loss.iter().any(|w| w.step == Step::Log && w.errno == libc::ENOSPC), "{loss:?}");
}

#[test]
fn a_session_ends_with_its_process() {
    let engine = Engine::new();
    // Lives until its input ends.
    let mut host = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(host.id() as i32).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    let running = engine.start(with(shell("sleep 1000"), |o| o.session = Some(pidfd)));
    drop(host.stdin.take());
    host.wait().unwrap();
    assert_eq!(running.finish(&engine).exit.code, 137);

    // Gone before the start: nothing starts.
    let mut host = Command::new("true").spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(host.id() as i32).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    host.wait().unwrap();
    let mut launched = engine.launch(with(shell("sleep 1000"), |o| o.session = Some(pidfd)));
    assert!(launched.control.recv::<Report>().unwrap().is_none());
    launched.shim.wait().unwrap();
    engine.free();
}

#[test]
fn what_the_engine_has_not_on_record_ends_with_it() {
    for once in [false, true] {
        let engine = Engine::new();
        let running =
            engine.start(with(shell("echo up; exec sleep 1000"), |o| (o.commit, o.once) = (false, once)));
        assert_eq!(line(&running.stdout), "up");
        drop(running.control);
        gone(&running.program);
        gone(&running.monitor);
        engine.free();
    }
}

#[test]
fn a_container_that_runs_once_leaves_its_lock_to_the_engine_and_no_record() {
    let engine = Engine::new();
    let running = engine.start(with(shell("exit 3"), |o| o.once = true));
    let (report, _) = running.control.recv::<Report>().unwrap().expect("the end");
    assert!(matches!(report, Report::Exited(Exit { code: 3, signal: None, .. })));
    gone(&running.monitor);
    assert!(!engine.path("run").join(EXIT_FILE).exists() && !engine.path("run/ctl").exists());
    assert!(!engine.path("container/work").exists() && engine.path("container/upper").exists());
}

#[test]
fn a_detached_container_outlives_its_engine() {
    let engine = Engine::new();
    let running = engine.start(shell("sleep 1000"));
    drop(running.control);
    assert_eq!(exec_done(&engine, process(&["echo", "still"])).1, "still\n");
    let waiting = engine.connect();
    waiting.send(&Request::Wait, &[]).unwrap();
    kill(&running.program);
    assert!(matches!(waiting.recv().unwrap().unwrap(), (Response::Exited(_), _)));
    gone(&running.monitor);
    assert_eq!(engine.record().exit.code, 137);
}

#[test]
fn nothing_survives_the_monitor() {
    let engine = Engine::new();
    let running = engine.start(shell("trap '' TERM HUP INT; sleep 1000 & sleep 1000 & wait"));
    let (_, result) = exec(&engine, process(&["sleep", "1000"]));
    let (other, ..) = result.unwrap();
    kill(&running.monitor);
    gone(&running.program);
    gone(&other);
    gone(&running.monitor);
    engine.free();
    // The streams of all of them are closed: there is nobody left.
    assert_eq!(text(running.stdout), "");
    // The socket that it left does not keep the next one from starting.
    assert!(engine.path("run/ctl").exists());
    assert_eq!(engine.run(shell("echo again")).stdout, "again\n");
}

#[test]
fn an_engine_that_goes_away_starts_nothing() {
    let engine = Engine::new();
    let (control, mut shim) = engine.shim();
    drop(control);
    assert_eq!(shim.wait().unwrap().code(), Some(0));
    // In the middle of the start, at some moment or other.
    for _ in 0..20 {
        let mut launched = engine.launch(shell("echo never | cat; sleep 1000"));
        drop(launched.control);
        launched.shim.wait().unwrap();
        // The container ends, or had started and belongs to nobody: then its socket is there.
        if let Ok(socket) = std::os::unix::net::UnixStream::connect(engine.path("run/ctl")) {
            let connection = Connection::new(socket.into());
            if connection.send(&Request::Signal(libc::SIGKILL), &[]).is_ok() {
                let _ = connection.recv::<Response>();
            }
        }
        text(launched.stdout);
        let lock = fs::File::open(engine.path("run/lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    }
}

#[test]
fn rootless_with_a_single_id() {
    let engine = Engine::rootless();
    let script = "id; cat /proc/self/uid_map; hostname; test -c /dev/null && echo hi > /dev/null && echo NULL
        mkdir /made && echo MADE; cat /proc/self/status; ls /sys/class/net; echo x > /proc/sys/kernel/panic; ls -A /sys/firmware | wc -l
        stat -c %u:%g /made /etc; ls /proc | grep -c '^[0-9]'; cat /etc/hosts; wc -c < /proc/keys; mknod /dev/x c 1 3";
    let done = engine.run(with(shell(script), |o| {
        o.files = vec![ProvidedFile { path: "/etc/hosts".into(), content: b"HOSTS\n".to_vec() }];
    }));
    let out = &done.stdout;
    for line in ["box", "NULL", "MADE", "0:0", "lo", "HOSTS", "0"] {
        assert!(out.lines().any(|l| l == line), "{line} in {out}\n{}", done.stderr);
    }
    assert!(out.starts_with("uid=0(root) gid=0(root)"), "{out}");
    assert!(
        out.contains(&format!("CapEff:\t{CAPABILITIES:016x}")) && out.contains("CapInh:\t0000000000000000"),
        "{out}"
    );
    assert_eq!(done.stderr.lines().count(), 2, "{}", done.stderr);
    let user = done.started.isolation.namespaces.iter().find(|(name, ..)| name == "user").unwrap();
    assert_ne!(user.1, user.2);
    assert_eq!(done.started.isolation.masked_paths.len(), 3);
    assert!(done.started.isolation.uid_map.contains(&USER.to_string()));
    assert!(done.started.warnings.is_empty(), "{:?}", done.started.warnings);

    let failure = engine.fails(with(shell("true"), |o| o.process.user = "web".into()));
    assert_eq!((failure.step, failure.object.as_slice()), (Step::SetIds, &b"33"[..]));
    let done = engine.run(with(shell("id -u"), |o| o.process.additional_groups = vec!["7".into()]));
    assert_eq!(done.stdout, "0\n");
    assert!(matches!(&done.started.warnings[..], [Failure { step: Step::SetIds, .. }]));
    let done = engine.run(with(shell("ls /sys/class/net; touch /sys/x; mkdir /sys/fs/cgroup/x"), |o| {
        o.network = Network::Host
    }));
    assert_eq!(done.stderr.matches("Read-only").count(), 2, "{} {}", done.stdout, done.stderr);

    let running = engine.start(shell("while true; do sleep 1000; done"));
    let (code, out, err) = exec_done(
        &engine,
        process(&["sh", "-c", "id -u; hostname; cat /proc/self/status; ls -l /proc/1/exe"]),
    );
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.starts_with("0\nbox\n") && out.contains("CapInh:\t0000000000000000"), "{out}");
    kill(&running.monitor);
    gone(&running.program);
}

#[test]
fn rootless_with_ranges() {
    let engine = Engine::new();
    // As the set-id helpers, for the part that matters here: writes the map of a process from outside, at once.
    let helper = |name: &str, file: &str| {
        engine.script(
            name,
            &format!(
                "#!/bin/sh\nmap=/proc/$1/{file}; shift; text=\nwhile [ $# -gt 0 ]; do text=\"$text$1 $2 $3\\n\"; shift 3; done\nprintf \"$text\" > $map\n"
            ),
        )
    };
    let (newuidmap, newgidmap) = (helper("newuidmap", "uid_map"), helper("newgidmap", "gid_map"));
    let ranges = vec![
        IdRange { inside: 0, outside: 0, count: 1 },
        IdRange { inside: 1, outside: 100_000, count: 60_000 },
    ];
    let namespace = |newuidmap: String, newgidmap: String| {
        Some(UserNamespace::Ranges { uids: ranges.clone(), gids: ranges.clone(), newuidmap, newgidmap })
    };
    let done =
        engine.run(with(shell("id; cat /proc/self/uid_map; touch /tmp/x; stat -c %a /dev/pts"), |o| {
            o.userns = namespace(newuidmap.clone(), newgidmap.clone());
            o.process.user = "web".into();
        }));
    assert!(done.stdout.starts_with("uid=33(web) gid=34(web) groups=29(audio),34(web)\n"), "{}", done.stdout);
    assert!(done.stdout.contains("100000      60000"), "{}", done.stdout);
    assert_eq!(fs::metadata(engine.path("container/upper/tmp/x")).unwrap().uid(), 100_032);
    let failure = engine.fails(with(shell("true"), |o| {
        o.userns = namespace(newuidmap.clone(), newgidmap.clone());
        o.process.user = "60001".into();
    }));
    assert_eq!(failure.step, Step::SetIds);

    let newgidmap = engine.script("refusing", "#!/bin/sh\necho it is not allowed >&2; exit 1\n");
    let failure =
        engine.fails(with(shell("true"), |o| o.userns = namespace(newuidmap.clone(), newgidmap.clone())));
    assert_eq!(
        (failure.step, failure.object, failure.detail.as_str()),
        (Step::IdMap, newgidmap.into_bytes(), "it is not allowed")
    );
    let failure =
        engine.fails(with(shell("true"), |o| o.userns = namespace("/no/such".into(), newuidmap.clone())));
    assert_eq!(failure.step, Step::IdMap);
}

#[test]
fn a_shim_started_by_hand_says_what_it_is() {
    // What runs the tests may have a socket of its own at the descriptor of the engine's.
    let output = Command::new("sh").args(["-c", "exec \"$0\" 3<&-"]).arg(shim_program()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("coble"));
}

/// A cgroup of a hierarchy that every host with cgroups has, removed at the end.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn new() -> Cgroup {
        let root = std::path::Path::new("/sys/fs/cgroup");
        let hierarchy = if root.join("cgroup.procs").exists() { root.into() } else { root.join("pids") };
        assert!(
            hierarchy.join("cgroup.procs").exists(),
            "this test needs cgroup v2 or the pids controller of v1"
        );
        let cgroup = hierarchy.join(format!("coble-shim-test-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        Cgroup(cgroup)
    }

    fn procs(&self) -> std::os::fd::OwnedFd {
        fs::OpenOptions::new().write(true).open(self.0.join("cgroup.procs")).unwrap().into()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has just ended may still be leaving it.
        let busy = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ResourceBusy;
        while fs::remove_dir(&self.0).is_err_and(|error| busy(&error)) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn every_process_is_in_the_cgroup() {
    let engine = Engine::new();
    let cgroup = Cgroup::new();
    let name = cgroup.0.file_name().unwrap().to_str().unwrap().to_string();
    let running = engine.start(with(shell("sleep 1000 & while true; do sleep 1000; done"), |o| {
        o.cgroup = Some(cgroup.procs());
    }));
    assert!(running.started.isolation.cgroup.contains(&name), "{}", running.started.isolation.cgroup);
    let (_, out, _) = exec_done(&engine, process(&["sh", "-c", "cat /proc/1/cgroup /proc/self/cgroup"]));
    // Its own view begins there.
    assert!(!out.contains(&name), "{out}");
    assert!(out.lines().any(|line| line == "0::/" || line.ends_with("pids:/")), "{out}");
    let (_, result) = exec(&engine, process(&["sleep", "1000"]));
    let (other, ..) = result.unwrap();
    until("all of them are inside", || {
        fs::read_to_string(cgroup.0.join("cgroup.procs")).unwrap().lines().count() >= 4
    });
    kill(&running.program);
    gone(&other);
    assert_eq!(running.finish(&engine).exit.code, 137);
    assert_eq!(fs::read_to_string(cgroup.0.join("cgroup.procs")).unwrap(), "");
}

#[test]
fn cgroups_are_shown_read_only() {
    for engine in [Engine::new(), Engine::rootless()] {
        let done =
            engine.run(with(shell("cat /sys/fs/cgroup/cgroup.controllers; mkdir /sys/fs/cgroup/x"), |o| {
                o.view = CgroupView::V2;
            }));
        assert!(done.stderr.contains("Read-only file system"), "{}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(done.started.warnings.is_empty(), "{:?}", done.started.warnings);
    }
}

#[test]
fn an_archive_worker_ends_with_its_engine() {
    let engine = Engine::new();
    let (control, mut shim) = engine.shim();
    let (input, _never) = pipe();
    let target = fs::File::open(engine.path("container/upper")).unwrap();
    let mut list = FdList::default();
    let work = ArchiveWork::Apply {
        target: list.push(std::os::fd::AsFd::as_fd(&target)),
        input: list.push(std::os::fd::AsFd::as_fd(&input)),
        below: Below {
            layers: list.push(std::os::fd::AsFd::as_fd(&target)),
            lower: Vec::new(),
            directory: None,
            base: None,
        },
        ready: None,
        userxattr: false,
        limits: Limits::default(),
    };
    let job = ArchiveJob { userns: None, work };
    control.send(&Launch::Archive(Box::new(job)), list.as_slice()).unwrap();
    drop(control);
    shim.wait().unwrap();
}
