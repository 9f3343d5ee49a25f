//! Pushing an image: its blobs as they are in the store, then its manifests, then the index that lists them. With a compression or a form that it does not have
//! they are made anew on the way.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use coble_layer::{Decoder, Format};

use super::convert::{self, Converted, Form, Losses};
use super::ground::Ground;
use super::jobs::jobs;
use super::net::Network;
use super::progress::Reporter;
use super::send::{Outgoing, Queue, Sender};
use super::{Access, Client, Event, Opened, ProgressKind, ProgressSink, PushOptions, Pushed};
use crate::cancel::CancelToken;
use crate::container::Warning;
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
    /// The digest of its manifest in the store.
    original: Digest,
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
    compression: Option<Compression>,
    form: Option<Form>,
    reporter: Reporter<'a>,
    halt: &'a Halt,
}

/// What is not sent.
#[derive(Default)]
struct Left {
    losses: Losses,
    /// Layers that are not meant to be passed on, and how many of them nobody can fetch from elsewhere.
    foreign: BTreeSet<Digest>,
    nowhere: usize,
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
    let form = options.format.as_deref().map(Form::parse).transpose()?;
    if (form, compression) == (Some(Form::V2s2), Some(Compression::Zstd)) {
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            "manifests of docker's schema 2 have no layers that are compressed with zstd",
        )
        .with_hint("use gzip, or the format oci"));
    }
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
        let name = name.clone();
        let push = Push { store, network, reference, name, tags, options, compression, form, reporter, halt };
        // As long as the session lasts, nobody takes blobs away.
        Session::run(store, worker, halt.token(), |session| push.run(session, platform.as_ref(), jobs))
    })
    .context(|| format!("pushing \"{name}\""))
}

