//! A registry in the test's own process: it answers as the test says, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it came in.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// `GET /v2/...`.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Closes after so many bytes of the body.
    cut: Option<usize>,
    /// Closes without a word.
    silent: bool,
    /// Never answers, and keeps the connection.
    hang: bool,
}

impl Reply {
    pub(super) fn new(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Reply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: impl Into<Vec<u8>>) -> Reply {
        self.body = body.into();
        self
    }

    pub(super) fn cut_after(mut self, bytes: usize) -> Reply {
        self.cut = Some(bytes);
        self
    }

    pub(super) fn silent() -> Reply {
        Reply { silent: true, ..Reply::default() }
    }

    pub(super) fn hang() -> Reply {
        Reply { hang: true, ..Reply::default() }
    }
}

type Handler = Box<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// The registry. It ends when it is dropped.
pub(super) struct Fake {
    pub(super) port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    over: Arc<AtomicBool>,
    connections: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// With plain HTTP.
    pub(super) fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Fake {
        Fake::with(None, Box::new(handler))
    }

    /// With TLS.
    pub(super) fn start_tls(
        config: Arc<ServerConfig>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        Fake::with(Some(config), Box::new(handler))
    }

    /// With TLS, on a port that was free a moment ago.
    pub(super) fn start_tls_at(
        port: u16,
        config: Arc<ServerConfig>,
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Fake {
        Fake::at(port, Some(config), Box::new(handler))
    }

    fn with(tls: Option<Arc<ServerConfig>>, handler: Handler) -> Fake {
        Fake::at(0, tls, handler)
    }

    fn at(port: u16, tls: Option<Arc<ServerConfig>>, handler: Handler) -> Fake {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, over) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicBool>::default());
        let (their_seen, their_over) = (Arc::clone(&seen), Arc::clone(&over));
        let connections = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&connections);
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if their_over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let (seen, handler, tls) = (Arc::clone(&their_seen), Arc::clone(&handler), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &seen, &handler),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        serve(StreamOwned::new(connection, stream), &seen, &handler);
                    }
                });
            }
        });
        Fake { port, seen, over, connections, thread: Some(thread) }
    }

    /// `127.0.0.1:port`.
    pub(super) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many connections there were, also those that came to nothing.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: impl Read + Write, seen: &Mutex<Vec<Seen>>, handler: &Handler) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        if reply.silent {
            return;
        }
        if reply.hang {
            // Until the client goes away.
            let _ = stream.read(&mut [0]);
            return;
        }
        let mut text = format!("HTTP/1.1 {} Status\r\n", reply.status);
        let has_length = reply.headers.iter().any(|(name, _)| {
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
        });
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !has_length {
            text.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        text.push_str("\r\n");
        let body: &[u8] = if request.method == "HEAD" { &[] } else { &reply.body };
        let shown = reply.cut.map_or(body, |cut| &body[..cut.min(body.len())]);
        // In one piece: the second of two would wait for the first to be acknowledged.
        let mut text = text.into_bytes();
        text.extend_from_slice(shown);
        let inner = stream.get_mut();
        let sent = inner.write_all(&text).and_then(|()| inner.flush());
        if sent.is_err() || reply.cut.is_some() {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let length: usize = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Seen { method, target, headers, body })
}
