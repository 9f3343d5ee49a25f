//! Uploads, mounts, manifests, deletion.

use std::sync::Arc;

use super::*;
use crate::distribution::client::{Opened, Reopen};

/// Content in memory.
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Reopen for Bytes {
    fn open_at(&self, offset: u64, _: &str) -> Result<Opened<'_>> {
        Ok(Opened::here(&self.0[usize::try_from(offset).unwrap()..]))
    }
}

/// A registry that takes blobs as the specification says, and what it may do otherwise.
#[derive(Default)]
struct Registry {
    /// What is in the session.
    session: Mutex<Vec<u8>>,
    /// What was closed with a digest.
    stored: Mutex<Vec<(String, Vec<u8>)>>,
    min_chunk: Option<u64>,
    /// Takes only so much of the first piece, then answers 416.
    short_once: Mutex<Option<usize>>,
    /// Answers so many closing requests with an error that passes.
    busy: Mutex<usize>,
    /// Answers so many questions for the state of the session with an error that passes.
    vague: Mutex<usize>,
    takes_single_post: bool,
}

impl Registry {
    fn start(self: &Arc<Registry>) -> Fake {
        let registry = Arc::clone(self);
        Fake::start(move |seen| registry.answer(seen))
    }

    fn open(&self) -> Reply {
        self.session.lock().unwrap().clear();
        let reply = Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1?state=0");
        match self.min_chunk {
            Some(length) => reply.header("OCI-Chunk-Min-Length", length.to_string()),
            None => reply,
        }
    }

    fn at(&self, status: u16) -> Reply {
        let length = self.session.lock().unwrap().len();
        Reply::new(status)
            .header("Location", format!("/v2/a/b/blobs/uploads/1?state={length}"))
            .header("Range", format!("0-{}", length.saturating_sub(1)))
    }

    fn store(&self, seen: &Seen, bytes: Vec<u8>) -> Reply {
        let digest = seen.target.rsplit_once("digest=").unwrap().1.replace("%3A", ":");
        if digest.starts_with("sha256") && Digest::of(&bytes).as_str() != digest {
            return Reply::new(400).body(error_document("DIGEST_INVALID"));
        }
        self.stored.lock().unwrap().push((digest, bytes));
        Reply::new(201)
    }

