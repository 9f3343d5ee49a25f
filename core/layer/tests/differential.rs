//! What this parser accepts, GNU tar and Python's tarfile understand in the same way. What it refuses may be anything.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use coble_layer::{Kind, Limits, Reader};

#[path = "../src/testing.rs"]
mod testing;
use testing::{GNU, Head, Tar, V7, Xorshift, checksum};

/// Name, kind as one letter, size, target of a link.
type Line = (Vec<u8>, char, i128, Vec<u8>);

fn ours(archive: &[u8]) -> Option<Vec<Line>> {
    let mut reader = Reader::new(archive, Limits { max_bytes: 1 << 40, ..Limits::default() });
    let mut lines = Vec::new();
    while reader.advance().ok()? {
        let entry = reader.entry();
        let kind = match entry.kind {
            Kind::File | Kind::Socket => '-',
            Kind::HardLink => 'h',
            Kind::Symlink => 'l',
            Kind::Char => 'c',
            Kind::Block => 'b',
            Kind::Directory => 'd',
            Kind::Fifo => 'p',
        };
        lines.push((trimmed(&entry.path), kind, entry.size.into(), entry.link.clone()));
    }
    Some(lines)
}

fn trimmed(name: &[u8]) -> Vec<u8> {
    let end = name.iter().rposition(|&byte| byte != b'/').map_or(1.min(name.len()), |at| at + 1);
    name[..end].to_vec()
}

const PYTHON: &str = r##"
import os, sys, tarfile
directory = sys.argv[1]
for name in sorted(os.listdir(directory)):
    print("#", name)
    try:
        with tarfile.open(os.path.join(directory, name), "r:", encoding="latin-1", errors="strict") as tar:
            for member in tar:
                kind = {b"0": "-", b"\0": "-", b"7": "-", b"S": "-", b"1": "h", b"2": "l", b"3": "c", b"4": "b",
                        b"5": "d", b"6": "p"}.get(member.type, "?")
                link = member.linkname if kind in "hl" else ""
                path = member.name.encode("latin-1").hex()
                print(path or "-", kind, member.size, link.encode("latin-1").hex() or "-")
    except Exception as error:
        print("!", type(error).__name__)
"##;

fn python(directory: &Path) -> BTreeMap<String, Option<Vec<Line>>> {
    let output = Command::new("python3").args(["-c", PYTHON]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let hex = |text: &str| -> Vec<u8> {
        let text = text.trim_start_matches('-');
        (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
    };
    let mut all = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["#", name] => {
                current = name.to_owned();
                all.insert(current.clone(), Some(Vec::new()));
            }
            ["!", _] => {
                all.insert(current.clone(), None);
            }
            [path, kind, size, link] => {
                if let Some(Some(lines)) = all.get_mut(&current) {
                    let kind = kind.chars().next().unwrap();
                    lines.push((trimmed(&hex(path)), kind, size.parse().unwrap(), hex(link)));
                }
            }
            _ => panic!("{line}"),
        }
    }
    all
}

/// Undoes `--quoting-style=escape`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let next = rest.next().unwrap();
        out.push(match next {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'0'..=b'7' => {
                let mut value = u32::from(next - b'0');
                for _ in 0..2 {
                    value = value * 8 + u32::from(rest.next_if(u8::is_ascii_digit).unwrap() - b'0');
                }
                value as u8
            }
            other => other,
        });
    }
    out
}

