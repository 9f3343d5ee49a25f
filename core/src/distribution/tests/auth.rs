//! Challenges, tokens, credentials: who gets to see what.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use base64::Engine as _;

use super::push::Bytes;
use super::*;
use crate::distribution::login::{login, logout};
use crate::distribution::search::{SearchOptions, search};

/// What a token server and its registry do. The token server is the same host, at `/token`.
struct Guarded {
    /// The challenge, with `{realm}` for the address of the token server.
    challenge: &'static str,
    /// The answer of the token server, with `{n}` for the number of the token.
    token: &'static str,
    /// The tokens, by number, that the registry does not take.
    refused: Vec<usize>,
    get_status: u16,
}

impl Default for Guarded {
    fn default() -> Guarded {
        Guarded {
            challenge: r#"Bearer realm="{realm}",service="reg",scope="repository:a/b:pull""#,
            token: r#"{"token":"token-{n}","expires_in":300}"#,
            refused: Vec::new(),
            get_status: 200,
        }
    }
}

impl Guarded {
    fn start(self) -> Fake {
        let issued = Mutex::new(0);
        Fake::start(move |seen| {
            let authority = seen.header("host").unwrap();
            if seen.target.starts_with("/token") {
                if seen.method == "GET" && self.get_status != 200 {
                    return Reply::new(self.get_status);
                }
                let mut issued = issued.lock().unwrap();
                *issued += 1;
                return Reply::new(200)
                    .header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
                    .body(self.token.replace("{n}", &issued.to_string()));
            }
            let number = seen
                .header("authorization")
                .and_then(|value| value.strip_prefix("Bearer token-")?.parse().ok());
            match number {
                Some(number) if !self.refused.contains(&number) => manifest(),
                _ => Reply::new(401)
                    .header(
                        "WWW-Authenticate",
                        self.challenge.replace("{realm}", &format!("http://{authority}/token")),
                    )
                    .body(error_document("UNAUTHORIZED")),
            }
        })
    }
}

fn twice(client: &Client<'_>) -> Result<()> {
    client.manifest("latest")?;
    client.manifest("latest").map(drop)
}

#[test]
fn dst_26_and_27_anonymous_first_then_a_token_which_is_kept() {
    let fake = Guarded::default().start();
    Bench::new().pull(&fake, twice).unwrap();
    let lines = fake.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(fake.seen()[0].header("authorization"), None);
    assert_eq!(lines[1], "GET /token?service=reg&scope=repository%3Aa%2Fb%3Apull");
    assert_eq!(fake.seen()[1].header("authorization"), None);

    let fake = Guarded::default().start();
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("me", "s3"));
    bench.push(&fake, twice).unwrap();
    let seen = fake.seen();
    assert_eq!(seen[1].target, "/token?account=me&service=reg&scope=repository%3Aa%2Fb%3Apull%2Cpush");
    assert_eq!(seen[1].header("authorization"), Some("Basic bWU6czM="));
    assert!(
        seen.iter()
            .filter(|seen| !seen.target.starts_with("/token"))
            .all(|seen| !format!("{seen:?}").contains("Basic"))
    );
}

#[test]
fn tokens_that_end_are_renewed() {
    // One that the registry does not take any more.
    let fake = Guarded { refused: vec![1], ..Guarded::default() }.start();
    Bench::new().pull(&fake, twice).unwrap();
    assert_eq!(fake.lines().iter().filter(|line| line.contains("/token")).count(), 2);
    // One that was old when it was given out.
    let old = r#"{"access_token":"token-{n}","expires_in":60,"issued_at":"1994-11-06T08:00:00Z"}"#;
    let fake = Guarded { token: old, ..Guarded::default() }.start();
    Bench::new().pull(&fake, twice).unwrap();
    assert_eq!(fake.lines().iter().filter(|line| line.contains("/token")).count(), 2);
    // A registry that takes none.
    let fake = Guarded { refused: (0..99).collect(), ..Guarded::default() }.start();
    let error = Bench::new().pull(&fake, twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(fake.seen().len() <= 6, "{:?}", fake.lines());
}

const ECR: &str = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;

/// A registry with a token server that gives out `token` with a number, and says to each request what `answer` says to that number.
fn numbered(token: &'static str, answer: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Fake {
    let issued = Mutex::new(0);
    Fake::start(move |seen| {
        if seen.target.starts_with("/token") {
            let mut issued = issued.lock().unwrap();
            *issued += 1;
            return Reply::new(200)
                .header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
                .body(token.replace("{n}", &issued.to_string()));
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        match seen.header("authorization").and_then(|value| value.strip_prefix("Bearer token-")?.parse().ok())
        {
            Some(number) => answer(seen, number),
            None => Reply::new(401).header("WWW-Authenticate", realm),
        }
    })
}

const FRESH: &str = r#"{"token":"token-{n}","expires_in":3600}"#;
/// One that was old when it was given out, and says that it is good for long.
const OLD: &str = r#"{"token":"token-{n}","expires_in":36000,"issued_at":"1994-11-06T08:40:00Z"}"#;

fn tokens_of(fake: &Fake) -> usize {
    fake.lines().iter().filter(|line| line.contains("/token")).count()
}

#[test]
fn a_token_that_ended_is_renewed_where_403_says_so() {
    // In the middle of a push, with the second piece.
    let over = Mutex::new(false);
    let fake = numbered(FRESH, move |seen, number| {
        let mut over = over.lock().unwrap();
        if *over && number == 1 {
            return Reply::new(403).body(ECR);
        }
        *over |= seen.method == "PATCH";
        let range = seen.header("content-range").and_then(|range| range.split_once('-'));
        let range = format!("0-{}", range.map_or("0", |(_, end)| end));
        match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1"),
            "PATCH" => Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1").header("Range", range),
            _ => Reply::new(201),
        }
    });
    let content = vec![7; 200 << 10];
    let (digest, content) = (Digest::of(&content), Bytes(content));
    let mut bench = Bench::new();
    bench.options.retries = Some(0);
    bench.push(&fake, |client| client.upload(&digest, 200 << 10, &content, Some(64 << 10), &|_| {})).unwrap();
    let sent: Vec<usize> =
        fake.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.body.len()).collect();
    assert_eq!(sent, [64 << 10, 64 << 10, 64 << 10, 64 << 10, 8 << 10]);
    assert_eq!(tokens_of(&fake), 2);

    // One that says nothing of the reason, of a token that is older than a token has to live.
    let fake = numbered(OLD, |seen, number| match (number, seen.target.as_str()) {
        (1, "/v2/a/b/manifests/later") => Reply::new(403).body(error_document("DENIED")),
        _ => manifest(),
    });
    let later = |client: &Client<'_>| {
        client.manifest("latest")?;
        client.manifest("later").map(drop)
    };
    bench.pull(&fake, later).unwrap();
    assert_eq!(tokens_of(&fake), 2, "{:?}", fake.lines());
}

