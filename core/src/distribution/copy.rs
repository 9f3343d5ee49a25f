//! Copying an image from one registry to another: through this process but not through the store, blobs byte for byte, and manifests, too, unless they get another form.

use std::collections::BTreeSet;

use serde_json::Value;

use super::blob::verified;
use super::convert::{self, Converted, Form, Losses};
use super::elsewhere::UrlPolicy;
use super::foreign::Foreign;
use super::jobs::jobs;
use super::net::Network;
use super::progress::Reporter;
use super::push::skipped;
use super::remote::Remote;
use super::send::{Outgoing, Sender};
use super::{Access, Client, CopyOptions, Event, Fetched, ProgressKind, ProgressSink, Pushed};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::choose;
use crate::oci::{
    Descriptor, Digest, MAX_DESCRIPTORS, MAX_DOCUMENT, MAX_NESTING, Platform, Reference, media_type,
};
use crate::process::Deadline;
use crate::state::Store;
use crate::state::images::Document;

/// The most bytes of all manifests of a name.
const MAX_MANIFESTS: usize = 64 << 20;

pub(crate) fn copy(
    inner: &Inner,
    source: &str,
    target: &str,
    options: &CopyOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Pushed> {
    copy_with(&inner.store, &inner.network, source, target, options, progress, cancel)
}

/// As [`copy`]; the store is only asked for manifests that it has.
pub(super) fn copy_with(
    store: &Store,
    network: &Network,
    source: &str,
    target: &str,
    options: &CopyOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Pushed> {
    let source = Reference::parse(source)?;
    let target = target_of(target)?;
    let jobs = jobs(options.jobs)?;
    let urls = UrlPolicy::new(options.allow_foreign_urls, &options.foreign_url_hosts)?;
    let form = options.format.as_deref().map(Form::parse).transpose()?;
    let platform = match options.platform.as_deref() {
        None | Some("all") => None,
        Some(text) => Some(Platform::parse(text)?),
    };
    let (from, to) = (source.to_string(), target.to_string());
    Halt::under(cancel, Deadline::never(), |halt| {
        let reporter = Reporter::new(&to, progress);
        let events = |event: Event| reporter.event(event);
        let from = Client::new(network, &source, &options.source, Access::Pull, &events, halt.token())?;
        let from = from.with_urls(urls);
        let to = Client::new(network, &target, &options.target, Access::Push, &events, halt.token())?;
        let top = top(store, &from, &source, platform.as_ref())?;
        let resolved = |top: &Document| reporter.tell(ProgressKind::Resolve, Some(top.digest.to_string()));
        if form.is_none() {
            resolved(&top);
        }
        let mut tree = Tree::new(&from, &to, form, options.allow_nondistributable_artifacts);
        let top = tree.collect(top, 0)?;
        if form.is_some() {
            resolved(&top);
        }
        let Tree { manifests, blobs, losses, foreign, nowhere, .. } = tree;
        // Before anything is sent that nobody finds.
        if let Some(wanted) = target.digest().filter(|wanted| **wanted != top.digest) {
            let text = format!("what is copied has the digest {}, so that it cannot be {wanted}", top.digest);
            return Err(Error::new(ErrorKind::DigestMismatch, text).with_object(wanted.as_str()));
        }
        let same = source.domain() == target.domain() && source.path() != target.path();
        let blobs: Vec<Foreign<'_>> = blobs.iter().map(|blob| Foreign::new(&from, blob)).collect();
        let outgoing = blobs.iter().map(|blob| Outgoing {
            digest: blob.digest.clone(),
            size: blob.size,
            elsewhere: if same { vec![source.path().to_owned()] } else { Vec::new() },
            open: Box::new(move |offset, target| blob.open(offset, target)),
            again: Some(Box::new(move |error| blob.is_elsewhere(error))),
        });
        let tag = match target.digest() {
            Some(_) => None,
            None => Some(target.tag().unwrap_or("latest")),
        };
        let tags = tag.map(str::to_owned).into_iter().collect();
        let mut pushed = Pushed { reference: target.to_string(), tags, ..Pushed::default() };
        let sender = Sender { client: &to, reporter: &reporter, halt, chunk: None, jobs };
        sender.send(outgoing.collect(), &mut pushed)?;
        for Document { digest, media_type, bytes } in &manifests {
            halt.check()?;
            let name = tag.filter(|_| *digest == top.digest).unwrap_or(digest.as_str());
            to.put_manifest(name, media_type, bytes).context(|| format!("manifest {digest}"))?;
        }
        pushed.digest = top.digest.to_string();
        pushed.media_type = top.media_type;
        pushed.size = top.bytes.len() as u64;
        pushed.warnings = losses.warnings();
        pushed.warnings.extend(skipped(foreign.len(), nowhere));
        reporter.tell(ProgressKind::Done, Some(pushed.digest.clone()));
        Ok(pushed)
    })
    .context(|| format!("copying \"{from}\" to \"{to}\""))
}

/// Where it goes: to a tag, or to no name but its digest.
fn target_of(text: &str) -> Result<Reference> {
    let target = Reference::parse(text)?;
    match (target.tag(), target.digest()) {
        (Some(_), Some(_)) => Err(Error::new(
            ErrorKind::InvalidReference,
            format!("\"{text}\" has a tag and a digest, of which a copy gets one"),
        )
        .with_object(text)),
        _ => Ok(target),
    }
}

/// What is copied: what the name stands for, or one platform of it.
fn top(
    store: &Store,
    from: &Client<'_>,
    source: &Reference,
    platform: Option<&Platform>,
) -> Result<Document> {
    let name = match (source.digest(), source.tag()) {
        (Some(digest), _) => digest.as_str(),
        (None, tag) => tag.unwrap_or("latest"),
    };
    let Fetched { bytes, media_type, digest } = from.manifest(name)?;
    let Some(platform) = platform else { return Ok(Document { digest, media_type, bytes }) };
    let entry = Descriptor::new(&media_type, digest.clone(), bytes.len() as u64);
    let remote = Remote::new(from, store, digest, bytes);
    let mut foreign = Vec::new();
    let found = choose::find(&remote, &entry, platform, &mut foreign)?
        .ok_or_else(|| choose::foreign(platform, foreign))?;
    Ok(Document {
        digest: found.descriptor.digest,
        media_type: found.descriptor.media_type,
        bytes: found.bytes,
    })
}

/// Everything that has to be in the target, what is pointed to before what points to it.
struct Tree<'a> {
    from: &'a Client<'a>,
    to: &'a Client<'a>,
    /// The form that all of it gets.
    form: Option<Form>,
    /// Whether layers go along that are not meant to be passed on.
    with_foreign: bool,
    manifests: Vec<Document>,
    blobs: Vec<Descriptor>,
    /// What the manifests of indexes became.
    converted: Converted,
    bytes: usize,
    losses: Losses,
    /// What stays behind since it is not meant to be passed on, and how much of it nobody can fetch from elsewhere.
    foreign: BTreeSet<Digest>,
    nowhere: usize,
}

impl<'a> Tree<'a> {
    fn new(from: &'a Client<'a>, to: &'a Client<'a>, form: Option<Form>, with_foreign: bool) -> Tree<'a> {
        Tree {
            from,
            to,
            form,
            with_foreign,
            manifests: Vec::new(),
            blobs: Vec::new(),
            converted: Converted::new(),
            bytes: 0,
            losses: Losses::default(),
            foreign: BTreeSet::new(),
            nowhere: 0,
        }
    }

    /// Adds a document with everything below. What it is in the target.
    fn collect(&mut self, document: Document, depth: usize) -> Result<Document> {
        let digest = document.digest.clone();
        let limit = |what: &str| {
            Error::new(ErrorKind::LimitExceeded, format!("{digest} has {what} than are copied at once"))
                .with_object(digest.as_str())
        };
        if depth >= MAX_NESTING {
            return Err(limit("indexes in indexes, deeper"));
        }
        self.bytes += document.bytes.len();
        let Pointers { mut children, blobs, is_index } = pointers(&document)?;
        if self.bytes > MAX_MANIFESTS
            || self.manifests.len() + children.len() > MAX_DESCRIPTORS
            || self.blobs.len() + blobs.len() > MAX_DESCRIPTORS
        {
            return Err(limit("more manifests and blobs"));
        }
        if let Some(form) = self.form {
            children.retain(|child| convert::goes(child, form, &mut self.losses));
        }
        for child in children {
            let known = self.converted.contains_key(&child.digest)
                || self.manifests.iter().any(|known| known.digest == child.digest);
            // What the target has, it has with everything below; what it would become has another digest.
            if known || (self.form.is_none() && self.to.manifest_head(child.digest.as_str())?.is_some()) {
                continue;
            }
            if child.size > MAX_DOCUMENT {
                return Err(limit("a larger manifest"));
            }
            let fetched = self.from.manifest(child.digest.as_str())?;
            let bytes = verified(fetched.bytes, &child.digest, child.size)?;
            let media_type = child.media_type;
            if self.form == Some(Form::V2s2) && depth == 0 && is_index_type(&media_type) {
                let text =
                    format!("{digest} cannot be converted: docker's manifest lists have no lists in them");
                return Err(Error::new(ErrorKind::Unsupported, text)
                    .with_object(digest.as_str())
                    .with_hint("copy one platform of it, or without a format"));
            }
            let original = child.digest.clone();
            let made = self.collect(Document { digest: child.digest, media_type, bytes }, depth + 1)?;
            if self.form.is_some() {
                self.converted.insert(original, made);
            }
        }
        for blob in blobs {
            if media_type::is_foreign(&blob.media_type) && !self.with_foreign {
                if self.foreign.insert(blob.digest) {
                    self.nowhere += usize::from(blob.urls.is_empty());
                }
                continue;
            }
            match self.blobs.iter().find(|known| known.digest == blob.digest) {
                None => self.blobs.push(blob),
                Some(known) if known.size != blob.size => {
                    return Err(Error::new(
                        ErrorKind::InvalidImage,
                        format!("{} is said to have {} bytes and {}", blob.digest, known.size, blob.size),
                    )
                    .with_object(blob.digest.as_str()));
                }
                Some(_) => {}
            }
        }
        let made = match self.form {
            None => None,
            Some(form) if is_index => convert::index(&document, form, &self.converted, &mut self.losses)?,
            Some(form) => convert::manifest(&document, form, &mut self.losses)?,
        };
        let made = made.unwrap_or(document);
        self.manifests.push(made.clone());
        Ok(made)
    }
}

