//! A strict, streaming tar parser: v7, ustar, GNU and PAX. Pure: it touches no file system and does not panic.
//!
//! Programs that read tar differ in corners: which size counts, whether a record that makes no sense is skipped, which of two names wins. What lies in
//! such a corner could be one thing for a scanner and another one for us, so it is refused here:
//!
//! - a checksum, number or record that is not well-formed; a keyword twice in one header; global headers that rename or resize;
//! - a size on an entry that has no data; a name of a file that ends in a slash; two long names for one entry;
//! - an extension header that no entry follows, or that stands before another extension it would apply to;
//! - a zero block followed by anything but another one or the end.

mod header;
mod pax;
mod sparse;

use header::{BLOCK, Family, Header};
use pax::Pax;
#[cfg(test)]
pub(crate) use pax::time as pax_time;
pub(crate) use sparse::Segment;

use crate::error::Error;
use crate::stream::{Limits, Source};

/// The longest PAX header.
const PAX_MAX: u64 = 1 << 20;
/// The longest GNU long name, which is far more than any file system takes.
const LONG_NAME_MAX: u64 = 64 << 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A regular file.
    #[default]
    File,
    /// Another name of an entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A socket: the format has no type for it, but some writers leave it in the mode.
    Socket,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Seconds since the epoch, rounded down.
    pub seconds: i64,
    /// Nanoseconds after that.
    pub nanos: u32,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xattr {
    /// The full name.
    pub name: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// One entry of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// The name, as it stands in the archive.
    pub path: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// The kind.
    pub kind: Kind,
    /// Permission bits with set-id and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Whether the file has holes.
    pub sparse: bool,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<Xattr>,
}

/// Reads the entries of an archive.
pub struct Reader<S> {
    source: S,
    limits: Limits,
    entry: Entry,
    entries: u64,
    global: Pax,
    /// What [`Reader::chunk`] gave out and has not yet consumed.
    lent: usize,
    /// Bytes of the entry's data that are still in the source, and of the zeros that fill its last block.
    data: u64,
    padding: u64,
    /// The segments of a sparse file, the current one, and how much of it was given.
    segments: Vec<Segment>,
    segment: usize,
    given: u64,
    /// The data of the last extension header.
    extension: Vec<u8>,
    ended: bool,
}

/// Extension headers waiting for their entry.
#[derive(Default)]
struct Pending {
    global: bool,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Pending {
    fn any(&self) -> bool {
        self.name.is_some() || self.link.is_some() || self.pax.is_some()
    }
}

impl<S: Source> Reader<S> {
    /// Reads from a source.
    pub fn new(source: S, limits: Limits) -> Reader<S> {
        Reader {
            source,
            limits,
            entry: Entry::default(),
            entries: 0,
            global: Pax::default(),
            lent: 0,
            data: 0,
            padding: 0,
            segments: Vec::new(),
            segment: 0,
            given: 0,
            extension: Vec::new(),
            ended: false,
        }
    }

    /// Goes to the next entry, past the data of the current one. False at the end of the archive.
    pub fn advance(&mut self) -> Result<bool, Error> {
        self.skip_data()?;
        let mut pending = Pending::default();
        self.entry.path.clear();
        self.entry.link.clear();
        while !self.ended {
            let Some(block) = self.block()? else {
                self.ended = true;
                break;
            };
            if block == [0; BLOCK] {
                self.ended = true;
                if self.block()?.is_some_and(|second| second != [0; BLOCK]) {
                    return Err(self.invalid("something stands behind a single block of zeros"));
                }
                break;
            }
            let header = Header::parse(&block).map_err(|rule| self.invalid(rule))?;
            match header.kind {
                b'L' | b'K' => {
                    let slot = if header.kind == b'L' { &mut pending.name } else { &mut pending.link };
                    if slot.is_some() || pending.pax.is_some() {
                        return Err(
                            self.invalid("a long name stands where another extension already applies")
                        );
                    }
                    self.read_extension(&header, LONG_NAME_MAX)?;
                    let text =
                        header::terminated(&self.extension).map_err(|rule| self.invalid(rule))?.to_vec();
                    if header.kind == b'L' {
                        self.entry.path.clone_from(&text);
                        pending.name = Some(text);
                    } else {
                        pending.link = Some(text);
                    }
                }
                b'x' => {
                    if pending.pax.is_some() {
                        return Err(self.invalid("two extended headers for one entry"));
                    }
                    self.read_extension(&header, PAX_MAX)?;
                    let pax = Pax::parse(&self.extension).map_err(|rule| self.invalid(rule))?;
                    if let Some(path) = &pax.path {
                        self.entry.path.clone_from(path);
                    }
                    pending.pax = Some(pax);
                }
                b'g' => {
                    if pending.any() {
                        return Err(self.invalid("a global header stands between an entry and its extension"));
                    }
                    pending.global = true;
                    self.count()?;
                    self.read_extension(&header, PAX_MAX)?;
                    let pax = Pax::parse(&self.extension).map_err(|rule| self.invalid(rule))?;
                    self.global.merge_global(pax).map_err(|rule| self.invalid(rule))?;
                }
                _ => {
                    self.count()?;
                    self.begin(&header, &block, pending)?;
                    return Ok(true);
                }
            }
        }
        if pending.any() || pending.global {
            return Err(self.invalid("an extension header without its entry"));
        }
        Ok(false)
    }

