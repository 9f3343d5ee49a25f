//! The host's journal: an entry for each line that the program writes. Format: systemd's "Native Journal Protocol". What the journal does not take at once is lost there.

use std::os::fd::OwnedFd;

use rustix::net::SendFlags;

/// A line that is longer comes in several entries, as docker has it.
const MAX_LINE: usize = 16 * 1024;

/// The way into the journal.
pub(crate) struct Journald {
    socket: OwnedFd,
    /// The fields of every entry, encoded.
    fields: Vec<u8>,
    /// The line that has not ended yet, of each stream.
    lines: [Vec<u8>; 2],
}

impl Journald {
    pub(crate) fn new(socket: OwnedFd, fields: &[(String, String)]) -> Journald {
        let mut encoded = Vec::new();
        for (name, value) in fields {
            field(&mut encoded, name, value.as_bytes());
        }
        Journald { socket, fields: encoded, lines: [Vec::new(), Vec::new()] }
    }

    /// Takes a piece of a stream.
    pub(crate) fn take(&mut self, number: usize, mut data: &[u8]) {
        while !data.is_empty() {
            let Some(line) = self.lines.get_mut(number) else { return };
            let room = MAX_LINE - line.len();
            let end = data.iter().take(room).position(|byte| *byte == b'\n');
            let taken = end.unwrap_or_else(|| room.min(data.len()));
            let (now, rest) = data.split_at(taken);
            line.extend_from_slice(now);
            data = rest;
            if end.is_some() {
                data = data.get(1..).unwrap_or_default();
                self.send(number, false);
            } else if line.len() >= MAX_LINE {
                self.send(number, true);
            }
        }
    }

    /// Sends what has no end.
    pub(crate) fn finish(&mut self) {
        for number in 0..self.lines.len() {
            if self.lines.get(number).is_some_and(|line| !line.is_empty()) {
                self.send(number, false);
            }
        }
    }

    fn send(&mut self, number: usize, partial: bool) {
        let Some(line) = self.lines.get_mut(number) else { return };
        let mut entry = self.fields.clone();
        // Informational, and errors.
        field(&mut entry, "PRIORITY", if number == 0 { b"6" } else { b"3" });
        if partial {
            field(&mut entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
        }
        field(&mut entry, "MESSAGE", line);
        line.clear();
        let _ = rustix::net::send(&self.socket, &entry, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

/// A value of more than one line comes with its length.
fn field(entry: &mut Vec<u8>, name: &str, value: &[u8]) {
    entry.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value);
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn a_line_is_an_entry() {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
        let fields = [("CONTAINER_NAME".to_owned(), "box".to_owned()), ("A".to_owned(), "x\ny".to_owned())];
        let mut journal = Journald::new(ours, &fields);
        journal.take(0, b"on");
        journal.take(1, b"err\n");
        journal.take(0, b"e\n\nlast");
        journal.finish();
        let mut got = Vec::new();
        for _ in 0..4 {
            let mut buffer = [0; 200];
            let length = rustix::io::read(&theirs, &mut buffer).unwrap();
            got.push(buffer[..length].to_vec());
        }
        let start = b"CONTAINER_NAME=box\nA\n\x03\0\0\0\0\0\0\0x\ny\n";
        let entry = |rest: &str| [&start[..], rest.as_bytes()].concat();
        assert_eq!(got[0], entry("PRIORITY=3\nMESSAGE=err\n"));
        assert_eq!(got[1], entry("PRIORITY=6\nMESSAGE=one\n"));
        assert_eq!(got[2], entry("PRIORITY=6\nMESSAGE=\n"));
        assert_eq!(got[3], entry("PRIORITY=6\nMESSAGE=last\n"));
    }
}
