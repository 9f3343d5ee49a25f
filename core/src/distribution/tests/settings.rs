//! What the configuration makes of a name: servers, mirrors, blocked registries, short names.

use super::*;
use crate::distribution::foreign::Foreign;
use crate::distribution::settings::{Answers, Scheme, candidates, hosts_of};
use crate::oci::Descriptor;

/// The servers of a name, as text.
fn servers(bench: &Bench, reference: &str, access: Access) -> Result<Vec<String>> {
    let reference = Reference::parse(reference).unwrap();
    let hosts = hosts_of(&bench.places().with(&bench.options), &reference, &bench.options, access)?;
    Ok(hosts
        .iter()
        .map(|host| {
            let mut text = format!("{}{}/{}", host.authority(), host.base, host.repository);
            match host.scheme {
                Scheme::Https => {}
                Scheme::Either => text.push_str(" either"),
                Scheme::Http => text.push_str(" http"),
            }
            match host.answers {
                Answers::Everything => {}
                Answers::Tags => text.push_str(" tags"),
                Answers::Digests => text.push_str(" digests"),
            }
            if let Some(namespace) = &host.namespace {
                text.push_str(&format!(" for {namespace}"));
            }
            text
        })
        .collect())
}

fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.options = RegistryOptions::default();
    bench
}

#[test]
fn without_configuration() {
    let bench = bench();
    for (name, expected) in [
        ("debian", "registry-1.docker.io/v2/library/debian"),
        ("reg.example:5000/a/b:c", "reg.example:5000/v2/a/b"),
        ("localhost/a", "localhost/v2/a"),
        ("[::1]:5000/a", "[::1]:5000/v2/a"),
    ] {
        assert_eq!(servers(&bench, name, Access::Pull).unwrap(), [expected]);
    }
}

