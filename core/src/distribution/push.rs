//! Pushing an image: its blobs as they are in the store, then its manifests, then the index that lists them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use coble_layer::{Decoder, Format};

use super::ground::Ground;
use super::jobs::jobs;
use super::net::Network;
use super::progress::Reporter;
use super::send::{Outgoing, Queue, Sender};
use super::{Access, Client, Event, Opened, ProgressKind, ProgressSink, PushOptions, Pushed};
use crate::cancel::CancelToken;
use crate::content::{Staged, Wrapped, check_level, stage_bytes, writer};
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::oci::{
    Compression, Descriptor, Digest, Document, Index, Platform, Reference, media_type, parse_document,
};
use crate::process::Deadline;
use crate::state::images::{self, LayerRow};
use crate::state::origins::{self, Origin};
use crate::state::{Session, Store, events};

/// The most repositories that are asked for a blob.
const MOUNTS: usize = 3;
const CHUNK_MIN: u64 = 64 * 1024;

/// An image on its way out.
struct Leaving {
    id: String,
    manifest: images::Document,
    platform: Platform,
    blobs: Vec<Digest>,
}

/// Where the bytes of a blob are.
enum Content {
    Stored,
    Staged(Staged),
}

struct Push<'a> {
    store: &'a Store,
    network: &'a Network,
    reference: Reference,
    name: String,
    /// What the image is called in the repository.
    tags: Vec<String>,
    options: &'a PushOptions,
    reporter: Reporter<'a>,
    halt: &'a Halt,
}

pub(crate) fn push(
    inner: &Inner,
    reference: &str,
    options: &PushOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Pushed> {
    push_from(Ground::of(inner), reference, options, progress, cancel)
}

pub(super) fn push_from(
    ground: Ground<'_>,
    reference: &str,
    options: &PushOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Pushed> {
    let Ground { store, worker, network, .. } = ground;
    let reference = Reference::parse_tag(reference)?;
    let name = reference.to_string();
    let jobs = jobs(options.jobs)?;
    let tags = tags_of(&reference, &options.tags)?;
    let compression = options.compression.as_deref().map(Compression::parse).transpose()?;
    options.compression_level.map_or(Ok(()), |level| check_level(compression, level))?;
    let platform = match options.platform.as_deref() {
        None | Some("all") => None,
        Some(text) => Some(Platform::parse(text)?),
    };
    if options.chunk_size.is_some_and(|size| size < CHUNK_MIN) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("pieces of less than {CHUNK_MIN} bytes are not sent"),
        ));
    }
    Halt::under(cancel, Deadline::never(), |halt| {
        let reporter = Reporter::new(&name, progress);
        let push = Push { store, network, reference, name: name.clone(), tags, options, reporter, halt };
        // As long as the session lasts, nobody takes blobs away.
        Session::run(store, worker, halt.token(), |session| {
            push.run(session, platform.as_ref(), compression, jobs)
        })
    })
    .context(|| format!("pushing \"{name}\""))
}

