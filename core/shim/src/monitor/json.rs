//! The form of docker's driver `json-file`: a line of JSON for each line of output, or for a part of one that has no end yet. Bytes that are no text are U+FFFD in it.

use rustix::io::Errno;

/// Docker's bound for a part of a line.
const MAX_PART: usize = 16 * 1024;
/// Days from the beginning of year 0, in the proleptic Gregorian calendar that begins with March, to 1970.
const EPOCH: u64 = 719_468;

/// What each line has besides its text and its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The name of the stream.
    pub(crate) stream: &'a str,
    /// A JSON object.
    pub(crate) attributes: Option<&'a str>,
}

/// Where lines go: to `put`, as soon as there are so many bytes of them, so that it does not matter how much longer they are than what they are of.
pub(crate) struct Lines<P> {
    text: Vec<u8>,
    enough: usize,
    put: P,
}

impl<P: FnMut(&[u8]) -> Result<(), Errno>> Lines<P> {
    pub(crate) fn new(enough: usize, put: P) -> Lines<P> {
        Lines { text: Vec::new(), enough, put }
    }

    fn add(&mut self, part: &[u8], facts: Facts<'_>, time: &str) -> Result<(), Errno> {
        entry(&mut self.text, part, facts, time);
        if self.text.len() >= self.enough { self.end() } else { Ok(()) }
    }

    /// What is left of them.
    pub(crate) fn end(&mut self) -> Result<(), Errno> {
        let put = (self.put)(&self.text);
        self.text.clear();
        put
    }
}

/// Adds the lines for a piece of a stream. `carry` keeps the beginning of a character whose end is in the next piece.
pub(crate) fn encode<P: FnMut(&[u8]) -> Result<(), Errno>>(
    lines: &mut Lines<P>,
    carry: &mut Vec<u8>,
    facts: Facts<'_>,
    time: u64,
    piece: &[u8],
) -> Result<(), Errno> {
    let joined;
    let mut data = piece;
    if !carry.is_empty() {
        joined = [&carry[..], piece].concat();
        data = &joined;
        *carry = Vec::new();
    }
    let whole = data.len() - unfinished(data);
    let (data, rest) = data.split_at(whole);
    carry.extend_from_slice(rest);
    let time = stamp(time);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let mut line = line;
        while !line.is_empty() {
            let mut end = line.len().min(MAX_PART);
            if end < line.len() {
                end -= unfinished(line.get(..end).unwrap_or_default());
            }
            let (part, more) = line.split_at(end);
            lines.add(part, facts, &time)?;
            line = more;
        }
    }
    Ok(())
}

/// Adds what is left of a character that has no end.
pub(crate) fn finish<P: FnMut(&[u8]) -> Result<(), Errno>>(
    lines: &mut Lines<P>,
    carry: &mut Vec<u8>,
    facts: Facts<'_>,
    time: u64,
) -> Result<(), Errno> {
    if carry.is_empty() {
        return Ok(());
    }
    lines.add(&std::mem::take(carry), facts, &stamp(time))
}

/// The bytes at the end that are the beginning of a character.
fn unfinished(data: &[u8]) -> usize {
    let tail = data.get(data.len().saturating_sub(3)..).unwrap_or_default();
    for (n, byte) in tail.iter().rev().enumerate() {
        let needed = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => return 0,
        };
        return if n + 1 < needed { n + 1 } else { 0 };
    }
    0
}

fn entry(out: &mut Vec<u8>, text: &[u8], facts: Facts<'_>, time: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' => out.extend_from_slice(b"\\\""),
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                byte => out.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(b"\",\"stream\":\"");
    out.extend_from_slice(facts.stream.as_bytes());
    if let Some(attributes) = facts.attributes {
        out.extend_from_slice(b"\",\"attrs\":");
        out.extend_from_slice(attributes.as_bytes());
        out.extend_from_slice(b",\"time\":\"");
    } else {
        out.extend_from_slice(b"\",\"time\":\"");
    }
    out.extend_from_slice(time.as_bytes());
    out.extend_from_slice(b"\"}\n");
}

