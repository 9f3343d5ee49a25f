//! One exchange of HTTP: no redirects, no retries, no credentials of its own. Every status is an answer, not an error.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use base64::Engine as _;
use ureq::config::Config;
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use ureq::{Agent, AsSendBody, Body, SendBody};

use super::dial::{BUFFER, Connections, Dialer, Later, network};
use super::guard::Guard;
use super::proxy::Proxies;
use super::tls::TlsSettings;
use super::turns::Turn;
use super::url::Origin;
use super::{Network, Patience};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::MAX_DOCUMENT;
use crate::text::visible;

/// The most bytes of headers.
const MAX_HEADERS: usize = 128 << 10;
/// The longest answer that is read whole and is not a document of an image: a token, a list, an error.
pub(in crate::distribution) const MAX_SMALL_BODY: u64 = MAX_DOCUMENT;
/// How many times longer than usual the answer to a `PUT` may take.
const PATIENT: u32 = 5;
/// Idle connections that are kept, of one host and in all: as many as anybody has transfers at once.
const MAX_IDLE: usize = 32;

/// HTTP for one client: its connections, its settings.
#[derive(Debug)]
pub(in crate::distribution) struct Http {
    agent: Agent,
    /// For `PUT`, whose answer may take long: a registry may have to go over all of a large blob before it gives one.
    patient: Agent,
    dialer: Arc<Dialer>,
}

/// What is asked. Not `Debug`, for its headers have secrets.
pub(in crate::distribution) struct Request<'b> {
    pub(in crate::distribution) method: Method,
    pub(in crate::distribution) url: Uri,
    pub(in crate::distribution) headers: HeaderMap,
    pub(in crate::distribution) content: Content<'b>,
    /// Where the answer is passed on to as it comes, with which a turn is taken together with that of this exchange.
    pub(in crate::distribution) passed_on_to: Option<String>,
}

/// What is sent along.
pub(in crate::distribution) enum Content<'b> {
    Nothing,
    Bytes(&'b [u8]),
    /// So many bytes of a stream, which can be sent once, and the turn that it is read under, if it comes from another host. It is one with this host, too.
    Stream(&'b mut dyn Read, u64, Option<Turn>),
}

/// What came back.
pub(in crate::distribution) struct Answer {
    pub(in crate::distribution) status: StatusCode,
    pub(in crate::distribution) headers: HeaderMap,
    /// Where it came from.
    pub(in crate::distribution) url: Uri,
    body: Body,
    /// As long as there may be something to read of it.
    turn: Option<Turn>,
    /// What it was asked with, which is not shown when the answer repeats it.
    secret: Option<HeaderValue>,
}

impl<'b> Request<'b> {
    pub(in crate::distribution) fn new(method: Method, url: Uri) -> Request<'b> {
        Request { method, url, headers: HeaderMap::new(), content: Content::Nothing, passed_on_to: None }
    }

    pub(in crate::distribution) fn get(url: Uri) -> Request<'b> {
        Request::new(Method::GET, url)
    }

    /// Adds a header. A value that cannot be one is an error that does not show it.
    pub(in crate::distribution) fn header(mut self, name: HeaderName, value: &str) -> Result<Request<'b>> {
        self.headers.append(name.clone(), header_value(&name, value)?);
        Ok(self)
    }

    pub(in crate::distribution) fn content(mut self, content: Content<'b>) -> Request<'b> {
        self.content = content;
        self
    }
}

/// A value of a header, which is not shown in messages.
pub(in crate::distribution) fn header_value(name: &HeaderName, value: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(value).map_err(|_| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("a value for the header \"{name}\" has characters that it cannot have"),
        )
    })?;
    header.set_sensitive(name == http::header::AUTHORIZATION);
    Ok(header)
}

impl Http {
    pub(in crate::distribution) fn new(
        network: &Network,
        tls: TlsSettings,
        proxies: Proxies,
        patience: Patience,
        cancel: &CancelToken,
    ) -> Http {
        Http::of(network.clone(), Arc::new(tls), proxies, patience, cancel.clone(), None)
    }

    /// The same with other patience, for another token. It shares no connection.
    pub(in crate::distribution) fn again(&self, patience: Patience, cancel: &CancelToken) -> Http {
        let Dialer { network, tls, proxies, guard, .. } = &*self.dialer;
        Http::of(network.clone(), Arc::clone(tls), proxies.clone(), patience, cancel.clone(), guard.clone())
    }

    /// The same for targets that somebody else names, with other settings of TLS. It shares no connection.
    pub(in crate::distribution) fn guarded(&self, tls: TlsSettings, guard: Guard) -> Http {
        let Dialer { network, proxies, patience, cancel, .. } = &*self.dialer;
        Http::of(network.clone(), Arc::new(tls), proxies.clone(), *patience, cancel.clone(), Some(guard))
    }