#[test]
fn reg_15_registries_conf() {
    let bench = bench();
    bench.write(
        "etc/containers/registries.conf",
        r#"
        unqualified-search-registries = ["docker.io"]
        short-name-mode = "enforcing"
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example/hub"
        [[registry.mirror]]
        location = "plain.example:5000"
        insecure = true
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "docker.io/library/moved"
        location = "new.example/there/moved"
        [[registry]]
        location = "bad.example"
        blocked = true
        [[registry]]
        location = "lab.example:5000"
        insecure = true
        [[registry]]
        location = "near.example"
        insecure = true
        [[registry]]
        prefix = "*.wild.example"
        insecure = true
        "#,
    );
    bench.write(
        "etc/containers/registries.conf.d/10-more.conf",
        "[[registry]]\nlocation = \"late.example\"\nblocked = true\n",
    );
    let pull = |name: &str| servers(&bench, name, Access::Pull);
    assert_eq!(
        pull("user/app").unwrap(),
        [
            "mirror.example/v2/hub/user/app",
            "plain.example:5000/v2/user/app either digests",
            "registry-1.docker.io/v2/user/app",
        ]
    );
    assert_eq!(servers(&bench, "user/app", Access::Push).unwrap(), ["registry-1.docker.io/v2/user/app"]);
    assert_eq!(pull("moved:1").unwrap(), ["new.example/v2/there/moved"]);
    assert_eq!(pull("lab.example:5000/a").unwrap(), ["lab.example:5000/v2/a either"]);
    assert_eq!(pull("lab.example/a").unwrap(), ["lab.example/v2/a"]);
    // A host is not the same host on another port, nor as insecure; a tag is no port.
    assert_eq!(pull("near.example/a").unwrap(), ["near.example/v2/a either"]);
    assert_eq!(pull("near.example:5000/a").unwrap(), ["near.example:5000/v2/a"]);
    assert_eq!(pull("near.example:5000/a:1").unwrap(), ["near.example:5000/v2/a"]);
    assert_eq!(pull("x.wild.example:1/a").unwrap(), ["x.wild.example:1/v2/a either"]);
    assert_eq!(pull("wild.example/a").unwrap(), ["wild.example/v2/a"]);
    for blocked in ["bad.example/a", "late.example/a/b"] {
        let error = pull(blocked).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("registries.conf"), "{error}");
    }
    pull("notbad.example/a").unwrap();
    // The user's file takes the place of the system's, and a later file beside it the last word.
    bench.write("home/.config/containers/registries.conf", "");
    pull("bad.example/a").unwrap();
    assert!(pull("late.example/a").is_err());
    bench.write(
        "home/.config/containers/registries.conf.d/x.conf",
        "[[registry]]\nlocation = \"late.example\"\n",
    );
    pull("late.example/a").unwrap();
    bench.write("home/.config/containers/registries.conf", "[[registry]\n");
    assert_eq!(pull("a").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn reg_15_hosts_toml() {
    let bench = bench();
    bench.write(
        "etc/containerd/certs.d/docker.io/hosts.toml",
        r#"
        server = "https://registry-1.docker.io"
        [host."https://second.example:8443/proxy"]
          capabilities = ["pull", "resolve"]
          override_path = true
          [host."https://second.example:8443/proxy".header]
            x-team = ["a", "b"]
        [host."http://first.example"]
          capabilities = ["pull"]
        [host."https://both.example"]
          capabilities = ["pull", "resolve", "push"]
          skip_verify = true
          unknown = 1
        "#,
    );
    assert_eq!(
        servers(&bench, "debian", Access::Pull).unwrap(),
        [
            "second.example:8443/proxy/library/debian for docker.io",
            "first.example/v2/library/debian http digests for docker.io",
            "both.example/v2/library/debian for docker.io",
            "registry-1.docker.io/v2/library/debian",
        ]
    );
    assert_eq!(
        servers(&bench, "debian", Access::Push).unwrap(),
        ["both.example/v2/library/debian for docker.io"]
    );
    let reference = Reference::parse("debian").unwrap();
    let hosts =
        hosts_of(&bench.places().with(&bench.options), &reference, &bench.options, Access::Pull).unwrap();
    assert_eq!(hosts[0].headers.len(), 2);
    assert!(hosts[2].trust.skip_verify && !hosts[3].trust.skip_verify);
    // What a call says is said of the registry, and not of who stands in for it.
    let insecure = bench.options.clone().insecure(true);
    let hosts = hosts_of(&bench.places().with(&insecure), &reference, &insecure, Access::Pull).unwrap();
    let trusted: Vec<bool> = hosts.iter().map(|host| host.trust.skip_verify).collect();
    assert_eq!(trusted, [false, false, true, true]);
    assert_eq!((hosts[0].scheme, hosts[3].scheme), (Scheme::Https, Scheme::Either));
    assert_eq!(hosts[0].keys, ["second.example:8443"]);
    bench.write("etc/containerd/certs.d/_default/hosts.toml", "[host.\"https://cache.example\"]\n");
    bench.write(
        "etc/containerd/certs.d/lab.example:5000/hosts.toml",
        "server = \"http://lab.example:5000\"\n",
    );
    assert_eq!(
        servers(&bench, "quay.io/a", Access::Pull).unwrap(),
        ["cache.example/v2/a for quay.io", "quay.io/v2/a"]
    );
    assert_eq!(servers(&bench, "lab.example:5000/a", Access::Pull).unwrap(), ["lab.example:5000/v2/a http"]);
    bench.write("etc/containerd/certs.d/quay.io/hosts.toml", "server = \"https://user:sEcReT@x\"");
    let error = servers(&bench, "quay.io/a", Access::Pull).unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidArgument && error.to_string().contains("hosts.toml"),
        "{error}"
    );
}

