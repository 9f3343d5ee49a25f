//! Connections for the HTTP library: straight or through a proxy, plain or with TLS.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

use super::guard::Guard;
use super::proxy::{Proxies, Proxy};
use super::resolve::resolve;
use super::socket::{Socket, unreachable};
use super::tls::TlsSettings;
use super::url::Origin;
use super::{Network, Patience};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};

/// The answer of a proxy to CONNECT may be so long.
const MAX_PROXY_ANSWER: usize = 16 << 10;

/// Makes the connections of one client.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) network: Network,
    pub(super) tls: Arc<TlsSettings>,
    pub(super) proxies: Proxies,
    pub(super) patience: Patience,
    pub(super) cancel: CancelToken,
    /// What is obeyed where it is not the caller who names the targets.
    pub(super) guard: Option<Guard>,
    /// A proxy makes no tunnels to what has no TLS.
    pub(super) no_tunnel: AtomicBool,
}

/// How a target is reached.
enum Way<'a> {
    /// A connection to it, without TLS of its own.
    Open(Stream),
    /// The proxy does not make one.
    Refused(&'a Proxy, Error),
}

impl Dialer {
    pub(super) fn dial(&self, target: &Origin) -> Result<Line> {
        self.network.check(&target.authority())?;
        if let Some(guard) = &self.guard {
            guard.check(target, self.proxies.of(target)?.is_some())?;
        }
        let line =
            |stream, front| Line { stream, front, cut: false, buffers: LazyBuffers::new(BUFFER, BUFFER) };
        if !target.https
            && self.no_tunnel.load(Ordering::Relaxed)
            && let Some(proxy) = self.proxies.of(target)?
        {
            return Ok(line(self.reach(proxy)?, Some(Front::of(proxy, target))));
        }
        match self.connect(target)? {
            Way::Open(stream) if target.https => Ok(line(self.secure(stream, target)?, None)),
            Way::Open(stream) => Ok(line(stream, None)),
            Way::Refused(_, error) if target.https => Err(error),
            // Many proxies make tunnels to the port of TLS only, and pass on what has none.
            Way::Refused(proxy, _) => {
                self.no_tunnel.store(true, Ordering::Relaxed);
                Ok(line(self.reach(proxy)?, Some(Front::of(proxy, target))))
            }
        }
    }

    /// Whether a connection to the target becomes one with TLS.
    pub(super) fn speaks_tls(&self, target: &Origin) -> Result<bool> {
        self.network.check(&target.authority())?;
        let stream = match self.connect(target)? {
            Way::Open(stream) => stream,
            // It is not to be had, which the proxy has said for good.
            Way::Refused(..) => return Ok(false),
        };
        match self.secure(stream, target) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Network => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A connection without TLS of its own: straight, or through a proxy.
    fn connect(&self, target: &Origin) -> Result<Way<'_>> {
        match self.proxies.of(target)? {
            None => self.socket(target, self.guard.as_ref()).map(Stream::Plain).map(Way::Open),
            Some(proxy) => self.through(proxy, target),
        }
    }

    /// A connection to a proxy.
    fn reach(&self, proxy: &Proxy) -> Result<Stream> {
        // The caller's own.
        let socket = Stream::Plain(self.socket(&proxy.origin, None)?);
        if proxy.origin.https { self.secure(socket, &proxy.origin) } else { Ok(socket) }
    }

    fn socket(&self, target: &Origin, guard: Option<&Guard>) -> Result<Socket> {
        let mut addresses = resolve(&target.host, target.port, self.patience.connect, &self.cancel)?;
        if let Some(guard) = guard {
            addresses = guard.open(target, addresses)?;
        }
        Socket::connect(&addresses, &target.authority(), self.patience, &self.cancel)
    }