/// A push that tries to mount has a token for each repository that it might mount from.
#[test]
fn with_a_token_that_ended_go_those_of_its_age() {
    for status in [401, 403] {
        let over = Mutex::new(false);
        let fake = numbered(FRESH, move |seen, number| {
            let mut over = over.lock().unwrap();
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            if *over && number <= 3 {
                return Reply::new(status).header("WWW-Authenticate", realm).body(ECR);
            }
            *over |= seen.method == "PATCH";
            match seen.method.as_str() {
                "POST" => Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1"),
                "PATCH" => {
                    Reply::new(202).header("Location", "/v2/a/b/blobs/uploads/1").header("Range", "0-9")
                }
                _ => Reply::new(201),
            }
        });
        let content = vec![7; 10];
        let (digest, content) = (Digest::of(&content), Bytes(content));
        let mut bench = Bench::new();
        bench.options.retries = Some(0);
        let push = |client: &Client<'_>| {
            for from in ["one", "two", "three"] {
                assert!(!client.mount(&digest, Some(from))?);
            }
            client.upload(&digest, 10, &content, Some(10), &|_| {})
        };
        bench.push(&fake, push).unwrap();
        assert_eq!(tokens_of(&fake), 4, "{status}");
    }
}

#[test]
fn a_plain_denial_is_not_asked_for_twice() {
    let thrice = |client: &Client<'_>| {
        client.manifest("latest")?;
        for _ in 0..3 {
            let error = client.manifest("denied").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthorized);
            assert!(error.to_string().contains("as the test wants"), "{error}");
        }
        Ok(())
    };
    let denied = |fake: &Fake| fake.lines().iter().filter(|line| line.ends_with("/denied")).count();
    let refusing = |token: &'static str, document: String| {
        numbered(token, move |seen, _| match seen.target.ends_with("/denied") {
            true => Reply::new(403).body(document.clone()),
            false => manifest(),
        })
    };
    // A token that cannot have ended.
    let fake = refusing(FRESH, error_document("DENIED"));
    Bench::new().pull(&fake, thrice).unwrap();
    assert_eq!((denied(&fake), tokens_of(&fake)), (3, 1));
    // Neither a code nor a challenge.
    let fake = refusing(OLD, error_document("SOMETHING"));
    Bench::new().pull(&fake, thrice).unwrap();
    assert_eq!((denied(&fake), tokens_of(&fake)), (3, 1));
    // One that calls everything that it denies an ended token is believed once.
    let says = r#"{"errors":[{"code":"DENIED","message":"token expired, as the test wants"}]}"#;
    let fake = refusing(FRESH, says.to_owned());
    Bench::new().pull(&fake, thrice).unwrap();
    assert_eq!((denied(&fake), tokens_of(&fake)), (4, 2));
    // And not of a token that it has not seen before.
    let fake = refusing(FRESH, says.to_owned());
    Bench::new().pull(&fake, |client| client.manifest("denied")).unwrap_err();
    assert_eq!((denied(&fake), tokens_of(&fake)), (2, 1), "{:?}", fake.lines());
}

