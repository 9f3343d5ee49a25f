//! What all calls of an engine share of the network: whether there is one for them at all, how much of it they use at once, and
//! what they remember of who they are to whom.

use std::sync::Arc;

use super::Patience;
use super::turns::{Turn, Turns};
use crate::cancel::CancelToken;
use crate::distribution::auth::Memory;
use crate::distribution::options::RegistryOptions;
use crate::distribution::settings::Places;
use crate::engine::EngineOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Deadline;

/// The network as an engine has it. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Network(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    offline: bool,
    turns: Arc<Turns>,
    memory: Memory,
    /// How registries are talked to where a call says nothing.
    defaults: RegistryOptions,
}

/// Exchanges at once, if the caller does not say: of one host as many as podman has blobs on their way, in all enough for several hosts that are slow.
const PER_HOST: u32 = 6;
const TOTAL: u32 = 24;
const MOST: u32 = 1024;

/// What says that engines are offline which say nothing themselves.
const VARIABLE: &str = "COBLE_OFFLINE";

impl Network {
    /// That of an engine with these options.
    pub(crate) fn of(options: &EngineOptions) -> Result<Network> {
        let offline = match options.offline {
            Some(offline) => offline,
            None => said(&Places::of_process())?,
        };
        let total = bound(options.connections, TOTAL)?;
        // Who bounds all of them need not say more.
        let per_host = bound(options.connections_per_host, PER_HOST)?.min(total);
        options.registry.check_default()?;
        Ok(Network::with(offline, total, per_host, options.registry.clone()))
    }

    #[cfg(test)]
    pub(crate) fn new(offline: bool, total: usize, per_host: usize) -> Network {
        Network::with(offline, total, per_host, RegistryOptions::default())
    }

    fn with(offline: bool, total: usize, per_host: usize, defaults: RegistryOptions) -> Network {
        let (turns, memory) = (Turns::new(total, per_host), Memory::default());
        Network(Arc::new(Shared { offline, turns, memory, defaults }))
    }

    /// One that is there, with the usual bounds.
    #[cfg(test)]
    pub(crate) fn usual() -> Network {
        Network::new(false, TOTAL as usize, PER_HOST as usize)
    }

    /// Waits until it is the caller's turn to use connections to these hosts.
    pub(super) fn turn(&self, hosts: Vec<String>, patience: Patience, cancel: &CancelToken) -> Result<Turn> {
        #[cfg(test)]
        assert_eq!(super::turns::held(false), 0, "a turn is waited for by who has one: {hosts:?}");
        let turn = self.0.turns.take(hosts, Deadline::after(patience.turn), cancel)?;
        turn.ok_or_else(|| Error::new(ErrorKind::Network, "too many connections are in use"))
    }

    /// How registries are talked to where a call says nothing.
    pub(in crate::distribution) fn defaults(&self) -> &RegistryOptions {
        &self.0.defaults
    }

    /// What is remembered from one call to the next.
    pub(in crate::distribution) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// Fails if nobody may be asked. `needed` is who would have been.
    pub(in crate::distribution) fn check(&self, needed: &str) -> Result<()> {
        if self.0.offline { Err(offline(&format!("ask \"{needed}\"")).with_object(needed)) } else { Ok(()) }
    }

    /// Fails if no program may be run that may go to the network itself.
    pub(in crate::distribution) fn check_program(&self, program: &str) -> Result<()> {
        if self.0.offline { Err(offline(&format!("run \"{program}\"")).with_object(program)) } else { Ok(()) }
    }
}

fn bound(wanted: Option<u32>, usual: u32) -> Result<usize> {
    match wanted.unwrap_or(usual) {
        bound @ 1..=MOST => Ok(bound as usize),
        bound => Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{bound} connections at once are not possible"),
        )
        .with_hint(format!("give a number from 1 to {MOST}"))),
    }
}

/// What the environment says. Who sets it to something that nobody understands is not let online by mistake.
fn said(places: &Places) -> Result<bool> {
    let Some(value) = places.variable(VARIABLE) else { return Ok(false) };
    match value.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(Error::new(ErrorKind::InvalidArgument, format!("{VARIABLE} is neither yes nor no"))
            .with_object(VARIABLE)
            .with_hint("set it to 1 or 0, or unset it")),
    }
}

fn offline(needed: &str) -> Error {
    Error::new(ErrorKind::Offline, format!("the engine is offline, and would have to {needed}")).with_hint(
        "open the engine without `offline` (command line: without `--offline` and without COBLE_OFFLINE)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_says() {
        let place = tempfile::tempdir().unwrap();
        let said = |value: &str| said(&Places::below(place.path(), &[(VARIABLE, value)]));
        for (value, offline) in
            [("1", true), ("Yes", true), ("on", true), ("0", false), ("false", false), ("", false)]
        {
            assert_eq!(said(value).unwrap(), offline, "{value:?}");
        }
        assert_eq!(said("perhaps").unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
