//! OCI image layouts: a directory, or the files of an archive.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::Deserialize;

use super::docker::names_by_config;
use super::{Group, Load, Loaded, name};
use crate::content::{Staged, mismatch, stage_from};
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::image::add::{Pieces, prepare, put};
use crate::image::archive::Files;
use crate::image::choose::{self, Documents, Found, MAX_IMAGES, Several};
use crate::oci::{
    Descriptor, Digest, Document, Hasher, ImageDocument, Index, MAX_DOCUMENT, Platform, PlatformChoice,
    Reference, annotation, media_type, parse_document,
};
use crate::progress::ProgressKind;
use crate::state::images;

/// The most bytes of all manifests.
const MAX_MANIFESTS: usize = 64 << 20;

/// Where the files of a layout are.
trait Layout {
    /// A whole small file; None if it is not there.
    fn small(&self, path: &str) -> Result<Option<Vec<u8>>>;
    /// Puts a blob into the store.
    fn publish(&self, descriptor: &Descriptor) -> Result<()>;
}

/// Reads a layout directory. Every path is resolved beneath it, without following any link.
pub(super) fn from_directory(load: Load<'_>, dir: &OwnedFd, what: &str) -> Result<Loaded> {
    read(load, &Directory { load, dir, what }, Vec::new())
}

/// Reads a layout from an archive. Names can come from the docker manifest that newer versions of docker add.
pub(super) fn from_archive(load: Load<'_>, files: &Files, what: &str) -> Result<Loaded> {
    let names = if files.has("manifest.json") { names_by_config(load, files)? } else { Vec::new() };
    read(load, &Archive { load, files, what }, names)
}

fn read(load: Load<'_>, layout: &dyn Layout, docker_names: Vec<(Digest, Vec<Reference>)>) -> Result<Loaded> {
    check_version(layout)?;
    let bytes = layout.small("index.json")?.ok_or_else(|| missing("index.json"))?;
    let Document::Index(index) = parse_document(&bytes, None, "index.json")? else {
        return Err(
            Error::new(ErrorKind::InvalidImage, "index.json is not an index").with_object("index.json")
        );
    };
    let mut loaded = Loaded::default();
    for Chosen { images, mut names, index } in choose(load, layout, &index)? {
        let mut ids: Vec<String> = Vec::new();
        for Found { descriptor, bytes, manifest } in images {
            for (config, more) in &docker_names {
                if *config == manifest.config.digest {
                    names.extend(
                        more.iter().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>(),
                    );
                }
            }
            let id = manifest.config.digest.clone();
            ids.push(id.to_string());
            if loaded.ready.iter().any(|ready| ready.image.id == id) {
                continue;
            }
            let doing = || format!("image {id}");
            let config = blob(layout, &manifest.config).context(doing)?;
            for layer in &manifest.layers {
                load.cancel.check()?;
                layout.publish(layer).context(doing)?;
            }
            let pieces = Pieces {
                manifest: &manifest,
                manifest_bytes: bytes,
                manifest_digest: descriptor.digest,
                config_bytes: config,
                names: Vec::new(),
            };
            let ready = prepare(load.store, load.session, load.worker, pieces, load.reporter, load.cancel);
            let mut ready = ready.context(doing)?;
            ready.warnings.splice(..0, load.foreign(&ready.image.document.platform()));
            loaded.ready.push(ready);
        }
        match (index, ids.as_slice()) {
            (Some(index), [_, _, ..]) => {
                put(load.store, load.session, &index.bytes, &index.digest)?;
                loaded.groups.push(Group { names, ids, index });
            }
            (_, [id, ..]) => {
                let ready = loaded.ready.iter_mut().find(|ready| ready.image.id.as_str() == id);
                if let Some(ready) = ready {
                    ready.names.extend(names);
                }
            }
            (_, []) => {}
        }
    }
    Ok(loaded)
}

fn check_version(layout: &dyn Layout) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        image_layout_version: String,
    }
    let bytes = layout.small("oci-layout")?.ok_or_else(|| missing("oci-layout"))?;
    let version: Version = serde_json::from_slice(&bytes).map_err(|error| {
        Error::new(ErrorKind::InvalidImage, format!("oci-layout: {error}")).with_object("oci-layout")
    })?;
    if version.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let shown = version.image_layout_version.escape_debug();
    Err(Error::new(
        ErrorKind::InvalidImage,
        format!("image layouts of version \"{shown}\" are not supported"),
    )
    .with_object("oci-layout"))
}