impl Push<'_> {
    fn store(&self) -> &Store {
        self.store
    }

    fn run(&self, session: &Session, platform: Option<&Platform>, jobs: usize) -> Result<Pushed> {
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
        // Otherwise it is known only when the layers and manifests are what they become.
        let as_it_is = self.compression.is_none() && self.form.is_none();
        let mut left = Left::default();
        let leaving = sender.send_from(&mut pushed, |queue| {
            let mut leaving = Vec::new();
            for id in &group.ids {
                let saved = store.db.read(|connection| images::saved(connection, id))?;
                if leaving.is_empty() && as_it_is {
                    resolved(index.as_ref().map_or(&saved.1.digest, |index| &index.digest));
                }
                leaving.push(self.image(session, id, saved, queue, &mut left)?);
            }
            if let ([only], false) = (leaving.as_slice(), as_it_is) {
                resolved(&only.manifest.digest);
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
                let index = self.index(&client, index, several, &mut left.losses)?;
                if !as_it_is {
                    resolved(&index.digest);
                }
                ("index", index)
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
        pushed.warnings = left.warnings();
        self.reporter.tell(ProgressKind::Done, Some(pushed.digest.clone()));
        Ok(pushed)
    }

    /// An image on its way out: its parts go to the queue as soon as they can be sent.
    fn image<'b>(
        &'b self,
        session: &'b Session,
        id: &str,
        (config, manifest): (Vec<u8>, images::Document),
        queue: &Queue<'_, 'b>,
        left: &mut Left,
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
        let mut blobs = vec![config_digest.clone()];
        let mut changes = Vec::new();
        for (place, (layer, own)) in order {
            self.halt.check()?;
            if media_type::is_foreign(&layer.media_type) {
                if self.options.allow_nondistributable_artifacts {
                    queue.add(self.outgoing(session, layer.digest.clone(), layer.size, Content::Stored)?);
                    blobs.push(layer.digest.clone());
                } else if left.foreign.insert(layer.digest.clone()) {
                    left.nowhere += usize::from(!has_urls(&manifest, place)?);
                }
                continue;
            }
            let (change, content) = self.layer(session, layer, own)?;
            let (digest, size) = match &change {
                Some(descriptor) => (descriptor.digest.clone(), descriptor.size),
                None => (layer.digest.clone(), layer.size),
            };
            blobs.push(digest.clone());
            queue.add(self.outgoing(session, digest, size, content)?);
            changes.extend(change.map(|descriptor| (place, descriptor)));
        }
        let size = config.len() as u64;
        let staged = stage_bytes(session, &config)?;
        staged.check(session, &config_digest)?;
        queue.add(self.outgoing(session, config_digest, size, Content::Staged(staged))?);
        let original = manifest.digest.clone();
        let mut manifest = convert::with_layers(manifest, &changes)?;
        // New layers have OCI's types, which belong into a manifest of OCI's.
        let form = self.form.or((!changes.is_empty()).then_some(Form::Oci));
        if let Some(form) = form
            && let Some(converted) = convert::manifest(&manifest, form, &mut left.losses)?
        {
            manifest = converted;
        }
        Ok(Leaving { id: id.to_owned(), original, manifest, platform, blobs })
    }

    /// What is sent for a layer, and what its manifest says then, if that is something else than before.
    fn layer(&self, session: &Session, layer: &LayerRow, own: bool) -> Result<(Option<Descriptor>, Content)> {
        // Whatever its media type says, others have to be able to read it by that.
        let format = match self.form {
            Some(Form::V2s2) => Some(self.plain(layer)?.decoder.format()),
            _ => None,
        };
        let wanted = match self.compression {
            Some(compression) if own => Some(compression),
            _ => (format == Some(Format::Zstd)).then_some(Compression::Gzip),
        };
        if let Some(wanted) = wanted
            && let Some((descriptor, staged)) = self.recompress(session, layer, wanted)?
        {
            return Ok((Some(descriptor), Content::Staged(staged)));
        }
        let right = match format {
            Some(Format::Plain) => media_type::LAYER,
            Some(Format::Gzip) => media_type::LAYER_GZIP,
            _ => return Ok((None, Content::Stored)),
        };
        let told = media_type::oci_layer(&layer.media_type) == right;
        let change = (!told).then(|| Descriptor::new(right, layer.digest.clone(), layer.size));
        Ok((change, Content::Stored))
    }

    /// What a layer is, uncompressed.
    fn plain<'l>(&self, layer: &'l LayerRow) -> Result<Plain<'l>> {
        let what = layer.digest.as_str();
        let file = self.store().content.open_blob(&layer.digest, layer.size)?;
        Ok(Plain { decoder: Decoder::new(file).map_err(|error| damaged(what, &error))?, what })
    }

    /// A layer with another compression; None if it has that already, and no level of it was asked for.
    fn recompress(
        &self,
        session: &Session,
        layer: &LayerRow,
        compression: Compression,
    ) -> Result<Option<(Descriptor, Staged)>> {
        let what = layer.digest.as_str();
        let mut plain = self.plain(layer)?;
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

    /// The index that the name gets: the one that came with the images, if the registry has everything that it lists; what it has of these images, if they became something
    /// else on the way.
    fn index(
        &self,
        client: &Client<'_>,
        index: Option<images::Document>,
        leaving: &[Leaving],
        losses: &mut Losses,
    ) -> Result<images::Document> {
        let changed = leaving.iter().any(|image| image.manifest.digest != image.original);
        let form = self.form.or(changed.then_some(Form::Oci));
        if let Some(index) = index {
            let Document::Index(list) =
                parse_document(&index.bytes, Some(&index.media_type), index.digest.as_str())?
            else {
                return Err(Error::new(ErrorKind::Database, "an index is not an index"));
            };
            let sent = |entry: &&Descriptor| leaving.iter().any(|image| image.original == entry.digest);
            if changed || form.is_some_and(|form| form.index_type() != index.media_type) {
                let form = form.unwrap_or(Form::Oci);
                let goes = list.manifests.iter().filter(|entry| convert::goes(entry, form, losses));
                if goes.filter(|entry| !sent(entry)).count() > 0 {
                    self.warn_of(&index.digest);
                }
                let pair = |image: &Leaving| (image.original.clone(), image.manifest.clone());
                let converted: Converted = leaving.iter().map(pair).collect();
                return Ok(convert::index(&index, form, &converted, losses)?.unwrap_or(index));
            }
            let mut whole = true;
            for entry in &list.manifests {
                whole &= sent(&entry) || client.manifest_head(entry.digest.as_str())?.is_some();
            }
            if whole {
                return Ok(index);
            }
            self.warn_of(&index.digest);
        }
        let entry = |image: &Leaving| {
            let images::Document { digest, media_type, bytes } = &image.manifest;
            let mut entry = Descriptor::new(media_type, digest.clone(), bytes.len() as u64);
            entry.platform = Some(Box::new(image.platform.clone()));
            entry
        };
        let list = Index {
            schema_version: 2,
            media_type: form.unwrap_or(Form::Oci).index_type().into(),
            manifests: leaving.iter().map(entry).collect(),
        };
        let bytes = crate::image::to_json(&list)?;
        Ok(images::Document { digest: Digest::of(&bytes), media_type: list.media_type, bytes })
    }

    fn warn_of(&self, index: &Digest) {
        let message =
            format!("index {index} lists what is not here, so that the name gets an index of what is");
        self.reporter.tell(ProgressKind::Warning, Some(message));
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

impl Left {
    /// What the caller is told.
    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = self.losses.warnings();
        warnings.extend(skipped(self.foreign.len(), self.nowhere));
        warnings
    }
}

/// What the caller is told of layers that are not sent because they are not meant to be passed on.
pub(super) fn skipped(count: usize, nowhere: usize) -> Option<Warning> {
    let mut message = match count {
        0 => return None,
        1 => "a layer that is not distributable was not sent".to_owned(),
        count => format!("{count} layers that are not distributable were not sent"),
    };
    if nowhere > 0 {
        message.push_str(&format!("; {nowhere} of them without a URL, so that nobody can fetch them"));
    }
    Some(Warning { code: "nondistributable-skipped".into(), message })
}

/// Whether a manifest says where else a layer can be had.
fn has_urls(manifest: &images::Document, layer: usize) -> Result<bool> {
    let what = manifest.digest.as_str();
    Ok(match parse_document(&manifest.bytes, Some(&manifest.media_type), what)? {
        Document::Manifest(manifest) => {
            manifest.layers.get(layer).is_some_and(|layer| !layer.urls.is_empty())
        }
        Document::Index(_) => false,
    })
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
