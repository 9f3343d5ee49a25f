//! Layouts of all kinds as text; and, as root, real cgroups of stores that exist for one test.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::detect::{Hierarchy, Layout};
use super::*;
use crate::isolation::defaults::DEVICE_RULES;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
39 31 0:36 / /sys/fs/cgroup/pids\\040x rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
broken
1 2 3
";

fn own(hierarchy: &Hierarchy) -> Option<&Path> {
    hierarchy.own.as_deref()
}

#[test]
fn a_hybrid_host_is_read() {
    let membership =
        "8:pids:/\n5:devices:/docker/a:b\n4:memory:/../outside\n1:cpu,cpuacct:/x\n0::/init.scope\n";
    let layout = Layout::parse(HYBRID, membership);
    let v1: Vec<_> = layout.v1.iter().map(|h| (h.controllers.join(","), h.top.clone(), own(h))).collect();
    let top = |name: &str| Path::new("/sys/fs/cgroup").join(name);
    assert_eq!(
        v1,
        [
            ("cpu".to_owned(), top("cpu"), Some(top("cpu/x").as_path())),
            ("cpuset".to_owned(), top("cpuset"), None),
            ("memory".to_owned(), top("memory"), None),
            ("devices".to_owned(), top("devices"), Some(top("devices/docker/a:b").as_path())),
            ("pids".to_owned(), top("pids x"), Some(top("pids x").as_path())),
        ]
    );
    assert_eq!(layout.v2.as_ref().and_then(own), Some(top("unified/init.scope").as_path()));
    assert_eq!(Cgroups::of(&layout, false, "key", Path::new("/nonexistent")).version(), "hybrid");
}

#[test]
fn other_hosts_are_read() {
    let v2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    let layout = Layout::parse(v2, "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope\n");
    assert_eq!(Cgroups::of(&layout, true, "key", Path::new("/nonexistent")).version(), "v2");
    assert!(layout.v1.is_empty());
    let v1: String =
        HYBRID.lines().filter(|line| !line.contains("cgroup2")).map(|line| format!("{line}\n")).collect();
    assert_eq!(Cgroups::of(&Layout::parse(&v1, ""), false, "key", Path::new("/nonexistent")).version(), "v1");
    assert_eq!(
        Cgroups::of(&Layout::parse("", ""), false, "key", Path::new("/nonexistent")).version(),
        "none"
    );
    // A container without a cgroup namespace sees its own cgroup as the root of the mount.
    let inside = "9 8 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    let layout = Layout::parse(inside, "0::/docker/abc/sub\n");
    assert_eq!(layout.v2.as_ref().and_then(own), Some(Path::new("/sys/fs/cgroup/sub")));
    assert_eq!(Layout::parse(inside, "0::/other\n").v2.and_then(|h| h.own), None);
    // Of two mounts the one that shows this process counts.
    let both = format!("{inside}9 8 0:26 / /mnt/cgroup rw - cgroup2 cgroup rw\n");
    assert_eq!(Layout::parse(&both, "0::/other\n").v2.map(|h| h.top), Some(PathBuf::from("/mnt/cgroup")));
}