    /// A tunnel through a proxy.
    fn through<'p>(&self, proxy: &'p Proxy, target: &Origin) -> Result<Way<'p>> {
        let mut stream = self.reach(proxy)?;
        let goal = format!("{}:{}", target.host, target.port);
        let mut request = format!("CONNECT {goal} HTTP/1.1\r\nHost: {goal}\r\n");
        request.push_str(&authorization(proxy));
        request.push_str("\r\n");
        let failed = |why: &str| {
            unreachable(&target.authority(), &format!("the proxy \"{}\" {why}", proxy.origin.authority()))
        };
        let cut = |error: io::Error| {
            let own = error.get_ref().is_some_and(|inner| inner.is::<Error>());
            if own {
                Error::of_read(error, "")
            } else {
                failed(&format!("closed the connection: {error}")).transient()
            }
        };
        stream.write_all(request.as_bytes()).and_then(|()| stream.flush()).map_err(cut)?;
        let mut answer = Vec::new();
        // A byte at a time: what follows the answer belongs to the target.
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if answer.len() >= MAX_PROXY_ANSWER || stream.read(&mut byte).map_err(cut)? == 0 {
                return Err(failed("gave no answer"));
            }
            answer.extend_from_slice(&byte);
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Response::new(&mut headers);
        match parsed.parse(&answer) {
            Ok(_) if parsed.code.is_some_and(|code| (200..300).contains(&code)) => Ok(Way::Open(stream)),
            Ok(_) if parsed.code == Some(407) => Err(failed("wants a name and a password")
                .with_hint("put them into the proxy's URL: http://user:password@proxy:port")),
            Ok(_) => {
                let why = format!("refused with status {}", parsed.code.unwrap_or_default());
                Ok(Way::Refused(proxy, failed(&why)))
            }
            Err(_) => Err(failed("does not speak HTTP")),
        }
    }

    fn secure(&self, stream: Stream, target: &Origin) -> Result<Stream> {
        let config = self.tls.of(&target.host, target.port)?;
        let bare = target.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|_| unreachable(&target.authority(), "its name cannot be the name of a certificate"))?;
        let connection = ClientConnection::new(config, name)
            .map_err(|error| unreachable(&target.authority(), &format!("TLS: {error}")))?;
        let mut stream = StreamOwned::new(connection, Box::new(stream));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| handshake_error(error, target))?;
        }
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// The header that a proxy with a name and a password wants.
fn authorization(proxy: &Proxy) -> String {
    let encode = |user| base64::engine::general_purpose::STANDARD.encode(user);
    let header = |user| format!("Proxy-Authorization: Basic {}\r\n", encode(user));
    proxy.user.as_ref().map(header).unwrap_or_default()
}

/// What a proxy wants to see of each request that it passes on: the whole address, and who asks.
struct Front {
    /// `http://host:port`
    target: String,
    authorization: String,
    /// What is sent next begins a request.
    begins: bool,
}

impl Front {
    fn of(proxy: &Proxy, target: &Origin) -> Front {
        Front { target: target.to_string(), authorization: authorization(proxy), begins: true }
    }

    /// The beginning of a request as the proxy wants it; None for what goes as it is.
    fn rewrite(&mut self, output: &[u8]) -> Option<Vec<u8>> {
        if !std::mem::take(&mut self.begins) {
            return None;
        }
        let path = output.iter().position(|byte| *byte == b' ')? + 1;
        let (method, rest) = output.split_at_checked(path)?;
        let line = rest.windows(2).position(|bytes| bytes == b"\r\n")? + 2;
        let (line, headers) = rest.split_at_checked(line)?;
        Some([method, self.target.as_bytes(), line, self.authorization.as_bytes(), headers].concat())
    }
}

