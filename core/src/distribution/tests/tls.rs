//! TLS, plain HTTP, and proxies: what is encrypted stays so.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;

use super::*;
use crate::distribution::Opened;
use crate::distribution::login::login;
use crate::distribution::search::{SearchOptions, search};

/// A certificate authority of the test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    /// Certificate and key for names.
    fn issue(&self, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.0).unwrap();
        (certificate, key)
    }

    fn server(&self, names: &[&str], wants_client: bool) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(names);
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.0.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(builder.with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

#[test]
fn what_is_spoken_is_said_in_the_handshake() {
    let authority = Authority::new();
    let bench = strict();
    let fake = |protocols: &[&str]| {
        let mut config = Arc::unwrap_or_clone(authority.server(&["127.0.0.1"], false));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let fake = Fake::start_tls(Arc::new(config), |_| manifest());
        bench.write(&format!("etc/containers/certs.d/{}/ca.crt", fake.authority()), &authority.pem());
        fake
    };
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"], &["http/1.1", "h2"], &[]] {
        get(&bench, &fake(protocols)).unwrap();
    }
    let error = get(&bench, &fake(&["h2"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("does not speak HTTP/1.1"), "{error}");
}

/// Nothing is marked insecure.
fn strict() -> Bench {
    let mut bench = Bench::new();
    bench.options = RegistryOptions::default().retries(1);
    bench
}

fn get(bench: &Bench, fake: &Fake) -> Result<()> {
    bench.pull(fake, |client| client.manifest("latest").map(drop))
}

#[test]
fn sec_104_a_certificate_that_nobody_vouches_for_is_refused_everywhere() {
    let fake = Fake::start_tls(Authority::new().server(&["127.0.0.1"], false), |_| manifest());
    let bench = strict();
    let mut errors = vec![
        get(&bench, &fake).unwrap_err(),
        bench.pull(&fake, |client| client.blob(&Digest::of(b"x"), 0, 1).map(drop)).unwrap_err(),
        bench.pull(&fake, |client| client.tags()).unwrap_err(),
        bench.push(&fake, |client| client.put_manifest("x", MANIFEST_TYPE, MANIFEST.as_bytes())).unwrap_err(),
        bench.push(&fake, |client| client.mount(&Digest::of(b"x"), None)).unwrap_err(),
        bench.call(&fake.authority(), Access::Delete, |client| client.delete_tag("x")).unwrap_err(),
    ];
    errors.pop();
    errors.push(
        bench
            .call(&format!("{}/a", fake.authority()), Access::Delete, |client| client.delete_tag("x"))
            .unwrap_err(),
    );
    let world = bench.world();
    let credentials = Credentials::password("me", "s3");
    errors.push(
        login(&world, &fake.authority(), &credentials, &bench.options, &|_| {}, &bench.cancel).unwrap_err(),
    );
    let options = SearchOptions {
        registry: Some(fake.authority()),
        options: bench.options.clone(),
        ..SearchOptions::default()
    };
    errors.push(search(&world, "x", &options, &|_| {}, &bench.cancel).unwrap_err());
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Network, "{error}");
        assert!(error.to_string().contains("nobody vouches for it"), "{error}");
        assert!(!error.is_transient());
    }
    assert!(fake.seen().is_empty());
}

#[test]
fn a_proxy_that_makes_no_tunnel_passes_plain_requests_on() {
    let proxy = Fake::start(|seen| match seen.method.as_str() {
        "CONNECT" => Reply::new(403),
        "GET" if seen.target.ends_with("/manifests/latest") => manifest(),
        "POST" => Reply::new(202).header("Location", "/v2/a/blobs/uploads/1"),
        "PUT" => Reply::new(201),
        _ => Reply::new(404),
    });
    let mut bench = Bench::new();
    for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
        bench.variables.push((name.into(), format!("http://us%40er:sEcReT@{}", proxy.authority())));
    }
    bench.call("reg.example/a", Access::Pull, |client| client.manifest("latest")).unwrap();
    let get = |seen: &Seen| (seen.line(), seen.header("host").map(str::to_owned));
    let seen = proxy.seen();
    assert_eq!(
        seen.last().map(get),
        Some(("GET http://reg.example/v2/a/manifests/latest".into(), Some("reg.example".into())))
    );
    let user = crate::distribution::net::basic("us@er", "sEcReT");
    assert!(seen.iter().all(|seen| seen.header("proxy-authorization") == Some(user.as_str())));
    // More than one request on a connection, and one with a long body.
    let bytes = vec![7; 300_000];
    bench
        .call("reg.example/a", Access::Push, |client| {
            client.upload(&Digest::of(&bytes), bytes.len() as u64, &Bytes(bytes.clone()), None, &|_| {})?;
            client.put_manifest("latest", MANIFEST_TYPE, MANIFEST.as_bytes()).map(drop)
        })
        .unwrap();
    let seen = proxy.seen();
    let put = seen.iter().find(|seen| seen.method == "PUT").unwrap();
    assert!(put.target.starts_with("http://reg.example/v2/a/blobs/uploads/1?digest="), "{}", put.target);
    assert_eq!(put.body, bytes);
    // With TLS there is no other way than a tunnel.
    bench.options = RegistryOptions::default().retries(0);
    let error = bench.call("reg.example/a", Access::Pull, |client| client.manifest("latest")).unwrap_err();
    assert!(error.kind() == ErrorKind::Network && error.to_string().contains("403"), "{error}");
}