    fn of(
        network: Network,
        tls: Arc<TlsSettings>,
        proxies: Proxies,
        patience: Patience,
        cancel: CancelToken,
        guard: Option<Guard>,
    ) -> Http {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("coble/", env!("CARGO_PKG_VERSION")))
            .accept("")
            .accept_encoding("")
            .max_response_header_size(MAX_HEADERS)
            .input_buffer_size(BUFFER)
            .output_buffer_size(BUFFER)
            .max_idle_connections(MAX_IDLE)
            .max_idle_connections_per_host(MAX_IDLE)
            .build();
        let dialer = |patience| {
            let (network, tls, proxies) = (network.clone(), Arc::clone(&tls), proxies.clone());
            let (cancel, guard, no_tunnel) = (cancel.clone(), guard.clone(), AtomicBool::new(false));
            Arc::new(Dialer { network, tls, proxies, patience, cancel, guard, no_tunnel })
        };
        let longer = Patience { idle: patience.idle.saturating_mul(PATIENT), ..patience };
        let patient = Agent::with_parts(config.clone(), Connections(dialer(longer)), Later);
        let dialer = dialer(patience);
        let agent = Agent::with_parts(config, Connections(Arc::clone(&dialer)), Later);
        Http { agent, patient, dialer }
    }

    /// Fails if a connection cannot be made, with TLS if the scheme has it.
    pub(in crate::distribution) fn reach(&self, origin: &Origin) -> Result<()> {
        let _turn = self.turn(origin, None)?;
        self.dialer.dial(origin).map(drop)
    }

    /// Whether who is there takes part in a handshake. That nobody can be reached is an error.
    pub(in crate::distribution) fn speaks_tls(&self, origin: &Origin) -> Result<bool> {
        let _turn = self.turn(origin, None)?;
        self.dialer.speaks_tls(origin)
    }

    /// The turn of an exchange, whose answer may be passed on to another host as it comes.
    fn turn(&self, origin: &Origin, other: Option<&String>) -> Result<Turn> {
        let hosts = std::iter::once(origin.authority()).chain(other.cloned()).collect();
        let Dialer { network, patience, cancel, .. } = &*self.dialer;
        network.turn(hosts, *patience, cancel)
    }

    pub(in crate::distribution) fn send(&self, mut request: Request<'_>) -> Result<Answer> {
        let origin = Origin::of(&request.url);
        let given = match &mut request.content {
            Content::Stream(_, _, given) => given.take(),
            Content::Nothing | Content::Bytes(_) => None,
        };
        let turn = match given {
            None => Some(self.turn(&origin, request.passed_on_to.as_ref())?),
            given => given,
        };
        let url = request.url.clone();
        let secret = request.headers.get(http::header::AUTHORIZATION).cloned();
        let malformed = |error: http::Error| Error::new(ErrorKind::Internal, format!("a request: {error}"));
        let sends = matches!(request.method, Method::POST | Method::PUT | Method::PATCH);
        let mut builder = http::Request::builder().method(request.method).uri(request.url);
        if let Some(headers) = builder.headers_mut() {
            *headers = request.headers;
        }
        let response = match request.content {
            // Some servers insist on a length.
            Content::Nothing if sends => self.run(builder.body(&[] as &[u8]).map_err(malformed)?),
            Content::Nothing => self.run(builder.body(()).map_err(malformed)?),
            Content::Bytes(bytes) => self.run(builder.body(bytes).map_err(malformed)?),
            Content::Stream(stream, size, _) => {
                if let Some(headers) = builder.headers_mut() {
                    headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(size));
                }
                let mut stream = stream.take(size);
                self.run(builder.body(SendBody::from_reader(&mut stream)).map_err(malformed)?)
            }
        };
        let response = response.map_err(|error| error_of(error, &origin))?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status, headers: parts.headers, url, body, turn, secret })
    }

    fn run(
        &self,
        request: http::Request<impl AsSendBody>,
    ) -> std::result::Result<http::Response<Body>, ureq::Error> {
        let agent = if *request.method() == Method::PUT { &self.patient } else { &self.agent };
        agent.run(request)
    }
}