impl Push<'_> {
    fn store(&self) -> &Store {
        self.store
    }

    fn run(
        &self,
        session: &Session,
        platform: Option<&Platform>,
        compression: Option<Compression>,
        jobs: usize,
    ) -> Result<Pushed> {
        let store = self.store();
        let group = store.db.read(|connection| images::group(connection, &self.name, platform))?;
        let events = |event: Event| self.reporter.event(event);
        let (options, cancel) = (&self.options.registry, self.halt.token());
        let client = Client::new(self.network, &self.reference, options, Access::Push, &events, cancel)?;
        // Before layers are compressed for nobody.
        self.network.check(&client.origin()?.host.authority())?;
        let mut pushed =
            Pushed { reference: self.name.clone(), tags: self.tags.clone(), ..Pushed::default() };
        let sender = Sender {
            client: &client,
            reporter: &self.reporter,
            halt: self.halt,
            chunk: self.options.chunk_size,
            jobs,
        };
        // What is ready is sent while the next layer is compressed.
        let resolved = |digest: &Digest| self.reporter.tell(ProgressKind::Resolve, Some(digest.to_string()));
        // One platform alone goes without the index.
        let index = group.index.filter(|_| platform.is_none() && group.ids.len() > 1);
        let leaving = sender.send_from(&mut pushed, |queue| {
            let mut leaving = Vec::new();
            for id in &group.ids {
                let saved = store.db.read(|connection| images::saved(connection, id))?;
                if leaving.is_empty() && compression.is_none() {
                    resolved(index.as_ref().map_or(&saved.1.digest, |index| &index.digest));
                }
                leaving.push(self.image(session, id, saved, compression, queue)?);
            }
            if let (Some(first), Some(_)) = (leaving.first(), compression) {
                // Known only now: the manifest says what the layers became.
                resolved(index.as_ref().map_or(&first.manifest.digest, |index| &index.digest));
            }
            Ok(leaving)
        })?;
        let (what, top) = match leaving.as_slice() {
            [only] => ("manifest", only.manifest.clone()),
            several => {
                for image in several {
                    self.halt.check()?;
                    let images::Document { digest, media_type, bytes } = &image.manifest;
                    client
                        .put_manifest(digest.as_str(), media_type, bytes)
                        .context(|| format!("manifest {digest}"))?;
                }
                ("index", self.index(&client, index, several)?)
            }
        };
        self.halt.check()?;
        client
            .put_tagged(&self.tags, &top.media_type, &top.bytes)
            .context(|| format!("{what} {}", top.digest))?;
        self.record(&leaving, &top.digest)?;
        pushed.digest = top.digest.to_string();
        pushed.media_type = top.media_type;
        pushed.size = top.bytes.len() as u64;
        self.reporter.tell(ProgressKind::Done, Some(pushed.digest.clone()));
        Ok(pushed)
    }

    /// An image on its way out: its parts go to the queue as soon as they can be sent.
    fn image<'b>(
        &'b self,
        session: &'b Session,
        id: &str,
        (config, manifest): (Vec<u8>, images::Document),
        compression: Option<Compression>,
        queue: &Queue<'_, 'b>,
    ) -> Result<Leaving> {
        let store = self.store();
        let (layers, platform, own) = store.db.read(|connection| {
            let layers = images::layers(connection, id)?;
            // What came from no registry was made here.
            let mut own = Vec::new();
            for layer in &layers {
                own.push(origins::of_blob(connection, &layer.digest)?.is_empty());
            }
            Ok((layers, images::platform(connection, id)?, own))
        })?;
        let config_digest = Digest::parse(id)?;
        // The largest first: the last one is sent when there is nothing left to compress.
        let mut order: Vec<_> = layers.iter().zip(own).enumerate().collect();
        order.sort_by_key(|(_, (layer, _))| std::cmp::Reverse(layer.size));
        let mut descriptors = Vec::new();
        let mut changed = false;
        for (place, (layer, own)) in order {
            self.halt.check()?;
            let made = match compression {
                Some(compression) if own => self.recompress(session, layer, compression)?,
                _ => None,
            };
            let (descriptor, content) = match made {
                Some((descriptor, staged)) => {
                    changed = true;
                    (descriptor, Content::Staged(staged))
                }
                None => {
                    let media_type = media_type::oci_layer(&layer.media_type);
                    let descriptor = Descriptor::new(media_type, layer.digest.clone(), layer.size);
                    (descriptor, Content::Stored)
                }
            };
            queue.add(self.outgoing(session, descriptor.digest.clone(), descriptor.size, content)?);
            descriptors.push((place, descriptor));
        }
        descriptors.sort_by_key(|(place, _)| *place);
        let descriptors: Vec<Descriptor> = descriptors.into_iter().map(|(_, layer)| layer).collect();
        let mut blobs: Vec<Digest> = descriptors.iter().map(|layer| layer.digest.clone()).collect();
        let size = config.len() as u64;
        let staged = stage_bytes(session, &config)?;
        staged.check(session, &config_digest)?;
        queue.add(self.outgoing(session, config_digest.clone(), size, Content::Staged(staged))?);
        blobs.push(config_digest.clone());
        let manifest = if changed {
            let manifest = crate::oci::Manifest {
                schema_version: 2,
                media_type: media_type::MANIFEST.into(),
                config: Descriptor::new(media_type::CONFIG, config_digest, size),
                layers: descriptors,
            };
            let bytes = crate::image::to_json(&manifest)?;
            images::Document { digest: Digest::of(&bytes), media_type: manifest.media_type, bytes }
        } else {
            manifest
        };
        Ok(Leaving { id: id.to_owned(), manifest, platform, blobs })
    }

    /// A layer with another compression; None if it has that already, and no level of it was asked for.
    fn recompress(
        &self,
        session: &Session,
        layer: &LayerRow,
        compression: Compression,
    ) -> Result<Option<(Descriptor, Staged)>> {
        let what = layer.digest.as_str();
        let file = self.store().content.open_blob(&layer.digest, layer.size)?;
        let mut plain = Plain { decoder: Decoder::new(file).map_err(|error| damaged(what, &error))?, what };
        let same = match compression {
            Compression::None => Format::Plain,
            Compression::Gzip => Format::Gzip,
            Compression::Zstd => Format::Zstd,
        };
        let level = self.options.compression_level;
        if plain.decoder.format() == same && level.is_none() {
            return Ok(None);
        }
        let mut output = writer(session)?;
        crate::content::compress(&mut plain, what, compression, level, &mut output, self.halt.token())
            .context(|| format!("layer {what}"))?;
        let staged = output.finish();
        let descriptor = Descriptor::new(compression.layer_media_type(), staged.digest.clone(), staged.size);
        Ok(Some((descriptor, staged)))
    }

    /// A blob, with the repositories of the same registry that may have it.
    fn outgoing<'b>(
        &'b self,
        session: &'b Session,
        digest: Digest,
        size: u64,
        content: Content,
    ) -> Result<Outgoing<'b>> {
        let store = self.store();
        let known = store.db.read(|connection| origins::of_blob(connection, &digest))?;
        let elsewhere = elsewhere(&self.reference, &known);
        let wanted = digest.clone();
        let open = move |offset, _: &str| {
            let mut file = match &content {
                Content::Stored => store.content.open_blob(&wanted, size)?,
                Content::Staged(staged) => staged.open(session)?,
            };
            file.seek(SeekFrom::Start(offset)).call("lseek", wanted.as_str())?;
            Ok(Opened::here(file))
        };
        Ok(Outgoing { digest, size, elsewhere, open: Box::new(open), again: None })
    }

    /// The index that the name gets: the one that came with the images, if the registry has everything that it lists.
    fn index(
        &self,
        client: &Client<'_>,
        index: Option<images::Document>,
        leaving: &[Leaving],
    ) -> Result<images::Document> {
        if let Some(index) = index {
            let Document::Index(list) =
                parse_document(&index.bytes, Some(&index.media_type), index.digest.as_str())?
            else {
                return Err(Error::new(ErrorKind::Database, "an index is not an index"));
            };
            let mut whole = true;
            for entry in &list.manifests {
                let sent = leaving.iter().any(|image| image.manifest.digest == entry.digest);
                whole &= sent || client.manifest_head(entry.digest.as_str())?.is_some();
            }
            if whole {
                return Ok(index);
            }
            let message = format!(
                "index {} lists what is not here, so that the name gets an index of what is",
                index.digest
            );
            self.reporter.tell(ProgressKind::Warning, Some(message));
        }
        let entry = |image: &Leaving| {
            let images::Document { digest, media_type, bytes } = &image.manifest;
            let mut entry = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
            entry.platform = Some(Box::new(image.platform.clone()));
            entry
        };
        let list = Index {
            schema_version: 2,
            media_type: media_type::INDEX.into(),
            manifests: leaving.iter().map(entry).collect(),
        };
        let bytes = crate::image::to_json(&list)?;
        Ok(images::Document { digest: Digest::of(&bytes), media_type: list.media_type, bytes })
    }

    /// Remembers where everything is now.
    fn record(&self, leaving: &[Leaving], top: &Digest) -> Result<()> {
        let repository = self.reference.repository();
        let result = self.store().db.write(|tx| {
            for image in leaving {
                for digest in &image.blobs {
                    origins::add_blob(tx, digest, &repository)?;
                }
                for digest in [&image.manifest.digest, top] {
                    let origin = Origin {
                        repository: repository.clone(),
                        digest: digest.clone(),
                        wanted: image.platform.to_string(),
                        pinned: false,
                    };
                    origins::add(tx, &origin, &image.id)?;
                }
            }
            if let Some(image) = leaving.first() {
                events::of_image(tx, "push", &image.id, &self.reference.to_string())?;
            }
            Ok(())
        });
        match result {
            // Removed meanwhile: then there is nothing to remember.
            Err(error) if error.kind() == ErrorKind::Database => Ok(()),
            result => result,
        }
    }
}