#[test]
fn where_there_is_nothing_everything_asked_for_is_a_warning() {
    let limits =
        Limits { memory: Some(64 << 20), nano_cpus: Some(500_000_000), pids: Some(10), ..Limits::default() };
    let gone =
        Hierarchy { controllers: Vec::new(), top: "/nonexistent".into(), own: Some("/nonexistent/a".into()) };
    for (layout, version) in [(Layout::default(), "none"), (Layout { v1: Vec::new(), v2: Some(gone) }, "v2")]
    {
        let cgroups = Cgroups::of(&layout, false, "key", Path::new("/nonexistent"));
        assert_eq!(cgroups.version(), version);
        let created = cgroups.create("c1", None, false, &limits, Some(DEVICE_RULES)).unwrap();
        assert!(created.procs.is_empty() && !created.devices_enforced);
        assert_eq!(created.view, CgroupView::Hidden);
        let codes: Vec<&str> = created.warnings.iter().map(|warning| warning.code.as_str()).collect();
        assert_eq!(
            codes,
            [
                "device-rules-not-applied",
                "memory-limit-not-applied",
                "cpu-limit-not-applied",
                "pids-limit-not-applied"
            ]
        );
        let applied: Vec<_> =
            created.limits.iter().map(|limit| (limit.name.as_str(), limit.applied)).collect();
        assert_eq!(applied, [("mem_limit", None), ("nano_cpus", None), ("pids_limit", None)]);
        let nothing = cgroups.create("c1", None, false, &Limits::default(), None).unwrap();
        assert!(nothing.warnings.is_empty() && nothing.limits.is_empty());
        cgroups.remove("c1").unwrap();
        assert_eq!(cgroups.oom_kills("c1"), None);
        assert!(cgroups.leftovers().is_empty());
    }
}

#[test]
fn names_that_are_paths_are_refused() {
    let cgroups = Cgroups::detect(false, &key(), Path::new("/nonexistent"));
    for bad in ["", ".", "..", "a/b", "../x", ".hidden", "a\nb", &"x".repeat(129)] {
        assert_eq!(
            cgroups.create(bad, None, false, &Limits::default(), None).unwrap_err().kind(),
            ErrorKind::InvalidArgument
        );
        assert_eq!(cgroups.remove(bad).unwrap_err().kind(), ErrorKind::InvalidArgument);
        assert_eq!(Cgroups::detect(false, bad, Path::new("/nonexistent")).version(), "none");
    }
}

fn key() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The cgroups of this host, and on a hybrid host those of version 2 by themselves, with the places of the container `c1`. Empty when they are not
/// the test's to change.
fn live() -> Vec<(Cgroups, Vec<PathBuf>)> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
    let layout = Layout::parse(&mountinfo, &membership);
    let mut found = Vec::new();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: cgroups can be made by root only");
        return found;
    }
    let second = Layout { v1: Vec::new(), v2: layout.v2.clone() };
    for layout in if layout.v1.is_empty() { vec![layout] } else { vec![layout, second] } {
        let key = key();
        let tops =
            layout.v1.iter().chain(&layout.v2).map(|h| h.top.join(format!("{PREFIX}-{key}-c1"))).collect();
        if layout.v1.iter().chain(&layout.v2).all(|h| detect::writable(&h.top)) && layout != Layout::default()
        {
            found.push((Cgroups::of(&layout, false, &key, Path::new("/nonexistent")), tops));
        }
    }
    found
}

/// A shell in the cgroups, by the descriptors that the engine hands out.
fn shell(created: &Created, script: &str) -> Child {
    let mut procs: Vec<OwnedFd> = created.procs.iter().map(|fd| fd.try_clone().unwrap()).collect();
    if let Some(home) = &created.home {
        let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        procs.push(rustix::fs::openat(home, "cgroup.procs", flags, rustix::fs::Mode::empty()).unwrap());
    }
    let fd = |n: usize| -> Stdio {
        match procs.get(n) {
            Some(fd) => fd.as_fd().try_clone_to_owned().unwrap().into(),
            None => Stdio::null(),
        }
    };
    let null: OwnedFd = File::options().write(true).open("/dev/null").unwrap().into();
    let stderr = procs.get(2).map_or(null, |fd| fd.as_fd().try_clone_to_owned().unwrap());
    assert!(procs.len() <= 3);
    Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("echo 0 >&0; echo 0 >&1; echo 0 >&2; exec </dev/null >/dev/null 2>&1; {script}"))
        .stdin(fd(0))
        .stdout(fd(1))
        .stderr(stderr)
        .spawn()
        .unwrap()
}

