//! Writing a tree as a tar: the same tree gives the same bytes.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};

use super::tree::{Node, Tree};
use crate::cancel::CancelToken;
use crate::content::Writer;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::progress::{Meter, ProgressKind};

const BLOCK: usize = 512;
/// The largest number of a twelve-byte field.
const MAX_OCTAL: u64 = 0o777_7777_7777;

/// The fields of a header that differ.
struct Header<'a> {
    kind: u8,
    path: &'a [u8],
    link: &'a [u8],
    mode: u32,
    mtime: i64,
    size: u64,
}

/// Writes the whole tree. Everything belongs to root.
pub(super) fn write(
    tree: &Tree,
    output: &mut Writer<'_>,
    meter: &Meter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let mut seen: HashMap<(u64, u64), &PathBuf> = HashMap::new();
    for (path, node) in &tree.nodes {
        cancel.check()?;
        let name = path.as_os_str().as_bytes();
        match node {
            Node::Directory { mode } => {
                let name = [name, b"/"].concat();
                header(
                    output,
                    &Header { kind: b'5', path: &name, link: b"", mode: *mode, mtime: 0, size: 0 },
                )?;
            }
            Node::Link(target) => {
                let link = target.as_os_str().as_bytes();
                header(output, &Header { kind: b'2', path: name, link, mode: 0o777, mtime: 0, size: 0 })?;
            }
            Node::Text { content, mode } => {
                let size = content.len() as u64;
                header(output, &Header { kind: b'0', path: name, link: b"", mode: *mode, mtime: 0, size })?;
                output.append(content)?;
                pad(output, size)?;
            }
            Node::File { host, mode, mtime, size, identity } => {
                if let Some(first) = seen.get(identity) {
                    let link = first.as_os_str().as_bytes();
                    header(
                        output,
                        &Header { kind: b'1', path: name, link, mode: *mode, mtime: *mtime, size: 0 },
                    )?;
                    continue;
                }
                seen.insert(*identity, path);
                header(
                    output,
                    &Header { kind: b'0', path: name, link: b"", mode: *mode, mtime: *mtime, size: *size },
                )?;
                copy(output, host, (*size, *identity), meter, cancel)?;
                pad(output, *size)?;
            }
        }
    }
    output.append(&[0; BLOCK * 2])
}

/// Copies a file of the host, which has to be the one that was looked at before.
fn copy(
    output: &mut Writer<'_>,
    host: &Path,
    (size, identity): (u64, (u64, u64)),
    meter: &Meter<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let changed = || {
        Error::new(ErrorKind::InvalidState, format!("\"{}\" changed while it was read", host.display()))
            .with_object(host.to_string_lossy())
            .with_hint("try again when nobody writes to it")
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(host, flags, Mode::empty()).call("open", host)?;
    let stat = rustix::fs::fstat(&fd).call("fstat", host)?;
    let same = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && (stat.st_dev, stat.st_ino) == identity;
    if !same || u64::try_from(stat.st_size).ok() != Some(size) {
        return Err(changed());
    }
    let mut file = std::fs::File::from(fd);
    let mut buffer = vec![0; 256 * 1024];
    let mut left = size;
    while left > 0 {
        cancel.check()?;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = match file.read(buffer.get_mut(..want).unwrap_or_default()) {
            Ok(0) => return Err(changed()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io("read", host, &error)),
        };
        output.append(buffer.get(..count).unwrap_or_default())?;
        left -= count as u64;
        meter.advance(count as u64, ProgressKind::Read);
    }
    Ok(())
}

fn pad(output: &mut Writer<'_>, size: u64) -> Result<()> {
    let rest = (size % BLOCK as u64) as usize;
    if rest == 0 { Ok(()) } else { output.append(&[0; BLOCK][rest..]) }
}

/// Writes a ustar header, with an extended one before it if something does not fit.
fn header(output: &mut Writer<'_>, header: &Header<'_>) -> Result<()> {
    let mut records = Vec::new();
    if header.path.len() > 100 {
        record(&mut records, b"path", header.path);
    }
    if header.link.len() > 100 {
        record(&mut records, b"linkpath", header.link);
    }
    if header.size > MAX_OCTAL {
        record(&mut records, b"size", header.size.to_string().as_bytes());
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        let extended = Header { kind: b'x', path: b"PaxHeader", link: b"", mode: 0o644, mtime: 0, size };
        output.append(&block(&extended))?;
        output.append(&records)?;
        pad(output, size)?;
    }
    output.append(&block(header))
}

/// `length key=value\n`, where the length counts itself.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn block(header: &Header<'_>) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, most: usize, bytes: &[u8]| {
        let count = bytes.len().min(most);
        if let (Some(to), Some(from)) = (block.get_mut(at..at + count), bytes.get(..count)) {
            to.copy_from_slice(from);
        }
    };
    // A name that does not fit is in the extended header; the directory's slash must not be cut off from the short form.
    let name = if header.path.len() <= 100 { header.path } else { shortened(header.path) };
    put(0, 100, name);
    put(100, 8, format!("{:07o}\0", header.mode).as_bytes());
    put(108, 8, b"0000000\0");
    put(116, 8, b"0000000\0");
    let size = if header.size > MAX_OCTAL { 0 } else { header.size };
    put(124, 12, format!("{size:011o}\0").as_bytes());
    let mtime = u64::try_from(header.mtime).unwrap_or(0).min(MAX_OCTAL);
    put(136, 12, format!("{mtime:011o}\0").as_bytes());
    put(148, 8, b"        ");
    put(156, 1, &[header.kind]);
    put(
        157,
        100,
        if header.link.len() <= 100 { header.link } else { header.link.get(..100).unwrap_or_default() },
    );
    put(257, 8, b"ustar\x0000");
    put(329, 8, b"0000000\0");
    put(337, 8, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    let text = format!("{sum:06o}\0 ");
    if let Some(field) = block.get_mut(148..156) {
        field.copy_from_slice(text.as_bytes());
    }
    block
}

fn shortened(path: &[u8]) -> &[u8] {
    match path {
        // The end, so that a slash there stays.
        [.., b'/'] => path.get(path.len() - 100..).unwrap_or(path),
        _ => path.get(..100).map(|path| path.strip_suffix(b"/").unwrap_or(path)).unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for length in [1, 90, 91, 92, 93, 990, 991, 992, 9985, 9990] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; length]);
            let text = String::from_utf8(records.clone()).unwrap();
            assert_eq!(text.split(' ').next().unwrap().parse::<usize>().unwrap(), records.len());
        }
    }
}
