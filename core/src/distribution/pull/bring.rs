//! Bringing in what is missing of images: their configurations, then their layers, which are unpacked while they come.

use std::collections::BTreeMap;

use super::Pull;
use super::arrivals::Arrivals;
use crate::cancel::CancelToken;
use crate::container::Warning;
use crate::content::{Partial, read_small};
use crate::distribution::blob::verified;
use crate::distribution::fetch::{Blob, Fetcher};
use crate::distribution::{Client, ProgressKind};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::choose::{self, Found, Several};
use crate::image::{ImageSummary, pair, wanted};
use crate::oci::{Descriptor, Digest, ImageDocument, MAX_DOCUMENT, Manifest, PlatformChoice};
use crate::process::spawn_helper;
use crate::snapshot::Stack;
use crate::state::images::{self, NewImage};
use crate::state::origins;
use crate::state::{Session, events};

/// An image of the pull.
struct Coming {
    id: Digest,
    /// None if it is here already.
    new: Option<NewImage>,
    /// Those of its manifest.
    layers: Vec<Descriptor>,
}

impl Pull<'_> {
    /// Brings in what is missing, and records all of it.
    pub(super) fn bring(
        &self,
        client: &Client<'_>,
        session: &Session,
        several: Several,
        digest: &Digest,
        halt: &Halt,
    ) -> Result<ImageSummary> {
        let store = self.store();
        let Several { images: found, index, .. } = several;
        let expected = self.missing(found.iter().map(|found| &found.manifest))?;
        self.reporter.expect(expected);
        let mut coming = Vec::new();
        let mut configs = 0u64;
        for found in found {
            let config = &found.manifest.config;
            let fetched = if self.has_config(config)? { 0 } else { config.size };
            let image = self.prepare(client, found, halt)?;
            // An image that is here in another form needs nothing.
            configs = configs.saturating_add(if image.new.is_some() { fetched } else { 0 });
            coming.push(image);
        }
        let blobs = self.blobs(&coming)?;
        let missing = blobs.iter().filter(|blob| blob.missing);
        self.reporter.expect(missing.fold(configs, |sum, blob| sum.saturating_add(blob.size)));
        let warnings = self.fetch(client, &blobs, &coming, halt)?;
        halt.check()?;
        for image in &coming {
            if let Some(new) = &image.new {
                crate::image::put(store, session, &new.config, &new.id)?;
                crate::image::put(store, session, &new.manifest, &new.manifest_digest)?;
            }
        }
        if let Some(index) = &index {
            crate::image::put(store, session, &index.bytes, &index.digest)?;
        }
        halt.check()?;
        let ids: Vec<String> = coming.iter().map(|image| image.id.to_string()).collect();
        let repository = self.reference.repository();
        let summary = crate::image::change(store, session, |tx| {
            for image in &coming {
                if let Some(new) = &image.new {
                    images::add(tx, new)?;
                    for layer in &new.layers {
                        origins::add_blob(tx, &layer.digest, &repository)?;
                    }
                    origins::add_blob(tx, &new.id, &repository)?;
                }
            }
            self.name_it(tx, digest, &ids, index.as_ref())?;
            let mut summary = self.result(tx, &ids)?;
            events::of_image(tx, "pull", &summary.id, &self.reference.to_string())?;
            summary.warnings = warnings;
            Ok(summary)
        })?;
        for blob in &blobs {
            // What is left is found by the sweep.
            let _ = store.content.settle_partial(&blob.digest);
        }
        Ok(summary)
    }

    /// Reads the configuration of an image, and sees whether the image is here.
    fn prepare(&self, client: &Client<'_>, found: Found, halt: &Halt) -> Result<Coming> {
        let Found { descriptor, bytes, manifest } = found;
        let id = manifest.config.digest.clone();
        let store = self.store();
        let known = store.db.read(|connection| {
            let summary = images::summaries(connection, Some(id.as_str()))?.pop();
            let blobs = images::parts(connection, id.as_str())?.0;
            Ok(summary.map(|summary| (summary.digest, blobs)))
        })?;
        if let Some((manifest_digest, blobs)) = known
            && manifest_digest != descriptor.digest.as_str()
        {
            // The same image in another form, such as with another compression: what is here stays, if it is whole.
            let mut whole = true;
            for digest in &blobs {
                whole &= store.content.size(digest)?.is_some();
            }
            if whole {
                return Ok(Coming { id, new: None, layers: Vec::new() });
            }
        }
        let config = self.small(client, &manifest.config, halt).context(|| format!("configuration {id}"))?;
        let document = ImageDocument::parse(&config, &format!("configuration {id}"))?;
        if let PlatformChoice::Best(wanted) = &self.choice {
            let platform = document.platform();
            if !choose::suits(&platform, wanted) {
                if self.options.platform.is_some() {
                    return Err(choose::foreign(wanted, vec![platform.to_string()]));
                }
                self.reporter.tell(ProgressKind::Warning, Some(choose::foreign_host(&platform, wanted)));
            }
        }
        let layers = pair(&manifest, &document, &id)?;
        let image = NewImage {
            id: id.clone(),
            manifest_digest: descriptor.digest,
            manifest_type: manifest.media_type,
            manifest: bytes,
            config,
            document,
            layers,
        };
        Ok(Coming { id, new: Some(image), layers: manifest.layers })
    }

    /// Bytes of the configurations and layers of manifests that are not here, each once.
    fn missing<'m>(&self, manifests: impl Iterator<Item = &'m Manifest>) -> Result<u64> {
        let mut sizes: BTreeMap<&Digest, u64> = BTreeMap::new();
        for manifest in manifests {
            let Descriptor { digest, size, .. } = &manifest.config;
            if !self.has_config(&manifest.config)? {
                sizes.insert(digest, *size);
            }
            for Descriptor { digest, size, .. } in &manifest.layers {
                if !self.store().content.has(digest, *size)? {
                    sizes.insert(digest, *size);
                }
            }
        }
        Ok(sizes.values().fold(0, |sum, size| sum.saturating_add(*size)))
    }

    /// Whether a configuration has not to be fetched.
    fn has_config(&self, descriptor: &Descriptor) -> Result<bool> {
        Ok(self.store().content.has(&descriptor.digest, descriptor.size)? || descriptor.embedded().is_some())
    }

    /// A small blob: of the store, or fetched, once for all who want it.
    fn small(&self, client: &Client<'_>, descriptor: &Descriptor, halt: &Halt) -> Result<Vec<u8>> {
        let Descriptor { digest, size, .. } = descriptor;
        if let Some(bytes) = self.store().db.read(|connection| images::document(connection, digest))? {
            return Ok(bytes);
        }
        if let Some(bytes) = descriptor.embedded() {
            return Ok(bytes);
        }
        if *size > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{digest} has {size} bytes, more than {MAX_DOCUMENT}"),
            )
            .with_object(digest.as_str()));
        }
        let here = self.store().content.has(digest, *size)?;
        let blob = Blob::new(descriptor, !here);
        let retries = self.options.registry.retries;
        let blobs = std::slice::from_ref(&blob);
        let fetcher = Fetcher::new(self.store(), client, &self.reporter, halt, blobs, retries);
        fetcher.one(&blob)?;
        // It is not worth keeping for another pull.
        let _ = self.store().content.settle_partial(digest);
        let mut file = blob
            .whole_file(self.store())?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a blob without a file"))?;
        match read_small(&mut file, *size, digest.as_str()).and_then(|bytes| verified(bytes, digest, *size)) {
            // The one of the store is damaged; it is mended elsewhere.
            Err(error) if here && error.kind() == ErrorKind::DigestMismatch => {
                client.small_blob(digest, *size)
            }
            result => result,
        }
    }

    /// The layer blobs of all images, each once, those of the lowest layers first.
    fn blobs(&self, coming: &[Coming]) -> Result<Vec<Blob>> {
        let mut sizes: BTreeMap<&Digest, u64> = BTreeMap::new();
        let mut blobs = Vec::new();
        for layer in coming.iter().flat_map(|image| &image.layers) {
            match sizes.insert(&layer.digest, layer.size) {
                None => {
                    let missing = !self.store().content.has(&layer.digest, layer.size)?;
                    blobs.push(Blob::new(layer, missing));
                }
                Some(size) if size != layer.size => {
                    return Err(Error::new(
                        ErrorKind::InvalidImage,
                        format!("{} is said to have {size} bytes and {}", layer.digest, layer.size),
                    )
                    .with_object(layer.digest.as_str()));
                }
                Some(_) => {}
            }
        }
        Ok(blobs)
    }

    /// Fetches blobs and unpacks layers, all at once.
    fn fetch(
        &self,
        client: &Client<'_>,
        blobs: &[Blob],
        coming: &[Coming],
        halt: &Halt,
    ) -> Result<Vec<Warning>> {
        let retries = self.options.registry.retries;
        let fetcher = Fetcher::new(self.store(), client, &self.reporter, halt, blobs, retries);
        let mut warnings = Vec::new();
        let result = std::thread::scope(|scope| {
            let mut threads = 0;
            while threads < self.jobs.min(blobs.len()) {
                if spawn_helper(scope, "coble-fetch", || fetcher.work()).is_err() {
                    break;
                }
                threads += 1;
            }
            if threads == 0 {
                fetcher.work();
            }
            let result = self.unpack(blobs, coming, &mut warnings, halt);
            if let Err(error) = result {
                halt.fail(error);
            }
            halt.check()
        });
        // The threads have ended; one of them may have failed since.
        let result = result.and_then(|()| halt.check());
        if result.is_err() && halt.failed_with(ErrorKind::StorageFull) {
            // The space is wanted back, more than what is there of the blobs.
            for blob in blobs {
                let _ = match Partial::lock(self.store(), &blob.digest, &CancelToken::never()) {
                    Ok(Some(partial)) => partial.discard(self.store()),
                    // It is a blob already, which the end of the session takes away.
                    _ => self.store().content.settle_partial(&blob.digest),
                };
            }
        }
        result.map(|()| warnings)
    }

    fn unpack(
        &self,
        blobs: &[Blob],
        coming: &[Coming],
        warnings: &mut Vec<Warning>,
        halt: &Halt,
    ) -> Result<()> {
        for new in coming.iter().filter_map(|image| image.new.as_ref()) {
            let supply = Arrivals::new(self, blobs, &new.layers, halt)?;
            let mut stack = Stack::new(self.store(), self.ground.worker);
            stack.push_all(&wanted(&new.layers), &supply, halt).context(|| format!("image {}", new.id))?;
            warnings.extend(stack.take_warnings());
            // The next image waits for nothing of this one, but may begin with the same layers.
            stack.publish()?;
        }
        for blob in blobs {
            blob.stored(halt)?;
        }
        Ok(())
    }
}