    fn answer(&self, seen: &Seen) -> Reply {
        match seen.method.as_str() {
            "POST" if seen.target.contains("?digest=") && self.takes_single_post => {
                self.store(seen, seen.body.clone())
            }
            "POST" => self.open(),
            "PATCH" => {
                let mut session = self.session.lock().unwrap();
                let expected = format!("{}-{}", session.len(), session.len() + seen.body.len() - 1);
                if seen.header("content-range") != Some(expected.as_str()) {
                    drop(session);
                    return self.at(416);
                }
                if let Some(most) = self.short_once.lock().unwrap().take() {
                    session.extend_from_slice(&seen.body[..most]);
                    drop(session);
                    return self.at(416);
                }
                session.extend_from_slice(&seen.body);
                drop(session);
                self.at(202)
            }
            "PUT" => {
                let mut busy = self.busy.lock().unwrap();
                if *busy > 0 {
                    *busy -= 1;
                    return Reply::new(503);
                }
                let mut all = self.session.lock().unwrap().clone();
                all.extend_from_slice(&seen.body);
                self.store(seen, all)
            }
            "GET" => {
                let mut vague = self.vague.lock().unwrap();
                if *vague > 0 {
                    *vague -= 1;
                    return if vague.is_multiple_of(2) { Reply::new(503) } else { Reply::silent() };
                }
                drop(vague);
                self.at(204)
            }
            "HEAD" => Reply::new(404),
            _ => Reply::new(204),
        }
    }
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn send(registry: Registry, bytes: &[u8], chunk: Option<u64>) -> (Result<()>, Vec<String>, Arc<Registry>) {
    let registry = Arc::new(registry);
    let fake = registry.start();
    let result = Bench::new().push(&fake, |client| {
        client.upload(&Digest::of(bytes), bytes.len() as u64, &Bytes(bytes.to_vec()), chunk, &|_| {})
    });
    let stored = registry.stored.lock().unwrap().clone();
    if result.is_ok() {
        assert_eq!(stored, [(Digest::of(bytes).to_string(), bytes.to_vec())]);
    }
    let lines =
        fake.lines().iter().map(|line| line.split(['?', '/']).next().unwrap().trim().to_owned()).collect();
    (result, lines, registry)
}

#[test]
fn dst_06_and_07_whole_blobs() {
    let large = content(200_000);
    let (result, lines, _) = send(Registry::default(), &large, None);
    result.unwrap();
    assert_eq!(lines, ["POST", "PUT"]);
    // A small one goes with the first request, if the registry takes it, and otherwise on in the session that it opened.
    let (result, lines, _) =
        send(Registry { takes_single_post: true, ..Registry::default() }, b"small", None);
    result.unwrap();
    assert_eq!(lines, ["POST"]);
    let (result, lines, _) = send(Registry::default(), b"small", None);
    result.unwrap();
    assert_eq!(lines, ["POST", "PUT"]);
    let (result, lines, _) = send(Registry { takes_single_post: true, ..Registry::default() }, b"", None);
    result.unwrap();
    assert_eq!(lines, ["POST"]);
}

#[test]
fn dst_08_and_09_pieces() {
    let bytes = content(300_000);
    let (result, lines, _) = send(Registry::default(), &bytes, Some(100_000));
    result.unwrap();
    assert_eq!(lines, ["POST", "PATCH", "PATCH", "PATCH", "PUT"]);
    // The registry's smallest piece counts when it is larger.
    let (result, lines, _) =
        send(Registry { min_chunk: Some(200_000), ..Registry::default() }, &bytes, Some(100_000));
    result.unwrap();
    assert_eq!(lines, ["POST", "PATCH", "PATCH", "PUT"]);
}

#[test]
fn dst_10_after_416_it_goes_on_where_the_registry_is() {
    let bytes = content(300_000);
    let registry = Registry { short_once: Mutex::new(Some(50_000)), ..Registry::default() };
    let (result, lines, _) = send(registry, &bytes, Some(100_000));
    result.unwrap();
    assert_eq!(lines, ["POST", "PATCH", "HEAD", "GET", "PATCH", "PATCH", "PATCH", "PUT"]);
}

#[test]
fn a_session_outlives_a_question_without_an_answer() {
    let bytes = content(300_000);
    let registry =
        Registry { short_once: Mutex::new(Some(50_000)), vague: Mutex::new(2), ..Registry::default() };
    let (result, lines, _) = send(registry, &bytes, Some(100_000));
    result.unwrap();
    let expected =
        ["POST", "PATCH", "HEAD", "GET", "HEAD", "GET", "HEAD", "GET", "PATCH", "PATCH", "PATCH", "PUT"];
    assert_eq!(lines, expected);
    // Nor is it forgotten when no answer ever comes.
    let registry =
        Registry { short_once: Mutex::new(Some(50_000)), vague: Mutex::new(1000), ..Registry::default() };
    let (result, lines, _) = send(registry, &bytes, Some(100_000));
    result.unwrap_err();
    assert_eq!(lines.iter().filter(|line| *line == "POST").count(), 1);
    assert_eq!(lines.last().map(String::as_str), Some("DELETE"));
}

#[test]
fn a_failed_upload_goes_on_and_a_hopeless_one_is_given_back() {
    let bytes = content(100_000);
    let (result, lines, _) = send(Registry { busy: Mutex::new(2), ..Registry::default() }, &bytes, None);
    result.unwrap();
    assert_eq!(lines, ["POST", "PUT", "HEAD", "GET", "PUT", "HEAD", "GET", "PUT"]);
    let (result, lines, _) = send(Registry { busy: Mutex::new(100), ..Registry::default() }, &bytes, None);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Registry);
    assert_eq!(lines.last().map(String::as_str), Some("DELETE"));
}

