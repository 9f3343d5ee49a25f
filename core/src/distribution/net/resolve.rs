//! Names to addresses. The C library's resolver cannot be interrupted, so it runs on a thread that is left behind when the caller cancels, and ends
//! by itself when the resolver gives up. It holds nothing of the caller's.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;
use std::os::fd::AsFd;

use super::socket::unreachable;
use crate::cancel::CancelToken;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::{Deadline, poll};
use crate::sys::SignalsBlocked;

/// More addresses than anybody tries.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a host, in the order of the system.
pub(super) fn resolve(
    host: &str,
    port: u16,
    limit: Duration,
    cancel: &CancelToken,
) -> Result<Vec<SocketAddr>> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    type Found = std::io::Result<Vec<SocketAddr>>;
    let (done, working) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).call("pipe2", host)?;
    let result: Arc<Mutex<Option<Found>>> = Arc::default();
    let (theirs, name) = (Arc::clone(&result), bare.to_owned());
    let look = move || {
        let found = (name.as_str(), port).to_socket_addrs().map(|all| all.take(MAX_ADDRESSES).collect());
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        drop(working);
    };
    {
        let _quiet = SignalsBlocked::begin();
        std::thread::Builder::new().name("coble-resolve".into()).spawn(look).call("clone", host)?;
    }
    let wanted = [(done.as_fd(), PollFlags::IN)];
    if poll(&wanted, &mut Vec::new(), Deadline::after(Some(limit)), cancel)? == 0 {
        return Err(unreachable(host, "its name cannot be resolved in time").transient());
    }
    let found = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    match found {
        Some(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Some(Ok(_)) => Err(unreachable(host, "the name has no address")),
        Some(Err(error)) => Err(name_error(host, &error)),
        None => Err(Error::new(ErrorKind::Internal, "the resolver ended without a word")),
    }
}

fn name_error(host: &str, error: &std::io::Error) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    let lower: String =
        text.char_indices().map(|(i, c)| if i == 0 { c.to_ascii_lowercase() } else { c }).collect();
    let unreachable = unreachable(host, &format!("its name cannot be resolved: {lower}"));
    // The library has no more than the text of the resolver's code. EAI_AGAIN is the one that may pass; a name that nobody has is not waited for.
    let passing = ["temporary", "try again"].iter().any(|word| lower.to_ascii_lowercase().contains(word));
    if passing { unreachable.transient() } else { unreachable }
}