#[test]
fn sec_102_a_403_from_elsewhere_gets_no_token() {
    let elsewhere = Fake::start(|_| Reply::new(403).body(ECR));
    let target = format!("http://localhost:{}/blob", elsewhere.port);
    let fake = numbered(FRESH, move |seen, _| match seen.target.contains("/blobs/") {
        true => Reply::new(307).header("Location", &target),
        false => manifest(),
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("me", "s3"));
    bench
        .pull(&fake, |client| {
            client.manifest("latest")?;
            client.blob(&Digest::of(b"x"), 0, 1).map(drop)
        })
        .unwrap_err();
    assert_eq!(tokens_of(&fake), 1);
    assert!(!elsewhere.seen().is_empty());
    assert!(elsewhere.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

/// A helper that gives another password each time, and puts down that it was asked.
fn rotating_helper(bench: &mut Bench) {
    let helper = bench.path().join("bin/docker-credential-test");
    bench.write(
        "bin/docker-credential-test",
        "#!/bin/sh\ncat > /dev/null\necho x >> \"$HOME.log\"\nn=$(wc -l < \"$HOME.log\")\n\
         echo \"{\\\"Username\\\":\\\"me\\\",\\\"Secret\\\":\\\"s$((n))\\\"}\"\n",
    );
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.variables.push(("PATH".into(), format!("{}:/usr/bin:/bin", helper.parent().unwrap().display())));
    bench.write("home/.docker/config.json", r#"{"credsStore":"test"}"#);
}

/// How often it was asked.
fn helper_calls(bench: &Bench) -> usize {
    std::fs::read_to_string(bench.path().join("home.log")).map_or(0, |log| log.lines().count())
}

fn basic_of(seen: &Seen) -> Option<String> {
    let value = seen.header("authorization")?.strip_prefix("Basic ")?;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(value).ok()?).ok()
}

#[test]
fn passwords_that_end_are_looked_up_again() {
    for status in [403, 401] {
        let mut bench = Bench::new();
        rotating_helper(&mut bench);
        let fake = Fake::start(move |seen| match (basic_of(seen).as_deref(), seen.target.as_str()) {
            (None, _) => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
            (Some("me:s1"), "/v2/a/b/manifests/latest") | (Some("me:s2"), _) => manifest(),
            _ => Reply::new(status).header("WWW-Authenticate", "Basic realm=\"x\"").body(ECR),
        });
        let later = |client: &Client<'_>| {
            client.manifest("latest")?;
            client.manifest("later").map(drop)
        };
        bench.pull(&fake, later).unwrap();
        assert_eq!((helper_calls(&bench), fake.seen().len()), (2, 4), "{status}");
        // Those of the call are not looked up.
        bench.options = bench.options.credentials(Credentials::password("me", "s1"));
        assert_eq!(bench.pull(&fake, later).unwrap_err().kind(), ErrorKind::Unauthorized);
        assert_eq!((helper_calls(&bench), fake.seen().len()), (2, 7), "{status}");
    }
}

fn once(client: &Client<'_>) -> Result<()> {
    client.manifest("latest").map(drop)
}

#[test]
fn a_token_is_for_all_calls_of_an_engine() {
    let fake = Guarded::default().start();
    let mut bench = Bench::new();
    bench.pull(&fake, once).unwrap();
    for _ in 0..3 {
        bench.pull(&fake, once).unwrap();
    }
    assert_eq!((fake.seen().len(), tokens_of(&fake)), (6, 1), "{:?}", fake.lines());
    // Not one that is for less.
    bench.push(&fake, once).unwrap();
    assert_eq!((fake.seen().len(), tokens_of(&fake)), (9, 2), "{:?}", fake.lines());
    // Another repository asks for itself.
    bench.call(&format!("{}/other:latest", fake.authority()), Access::Pull, once).unwrap();
    assert_eq!((fake.seen().len(), tokens_of(&fake)), (12, 3), "{:?}", fake.lines());
    // Nor is it for anybody else.
    let before = fake.seen().len();
    for (user, password) in [("me", "s1"), ("me", "s2"), ("you", "s1")] {
        bench.options = RegistryOptions::default().insecure(true);
        bench.options = bench.options.credentials(Credentials::password(user, password));
        bench.pull(&fake, once).unwrap();
        bench.pull(&fake, once).unwrap();
    }
    let seen = fake.seen();
    let askers: Vec<Option<String>> =
        seen[before..].iter().filter(|seen| seen.target.starts_with("/token")).map(basic_of).collect();
    assert_eq!(askers, [Some("me:s1".into()), Some("me:s2".into()), Some("you:s1".into())]);
    let sent: std::collections::BTreeSet<_> = seen
        .iter()
        .filter_map(|seen| seen.header("authorization")?.strip_prefix("Bearer ").map(str::to_owned))
        .collect();
    assert_eq!(sent.len(), 6);
    // Nor for another engine.
    bench.network = Network::usual();
    let before = tokens_of(&fake);
    bench.pull(&fake, once).unwrap();
    assert_eq!(tokens_of(&fake), before + 1);
}

#[test]
fn a_token_that_has_ended_is_renewed_before_it_is_used() {
    let ended = r#"{"token":"token-{n}","expires_in":60,"issued_at":"1994-11-06T08:00:00Z"}"#;
    let fake = Guarded { token: ended, refused: vec![1], ..Guarded::default() }.start();
    let bench = Bench::new();
    let _ = bench.pull(&fake, once);
    let before = fake.seen().len();
    bench.pull(&fake, once).unwrap();
    let lines = fake.lines()[before..].to_vec();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("GET /token") && lines[1].ends_with("/manifests/latest"), "{lines:?}");
}

#[test]
fn a_token_that_is_refused_is_forgotten_by_all() {
    let last = Arc::new(Mutex::new(1));
    let good = Arc::clone(&last);
    let fake = numbered(FRESH, move |seen, number| match number >= *good.lock().unwrap() {
        true => manifest(),
        false => {
            let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
            Reply::new(401).header("WWW-Authenticate", realm)
        }
    });
    let bench = Bench::new();
    bench.pull(&fake, once).unwrap();
    *last.lock().unwrap() = 2;
    bench.pull(&fake, once).unwrap();
    let before = fake.seen().len();
    bench.pull(&fake, once).unwrap();
    assert_eq!((fake.seen().len() - before, tokens_of(&fake)), (1, 2), "{:?}", fake.lines());
    // Who logs out, or in, is somebody else from then on.
    logout(&bench.world(), &fake.authority(), None, &bench.cancel).unwrap();
    let before = fake.seen().len();
    bench.pull(&fake, once).unwrap();
    assert_eq!((fake.seen().len() - before, tokens_of(&fake)), (3, 3), "{:?}", fake.lines());
}

#[test]
fn calls_at_once_fetch_one_token() {
    let fake = Guarded::default().start();
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| bench.pull(&fake, once).unwrap());
        }
    });
    assert_eq!(tokens_of(&fake), 1, "{:?}", fake.lines());
}