#[test]
fn dst_15_another_algorithm_is_announced() {
    let bytes = content(1000);
    let digest = {
        let mut hasher = crate::oci::Hasher::new(crate::oci::Algorithm::Sha512);
        hasher.update(&bytes);
        hasher.finish()
    };
    let registry = Arc::new(Registry::default());
    let fake = registry.start();
    Bench::new()
        .push(&fake, |client| {
            client.upload(&digest, bytes.len() as u64, &Bytes(bytes.clone()), None, &|_| {})
        })
        .unwrap();
    let lines = fake.lines();
    assert!(lines.iter().any(|line| line.ends_with("?digest-algorithm=sha512")), "{lines:?}");
    assert_eq!(registry.stored.lock().unwrap()[0].0, digest.as_str());
}

#[test]
fn sec_101_an_upload_that_leads_elsewhere_carries_no_credentials() {
    let store = Arc::new(Fake::start(|_| Reply::new(201)));
    let elsewhere = store.authority();
    let registry = Fake::start(move |seen| match (seen.header("authorization"), seen.method.as_str()) {
        (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        (Some(_), "POST") => {
            Reply::new(202).header("Location", format!("http://{elsewhere}/upload?signed=1"))
        }
        _ => Reply::new(404),
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("user", "sEcReT"));
    let bytes = content(50_000);
    bench
        .push(&registry, |client| {
            client.upload(&Digest::of(&bytes), bytes.len() as u64, &Bytes(bytes.clone()), None, &|_| {})
        })
        .unwrap();
    let seen = store.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].method.as_str(), seen[0].header("authorization")), ("PUT", None));
    assert_eq!(seen[0].body, bytes);
    // It wants to know who we are: that stays between us and the registry.
    let nosy = Arc::new(Fake::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\"")));
    let there = nosy.authority();
    let registry = Fake::start(move |seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        Some(_) => Reply::new(202).header("Location", format!("http://{there}/upload")),
    });
    let error = bench
        .push(&registry, |client| {
            client.upload(&Digest::of(&bytes), bytes.len() as u64, &Bytes(bytes.clone()), None, &|_| {})
        })
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(nosy.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

#[test]
fn dst_12_mounting() {
    let digest = Digest::of(b"x");
    let fake = Fake::start(|_| Reply::new(201));
    assert!(Bench::new().push(&fake, |client| client.mount(&digest, Some("other/name"))).unwrap());
    let encoded = digest.as_str().replace(':', "%3A");
    assert_eq!(fake.lines(), [format!("POST /v2/a/b/blobs/uploads/?mount={encoded}&from=other%2Fname")]);
    // If it opens a session instead, that is used.
    let registry = Arc::new(Registry::default());
    let fake = registry.start();
    let bytes = content(100_000);
    let digest = Digest::of(&bytes);
    Bench::new()
        .push(&fake, |client| {
            assert!(!client.mount(&digest, None)?);
            client.upload(&digest, bytes.len() as u64, &Bytes(bytes.clone()), None, &|_| {})
        })
        .unwrap();
    assert_eq!(fake.seen().iter().map(|seen| seen.method.clone()).collect::<Vec<_>>(), ["POST", "PUT"]);
}

#[test]
fn a_session_that_is_not_needed_after_all_is_given_back() {
    let digest = Digest::of(b"x");
    let fake = Fake::start(|seen| match seen.method.as_str() {
        "POST" if seen.target.contains("from=one") => {
            Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1")
        }
        "POST" => Reply::new(201),
        _ => Reply::new(204),
    });
    Bench::new()
        .push(&fake, |client| {
            assert!(!client.mount(&digest, Some("one"))?);
            assert!(client.mount(&digest, Some("two"))?);
            Ok(())
        })
        .unwrap();
    assert_eq!(fake.lines().last().map(String::as_str), Some("DELETE /v2/a/b/blobs/uploads/1"));
}

#[test]
fn dst_13_and_16_manifests_are_sent_as_they_are_and_subjects_listed() {
    let digest = Digest::of(MANIFEST.as_bytes());
    let stored = digest.to_string();
    let fake = Fake::start(move |_| Reply::new(201).header("Docker-Content-Digest", stored.clone()));
    let sent = Bench::new()
        .push(&fake, |client| client.put_manifest("v1", MANIFEST_TYPE, MANIFEST.as_bytes()))
        .unwrap();
    assert_eq!(sent, digest);
    let seen = fake.seen();
    assert_eq!(
        (seen[0].body.as_slice(), seen[0].header("content-type")),
        (MANIFEST.as_bytes(), Some(MANIFEST_TYPE))
    );
    let fake =
        Fake::start(|_| Reply::new(201).header("Docker-Content-Digest", Digest::of(b"other").to_string()));
    let error = Bench::new()
        .push(&fake, |client| client.put_manifest("v1", MANIFEST_TYPE, MANIFEST.as_bytes()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);

    let subject = Digest::of(b"subject");
    let artifact = format!(
        r#"{{"schemaVersion":2,"artifactType":"sbom","config":{{}},"layers":[],"annotations":{{"a":"b"}},
            "subject":{{"mediaType":"m","digest":"{subject}","size":7}}}}"#
    );
    let put = |fake: &Fake| {
        Bench::new()
            .push(fake, |client| client.put_manifest("sig", MANIFEST_TYPE, artifact.as_bytes()))
            .unwrap();
    };
    let knows = Fake::start(|_| Reply::new(201).header("OCI-Subject", Digest::of(b"subject").to_string()));
    put(&knows);
    assert_eq!(knows.seen().len(), 1);
    // Somebody else is faster once.
    let turns = Mutex::new(0);
    let fake = Fake::start(move |seen| match seen.method.as_str() {
        "GET" => Reply::new(200)
            .header("ETag", "\"v1\"")
            .body(r#"{"schemaVersion":2,"manifests":[{"digest":"x"}],"kept":1}"#),
        "PUT" if seen.target.contains("sha256-") => {
            let mut turns = turns.lock().unwrap();
            *turns += 1;
            Reply::new(if *turns == 1 { 412 } else { 201 })
        }
        _ => Reply::new(201),
    });
    put(&fake);
    let last = fake.seen().pop().unwrap();
    assert_eq!(last.target, format!("/v2/a/b/manifests/sha256-{}", subject.hex()));
    assert_eq!(last.header("if-match"), Some("\"v1\""));
    let index: serde_json::Value = serde_json::from_slice(&last.body).unwrap();
    assert_eq!(index["manifests"][0]["digest"], "x");
    assert_eq!(index["manifests"][1]["digest"], Digest::of(artifact.as_bytes()).as_str());
    assert_eq!(
        (&index["manifests"][1]["artifactType"], &index["manifests"][1]["annotations"]["a"]),
        (&"sbom".into(), &"b".into())
    );
    assert_eq!(index["kept"], 1);
}

#[test]
fn dst_14_several_tags_take_one_request_where_the_registry_says_so() {
    let digest = Digest::of(MANIFEST.as_bytes());
    let tags: Vec<String> = (1..=12).map(|n| format!("v{n}")).collect();
    let put = |handler: fn(&Seen) -> Reply| {
        let fake = Fake::start(handler);
        let sent = Bench::new()
            .push(&fake, |client| client.put_tagged(&tags, MANIFEST_TYPE, MANIFEST.as_bytes()))
            .unwrap();
        assert_eq!(sent, digest);
        assert!(fake.seen().iter().all(|seen| seen.body == MANIFEST.as_bytes()));
        let prefix = "PUT /v2/a/b/manifests/";
        fake.lines().iter().map(|line| line.strip_prefix(prefix).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let query = |tags: &[String]| {
        let tags: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
        format!("{digest}?{}", tags.join("&"))
    };
    // All of those it is asked for, in two headers. Ten at once are what it should take.
    let lines = put(|seen| {
        let query = seen.target.split_once('?').map_or("", |(_, query)| query);
        let tags: Vec<&str> = query.split('&').filter_map(|pair| pair.strip_prefix("tag=")).collect();
        let (one, two) = tags.split_at(tags.len() / 2);
        Reply::new(201).header("OCI-Tag", one.join(" ,")).header("OCI-Tag", two.join(", "))
    });
    assert_eq!(lines, [query(&tags[..10]), query(&tags[10..])]);
    // One that has not heard of it is asked once.
    let lines = put(|_| Reply::new(201));
    assert_eq!(lines, [&[query(&tags[..10])][..], &tags[..]].concat());
    // So is one that does not want it.
    for refuse in [
        (|seen| Reply::new(if seen.target.contains('?') { 414 } else { 201 })) as fn(&Seen) -> Reply,
        |seen| Reply::new(if seen.target.contains('?') { 400 } else { 201 }),
        |seen| Reply::new(if seen.target.contains('?') { 431 } else { 201 }),
    ] {
        assert_eq!(put(refuse), [&[query(&tags[..10])][..], &tags[..]].concat());
    }
    // What is not confirmed is sent alone.
    let lines = put(|_| Reply::new(201).header("OCI-Tag", "v1, v2, v3, v4, v5, v6, v8, v9, v10, v11, other"));
    assert_eq!(lines, [query(&tags[..10]), "v7".into(), query(&tags[10..]), "v12".into()]);
    // Who may not, may not either way.
    let fake = Fake::start(|_| Reply::new(403));
    let error = Bench::new()
        .push(&fake, |client| client.put_tagged(&tags, MANIFEST_TYPE, MANIFEST.as_bytes()))
        .unwrap_err();
    assert_eq!((error.kind(), fake.lines().len()), (ErrorKind::Unauthorized, 1));
    // Another manifest than was sent.
    let fake = Fake::start(|_| {
        Reply::new(201).header("OCI-Tag", "v1").header("Docker-Content-Digest", Digest::of(b"x").as_str())
    });
    let error = Bench::new()
        .push(&fake, |client| client.put_tagged(&tags, MANIFEST_TYPE, MANIFEST.as_bytes()))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[test]
fn dst_16_what_is_no_list_of_referrers_is_not_replaced() {
    let subject = Digest::of(b"subject");
    let artifact = format!(
        r#"{{"schemaVersion":2,"config":{{}},"layers":[],"subject":{{"mediaType":"m","digest":"{subject}","size":7}}}}"#
    );
    for there in [
        MANIFEST.to_owned(),
        "not json".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"manifests":{}}"#.to_owned(),
        r#"{"manifests":[],"layers":[]}"#.to_owned(),
        r#"{"mediaType":"application/other","manifests":[]}"#.to_owned(),
    ] {
        let body = there.clone();
        let fake = Fake::start(move |seen| match seen.method.as_str() {
            "GET" => Reply::new(200).body(body.clone()),
            _ => Reply::new(201),
        });
        let error = Bench::new()
            .push(&fake, |client| client.put_manifest("sig", MANIFEST_TYPE, artifact.as_bytes()))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry, "{there}");
        assert_eq!(fake.lines().iter().filter(|line| line.starts_with("PUT")).count(), 1, "{there}");
    }
}

#[test]
fn dst_20_deletion() {
    let digest = Digest::of(b"x");
    let fake = Fake::start(|seen| match seen.target.rsplit('/').next().unwrap() {
        "off" => Reply::new(405).body(error_document("UNSUPPORTED")),
        "gone" => Reply::new(404).body(error_document("MANIFEST_UNKNOWN")),
        _ => Reply::new(202),
    });
    let bench = Bench::new();
    let delete = |tag: &str| {
        bench.call(&format!("{}/a/b", fake.authority()), Access::Delete, |client| client.delete_tag(tag))
    };
    delete("v1").unwrap();
    assert_eq!(delete("off").unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(delete("gone").unwrap_err().kind(), ErrorKind::ImageNotFound);
    bench
        .call(&format!("{}/a/b", fake.authority()), Access::Delete, |client| {
            client.delete_manifest(&digest)?;
            client.delete_blob(&digest)
        })
        .unwrap();
    let last = fake.lines().pop().unwrap();
    assert_eq!(last, format!("DELETE /v2/a/b/blobs/{digest}"));
}

#[test]
fn the_answer_to_a_put_may_take_longer() {
    let fake = Fake::start(|seen| {
        std::thread::sleep(Duration::from_millis(600));
        Reply::new(if seen.method == "PUT" { 201 } else { 200 })
    });
    let mut bench = Bench::new();
    bench.tuning.patience.idle = Duration::from_millis(300);
    bench.options = bench.options.retries(0);
    bench.push(&fake, |client| client.put_manifest("v1", MANIFEST_TYPE, MANIFEST.as_bytes())).unwrap();
    let error = bench.push(&fake, |client| client.manifest("v1")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
}
