//! URLs in descriptors: who is asked, with what, and what comes of it.

use std::io::Read;

use super::*;
use crate::distribution::elsewhere::{Elsewhere, UrlPolicy};
use crate::distribution::foreign::Foreign;
use crate::oci::{Descriptor, media_type};

fn content() -> Vec<u8> {
    (0..50_000u32).map(|n| (n % 251) as u8).collect()
}

fn descriptor(urls: &[String]) -> Descriptor {
    let content = content();
    let mut descriptor =
        Descriptor::new(media_type::FOREIGN_GZIP, Digest::of(&content), content.len() as u64);
    descriptor.urls = urls.to_vec();
    descriptor
}

/// A registry that does not have it.
fn without() -> Fake {
    Fake::start(|_| Reply::new(404).body(error_document("BLOB_UNKNOWN")))
}

/// What a client gets: from an offset on.
fn fetch(
    bench: &Bench,
    registry: &Fake,
    urls: &[String],
    policy: &UrlPolicy,
    offset: u64,
) -> Result<Vec<u8>> {
    let events = |event: Event| bench.events.lock().unwrap().push(event);
    let reference = Reference::parse(&format!("{}/a/b", registry.authority())).unwrap();
    let client =
        Client::with(&bench.world(), &reference, &bench.options, Access::Pull, &events, &bench.cancel)?
            .with_urls(policy.clone());
    let descriptor = descriptor(urls);
    let elsewhere = Elsewhere::of(&descriptor);
    let range = (offset, descriptor.size);
    let mut body = client.blob_or_elsewhere(&descriptor.digest, range, &elsewhere, None)?;
    let skip = offset - body.offset();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).map_err(|error| Error::of_read(error, ""))?;
    Ok(bytes.split_off(skip as usize))
}

fn policy(hosts: &[&str]) -> UrlPolicy {
    UrlPolicy::new(true, &hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>()).unwrap()
}

fn mark(bench: &Bench, fake: &Fake) {
    let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", fake.authority());
    bench.write(&format!("etc/containers/registries.conf.d/{}.conf", fake.port), &text);
}

fn url(fake: &Fake) -> String {
    format!("http://{}/layer?signed=secret", fake.authority())
}

#[test]
fn nobody_is_asked_unless_it_is_allowed() {
    let (bench, registry) = (Bench::new(), without());
    let away = Fake::start(|_| Reply::new(200).body(content()));
    mark(&bench, &away);
    let error = fetch(&bench, &registry, &[url(&away)], &UrlPolicy::default(), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.hint().unwrap().contains("--allow-foreign-urls"), "{error}");
    let error = fetch(&bench, &registry, &[], &policy(&[]), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("no URL"), "{error}");
    assert!(away.seen().is_empty());
    for (allowed, hosts) in
        [(false, vec!["a.example"]), (true, vec!["a.example/x"]), (true, vec!["u@a"]), (true, vec![""])]
    {
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        assert_eq!(
            UrlPolicy::new(allowed, &hosts).unwrap_err().kind(),
            ErrorKind::InvalidArgument,
            "{hosts:?}"
        );
    }
}

#[test]
fn what_the_registry_has_is_not_looked_for_elsewhere() {
    let (bench, away) = (Bench::new(), Fake::start(|_| Reply::new(200).body(content())));
    mark(&bench, &away);
    let registry = Fake::start(|_| Reply::new(200).body(content()));
    assert!(fetch(&bench, &registry, &[url(&away)], &policy(&["127.0.0.1"]), 0).unwrap() == content());
    // Nor when it fails for another reason.
    let mut bench = bench;
    bench.options = bench.options.retries(0);
    for status in [401, 403, 500] {
        let registry = Fake::start(move |_| Reply::new(status));
        assert!(fetch(&bench, &registry, &[url(&away)], &policy(&["127.0.0.1"]), 0).is_err());
    }
    assert!(away.seen().is_empty());
}

#[test]
fn sec_100_private_places_and_plain_http_are_asked_only_if_they_are_named() {
    let (bench, registry) = (Bench::new(), without());
    let away = Fake::start(|_| Reply::new(200).body(content()));
    let refused = |bench: &Bench, policy: &UrlPolicy, word: &str| {
        let error = fetch(bench, &registry, &[url(&away)], policy, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry, "{error}");
        assert!(error.to_string().contains(word) && !error.to_string().contains("secret"), "{error}");
        assert!(away.seen().is_empty());
    };
    // That the registry is insecure says nothing of others.
    refused(&bench, &policy(&["127.0.0.1"]), "without TLS");
    mark(&bench, &away);
    refused(&bench, &policy(&[]), "not public");
    refused(&bench, &policy(&["127.0.0.1:1"]), "not public");
    for host in ["127.0.0.1".to_owned(), away.authority()] {
        assert!(fetch(&bench, &registry, &[url(&away)], &policy(&[&host]), 0).unwrap() == content());
    }
    // The registry's own host needs no word.
    let own = Fake::start(|seen| match seen.target.as_str() {
        "/layer?signed=secret" => Reply::new(200).body(content()),
        _ => Reply::new(404),
    });
    assert!(fetch(&bench, &own, &[url(&own)], &policy(&[]), 0).unwrap() == content());
}

