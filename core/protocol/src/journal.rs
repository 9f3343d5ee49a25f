//! What happens to a container while perhaps no engine looks: the monitor keeps it in a file of the run directory, until one does.
//!
//! A record is a little-endian `u32` length, a `u64` number, a `u64` time (nanoseconds since the epoch), and a postcard message of that length. Numbers grow by
//! one from record to record, over all runs of the container, so that whoever takes records over knows which ones are new. Before the first record stands the
//! [`VERSION`](crate::VERSION) as a little-endian `u32`. A file that has grown to [`JOURNAL_BYTES`] becomes [`JOURNAL_OLD`]: what nobody has looked at for
//! so long is lost.

use serde::{Deserialize, Serialize};

use crate::{Exit, HealthStatus, ProtocolError, VERSION};

/// The name of the journal in the container's run directory.
pub const JOURNAL: &str = "journal";
/// The name of the one before.
pub const JOURNAL_OLD: &str = "journal.old";
/// How long a journal gets.
pub const JOURNAL_BYTES: u64 = 64 * 1024;
/// The longest command that a record keeps, in bytes.
const MAX_COMMAND: usize = 1024;
/// Length, number, time.
const HEADER: usize = 4 + 8 + 8;
/// The longest record: with a command that was shortened, its length, and a number.
const LONGEST: usize = HEADER + 1 + 5 + 2 + MAX_COMMAND + '…'.len_utf8();
/// How many records are kept at least, whatever they are.
pub const JOURNAL_RECORDS: u64 = JOURNAL_BYTES / LONGEST as u64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Happening {
    /// Somebody sent the program a signal.
    Kill(i32),
    /// Another program is to be started, with this number among those of the monitor, by this command line (shortened).
    ExecCreate(u32, String),
    /// It runs.
    ExecStart(u32, String),
    /// It ended, with this exit code.
    ExecDie(u32, i32),
    /// The program ended, and is to be started again.
    Died(Exit),
    /// It was started again.
    Started,
    /// The result of health checks is another one.
    Health(HealthStatus),
    /// Whoever started another program, with this number, has left it.
    ExecDetach(u32),
    /// The kernel has killed programs of the container for want of memory.
    OutOfMemory,
}

impl Happening {
    /// A command line as records have it.
    pub fn command(argv: &[Vec<u8>]) -> String {
        let mut text = String::new();
        for word in argv {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&String::from_utf8_lossy(word));
            if text.len() > MAX_COMMAND {
                let end = (0..=MAX_COMMAND).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
                text.truncate(end);
                text.push('…');
                break;
            }
        }
        text
    }
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub number: u64,
    /// Nanoseconds since the epoch.
    pub time: u64,
    /// What happened.
    pub what: Happening,
}

impl Record {
    /// The beginning of a journal.
    pub fn head() -> [u8; 4] {
        VERSION.to_le_bytes()
    }

    /// The bytes of the record.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let body = postcard::to_stdvec(&self.what).map_err(|_| ProtocolError::Malformed)?;
        let length = u32::try_from(body.len()).map_err(|_| ProtocolError::TooLarge)?;
        let mut out = Vec::with_capacity(HEADER + body.len());
        out.extend(length.to_le_bytes());
        out.extend(self.number.to_le_bytes());
        out.extend(self.time.to_le_bytes());
        out.extend(body);
        Ok(out)
    }

    /// The records of a journal whose numbers are greater than `after`. What is not whole, or of another version, is left out.
    pub fn decode(bytes: &[u8], after: u64) -> Vec<Record> {
        let mut records = Vec::new();
        let Some((version, mut rest)) = bytes.split_first_chunk::<4>() else { return records };
        if u32::from_le_bytes(*version) != VERSION {
            return records;
        }
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let Some((number, tail)) = tail.split_first_chunk::<8>() else { break };
            let Some((time, tail)) = tail.split_first_chunk::<8>() else { break };
            let Some((body, tail)) = tail.split_at_checked(u32::from_le_bytes(*length) as usize) else {
                break;
            };
            rest = tail;
            let (number, time) = (u64::from_le_bytes(*number), u64::from_le_bytes(*time));
            if number > after
                && let Ok(what) = postcard::from_bytes(body)
            {
                records.push(Record { number, time, what });
            }
        }
        records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_far_as_they_are_whole() {
        let record = |number, what| Record { number, time: 5, what };
        let all = [record(3, Happening::Kill(15)), record(4, Happening::ExecDie(1, 7))];
        let mut bytes = Record::head().to_vec();
        for record in &all {
            bytes.extend(record.encode().unwrap());
        }
        assert_eq!(Record::decode(&bytes, 0), all);
        assert_eq!(Record::decode(&bytes, 3), all[1..]);
        assert_eq!(Record::decode(&bytes[..bytes.len() - 1], 0), all[..1]);
        assert_eq!(Record::decode(&bytes[..3], 0), []);
        assert_eq!(Record::decode(&[9; 40], 0), []);
    }

    #[test]
    fn commands_are_shortened_between_characters() {
        assert_eq!(Happening::command(&[b"ls".to_vec(), b"-l".to_vec()]), "ls -l");
        let long = Happening::command(&["é".repeat(2000).into_bytes()]);
        assert!(long.len() <= MAX_COMMAND + 3 && long.ends_with("é…"));
        let longest = Happening::ExecCreate(u32::MAX, Happening::command(&[vec![b'x'; 2000]]));
        assert_eq!(Record { number: 1, time: 1, what: longest }.encode().unwrap().len(), LONGEST);
    }
}
