//! What all transfers of an engine together take: so many connections and no more, and nobody waits for ever.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use super::super::copy::copy_with;
use super::super::net::held;
use super::super::pull::pull_to;
use super::super::push::push_from;
use super::super::{CopyOptions, Progress, ProgressKind, PullOptions, PushOptions};
use super::transfer::{Here, Server, insecure, options};
use super::*;
use crate::process::Deadline;

use std::sync::atomic::Ordering::SeqCst;

/// How many requests are answered now, and how many there were at most.
#[derive(Default)]
struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Load {
    fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
        let result = work();
        self.now.fetch_sub(1, SeqCst);
        result
    }

    fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

/// Makes a server slow enough for requests to meet.
fn count(server: &Server, loads: [&Arc<Load>; 2]) {
    let [own, all] = loads.map(Arc::clone);
    server.fault(move |_| {
        own.during(|| {
            all.during(|| {
                // The first ones wait for others, as long as there may be any.
                let end = Instant::now() + Duration::from_secs(5);
                while all.most() <= 2 && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(1));
                }
                std::thread::sleep(Duration::from_millis(5));
            });
        });
        None
    });
}

const FILES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];

#[test]
fn calls_share_the_bounds_in_all_and_for_each_host() {
    let (servers, all) = ([Server::start(), Server::start(), Server::start()], Arc::<Load>::default());
    let loads: Vec<Arc<Load>> = servers.iter().map(|_| Arc::default()).collect();
    for (server, load) in servers.iter().zip(&loads) {
        server.image("a/b", "1", "amd64", &FILES);
        count(server, [load, &all]);
    }
    let here = Here::new().with(Network::new(false, 4, 2));
    let never = CancelToken::never();
    std::thread::scope(|scope| {
        for server in servers.iter().cycle().take(6) {
            // Each call with a store of its own, so that none waits for the blobs of another one.
            let (network, never) = (here.network.clone(), &never);
            scope.spawn(move || {
                let here = Here::new().with(network);
                let wide = PullOptions { jobs: Some(16), ..options() };
                let sink = |_: &Progress| {};
                let name = server.name("a/b:1");
                let soon = Deadline::after(Some(Duration::from_secs(60)));
                pull_to(here.ground(), &name, &wide, &sink, soon, never).unwrap();
                here.name(&name, &server.name("c/d:1"));
                let push = PushOptions { registry: insecure(), jobs: Some(16), ..PushOptions::default() };
                push_from(here.ground(), &server.name("c/d:1"), &push, &sink, never).unwrap();
            });
        }
    });
    assert!(loads.iter().all(|load| load.most() <= 2));
    assert!(all.most() <= 4);
    assert!(all.most() > 2, "{}", all.most());
}

/// With one connection, all that needs several of them one after the other, or two at once, comes to its end.
#[test]
fn one_connection_is_enough_for_everything() {
    let (near, far) = (Server::start(), Server::start());
    for server in [&near, &far] {
        server.image("a/b", "1", "amd64", &FILES);
        let authority = server.fake.authority();
        server.fault(move |seen| {
            if seen.target.starts_with("/token") {
                return Some(Reply::new(200).body(r#"{"token":"t","expires_in":1}"#));
            }
            let realm = format!("Bearer realm=\"http://{authority}/token\",service=\"x\"");
            let denied =
                || Reply::new(401).header("WWW-Authenticate", realm).body(error_document("UNAUTHORIZED"));
            seen.header("authorization").is_none().then(denied)
        });
    }
    let here = Here::new().with(Network::new(false, 1, 1));
    let (never, sink) = (CancelToken::never(), |_: &Progress| {});
    let wide = PullOptions { jobs: Some(8), ..options() };
    here.pull_with(&near.name("a/b:1"), &wide, &never).unwrap();
    here.name(&near.name("a/b:1"), &far.name("c/d:1"));
    let push = PushOptions { registry: insecure(), jobs: Some(8), ..PushOptions::default() };
    push_from(here.ground(), &far.name("c/d:1"), &push, &sink, &never).unwrap();
    let copy =
        CopyOptions { source: insecure(), target: insecure(), jobs: Some(8), ..CopyOptions::default() };
    std::thread::scope(|scope| {
        for (from, to) in [(&near, &far), (&far, &near), (&near, &near)] {
            let (here, copy) = (&here, &copy);
            scope.spawn(move || {
                let (source, target) =
                    (from.name("a/b:1"), to.name(&format!("copy/of{}:1", from.fake.authority().len())));
                let never = CancelToken::never();
                copy_with(&here.store, &here.network, &source, &target, copy, &sink, &never).unwrap();
            });
        }
    });
}

#[test]
fn who_sends_nothing_holds_up_nobody_else() {
    let (stuck, good) = (Server::start(), Server::start());
    stuck.image("a/b", "1", "amd64", &FILES);
    good.image("a/b", "1", "amd64", &FILES);
    let begun = Arc::new(Barrier::new(3));
    let reached = Arc::clone(&begun);
    stuck.fault(move |seen| {
        if !seen.target.contains("/blobs/") {
            return None;
        }
        reached.wait();
        Some(Reply::hang())
    });
    let network = Network::new(false, 3, 2);
    let cancel = CancelToken::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let here = Here::new().with(network.clone());
                let error = here.pull_with(&stuck.name("a/b:1"), &options(), &cancel).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Cancelled);
            });
        }
        // All connections that one host may have are waiting for it.
        begun.wait();
        let here = Here::new().with(network.clone());
        here.pull(&good.name("a/b:1")).unwrap();
        cancel.cancel();
    });
}

