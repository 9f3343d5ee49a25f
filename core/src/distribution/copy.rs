//! Copying an image from one registry to another: byte for byte, through this process but not through the store.

use serde_json::Value;

use super::blob::verified;
use super::foreign::Foreign;
use super::jobs::jobs;
use super::net::Network;
use super::progress::Reporter;
use super::remote::Remote;
use super::send::{Outgoing, Sender};
use super::{Access, Client, CopyOptions, Event, Fetched, ProgressKind, ProgressSink, Pushed};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::choose;
use crate::oci::{Descriptor, Digest, MAX_DESCRIPTORS, MAX_DOCUMENT, MAX_NESTING, Platform, Reference};
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
    let target = Reference::parse_tag(target)?;
    let jobs = jobs(options.jobs)?;
    let platform = match options.platform.as_deref() {
        None | Some("all") => None,
        Some(text) => Some(Platform::parse(text)?),
    };
    let (from, to) = (source.to_string(), target.to_string());
    Halt::under(cancel, Deadline::never(), |halt| {
        let reporter = Reporter::new(&to, progress);
        let events = |event: Event| reporter.event(event);
        let from = Client::new(network, &source, &options.source, Access::Pull, &events, halt.token())?;
        let to = Client::new(network, &target, &options.target, Access::Push, &events, halt.token())?;
        let top = top(store, &from, &source, platform.as_ref())?;
        reporter.tell(ProgressKind::Resolve, Some(top.digest.to_string()));
        let mut tree = Tree { from: &from, to: &to, manifests: Vec::new(), blobs: Vec::new(), bytes: 0 };
        tree.collect(top.clone(), 0)?;
        let Tree { manifests, blobs, .. } = tree;
        let same = source.domain() == target.domain() && source.path() != target.path();
        let blobs: Vec<Foreign<'_>> =
            blobs.into_iter().map(|(digest, size)| Foreign::new(&from, digest, size)).collect();
        let outgoing = blobs.iter().map(|blob| Outgoing {
            digest: blob.digest.clone(),
            size: blob.size,
            elsewhere: if same { vec![source.path().to_owned()] } else { Vec::new() },
            open: Box::new(move |offset, target| blob.open(offset, target)),
            again: Some(Box::new(move |error| blob.is_elsewhere(error))),
        });
        let tag = target.tag().unwrap_or("latest");
        let mut pushed =
            Pushed { reference: target.to_string(), tags: vec![tag.to_owned()], ..Pushed::default() };
        let sender = Sender { client: &to, reporter: &reporter, halt, chunk: None, jobs };
        sender.send(outgoing.collect(), &mut pushed)?;
        for Document { digest, media_type, bytes } in &manifests {
            halt.check()?;
            let name = if *digest == top.digest { tag } else { digest.as_str() };
            to.put_manifest(name, media_type, bytes).context(|| format!("manifest {digest}"))?;
        }
        pushed.digest = top.digest.to_string();
        pushed.media_type = top.media_type;
        pushed.size = top.bytes.len() as u64;
        reporter.tell(ProgressKind::Done, Some(pushed.digest.clone()));
        Ok(pushed)
    })
    .context(|| format!("copying \"{from}\" to \"{to}\""))
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
    manifests: Vec<Document>,
    blobs: Vec<(Digest, u64)>,
    bytes: usize,
}

impl Tree<'_> {
    fn collect(&mut self, document: Document, depth: usize) -> Result<()> {
        let digest = document.digest.clone();
        let limit = |what: &str| {
            Error::new(ErrorKind::LimitExceeded, format!("{digest} has {what} than are copied at once"))
                .with_object(digest.as_str())
        };
        if depth >= MAX_NESTING {
            return Err(limit("indexes in indexes, deeper"));
        }
        self.bytes += document.bytes.len();
        let (children, blobs) = pointers(&document)?;
        if self.bytes > MAX_MANIFESTS
            || self.manifests.len() + children.len() > MAX_DESCRIPTORS
            || self.blobs.len() + blobs.len() > MAX_DESCRIPTORS
        {
            return Err(limit("more manifests and blobs"));
        }
        for child in children {
            let known = self.manifests.iter().any(|known| known.digest == child.digest);
            // What the target has, it has with everything below.
            if known || self.to.manifest_head(child.digest.as_str())?.is_some() {
                continue;
            }
            if child.size > MAX_DOCUMENT {
                return Err(limit("a larger manifest"));
            }
            let fetched = self.from.manifest(child.digest.as_str())?;
            let bytes = verified(fetched.bytes, &child.digest, child.size)?;
            let media_type = child.media_type;
            self.collect(Document { digest: child.digest, media_type, bytes }, depth + 1)?;
        }
        for blob in blobs {
            match self.blobs.iter().find(|(known, _)| *known == blob.digest) {
                None => self.blobs.push((blob.digest, blob.size)),
                Some((_, size)) if *size != blob.size => {
                    return Err(Error::new(
                        ErrorKind::InvalidImage,
                        format!("{} is said to have {size} bytes and {}", blob.digest, blob.size),
                    )
                    .with_object(blob.digest.as_str()));
                }
                Some(_) => {}
            }
        }
        self.manifests.push(document);
        Ok(())
    }
}

/// What a manifest or index points to: manifests and blobs. Artifacts of any type are copied, so only that is looked at.
fn pointers(document: &Document) -> Result<(Vec<Descriptor>, Vec<Descriptor>)> {
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
    if value.get("manifests").is_some() && !blobs.is_empty() {
        return Err(invalid("it claims to be a manifest and an index at once".into()));
    }
    // What is kept elsewhere is not in the source.
    blobs.retain(|blob| {
        !blob.media_type.contains("nondistributable") && !blob.media_type.contains(".foreign.")
    });
    Ok((manifests, blobs))
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
        let (manifests, blobs) = pointers(&document(&json)).unwrap();
        assert_eq!((manifests.len(), blobs.len()), (0, 2));
        let json = format!(r#"{{"manifests":[{}]}}"#, descriptor("x", "m"));
        assert_eq!(pointers(&document(&json)).unwrap().0.len(), 1);
        let both = format!(r#"{{"manifests":[],"layers":[{}]}}"#, descriptor("x", "m"));
        for json in [both.as_str(), "", "[]x", r#"{"layers":[{"digest":"sha256:.."}]}"#] {
            assert_eq!(pointers(&document(json)).unwrap_err().kind(), ErrorKind::InvalidImage, "{json}");
        }
    }
}