#[test]
fn dst_24_and_30_mirrors_are_asked_in_turn_and_told_for_whom() {
    let broken = Fake::start(|_| Reply::new(500));
    let lacking = Fake::start(|_| Reply::new(404));
    let wrong = Fake::start(|_| manifest().header("OCI-Namespace", "other.example"));
    let right = Fake::start(|_| manifest().header("OCI-Namespace", "127.0.0.1:1"));
    let bench = bench();
    let mut text = String::new();
    for fake in [&broken, &lacking, &wrong, &right] {
        text.push_str(&format!("[host.\"http://{}\"]\n", fake.authority()));
    }
    bench.write("etc/containerd/certs.d/127.0.0.1:1/hosts.toml", &text);
    let fetched = bench.call("127.0.0.1:1/a/b", Access::Pull, |client| client.manifest("latest")).unwrap();
    assert_eq!(fetched.bytes, MANIFEST.as_bytes());
    for fake in [&broken, &lacking, &wrong, &right] {
        assert_eq!(fake.lines()[0], "GET /v2/a/b/manifests/latest?ns=127.0.0.1:1");
    }
    assert_eq!(broken.seen().len(), 2, "a mirror gets one more chance");
    assert_eq!(bench.warnings().len(), 3);
    // Without a mirror nobody is told for whom.
    let alone = Fake::start(|_| manifest());
    Bench::new().pull(&alone, |client| client.manifest("latest")).unwrap();
    assert_eq!(alone.lines(), ["GET /v2/a/b/manifests/latest"]);
}

#[test]
fn a_server_elsewhere_has_no_claim_to_what_is_for_the_registry() {
    let bench = bench();
    let toml = |text: &str| bench.write("etc/containerd/certs.d/reg.example/hosts.toml", text);
    toml("server = \"https://other.example:8443\"\n");
    let reference = Reference::parse("reg.example/a").unwrap();
    let host = |access| hosts_of(&bench.places(), &reference, &bench.options, access).unwrap().pop().unwrap();
    for access in [Access::Pull, Access::Push] {
        let host = host(access);
        assert_eq!((host.is_origin, host.namespace.as_deref()), (false, Some("reg.example")));
        assert_eq!(host.keys, ["other.example:8443"]);
    }
    // The same place in other words is no other.
    for same in ["https://reg.example", "https://reg.example:443", "http://reg.example", "reg.example"] {
        toml(&format!("server = \"{same}\"\n"));
        let host = host(Access::Push);
        assert_eq!((host.is_origin, host.namespace), (true, None), "{same}");
    }
    toml("server = \"http://reg.example:80\"\n");
    assert!(!host(Access::Pull).is_origin);
    // Among others it is asked last, as always.
    toml("[host.\"https://reg.example\"]\n[host.\"https://mirror.example\"]\n");
    assert_eq!(
        servers(&bench, "reg.example/a", Access::Pull).unwrap(),
        ["mirror.example/v2/a for reg.example", "reg.example/v2/a"]
    );

    // The caller's credentials stay with the caller.
    let other = Fake::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => manifest(),
    });
    let mut bench = super::Bench::new();
    bench.options = RegistryOptions::default().credentials(Credentials::password("user", "sEcReT"));
    bench.write(
        "etc/containerd/certs.d/reg.example/hosts.toml",
        &format!("server = \"http://{}\"\n", other.authority()),
    );
    let error = bench.call("reg.example/a", Access::Pull, |client| client.manifest("latest")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    assert_eq!(other.lines(), ["GET /v2/a/manifests/latest?ns=reg.example"]);
    assert!(other.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn a_server_elsewhere_that_lies_is_not_asked_for_ever() {
    let other = Fake::start(|_| Reply::new(200).body("something else"));
    let bench = bench();
    bench.write(
        "etc/containerd/certs.d/reg.example/hosts.toml",
        &format!("server = \"http://{}\"\n", other.authority()),
    );
    bench
        .call("reg.example/a", Access::Pull, |client| {
            assert_eq!(client.blob(&Digest::of(b"x"), 0, 14)?.mirror(), None);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_mirror_that_cannot_be_reached_is_waited_for_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let registry = Fake::start(|_| manifest());
    let bench = bench();
    bench.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()),
        &format!("server = \"http://{}\"\n[host.\"http://127.0.0.1:{port}\"]\n", registry.authority()),
    );
    bench
        .call(&format!("{}/a/b", registry.authority()), Access::Pull, |client| {
            for _ in 0..5 {
                client.manifest("latest")?;
            }
            Ok(())
        })
        .unwrap();
    let retries =
        bench.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Retry { .. })).count();
    assert_eq!((retries, bench.warnings().len()), (1, 1), "{:?}", bench.warnings());
}

