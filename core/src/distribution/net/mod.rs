//! From a URL to an answer: names, sockets, proxies, TLS, HTTP. Everything that waits does so for the caller's token as well. Not for what is said.

mod dial;
mod guard;
mod http;
mod network;
mod proxy;
mod resolve;
mod socket;
mod tls;
mod turns;
mod url;

pub(super) use self::guard::Guard;
pub(super) use self::http::{
    Answer, BodyReader, Content, Http, MAX_SMALL_BODY, Request, header_value, text_of,
};
pub(crate) use self::network::Network;
pub(super) use self::proxy::{Proxies, basic};
pub(super) use self::tls::{TlsSettings, Trust};
pub(crate) use self::turns::Telling;
pub(super) use self::turns::Turn;
#[cfg(test)]
pub(super) use self::turns::held;
pub(super) use self::url::{Origin, encode, join, parse, with_query};

use std::time::Duration;

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until a connection is there, with name and TLS.
    pub(super) connect: Duration,
    /// For data, in sum, until a useful amount of it has come. A transfer that moves has no end.
    pub(super) idle: Duration,
    /// Until it is the caller's turn. None: as long as it takes, since others are at work until then.
    pub(super) turn: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience { connect: Duration::from_secs(30), idle: Duration::from_secs(60), turn: None }
    }
}
