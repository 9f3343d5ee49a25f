//! The engine as a Rust program uses it. The behaviour in full is tested over the Python package; this is the proof that the Rust surface alone does the job.
//! Needs what containers need: root, or user namespaces.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use coble::{
    CancelToken, ContainerSpec, Engine, EngineOptions, ErrorKind, ExecSpec, ImportOptions, LogOptions,
    LogSource, PullPolicy, RunOptions, Signal, State, Stdio,
};

struct Fixture {
    _dir: tempfile::TempDir,
    engine: Engine,
    never: CancelToken,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let options =
        EngineOptions::default().data_root(dir.path().join("data")).run_root(dir.path().join("run"));
    let engine = Engine::open(options).unwrap();
    let never = CancelToken::never();
    let items = ["sh", "cat", "echo", "sleep", "true", "false", "id", "env"].map(Into::into);
    engine.images().from_host(&items, "host", ImportOptions::default(), &|_| {}, &never).unwrap();
    Fixture { _dir: dir, engine, never }
}

fn shell(script: &str) -> ContainerSpec {
    ContainerSpec::new("host").command(["sh", "-c", script])
}

/// All containers of a store.
fn all(engine: &Engine) -> coble::Result<Vec<coble::ContainerSummary>> {
    let mut options = coble::ListOptions::default();
    options.all = true;
    engine.containers().list(&options)
}

#[test]
fn a_run_gives_output_and_exit_code_and_leaves_nothing() {
    let Fixture { engine, never, _dir } = fixture();
    let done = engine.run(shell("echo out; echo err >&2; cat; exit 7"), with_input(b"in"), &never).unwrap();
    assert_eq!(
        (done.exit_code, done.stdout.as_slice(), done.stderr.as_slice()),
        (7, &b"out\nin"[..], &b"err\n"[..])
    );
    let isolation = done.isolation.unwrap();
    assert!(isolation.no_new_privileges && isolation.seccomp == "filter");
    assert!(isolation.namespaces.iter().filter(|namespace| namespace.own).count() >= 6);
    let killed = engine.run(shell("sh -c 'kill -9 $$'"), RunOptions::default(), &never).unwrap();
    assert_eq!(killed.exit_code, 137);
    assert!(all(&engine).unwrap().is_empty());
    assert_eq!(engine.verify(&|_| {}, &CancelToken::never()).unwrap(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(_dir.path().join("data/containers")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(_dir.path().join("run/containers")).unwrap().count(), 0);
}

fn with_input(input: &[u8]) -> RunOptions {
    let mut options = RunOptions::default();
    options.input = Some(input.to_vec());
    options
}

#[test]
fn what_cannot_run_says_why() {
    let Fixture { engine, never, _dir } = fixture();
    let kind = |spec| engine.run(spec, RunOptions::default(), &never).unwrap_err().kind();
    assert_eq!(kind(ContainerSpec::new("host").command(["no-such-program"])), ErrorKind::CommandNotFound);
    assert_eq!(kind(ContainerSpec::new("host").command(["/etc/passwd"])), ErrorKind::CommandNotExecutable);
    let mut absent = ContainerSpec::new("absent").command(["true"]);
    absent.pull = PullPolicy::Never;
    assert_eq!(kind(absent), ErrorKind::ImageNotFound);
    let mut nobody = shell("id");
    nobody.user = Some("no-such-user".into());
    assert_eq!(kind(nobody), ErrorKind::UserNotFound);
    let mut options = RunOptions::default();
    options.check = true;
    let error = engine.run(shell("echo why >&2; exit 3"), options, &never).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContainerExit);
    assert_eq!(error.run_result().unwrap().stderr, b"why\n");
    let mut options = RunOptions::default();
    options.timeout = Some(Duration::from_millis(300));
    assert_eq!(engine.run(shell("sleep 60"), options, &never).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(all(&engine).unwrap().is_empty());
}

#[test]
fn a_container_lives_its_life() {
    let Fixture { engine, never, _dir } = fixture();
    let mut spec =
        shell("trap 'echo bye; exit 5' TERM; echo ready; echo warn >&2; while :; do sleep 0.05; done");
    spec.name = Some("web".into());
    let container = engine.containers().create(spec).unwrap();
    assert_eq!(container.state().unwrap(), State::Created);
    assert_eq!(
        engine
            .containers()
            .create({
                let mut s = shell("true");
                s.name = Some("web".into());
                s
            })
            .unwrap_err()
            .kind(),
        ErrorKind::NameInUse
    );
    container.start(Stdio::log(), &never).unwrap();
    assert_eq!(container.state().unwrap(), State::Running);
    assert_eq!(container.start(Stdio::log(), &never).unwrap_err().kind(), ErrorKind::InvalidState);
    assert_eq!(container.remove(false).unwrap_err().kind(), ErrorKind::InvalidState);
    assert!(engine.images().remove("host", true).is_err());

    let mut exec = ExecSpec::new(["sh", "-c", "cat; echo $X; exit 4"]);
    exec.environment = vec![("X".into(), "y".into())];
    let done = container.exec(exec, with_input(b"input "), &never).unwrap();
    assert_eq!((done.exit_code, done.stdout.as_slice()), (4, &b"input y\n"[..]));
    let mut process = container.popen(ExecSpec::new(["sleep", "60"]), Stdio::pipes()).unwrap();
    assert!(process.take_stdout().is_some() && process.take_stdout().is_none());
    assert_eq!(process.poll().unwrap(), None);
    process.send_signal(Signal::KILL).unwrap();
    assert_eq!(process.wait(None, &never).unwrap(), 137);

    // The handler is set before the first line of output.
    let mut following = LogOptions::default();
    following.follow = true;
    let mut log = container.logs(following).unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"ready\n") {
        let record = log.next(&never).unwrap().unwrap();
        if record.source == LogSource::Stdout {
            seen.extend(record.data);
        }
    }
    assert_eq!(
        container.wait(Some(Duration::from_millis(50)), &never).unwrap_err().kind(),
        ErrorKind::Timeout
    );
    container.stop(Some(Duration::from_secs(20)), &never).unwrap();
    assert_eq!(container.wait(None, &never).unwrap(), 5);
    while let Some(record) = log.next(&never).unwrap() {
        seen.extend(record.data);
    }
    assert!(seen.ends_with(b"bye\n"), "{}", String::from_utf8_lossy(&seen));

    let details = engine.containers().get("web").unwrap().inspect().unwrap();
    assert_eq!((details.summary.state, details.summary.exit_code), (State::Exited, Some(5)));
    container.start(Stdio::null(), &never).unwrap();
    container.remove(true).unwrap();
    assert_eq!(engine.containers().get("web").unwrap_err().kind(), ErrorKind::ContainerNotFound);
    assert_eq!(engine.verify(&|_| {}, &CancelToken::never()).unwrap(), Vec::<String>::new());
}

#[test]
fn a_closed_engine_takes_its_session_along() {
    let Fixture { engine, never, _dir } = fixture();
    let mut spec = shell("sleep 600");
    spec.lifetime = coble::Lifetime::Session;
    let container = engine.containers().create(spec).unwrap();
    container.start(Stdio::null(), &never).unwrap();
    engine.close();
    assert_eq!(container.state().unwrap_err().kind(), ErrorKind::Closed);
    let options =
        EngineOptions::default().data_root(_dir.path().join("data")).run_root(_dir.path().join("run"));
    let again = Engine::open(options).unwrap();
    assert!(all(&again).unwrap().is_empty());
}