#[test]
fn a_copy_goes_on_at_the_registry_where_a_mirror_stopped() {
    let content: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let whole = content.clone();
    let mirror = Fake::start(move |_| Reply::new(200).body(whole.clone()).cut_after(40_000));
    let whole = content.clone();
    let registry = Fake::start(move |seen| {
        let from: usize = seen.header("range").unwrap()[6..].split('-').next().unwrap().parse().unwrap();
        let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
        Reply::new(206).header("Content-Range", range).body(&whole[from..])
    });
    let bench = bench();
    bench.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()),
        &format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", registry.authority(), mirror.authority()),
    );
    bench
        .call(&format!("{}/a/b", registry.authority()), Access::Pull, |client| {
            let mut all = Vec::new();
            let blob = Foreign::new(client, &Descriptor::new("x", digest.clone(), size));
            let read = |offset: usize, all: &mut Vec<u8>| {
                let mut body = blob.open(offset as u64, "example.com:443")?;
                std::io::Read::read_to_end(&mut body.reader, all).map_err(|error| Error::of_read(error, ""))
            };
            assert!(read(0, &mut all).unwrap_err().is_transient());
            let there = all.len();
            assert_eq!(there, 40_000);
            read(there, &mut all)?;
            assert!(all == content);
            Ok(())
        })
        .unwrap();
    assert_eq!((mirror.seen().len(), registry.seen().len()), (1, 1));
}

#[test]
fn a_copy_of_what_a_mirror_has_damaged_goes_on_at_the_registry() {
    let content: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let (digest, size) = (Digest::of(&content), content.len() as u64);
    let mut damaged = content.clone();
    damaged[777] ^= 1;
    // All of it from the mirror; or the beginning alone, and the rest from the registry.
    for cut in [content.len(), 40_000] {
        let (bytes, whole) = (damaged.clone(), content.clone());
        let mirror = Fake::start(move |_| Reply::new(200).body(bytes.clone()).cut_after(cut));
        let registry = Fake::start(move |seen| match seen.header("range") {
            None => Reply::new(200).body(whole.clone()),
            Some(range) => {
                let from: usize = range[6..].split('-').next().unwrap().parse().unwrap();
                let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
                Reply::new(206).header("Content-Range", range).body(&whole[from..])
            }
        });
        let bench = bench();
        bench.write(
            &format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()),
            &format!(
                "server = \"http://{}\"\n[host.\"http://{}\"]\n",
                registry.authority(),
                mirror.authority()
            ),
        );
        bench
            .call(&format!("{}/a/b", registry.authority()), Access::Pull, |client| {
                let blob = Foreign::new(client, &Descriptor::new("x", digest.clone(), size));
                let read = |offset: usize| -> (Vec<u8>, Result<()>) {
                    let (mut all, mut body) =
                        (Vec::new(), blob.open(offset as u64, "example.com:443").unwrap());
                    let result = std::io::Read::read_to_end(&mut body.reader, &mut all);
                    (all, result.map(drop).map_err(|error| Error::of_read(error, "")))
                };
                let (mut all, mut result) = read(0);
                if cut < content.len() {
                    assert!(result.unwrap_err().is_transient());
                    let rest = read(cut);
                    all.extend(rest.0);
                    result = rest.1;
                }
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DigestMismatch, "{error}");
                // Nobody has got all of it.
                assert!(all.len() < content.len());
                assert!(blob.is_elsewhere(&error));
                let (all, result) = read(0);
                result.unwrap();
                assert!(all == content);
                // Of the registry itself it is what the registry says.
                assert!(!blob.is_elsewhere(&error));
                assert_eq!(client.small_blob(&digest, size).unwrap(), content);
                Ok(())
            })
            .unwrap();
        assert_eq!(mirror.seen().len(), 1);
    }
}