/// None if it complains.
fn gnu(path: &Path) -> Option<Vec<Line>> {
    let output = Command::new("tar")
        .args([
            "--list",
            "--verbose",
            "--numeric-owner",
            "--quoting-style=escape",
            "--absolute-names",
            "--utc",
        ])
        .arg("--file")
        .arg(path)
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    if !output.status.success() {
        return None;
    }
    let mut lines = Vec::new();
    for line in output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        // Mode, owner, size (numbers for devices), date and time; then, after one space, the name, and the target of a link.
        let mut rest = line;
        let mut words = Vec::new();
        for _ in 0..5 {
            let start = rest.iter().position(|&byte| byte != b' ').unwrap();
            let end = start + rest[start..].iter().position(|&byte| byte == b' ').unwrap();
            words.push(&rest[start..end]);
            rest = &rest[end..];
        }
        let rest = &rest[1..];
        // C is a contiguous file, which is a file.
        let kind = if line[0] == b'C' { '-' } else { char::from(line[0]) };
        let size = if matches!(kind, 'c' | 'b') {
            0
        } else {
            std::str::from_utf8(words[2]).unwrap().parse().unwrap()
        };
        let between: &[u8] = match kind {
            'l' => b" -> ",
            'h' => b" link to ",
            _ => b"",
        };
        let at = if between.is_empty() {
            None
        } else {
            rest.windows(between.len()).position(|part| part == between)
        };
        let (name, link) = at.map_or((rest, &b""[..]), |at| (&rest[..at], &rest[at + between.len()..]));
        lines.push((trimmed(&unescape(name)), kind, size, unescape(link)));
    }
    Some(lines)
}

fn show(lines: Option<&Vec<Line>>) -> String {
    let Some(lines) = lines else { return "refused".into() };
    let lines = lines.iter().map(|(name, kind, size, link)| {
        format!("{kind} {} {size} {}", name.escape_ascii(), link.escape_ascii())
    });
    lines.collect::<Vec<_>>().join("; ")
}

fn number_at(at: usize, bytes: &[u8]) -> Tar {
    let mut block = Head::new(b'0', "number").size(5).magic(GNU).block();
    block[at..at + bytes.len()].copy_from_slice(bytes);
    checksum(&mut block);
    Tar::new().raw(&block, b"12345").file("after", b"x")
}

fn old_sparse(segments: &[(u64, u64)], size: u64, data: &[u8]) -> Tar {
    let mut block = Head::new(b'S', "sparse").magic(GNU).size(data.len() as u64).block();
    for (n, (offset, length)) in segments.iter().enumerate() {
        let at = 386 + 24 * n;
        block[at..at + 24].copy_from_slice(format!("{offset:011o}\0{length:011o}\0").as_bytes());
    }
    block[483..495].copy_from_slice(format!("{size:011o}\0").as_bytes());
    checksum(&mut block);
    Tar::new().raw(&block, data).file("after", b"x")
}

/// Changed copies of each archive.
const NEIGHBOURS: usize = 20;

