//! Manifests, blobs, lists; redirects and what goes wrong on the way.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

/// Answers a request by how many there were before.
fn in_turn(replies: Vec<Reply>) -> impl Fn(&Seen) -> Reply + Send + Sync + 'static {
    let turn = AtomicUsize::new(0);
    move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        replies[turn.min(replies.len() - 1)].clone()
    }
}

#[test]
fn a_manifest_by_tag_and_by_digest() {
    let digest = Digest::of(MANIFEST.as_bytes());
    let announced = digest.to_string();
    let fake = Fake::start(move |_| {
        Reply::new(200)
            .header("Content-Type", format!("{MANIFEST_TYPE}; charset=utf-8"))
            .header("Docker-Content-Digest", announced.clone())
            .body(MANIFEST)
    });
    let bench = Bench::new();
    let fetched = bench
        .pull(&fake, |client| {
            let head = client.manifest_head("latest")?.unwrap();
            assert_eq!((head.digest, head.size), (digest.clone(), MANIFEST.len() as u64));
            client.manifest(digest.as_str())?;
            client.manifest("latest")
        })
        .unwrap();
    assert_eq!((fetched.digest, fetched.media_type.as_str()), (digest.clone(), MANIFEST_TYPE));
    assert_eq!(fetched.bytes, MANIFEST.as_bytes());
    assert_eq!(
        fake.lines(),
        [
            "HEAD /v2/a/b/manifests/latest".to_owned(),
            format!("GET /v2/a/b/manifests/{digest}"),
            "GET /v2/a/b/manifests/latest".to_owned(),
        ]
    );
    let accept = fake.seen()[0].header("accept").unwrap().to_owned();
    for wanted in ["oci.image.index.v1", "oci.image.manifest.v1", "manifest.list.v2", "manifest.v2"] {
        assert!(accept.contains(wanted), "{accept}");
    }
}

#[test]
fn what_is_not_what_was_asked_for() {
    let other = Digest::of(b"something else").to_string();
    let cases: Vec<(&str, Reply, ErrorKind)> = vec![
        ("digest", manifest().header("Docker-Content-Digest", other.clone()), ErrorKind::DigestMismatch),
        (
            "type",
            Reply::new(200).header("Content-Type", "application/vnd.oci.image.index.v1+json").body(MANIFEST),
            ErrorKind::InvalidImage,
        ),
        (
            "html",
            Reply::new(200).header("Content-Type", "text/html").body("<html>hello"),
            ErrorKind::InvalidImage,
        ),
        (
            "length",
            Reply::new(200).header("Content-Length", "99999999999").body(""),
            ErrorKind::LimitExceeded,
        ),
        ("huge", Reply::new(200).body(vec![b' '; (4 << 20) + 1]), ErrorKind::LimitExceeded),
        ("missing", Reply::new(404).body(error_document("MANIFEST_UNKNOWN")), ErrorKind::ImageNotFound),
        ("no code", Reply::new(404).body("nope"), ErrorKind::ImageNotFound),
        ("teapot", Reply::new(418).body("\x1b[31mno"), ErrorKind::Registry),
        ("no redirect", Reply::new(302), ErrorKind::Registry),
    ];
    for (name, reply, kind) in cases {
        let fake = Fake::start(move |_| reply.clone());
        let error = Bench::new().pull(&fake, |client| client.manifest("latest")).unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(!error.to_string().contains('\x1b'), "{error}");
        assert_eq!(fake.seen().len(), 1, "{name}");
    }
    let fake = Fake::start(|_| manifest());
    let error = Bench::new().pull(&fake, |client| client.manifest(&other)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DigestMismatch);
}

#[test]
fn dst_22_a_busy_registry_is_waited_for() {
    let busy = || Reply::new(429).header("Retry-After", "0").body(error_document("TOOMANYREQUESTS"));
    let fake = Fake::start(in_turn(vec![busy(), Reply::new(503), Reply::silent(), manifest()]));
    let bench = Bench::new();
    bench.pull(&fake, |client| client.manifest("latest")).unwrap();
    let retries =
        bench.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Retry { .. })).count();
    assert_eq!((retries, fake.seen().len()), (3, 4));

    let fake = Fake::start(move |_| busy());
    let mut bench = Bench::new();
    bench.options = bench.options.retries(1);
    let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!((error.kind(), fake.seen().len()), (ErrorKind::RateLimited, 2));
    assert!(error.to_string().contains("TOOMANYREQUESTS: as the test wants"), "{error}");

    let fake = Fake::start(|_| Reply::new(429).header("Retry-After", "90000"));
    let error = Bench::new().pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!((error.kind(), fake.seen().len()), (ErrorKind::RateLimited, 1));
}