/// What an entry of the top index brings.
struct Chosen {
    /// Several if all platforms of an index are wanted.
    images: Vec<Found>,
    names: Vec<Reference>,
    index: Option<images::Document>,
}

/// The manifests of the top index that are wanted: one for each nested index, or all of it, and every plain one.
fn choose(load: Load<'_>, layout: &dyn Layout, index: &Index) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut foreign = Vec::new();
    let mut images = 0;
    let mut bytes = 0;
    for entry in index.manifests.iter().filter(|entry| !entry.is_attestation()) {
        let names = names(entry);
        let one = match load.platform {
            PlatformChoice::All => choose::all(&Blobs(layout), entry)?
                .map(|Several { images, index, .. }| Chosen { images, names, index }),
            PlatformChoice::Best(wanted) => choose::find(&Blobs(layout), entry, wanted, &mut foreign)?
                .map(|found| Chosen { images: vec![found], names, index: None }),
        };
        let Some(one) = one else { continue };
        if load.asked
            && let Some(other) = another(load, layout, &one.images)?
        {
            foreign.push(other);
            continue;
        }
        images += one.images.len();
        bytes += one.images.iter().map(|image| image.bytes.len()).sum::<usize>();
        chosen.push(one);
        if images > MAX_IMAGES || bytes > MAX_MANIFESTS {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                "there are more images in it than are loaded at once",
            ));
        }
    }
    if chosen.is_empty() {
        let wanted = match load.platform {
            PlatformChoice::Best(wanted) => wanted.clone(),
            PlatformChoice::All => Platform::host(),
        };
        return Err(choose::foreign(&wanted, foreign));
    }
    Ok(chosen)
}

/// The platform of an image that is not for the one that was asked for. Not every tool says in the index what an image is for, and what is
/// said there may be wrong.
fn another(load: Load<'_>, layout: &dyn Layout, images: &[Found]) -> Result<Option<String>> {
    for Found { manifest, .. } in images {
        load.cancel.check()?;
        let what = format!("configuration {}", manifest.config.digest);
        let config = blob(layout, &manifest.config).context(|| what.clone())?;
        let platform = ImageDocument::parse(&config, &what)?.platform();
        if !load.wants(&platform) {
            return Ok(Some(platform.to_string()));
        }
    }
    Ok(None)
}

/// The names that the annotations of an index entry give.
fn names(entry: &Descriptor) -> Vec<Reference> {
    let full = entry.annotations.get(annotation::IMAGE_NAME).and_then(|text| name(text));
    // The other annotation holds a name or only a tag, depending on the tool. The tag that every image has by default is no name.
    let short = || {
        entry
            .annotations
            .get(annotation::REF_NAME)
            .filter(|text| *text != "latest")
            .and_then(|text| name(text))
    };
    full.or_else(short).into_iter().collect()
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn missing(path: &str) -> Error {
    Error::new(ErrorKind::InvalidArchive, format!("\"{path}\" is missing")).with_object(path)
}

/// As [`missing`], of what a manifest points to: some layers are not meant to be passed on.
fn missing_blob(path: &str, descriptor: &Descriptor) -> Error {
    let error = missing(path);
    if media_type::is_foreign(&descriptor.media_type) {
        error.with_hint(
            "it is a layer that is not distributable; a pull with allow_foreign_urls fetches it from where its manifest says",
        )
    } else {
        error
    }
}

/// The manifests and indexes of a layout.
struct Blobs<'a>(&'a dyn Layout);

impl Documents for Blobs<'_> {
    fn get(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        if descriptor.embedded().is_none() && self.0.small(&path(&descriptor.digest))?.is_none() {
            return Ok(None);
        }
        blob(self.0, descriptor).map(Some)
    }

    fn missing(&self, descriptor: &Descriptor) -> Error {
        missing(&path(&descriptor.digest))
    }
}