fn is_index_type(text: &str) -> bool {
    matches!(text, media_type::INDEX | media_type::DOCKER_LIST)
}

/// What a document points to.
#[derive(Debug)]
struct Pointers {
    children: Vec<Descriptor>,
    blobs: Vec<Descriptor>,
    is_index: bool,
}

/// What a manifest or index points to: manifests and blobs. Artifacts of any type are copied, so only that is looked at.
fn pointers(document: &Document) -> Result<Pointers> {
    let digest = &document.digest;
    let invalid = |why: String| {
        Error::new(ErrorKind::InvalidImage, format!("{digest}: {why}")).with_object(digest.as_str())
    };
    let value: Value = serde_json::from_slice(&document.bytes).map_err(|error| invalid(error.to_string()))?;
    let list = |name: &str| -> Result<Vec<Descriptor>> {
        match value.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(list) => serde_json::from_value(list.clone()).map_err(|error| invalid(error.to_string())),
        }
    };
    let manifests = list("manifests")?;
    let mut blobs = list("layers")?;
    if let Some(config) = value.get("config").filter(|config| !config.is_null()) {
        blobs.insert(0, serde_json::from_value(config.clone()).map_err(|error| invalid(error.to_string()))?);
    }
    let is_index = value.get("manifests").is_some();
    if is_index && !blobs.is_empty() {
        return Err(invalid("it claims to be a manifest and an index at once".into()));
    }
    Ok(Pointers { children: manifests, blobs, is_index })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(json: &str) -> Document {
        let bytes = json.as_bytes().to_vec();
        Document { digest: Digest::of(&bytes), media_type: "application/x".into(), bytes }
    }

    #[test]
    fn what_a_document_points_to() {
        let descriptor = |kind: &str, text: &str| {
            format!(r#"{{"mediaType":"{kind}","digest":"{}","size":1}}"#, Digest::of(text.as_bytes()))
        };
        let json = format!(
            r#"{{"config":{},"layers":[{},{}]}}"#,
            descriptor("application/anything", "c"),
            descriptor("text/plain", "l"),
            descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "f"),
        );
        let Pointers { children, blobs, is_index } = pointers(&document(&json)).unwrap();
        assert_eq!((children.len(), blobs.len(), is_index), (0, 3, false));
        let json = format!(r#"{{"manifests":[{}]}}"#, descriptor("x", "m"));
        let found = pointers(&document(&json)).unwrap();
        assert!(found.children.len() == 1 && found.is_index);
        let both = format!(r#"{{"manifests":[],"layers":[{}]}}"#, descriptor("x", "m"));
        for json in [both.as_str(), "", "[]x", r#"{"layers":[{"digest":"sha256:.."}]}"#] {
            assert_eq!(pointers(&document(json)).unwrap_err().kind(), ErrorKind::InvalidImage, "{json}");
        }
    }
}
