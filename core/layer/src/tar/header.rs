//! One header block: fields and numbers.

use super::Time;

pub(super) const BLOCK: usize = 512;

/// Which dialect a header is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V7,
    Ustar,
    Gnu,
}

/// The fields of a header, before extensions.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) family: Family,
    pub(super) kind: u8,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    /// With the file type bits that some writers leave in it.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Time,
}

fn field(block: &[u8; BLOCK], offset: usize, length: usize) -> &[u8] {
    block.get(offset..offset + length).unwrap_or_default()
}

/// The text of a field up to its NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    field.get(..end).unwrap_or_default()
}

/// The text of a long name, which ends with NUL bytes and has none inside.
pub(super) fn terminated(data: &[u8]) -> Result<&[u8], &'static str> {
    let name = text(data);
    if data.get(name.len()..).unwrap_or_default().iter().any(|&byte| byte != 0) {
        return Err("a long name has a NUL byte");
    }
    if name.is_empty() {
        return Err("a long name is empty");
    }
    Ok(name)
}

/// A number in octal, or in base 256 if its first bit is set. Blank is None.
pub(super) fn number(field: &[u8]) -> Result<Option<i64>, &'static str> {
    const BAD: &str = "a header field is not a number";
    match field.first() {
        Some(&first @ (0x80 | 0xff)) => {
            let start: i128 = if first == 0xff { -1 } else { 0 };
            // At most twelve bytes, so this does not overflow.
            let value = field.iter().skip(1).fold(start, |value, &byte| (value << 8) | i128::from(byte));
            i64::try_from(value).map(Some).map_err(|_| "a number in a header is too large")
        }
        Some(0x81..) => Err(BAD),
        _ => {
            let start = field.iter().position(|&byte| byte != b' ').unwrap_or(field.len());
            let rest = field.get(start..).unwrap_or_default();
            let digits = rest.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
            if rest.iter().skip(digits).any(|&byte| byte != 0 && byte != b' ') {
                return Err(BAD);
            }
            if digits == 0 {
                return Ok(None);
            }
            Ok(Some(rest.iter().take(digits).fold(0, |value, &digit| (value << 3) | i64::from(digit - b'0'))))
        }
    }
}

/// The two numbers of a device.
pub(super) fn device(block: &[u8; BLOCK]) -> Result<(u32, u32), &'static str> {
    // What the kernel can hold.
    let part = |offset, most: i64| match number(field(block, offset, 8))? {
        Some(value) if (0..=most).contains(&value) => Ok(value as u32),
        None => Ok(0),
        _ => Err("a device number is out of range"),
    };
    Ok((part(329, 0xfff)?, part(337, 0xf_ffff)?))
}

/// An id as the kernel knows it; the last number means "no change" there.
pub(super) fn id(value: i64) -> Result<u32, &'static str> {
    u32::try_from(value).ok().filter(|&id| id != u32::MAX).ok_or("a user or group id is out of range")
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Header, &'static str> {
        let checksum = number(field(block, 148, 8))?.ok_or("a header has no checksum")?;
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (at, &byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { byte };
            unsigned += i64::from(byte);
            // Some old writers summed signed characters.
            signed += i64::from(byte as i8);
        }
        if checksum != unsigned && checksum != signed {
            return Err("the checksum of a header is wrong");
        }
        let family = match field(block, 257, 8) {
            b"ustar  \0" => Family::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Family::Ustar,
            [b'u', b's', b't', b'a', b'r', ..] => return Err("a header of an unknown format"),
            _ => Family::V7,
        };
        let kind = field(block, 156, 1).first().copied().unwrap_or_default();
        // GNU's own times, which some read as the prefix of a name.
        if family == Family::Gnu && kind != b'S' && field(block, 345, 24).iter().any(|&byte| byte != 0) {
            return Err("a header with access times in the place of a name");
        }
        let mut path = Vec::new();
        if family == Family::Ustar {
            let prefix = text(field(block, 345, 155));
            // The star format has times in the last bytes of this field.
            if prefix.len() > 130 && field(block, 508, 4) == b"tar\0" {
                return Err("a header of an unknown format");
            }
            if !prefix.is_empty() {
                path.extend_from_slice(prefix);
                path.push(b'/');
            }
        }
        path.extend_from_slice(text(field(block, 0, 100)));
        let size = number(field(block, 124, 12))?.ok_or("a header has no size")?;
        if family != Family::V7 {
            // Used for devices only, but others refuse every header in which they are no numbers.
            number(field(block, 329, 8))?;
            number(field(block, 337, 8))?;
        }
        Ok(Header {
            family,
            kind,
            path,
            link: text(field(block, 157, 100)).to_vec(),
            mode: u32::try_from(number(field(block, 100, 8))?.unwrap_or(0))
                .map_err(|_| "a mode is out of range")?,
            uid: id(number(field(block, 108, 8))?.unwrap_or(0))?,
            gid: id(number(field(block, 116, 8))?.unwrap_or(0))?,
            size: u64::try_from(size).map_err(|_| "a size is negative")?,
            mtime: Time { seconds: number(field(block, 136, 12))?.unwrap_or(0), nanos: 0 },
        })
    }
}