#[test]
fn limits_are_in_force_and_read_back() {
    for (cgroups, places) in live() {
        let limits = Limits {
            memory: Some((64 << 20) + 1),
            nano_cpus: Some(1_250_000_000),
            pids: Some(5),
            ..Limits::default()
        };
        let created = cgroups.create("c1", None, false, &limits, None).unwrap();
        if cgroups.version() == "v2" && created.warnings.len() == 3 {
            // Version 2 without controllers: of a hybrid host.
            assert!(created.limits.iter().all(|limit| limit.applied.is_none()));
        } else {
            assert!(
                created.warnings.iter().all(|w| w.code == "swap-limit-not-applied"),
                "{:?}",
                created.warnings
            );
            let applied: Vec<_> = created.limits.iter().map(|limit| limit.applied).collect();
            assert_eq!(applied, [Some(64 << 20), Some(1_250_000_000), Some(5)]);
            assert_eq!(cgroups.oom_kills("c1"), Some(0));
            // Six children are one process too many.
            let status = shell(&created, "for i in 1 2 3 4 5 6; do sleep 60 & done; wait").wait().unwrap();
            assert!(!status.success());
            // What is left of them would be in the way of the next one.
            drop(created);
            let created = cgroups.create("c1", None, false, &limits, None).unwrap();
            let status = shell(&created, "head -c 200000000 /dev/zero | tail > /dev/null").wait().unwrap();
            assert!(!status.success(), "{status}");
            assert!(cgroups.oom_kills("c1").is_some_and(|kills| kills > 0));
        }
        assert_eq!(cgroups.leftovers(), ["c1"]);
        cgroups.remove("c1").unwrap();
        cgroups.remove("c1").unwrap();
        assert!(cgroups.leftovers().is_empty());
        assert!(places.iter().all(|place| !place.exists()), "{places:?}");
    }
}

#[test]
fn only_the_default_devices_can_be_opened() {
    for (cgroups, _) in live() {
        let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
        assert!(created.devices_enforced, "{:?}", created.warnings);
        let dir = tempfile::tempdir().unwrap();
        let run = |script: &str| {
            let script = format!("cd {} && {script}", dir.path().display());
            shell(&created, &script).wait().unwrap().code()
        };
        assert_eq!(run("head -c 1 /dev/urandom && echo x > /dev/null && head -c 1 /dev/zero"), Some(0));
        // Any node can be made, but not opened: this is the kernel's log, harmless to read.
        assert_eq!(run("mknod log c 1 11 || exit 3; true < log || exit 4"), Some(4));
        assert_eq!(run("mknod disk b 7 0 || exit 3; true < disk || exit 4"), Some(4));
        assert!(File::open(dir.path().join("log")).is_ok(), "the test's own process is not restricted");
        cgroups.remove("c1").unwrap();
    }
}

#[test]
fn removal_kills_what_is_left_whatever_it_does() {
    for (cgroups, places) in live() {
        let limits = Limits { pids: Some(100), ..Limits::default() };
        let created = cgroups.create("c1", None, false, &limits, Some(DEVICE_RULES)).unwrap();
        let nested = places.iter().find(|path| path.exists()).unwrap().join("a/b");
        fs::create_dir_all(&nested).unwrap();
        let script = format!(
            "trap '' TERM INT HUP; (setsid sleep 600 &); (echo 0 > {}/cgroup.procs; exec sleep 600) & echo go > {}/ready; \
             while :; do sleep 600; done",
            nested.display(),
            "$DIR"
        );
        let dir = tempfile::tempdir().unwrap();
        let ready = dir.path().join("ready");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &ready,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        let mut child = shell(&created, &script.replace("$DIR", &dir.path().display().to_string()));
        assert_eq!(fs::read_to_string(&ready).unwrap(), "go\n");
        // A new container of the same id starts empty.
        let again = cgroups.create("c1", None, false, &limits, Some(DEVICE_RULES)).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        let mut child = shell(&again, "sleep 600");
        cgroups.remove("c1").unwrap();
        // It was in the cgroup, or it had not yet joined and found it gone.
        drop((again, created));
        let _ = child.kill();
        child.wait().unwrap();
        assert!(places.iter().all(|place| !place.exists()));
    }
}