#[test]
fn a_small_blob_that_a_mirror_has_damaged_comes_from_the_registry() {
    let (good, digest) = (b"as it should be".to_vec(), Digest::of(b"as it should be"));
    let mirror = Fake::start(|_| Reply::new(200).body("as it must not!"));
    let registry = Fake::start(move |_| Reply::new(200).body(good.clone()));
    let bench = bench();
    bench.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()),
        &format!("server = \"http://{}\"\n[host.\"http://{}\"]\n", registry.authority(), mirror.authority()),
    );
    let name = format!("{}/a/b", registry.authority());
    let bytes = bench.call(&name, Access::Pull, |client| client.small_blob(&digest, 15)).unwrap();
    assert_eq!((bytes.as_slice(), mirror.seen().len()), (&b"as it should be"[..], 1));
}

#[test]
fn the_namespace_goes_with_digests_too_and_headers_stay() {
    let mirror = Fake::start(|seen| match seen.target.as_str() {
        "/v2/a/b/blobs/elsewhere" => Reply::new(200).body("x"),
        _ => Reply::new(404),
    });
    let other = Fake::start(|_| Reply::new(200).body("x"));
    let there = other.authority();
    let first = Fake::start(move |_| Reply::new(302).header("Location", format!("http://{there}/v2/x")));
    let bench = bench();
    bench.write(
        "etc/containerd/certs.d/127.0.0.1:1/hosts.toml",
        &format!(
            "[host.\"http://{0}\"]\n[host.\"http://{0}\".header]\nauthorization = \"Basic own\"\nx-own = \"1\"\n[host.\"http://{1}\"]\n",
            first.authority(),
            mirror.authority()
        ),
    );
    bench
        .call("127.0.0.1:1/a/b", Access::Pull, |client| client.blob(&Digest::of(b"x"), 0, 1).map(drop))
        .unwrap();
    assert_eq!(first.seen()[0].header("x-own"), Some("1"));
    assert_eq!(first.seen()[0].header("authorization"), Some("Basic own"));
    assert!(first.lines()[0].ends_with("?ns=127.0.0.1:1"));
    assert_eq!((other.seen()[0].header("x-own"), other.seen()[0].header("authorization")), (None, None));
}

#[test]
fn short_names_are_dockers_unless_the_file_says_where_to_search() {
    let bench = bench();
    let names = |text: &str| -> Vec<String> {
        candidates(&bench.places(), text).unwrap().iter().map(Reference::to_string).collect()
    };
    bench.write(
        "etc/containers/registries.conf.d/shortnames.conf",
        "[aliases]\n\"fedora\" = \"registry.example/fedora\"\n",
    );
    assert_eq!(names("fedora:1"), ["docker.io/library/fedora:1"]);
    bench.write(
        "etc/containers/registries.conf",
        "unqualified-search-registries = [\"one.example\", \"docker.io\"]\n",
    );
    assert_eq!(names("fedora:1"), ["registry.example/fedora:1"]);
    assert_eq!(names("debian"), ["one.example/debian:latest", "docker.io/library/debian:latest"]);
    assert_eq!(
        names("user/app@sha256:0000000000000000000000000000000000000000000000000000000000000000").len(),
        2
    );
    assert_eq!(names("docker.io/debian"), ["docker.io/library/debian:latest"]);
    assert_eq!(names("reg.example/debian"), ["reg.example/debian:latest"]);
}