    /// The current entry.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// How many entries there were so far.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The next piece of the file's data, with its offset in the file. None at its end. Holes are left out.
    pub fn chunk(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        self.return_lent();
        if self.data == 0 {
            return Ok(None);
        }
        let (mut offset, mut room) = (self.given, self.data);
        if self.entry.sparse {
            while let Some(segment) = self.segments.get(self.segment)
                && self.given == segment.length
            {
                self.segment += 1;
                self.given = 0;
            }
            // The segments' lengths add up to the data, so there is one as long as there is data.
            let Some(segment) = self.segments.get(self.segment) else {
                return Err(Error::invalid(
                    &self.entry.path,
                    "more data than the map of the sparse file says",
                ));
            };
            offset = segment.offset + self.given;
            room = segment.length - self.given;
        }
        let bytes = self.source.fill()?;
        if bytes.is_empty() {
            return Err(Error::invalid(&self.entry.path, "the archive ends in the middle of a file"));
        }
        let count = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.lent = count;
        self.data -= count as u64;
        self.given += count as u64;
        Ok(Some((offset, bytes.get(..count).unwrap_or_default())))
    }

    /// Gives the source back, wherever it stands.
    pub fn into_source(mut self) -> S {
        self.return_lent();
        self.source
    }

    fn return_lent(&mut self) {
        self.source.consume(self.lent);
        self.lent = 0;
    }

    fn invalid(&self, rule: &'static str) -> Error {
        Error::invalid(&self.entry.path, rule)
    }

    fn count(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            return Err(Error::limit(&self.entry.path, "more entries than allowed"));
        }
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), Error> {
        self.return_lent();
        let mut left = self.data + self.padding;
        self.data = 0;
        self.padding = 0;
        while left > 0 {
            let bytes = self.source.fill()?.len();
            if bytes == 0 {
                return Err(self.invalid("the archive ends in the middle of a file"));
            }
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
            self.source.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// One block; None if the stream ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let bytes = self.source.fill()?;
            if bytes.is_empty() {
                if filled == 0 {
                    return Ok(None);
                }
                return Err(self.invalid("the archive ends in the middle of a header"));
            }
            let count = bytes.len().min(BLOCK - filled);
            if let (Some(to), Some(from)) = (block.get_mut(filled..filled + count), bytes.get(..count)) {
                to.copy_from_slice(from);
            }
            self.source.consume(count);
            filled += count;
        }
        Ok(Some(block))
    }

    /// The data of an extension header, with the rest of its last block thrown away. No size but its own applies to it.
    fn read_extension(&mut self, header: &Header, most: u64) -> Result<(), Error> {
        if header.size > most {
            return Err(self.invalid("an extension header is too long"));
        }
        self.extension.clear();
        let mut left = header.size as usize;
        while left > 0 {
            let Some(block) = self.block()? else {
                return Err(self.invalid("the archive ends in the middle of a header"));
            };
            let count = left.min(BLOCK);
            self.extension.extend_from_slice(block.get(..count).unwrap_or_default());
            // Some read on to the first NUL, wherever it is.
            if block.get(count..).unwrap_or_default().iter().any(|&byte| byte != 0) {
                return Err(self.invalid("an extension header is longer than it says"));
            }
            left -= count;
        }
        Ok(())
    }