/// What a layer is, uncompressed.
struct Plain<'a> {
    decoder: Decoder<File>,
    what: &'a str,
}

impl Read for Plain<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.decoder.read(buffer).map_err(|error| Wrapped::io(damaged(self.what, &error)))
    }
}

fn damaged(digest: &str, error: &coble_layer::Error) -> Error {
    Error::new(ErrorKind::DigestMismatch, format!("blob {digest} is damaged: {error}"))
        .with_object(digest)
        .with_hint("`coble verify` shows what is damaged; pull or load the image again")
}

/// The tag of a reference and further ones, each once.
fn tags_of(reference: &Reference, more: &[String]) -> Result<Vec<String>> {
    let mut tags = vec![reference.tag().unwrap_or("latest").to_owned()];
    for tag in more {
        let named = Reference::parse_tag(&format!("{}:{tag}", reference.repository()));
        // Nothing of it may have become part of the repository's name.
        if !named.is_ok_and(|named| named.tag() == Some(tag) && named.path() == reference.path()) {
            let text = format!("\"{}\" cannot be a tag", tag.escape_debug());
            return Err(Error::new(ErrorKind::InvalidReference, text).with_object(tag.as_str()));
        }
        if !tags.contains(tag) {
            tags.push(tag.clone());
        }
    }
    Ok(tags)
}

/// The paths of other repositories of the same registry.
pub(super) fn elsewhere(reference: &Reference, known: &[String]) -> Vec<String> {
    let domain = format!("{}/", reference.domain());
    known
        .iter()
        .filter_map(|repository| repository.strip_prefix(&domain))
        .filter(|path| *path != reference.path())
        .take(MOUNTS)
        .map(str::to_owned)
        .collect()
}
