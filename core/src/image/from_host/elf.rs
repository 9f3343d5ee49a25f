//! What an ELF file says about the libraries it needs. Reads headers by position, within bounds; maps and runs nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The most program headers, bytes of the dynamic section, libraries, and bytes of one string.
const MAX_HEADERS: u64 = 1024;
const MAX_DYNAMIC: u64 = 1 << 20;
const MAX_NEEDED: usize = 4096;
const MAX_STRING: usize = 4096;

/// What has to be the same for two files to be loaded into one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) is_64: bool,
    pub(super) little: bool,
    pub(super) machine: u16,
}

/// The part of an ELF file that the dynamic loader looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elf {
    pub(super) target: Target,
    pub(super) interpreter: Option<String>,
    pub(super) needed: Vec<String>,
    pub(super) soname: Option<String>,
    pub(super) rpath: Option<String>,
    pub(super) runpath: Option<String>,
}

impl Elf {
    /// Reads a file. None if it is no ELF file of a program or library; an error says what is wrong with it.
    pub(super) fn read(file: &File) -> std::io::Result<Result<Option<Elf>, &'static str>> {
        let mut header = [0; 64];
        let got = read_at_most(file, &mut header, 0)?;
        if got < 52 || !header.starts_with(b"\x7fELF") {
            return Ok(Ok(None));
        }
        let target = match (header[4], header[5]) {
            (class @ (1 | 2), data @ (1 | 2)) => {
                let little = data == 1;
                Target { is_64: class == 2, little, machine: number(&header[18..20], little) as u16 }
            }
            _ => return Ok(Err("it has an unknown class or byte order")),
        };
        Parser { file, target }.parse(&header)
    }
}

struct Parser<'a> {
    file: &'a File,
    target: Target,
}

struct Segment {
    offset: u64,
    address: u64,
    size: u64,
}