    /// Puts header and extensions together.
    fn begin(&mut self, header: &Header, block: &[u8; BLOCK], pending: Pending) -> Result<(), Error> {
        let pax = pending.pax.unwrap_or_default();
        if (pending.name.is_some() && pax.path.is_some()) || (pending.link.is_some() && pax.link.is_some()) {
            return Err(self.invalid("two long names for one entry"));
        }
        let renamed = pending.name.or(pax.path);
        let entry = &mut self.entry;
        let own_name_is_directory = header.path.ends_with(b"/");
        match &renamed {
            Some(name) => entry.path.clone_from(name),
            None => entry.path.clone_from(&header.path),
        }
        entry.link.clone_from(pending.link.as_ref().or(pax.link.as_ref()).unwrap_or(&header.link));
        entry.mode = header.mode & 0o7777;
        entry.uid = pax.uid.or(self.global.uid).unwrap_or(header.uid);
        entry.gid = pax.gid.or(self.global.gid).unwrap_or(header.gid);
        entry.mtime = pax.mtime.or(self.global.mtime).unwrap_or(header.mtime);
        entry.xattrs = pax.xattrs;
        entry.device = (0, 0);
        entry.sparse = false;
        let size = pax.size.unwrap_or(header.size);
        entry.size = size;
        entry.kind = match header.kind {
            b'0' | b'7' | b'S' => Kind::File,
            // In the oldest format the slash is all that says directory.
            0 => {
                if entry.path.ends_with(b"/") != own_name_is_directory {
                    return Err(
                        self.invalid("the long name and the short one disagree whether this is a directory")
                    );
                }
                if own_name_is_directory { Kind::Directory } else { Kind::File }
            }
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            _ => return Err(self.invalid("an entry of an unknown type")),
        };
        if entry.kind == Kind::File && header.mode & 0o170000 == 0o140000 && size == 0 {
            entry.kind = Kind::Socket;
        }
        if entry.kind != Kind::Directory && entry.path.ends_with(b"/") {
            return Err(self.invalid("a name that ends in a slash and is no directory"));
        }
        if entry.kind != Kind::File && size != 0 {
            return Err(self.invalid("an entry without data that has a size"));
        }
        if matches!(entry.kind, Kind::Char | Kind::Block) {
            self.entry.device = header::device(block).map_err(|rule| self.invalid(rule))?;
        }
        if !matches!(self.entry.kind, Kind::HardLink | Kind::Symlink) {
            self.entry.link.clear();
        } else if self.entry.link.is_empty() {
            return Err(self.invalid("a link to nothing"));
        } else if self.entry.link.contains(&0) {
            return Err(self.invalid("the target of the link has a NUL byte"));
        }
        self.segments.clear();
        self.segment = 0;
        self.given = 0;
        self.data = if self.entry.kind == Kind::File { size } else { 0 };
        self.padding = self.data.next_multiple_of(BLOCK as u64) - self.data;
        if header.kind == b'S' {
            if header.family != Family::Gnu || pax.size.is_some() || pax.sparse.any() {
                return Err(self.invalid("a sparse file in two formats at once"));
            }
            self.begin_old_sparse(block)?;
        } else if pax.sparse.any() {
            if self.entry.kind != Kind::File {
                return Err(self.invalid("a sparse file that is no file"));
            }
            self.begin_pax_sparse(pax.sparse)?;
        }
        if self.entry.size > self.limits.max_bytes {
            return Err(Error::limit(&self.entry.path, "a larger file than allowed"));
        }
        Ok(())
    }

    fn begin_old_sparse(&mut self, block: &[u8; BLOCK]) -> Result<(), Error> {
        let mut map = sparse::OldMap::new(block).map_err(|rule| self.invalid(rule))?;
        while map.more() {
            let Some(block) = self.block()? else {
                return Err(self.invalid("the archive ends in the middle of a header"));
            };
            map.extend(&block).map_err(|rule| self.invalid(rule))?;
        }
        self.set_map(map.segments, map.size)
    }

    fn begin_pax_sparse(&mut self, pax: pax::Sparse) -> Result<(), Error> {
        if pax.name.as_ref().is_some_and(|name| name.ends_with(b"/")) {
            return Err(self.invalid("a name that ends in a slash and is no directory"));
        }
        if let Some(name) = &pax.name {
            self.entry.path.clone_from(name);
        }
        let in_data = pax.in_data().map_err(|rule| self.invalid(rule))?;
        let (segments, size) = if in_data {
            let size = pax.real_size.unwrap_or_default();
            let mut map = sparse::TextMap::default();
            while !map.complete() {
                if self.data < BLOCK as u64 {
                    return Err(self.invalid("the map of the sparse file is longer than its data"));
                }
                let Some(block) = self.block()? else {
                    return Err(self.invalid("the archive ends in the middle of a file"));
                };
                self.data -= BLOCK as u64;
                map.extend(&block).map_err(|rule| self.invalid(rule))?;
            }
            (map.segments, size)
        } else {
            pax.map().map_err(|rule| self.invalid(rule))?
        };
        self.set_map(segments, size)
    }

    fn set_map(&mut self, segments: Vec<Segment>, size: u64) -> Result<(), Error> {
        sparse::check(&segments, size, self.data).map_err(|rule| self.invalid(rule))?;
        self.segments = segments;
        self.entry.size = size;
        self.entry.sparse = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