#[test]
fn mirrors_of_the_call_are_asked_first_and_never_pushed_to() {
    let mut bench = bench();
    bench.write("etc/containerd/certs.d/docker.io/hosts.toml", "[host.\"https://of-the-file.example\"]\n");
    bench.options = RegistryOptions::default()
        .mirror("https://all.example/proxy")
        .mirror("docker.io=http://hub.example:5000")
        .mirror("reg.example=other.example");
    assert_eq!(
        servers(&bench, "debian", Access::Pull).unwrap(),
        [
            "all.example/proxy/v2/library/debian for docker.io",
            "hub.example:5000/v2/library/debian http for docker.io",
            "of-the-file.example/v2/library/debian for docker.io",
            "registry-1.docker.io/v2/library/debian",
        ]
    );
    assert_eq!(
        servers(&bench, "reg.example/a", Access::Pull).unwrap(),
        ["all.example/proxy/v2/a for reg.example", "other.example/v2/a for reg.example", "reg.example/v2/a"]
    );
    for access in [Access::Push, Access::Delete] {
        assert_eq!(servers(&bench, "reg.example/a", access).unwrap(), ["reg.example/v2/a"]);
    }
    // The registry is no mirror of itself.
    bench.options = RegistryOptions::default().mirror("https://reg.example");
    assert_eq!(servers(&bench, "reg.example/a", Access::Pull).unwrap(), ["reg.example/v2/a"]);
    for bad in ["", "ftp://x", "https://me:s3cret@x.example", "docker.io=", "a b"] {
        bench.options = RegistryOptions::default().mirror(bad);
        let error = servers(&bench, "reg.example/a", Access::Pull).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn files_that_the_call_names_take_the_place_of_the_usual_ones() {
    let mut bench = bench();
    bench.write(
        "etc/containers/registries.conf",
        "[[registry]]\nlocation = \"reg.example\"\nblocked = true\n",
    );
    bench.write("etc/containerd/certs.d/reg.example/hosts.toml", "server = \"https://usual.example\"\n");
    bench.write(
        "own.conf",
        "[[registry]]\nlocation = \"reg.example\"\n[[registry.mirror]]\nlocation = \"m.example\"\n",
    );
    bench.write("hosts/reg.example/hosts.toml", "[host.\"https://h.example\"]\n");
    let (conf, hosts) = (bench.path().join("own.conf"), bench.path().join("hosts"));
    bench.options = RegistryOptions::default().registries_conf(&conf).hosts_dir(&hosts);
    assert_eq!(
        servers(&bench, "reg.example/a", Access::Pull).unwrap(),
        ["m.example/v2/a", "h.example/v2/a for reg.example", "reg.example/v2/a"]
    );
    for missing in [
        RegistryOptions::default().registries_conf(bench.path().join("none")),
        RegistryOptions::default().registries_conf(&conf).hosts_dir(bench.path().join("none")),
    ] {
        bench.options = missing;
        let error = servers(&bench, "reg.example/a", Access::Pull).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PathNotFound, "{error}");
    }
}

#[test]
fn what_the_engine_says_is_for_calls_that_say_nothing() {
    let mut bench = bench();
    let seconds = Duration::from_secs;
    let defaults = RegistryOptions::default()
        .connect_timeout(seconds(3))
        .idle_timeout(seconds(4))
        .mirror("https://m.example");
    let options = crate::EngineOptions::default().registry(defaults).offline(false);
    bench.network = Network::of(&options).unwrap();
    let call = RegistryOptions::default().idle_timeout(seconds(7));
    let (world, both) = bench.world().for_call(&call).unwrap();
    assert_eq!((world.tuning.patience.connect, world.tuning.patience.idle), (seconds(3), seconds(7)));
    assert_eq!(both.mirrors, ["https://m.example"]);
    for bad in [Duration::ZERO, Duration::MAX] {
        let call = RegistryOptions::default().connect_timeout(bad);
        assert_eq!(bench.world().for_call(&call).map(drop).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    for one in [
        RegistryOptions::default().insecure(true),
        RegistryOptions::default().cert_dir("/x"),
        RegistryOptions::default().credentials(Credentials::password("a", "b")),
        RegistryOptions::default().idle_timeout(Duration::ZERO),
    ] {
        let options = crate::EngineOptions::default().registry(one).offline(false);
        assert_eq!(Network::of(&options).map(drop).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[test]
fn a_registry_that_says_nothing_is_waited_for_as_long_as_the_call_says() {
    let fake = Fake::start(|_| Reply::hang());
    let mut bench = Bench::new();
    bench.tuning.patience.idle = Duration::from_secs(600);
    bench.options = bench.options.idle_timeout(Duration::from_millis(50)).retries(0);
    let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
}