/// Makes a server so slow that there is progress to be told of in the middle of a blob, by who has a connection.
fn dawdle(server: &Server) {
    server.fault(|seen| {
        if seen.target.contains("/blobs/") {
            std::thread::sleep(Duration::from_millis(150));
        }
        None
    });
}

#[test]
fn who_is_told_about_progress_may_pull_from_the_same_server() {
    let server = Server::start();
    server.image("a/b", "1", "amd64", &FILES[..3]);
    server.image("c/d", "1", "amd64", &["other"]);
    dawdle(&server);
    let network = Network::new(false, 1, 1);
    let here = || Here::new().with(network.clone());
    let (never, wide) = (CancelToken::never(), PullOptions { jobs: Some(4), ..options() });
    let pull = |name: &str, sink: &(dyn Fn(&Progress) + Sync)| {
        let soon = Deadline::after(Some(Duration::from_secs(60)));
        pull_to(here().ground(), &server.name(name), &wide, sink, soon, &never).map(drop).unwrap();
    };
    let asked = AtomicUsize::new(0);
    // Where the machine is slow, there may be nothing to tell in the middle of a blob.
    for _ in 0..20 {
        pull("a/b:1", &|_| {
            if held(true) == 0 || asked.fetch_add(1, SeqCst) > 0 {
                return;
            }
            // On this thread, and on one that it waits for.
            pull("c/d:1", &|_| {});
            std::thread::scope(|scope| drop(scope.spawn(|| pull("c/d:1", &|_| {}))));
        });
        if asked.load(SeqCst) > 0 {
            return;
        }
    }
    panic!("nobody was told of anything with a connection in hand");
}

#[test]
fn who_is_told_about_progress_and_does_not_come_back_holds_up_nobody_else() {
    let server = Server::start();
    server.image("a/b", "1", "amd64", &FILES[..3]);
    dawdle(&server);
    let network = Network::new(false, 1, 1);
    let here = || Here::new().with(network.clone());
    let (never, name) = (CancelToken::never(), server.name("a/b:1"));
    let (told, over, asked) = (Barrier::new(2), Barrier::new(2), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let sink = |_: &Progress| {
                if held(true) > 0 && asked.fetch_add(1, SeqCst) == 0 {
                    told.wait();
                    over.wait();
                }
            };
            for _ in 0..20 {
                pull_to(here().ground(), &name, &options(), &sink, Deadline::never(), &never).unwrap();
                if asked.load(SeqCst) > 0 {
                    return;
                }
            }
            told.wait();
            over.wait();
            panic!("nobody was told of anything with a connection in hand");
        });
        told.wait();
        let soon = Deadline::after(Some(Duration::from_secs(60)));
        let result = pull_to(here().ground(), &name, &options(), &|_| {}, soon, &never);
        over.wait();
        result.unwrap();
    });
}

/// In Rust; the other surfaces let no exception of theirs through.
#[test]
fn who_panics_when_told_about_progress_ends_the_transfer() {
    let server = Server::start();
    server.image("a/b", "1", "amd64", &FILES[..3]);
    let here = Here::new();
    let (never, name, wide) =
        (CancelToken::never(), server.name("a/b:1"), PullOptions { jobs: Some(4), ..options() });
    let pull = |sink: &(dyn Fn(&Progress) + Sync)| {
        let soon = Deadline::after(Some(Duration::from_secs(60)));
        pull_to(here.ground(), &name, &wide, sink, soon, &never).map(drop)
    };
    let told = AtomicUsize::new(0);
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pull(&|progress| {
            if progress.kind == ProgressKind::BlobDone && told.fetch_add(1, SeqCst) == 0 {
                std::panic::resume_unwind(Box::new("the caller's"));
            }
        })
    }));
    assert!(ended.is_err());
    // It has left nothing that is in the way.
    pull(&|_| {}).unwrap();
}

/// A body that waits for somebody to send it on would be cut off in the end, and nobody would have counted it.
#[test]
fn the_source_of_a_copy_is_asked_when_there_is_a_turn_to_send_it_on() {
    let (near, far) = (Server::start(), Server::start());
    near.image("a/b", "1", "amd64", &FILES);
    let open = Arc::new(Load::default());
    let (begun, done) = (Arc::clone(&open), Arc::clone(&open));
    near.fault(move |seen| {
        if seen.method == "GET" && seen.target.contains("/blobs/") {
            begun.most.fetch_max(begun.now.fetch_add(1, SeqCst) + 1, SeqCst);
        }
        None
    });
    far.fault(move |seen| {
        if seen.target.contains("/blobs/uploads/") && !seen.body.is_empty() {
            std::thread::sleep(Duration::from_millis(50));
            done.now.fetch_sub(1, SeqCst);
        }
        None
    });
    let here = Here::new().with(Network::new(false, 4, 2));
    let copy =
        CopyOptions { source: insecure(), target: insecure(), jobs: Some(8), ..CopyOptions::default() };
    let (source, target) = (near.name("a/b:1"), far.name("c/d:1"));
    let never = CancelToken::never();
    copy_with(&here.store, &here.network, &source, &target, &copy, &|_| {}, &never).unwrap();
    assert_eq!((open.now.load(SeqCst), open.most()), (0, 2));
}
