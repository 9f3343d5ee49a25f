//! An OCI image layout as a directory: a new one, or one that is there and gets more images.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde_json::{Map, Value};

use super::archive::copy;
use super::{Blob, Entry, blob_name, layout_of, stored};
use crate::cancel::CancelToken;
use crate::content::LAYOUT;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::image::add::to_json;
use crate::oci::{Descriptor, Document, MAX_DOCUMENT, annotation, media_type, parse_document};
use crate::progress::{ProgressKind, Reporter};
use crate::state::{Store, list_names, random_hex};

/// Writes images to a layout. Entries that are there keep their place, unless an image takes their name.
pub(super) fn write(
    store: &Store,
    entries: &[Entry],
    path: &Path,
    reporter: &Reporter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let (blobs, descriptors) = layout_of(entries);
    reporter.expect(stored(&blobs));
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).call("mkdir", path),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(path, flags, Mode::empty()).call("open", path)?;
    let Existing { mut document, entries: there } = existing(&dir, path)?;
    for name in ["blobs", "blobs/sha256", "blobs/sha512"] {
        let used = name != "blobs/sha512"
            || blobs.iter().any(|blob| blob.digest().algorithm() == crate::oci::Algorithm::Sha512);
        if used {
            match rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno).call("mkdir", path.join(name)),
            }
        }
    }
    for blob in &blobs {
        cancel.check()?;
        let name = format!("blobs/{}", blob_name(blob.digest()));
        let size = match blob {
            Blob::Stored(_, size) => *size,
            Blob::Bytes(_, bytes) => bytes.len() as u64,
        };
        let same = rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size as u64 == size
        });
        if same {
            if let Blob::Stored(digest, _) = blob {
                reporter.meter(digest, size).at(size, ProgressKind::BlobCached);
            }
            continue;
        }
        replace(&dir, path, &name, |file| match blob {
            Blob::Stored(digest, size) => copy(store, (digest, *size), file, reporter, cancel),
            Blob::Bytes(_, bytes) => file.write_all(bytes).call("write", path.join(&name)),
        })?;
    }
    let stays = |old: &Descriptor| {
        let name = |descriptor: &Descriptor| descriptor.annotations.get(annotation::REF_NAME).cloned();
        let full = |descriptor: &Descriptor| descriptor.annotations.get(annotation::IMAGE_NAME).cloned();
        !descriptors.iter().any(|new| match (name(old), name(new)) {
            (Some(old_name), Some(new_name)) => old_name == new_name || full(old) == Some(new_name),
            _ => old.digest == new.digest && name(old).is_none() && name(new).is_none(),
        })
    };
    let mut index: Vec<Value> =
        there.into_iter().filter(|(old, _)| stays(old)).map(|(_, value)| value).collect();
    for new in &descriptors {
        let value = serde_json::to_value(new)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("writing index.json: {error}")))?;
        index.push(value);
    }
    document.entry("schemaVersion").or_insert_with(|| 2.into());
    document.entry("mediaType").or_insert_with(|| media_type::INDEX.into());
    document.insert("manifests".into(), index.into());
    let bytes = to_json(&document)?;
    replace(&dir, path, "oci-layout", |file| file.write_all(LAYOUT).call("write", path.join("oci-layout")))?;
    // Last, so that what it lists is there.
    replace(&dir, path, "index.json", |file| file.write_all(&bytes).call("write", path.join("index.json")))
}

/// The index of a layout that is there already.
#[derive(Default)]
struct Existing {
    /// All of it, since other tools write more than is known here.
    document: Map<String, Value>,
    /// What it lists, as it is read here, and as it is.
    entries: Vec<(Descriptor, Value)>,
}

/// The index of a layout that is there already. A directory with something else in it is refused.
fn existing(dir: &OwnedFd, path: &Path) -> Result<Existing> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(dir, "index.json", flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => {
            let own = dir.try_clone().call("fcntl", path)?;
            if list_names(&own, path)?.iter().all(|name| name == "blobs" || name == "oci-layout") {
                return Ok(Existing::default());
            }
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" is a directory with something else in it", path.display()),
            )
            .with_object(path.to_string_lossy())
            .with_hint("give a new directory, or an OCI image layout"));
        }
        Err(errno) => return Err(errno).call("open", path.join("index.json")),
    };
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, MAX_DOCUMENT + 1), &mut bytes)
        .call("read", path.join("index.json"))?;
    let invalid = |why: String| Error::new(ErrorKind::InvalidImage, why).with_object("index.json");
    let Document::Index(index) = parse_document(&bytes, None, "index.json")? else {
        return Err(invalid("index.json is not an index".into()));
    };
    let mut document: Map<String, Value> =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("index.json: {error}")))?;
    match document.remove("manifests") {
        Some(Value::Array(values)) if values.len() == index.manifests.len() => {
            Ok(Existing { document, entries: index.manifests.into_iter().zip(values).collect() })
        }
        _ => Err(invalid("index.json has no list of manifests".into())),
    }
}

/// Writes a file that appears when it is complete.
fn replace(
    dir: &OwnedFd,
    path: &Path,
    name: &str,
    write: impl FnOnce(&mut File) -> Result<()>,
) -> Result<()> {
    let temporary = format!(".{}", random_hex(8)?);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o644);
    let mut file: File =
        rustix::fs::openat(dir, &temporary, flags, mode).call("open", path.join(&temporary))?.into();
    let written = write(&mut file)
        .and_then(|()| rustix::fs::renameat(dir, &temporary, dir, name).call("rename", path.join(name)));
    if written.is_err() {
        let _ = rustix::fs::unlinkat(dir, &temporary, AtFlags::empty());
    }
    written
}
