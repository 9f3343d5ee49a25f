//! PAX extended header records: `length keyword=value\n`.

use super::sparse::{self, Segment};
use super::{Time, Xattr, header};

/// The kernel's bounds on extended attributes, and ours on how many one entry has.
const XATTR_NAME_MAX: usize = 255;
const XATTR_VALUE_MAX: usize = 64 << 10;
const XATTRS_MAX: usize = 512;

/// What the records say that matters here.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Time>,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// The records of a sparse file, of all three versions.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    major: Option<u64>,
    minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    size: Option<u64>,
    blocks: Option<u64>,
    map: Option<Vec<Segment>>,
    /// Version 0.0: pairs of records, in order.
    pairs: Vec<Segment>,
    half: Option<u64>,
}

const BAD_RECORD: &str = "a record of an extended header is malformed";
const TWICE: &str = "a keyword stands twice in an extended header";

/// A decimal number without sign.
pub(super) fn decimal(text: &[u8]) -> Result<u64, &'static str> {
    if text.is_empty() || text.len() > 20 {
        return Err("a number in an extended header is malformed");
    }
    text.iter()
        .try_fold(0u64, |value, &digit| match digit {
            b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
        .ok_or("a number in an extended header is malformed")
}

fn size(text: &[u8]) -> Result<u64, &'static str> {
    // Sizes and offsets are signed in the kernel.
    decimal(text)
        .and_then(|value| if value > i64::MAX as u64 { Err("a size is out of range") } else { Ok(value) })
}

fn id(text: &[u8]) -> Result<u32, &'static str> {
    decimal(text).and_then(|value| header::id(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn name(text: &[u8]) -> Result<Vec<u8>, &'static str> {
    if text.is_empty() {
        return Err("a name in an extended header is empty");
    }
    if text.contains(&0) {
        return Err("a name in an extended header has a NUL byte");
    }
    Ok(text.to_vec())
}

/// Seconds with an optional fraction, of which nanoseconds are kept.
pub(crate) fn time(text: &[u8]) -> Result<Time, &'static str> {
    const BAD: &str = "a time in an extended header is malformed";
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(dot) => (text.get(..dot).unwrap_or_default(), text.get(dot + 1..).unwrap_or_default()),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole).map_err(|_| BAD)?).map_err(|_| BAD)?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let nanos =
        (0..9).fold(0, |value, at| value * 10 + u32::from(fraction.get(at).map_or(0, |digit| digit - b'0')));
    Ok(match (negative, nanos) {
        (false, _) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos },
        (true, _) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TWICE),
    }
}

impl Pax {
    /// Reads the records of one header.
    pub(super) fn parse(mut data: &[u8]) -> Result<Pax, &'static str> {
        let mut pax = Pax::default();
        while !data.is_empty() {
            let space = data.iter().take(21).position(|&byte| byte == b' ').ok_or(BAD_RECORD)?;
            let length = data.get(..space).map(decimal).transpose()?.unwrap_or_default();
            let length = usize::try_from(length).map_err(|_| BAD_RECORD)?;
            let [body @ .., b'\n'] = data.get(space + 1..length).ok_or(BAD_RECORD)? else {
                return Err(BAD_RECORD);
            };
            let equals = body.iter().position(|&byte| byte == b'=').ok_or(BAD_RECORD)?;
            let (keyword, value) =
                (body.get(..equals).unwrap_or_default(), body.get(equals + 1..).unwrap_or_default());
            if keyword.is_empty() || keyword.contains(&0) {
                return Err(BAD_RECORD);
            }
            pax.record(keyword, value)?;
            data = data.get(length..).unwrap_or_default();
        }
        if pax.sparse.half.is_some() {
            return Err("the map of a sparse file is malformed");
        }
        Ok(pax)
    }

    fn record(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match keyword {
            b"path" => set(&mut self.path, name(value)?),
            b"linkpath" => set(&mut self.link, name(value)?),
            b"size" => set(&mut self.size, size(value)?),
            b"uid" => set(&mut self.uid, id(value)?),
            b"gid" => set(&mut self.gid, id(value)?),
            b"mtime" => set(&mut self.mtime, time(value)?),
            _ => {
                if let Some(attribute) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(attribute, value)
                } else if let Some(keyword) = keyword.strip_prefix(b"GNU.sparse.") {
                    self.sparse.record(keyword, value)
                } else {
                    // Names of users and groups, other times, comments, vendors' own: nothing that a layer is made of.
                    Ok(())
                }
            }
        }
    }

    fn xattr(&mut self, attribute: &[u8], value: &[u8]) -> Result<(), &'static str> {
        if attribute.is_empty() || attribute.len() > XATTR_NAME_MAX {
            return Err("the name of an extended attribute is empty or too long");
        }
        if value.len() > XATTR_VALUE_MAX {
            return Err("an extended attribute is too long");
        }
        if self.xattrs.len() == XATTRS_MAX {
            return Err("too many extended attributes");
        }
        if self.xattrs.iter().any(|known| known.name == attribute) {
            return Err(TWICE);
        }
        self.xattrs.push(Xattr { name: attribute.to_vec(), value: value.to_vec() });
        Ok(())
    }

    /// Takes over a global header. One that says something about names or sizes is refused: half of the tools would not apply it.
    pub(super) fn merge_global(&mut self, other: Pax) -> Result<(), &'static str> {
        if other.path.is_some()
            || other.link.is_some()
            || other.size.is_some()
            || other.sparse.any()
            || !other.xattrs.is_empty()
        {
            return Err("a global header that changes names, sizes or attributes");
        }
        self.uid = other.uid.or(self.uid);
        self.gid = other.gid.or(self.gid);
        self.mtime = other.mtime.or(self.mtime);
        Ok(())
    }
}