#[test]
fn a_token_server_that_moves_is_found_again() {
    let moved = Arc::new(Mutex::new(false));
    let now = Arc::clone(&moved);
    let fake = Fake::start(move |seen| {
        let moved = *now.lock().unwrap();
        let (path, old) = if moved { ("/other", "/token") } else { ("/token", "/other") };
        let realm = format!("Bearer realm=\"http://{}{path}\"", seen.header("host").unwrap());
        match seen.header("authorization") {
            _ if seen.target.starts_with(old) => Reply::new(404),
            _ if seen.target.starts_with(path) => {
                Reply::new(200).header("Date", "Sun, 06 Nov 1994 08:49:37 GMT").body(format!(
                    r#"{{"token":"{}","expires_in":60,"issued_at":"1994-11-06T08:00:00Z"}}"#,
                    &path[1..]
                ))
            }
            Some(value) if value == format!("Bearer {}", &path[1..]) => manifest(),
            _ => Reply::new(401).header("WWW-Authenticate", realm),
        }
    });
    let bench = Bench::new();
    bench.pull(&fake, once).unwrap();
    *moved.lock().unwrap() = true;
    bench.pull(&fake, once).unwrap();
    let before = fake.seen().len();
    bench.pull(&fake, once).unwrap();
    assert_eq!(fake.lines()[before..].len(), 2, "{:?}", fake.lines());
}