#[test]
fn makers_and_removers_do_not_disturb_each_other() {
    for (cgroups, places) in live() {
        let limits = Limits { pids: Some(10), ..Limits::default() };
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (cgroups, limits) = (&cgroups, &limits);
                scope.spawn(move || {
                    for round in 0..25 {
                        let id = format!("c{thread}-{round}");
                        let created = cgroups.create(&id, None, false, limits, Some(DEVICE_RULES)).unwrap();
                        assert!(created.devices_enforced);
                        drop(created);
                        cgroups.remove(&id).unwrap();
                    }
                });
            }
        });
        assert!(cgroups.leftovers().is_empty());
        assert!(places.iter().all(|place| !place.exists()));
    }
}

#[test]
fn the_survey_names_every_controller() {
    let (version, controllers) = survey(false);
    assert_eq!(version, Cgroups::detect(false, "key", Path::new("/nonexistent")).version());
    let names: Vec<&str> = controllers.iter().map(|controller| controller.name).collect();
    assert_eq!(names, ["devices", "memory", "cpu", "pids"]);
    assert!(survey(true).1.iter().all(|controller| controller.name != "devices"));
}

/// A shell that counts in a file, and how far it has come.
fn counter(created: &Created, dir: &Path) -> (Child, impl Fn() -> u64 + use<>) {
    let file = dir.join("count");
    let script = format!("n=0; while :; do n=$((n+1)); echo $n > {}; sleep 0.002; done", file.display());
    let child = shell(created, &script);
    let read = move || fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    (child, read)
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// As [`live`], and version 1 by itself.
fn live_with_the_first_alone() -> Vec<(Cgroups, Vec<PathBuf>)> {
    let mut all = live();
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap();
    let mut layout = Layout::parse(&mountinfo, &membership);
    layout.v2 = None;
    if !all.is_empty() && !layout.v1.is_empty() {
        let key = key();
        let tops = layout.v1.iter().map(|h| h.top.join(format!("{PREFIX}-{key}-c1"))).collect();
        all.push((Cgroups::of(&layout, false, &key, Path::new("/nonexistent")), tops));
    }
    all
}

#[test]
fn what_is_frozen_does_nothing_and_can_be_killed() {
    for (cgroups, places) in live_with_the_first_alone() {
        let dir = tempfile::tempdir().unwrap();
        let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
        let (mut child, count) = counter(&created, dir.path());
        until("it counts", || count() > 2);
        assert!(!cgroups.is_frozen("c1"));
        cgroups.freeze("c1", |_| Ok(())).unwrap();
        assert!(cgroups.is_frozen("c1"));
        let before = count();
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(count(), before, "{}", cgroups.version());
        cgroups.thaw("c1").unwrap();
        assert!(!cgroups.is_frozen("c1"));
        until("it counts again", || count() > before);
        cgroups.freeze("c1", |_| Ok(())).unwrap();
        drop(created);
        cgroups.remove("c1").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!cgroups.is_frozen("c1") && cgroups.thaw("c1").is_ok());
        assert!(places.iter().all(|place| !place.exists()), "{places:?}");
    }
}

