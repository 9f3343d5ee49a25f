//! Children of a monitor whose ends it does not hear of, or not at once: killed on their way, or kept by whoever traces them.

#![allow(clippy::unwrap_used)]

mod engine;

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use coble_protocol::*;
use engine::*;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

/// The process id of a pidfd.
fn pid(pidfd: &OwnedFd) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    info.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap().trim().parse().unwrap()
}

/// The fields of a process's `stat` after its name, if it is there.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

fn children(parent: i32) -> Vec<i32> {
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string())).collect()
}

/// Clock ticks that a process has used.
fn ticks(pid: i32) -> u64 {
    let stat = stat(pid).unwrap();
    stat[11].parse::<u64>().unwrap() + stat[12].parse::<u64>().unwrap()
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "it does not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn ptrace(request: libc::c_uint, pid: i32, data: i64) {
    // SAFETY: no request that is made here has a pointer.
    let done = unsafe { libc::ptrace(request as _, pid, 0, data) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// What every process that joins the container writes to before it does anything else: as long as it is full, they wait.
struct Gate {
    read: OwnedFd,
    write: OwnedFd,
}

impl Gate {
    fn new() -> Gate {
        let (read, write) = pipe();
        Gate { read, write }
    }

    /// In the place of a `cgroup.procs`.
    fn end(&self) -> OwnedFd {
        self.write.try_clone().unwrap()
    }

    fn shut(&self) {
        // Another one, since that it does not wait belongs to all copies.
        let path = format!("/proc/self/fd/{}", self.write.as_raw_fd());
        let write = rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).unwrap();
        while rustix::io::write(&write, &[0; 4096]) != Err(Errno::AGAIN) {}
    }

    fn open(&self) {
        assert!(rustix::io::read(&self.read, &mut [0; 65536]).unwrap() > 0);
    }
}

/// Asks for a program; the process that is on its way to it, which waits at the gate.
fn ask(engine: &Engine, running: &Running, process: ProcessSpec) -> (Connection, i32) {
    let known = children(pid(&running.monitor));
    let connection = engine.connect();
    let null = fs::File::open("/dev/null").unwrap();
    let fds = [null.as_fd(); 3];
    let fds = if process.terminal.is_some() { &fds[..0] } else { &fds[..] };
    connection.send(&Request::Exec(Box::new(process)), fds).unwrap();
    let new = || children(pid(&running.monitor)).into_iter().find(|pid| !known.contains(pid));
    (connection, until(new))
}

fn failure(connection: &Connection) -> Failure {
    match connection.recv::<Response>().unwrap().unwrap() {
        (Response::Failed(failure), _) => failure,
        other => panic!("{other:?}"),
    }
}

/// That the monitor rests: it is not looking at the same thing again and again.
fn rests(running: &Running) {
    let before = ticks(pid(&running.monitor));
    std::thread::sleep(Duration::from_millis(500));
    let used = ticks(pid(&running.monitor)) - before;
    assert!(used < 20, "it used {used} ticks of 50");
}

#[test]
fn who_goes_on_when_its_maker_was_killed_before_it_told_of_itself_leaves_nothing() {
    let engine = Engine::new();
    let gate = Gate::new();
    let running =
        engine.start(with(shell("while true; do sleep 1000; done"), |o| o.cgroup = Some(gate.end())));
    gate.shut();
    let (connection, joiner) = ask(&engine, &running, process(&["sh", "-c", "sleep 1000"]));
    ptrace(libc::PTRACE_SEIZE, joiner, libc::PTRACE_O_TRACEVFORK.into());
    gate.open();
    let wait = |pid| {
        rustix::process::waitpid(Pid::from_raw(pid), WaitOptions::from_bits_retain(libc::__WALL as u32))
    };
    // It has just made the one that enters, which stops, too.
    assert!(wait(joiner).unwrap().unwrap().1.stopped());
    let sibling = until(|| children(pid(&running.monitor)).into_iter().find(|pid| *pid > joiner));
    assert!(wait(sibling).unwrap().unwrap().1.stopped());
    rustix::process::kill_process(Pid::from_raw(joiner).unwrap(), Signal::KILL).unwrap();
    assert!(wait(joiner).unwrap().unwrap().1.signaled());
    // The monitor may have ended it already, with its group.
    // SAFETY: this request has no pointer.
    let _ = unsafe { libc::ptrace(libc::PTRACE_DETACH as _, sibling, 0, 0) };

    let failure = failure(&connection);
    assert_eq!((failure.step, failure.errno), (Step::Join, libc::ESRCH), "{failure:?}");
    until(|| {
        // Who traces it hears of its end first.
        let ended = WaitOptions::NOHANG | WaitOptions::from_bits_retain(libc::__WALL as u32);
        let _ = rustix::process::waitpid(Pid::from_raw(sibling), ended);
        stat(sibling).is_none().then_some(())
    });
    rests(&running);
    // The connection and the monitor are still good, and the container ends.
    gate.open();
    assert_eq!(exec_done(&engine, process(&["echo", "fine"])).1, "fine\n");
    kill(&running.program);
    assert_eq!(running.finish(&engine).exit.code, 137);
}

#[test]
fn without_a_descriptor_for_it_a_program_does_not_run() {
    let engine = Engine::new();
    let gate = Gate::new();
    let running =
        engine.start(with(shell("while true; do sleep 1000; done"), |o| o.cgroup = Some(gate.end())));
    let monitor = pid(&running.monitor);
    let limit = |number: Option<u64>| {
        let of = Pid::from_raw(monitor);
        let old = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let new = rustix::process::Rlimit { current: number.or(old.current), maximum: old.maximum };
        rustix::process::prlimit(of, rustix::process::Resource::Nofile, new).unwrap();
    };
    let terminal = Some(Terminal { size: TerminalSize { rows: 5, columns: 5 }, given: true });
    for terminal in [None, terminal] {
        gate.shut();
        let wanted = ProcessSpec { terminal, ..process(&["touch", "/ran"]) };
        let (connection, _) = ask(&engine, &running, wanted);
        // Up to the first number that is free.
        let free = (0..).find(|number| !fs::exists(format!("/proc/{monitor}/fd/{number}")).unwrap());
        limit(free);
        gate.open();
        let failure = failure(&connection);
        assert_eq!((failure.step, failure.errno), (Step::Join, libc::EMFILE), "{failure:?}");
        rests(&running);
        limit(None);
        until(|| (children(monitor).len() == 1).then_some(()));
    }
    assert!(!engine.path("container/upper/ran").exists());
    assert_eq!(exec_done(&engine, process(&["echo", "fine"])).1, "fine\n");
    kill(&running.program);
    assert_eq!(running.finish(&engine).exit.code, 137);
}

#[test]
fn a_traced_program_holds_up_nobody() {
    let engine = Engine::new();
    let running = engine.start(shell("while true; do sleep 1000; done"));
    let (connection, result) = exec(&engine, process(&["sleep", "1000"]));
    let (program, ..) = result.unwrap();
    // As one in the container could: this one is not waited for here, so its end is kept from the monitor.
    ptrace(libc::PTRACE_SEIZE, pid(&program), 0);
    let number = pid(&program);
    kill(&program);
    gone(&program);
    assert_eq!(exec_done(&engine, process(&["echo", "fine"])).1, "fine\n");
    rests(&running);
    let (response, _) = connection.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Exited(Exit { code: 137, signal: None, .. })), "{response:?}");
    rests(&running);
    // The end of the tracing is the end of the process.
    assert_eq!(stat(number).unwrap()[0], "Z");
    rustix::process::waitpid(Pid::from_raw(number), WaitOptions::from_bits_retain(libc::__WALL as u32))
        .unwrap();
    until(|| stat(number).is_none().then_some(()));

    // One that is let go in time is heard of as it ended.
    let (connection, result) = exec(&engine, process(&["sleep", "1000"]));
    let (program, ..) = result.unwrap();
    ptrace(libc::PTRACE_SEIZE, pid(&program), 0);
    let number = pid(&program);
    rustix::process::pidfd_send_signal(&program, Signal::TERM).unwrap();
    let wait = || {
        let options = WaitOptions::from_bits_retain(libc::__WALL as u32);
        rustix::process::waitpid(Pid::from_raw(number), options).unwrap().unwrap().1
    };
    assert!(wait().stopped());
    ptrace(libc::PTRACE_CONT, number, libc::SIGTERM.into());
    gone(&program);
    assert!(wait().signaled());
    let (response, _) = connection.recv::<Response>().unwrap().unwrap();
    assert!(matches!(response, Response::Exited(Exit { code: 143, signal: Some(15), .. })), "{response:?}");
    kill(&running.program);
    assert_eq!(running.finish(&engine).exit.code, 137);
}

#[test]
fn the_end_of_a_traced_container_is_told() {
    let engine = Engine::new();
    let running = engine.start(shell("while true; do sleep 1000; done"));
    let number = pid(&running.program);
    ptrace(libc::PTRACE_SEIZE, number, 0);
    kill(&running.program);
    gone(&running.program);
    rests(&running);
    let (report, _) = running.control.recv::<Report>().unwrap().unwrap();
    assert!(matches!(report, Report::Exited(Exit { code: 137, signal: None, .. })), "{report:?}");
    engine.free();
    rustix::process::waitpid(Pid::from_raw(number), WaitOptions::from_bits_retain(libc::__WALL as u32))
        .unwrap();
    gone(&running.monitor);
}