impl Answer {
    /// The value of a header, if it is text.
    pub(in crate::distribution) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
    }

    /// The length that the body is announced with.
    pub(in crate::distribution) fn length(&self) -> Option<u64> {
        self.header("content-length").and_then(|length| length.parse().ok())
    }

    /// Where it came from, for messages.
    pub(in crate::distribution) fn origin(&self) -> Origin {
        Origin::of(&self.url)
    }

    /// Lets others have the turn before the body is read, which has to be short.
    pub(in crate::distribution) fn end_turn(&mut self) {
        self.turn = None;
    }

    /// The whole body, which may be `limit` bytes long.
    pub(in crate::distribution) fn bytes(self, limit: u64) -> Result<Vec<u8>> {
        let origin = self.origin();
        let too_long = || {
            let text = format!("\"{}\": an answer is longer than {limit} bytes", origin.authority());
            Error::new(ErrorKind::LimitExceeded, text).with_object(origin.authority())
        };
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        let mut reader = self.reader();
        reader.by_ref().take(limit + 1).read_to_end(&mut bytes).map_err(|error| Error::of_read(error, ""))?;
        if bytes.len() as u64 > limit { Err(too_long()) } else { Ok(bytes) }
    }

    /// The beginning of the body, for a message; what fails is left out.
    pub(in crate::distribution) fn beginning(self, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.reader().take(limit).read_to_end(&mut bytes);
        bytes
    }

    /// As [`Answer::beginning`], of an answer that is still wanted: no more of its body is there afterwards.
    pub(in crate::distribution) fn peek(&mut self, limit: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = self.body.as_reader().take(limit).read_to_end(&mut bytes);
        self.body = Body::builder().data(bytes.clone());
        bytes
    }

    /// What must not be shown: token or password, as they were sent and as they are.
    pub(in crate::distribution) fn secrets(&self) -> Vec<String> {
        let Some(value) = self.secret.as_ref().and_then(|value| value.to_str().ok()) else {
            return Vec::new();
        };
        let sent = value.split_once(' ').map_or(value, |(_, sent)| sent);
        let decoded = base64::engine::general_purpose::STANDARD.decode(sent).ok();
        let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        let password = pair.and_then(|pair| pair.split_once(':').map(|(_, password)| password.to_owned()));
        // Very short ones are parts of ordinary words.
        [Some(sent.to_owned()), password].into_iter().flatten().filter(|secret| secret.len() > 2).collect()
    }

    /// Reads a short body to its end, so that the connection can be used again. A long one is not worth it.
    pub(in crate::distribution) fn discard(self) {
        if self.length().is_none_or(|length| length <= MAX_SMALL_BODY) {
            let _ = io::copy(&mut self.reader().take(MAX_SMALL_BODY), &mut io::sink());
        }
    }

    /// The body as a stream, whose errors are ours.
    pub(in crate::distribution) fn reader(self) -> BodyReader {
        let origin = self.origin();
        BodyReader { inner: self.body.into_reader(), origin, turn: self.turn }
    }
}

/// A body on its way.
pub(in crate::distribution) struct BodyReader {
    inner: ureq::BodyReader<'static>,
    origin: Origin,
    /// Until its end was read, or there is no more to be had.
    turn: Option<Turn>,
}

impl BodyReader {
    /// The turn, for whoever takes care to have it as long as this is read.
    pub(in crate::distribution) fn take_turn(&mut self) -> Option<Turn> {
        self.turn.take()
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        if result.is_err() || (matches!(result, Ok(0)) && !buffer.is_empty()) {
            self.turn = None;
        }
        result.map_err(|error| io::Error::other(io_error(error, &self.origin)))
    }
}

fn error_of(error: ureq::Error, origin: &Origin) -> Error {
    match error {
        ureq::Error::Io(error) => io_error(error, origin),
        ureq::Error::LargeResponseHeader(..) => {
            let text = format!("\"{}\": the headers of an answer are too long", origin.authority());
            Error::new(ErrorKind::LimitExceeded, text).with_object(origin.authority())
        }
        ureq::Error::Protocol(error) => not_http(&error.to_string(), origin),
        error => network(origin, &error.to_string()),
    }
}

fn not_http(why: &str, origin: &Origin) -> Error {
    let text =
        format!("\"{}\": the answer is not HTTP: {}", origin.authority(), text_of(why.as_bytes(), 200));
    Error::new(ErrorKind::Registry, text).with_object(origin.authority())
}

/// An error of a connection: ours, which was carried through the library, that of TLS, or that of a system call.
fn io_error(error: io::Error, origin: &Origin) -> Error {
    let Some(inner) = error.get_ref() else {
        return match error.raw_os_error() {
            Some(errno) => network(origin, &crate::error::errno_text(errno)).with_errno(errno).transient(),
            None => network(origin, "the connection was cut").transient(),
        };
    };
    if inner.is::<Error>() {
        let own = Error::of_read(error, "");
        // What is said without a name gets one.
        return if own.object().is_none() && own.kind() == ErrorKind::Network {
            let named = network(origin, own.message());
            if own.is_transient() { named.transient() } else { named }
        } else {
            own
        };
    }
    if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
        return network(origin, &format!("TLS failed: {tls}"));
    }
    if let Some(library) = inner.downcast_ref::<ureq::Error>() {
        return match library {
            ureq::Error::Protocol(error) => not_http(&error.to_string(), origin),
            _ => network(origin, "the connection was cut").transient(),
        };
    }
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => not_http(&error.to_string(), origin),
        _ => network(origin, "the connection was cut").transient(),
    }
}

/// Bytes of a server as text for a message: bounded, with control characters escaped.
pub(in crate::distribution) fn text_of(bytes: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = visible(&text.trim().chars().take(limit).collect::<String>());
    if text.trim().chars().nth(limit).is_some() {
        shown.push_str("...");
    }
    shown
}
