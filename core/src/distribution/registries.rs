//! The registries themselves, as the caller sees them: log in and out, look, delete.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::client::{Access, Client, World};
use super::event::Event;
use super::options::{Credentials, RegistryOptions};
use super::progress::Reporter;
use super::{ProgressSink, inspect, login};
use crate::cancel::CancelToken;
use crate::engine::Engine;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::oci::Reference;

/// The registries that an engine can talk to.
#[derive(Debug, Clone, Copy)]
pub struct Registries<'a> {
    engine: &'a Engine,
}

/// What a login did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoginResult {
    /// The registry, as it is called in the credential file.
    pub server: String,
    /// The account; empty for a token.
    pub username: String,
    /// The credential file, or the program that keeps the secret: `docker-credential-...`.
    pub stored_in: String,
}

/// An image, or an artifact, in a registry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RemoteImage {
    /// The name that was asked for, in its canonical form.
    pub reference: String,
    /// The digest of the manifest below.
    pub digest: String,
    /// The media type of the manifest below.
    pub media_type: String,
    /// The bytes of the manifest, its configuration and its layers together; of an index, those of the index alone.
    pub size: u64,
    /// The manifest or index.
    pub manifest: Value,
    /// The configuration, if it is an image.
    pub config: Option<Value>,
    /// The platforms that the name stands for: `linux/amd64`.
    pub platforms: Vec<String>,
}

/// Something that refers to an image: a signature, a list of contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Referrer {
    /// The digest of its manifest.
    pub digest: String,
    /// The media type of its manifest.
    pub media_type: String,
    /// What it is.
    pub artifact_type: Option<String>,
    /// The bytes of its manifest.
    pub size: u64,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Engine {
    /// The registries.
    pub fn registry(&self) -> Registries<'_> {
        Registries { engine: self }
    }
}

/// What a registry says beside its answers (warnings, how many requests are left) and what is tried again goes to `progress`, as in transfers.
impl Registries<'_> {
    /// Tries the credentials at the registry, and stores them when it takes them: with the program that the credential file names, or in the file.
    pub fn login(
        &self,
        server: &str,
        credentials: &Credentials,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<LoginResult> {
        login::login(&self.world()?, server, credentials, options, progress, cancel)
    }

    /// Forgets the credentials of a registry. False if there were none.
    pub fn logout(&self, server: &str, auth_file: Option<&Path>, cancel: &CancelToken) -> Result<bool> {
        login::logout(&self.world()?, server, auth_file, cancel)
    }

    /// The tags of a repository, sorted.
    pub fn tags(
        &self,
        repository: &str,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<String>> {
        let parsed = Reference::parse(repository)?;
        if Reference::names_tag(repository) || parsed.digest().is_some() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{repository}\" names one image of a repository, not the repository"),
            )
            .with_object(repository)
            .with_hint(format!("ask for the tags of \"{}\"", parsed.repository())));
        }
        let reporter = Reporter::new(&parsed.repository(), progress);
        self.call(&parsed, options, Access::Pull, &reporter, cancel, |client| client.tags())
            .context(|| format!("the tags of \"{repository}\""))
    }

    /// The repositories of a registry, sorted. Many registries do not tell.
    pub fn catalog(
        &self,
        server: &str,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<String>> {
        let world = self.world()?;
        let reporter = Reporter::new(server, progress);
        let events = |event: Event| reporter.event(event);
        Client::of_server(&world, server, options, &events, cancel)?
            .catalog()
            .context(|| format!("the repositories of \"{server}\""))
    }

    /// What a name stands for in a registry, without pulling it. With a platform (`os/arch/variant`) the image of that platform; without one, of an
    /// index the index itself.
    pub fn inspect(
        &self,
        reference: &str,
        platform: Option<&str>,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<RemoteImage> {
        let parsed = Reference::parse(reference)?;
        let reporter = Reporter::new(&parsed.to_string(), progress);
        self.call(&parsed, options, Access::Pull, &reporter, cancel, |client| {
            inspect::inspect(client, &parsed, platform)
        })
        .context(|| format!("inspecting \"{reference}\""))
    }

    /// Deletes a tag, or with a digest a manifest with all its tags, or a blob if no manifest has the digest. Many registries do not allow it.
    pub fn delete(
        &self,
        reference: &str,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let parsed = Reference::parse(reference)?;
        let reporter = Reporter::new(&parsed.to_string(), progress);
        self.call(&parsed, options, Access::Delete, &reporter, cancel, |client| {
            inspect::delete(client, &parsed, Reference::names_tag(reference))
        })
        .context(|| format!("deleting \"{reference}\""))
    }

    /// What refers to an image.
    pub fn referrers(
        &self,
        reference: &str,
        artifact_type: Option<&str>,
        options: &RegistryOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<Vec<Referrer>> {
        let parsed = Reference::parse(reference)?;
        let reporter = Reporter::new(&parsed.to_string(), progress);
        self.call(&parsed, options, Access::Pull, &reporter, cancel, |client| {
            let digest = match parsed.digest() {
                Some(digest) => digest.clone(),
                None => inspect::head(client, &parsed)?.digest,
            };
            client.referrers(&digest, artifact_type)
        })
        .context(|| format!("what refers to \"{reference}\""))
    }

    fn call<T>(
        &self,
        reference: &Reference,
        options: &RegistryOptions,
        access: Access,
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
        call: impl FnOnce(&Client<'_>) -> Result<T>,
    ) -> Result<T> {
        let world = self.world()?;
        let events = |event: Event| reporter.event(event);
        call(&Client::with(&world, reference, options, access, &events, cancel)?)
    }

    fn world(&self) -> Result<World> {
        Ok(World::of_process(&self.engine.inner()?.network))
    }
}
