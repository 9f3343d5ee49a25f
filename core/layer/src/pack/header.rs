//! Writing headers: ustar, with an extended header (POSIX pax) before it for what does not fit.

use std::io::Write;

use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::tar::{Time, Xattr};

pub(super) const BLOCK: usize = 512;
/// The largest number of a field of seven and of eleven octal digits.
const SEVEN: u64 = 0o777_7777;
const ELEVEN: u64 = 0o777_7777_7777;
/// The most bytes of extended records of one entry: what readers accept, ours among them.
const RECORDS_MAX: usize = 1 << 20;

/// What an entry says of itself.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) kind: u8,
    pub(super) path: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Bytes that follow.
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) device: (u32, u32),
    pub(super) xattrs: &'a [Xattr],
    /// The size of a sparse file with its holes. What follows begins with its map then.
    pub(super) sparse: Option<u64>,
}

/// An archive that is being written, and hashed on the way.
pub(super) struct Archive<W> {
    output: W,
    hasher: Sha256,
    pub(super) bytes: u64,
    most: u64,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(output: W, most: u64) -> Archive<W> {
        Archive { output, hasher: Sha256::new(), bytes: 0, most }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.most {
            return Err(Error::limit(b"", "more bytes than an archive may have"));
        }
        self.hasher.update(bytes);
        self.output.write_all(bytes).map_err(|error| Error::Output(error.raw_os_error().unwrap_or(5)))
    }

    /// Fills up the last block of what has `size` bytes.
    pub(super) fn pad(&mut self, size: u64) -> Result<(), Error> {
        match (size % BLOCK as u64) as usize {
            0 => Ok(()),
            rest => self.append([0; BLOCK].get(rest..).unwrap_or_default()),
        }
    }

    /// Ends the archive. Returns the digest of all of it, and its length.
    pub(super) fn finish(mut self) -> Result<([u8; 32], u64), Error> {
        self.append(&[0; 2 * BLOCK])?;
        self.output.flush().map_err(|error| Error::Output(error.raw_os_error().unwrap_or(5)))?;
        Ok((self.hasher.finalize().into(), self.bytes))
    }

    /// Writes the header of an entry.
    pub(super) fn head(&mut self, head: &Head<'_>) -> Result<(), Error> {
        self.append(&header(head)?)
    }
}

/// The header of a regular file or a directory of root's with the usual mode and no date, as bytes: for archives whose other entries are no files of a tree.
pub fn plain_header(path: &str, directory: bool, size: u64) -> Result<Vec<u8>, Error> {
    let (kind, mode) = if directory { (b'5', 0o755) } else { (b'0', 0o644) };
    header(&Head { kind, mode, path: path.as_bytes(), size, ..Head::default() })
}

/// The header of a regular file that belongs to user 0.
pub fn file_header(path: &[u8], mode: u32, mtime: Time, size: u64) -> Result<Vec<u8>, Error> {
    header(&Head { kind: b'0', mode, path, size, mtime, ..Head::default() })
}

/// The blocks of a header.
fn header(head: &Head<'_>) -> Result<Vec<u8>, Error> {
    let mut records = Vec::new();
    let (prefix, name) = match (head.sparse, split(head.path)) {
        (None, Some(split)) => split,
        (None, None) => {
            record(&mut records, b"path", head.path);
            (&b""[..], tail(head.path))
        }
        (Some(_), _) => (&b"GNUSparseFile.0"[..], tail(head.path)),
    };
    if head.link.len() > 100 {
        record(&mut records, b"linkpath", head.link);
    }
    for (keyword, value, most) in [
        (&b"uid"[..], u64::from(head.uid), SEVEN),
        (b"gid", u64::from(head.gid), SEVEN),
        (b"size", head.size, ELEVEN),
    ] {
        if value > most {
            record(&mut records, keyword, value.to_string().as_bytes());
        }
    }
    let whole = u64::try_from(head.mtime.seconds).ok().filter(|seconds| *seconds <= ELEVEN);
    if whole.is_none() || head.mtime.nanos != 0 {
        record(&mut records, b"mtime", time(head.mtime).as_bytes());
    }
    if let Some(size) = head.sparse {
        record(&mut records, b"GNU.sparse.major", b"1");
        record(&mut records, b"GNU.sparse.minor", b"0");
        record(&mut records, b"GNU.sparse.name", head.path);
        record(&mut records, b"GNU.sparse.realsize", size.to_string().as_bytes());
    }
    for xattr in head.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", xattr.name.as_slice()].concat(), &xattr.value);
    }
    if records.len() > RECORDS_MAX {
        return Err(Error::limit(head.path, "its extended attributes are larger than an archive can hold"));
    }
    let mut blocks = Vec::with_capacity(BLOCK);
    if !records.is_empty() {
        let size = records.len() as u64;
        // The name is for readers that do not know the format, and the same for all.
        let extended = Head { kind: b'x', size, mode: 0o644, ..Head::default() };
        blocks.extend(block(&extended, b"PaxHeaders.0", b"entry"));
        blocks.extend(records);
        blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    }
    blocks.extend(block(head, prefix, name));
    Ok(blocks)
}