/// A failed handshake. Only a connection that was cut is worth another try.
fn handshake_error(error: io::Error, target: &Origin) -> Error {
    if error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::of_read(error, "");
    }
    let name = target.authority();
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return unreachable(&name, "the connection was closed while TLS began").transient();
    };
    match tls {
        rustls::Error::InvalidCertificate(why) => {
            unreachable(&name, &format!("its certificate is not trusted: {}", certificate_problem(why)))
                .with_hint("put the authority's certificate into /etc/containers/certs.d/<host>/ca.crt, or allow it to be insecure: `--tls-verify=false`, `insecure` of the call, or `insecure = true` in registries.conf")
        }
        rustls::Error::InvalidMessage(_) => unreachable(&name, "it does not speak TLS")
            .with_hint("plain HTTP is used only where it is allowed: `--tls-verify=false`, `insecure` of the call, or `insecure = true` for the registry in registries.conf"),
        rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol) => {
            unreachable(&name, "it does not speak HTTP/1.1")
        }
        rustls::Error::AlertReceived(alert) => {
            unreachable(&name, &format!("it refused TLS with the alert {alert:?}"))
        }
        other => unreachable(&name, &format!("TLS failed: {other}")),
    }
}

fn certificate_problem(why: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as Problem;
    match why {
        Problem::Expired | Problem::ExpiredContext { .. } => "it has expired",
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => "it is not valid yet",
        Problem::NotValidForName | Problem::NotValidForNameContext { .. } => "it is for another name",
        Problem::UnknownIssuer => "nobody vouches for it",
        Problem::Revoked => "it was revoked",
        _ => "it is not acceptable",
    }
}

/// The dialer as the HTTP library wants it.
#[derive(Debug)]
pub(super) struct Connections(pub(super) Arc<Dialer>);

impl Connector for Connections {
    type Out = Line;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        _: Option<()>,
    ) -> std::result::Result<Option<Line>, ureq::Error> {
        self.0
            .dial(&Origin::of(details.uri))
            .map(Some)
            .map_err(|error| ureq::Error::Io(io::Error::other(error)))
    }
}

/// Names are resolved when a connection is made, since most requests need none.
#[derive(Debug)]
pub(super) struct Later;

impl Resolver for Later {
    fn resolve(
        &self,
        _: &ureq::http::Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> std::result::Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Bytes of each of a connection's two buffers.
pub(super) const BUFFER: usize = 128 << 10;

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Box<Stream>>>),
}

impl Stream {
    fn socket(&mut self) -> &mut Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.sock.socket(),
        }
    }

    /// Whether nothing unexpected has come, and the other side has not closed. Tickets that a server sends after the handshake are taken in.
    fn is_quiet(&mut self) -> bool {
        match self {
            Stream::Plain(socket) => !socket.is_readable(),
            Stream::Tls(stream) => {
                while stream.sock.socket().is_readable() {
                    if !matches!(stream.conn.read_tls(&mut stream.sock), Ok(amount) if amount > 0) {
                        return false;
                    }
                    match stream.conn.process_new_packets() {
                        Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                        _ => return false,
                    }
                }
                true
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// One connection of HTTP.
pub(super) struct Line {
    stream: Stream,
    /// The server takes no more. It may have said why.
    cut: bool,
    /// Where a proxy passes requests on.
    front: Option<Front>,
    buffers: LazyBuffers,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> std::result::Result<(), ureq::Error> {
        if self.cut {
            return Ok(());
        }
        self.stream.socket().begin();
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        let rewritten = self.front.as_mut().and_then(|front| front.rewrite(output));
        let output = rewritten.as_deref().unwrap_or(output);
        match self.stream.write_all(output).and_then(|()| self.stream.flush()) {
            // A server that refuses a long upload answers and closes. The answer says more than the failure to write.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                self.cut = true;
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn await_input(&mut self, _: NextTimeout) -> std::result::Result<bool, ureq::Error> {
        // Whatever is sent after an answer begins the next request.
        if let Some(front) = &mut self.front {
            front.begins = true;
        }
        let space = self.buffers.input_append_buf();
        let amount = self.stream.read(space)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.cut && self.stream.is_quiet()
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

/// That a connection failed where it is not known how.
pub(super) fn network(origin: &Origin, why: &str) -> Error {
    Error::new(ErrorKind::Network, format!("\"{}\": {why}", origin.authority()))
        .with_object(origin.authority())
}
