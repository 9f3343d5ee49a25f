//! The outer archive of images, and decompression: the edge to the archive crate. Nothing is extracted here: files go to a session, and links
//! are only remembered.

use std::collections::BTreeMap;
use std::io::Read;

use coble_layer::{Decoder, Format, Kind, Limits, Reader, Stream};

use crate::cancel::CancelToken;
use crate::content::{Staged, Wrapped, read_error, writer};
use crate::error::{Error, ErrorKind, Result, kind_of_errno};
use crate::state::Session;

/// The most entries of an outer archive: each file becomes a file of the session.
const MAX_ENTRIES: u64 = 100_000;
/// The most links that are followed to a file.
const MAX_LINKS: usize = 40;

/// What an archive holds under a name.
enum Node {
    File(Staged),
    /// Another name of the archive, as a path from its root.
    Link(String),
}

/// The files of an archive, by path.
#[derive(Default)]
pub(super) struct Files {
    nodes: BTreeMap<String, Node>,
}

impl Files {
    /// The file of a name, through links.
    pub(super) fn get(&self, path: &str) -> Option<&Staged> {
        let mut path = normal(path.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.nodes.get(&path)? {
                Node::File(staged) => return Some(staged),
                Node::Link(target) => path.clone_from(target),
            }
        }
        None
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.get(path).is_some()
    }
}

/// Reads a whole archive, plain or compressed, and stages its files.
pub(super) fn read(session: &Session, input: impl Read, what: &str, cancel: &CancelToken) -> Result<Files> {
    let limits = Limits { max_entries: MAX_ENTRIES, ..Limits::default() };
    let wrong = |error| archive_error(error, what, cancel);
    let mut reader = Reader::new(Stream::new(Adapted(input), limits).map_err(wrong)?, limits);
    let mut files = Files::default();
    while reader.advance().map_err(wrong)? {
        cancel.check()?;
        let entry = reader.entry();
        let invalid = |name: &[u8], why: &str| {
            Error::new(
                ErrorKind::InvalidArchive,
                format!("\"{what}\": entry \"{}\": {why}", name.escape_ascii()),
            )
            .with_object(what)
        };
        let Some(path) = normal(&entry.path) else {
            return Err(invalid(&entry.path, "the name leads out of the archive or is not text"));
        };
        let node = match entry.kind {
            Kind::File => {
                let (size, sparse) = (entry.size, entry.sparse);
                if sparse {
                    return Err(invalid(&entry.path, "sparse files do not belong into an archive of images"));
                }
                let mut writer = writer(session)?;
                while let Some((_, bytes)) = reader.chunk().map_err(wrong)? {
                    cancel.check()?;
                    writer.append(bytes)?;
                }
                let staged = writer.finish();
                if staged.size != size {
                    return Err(invalid(path.as_bytes(), "it is shorter than its header says"));
                }
                Node::File(staged)
            }
            Kind::HardLink => match normal(&entry.link) {
                Some(target) => Node::Link(target),
                None => return Err(invalid(&entry.path, "the link leads out of the archive")),
            },
            Kind::Symlink => {
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let absolute = [parent.as_bytes(), b"/", &entry.link].concat();
                match resolved(&absolute).filter(|_| !entry.link.starts_with(b"/")) {
                    Some(target) => Node::Link(target),
                    None => return Err(invalid(&entry.path, "the link leads out of the archive")),
                }
            }
            Kind::Directory => continue,
            _ => {
                return Err(invalid(
                    &entry.path,
                    "devices, pipes and sockets do not belong into an archive of images",
                ));
            }
        };
        match (files.nodes.get(&path), &node) {
            // The same name twice is harmless if it is the same thing, and else two readers could see two different images.
            (Some(Node::File(old)), Node::File(new)) if old.digest == new.digest => {}
            (Some(Node::Link(old)), Node::Link(new)) if old == new => {}
            (Some(_), _) => {
                return Err(invalid(path.as_bytes(), "the name appears twice, for different things"));
            }
            (None, _) => {}
        }
        files.nodes.insert(path, node);
    }
    // To the end: a damaged rest is an error, too.
    reader.into_source().finish().map_err(wrong)?;
    Ok(files)
}

/// The stream of a layer, with the compression taken off if it is one that no layer may have.
pub(super) fn for_layer<'a>(
    input: impl Read + 'a,
    what: &str,
    cancel: &CancelToken,
) -> Result<Box<dyn Read + 'a>> {
    let wrong = |error| archive_error(error, what, cancel);
    let mut input = Adapted(input);
    let mut head = Vec::new();
    input
        .by_ref()
        .take(16)
        .read_to_end(&mut head)
        .map_err(|error| cancel.check().err().unwrap_or_else(|| read_error(&error, what)))?;
    let format = Decoder::new(head.as_slice()).map_err(wrong)?.format();
    let whole = std::io::Cursor::new(head).chain(input);
    match format {
        Format::Plain | Format::Gzip | Format::Zstd => Ok(Box::new(whole)),
        Format::Bzip2 | Format::Xz => {
            let decoder = Decoder::new(whole).map_err(wrong)?;
            Ok(Box::new(Decoded { decoder, what: what.to_owned(), cancel: cancel.clone(), written: 0 }))
        }
    }
}

/// A decoder as a reader, with the bounds that layers have.
struct Decoded<R> {
    decoder: Decoder<R>,
    what: String,
    cancel: CancelToken,
    written: u64,
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let limits = Limits::default();
        let count = self
            .decoder
            .read(buffer)
            .map_err(|error| Wrapped::io(archive_error(error, &self.what, &self.cancel)))?;
        self.written += count as u64;
        let most = u64::from(limits.max_ratio).saturating_mul(self.decoder.compressed_bytes()).max(64 << 20);
        if self.written > most || self.written > limits.max_bytes {
            let why = format!("\"{}\" has more uncompressed bytes than allowed", self.what);
            return Err(Wrapped::io(Error::new(ErrorKind::LimitExceeded, why).with_object(&self.what)));
        }
        Ok(count)
    }
}

/// The archive crate knows only errnos of its input. The one error of ours that can come up there is that the call was cancelled, which is
/// asked for again on the way back.
struct Adapted<R>(R);

impl<R: Read> Read for Adapted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.raw_os_error() {
            Some(_) => error,
            None => std::io::Error::from_raw_os_error(libc::ECANCELED),
        })
    }
}

fn archive_error(error: coble_layer::Error, what: &str, cancel: &CancelToken) -> Error {
    use coble_layer::Error as Cause;
    if let Err(cancelled) = cancel.check() {
        return cancelled;
    }
    let kind = match &error {
        Cause::Read(errno) => return Error::syscall("read", what, *errno),
        Cause::Decode { .. } | Cause::Invalid { .. } => ErrorKind::InvalidArchive,
        Cause::Limit { .. } => ErrorKind::LimitExceeded,
        Cause::System { errno, .. } | Cause::Output(errno) => kind_of_errno(*errno),
    };
    Error::new(kind, format!("\"{what}\": {error}")).with_object(what)
}

/// A name of the archive without `.` and doubled slashes; None if it has `..` or is not UTF-8.
fn normal(path: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in std::str::from_utf8(path).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => return None,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// As [`normal`], with `..` taking a part away; None if it leads above the root.
fn resolved(path: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in std::str::from_utf8(path).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
