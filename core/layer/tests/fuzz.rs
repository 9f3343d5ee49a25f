//! What the fuzz targets do, on archives of every form that are damaged in the same ways each time. Minutes of it at a time are the fuzzer's.

#![allow(clippy::unwrap_used)]

use std::io::Write;

#[path = "../fuzz/fuzz_targets/bodies.rs"]
mod bodies;
#[path = "../src/testing.rs"]
mod testing;
use testing::{GNU, Head, Tar, Xorshift, checksum};

/// Archives with everything that the parser and the applier know.
fn corpus() -> Vec<Vec<u8>> {
    vec![
        Tar::new()
            .dir("d")
            .file("d/file", &[b'x'; 700])
            .symlink("d/link", "../d/file")
            .hard_link("hard", "d/file")
            .end(),
        Tar::new()
            .pax(&[("path", b"d/renamed"), ("size", b"3"), ("mtime", b"1.5")])
            .file("ignored", b"abc")
            .end(),
        Tar::new()
            .pax(&[("SCHILY.xattr.user.a", b"v"), ("LIBARCHIVE.xattr.user.b", b"dg==")])
            .file("x", b"")
            .end(),
        Tar::new()
            .global(&[("uname", b"nobody")])
            .long(b'L', &[b'n'; 300])
            .entry(Head::new(b'5', "short").magic(GNU))
            .end(),
        Tar::new().long(b'K', &[b'l'; 300]).entry(Head::new(b'2', "s").link("short").magic(GNU)).end(),
        Tar::new().entry(Head::new(b'3', "null").device(1, 3)).entry(Head::new(b'6', "fifo")).end(),
        Tar::new().dir("o").file("o/.wh..wh..opq", b"").file(".wh.gone", b"").file("o/kept", b"1").end(),
        Tar::new().dir("a").symlink("a/b", "/").file("a/b/canary", b"x").end(),
        Tar::new().file("../canary", b"x").end(),
        Tar::new().hard_link("h", "../canary").dir("deep/er/est").end(),
    ]
}

fn damaged(random: &mut Xorshift, whole: &[u8]) -> Vec<u8> {
    let mut archive = whole.to_vec();
    for _ in 0..1 + random.below(4) {
        let blocks = archive.len() / 512;
        let (from, to) = (random.below(blocks) * 512, random.below(blocks) * 512);
        match random.below(6) {
            0 => archive.truncate(random.below(archive.len()) + 1),
            1 if archive.len() >= from + 512 && to <= archive.len() => {
                let block = archive[from..from + 512].to_vec();
                archive.splice(to..to, block);
            }
            _ => {
                let at = random.below(archive.len());
                archive[at] = match random.below(4) {
                    0 => b'0' + random.below(10) as u8,
                    1 => b"./\0"[random.below(3)],
                    2 => b"xgLKS0123567=\n"[random.below(14)],
                    _ => random.next() as u8,
                };
            }
        }
        if random.below(3) > 0 {
            for block in archive.chunks_exact_mut(512) {
                let block: &mut [u8; 512] = block.try_into().unwrap();
                if block[257..262] == *b"ustar" {
                    checksum(block);
                }
            }
        }
    }
    archive
}

/// Runs a body on that many damaged archives, and says how many it took.
fn run(
    rounds: usize,
    seed: u64,
    wrap: impl Fn(usize, Vec<u8>) -> Vec<u8>,
    body: impl Fn(&[u8]) -> bool,
) -> usize {
    let corpus = corpus();
    let mut random = Xorshift(seed);
    (0..rounds)
        .filter(|round| body(&wrap(*round, damaged(&mut random, &corpus[round % corpus.len()]))))
        .count()
}

#[test]
fn the_parser() {
    let taken = run(20_000, 0x1234_5678_9abc_def1, |_, archive| archive, bodies::tar);
    assert!((1_000..19_000).contains(&taken), "{taken}");
}

#[test]
fn decoders_and_parser() {
    let compress = |round: usize, archive: Vec<u8>| match round / 10 % 3 {
        0 => archive,
        1 => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&archive).unwrap();
            encoder.finish().unwrap()
        }
        _ => zstd::encode_all(archive.as_slice(), 1).unwrap(),
    };
    let taken = run(6_000, 0x0fed_cba9_8765_4321, compress, bodies::stream);
    assert!((300..5_700).contains(&taken), "{taken}");
    // And damage to the compressed bytes themselves, which the parser rarely gets to see.
    let taken = run(
        2_000,
        0x1357_9bdf_0246_8ace,
        |round, archive| {
            let mut bytes = compress(round | 10, archive);
            let at = bytes.len() * (round % 97) / 97;
            bytes[at] ^= 1 << (round % 8);
            bytes
        },
        bodies::stream,
    );
    assert!(taken < 1_000, "{taken}");
}

#[test]
fn onto_a_directory() {
    let taken = run(2_000, 0x2468_ace0_1357_9bdf, |_, archive| archive, bodies::onto_a_directory);
    if rustix::process::geteuid().is_root() {
        assert!((50..1_900).contains(&taken), "{taken}");
    }
}