#[test]
fn limits_can_be_changed_while_something_runs() {
    for (cgroups, places) in live_with_the_first_alone() {
        let dir = tempfile::tempdir().unwrap();
        let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
        let (mut child, count) = counter(&created, dir.path());
        until("it counts", || count() > 2);
        let limits = |memory: u64| Limits { memory: Some(memory), pids: Some(50), ..Limits::default() };
        let told = std::cell::Cell::new(0);
        let update = |limits: &Limits| {
            cgroups.update("c1", limits, |procs| {
                told.set(told.get() + procs.len());
                Ok(())
            })
        };
        match update(&limits(64 << 20)) {
            // Version 2 without controllers: of a hybrid host.
            Err(error) => assert_eq!((cgroups.version(), error.kind()), ("v2", ErrorKind::Unsupported)),
            Ok(updated) => {
                assert!(cgroups.version() == "v2" || told.get() == 2);
                let applied = |updated: &Updated| -> Vec<_> {
                    updated.limits.iter().map(|limit| limit.applied.unwrap_or(0)).collect()
                };
                assert_eq!(applied(&updated), [64 << 20, 50]);
                assert_eq!(cgroups.usage("c1").pids_limit, Some(50));
                assert!(cgroups.usage("c1").pids.unwrap() >= 1, "it was moved");
                // Up and down, and across the limit of memory and swap.
                assert_eq!(applied(&update(&limits(1 << 30)).unwrap()), [1 << 30, 50]);
                assert_eq!(applied(&update(&limits(32 << 20)).unwrap()), [32 << 20, 50]);
                // The second one cannot be: the first is as it was.
                let bad = Limits {
                    memory: Some(128 << 20),
                    cpuset_mems: Some("8000".to_owned()),
                    ..Limits::default()
                };
                let error = update(&bad).unwrap_err();
                assert_eq!((error.kind(), error.object()), (ErrorKind::Unsupported, Some("cpuset_mems")));
                assert_eq!(cgroups.usage("c1").memory_limit, Some(32 << 20));
            }
        }
        drop(created);
        cgroups.remove("c1").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(places.iter().all(|place| !place.exists()), "{places:?}");
    }
}

/// Version 1 by itself.
fn first_alone() -> Option<Cgroups> {
    live_with_the_first_alone().pop().map(|(cgroups, _)| cgroups).filter(|cgroups| cgroups.version() == "v1")
}

/// The one cgroup of a controller that a container has.
fn leaf(cgroups: &Cgroups, controller: &str) -> PathBuf {
    let layout = Layout::parse(
        &fs::read_to_string("/proc/self/mountinfo").unwrap(),
        &fs::read_to_string("/proc/self/cgroup").unwrap(),
    );
    let top = layout.v1.iter().find(|h| h.controllers.iter().any(|known| known == controller)).unwrap();
    let below = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path).unwrap().flatten().map(|entry| entry.path()).collect()
    };
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.strip_suffix("c1")
            .is_some_and(|prefix| format!("{cgroups:?}").contains(&format!("\"{prefix}\"")))
    };
    let found: Vec<PathBuf> = below(&top.top).into_iter().filter(ours).collect();
    assert_eq!(found.len(), 1, "{controller}");
    found[0].clone()
}

#[test]
fn what_is_changed_by_several_at_once_lives_on() {
    let Some(cgroups) = first_alone() else { return };
    let dir = tempfile::tempdir().unwrap();
    let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
    let (mut child, count) = counter(&created, dir.path());
    until("it counts", || count() > 2);
    for round in 0..20 {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let cgroups = &cgroups;
                scope.spawn(move || {
                    // Whoever comes second may find the cgroup taken away again by the first one: an error, and no harm.
                    let limits = Limits { pids: Some(50 + thread + round), ..Limits::default() };
                    let _ = cgroups.update("c1", &limits, |_| Ok(()));
                    let _ = cgroups.freeze("c1", |_| Ok(()));
                });
            }
        });
        cgroups.thaw("c1").unwrap();
    }
    let before = count();
    until("it counts still", || count() > before);
    assert!(child.try_wait().unwrap().is_none());
    drop(created);
    cgroups.remove("c1").unwrap();
    child.wait().unwrap();
}

#[test]
fn one_that_was_frozen_is_made_anew_with_its_device_rules() {
    for (cgroups, _) in live_with_the_first_alone() {
        let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
        let mut child = shell(&created, "while :; do sleep 1; done");
        until("it has joined", || cgroups.members("c1").is_some_and(|members| !members.is_empty()));
        cgroups.freeze("c1", |_| Ok(())).unwrap();
        let again = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
        assert!(again.devices_enforced, "{:?}", again.warnings);
        assert!(!cgroups.is_frozen("c1"));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        drop((created, again));
        cgroups.remove("c1").unwrap();
    }
}

