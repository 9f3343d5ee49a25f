//! Engines that are offline: nobody hears from them, and they say at once who would have had to.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::super::copy::copy_with;
use super::super::login::{login, logout};
use super::super::pull::plan_for;
use super::super::push::push_from;
use super::super::search::{SearchOptions, search};
use super::super::{CopyOptions, Progress, PullOptions, PullPolicy, PushOptions};
use super::transfer::{Here, Server, insecure, options};
use super::*;

fn offline() -> Bench {
    Bench { network: Network::new(true, 4, 4), ..Bench::new() }
}

#[track_caller]
fn is_offline(error: &Error, needed: &str) {
    assert_eq!((error.kind(), error.object()), (ErrorKind::Offline, Some(needed)), "{error}");
    assert!(error.to_string().contains(needed), "{error}");
}

#[test]
fn nobody_is_asked_and_the_error_says_who_would_have_been() {
    let fake = Fake::start(|_| manifest());
    let mut bench = offline();
    let digest = Digest::of(b"x");
    let name = fake.authority();
    let begin = Instant::now();
    let mut errors = vec![
        bench.pull(&fake, |client| client.manifest("latest")).unwrap_err(),
        bench.pull(&fake, |client| client.manifest_head("latest")).unwrap_err(),
        bench.pull(&fake, |client| client.blob(&digest, 0, 1).map(drop)).unwrap_err(),
        bench.pull(&fake, |client| client.tags()).unwrap_err(),
        bench.pull(&fake, |client| client.referrers(&digest, None)).unwrap_err(),
        bench.push(&fake, |client| client.mount(&digest, None)).unwrap_err(),
        bench.push(&fake, |client| client.put_manifest("latest", MANIFEST_TYPE, b"{}")).unwrap_err(),
        bench.call(&format!("{name}/a"), Access::Delete, |client| client.delete_tag("x")).unwrap_err(),
    ];
    let credentials = Credentials::password("me", "s3");
    errors.push(
        login(&bench.world(), &name, &credentials, &bench.options, &|_| {}, &bench.cancel).unwrap_err(),
    );
    let of = SearchOptions {
        registry: Some(name.clone()),
        options: bench.options.clone(),
        ..SearchOptions::default()
    };
    errors.push(search(&bench.world(), "x", &of, &|_| {}, &bench.cancel).unwrap_err());
    errors.iter().for_each(|error| is_offline(error, &name));

    // Not the resolver, which would take its time to say something else, nor a proxy.
    bench.options = RegistryOptions::default();
    bench.variables.push(("HTTPS_PROXY".into(), format!("http://{name}")));
    for host in ["no-such-host.invalid", "[2001:db8::1]:5000"] {
        let asked = bench.call(&format!("{host}/a/b"), Access::Pull, |client| client.manifest("latest"));
        is_offline(&asked.unwrap_err(), host);
    }
    // Nor is a mirror passed over for the next one.
    bench.write(
        "etc/containers/registries.conf",
        "[[registry]]\nlocation = \"reg.example\"\n[[registry.mirror]]\nlocation = \"mirror.example\"\n",
    );
    let asked = bench.call("reg.example/a/b", Access::Pull, |client| client.manifest("latest"));
    is_offline(&asked.unwrap_err(), "mirror.example");

    assert_eq!(fake.connections(), 0);
    assert!(bench.events.lock().unwrap().is_empty(), "{:?}", bench.events.lock().unwrap());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_helper_is_not_run_either() {
    let mut bench = offline();
    let helper = bench.path().join("bin/docker-credential-test");
    bench.write("bin/docker-credential-test", "#!/bin/sh\ncat >> \"$HOME.log\"\n");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.variables.push(("PATH".into(), format!("{}:/usr/bin:/bin", helper.parent().unwrap().display())));
    bench.write("home/.docker/config.json", r#"{"credHelpers":{"reg.example":"test"}}"#);
    let error = logout(&bench.world(), "reg.example", None, &bench.cancel).unwrap_err();
    is_offline(&error, "docker-credential-test");
    assert!(!bench.path().join("home.log").exists());
    // What is in the file alone is forgotten as ever.
    bench.write("home/.docker/config.json", r#"{"auths":{"reg.example":{"auth":"eA=="}}}"#);
    assert!(logout(&bench.world(), "reg.example", None, &bench.cancel).unwrap());
}

#[test]
fn what_is_here_is_taken_and_the_rest_is_refused() {
    let server = Server::start();
    let (digest, _) = server.image("a/b", "1", "amd64", &["one", "two"]);
    server.image("a/b", "2", "amd64", &["three"]);
    let (here, never) = (Here::new(), CancelToken::never());
    let (name, other) = (server.name("a/b:1"), server.name("a/b:2"));
    let pinned = format!("{}@{digest}", server.name("a/b"));
    let image = here.pull(&name).unwrap();
    here.pull(&pinned).unwrap();
    let before = server.fake.connections();
    let here = here.with(Network::new(true, 4, 4));
    let pull = |name: &str, policy| here.pull_with(name, &PullOptions { policy, ..options() }, &never);
    for policy in [PullPolicy::Missing, PullPolicy::Never, PullPolicy::Newer] {
        assert_eq!(pull(&name, policy).unwrap().id, image.id);
    }
    // A digest stands for what it always stood for.
    assert_eq!(pull(&pinned, PullPolicy::Always).unwrap().id, image.id);
    let (authority, sink) = (server.fake.authority(), |_: &Progress| {});
    is_offline(&pull(&name, PullPolicy::Always).unwrap_err(), &authority);
    for policy in [PullPolicy::Missing, PullPolicy::Newer] {
        is_offline(&pull(&other, policy).unwrap_err(), &authority);
    }
    assert_eq!(pull(&other, PullPolicy::Never).unwrap_err().kind(), ErrorKind::ImageNotFound);
    is_offline(&plan_for(here.ground(), &other, &options(), &sink, &never).unwrap_err(), &authority);
    let push = PushOptions { registry: insecure(), ..PushOptions::default() };
    is_offline(&push_from(here.ground(), &name, &push, &sink, &never).unwrap_err(), &authority);
    let copy = CopyOptions { source: insecure(), target: insecure(), ..CopyOptions::default() };
    let copied = copy_with(&here.store, &here.network, &name, &other, &copy, &sink, &never);
    is_offline(&copied.unwrap_err(), &authority);
    assert_eq!(server.fake.connections(), before);
    here.assert_clean(1);
}
