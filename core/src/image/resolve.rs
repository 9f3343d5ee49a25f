//! From what a caller calls an image to what a container needs of it.

use std::collections::{BTreeMap, BTreeSet};

use super::changes::exposed;
use crate::container::HealthCheck;
use crate::error::{ErrorKind, Result};
use crate::oci::{Digest, ImageDocument, Platform, chain_ids};
use crate::state::{Store, images};

/// An image, ready to make a container of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResolvedImage {
    /// Digest of the configuration.
    pub(crate) id: String,
    /// The canonical reference, if the caller used a name.
    pub(crate) reference: Option<String>,
    /// What the image says about its containers.
    pub(crate) config: ImageConfig,
    pub(crate) platform: Platform,
    /// Lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    /// Lowest first.
    pub(crate) chain_ids: Vec<Digest>,
}

impl ResolvedImage {
    /// What a container has that is made of no image: no files, and no word about anything.
    pub(crate) fn nothing() -> ResolvedImage {
        ResolvedImage {
            id: String::new(),
            reference: None,
            config: ImageConfig::default(),
            platform: Platform::host(),
            diff_ids: Vec::new(),
            chain_ids: Vec::new(),
        }
    }
}

/// What an image says about its containers. What it leaves empty is None.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ImageConfig {
    pub(crate) user: Option<String>,
    /// Well-formed variables only; a later one of the same name is the one that counts.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) healthcheck: Option<HealthCheck>,
    /// The words before a line for the shell, if the image has its own.
    pub(crate) shell: Option<Vec<String>>,
    /// Well-formed ones only, with their protocol.
    pub(crate) exposed_ports: Vec<String>,
    /// The places that get volumes.
    pub(crate) volumes: Vec<String>,
}

/// The image with this reference, id, or unambiguous id prefix of at least four digits.
pub(crate) fn resolve(store: &Store, text: &str) -> Result<ResolvedImage> {
    resolve_for(store, text, None)
}

/// The ids of an image and of those that were made upon it, whose lowest layers are all of its. Empty if there is no such image.
pub(crate) fn descendants(store: &Store, text: &str) -> Result<BTreeSet<String>> {
    let image = match resolve(store, text) {
        Err(error) if error.kind() == ErrorKind::ImageNotFound => return Ok(BTreeSet::new()),
        image => image?,
    };
    let mut ids = match image.chain_ids.last() {
        Some(top) => store.db.read(|connection| images::with_chain(connection, top))?,
        None => BTreeSet::new(),
    };
    ids.insert(image.id);
    Ok(ids)
}

/// As [`resolve`], for a platform; None is what the name means on this host.
pub(crate) fn resolve_for(store: &Store, text: &str, platform: Option<&str>) -> Result<ResolvedImage> {
    let wanted = platform.map(Platform::parse).transpose()?;
    let (id, reference, config) = store.db.read(|connection| {
        let (id, reference) = match &wanted {
            None => {
                let found = images::find(connection, text)?;
                (found.id, found.reference)
            }
            Some(wanted) => {
                let group = images::group(connection, text, Some(wanted))?;
                let id = group.ids.into_iter().next().ok_or_else(|| images::not_found(text))?;
                (id, group.name)
            }
        };
        let config = images::config(connection, &id)?;
        Ok((id, reference, config))
    })?;
    let document = ImageDocument::parse(&config, &id)?;
    let chain_ids = chain_ids(&document.rootfs.diff_ids);
    let env =
        document.config.environment().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let platform = document.platform();
    let config = document.config;
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let words = |words: Vec<String>| Some(words).filter(|words| !words.is_empty());
    Ok(ResolvedImage {
        id,
        reference,
        config: ImageConfig {
            user: text(config.user),
            env,
            entrypoint: words(config.entrypoint),
            cmd: words(config.cmd),
            working_dir: text(config.working_dir),
            labels: config.labels,
            stop_signal: text(config.stop_signal),
            healthcheck: config.healthcheck.as_ref().and_then(HealthCheck::of_image),
            shell: config.shell.as_ref().and_then(shell),
            exposed_ports: config
                .exposed_ports
                .as_ref()
                .and_then(serde_json::Value::as_object)
                .map(|ports| ports.keys().filter_map(|port| exposed(port).ok()).collect())
                .unwrap_or_default(),
            volumes: config
                .volumes
                .as_ref()
                .and_then(serde_json::Value::as_object)
                .map(|places| places.keys().cloned().collect())
                .unwrap_or_default(),
        },
        platform,
        diff_ids: document.rootfs.diff_ids,
        chain_ids,
    })
}

/// The words of a shell; None of what is no list of them.
fn shell(value: &serde_json::Value) -> Option<Vec<String>> {
    let word =
        |value: &serde_json::Value| value.as_str().filter(|word| !word.contains('\0')).map(str::to_owned);
    let words: Vec<String> = value.as_array()?.iter().map(word).collect::<Option<_>>()?;
    Some(words).filter(|words| words.first().is_some_and(|program| !program.is_empty()))
}