#[test]
fn an_update_that_was_cut_short_is_completed_by_the_next_one() {
    let Some(cgroups) = first_alone() else { return };
    let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
    let mut child = shell(&created, "while :; do sleep 1; done");
    until("it has joined", || cgroups.members("c1").is_some_and(|members| !members.is_empty()));
    let limits = Limits { pids: Some(50), ..Limits::default() };
    // Killed before the monitor was told: nobody takes anything back.
    let mut additions = Additions::default();
    cgroups.manager.update("c1", &limits, &mut Vec::new(), &mut additions).unwrap();
    let pids = leaf(&cgroups, "pids");
    assert!(tree::is_incomplete(&pids) && tree::members(&pids).is_empty());
    assert!(!cgroups.members("c1").unwrap().is_empty(), "one that is incomplete says nothing of the others");
    let mut told = 0;
    cgroups
        .update("c1", &limits, |procs| {
            told = procs.len();
            Ok(())
        })
        .unwrap();
    assert!(told == 1 && !tree::is_incomplete(&pids) && !tree::members(&pids).is_empty());
    // One that fails while the monitor is told leaves nothing.
    let memory = Limits { memory: Some(64 << 20), ..Limits::default() };
    let refused = cgroups.update("c1", &memory, |_| Err(Error::new(ErrorKind::MonitorLost, "test")));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::MonitorLost);
    assert_eq!(cgroups.usage("c1").memory_limit, None);
    drop(created);
    cgroups.remove("c1").unwrap();
    child.wait().unwrap();
}

#[test]
fn the_freezer_says_last_who_is_in_a_container() {
    let Some(cgroups) = first_alone() else { return };
    let created = cgroups.create("c1", None, false, &Limits::default(), Some(DEVICE_RULES)).unwrap();
    let mut child = shell(&created, "while :; do sleep 1; done");
    let members = || cgroups.members("c1").unwrap_or_default();
    until("it has joined", || members().contains(&(child.id() as i32)));
    let mut told = 0;
    cgroups
        .freeze("c1", |procs| {
            told = procs.len();
            Ok(())
        })
        .unwrap();
    cgroups.thaw("c1").unwrap();
    assert_eq!(told, 1, "what is started later is to be in it, too");
    // One that joined as a version did that told nobody.
    let mut other = shell(&created, "while :; do sleep 1; done");
    until("it is seen", || members().contains(&(other.id() as i32)));
    drop(created);
    cgroups.remove("c1").unwrap();
    child.wait().unwrap();
    other.wait().unwrap();
}

#[test]
fn every_limit_is_in_force_or_a_warning() {
    for (cgroups, _) in live_with_the_first_alone() {
        let limits = Limits {
            memory: Some(64 << 20),
            memory_swap: Some(96 << 20),
            memory_reservation: Some(32 << 20),
            swappiness: Some(7),
            cpu_shares: Some(512),
            cpu_quota: Some(30_000),
            cpu_period: Some(60_000),
            cpuset_cpus: Some("0".to_owned()),
            cpuset_mems: Some("0".to_owned()),
            blkio_weight: Some(300),
            unified: vec![("memory.high".to_owned(), "max".to_owned())],
            ..Limits::default()
        };
        let created = cgroups.create("c1", None, false, &limits, None).unwrap();
        assert_eq!(created.limits.len(), 11);
        for limit in &created.limits {
            let name = limit.name.split(':').next().unwrap_or_default().replace('_', "-");
            let code = format!("{}-not-applied", if name == "mem-limit" { "memory-limit" } else { &name });
            let told = created.warnings.iter().any(|warning| warning.code == code);
            assert_eq!(limit.applied.is_none(), told, "{limit:?} {:?}", created.warnings);
            if limit.applied.is_some() {
                assert_eq!(limit.applied_text.as_ref(), Some(&limit.requested_text));
            }
        }
        drop(created);
        cgroups.remove("c1").unwrap();
    }
}
