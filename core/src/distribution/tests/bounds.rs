//! What all transfers of an engine together take: so many connections and no more, and nobody waits for ever.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use super::super::copy::copy_with;
use super::super::pull::pull_to;
use super::super::push::push_from;
use super::super::{CopyOptions, Progress, PullOptions, PushOptions};
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
        own.during(|| all.during(|| std::thread::sleep(Duration::from_millis(5))));
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