#[test]
fn a_helper_is_asked_once_for_many_images_and_again_after_a_change() {
    let mut bench = Bench::new();
    rotating_helper(&mut bench);
    let fake = Guarded::default().start();
    for tag in ["1", "2", "3", "4"] {
        let call = |client: &Client<'_>| client.manifest(tag).map(drop);
        bench.call(&format!("{}/a/b:{tag}", fake.authority()), Access::Pull, call).unwrap();
    }
    assert_eq!((helper_calls(&bench), tokens_of(&fake), fake.seen().len()), (1, 1, 6));
    // Somebody else wrote the file, as who logs in does.
    bench.write("home/.docker/config.json", r#"{"credsStore":"test", "auths":{}}"#);
    bench.pull(&fake, once).unwrap();
    assert_eq!((helper_calls(&bench), tokens_of(&fake)), (2, 2));
    // The engine's own change.
    logout(&bench.world(), "other.example", None, &bench.cancel).unwrap();
    let asked = helper_calls(&bench);
    bench.pull(&fake, once).unwrap();
    assert_eq!(helper_calls(&bench), asked + 1);
    // What was refused.
    let fake = Fake::start(move |seen| match basic_of(seen).as_deref() {
        Some("me:s6") => manifest(),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    bench.pull(&fake, once).unwrap();
    assert_eq!((helper_calls(&bench), asked), (6, 3));
}

/// A provider that keeps what it is asked for.
fn provider(
    asked: &Arc<Mutex<Vec<CredentialRequest>>>,
    answer: impl Fn(&CredentialRequest) -> Result<Option<Credentials>> + Send + Sync + 'static,
) -> CredentialProvider {
    let asked = Arc::clone(asked);
    CredentialProvider::new(move |request| {
        asked.lock().unwrap().push(request.clone());
        answer(request)
    })
}

/// Takes one password.
fn wanting(password: &'static str) -> Fake {
    Fake::start(move |seen| match basic_of(seen) {
        Some(given) if given == format!("me:{password}") => manifest(),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    })
}

#[test]
fn a_provider_is_asked_before_the_files_and_again_when_it_was_refused() {
    let asked = Arc::<Mutex<Vec<CredentialRequest>>>::default();
    let fake = wanting("new");
    let mut bench = Bench::new();
    let answer = |request: &CredentialRequest| {
        Ok(Some(Credentials::password("me", if request.refused { "new" } else { "old" })))
    };
    bench.options = bench.options.credential_provider(provider(&asked, answer));
    bench.pull(&fake, twice).unwrap();
    let told = std::mem::take(&mut *asked.lock().unwrap());
    let request =
        |refused| CredentialRequest { registry: fake.authority(), repository: "a/b".into(), refused };
    assert_eq!(told, [request(false), request(true)]);
    // What stays wrong is not asked for without end.
    let other = wanting("another");
    assert_eq!(bench.pull(&other, twice).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(asked.lock().unwrap().len(), 2);
    // It is not asked where nobody wants to know, nor where the call says it.
    asked.lock().unwrap().clear();
    bench.pull(&Fake::start(|_| manifest()), twice).unwrap();
    bench.options = bench.options.credentials(Credentials::password("me", "new"));
    bench.pull(&fake, twice).unwrap();
    assert!(asked.lock().unwrap().is_empty());
    // Who knows nothing leaves it to the files.
    let encoded = base64::engine::general_purpose::STANDARD.encode("me:new");
    let file = format!(r#"{{"auths":{{"{}":{{"auth":"{encoded}"}}}}}}"#, fake.authority());
    bench.write("home/.docker/config.json", &file);
    bench.options =
        RegistryOptions::default().insecure(true).credential_provider(provider(&asked, |_| Ok(None)));
    bench.pull(&fake, twice).unwrap();
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn a_provider_gives_every_sort_of_credentials_and_is_asked_for_each_registry() {
    let asked = Arc::<Mutex<Vec<CredentialRequest>>>::default();
    let mut bench = Bench::new();
    let fake = Guarded::default().start();
    for (given, tokens) in [
        (Credentials::IdentityToken("it".into()), 1),
        (Credentials::Token("token-7".into()), 0),
        (Credentials::password("me", "s3"), 1),
    ] {
        let before = tokens_of(&fake);
        let provider = provider(&asked, move |_| Ok(Some(given.clone())));
        bench.options = RegistryOptions::default().insecure(true).credential_provider(provider);
        bench.pull(&fake, twice).unwrap();
        assert_eq!(tokens_of(&fake) - before, tokens);
    }
    // A mirror is asked for by its own name, and a token that is sent as it is not sent a third time.
    let (one, mirror) = (wanting("one"), wanting("mirror"));
    let names = (one.authority(), mirror.authority());
    let (first, second) = names.clone();
    asked.lock().unwrap().clear();
    let by_name = provider(&asked, move |request| {
        let password = if request.registry == first { "one" } else { "elsewhere" };
        Ok((request.registry == first || request.registry == second)
            .then(|| Credentials::password("me", password)))
    });
    bench.options = RegistryOptions::default()
        .insecure(true)
        .credential_provider(by_name)
        .mirror(format!("http://{}", mirror.authority()));
    bench.pull(&one, twice).unwrap();
    let registries: std::collections::BTreeSet<String> =
        asked.lock().unwrap().iter().map(|request| request.registry.clone()).collect();
    assert_eq!(registries, [names.0, names.1].into());
    let of_one = |seen: &Seen| basic_of(seen).is_some_and(|given| given == "me:one");
    assert!(mirror.seen().iter().all(|seen| !of_one(seen)));
    let fake = Guarded { refused: vec![9], ..Guarded::default() }.start();
    bench.options =
        RegistryOptions::default().insecure(true).credentials(Credentials::Token("token-9".into()));
    bench.pull(&fake, once).unwrap_err();
    assert_eq!(fake.seen().len(), 2);
}

#[test]
fn a_provider_that_fails_ends_the_call() {
    let asked = Arc::<Mutex<Vec<CredentialRequest>>>::default();
    let failing = provider(&asked, |_| {
        Err(Error::new(ErrorKind::Timeout, "nobody answers").with_cause(std::fmt::Error).transient())
    });
    let (one, mirror) = (wanting("one"), wanting("one"));
    let mut bench = Bench::new();
    bench.options =
        bench.options.credential_provider(failing).mirror(format!("http://{}", mirror.authority()));
    let error = bench.pull(&one, twice).unwrap_err();
    assert_eq!((error.kind(), asked.lock().unwrap().len()), (ErrorKind::Timeout, 1), "{error}");
    assert!(std::error::Error::source(&error).is_some_and(|cause| cause.is::<std::fmt::Error>()));
    assert!(one.seen().is_empty());
    // Also where a token that has ended is to be renewed, and the token server does not take the credentials any more.
    let given = Mutex::new(false);
    let fake = Fake::start(move |seen| {
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        let ended = r#"{"token":"t","expires_in":60,"issued_at":"1994-11-06T08:00:00Z"}"#;
        match seen.header("authorization") {
            _ if seen.target.starts_with("/token") => {
                match std::mem::replace(&mut *given.lock().unwrap(), true) {
                    true => Reply::new(401),
                    false => Reply::new(200).header("Date", "Sun, 06 Nov 1994 08:49:37 GMT").body(ended),
                }
            }
            Some("Bearer t") => manifest(),
            _ => Reply::new(401).header("WWW-Authenticate", realm),
        }
    });
    let failing = provider(&asked, |request| match request.refused {
        true => Err(Error::new(ErrorKind::Timeout, "nobody answers")),
        false => Ok(Some(Credentials::password("me", "s3"))),
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credential_provider(failing);
    bench.pull(&fake, once).unwrap();
    asked.lock().unwrap().clear();
    assert_eq!(bench.pull(&fake, once).unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(asked.lock().unwrap().len(), 2);
    // One that calls the engine itself holds nothing up.
    let fake = wanting("s3");
    let inner = Bench::new();
    let (world, server) = (inner.world(), fake.authority());
    let asking = provider(&asked, move |_| {
        let given = Credentials::password("me", "s3");
        let options = RegistryOptions::default().insecure(true);
        login(&world, &server, &given, &options, &|_| {}, &CancelToken::never())?;
        Ok(Some(given))
    });
    bench.network = inner.network.clone();
    bench.options = RegistryOptions::default().insecure(true).credential_provider(asking);
    let _ = bench.pull(&fake, twice);
    assert!(
        fake.seen().iter().any(|seen| seen.target.ends_with("/manifests/latest") && basic_of(seen).is_some())
    );
}

#[test]
fn nobody_is_asked_twice_about_the_same_credentials() {
    let asked = Arc::<Mutex<Vec<CredentialRequest>>>::default();
    let refused = || -> Vec<bool> {
        std::mem::take(&mut *asked.lock().unwrap()).iter().map(|request| request.refused).collect()
    };
    let all = |client: &Client<'_>| {
        std::thread::scope(|scope| {
            let call = || client.manifest("latest").map(drop);
            let calls: Vec<_> = (0..6).map(|_| scope.spawn(call)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Result<Vec<()>>>().map(drop)
        })
    };
    // However many threads were refused, and each of them again.
    let mut bench = Bench::new();
    bench.options =
        bench.options.credential_provider(provider(&asked, |_| Ok(Some(Credentials::password("me", "old")))));
    assert_eq!(bench.pull(&wanting("another"), all).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(refused(), [false, true]);
    let guarded = Guarded { get_status: 401, ..Guarded::default() }.start();
    assert_eq!(bench.pull(&guarded, all).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(refused(), [false, true]);
    // What is found instead is for all of them.
    let answer = |request: &CredentialRequest| {
        Ok(Some(Credentials::password("me", if request.refused { "new" } else { "old" })))
    };
    bench.options = RegistryOptions::default().insecure(true).credential_provider(provider(&asked, answer));
    bench.pull(&wanting("new"), all).unwrap();
    assert_eq!(refused(), [false, true]);
    // Also where the engine knows from before that there will be a token, whose server does not take them any more.
    let given = Mutex::new(false);
    let fake = Fake::start(move |seen| {
        let realm = format!("Bearer realm=\"http://{}/token\"", seen.header("host").unwrap());
        let ended = r#"{"token":"t","expires_in":60,"issued_at":"1994-11-06T08:00:00Z"}"#;
        match seen.header("authorization") {
            _ if seen.target.starts_with("/token") => {
                match std::mem::replace(&mut *given.lock().unwrap(), true) {
                    true => Reply::new(401),
                    false => Reply::new(200).header("Date", "Sun, 06 Nov 1994 08:49:37 GMT").body(ended),
                }
            }
            Some("Bearer t") => manifest(),
            _ => Reply::new(401).header("WWW-Authenticate", realm),
        }
    });
    let mut bench = Bench::new();
    bench.options =
        bench.options.credential_provider(provider(&asked, |_| Ok(Some(Credentials::password("me", "s3")))));
    bench.pull(&fake, once).unwrap();
    assert_eq!(refused(), [false]);
    assert_eq!(bench.pull(&fake, once).unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(refused(), [false, true]);
}

#[test]
fn who_waits_for_a_provider_can_be_cancelled() {
    let asked = Arc::<Mutex<Vec<CredentialRequest>>>::default();
    let (entered, enters) = std::sync::mpsc::channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let slow = provider(&asked, move |_| {
        entered.send(()).unwrap();
        released.lock().unwrap().recv().unwrap();
        Ok(Some(Credentials::password("me", "s3")))
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credential_provider(slow);
    bench.cancel = CancelToken::new();
    let fake = wanting("s3");
    let kinds = bench.pull(&fake, |client| {
        std::thread::scope(|scope| {
            let call = || client.manifest("latest").map(drop);
            let first = scope.spawn(call);
            enters.recv().unwrap();
            let second = scope.spawn(call);
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            let wait = |until: &dyn Fn() -> bool| {
                while !until() && std::time::Instant::now() < deadline {
                    std::thread::sleep(Duration::from_millis(1));
                }
                until()
            };
            let answered = wait(&|| fake.seen().len() == 2);
            bench.cancel.cancel();
            // The provider has still not said anything.
            let ended = wait(&|| second.is_finished());
            release.send(()).unwrap();
            let ends = [first, second].map(|call| call.join().unwrap().unwrap_err().kind());
            assert!(answered && ended);
            Ok(ends)
        })
    });
    assert_eq!(kinds.unwrap(), [ErrorKind::Cancelled; 2]);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[test]
fn identity_tokens_and_the_password_grant() {
    let fake = Guarded::default().start();
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::IdentityToken("it/1".into()));
    bench.pull(&fake, twice).unwrap();
    let asked = &fake.seen()[1];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    let form = String::from_utf8(asked.body.clone()).unwrap();
    for field in [
        "grant_type=refresh_token",
        "refresh_token=it%2F1",
        "service=reg",
        "scope=repository%3Aa%2Fb%3Apull",
        "client_id=coble",
    ] {
        assert!(form.contains(field), "{form}");
    }
    let fake = Guarded { get_status: 405, ..Guarded::default() }.start();
    bench.options = RegistryOptions::default().insecure(true).credentials(Credentials::password("me", "s&3"));
    bench.pull(&fake, twice).unwrap();
    let form = String::from_utf8(fake.seen()[2].body.clone()).unwrap();
    assert!(form.contains("grant_type=password") && form.contains("password=s%263"), "{form}");
    // One that is sent as it is.
    let fake = Guarded::default().start();
    bench.options =
        RegistryOptions::default().insecure(true).credentials(Credentials::Token("token-9".into()));
    bench.pull(&fake, twice).unwrap();
    assert!(fake.lines().iter().all(|line| !line.contains("/token")));
}

#[test]
fn what_token_servers_answer_instead() {
    for (token, kind) in [
        ("<html>", ErrorKind::Registry),
        ("{}", ErrorKind::Registry),
        (r#"{"token":""}"#, ErrorKind::Registry),
        (r#"{"token":"a\nb"}"#, ErrorKind::Registry),
    ] {
        let fake = Guarded { token, ..Guarded::default() }.start();
        assert_eq!(Bench::new().pull(&fake, twice).unwrap_err().kind(), kind, "{token}");
    }
    let fake = Guarded { get_status: 403, ..Guarded::default() }.start();
    let mut bench = Bench::new();
    assert_eq!(bench.pull(&fake, twice).unwrap_err().kind(), ErrorKind::Unauthorized);
    bench.options = bench.options.credentials(Credentials::password("me", "sEcReT"));
    let error = bench.pull(&fake, twice).unwrap_err();
    assert!(
        error.to_string().contains("does not take the credentials") && !error.to_string().contains("sEcReT"),
        "{error}"
    );
    let fake = Guarded { challenge: "Bearer", ..Guarded::default() }.start();
    assert_eq!(bench.pull(&fake, twice).unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[test]
fn mounting_asks_for_both_repositories_at_once() {
    let fake = Guarded::default().start();
    // The manifest of the fake is no upload, which does not matter here.
    let _ = Bench::new().push(&fake, |client| client.mount(&Digest::of(b"x"), Some("from/here")));
    let line = fake.lines().into_iter().find(|line| line.contains("/token")).unwrap();
    assert_eq!(
        line,
        "GET /token?service=reg&scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Afrom%2Fhere%3Apull"
    );
}

#[test]
fn sec_100_credentials_do_not_go_to_a_token_server_elsewhere() {
    // Another name, though it is the same machine.
    let elsewhere = Arc::new(Fake::start(|_| Reply::new(200).body(r#"{"token":"t"}"#)));
    let realm = format!("http://localhost:{}/token", elsewhere.port);
    let registry = Fake::start(move |seen| match seen.header("authorization") {
        Some("Bearer t") => manifest(),
        _ => Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"{realm}\"")),
    });
    let mut bench = Bench::new();
    for credentials in [Credentials::password("me", "sEcReT"), Credentials::IdentityToken("sEcReT".into())] {
        bench.options = RegistryOptions::default().insecure(true).credentials(credentials);
        let error = bench.pull(&registry, twice).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.to_string().contains("localhost") && !error.to_string().contains("sEcReT"), "{error}");
    }
    assert!(elsewhere.seen().is_empty() && elsewhere.connections() == 0);
    // Nobody's credentials are nobody's loss.
    bench.options = RegistryOptions::default().insecure(true);
    bench.pull(&registry, twice).unwrap();
    assert!(elsewhere.seen().iter().all(|seen| seen.header("authorization").is_none()));
    // Unless the configuration says that it belongs to the registry.
    let hosts = format!("token_hosts = [\"localhost:{}\"]\n", elsewhere.port);
    bench.write(&format!("etc/containerd/certs.d/{}/hosts.toml", registry.authority()), &hosts);
    bench.options = RegistryOptions::default().insecure(true).credentials(Credentials::password("me", "s3"));
    bench.pull(&registry, twice).unwrap();
    assert_eq!(elsewhere.seen().last().unwrap().header("authorization"), Some("Basic bWU6czM="));
}

#[test]
fn sec_102_each_registry_sees_its_own_credentials_and_no_others() {
    let guarded = || {
        Fake::start(|seen| match seen.header("authorization") {
            Some(value) if value.starts_with("Basic") => manifest(),
            _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        })
    };
    let (one, two, mirror) = (guarded(), guarded(), guarded());
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let bench = Bench::new();
    bench.write(
        "home/.docker/config.json",
        &format!(
            r#"{{"auths":{{"{}":{{"auth":"{}"}},"{}":{{"auth":"{}"}}}}}}"#,
            one.authority(),
            encode("one:p"),
            two.authority(),
            encode("two:p")
        ),
    );
    bench.write(
        "etc/containers/registries.conf",
        &format!(
            "[[registry]]\nlocation = \"{0}\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"{1}\"\ninsecure = true\n",
            one.authority(),
            mirror.authority()
        ),
    );
    bench.pull(&one, twice).unwrap();
    bench.pull(&two, twice).unwrap();
    let seen = |fake: &Fake| -> Vec<String> {
        fake.seen().iter().filter_map(|seen| seen.header("authorization").map(str::to_owned)).collect()
    };
    assert!(seen(&one).iter().all(|value| *value == format!("Basic {}", encode("one:p"))));
    assert!(seen(&two).iter().all(|value| *value == format!("Basic {}", encode("two:p"))));
    assert!(!mirror.seen().is_empty() && seen(&mirror).is_empty());
    // Those of the call are not for mirrors either.
    let mut bench = bench;
    bench.options = bench.options.credentials(Credentials::password("call", "p"));
    bench.pull(&one, twice).unwrap();
    assert!(seen(&mirror).is_empty());
    assert!(seen(&one).contains(&format!("Basic {}", encode("call:p"))));
}

#[test]
fn sec_102_a_helper_is_asked_only_when_its_registry_asks() {
    let open = Fake::start(|_| manifest());
    let closed = Fake::start(|seen| match seen.header("authorization") {
        Some("Basic bWU6czM=") => manifest(),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    });
    let mut bench = Bench::new();
    let helper = bench.path().join("bin/docker-credential-test");
    bench.write("bin/docker-credential-test", "#!/bin/sh\ncat >> \"$HOME.log\"; echo >> \"$HOME.log\"\necho '{\"Username\":\"me\",\"Secret\":\"s3\"}'\n");
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.variables.push(("PATH".into(), format!("{}:/usr/bin:/bin", helper.parent().unwrap().display())));
    bench.write("home/.docker/config.json", r#"{"credsStore":"test"}"#);
    bench.pull(&open, twice).unwrap();
    assert!(!bench.path().join("home.log").exists());
    bench.pull(&closed, twice).unwrap();
    let log = std::fs::read_to_string(bench.path().join("home.log")).unwrap();
    assert_eq!(log, format!("{}\n", closed.authority()));
}

#[test]
fn a_login_is_tried_before_it_is_stored() {
    let fake = Fake::start(|seen| match seen.header("authorization") {
        Some("Basic bWU6czM=") => Reply::new(200),
        _ => Reply::new(401)
            .header("WWW-Authenticate", "Basic realm=\"x\"")
            .body(error_document("UNAUTHORIZED")),
    });
    let bench = Bench::new();
    let world = bench.world();
    let try_with = |password: &str| {
        let credentials = Credentials::password("me", password);
        login(&world, &fake.authority(), &credentials, &bench.options, &|_| {}, &bench.cancel)
    };
    let file = bench.path().join("home/.docker/config.json");
    let error = try_with("wrong").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!error.to_string().contains("wrong") && !file.exists(), "{error}");
    let done = try_with("s3").unwrap();
    assert_eq!(
        (done.server, done.username, done.stored_in),
        (fake.authority(), "me".into(), file.display().to_string())
    );
    assert!(fake.lines().iter().all(|line| line == "GET /v2/"));
    // From now on it is used.
    let guarded = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_ne!(guarded.kind(), ErrorKind::Unauthorized);
    assert!(logout(&world, &fake.authority(), None, &bench.cancel).unwrap());
    assert!(!logout(&world, &fake.authority(), None, &bench.cancel).unwrap());
    for bad in ["a b", "http:/x", "ftp://x", "../x", "UPPER/x/y z"] {
        let credentials = Credentials::password("a", "b");
        let result = login(&world, bad, &credentials, &bench.options, &|_| {}, &bench.cancel);
        assert!(
            matches!(result.unwrap_err().kind(), ErrorKind::InvalidArgument | ErrorKind::Network),
            "{bad}"
        );
    }
}

#[test]
fn reg_10_searching() {
    let found = r#"{"results":[
        {"name":"library/demo","description":"two\n lines","star_count":7,"is_official":true},
        {"name":"other/demo","star_count":1,"is_automated":true},
        {"name":"../evil","star_count":100}]}"#;
    let v1 = Fake::start(move |seen| match seen.target.as_str() {
        "/v1/search?q=de%20mo&n=25" => Reply::new(200).body(found),
        _ => Reply::new(404),
    });
    let bench = Bench::new();
    let look = |fake: &Fake, term: &str, filters: &[&str]| {
        let options = SearchOptions {
            registry: Some(fake.authority()),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            options: bench.options.clone(),
            ..SearchOptions::default()
        };
        search(&bench.world(), term, &options, &|_| {}, &bench.cancel)
    };
    let all = look(&v1, "de mo", &[]).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].name, format!("{}/library/demo", v1.authority()));
    assert_eq!((all[0].description.as_str(), all[0].stars, all[0].official), ("two lines", 7, true));
    assert_eq!(look(&v1, "de mo", &["is-official=true"]).unwrap().len(), 1);
    assert_eq!(look(&v1, "de mo", &["stars=2"]).unwrap().len(), 1);
    assert_eq!(look(&v1, "de mo", &["is-automated=true", "stars=2"]).unwrap().len(), 0);
    assert_eq!(look(&v1, "de mo", &["stars=x"]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(look(&v1, "", &[]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    // The way of Docker Hub, then the list of all.
    let hub = Fake::start(|seen| match seen.target.as_str() {
        "/v2/search/repositories/?query=demo&page_size=25" => Reply::new(200)
            .body(r#"{"count":1,"results":[{"repo_name":"a/demo","short_description":"x","star_count":3}]}"#),
        _ => Reply::new(404),
    });
    assert_eq!(look(&hub, "demo", &[]).unwrap()[0].description, "x");
    let catalog = Fake::start(|seen| match seen.target.as_str() {
        "/v2/_catalog?n=1000" => Reply::new(200).body(r#"{"repositories":["a/demo","b"]}"#),
        _ => Reply::new(404),
    });
    assert_eq!(look(&catalog, "demo", &[]).unwrap().len(), 1);
    let nothing = Fake::start(|_| Reply::new(404));
    assert_eq!(look(&nothing, "demo", &[]).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn nothing_secret_is_shown() {
    let options = RegistryOptions::default().credentials(Credentials::password("me", "sEcReT"));
    assert!(!format!("{options:?}").contains("sEcReT"));
    for credentials in [Credentials::IdentityToken("sEcReT".into()), Credentials::Token("sEcReT".into())] {
        assert!(!format!("{credentials:?}").contains("sEcReT"));
    }
    // A server that repeats what it was asked with.
    let fake = Fake::start(|seen| match seen.header("authorization") {
        None => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""),
        Some(value) => Reply::new(403).body(format!("no {value}, no sEcReT")),
    });
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("me", "sEcReT"));
    let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("no Basic ***, no ***\nhint: log in, or check what the account may do there"),
        "{error}"
    );

    let fake = Fake::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    let mut bench = Bench::new();
    bench.options = bench.options.credentials(Credentials::password("me", "sEcReT\n"));
    let error = bench
        .pull(&fake, |client| {
            let mut bytes = Vec::new();
            client.blob(&Digest::of(b"x"), 0, 1)?.read_to_end(&mut bytes).unwrap();
            Ok(())
        })
        .unwrap_err();
    assert!(!format!("{error:?}").contains("sEcReT"), "{error:?}");
}

#[test]
fn a_file_that_the_caller_names_has_to_be_there() {
    let fake = Fake::start(|_| manifest());
    let mut bench = Bench::new();
    let path = bench.path().join("missing.json");
    bench.options = bench.options.auth_file(path);
    let error = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!((error.kind(), fake.seen().len()), (ErrorKind::PathNotFound, 0), "{error}");
    bench.write("missing.json", "{}");
    bench.pull(&fake, |client| client.manifest("latest")).unwrap();
}