/// RFC 3339, of nanoseconds since the epoch.
fn stamp(time: u64) -> String {
    let (seconds, nanos) = (time / 1_000_000_000, time % 1_000_000_000);
    let (days, second) = (seconds / 86_400 + EPOCH, seconds % 86_400);
    // Howard Hinnant's algorithm: in eras of 400 years, with years that begin with March.
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(pieces: &[&[u8]], facts: Facts<'_>, enough: usize) -> Vec<String> {
        let mut put = Vec::new();
        let mut lines = Lines::new(enough, |text: &[u8]| {
            put.push(String::from_utf8(text.to_vec()).unwrap());
            Ok(())
        });
        let mut carry = Vec::new();
        for piece in pieces {
            encode(&mut lines, &mut carry, facts, 0, piece).unwrap();
        }
        finish(&mut lines, &mut carry, facts, 0).unwrap();
        lines.end().unwrap();
        put
    }

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let facts = Facts { stream: "stdout", attributes: None };
        let text = encoded(pieces, facts, usize::MAX).concat();
        assert_eq!(encoded(pieces, facts, 1).concat(), text);
        let end = r#"","stream":"stdout","time":"1970-01-01T00:00:00.000000000Z"}"#;
        let cut =
            |line: &str| line.strip_prefix(r#"{"log":""#).unwrap().strip_suffix(end).unwrap().to_owned();
        text.lines().map(cut).collect()
    }

    #[test]
    fn lines_and_parts_of_lines() {
        assert_eq!(lines(&[b"a\nb", b"c\n\n"]), [r"a\n", "b", r"c\n", r"\n"]);
        assert_eq!(lines(&[b"\"\\\t\x01\r\n"]), [r#"\"\\\t\u0001\r\n"#]);
        let long = [b'x'; MAX_PART + 1];
        assert_eq!(lines(&[&long]).iter().map(String::len).collect::<Vec<_>>(), [MAX_PART, 1]);
    }

    #[test]
    fn characters_may_come_in_pieces_and_bytes_need_not_be_any() {
        assert_eq!(lines(&["\u{e4}".as_bytes()]), ["\u{e4}"]);
        assert_eq!(lines(&[b"x\xf0\x9f", b"\x98\x80y"]), ["x", "\u{1f600}y"]);
        assert_eq!(lines(&[b"\xff\xc3"]), ["\u{fffd}", "\u{fffd}"]);
        assert_eq!(lines(&[b"\xc3("]), ["\u{fffd}("]);
    }

    #[test]
    fn attributes_come_before_the_time() {
        let facts = Facts { stream: "stderr", attributes: Some(r#"{"tag":"x"}"#) };
        let line =
            r#"{"log":"a\n","stream":"stderr","attrs":{"tag":"x"},"time":"1970-01-01T00:00:00.000000000Z"}"#;
        assert_eq!(encoded(&[b"a\n"], facts, usize::MAX).concat().trim_end(), line);
    }

    #[test]
    fn many_lines_come_in_pieces() {
        let attributes = "x".repeat(4000);
        let facts = Facts { stream: "stdout", attributes: Some(&attributes) };
        let put = encoded(&[&[b'\n'; MAX_PART]], facts, 64 << 10);
        assert!(put.iter().all(|text| text.len() < 70_000 && (text.ends_with('\n') || text.is_empty())));
        assert_eq!(put.concat().lines().count(), MAX_PART);
    }

    #[test]
    fn times() {
        assert_eq!(stamp(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
        assert_eq!(stamp(1_767_225_599_999_999_999), "2025-12-31T23:59:59.999999999Z");
        assert_eq!(stamp(4_107_542_399_000_000_000), "2100-02-28T23:59:59.000000000Z");
    }
}