impl Sparse {
    pub(super) fn any(&self) -> bool {
        self.major.is_some()
            || self.minor.is_some()
            || self.name.is_some()
            || self.real_size.is_some()
            || self.size.is_some()
            || self.blocks.is_some()
            || self.map.is_some()
            || !self.pairs.is_empty()
    }

    fn record(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), &'static str> {
        match keyword {
            b"major" => set(&mut self.major, decimal(value)?),
            b"minor" => set(&mut self.minor, decimal(value)?),
            b"name" => set(&mut self.name, name(value)?),
            b"realsize" => set(&mut self.real_size, size(value)?),
            b"size" => set(&mut self.size, size(value)?),
            b"numblocks" => set(&mut self.blocks, decimal(value)?),
            b"map" => set(&mut self.map, sparse::comma_map(value)?),
            b"offset" => set(&mut self.half, size(value)?),
            b"numbytes" => {
                let offset = self.half.take().ok_or("the map of a sparse file is malformed")?;
                sparse::push(&mut self.pairs, Segment { offset, length: size(value)? })
            }
            _ => Err("an unknown record of a sparse file"),
        }
    }

    /// Whether the map stands before the data (version 1.0). Refuses what is of no version or of two.
    pub(super) fn in_data(&self) -> Result<bool, &'static str> {
        let old =
            self.size.is_some() || self.blocks.is_some() || self.map.is_some() || !self.pairs.is_empty();
        match (self.major, self.minor) {
            (Some(1), Some(0)) if self.real_size.is_some() && self.name.is_some() && !old => Ok(true),
            (None, None) | (Some(0), Some(0 | 1)) if self.real_size.is_none() && old => Ok(false),
            _ => Err("a sparse file of an unknown version"),
        }
    }

    /// Map and size of the versions 0.0 and 0.1.
    pub(super) fn map(self) -> Result<(Vec<Segment>, u64), &'static str> {
        const BAD: &str = "the map of a sparse file is malformed";
        let size = self.size.ok_or(BAD)?;
        let segments = match self.map {
            Some(_) if !self.pairs.is_empty() => return Err(BAD),
            Some(map) => map,
            None => self.pairs,
        };
        if self.blocks != Some(segments.len() as u64) {
            return Err(BAD);
        }
        Ok((segments, size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time(b"12.5"), Ok(Time { seconds: 12, nanos: 500_000_000 }));
        assert_eq!(time(b"0"), Ok(Time { seconds: 0, nanos: 0 }));
        assert_eq!(time(b"1.1234567899"), Ok(Time { seconds: 1, nanos: 123_456_789 }));
        assert_eq!(time(b"-1.25"), Ok(Time { seconds: -2, nanos: 750_000_000 }));
        assert_eq!(time(b"-3"), Ok(Time { seconds: -3, nanos: 0 }));
        for bad in [&b""[..], b"-", b".5", b"1e3", b"1.x", b"99999999999999999999", b" 1"] {
            assert!(time(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn records_are_strict() {
        let good = b"13 path=a/bc\n20 comment=whatever\n";
        assert_eq!(Pax::parse(good).unwrap().path, Some(b"a/bc".to_vec()));
        for bad in [
            &b"12 path=a/bc\n"[..],
            b"14 path=a/bc\n",
            b"13 path=a/bc ",
            b"+3 path=a/bc\n",
            b"013 path=a/bc",
            b"8 =a/bc\n",
            b"6 pat\n",
            b"3 \n",
            b"0 \n",
            b" 13 path=a/bc\n",
            b"13 path=a/bc\n13 path=a/bd\n",
            b"13 path=a/bc\n\0\0\0",
            b"8 path=\n",
            b"10 path=\0\n",
            b"99999999999999999999 path=a\n",
            b"10 size=-1\n",
            b"10 size=+1\n",
            b"11 size=0x1\n",
            b"28 size=9223372036854775808\n",
            b"19 uid=4294967295\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