#[test]
fn dst_23_and_reg_26_warnings_and_limits_are_told() {
    let fake = Fake::start(|_| {
        manifest()
            .header("Warning", "299 - \"this repository moves\"")
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", "76;w=21600")
    });
    let bench = Bench::new();
    bench.pull(&fake, |client| client.manifest("latest").and_then(|_| client.manifest("latest"))).unwrap();
    assert_eq!(bench.warnings().len(), 1);
    assert!(bench.warnings()[0].ends_with("warns: this repository moves"));
    let limit =
        Event::RateLimit { limit: Some(100), remaining: Some(76), period: Some(Duration::from_secs(21_600)) };
    assert!(bench.events.lock().unwrap().contains(&limit));
}

#[test]
fn dst_04_a_blob_from_an_offset() {
    let content = b"0123456789".to_vec();
    let digest = Digest::of(&content);
    let whole = content.clone();
    let fake = Fake::start(move |seen| match seen.header("range") {
        Some("bytes=4-9") => Reply::new(206).header("Content-Range", "bytes 4-9/10").body(&whole[4..]),
        Some("bytes=5-9") => Reply::new(200).body(whole.clone()),
        Some("bytes=6-9") => Reply::new(206).header("Content-Range", "bytes 0-3/10").body(&whole[..4]),
        Some("bytes=7-9") => Reply::new(416),
        _ => Reply::new(200).body(whole.clone()),
    });
    let bench = Bench::new();
    let read = |offset: u64, size: u64| {
        bench.pull(&fake, |client| {
            let mut body = client.blob(&digest, offset, size)?;
            let mut bytes = Vec::new();
            let begin = body.offset();
            body.read_to_end(&mut bytes).map_err(|error| Error::of_read(error, ""))?;
            Ok((begin, bytes))
        })
    };
    assert_eq!(read(0, 10).unwrap(), (0, content.clone()));
    assert_eq!(read(4, 10).unwrap(), (4, content[4..].to_vec()));
    assert_eq!(read(5, 10).unwrap(), (0, content.clone()));
    assert_eq!(read(10, 10).unwrap(), (10, Vec::new()));
    // Another part than was asked for: then all of it is.
    assert_eq!(read(6, 10).unwrap(), (0, content.clone()));
    assert_eq!(read(7, 10).unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert_eq!(read(0, 9).unwrap_err().kind(), ErrorKind::DigestMismatch);
    assert_eq!(read(0, 11).unwrap_err().kind(), ErrorKind::DigestMismatch);
}

#[test]
fn a_cut_blob_is_worth_another_try_and_no_more_than_announced_is_given() {
    let chunked = |length: usize| {
        let mut body = format!("{length:x}\r\n").into_bytes();
        body.extend(vec![b'x'; length]);
        body.extend(b"\r\n0\r\n\r\n");
        Reply::new(200).header("Transfer-Encoding", "chunked").body(body)
    };
    for (reply, kind, transient, most) in [
        (Reply::new(200).body(vec![b'x'; 1000]).cut_after(500), ErrorKind::Network, true, 500),
        (chunked(999), ErrorKind::DigestMismatch, false, 999),
        (chunked(1001), ErrorKind::DigestMismatch, false, 1000),
        (chunked(1000).cut_after(300), ErrorKind::Network, true, 300),
    ] {
        let fake = Fake::start(move |_| reply.clone());
        Bench::new()
            .pull(&fake, |client| {
                let mut body = client.blob(&Digest::of(b"x"), 0, 1000)?;
                let mut bytes = Vec::new();
                let error = Error::of_read(body.read_to_end(&mut bytes).unwrap_err(), "");
                assert_eq!((error.kind(), error.is_transient()), (kind, transient), "{error}");
                assert!(bytes.len() <= most);
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn sec_101_a_redirect_to_another_server_carries_no_credentials() {
    let store = Arc::new(Fake::start(|_| Reply::new(200).body("0123456789")));
    let elsewhere = Arc::clone(&store);
    let registry = Fake::start(move |seen| match (seen.header("authorization"), seen.target.as_str()) {
        (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
        (Some(_), "/v2/a/b/here") => Reply::new(200).body("0123456789"),
        (Some(_), target) if target.contains("/manifests/") => Reply::new(307).header("Location", "../here"),
        (Some(_), _) => {
            Reply::new(307).header("Location", format!("http://{}/signed?x=y", elsewhere.authority()))
        }
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("user", "sEcReT"));
    let digest = Digest::of(b"0123456789");
    bench
        .pull(&registry, |client| {
            let mut text = String::new();
            client.blob(&digest, 0, 10)?.read_to_string(&mut text).unwrap();
            assert_eq!(text, "0123456789");
            Ok(())
        })
        .unwrap();
    let seen = store.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].target.as_str(), seen[0].header("authorization")), ("/signed?x=y", None));
    assert!(!format!("{seen:?}").contains("sEcReT"));
    // On the same server they are sent along.
    let _ = bench.pull(&registry, |client| client.manifest("latest"));
    let followed = registry.seen().into_iter().find(|seen| seen.target == "/v2/a/b/here").unwrap();
    assert!(followed.header("authorization").is_some());
}

#[test]
fn redirects_come_to_an_end() {
    let fake = Fake::start(|seen| Reply::new(302).header("Location", format!("{}x", seen.target)));
    let error = Bench::new().pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry, "{error}");
    assert!(fake.seen().len() <= 12);
}

#[test]
fn dst_19_tags_come_in_pages() {
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/v2/a/b/tags/list?n=1000" => Reply::new(200)
            .header("Link", "</v2/a/b/tags/list?n=2&last=c>; rel=\"next\"")
            .body(r#"{"name":"a/b","tags":["c","a"]}"#),
        "/v2/a/b/tags/list?n=2&last=c" => {
            Reply::new(200).header("Link", "<list?page=3>; rel=next; x=y").body(r#"{"tags":["b"]}"#)
        }
        "/v2/a/b/tags/list?page=3" => Reply::new(200).body(r#"{"tags":null}"#),
        _ => Reply::new(404),
    });
    let tags = Bench::new().pull(&fake, |client| client.tags()).unwrap();
    assert_eq!(tags, ["a", "b", "c"]);
    assert_eq!(fake.seen().len(), 3);
    // An empty page is not the end, nor is a comma in an address that of a link.
    let fake = Fake::start(|seen| match seen.target.as_str() {
        "/v2/a/b/tags/list?n=1000" => Reply::new(200)
            .header(
                "Link",
                "<https://x.example/?a,b>; rel=\"help\", </v2/a/b/tags/list?last=a,b>; rel=\"next\"",
            )
            .body(r#"{"tags":[]}"#),
        "/v2/a/b/tags/list?last=a,b" => Reply::new(200).body(r#"{"tags":["c"]}"#),
        _ => Reply::new(404),
    });
    assert_eq!(Bench::new().pull(&fake, |client| client.tags()).unwrap(), ["c"]);
}

#[test]
fn sec_106_endless_lists_end() {
    let turn = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let tags: Vec<String> = (0..5000).map(|i| format!("\"t{turn}-{i}\"")).collect();
        Reply::new(200)
            .header("Link", format!("</v2/a/b/tags/list?last={turn}>; rel=\"next\""))
            .body(format!("{{\"tags\":[{}]}}", tags.join(",")))
    });
    let error = Bench::new().pull(&fake, |client| client.tags()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(fake.seen().len() <= 1000);

    // Nothing new, again and again, always at another address, and round in a circle.
    let turn = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        Reply::new(200).header("Link", format!("</v2/x?{turn}>; rel=\"next\"")).body(r#"{"tags":["a"]}"#)
    });
    let error = Bench::new().pull(&fake, |client| client.tags()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(fake.seen().len() <= 1000);
    let fake = Fake::start(|seen| {
        let other = if seen.target.contains("x=1") { "2" } else { "1" };
        Reply::new(200).header("Link", format!("</v2/y?x={other}>; rel=next")).body(r#"{"tags":["a"]}"#)
    });
    let error = Bench::new().pull(&fake, |client| client.tags()).unwrap_err();
    assert_eq!((error.kind(), fake.seen().len()), (ErrorKind::Registry, 3), "{error}");

    // Little of each, but much of all together.
    let digest = Digest::of(MANIFEST.as_bytes());
    let turn = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        let noise = "x".repeat(60_000);
        let entry = |n: usize| {
            let digest = Digest::of(format!("{turn} {n}").as_bytes());
            format!(r#"{{"mediaType":"m","digest":"{digest}","size":1,"annotations":{{"a":"{noise}"}}}}"#)
        };
        let entries: Vec<String> = (0..50).map(entry).collect();
        Reply::new(200)
            .header("Link", format!("</v2/z?{turn}>; rel=\"next\""))
            .body(format!("{{\"manifests\":[{}]}}", entries.join(",")))
    });
    let error = Bench::new().pull(&fake, |client| client.referrers(&digest, None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert!(fake.seen().len() < 30, "{}", fake.seen().len());

    // A list does not go on at another server.
    let fake = Fake::start(|_| {
        Reply::new(200).header("Link", "<http://127.0.0.1:1/x>; rel=\"next\"").body(r#"{"tags":["a"]}"#)
    });
    assert_eq!(Bench::new().pull(&fake, |client| client.tags()).unwrap_err().kind(), ErrorKind::Registry);

    // Attachments: too many, and too large.
    let digest = Digest::of(MANIFEST.as_bytes());
    let entry = format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
    let many = vec![entry.as_str(); 10_001].join(",");
    let noisy = format!(
        r#"{{"mediaType":"m","digest":"{digest}","size":1,"annotations":{{"a":"{}"}}}}"#,
        "x".repeat(100_000)
    );
    for list in [many, noisy] {
        let fake = Fake::start(move |_| Reply::new(200).body(format!("{{\"manifests\":[{list}]}}")));
        let error = Bench::new().pull(&fake, |client| client.referrers(&digest, None)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
    }
}

#[test]
fn dst_17_and_18_referrers_and_the_tag_in_their_place() {
    let subject = Digest::of(b"subject");
    let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
    let list = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
            {{"mediaType":"m","digest":"{one}","size":1,"artifactType":"sbom","annotations":{{"a":"b"}}}},
            {{"mediaType":"m","digest":"{two}","size":2,"artifactType":"signature"}}]}}"#
    );
    for has_list in [true, false] {
        let (list, path) = (list.clone(), format!("/v2/a/b/referrers/{subject}"));
        let tag = format!("/v2/a/b/manifests/sha256-{}", subject.hex());
        let fake = Fake::start(move |seen| {
            if has_list && seen.target.starts_with(&path) || !has_list && seen.target == tag {
                Reply::new(200)
                    .header("Content-Type", "application/vnd.oci.image.index.v1+json")
                    .body(list.clone())
            } else {
                Reply::new(404)
            }
        });
        let bench = Bench::new();
        let all = bench.pull(&fake, |client| client.referrers(&subject, None)).unwrap();
        assert_eq!(all.len(), 2);
        let some = bench.pull(&fake, |client| client.referrers(&subject, Some("sbom"))).unwrap();
        assert_eq!(some.len(), 1);
        assert_eq!(
            (some[0].digest.as_str(), some[0].annotations.get("a").map(String::as_str)),
            (one.as_str(), Some("b"))
        );
    }
    let fake = Fake::start(|_| Reply::new(404));
    assert!(Bench::new().pull(&fake, |client| client.referrers(&subject, None)).unwrap().is_empty());
}

#[test]
fn cancelling_ends_a_wait_at_once() {
    let fake = Fake::start(|_| Reply::hang());
    let mut bench = Bench::new();
    bench.cancel = CancelToken::new();
    let other = bench.cancel.clone();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            other.cancel();
        });
        let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let fake = Fake::start(|_| Reply::hang());
    let mut bench = Bench::new();
    bench.tuning.patience.idle = Duration::from_millis(200);
    bench.options = bench.options.retries(1);
    let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    // It may read the last one when nobody waits for it any more.
    let end = Instant::now() + Duration::from_secs(5);
    while fake.seen().len() < 2 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((error.kind(), fake.seen().len()), (ErrorKind::Network, 2), "{error}");
}

#[test]
fn connections_are_used_again() {
    let fake = Fake::start(|_| manifest());
    let bench = Bench::new();
    bench
        .pull(&fake, |client| {
            for _ in 0..5 {
                client.manifest("latest")?;
                client.manifest_head("latest")?;
            }
            Ok(())
        })
        .unwrap();
    assert!(fake.connections() <= 3, "{}", fake.connections());
}
