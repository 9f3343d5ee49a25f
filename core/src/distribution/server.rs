//! One server: its scheme, its credentials, its connections. A request goes out as often as it takes to be let in.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use ureq::http::header::AUTHORIZATION;
use ureq::http::{HeaderName, Method, StatusCode, Uri};

use super::auth::{Auth, Refusal, Scopes};
use super::client::{Opened, Reopen};
use super::net::{Answer, Content, Http, Origin, Request, parse};
use super::redirect::follow;
use super::settings::{Host, Scheme};
use crate::error::{Error, ErrorKind, Result};

/// The most times a request is sent: without a token, with one, and with one for more.
const MAX_SENT: usize = 3;

/// The server.
pub(super) struct Server {
    pub(super) host: Host,
    auth: Auth,
    /// Of one that is marked insecure: whether it can do TLS. None until it was tried.
    tls: Mutex<Option<bool>>,
    /// A mirror that could not be reached.
    given_up: AtomicBool,
}

/// A request to a server.
pub(super) struct Ask<'b> {
    pub(super) method: Method,
    pub(super) url: Uri,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Body<'b>,
    pub(super) scopes: &'b Scopes,
    /// The host that the answer is passed on to as it comes, if it is.
    pub(super) passed_on_to: Option<&'b str>,
}

/// What is sent along, as often as it takes.
pub(super) enum Body<'b> {
    Nothing,
    Bytes(&'b [u8]),
    /// `size` bytes of the content from `offset` on.
    Content {
        content: &'b dyn Reopen,
        offset: u64,
        size: u64,
        sent: &'b dyn Fn(u64),
    },
}

impl<'b> Ask<'b> {
    pub(super) fn new(method: Method, url: Uri, scopes: &'b Scopes) -> Ask<'b> {
        Ask { method, url, headers: Vec::new(), body: Body::Nothing, scopes, passed_on_to: None }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Ask<'b> {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn body(mut self, body: Body<'b>) -> Ask<'b> {
        self.body = body;
        self
    }
}

impl Server {
    pub(super) fn new(host: Host, auth: Auth) -> Server {
        Server { host, auth, tls: Mutex::new(None), given_up: AtomicBool::new(false) }
    }

    /// Remembers that it is not worth another request.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// Scheme, host and port. Of a server that is marked insecure, TLS is tried first, and plain HTTP used only if there is none.
    pub(super) fn origin(&self, http: &Http) -> Result<Origin> {
        let of = |https: bool| Origin {
            https,
            host: self.host.host.clone(),
            port: self.host.port.unwrap_or(if https { 443 } else { 80 }),
        };
        let https = match self.host.scheme {
            Scheme::Https => true,
            Scheme::Http => false,
            Scheme::Either => {
                let mut known = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
                match *known {
                    Some(known) => known,
                    None => {
                        let can = match http.speaks_tls(&of(true)) {
                            Ok(can) => can,
                            // Where no port is named, each of the two has its own.
                            Err(error)
                                if self.host.port.is_none()
                                    && error.errno() == Some(libc::ECONNREFUSED)
                                    && http.reach(&of(false)).is_ok() =>
                            {
                                false
                            }
                            // Who cannot be reached now has not said that he has no TLS.
                            Err(error) => return Err(error),
                        };
                        *known.insert(can)
                    }
                }
            }
        };
        Ok(of(https))
    }

    /// The URL of something of the repository: `blobs/sha256:...`.
    pub(super) fn url(&self, http: &Http, rest: &str) -> Result<Uri> {
        let origin = self.origin(http)?;
        let Host { base, repository, namespace, .. } = &self.host;
        let mut text = format!("{origin}{base}/");
        if !repository.is_empty() {
            text.push_str(repository);
            text.push('/');
        }
        text.push_str(rest);
        if let Some(namespace) = namespace {
            text.push_str(if text.contains('?') { "&ns=" } else { "?ns=" });
            text.push_str(namespace);
        }
        parse(&text)
    }