#[test]
fn sec_100_a_redirect_leads_nowhere_that_a_url_may_not() {
    let (bench, registry) = (Bench::new(), without());
    let inside = Fake::start(|_| Reply::new(200).body(content()));
    mark(&bench, &inside);
    let leads = |to: String| {
        let away = Fake::start(move |seen| match seen.target.as_str() {
            "/there" => Reply::new(200).body(content()),
            _ => Reply::new(302).header("Location", to.clone()),
        });
        mark(&bench, &away);
        away
    };
    // Without TLS only the place itself is asked, and where it leads to is no more public than where it is.
    for (to, word) in [
        (url(&inside), "without TLS"),
        (format!("https://{}/layer", inside.authority()), "not public"),
        ("https://localhost:1/layer".to_owned(), "not public"),
        ("https://[::1]:1/layer".to_owned(), "not public"),
    ] {
        let away = leads(to.clone());
        let hosts = policy(&[&away.authority()]);
        let error = fetch(&bench, &registry, &[url(&away)], &hosts, 0).unwrap_err();
        assert!(error.to_string().contains(word), "{to}: {error}");
    }
    assert!(inside.seen().is_empty());
    let away = leads("/there".to_owned());
    let hosts = policy(&[&away.authority()]);
    assert!(fetch(&bench, &registry, &[url(&away)], &hosts, 0).unwrap() == content());
}

#[test]
fn sec_100_urls_get_no_credentials() {
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("me", "canary"));
    let registry = Fake::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::new(404),
    });
    // Not even when it asks for them.
    let away = Fake::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    mark(&bench, &away);
    let error = fetch(&bench, &registry, &[url(&away)], &policy(&["127.0.0.1"]), 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(away.seen().len(), 1);
    assert!(away.seen().iter().all(|seen| seen.header("authorization").is_none()));
    assert!(registry.seen().iter().any(|seen| seen.header("authorization").is_some()));
    for bad in ["https://me:canary@away.example/x", "ftp://away.example/x", "file:///etc/passwd", "", "x"] {
        let error = fetch(&bench, &registry, &[bad.to_owned()], &policy(&[]), 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry, "{bad}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[test]
fn one_url_after_the_other_and_from_an_offset_on() {
    let (mut bench, registry) = (Bench::new(), without());
    bench.options = bench.options.retries(1);
    let gone = Fake::start(|_| Reply::new(404).body("a secret page"));
    let short = Fake::start(|_| Reply::new(200).body("short"));
    let ranges = Fake::start(|seen| match seen.header("range") {
        None => Reply::new(200).body(content()),
        Some(range) => {
            let from: usize = range[6..].split('-').next().unwrap().parse().unwrap();
            let range = format!("bytes {from}-49999/50000");
            Reply::new(206).header("Content-Range", range).body(&content()[from..])
        }
    });
    let none = Fake::start(|_| Reply::new(200).body(content()));
    let liar = Fake::start(|seen| match seen.header("range") {
        None => Reply::new(200).body(content()),
        Some(_) => Reply::new(206).header("Content-Range", "bytes 3-5/50000").body("xyz"),
    });
    for fake in [&gone, &short, &ranges, &none, &liar] {
        mark(&bench, fake);
    }
    let policy = policy(&["127.0.0.1"]);
    for last in [&ranges, &none, &liar] {
        let urls = [url(&gone), url(&short), url(last)];
        for offset in [0, 20_000] {
            let found = fetch(&bench, &registry, &urls, &policy, offset).unwrap();
            assert!(found == content()[offset as usize..]);
        }
    }
    assert_eq!(ranges.seen().len(), 2);
    assert!(bench.warnings().iter().any(|text| text.contains(&gone.authority())), "{:?}", bench.warnings());
    let error = fetch(&bench, &registry, &[url(&gone), url(&short)], &policy, 0).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&gone.authority()) && !text.contains("secret"), "{text}");
}

#[test]
fn a_copy_goes_on_at_the_next_url_when_one_has_something_else() {
    let (bench, registry) = (Bench::new(), without());
    let wrong = Fake::start(|_| Reply::new(200).body(vec![7; 50_000]));
    let away = Fake::start(|_| Reply::new(200).body(content()));
    mark(&bench, &wrong);
    mark(&bench, &away);
    let descriptor = descriptor(&[url(&wrong), url(&away)]);
    bench
        .call(&format!("{}/a/b", registry.authority()), Access::Pull, |client| {
            // What the caller says is the client's.
            let blob = Foreign::new(client, &descriptor);
            assert_eq!(blob.open(0, "example.com:443").err().unwrap().kind(), ErrorKind::Unsupported);
            Ok(())
        })
        .unwrap();
    let events = |_: Event| {};
    let reference = Reference::parse(&format!("{}/a/b", registry.authority())).unwrap();
    let client =
        Client::with(&bench.world(), &reference, &bench.options, Access::Pull, &events, &bench.cancel)
            .unwrap()
            .with_urls(policy(&["127.0.0.1"]));
    let blob = Foreign::new(&client, &descriptor);
    let read = || {
        let mut bytes = Vec::new();
        let mut opened = blob.open(0, "example.com:443").unwrap();
        let result = opened.reader.read_to_end(&mut bytes);
        result.map(|_| bytes).map_err(|error| Error::of_read(error, ""))
    };
    let error = read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
    assert!(blob.is_elsewhere(&error));
    assert!(read().unwrap() == content());
    // It is the last one.
    assert!(!blob.is_elsewhere(&error));
}