/// Prefix and name of a path, if it fits into the two fields.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let from = path.len() - 101;
    // The first slash that leaves a short enough name; one at the very end would leave none.
    let at = path.iter().enumerate().skip(from).find(|&(at, &byte)| byte == b'/' && at + 1 < path.len())?.0;
    (at <= 155 && at > 0)
        .then(|| (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()))
}

/// What of a long path stands in the field of the name, for readers that do not know better.
fn tail(path: &[u8]) -> &[u8] {
    path.get(path.len().saturating_sub(100)..).unwrap_or_default()
}

fn block(head: &Head<'_>, prefix: &[u8], name: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], most: usize| {
        for (to, from) in block.iter_mut().skip(at).take(most).zip(bytes) {
            *to = *from;
        }
    };
    let octal = |value: u64, digits: usize| format!("{value:0digits$o}").into_bytes();
    let seconds = u64::try_from(head.mtime.seconds).unwrap_or(0).min(ELEVEN);
    put(0, name, 100);
    put(100, &octal(u64::from(head.mode & 0o7777), 7), 8);
    put(108, &octal(u64::from(head.uid).min(SEVEN), 7), 8);
    put(116, &octal(u64::from(head.gid).min(SEVEN), 7), 8);
    put(124, &octal(head.size.min(ELEVEN), 11), 12);
    put(136, &octal(seconds, 11), 12);
    put(148, b"        ", 8);
    put(156, &[head.kind], 1);
    put(157, head.link, 100);
    put(257, b"ustar\x0000", 8);
    put(329, &octal(u64::from(head.device.0).min(SEVEN), 7), 8);
    put(337, &octal(u64::from(head.device.1).min(SEVEN), 7), 8);
    put(345, prefix, 155);
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    for (to, from) in block.iter_mut().skip(148).zip(format!("{sum:06o}\0 ").as_bytes()) {
        *to = *from;
    }
    block
}

/// `length keyword=value`, where the length counts itself.
fn record(records: &mut Vec<u8>, keyword: &[u8], value: &[u8]) {
    let rest = keyword.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(keyword);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with a fraction, as a number: before the epoch the fraction counts the other way.
fn time(time: Time) -> String {
    match (time.seconds, time.nanos) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanos) if seconds >= 0 => format!("{seconds}.{nanos:09}"),
        (seconds, nanos) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanos.min(999_999_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_records_are_read_back() {
        for at in [(0, 0), (12, 500_000_000), (-2, 750_000_000), (-3, 0), (-1, 1), (1 << 40, 7)] {
            let at = Time { seconds: at.0, nanos: at.1 };
            assert_eq!(crate::tar::pax_time(time(at).as_bytes()), Ok(at));
        }
        // Around the lengths where the number of digits changes.
        for length in [0, 1, 80, 85, 86, 87, 88, 89, 90, 980, 985, 990, 995, 9990] {
            let mut records = Vec::new();
            record(&mut records, b"k", &vec![b'v'; length]);
            let digits = records.iter().position(|&byte| byte == b' ').unwrap();
            assert_eq!(std::str::from_utf8(&records[..digits]).unwrap().parse(), Ok(records.len()));
        }
    }

    #[test]
    fn paths_are_split_where_they_can_be() {
        assert_eq!(split(&[b'a'; 100]), Some((&b""[..], &[b'a'; 100][..])));
        assert_eq!(split(&[b'a'; 101]), None);
        let path = [&[b'a'; 120][..], b"/", &[b'b'; 100]].concat();
        assert_eq!(split(&path).map(|(a, b)| (a.len(), b.len())), Some((120, 100)));
        let directory = [&[b'a'; 120][..], b"/"].concat();
        assert_eq!(split(&directory), None);
        let far = [&[b'a'; 160][..], b"/b"].concat();
        assert_eq!(split(&far), None);
    }
}