    /// Sends a request, answers the server's question who it is, and follows redirects of what only reads. Every status is a result,
    /// but 401 that can be answered, and once for each request 403 that may be about a token that has ended.
    pub(super) fn ask(&self, http: &Http, ask: &Ask<'_>) -> Result<Answer> {
        let origin = self.origin(http)?;
        // A location that a server names may be on another one, which has no claim to anything.
        let is_own = Origin::of(&ask.url) == origin;
        let begun = Instant::now();
        let (mut turn, mut renewed) = (0, false);
        loop {
            turn += 1;
            let mut request = Request::new(ask.method.clone(), ask.url.clone());
            request.passed_on_to = ask.passed_on_to.map(str::to_owned);
            for (name, value) in &ask.headers {
                request = request.header(name.clone(), value)?;
            }
            let authorization = match is_own {
                true => self.auth.header(http, &self.host, &origin, ask.scopes)?,
                false => None,
            };
            if is_own {
                for (name, value) in &self.host.headers {
                    request.headers.append(name.clone(), value.clone());
                }
                // A header of the configuration is an answer to the question already.
                if let Some(value) = &authorization {
                    request.headers.insert(AUTHORIZATION, value.clone());
                }
            }
            let mut answer = match &ask.body {
                Body::Nothing => follow(http, request)?,
                Body::Bytes(bytes) => http.send(request.content(Content::Bytes(bytes)))?,
                Body::Content { content, offset, size, sent } => {
                    let Opened { reader, turn } =
                        content.open_at(*offset, &Origin::of(&ask.url).authority())?;
                    let mut counted =
                        Counted { inner: reader, at: *offset, end: offset.saturating_add(*size), sent };
                    http.send(request.content(Content::Stream(&mut counted, *size, turn)))?
                }
            };
            let asks = matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                && is_own
                && Origin::of(&answer.url) == origin;
            if !asks {
                return Ok(answer);
            }
            let sent = authorization.as_ref();
            let refusal = match answer.status == StatusCode::FORBIDDEN && sent.is_some() {
                true => Refusal::of(&mut answer),
                false => Refusal::Other,
            };
            // What it takes to find out who the caller is may take long, and exchanges with others.
            answer.end_turn();
            if turn >= MAX_SENT {
                return Ok(answer);
            }
            let again = match (answer.status, sent) {
                (StatusCode::UNAUTHORIZED, _) => {
                    self.auth.challenged(&answer, &self.host, sent, &mut renewed)?
                }
                (_, Some(_)) if renewed => {
                    self.auth.renewed_in_vain();
                    false
                }
                (_, Some(sent)) => {
                    renewed = true;
                    self.auth.refused(refusal, &self.host, &origin, sent, begun)?
                }
                (_, None) => false,
            };
            if !again {
                return Ok(answer);
            }
            answer.discard();
        }
    }

    /// A last request for which no token is fetched.
    pub(super) fn farewell<'b>(&self, mut request: Request<'b>) -> Result<Request<'b>> {
        let known = self.tls.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(true);
        let https =
            if self.host.scheme == Scheme::Either { known } else { self.host.scheme == Scheme::Https };
        let target = Origin::of(&request.url);
        let port = self.host.port.unwrap_or(if https { 443 } else { 80 });
        if (target.https, &target.host, target.port) == (https, &self.host.host, port)
            && let Some(value) = self.auth.known_header()
        {
            request.headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }
}

/// Tells how far the content was read, and says so when it ends before its time, for which the library would wait.
struct Counted<'b> {
    inner: Box<dyn Read + 'b>,
    at: u64,
    end: u64,
    sent: &'b dyn Fn(u64),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let amount = self.inner.read(buffer)?;
        if amount == 0 && !buffer.is_empty() && self.at < self.end {
            let text = format!("the content ends after {} of {} bytes", self.at, self.end);
            return Err(std::io::Error::other(Error::new(ErrorKind::Io, text)));
        }
        self.at += amount as u64;
        (self.sent)(self.at);
        Ok(amount)
    }
}
