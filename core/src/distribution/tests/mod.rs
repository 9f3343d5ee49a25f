//! The client against a registry of the test's own. Each rule has a test with its number in the security list, where it has one.

mod auth;
mod bounds;
mod elsewhere;
mod offline;
mod pull;
mod push;
mod settings;
mod tls;
mod transfer;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::client::{Access, Client, Tuning, World};
use super::event::Event;
use super::fake::{Fake, Reply, Seen};
use super::net::{Network, Patience};
use super::options::{CredentialProvider, CredentialRequest, Credentials, RegistryOptions};
use super::settings::Places;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};

const MANIFEST: &str =
    r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}"#;
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// Made-up places, and what a client told.
struct Bench {
    place: tempfile::TempDir,
    variables: Vec<(String, String)>,
    options: RegistryOptions,
    cancel: CancelToken,
    events: Mutex<Vec<Event>>,
    tuning: Tuning,
    network: Network,
}

impl Bench {
    /// Everything is allowed that a test on plain HTTP needs.
    fn new() -> Bench {
        let patience = Patience { connect: Duration::from_secs(5), idle: Duration::from_secs(5), turn: None };
        Bench {
            place: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
            options: RegistryOptions::default().insecure(true),
            cancel: CancelToken::never(),
            events: Mutex::default(),
            tuning: Tuning { patience, first_pause: Duration::from_millis(5) },
            network: Network::usual(),
        }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn places(&self) -> Places {
        let variables: Vec<(&str, &str)> =
            self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Places::below(self.path(), &variables)
    }

    fn world(&self) -> World {
        World { places: self.places(), network: self.network.clone(), tuning: self.tuning }
    }

    /// Makes a client and calls with it.
    fn call<T>(
        &self,
        reference: &str,
        access: Access,
        call: impl FnOnce(&Client<'_>) -> Result<T>,
    ) -> Result<T> {
        let events = |event: Event| self.events.lock().unwrap().push(event);
        let reference = Reference::parse(reference).unwrap();
        let client = Client::with(&self.world(), &reference, &self.options, access, &events, &self.cancel)?;
        call(&client)
    }

    fn pull<T>(&self, fake: &Fake, call: impl FnOnce(&Client<'_>) -> Result<T>) -> Result<T> {
        self.call(&format!("{}/a/b:latest", fake.authority()), Access::Pull, call)
    }

    fn push<T>(&self, fake: &Fake, call: impl FnOnce(&Client<'_>) -> Result<T>) -> Result<T> {
        self.call(&format!("{}/a/b:latest", fake.authority()), Access::Push, call)
    }

    fn warnings(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events
            .iter()
            .filter_map(|event| if let Event::Warning(text) = event { Some(text.clone()) } else { None })
            .collect()
    }
}

/// A manifest under every name.
fn manifest() -> Reply {
    Reply::new(200).header("Content-Type", MANIFEST_TYPE).body(MANIFEST)
}

fn error_document(code: &str) -> String {
    format!(r#"{{"errors":[{{"code":"{code}","message":"as the test wants"}}]}}"#)
}