/// A document, checked against its descriptor.
fn blob(layout: &dyn Layout, descriptor: &Descriptor) -> Result<Vec<u8>> {
    if let Some(bytes) = descriptor.embedded() {
        return Ok(bytes);
    }
    let path = path(&descriptor.digest);
    if descriptor.size > MAX_DOCUMENT {
        return Err(Error::new(
            ErrorKind::LimitExceeded,
            format!("\"{path}\" is larger than {MAX_DOCUMENT} bytes"),
        )
        .with_object(path));
    }
    let bytes = layout.small(&path)?.ok_or_else(|| missing(&path))?;
    if bytes.len() as u64 != descriptor.size {
        return Err(wrong_size(&descriptor.digest, bytes.len() as u64, descriptor.size));
    }
    let mut hasher = Hasher::new(descriptor.digest.algorithm());
    hasher.update(&bytes);
    let found = hasher.finish();
    if found == descriptor.digest { Ok(bytes) } else { Err(mismatch(&descriptor.digest, &found)) }
}

fn wrong_size(digest: &Digest, found: u64, expected: u64) -> Error {
    Error::new(ErrorKind::DigestMismatch, format!("{digest} has {found} bytes instead of {expected}"))
        .with_object(digest.as_str())
}

struct Directory<'a> {
    load: Load<'a>,
    dir: &'a OwnedFd,
    what: &'a str,
}

impl Directory<'_> {
    fn open(&self, path: &str) -> Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let shown = || format!("{}/{path}", self.what);
        let irregular = || {
            Error::new(ErrorKind::InvalidArchive, format!("\"{}\" is not a regular file", shown()))
                .with_object(shown())
        };
        let fd = match rustix::fs::openat2(self.dir, path, flags, Mode::empty(), resolve) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::XDEV | Errno::NXIO) => return Err(irregular()),
            Err(errno) => return Err(Error::syscall("openat2", shown(), errno.raw_os_error())),
        };
        let stat = rustix::fs::fstat(&fd).call("fstat", shown())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(irregular());
        }
        Ok(Some(File::from(fd)))
    }
}

impl Layout for Directory<'_> {
    fn small(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let Some(file) = self.open(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes).call("read", path)?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("\"{path}\" is larger than {MAX_DOCUMENT} bytes"),
            )
            .with_object(path));
        }
        Ok(Some(bytes))
    }

    fn publish(&self, descriptor: &Descriptor) -> Result<()> {
        let Load { store, session, reporter, cancel, .. } = self.load;
        let Descriptor { digest, size, .. } = descriptor;
        if store.has_blob(digest, *size)? {
            reporter.blob(ProgressKind::BlobCached, digest, *size, *size);
            return Ok(());
        }
        let path = path(digest);
        let mut file = self.open(&path)?.ok_or_else(|| missing_blob(&path, descriptor))?;
        reporter.expect_more(*size);
        let meter = reporter.meter(digest, *size);
        meter.at(0, ProgressKind::BlobStart);
        let staged = stage_from(session, &mut file, (digest, *size), &path, &meter, cancel)?;
        store.publish(session, &staged, digest)?;
        meter.at(*size, ProgressKind::BlobDone);
        Ok(())
    }
}

struct Archive<'a> {
    load: Load<'a>,
    files: &'a Files,
    what: &'a str,
}

impl Archive<'_> {
    fn checked(&self, descriptor: &Descriptor) -> Result<&Staged> {
        let path = path(&descriptor.digest);
        let staged = self.files.get(&path).ok_or_else(|| missing_blob(&path, descriptor))?;
        if staged.size != descriptor.size {
            return Err(wrong_size(&descriptor.digest, staged.size, descriptor.size));
        }
        staged.check(self.load.session, &descriptor.digest)?;
        Ok(staged)
    }
}

impl Layout for Archive<'_> {
    fn small(&self, path: &str) -> Result<Option<Vec<u8>>> {
        match self.files.get(path) {
            Some(staged) => staged
                .read(self.load.session, MAX_DOCUMENT, path)
                .map(Some)
                .context(|| format!("reading \"{}\"", self.what)),
            None => Ok(None),
        }
    }

    fn publish(&self, descriptor: &Descriptor) -> Result<()> {
        // Already moved away if another image of the archive has it, too.
        if self.load.store.has_blob(&descriptor.digest, descriptor.size)? {
            return Ok(());
        }
        let staged = self.checked(descriptor)?;
        self.load.store.publish(self.load.session, staged, &descriptor.digest)
    }
}