/// Content in memory.
struct Bytes(Vec<u8>);

impl crate::distribution::client::Reopen for Bytes {
    fn open_at(&self, offset: u64, _: &str) -> Result<Opened<'_>> {
        Ok(Opened::here(&self.0[usize::try_from(offset).unwrap()..]))
    }
}

#[test]
fn a_host_that_cannot_be_reached_has_not_said_that_it_has_no_tls() {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let bench = Bench::new();
    bench
        .call(&format!("127.0.0.1:{port}/a/b"), Access::Pull, |client| {
            assert_eq!(client.manifest("latest").unwrap_err().kind(), ErrorKind::Network);
            let fake =
                Fake::start_tls_at(port, Authority::new().server(&["127.0.0.1"], false), |_| manifest());
            client.manifest("latest")?;
            assert_eq!(fake.seen().len(), 1);
            Ok(())
        })
        .unwrap();
    // It is tried again like any other request.
    let again =
        bench.events.lock().unwrap().iter().filter(|event| matches!(event, Event::Retry { .. })).count();
    assert_eq!(again, 5);
}

#[test]
fn sec_134_what_failed_with_tls_is_not_tried_without() {
    // A server without TLS, one that closes, and one with a certificate of nobody.
    let plain = Fake::start(|_| manifest());
    let bench = strict();
    let error = get(&bench, &plain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    assert!(plain.seen().is_empty() && plain.connections() > 0, "{:?}", plain.lines());

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::<Mutex<Vec<u8>>>::default();
    let heard = Arc::clone(&said);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20) {
            // It is closed when what it said is kept.
            let (mut stream, mut bytes) = (stream.unwrap(), [0; 512]);
            let count = stream.read(&mut bytes).unwrap_or(0);
            heard.lock().unwrap().extend_from_slice(&bytes[..count]);
        }
    });
    let error = bench
        .call(&format!("127.0.0.1:{port}/a/b"), Access::Pull, |client| client.manifest("latest").map(drop))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error}");
    let said = said.lock().unwrap().clone();
    assert!(!said.is_empty() && !said.windows(5).any(|bytes| bytes == b"HTTP/"));

    // Marked, it is another matter: by the call, or by a file.
    let marked = Bench::new();
    get(&marked, &plain).unwrap();
    let by_file = strict();
    by_file.write(
        "etc/containers/registries.conf",
        &format!("[[registry]]\nlocation=\"{}\"\ninsecure=true\n", plain.authority()),
    );
    get(&by_file, &plain).unwrap();
    let by_url = strict();
    by_url.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", plain.authority()),
        &format!("server = \"http://{}\"\n", plain.authority()),
    );
    get(&by_url, &plain).unwrap();
    // Another host's mark is no mark.
    let other = strict();
    other
        .write("etc/containers/registries.conf", "[[registry]]\nlocation=\"other.example\"\ninsecure=true\n");
    assert_eq!(get(&other, &plain).unwrap_err().kind(), ErrorKind::Network);
}

#[test]
fn dst_31_and_32_authorities_clients_and_who_skips_it() {
    let authority = Authority::new();
    let fake = Fake::start_tls(authority.server(&["127.0.0.1"], true), |_| manifest());
    let (certificate, key) = authority.issue(&["client"]);
    let files = [
        ("ca.crt", authority.pem()),
        ("client.cert", certificate.pem()),
        ("client.key", key.serialize_pem()),
    ];
    for directory in [
        format!("etc/docker/certs.d/{}", fake.authority()),
        format!("etc/containers/certs.d/{}", fake.authority()),
        format!("home/.config/containers/certs.d/{}", fake.authority()),
    ] {
        let bench = strict();
        for (name, text) in &files {
            bench.write(&format!("{directory}/{name}"), text);
        }
        get(&bench, &fake).unwrap_or_else(|error| panic!("{directory}: {error}"));
    }
    let mut bench = strict();
    for (name, text) in &files {
        bench.write(&format!("certs/{name}"), text);
    }
    bench.options = RegistryOptions::default().cert_dir(bench.path().join("certs"));
    get(&bench, &fake).unwrap();
    let toml = strict();
    for (name, text) in &files {
        toml.write(&format!("etc/containerd/certs.d/{}/{name}.pem", fake.authority()), text);
    }
    toml.write(
        &format!("etc/containerd/certs.d/{}/hosts.toml", fake.authority()),
        "ca = \"ca.crt.pem\"\nclient = [[\"client.cert.pem\", \"client.key.pem\"]]\n",
    );
    get(&toml, &fake).unwrap();
    // Without the certificate the server does not talk, whatever we think of its own.
    let anybody = Bench::new();
    assert_eq!(get(&anybody, &fake).unwrap_err().kind(), ErrorKind::Network);

    // A certificate for another name.
    let other = Fake::start_tls(authority.server(&["other.example"], false), |_| manifest());
    let bench = strict();
    bench.write(&format!("etc/docker/certs.d/{}/ca.crt", other.authority()), &authority.pem());
    let error = get(&bench, &other).unwrap_err();
    assert!(error.to_string().contains("it is for another name"), "{error}");
    // Marked insecure, it is TLS all the same.
    get(&anybody, &other).unwrap();
    assert_eq!(other.lines(), ["GET /v2/a/b/manifests/latest"]);
}