impl Parser<'_> {
    fn number(&self, bytes: &[u8], at: usize, size: usize) -> u64 {
        bytes.get(at..at + size).map_or(0, |bytes| number(bytes, self.target.little))
    }

    fn parse(&self, header: &[u8; 64]) -> std::io::Result<Result<Option<Elf>, &'static str>> {
        let wide = self.target.is_64;
        // Executables and shared objects; object files and core dumps need nothing.
        if !matches!(self.number(header, 16, 2), 2 | 3) {
            return Ok(Ok(None));
        }
        let (start, size, count) = if wide {
            (self.number(header, 32, 8), self.number(header, 54, 2), self.number(header, 56, 2))
        } else {
            (self.number(header, 28, 4), self.number(header, 42, 2), self.number(header, 44, 2))
        };
        let least = if wide { 56 } else { 32 };
        if count == 0 {
            return Ok(Err("it has no program headers"));
        }
        if count > MAX_HEADERS || size < least || size > 4096 {
            return Ok(Err("its program headers are malformed"));
        }
        let mut table = vec![0; (size * count) as usize];
        if read_at_most(self.file, &mut table, start)? < table.len() {
            return Ok(Err("it is truncated"));
        }
        let mut elf = Elf {
            target: self.target,
            interpreter: None,
            needed: Vec::new(),
            soname: None,
            rpath: None,
            runpath: None,
        };
        let mut loads = Vec::new();
        let mut dynamic = None;
        for entry in table.chunks_exact(size as usize) {
            let segment = if wide {
                Segment {
                    offset: self.number(entry, 8, 8),
                    address: self.number(entry, 16, 8),
                    size: self.number(entry, 32, 8),
                }
            } else {
                Segment {
                    offset: self.number(entry, 4, 4),
                    address: self.number(entry, 8, 4),
                    size: self.number(entry, 16, 4),
                }
            };
            match self.number(entry, 0, 4) {
                1 => loads.push(segment),
                2 => dynamic = Some(segment),
                3 => {
                    let Some(text) = self.string(segment.offset, segment.size)? else {
                        return Ok(Err("the name of its interpreter is malformed"));
                    };
                    elf.interpreter = Some(text);
                }
                _ => {}
            }
        }
        match dynamic {
            Some(dynamic) => Ok(self.dynamic(&mut elf, &dynamic, &loads)?.map(|()| Some(elf))),
            None => Ok(Ok(Some(elf))),
        }
    }

    fn dynamic(
        &self,
        elf: &mut Elf,
        segment: &Segment,
        loads: &[Segment],
    ) -> std::io::Result<Result<(), &'static str>> {
        if segment.size > MAX_DYNAMIC {
            return Ok(Err("its dynamic section is too large"));
        }
        let mut table = vec![0; segment.size as usize];
        let got = read_at_most(self.file, &mut table, segment.offset)?;
        table.truncate(got);
        let word = if self.target.is_64 { 8 } else { 4 };
        let mut strings = None;
        let mut wanted = Vec::new();
        for entry in table.chunks_exact(word * 2) {
            let (tag, value) = (self.number(entry, 0, word), self.number(entry, word, word));
            match tag {
                0 => break,
                5 => strings = Some(value),
                1 | 14 | 15 | 29 => wanted.push((tag, value)),
                _ => {}
            }
        }
        if wanted.is_empty() {
            return Ok(Ok(()));
        }
        if wanted.len() > MAX_NEEDED {
            return Ok(Err("it needs too many libraries"));
        }
        let place = strings.and_then(|address| {
            let load =
                loads.iter().find(|load| address >= load.address && address - load.address < load.size)?;
            load.offset.checked_add(address - load.address)
        });
        let Some(place) = place else { return Ok(Err("its string table is not in the file")) };
        for (tag, value) in wanted {
            let at = place.checked_add(value);
            let text = match at {
                Some(at) => self.string(at, MAX_STRING as u64)?,
                None => None,
            };
            let Some(text) = text else { return Ok(Err("a name in its dynamic section is malformed")) };
            match tag {
                1 => elf.needed.push(text),
                14 => elf.soname = Some(text),
                15 => elf.rpath = Some(text),
                _ => elf.runpath = Some(text),
            }
        }
        Ok(Ok(()))
    }

    /// A terminated string.
    fn string(&self, at: u64, most: u64) -> std::io::Result<Option<String>> {
        let mut bytes = vec![0; MAX_STRING.min(usize::try_from(most).unwrap_or(MAX_STRING))];
        let got = read_at_most(self.file, &mut bytes, at)?;
        bytes.truncate(got);
        let Some(end) = bytes.iter().position(|byte| *byte == 0) else { return Ok(None) };
        bytes.truncate(end);
        Ok(String::from_utf8(bytes).ok())
    }
}

fn number(bytes: &[u8], little: bool) -> u64 {
    let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
}

fn read_at_most(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // Positions beyond what the kernel takes are beyond every file.
        let Some(position) = at.checked_add(filled as u64).filter(|at| *at <= i64::MAX as u64) else { break };
        match file.read_at(rest, position) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_itself_is_read() {
        let elf = Elf::read(&File::open("/proc/self/exe").unwrap()).unwrap().unwrap().unwrap();
        assert!(elf.target.is_64 == cfg!(target_pointer_width = "64"));
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.")), "{elf:?}");
        assert!(elf.interpreter.is_some_and(|path| path.starts_with('/')));
    }

    #[test]
    fn damaged_files_are_errors_and_other_files_are_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let read = |bytes: &[u8]| {
            let path = dir.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            Elf::read(&File::open(path).unwrap()).unwrap()
        };
        assert_eq!(read(b""), Ok(None));
        assert_eq!(read(b"#!/bin/sh\n"), Ok(None));
        assert_eq!(read(&bytes[..100]), Err("it is truncated"));
        // Any single damaged byte of the headers is read without a panic.
        for at in 0..1024.min(bytes.len()) {
            let mut damaged = bytes[..4096].to_vec();
            damaged[at] = 0xff;
            let _ = read(&damaged);
        }
    }
}