/// Archives in which programs have disagreed, and ordinary ones.
fn corpus() -> Vec<Tar> {
    let nested = Tar::new().file("inner", b"evil").end();
    let smuggled = Head::new(b'0', "smuggled").block();
    let long = "n".repeat(200);
    let sparse_records = |minor: &'static [u8], rest: &[(&'static str, &'static [u8])]| {
        let mut records: Vec<(&str, &[u8])> = vec![("GNU.sparse.major", b"1"), ("GNU.sparse.minor", minor)];
        records.extend_from_slice(rest);
        Tar::new().pax(&records)
    };
    let mut map = b"2\n1024\n512\n4096\n0\n".to_vec();
    map.resize(1024, 0);
    let mut corpus = vec![
        Tar::new()
            .dir("d/")
            .file("d/f", &[1; 1300])
            .symlink("d/l", "../x")
            .hard_link("d/h", "d/f")
            .file("e", b""),
        Tar::new()
            .entry(Head::new(b'3', "c").device(1, 3))
            .entry(Head::new(b'4', "b").device(8, 1))
            .entry(Head::new(b'6', "p")),
        Tar::new().data(Head::new(0, "v7").magic(V7), b"x").entry(Head::new(0, "v7dir/").magic(V7)),
        Tar::new().data(Head::new(b'7', "contiguous"), b"x").file("after", b""),
        Tar::new().data(Head::new(b'0', "f").prefix("pre/fix"), b"x"),
        Tar::new().data(Head::new(b'0', "f").prefix(&"p".repeat(155)), b"x").file("after", b""),
        Tar::new().file("outer", &nested).file("after", b"x"),
        Tar::new()
            .pax(&[("size", b"512")])
            .raw(&Head::new(b'0', "a").size(0).block(), &smuggled)
            .file("after", b"x"),
        Tar::new()
            .pax(&[("size", b"0")])
            .raw(&Head::new(b'0', "a").size(512).block(), b"")
            .file("after", b"x"),
        Tar::new()
            .pax(&[("size", b"512")])
            .raw(&Head::new(b'5', "d").size(0).block(), &smuggled)
            .file("after", b"x"),
        Tar::new().raw(&Head::new(b'5', "d").size(512).block(), &smuggled).file("after", b"x"),
        Tar::new().raw(&Head::new(b'1', "h").link("d").size(512).block(), &smuggled).file("after", b"x"),
        Tar::new().raw(&Head::new(b'2', "l").link("d").size(512).block(), &smuggled).file("after", b"x"),
        Tar::new()
            .pax(&[("size", b"512")])
            .long(b'L', long.as_bytes())
            .raw(&Head::new(b'0', "a").size(0).block(), &smuggled),
        Tar::new()
            .long(b'L', long.as_bytes())
            .pax(&[("size", b"1"), ("mtime", b"1")])
            .file("a", b"x")
            .file("after", b""),
        Tar::new().long(b'L', long.as_bytes()).pax(&[("path", b"pax")]).file("a", b"x"),
        Tar::new()
            .long(b'L', long.as_bytes())
            .long(b'K', long.as_bytes())
            .symlink("a", "b")
            .file("after", b""),
        Tar::new().long(b'L', b"a").long(b'L', b"b").file("c", b""),
        Tar::new().long(b'L', b"a\0b").file("c", b""),
        Tar::new().pax(&[("path", b"one"), ("path", b"two")]).file("a", b""),
        Tar::new().pax(&[("path", b"")]).file("a", b""),
        Tar::new().pax(&[("path", b"a\0b")]).file("a", b""),
        Tar::new().pax(&[("path", b"\xff\xfe")]).file("a", b""),
        Tar::new().pax(&[("linkpath", b"long target")]).symlink("a", "b"),
        Tar::new().pax(&[("linkpath", b"x")]).file("a", b""),
        Tar::new().global(&[("comment", b"x")]).file("a", b"1").file("b", b"2"),
        Tar::new().global(&[("path", b"x")]).file("a", b"1").file("b", b"2"),
        Tar::new().global(&[("size", b"1")]).file("a", b"1").file("b", b"22"),
        Tar::new().pax(&[("path", b"x")]).pax(&[("path", b"y")]).file("a", b""),
        Tar::new().data(Head::new(b'x', "x"), b"13 path=a/bc\n\0\0\0").file("a", b""),
        Tar::new().data(Head::new(b'x', "x"), b"14 path=a/bc\n").file("a", b""),
        Tar::new().data(Head::new(b'x', "x"), b"12 path=a/bc\n").file("a", b""),
        Tar::new().data(Head::new(b'X', "x"), b"13 path=a/bc\n").file("a", b""),
        Tar::new().entry(Head::new(b'0', "slash/")),
        Tar::new().entry(Head::new(0, "slash")).entry(Head::new(0, "slash/")),
        Tar::new().pax(&[("path", b"x/")]).entry(Head::new(0, "slash")),
        Tar::new().entry(Head::new(b'2', "l")),
        Tar::new().file(" leading and trailing ", b"").file("new\nline\\", b"").file("\x01", b""),
        number_at(124, b"00000000005 "),
        number_at(124, b"          5\0"),
        number_at(124, b"5\0\0\0\0\0\0\0\0\0\0\0"),
        number_at(124, b"5 7\0\0\0\0\0\0\0\0\0"),
        number_at(124, &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]),
        number_at(124, &[0xff; 12]),
        number_at(124, &[0; 12]),
        number_at(124, b"-5\0\0\0\0\0\0\0\0\0\0"),
        number_at(124, b"0x5\0\0\0\0\0\0\0\0\0"),
        number_at(108, b"\x80\0\0\0\0\x01\x11\x70"),
        number_at(136, &[0xff; 12]),
        old_sparse(&[(1024, 512), (4096, 0)], 4096, &[7; 512]),
        old_sparse(&[(1024, 512), (4096, 100)], 4196, &[7; 612]),
        old_sparse(&[(0, 100), (4096, 512)], 4608, &[7; 612]),
        old_sparse(&[(4096, 512), (0, 512)], 4608, &[7; 1024]),
        old_sparse(&[(0, 512)], 512, &[7; 1024]),
        sparse_records(b"0", &[("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"4096")])
            .file("x", &map)
            .file("after", b""),
        sparse_records(
            b"0",
            &[("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"4096"), ("GNU.sparse.map", b"0,1")],
        )
        .file("x", &map),
        sparse_records(b"1", &[("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"4096")]).file("x", &map),
        Tar::new()
            .pax(&[
                ("GNU.sparse.size", b"4096"),
                ("GNU.sparse.numblocks", b"1"),
                ("GNU.sparse.name", b"s"),
                ("GNU.sparse.map", b"0,512"),
            ])
            .file("x", &[7; 512])
            .file("after", b""),
        Tar::new().entry(Head::new(b'V', "label")).file("a", b""),
        Tar::new().entry(Head::new(b'D', "dump")).file("a", b""),
        Tar::new().entry(Head::new(b'Z', "vendor")).file("a", b""),
    ];
    let mut lone = Tar::new().file("a", b"");
    lone.0.extend([0; 512]);
    corpus.push(Tar([lone.0, Tar::new().file("b", b"").0].concat()));
    corpus
}

#[test]
fn others_see_the_same_entries_or_we_refuse() {
    let temp = tempfile::tempdir().unwrap();
    let mut random = Xorshift(0x2545_f491_4f6c_dd1d);
    let mut archives = Vec::new();
    for tar in corpus() {
        archives.push(tar.clone().end());
        // Neighbours of it: some bytes of its headers changed, with checksums that are right.
        for _ in 0..NEIGHBOURS {
            let mut archive = tar.clone().end();
            for _ in 0..1 + random.below(2) {
                let blocks = archive.len() / 512;
                let at = random.below(blocks) * 512
                    + [random.below(512), 124 + random.below(12), 156, random.below(100)][random.below(4)];
                archive[at] =
                    [b'0' + random.below(8) as u8, 0, b' ', b'x', b'/', b'5', b'L', b'g'][random.below(8)];
            }
            for block in archive.chunks_exact_mut(512) {
                let block: &mut [u8; 512] = block.try_into().unwrap();
                if block[257..262] == *b"ustar" {
                    checksum(block);
                }
            }
            archives.push(archive);
        }
    }
    let files = temp.path().join("files");
    fs::create_dir(&files).unwrap();
    for (n, archive) in archives.iter().enumerate() {
        fs::write(files.join(format!("{n:05}.tar")), archive).unwrap();
    }
    let python = python(&files);
    let (mut accepted, mut different) = (0, Vec::new());
    for (n, archive) in archives.iter().enumerate() {
        let Some(ours) = ours(archive) else { continue };
        accepted += 1;
        let name = format!("{n:05}.tar");
        let theirs = &python[&name];
        if theirs.as_ref() != Some(&ours) {
            different.push(format!("{name}: python\n  {}\n  {}", show(theirs.as_ref()), show(Some(&ours))));
        }
        let theirs = gnu(&files.join(&name));
        if theirs.as_ref() != Some(&ours) {
            different.push(format!("{name}: GNU tar\n  {}\n  {}", show(theirs.as_ref()), show(Some(&ours))));
        }
    }
    assert!(different.is_empty(), "{} of {accepted}\n{}", different.len(), different.join("\n"));
    // Of the originals alone so many are harmless.
    assert!(accepted > 100, "{accepted}");
}