#[test]
fn what_begins_with_tls_stays_with_it() {
    let authority = Authority::new();
    let plain = Arc::new(Fake::start(|_| manifest()));
    let there = plain.authority();
    let fake =
        Fake::start_tls(authority.server(&["127.0.0.1"], false), move |seen| match seen.target.as_str() {
            target if target.ends_with("/redirect") => {
                Reply::new(307).header("Location", format!("http://{there}/x"))
            }
            target if target.ends_with("/uploads/") => {
                Reply::new(202).header("Location", format!("http://{there}/x"))
            }
            _ => Reply::new(401).header("WWW-Authenticate", format!("Bearer realm=\"http://{there}/token\"")),
        });
    let bench = strict();
    bench.write(&format!("etc/docker/certs.d/{}/ca.crt", fake.authority()), &authority.pem());
    let redirect = bench.pull(&fake, |client| client.manifest("redirect")).unwrap_err();
    assert_eq!(redirect.kind(), ErrorKind::Registry, "{redirect}");
    // SEC-100: also for nobody's credentials, since the token would be somebody's.
    let token = bench.pull(&fake, |client| client.manifest("latest")).unwrap_err();
    assert_eq!(token.kind(), ErrorKind::Unauthorized, "{token}");
    let content = vec![0; 100_000];
    struct Zeros(Vec<u8>);
    impl crate::distribution::client::Reopen for Zeros {
        fn open_at(&self, offset: u64, _: &str) -> Result<Opened<'_>> {
            Ok(Opened::here(&self.0[offset as usize..]))
        }
    }
    let upload = bench
        .push(&fake, |client| {
            client.upload(&Digest::of(&content), 100_000, &Zeros(content.clone()), None, &|_| {})
        })
        .unwrap_err();
    assert_eq!(upload.kind(), ErrorKind::Registry, "{upload}");
    assert_eq!(plain.connections(), 0);
}

/// A proxy that tunnels everything to one server. What it was asked for is kept.
fn proxy(target: u16, wants: Option<&'static str>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = Vec::new();
            let mut byte = [0];
            while !text.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                text.extend_from_slice(&byte);
            }
            let text = String::from_utf8_lossy(&text).into_owned();
            kept.lock().unwrap().push(text.clone());
            if wants.is_some_and(|wants| !text.contains(wants)) {
                let _ = stream.write_all(b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            let mut other = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 Established\r\nX-Proxy: yes\r\n\r\n");
            let (mut back, mut from) = (stream.try_clone().unwrap(), other.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
            std::thread::spawn(move || std::io::copy(&mut stream, &mut other));
        }
    });
    (port, asked)
}

#[test]
fn reg_17_a_proxy_of_the_environment() {
    let authority = Authority::new();
    let fake = Fake::start_tls(authority.server(&["reg.example"], false), |_| manifest());
    let (port, asked) = proxy(fake.port, Some("Proxy-Authorization: Basic bWU6czM="));
    let mut bench = strict();
    bench.write("etc/docker/certs.d/reg.example/ca.crt", &authority.pem());
    bench.variables.push(("HTTPS_PROXY".into(), format!("http://me:s3@127.0.0.1:{port}")));
    let pull = |bench: &Bench| {
        bench.call("reg.example/a/b", Access::Pull, |client| client.manifest("latest").map(drop))
    };
    pull(&bench).unwrap();
    assert!(asked.lock().unwrap()[0].starts_with("CONNECT reg.example:443 HTTP/1.1\r\n"));
    assert_eq!(fake.seen()[0].header("host"), Some("reg.example"));
    assert!(fake.seen().iter().all(|seen| seen.header("proxy-authorization").is_none()));
    bench.variables[0].1 = format!("http://127.0.0.1:{port}");
    let error = pull(&bench).unwrap_err();
    assert!(error.kind() == ErrorKind::Network && error.to_string().contains("proxy"), "{error}");
}
