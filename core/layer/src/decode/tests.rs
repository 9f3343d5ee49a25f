use std::io::{Cursor, Read, Write};

use sha2::{Digest, Sha256};

use super::*;
use crate::stream::{Limits, Source, Stream, Summary};
use crate::testing::Xorshift;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(data, 3).unwrap()
}

fn bzip2(data: &[u8]) -> Vec<u8> {
    let mut encoder = ::bzip2::write::BzEncoder::new(Vec::new(), ::bzip2::Compression::new(1));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const ALL: [(Format, Compress); 4] =
    [(Format::Gzip, gzip), (Format::Zstd, zstd), (Format::Bzip2, bzip2), (Format::Xz, xz)];

/// Something that compresses somewhat.
fn sample(length: usize) -> Vec<u8> {
    let mut random = Xorshift(42);
    (0..length).map(|_| b'a' + (random.below(5) * random.below(5)) as u8).collect()
}

/// Gives a few bytes at a time.
struct Trickle<'a>(&'a [u8], usize);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(out.len()).min(self.0.len());
        out[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fn decode_from(input: impl Read, room: usize) -> Result<(Format, Vec<u8>), Error> {
    let mut decoder = Decoder::new(input)?;
    let mut all = Vec::new();
    let mut out = vec![0; room];
    loop {
        match decoder.read(&mut out)? {
            0 => {
                // The end stays the end.
                assert_eq!(decoder.read(&mut out)?, 0);
                return Ok((decoder.format(), all));
            }
            count => all.extend_from_slice(&out[..count]),
        }
    }
}

fn decode(input: &[u8]) -> Result<(Format, Vec<u8>), Error> {
    decode_from(Cursor::new(input), 64 << 10)
}

#[test]
fn every_format_is_told_by_its_first_bytes() {
    let data = sample(300_000);
    for (format, compress) in ALL {
        let compressed = compress(&data);
        assert!(decode(&compressed).unwrap() == (format, data.clone()));
        assert!(decode_from(Trickle(&compressed, 7), 1000).unwrap() == (format, data.clone()));
        assert_eq!(decode(&compress(b"")).unwrap(), (format, Vec::new()));
    }
    assert!(decode(&data).unwrap() == (Format::Plain, data.clone()));
    for short in [&b""[..], b"\x1f", b"BZh9 is the name of a file", b"a"] {
        assert_eq!(decode(short).unwrap(), (Format::Plain, short.to_vec()));
    }
}

#[test]
fn members_are_concatenated_and_may_be_empty() {
    let data = sample(1000);
    for (format, compress) in ALL {
        let many = [compress(b""), compress(&data), compress(b""), compress(&data), compress(b"")].concat();
        assert!(decode(&many).unwrap() == (format, [&data[..], &data].concat()), "{format:?}");
        assert!(decode_from(Trickle(&many, 1), 100).unwrap().1.len() == 2000, "{format:?}");
    }
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    for frames in [
        [&skippable[..], &zstd(&data)].concat(),
        [&zstd(&data)[..], skippable].concat(),
        [&skippable[..], &zstd(&data), skippable].concat(),
    ] {
        assert!(decode(&frames).unwrap() == (Format::Zstd, data.clone()));
    }
}

#[test]
fn zeros_may_follow_and_nothing_else() {
    let data = sample(1000);
    for (format, compress) in ALL {
        let whole = compress(&data);
        assert!(decode(&[&whole[..], &[0; 512]].concat()).unwrap() == (format, data.clone()), "{format:?}");
        for garbage in [&b"garbage behind the end"[..], b"\0\0\0\0x", b"\x1f", b"B", b"\x28\xb5", b"x"] {
            let result = decode(&[&whole[..], garbage].concat());
            assert!(matches!(result, Err(Error::Decode { .. })), "{format:?} {garbage:?} {result:?}");
        }
    }
}

#[test]
fn truncation_is_always_an_error() {
    let data = sample(20_000);
    for (format, compress) in ALL {
        let whole = compress(&data);
        for length in (10..whole.len()).step_by(13).chain(whole.len() - 12..whole.len()) {
            let result = decode(&whole[..length]);
            assert!(
                matches!(result, Err(Error::Decode { .. })),
                "{format:?} {length} of {}: {result:?}",
                whole.len()
            );
        }
    }
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    let data = sample(20_000);
    let mut random = Xorshift(7);
    for (format, compress) in ALL {
        let whole = compress(&data);
        let mut noticed = 0;
        for _ in 0..400 {
            let mut damaged = whole.clone();
            let at = 10 + random.below(damaged.len() - 10);
            damaged[at] ^= 1 << random.below(8);
            match decode(&damaged) {
                Err(Error::Decode { .. }) => noticed += 1,
                // zstd has no checksum unless asked; the digest of the stream is what counts.
                Ok(_) => {}
                Err(other) => panic!("{format:?}: {other}"),
            }
        }
        let floor = if format == Format::Zstd { 50 } else { 390 };
        assert!(noticed >= floor, "{format:?}: {noticed}");
    }
}

#[test]
fn gzip_headers_with_everything_are_read() {
    let mut encoder = flate2::GzBuilder::new()
        .extra(vec![7; 300])
        .filename("a name")
        .comment("a comment")
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"data").unwrap();
    let whole = encoder.finish().unwrap();
    assert_eq!(decode(&whole).unwrap().1, b"data");
    let mut unknown = whole.clone();
    unknown[3] |= 0x80;
    assert!(decode(&unknown).is_err());
    let mut checked = whole.clone();
    checked[3] |= 2;
    assert!(decode(&checked).is_err());
}

#[test]
fn windows_and_dictionaries_are_bounded() {
    // A frame that asks for a window of 2 GiB; the descriptor stands behind the magic number and the frame header.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0];
    assert_eq!(
        decode(&frame),
        Err(Error::Decode { format: Format::Zstd, rule: "a frame needs a larger window than allowed" })
    );
    let mut options = liblzma::stream::LzmaOptions::new_preset(0).unwrap();
    options.dict_size(512 << 20);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    // Only the header matters, so it is patched instead of encoding with such a dictionary.
    let mut stream = xz(b"x");
    // Block header: size, flags, filter id, size of properties, dictionary size; then its checksum.
    assert_eq!(stream[14..16], [0x21, 1]);
    stream[16] = 34;
    let mut crc = flate2::Crc::new();
    crc.update(&stream[12..20]);
    stream[20..24].copy_from_slice(&crc.sum().to_le_bytes());
    assert_eq!(
        decode(&stream),
        Err(Error::Decode { format: Format::Xz, rule: "the stream needs more memory than allowed" })
    );
}

fn summary(input: &[u8], limits: Limits) -> Result<Summary, Error> {
    let mut stream = Stream::new(Cursor::new(input), limits)?;
    // The parser stops somewhere; the digest does not.
    let seen = stream.fill()?.len().min(5);
    stream.consume(seen);
    stream.finish()
}

#[test]
fn the_digest_covers_the_stream_to_its_end() {
    let data = sample(700_000);
    let expected: [u8; 32] = Sha256::digest(&data).into();
    let compressed = gzip(&data);
    for input in [&data, &compressed, &[&gzip(&data[..9])[..], &gzip(&data[9..])].concat()] {
        let summary = summary(input, Limits::default()).unwrap();
        assert_eq!(summary.diff_sha256, expected);
        assert_eq!(summary.uncompressed_bytes, 700_000);
        assert_eq!(summary.compressed_bytes, input.len() as u64);
    }
}

#[test]
fn bombs_are_refused() {
    let limits = Limits { max_bytes: 1000, ..Limits::default() };
    assert!(summary(&[1; 1000], limits).is_ok());
    assert!(matches!(summary(&[1; 1001], limits), Err(Error::Limit { .. })));
    let zeros = vec![0; 65 << 20];
    for compress in [gzip as Compress, zstd] {
        let bomb = compress(&zeros);
        let ratio = |max_ratio| summary(&bomb, Limits { max_ratio, ..Limits::default() });
        assert!(matches!(ratio(500), Err(Error::Limit { .. })));
        assert!(ratio(100_000).is_ok());
        // Below 64 MiB nobody minds.
        let small = compress(&zeros[..16 << 20]);
        assert!(summary(&small, Limits { max_ratio: 10, ..Limits::default() }).is_ok());
    }
}

#[test]
fn errors_of_the_file_are_told() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from_raw_os_error(5))
        }
    }
    assert_eq!(Decoder::new(Broken).err(), Some(Error::Read(5)));
}

/// Environment of the process that runs [`under_little_memory`].
const CHILD: &str = "COBLE_LAYER_TEST_LITTLE_MEMORY";

/// All decoders and the parser, in a process that gets 64 MiB more than it has.
#[test]
fn little_memory_is_enough_or_an_error() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "decode::tests::under_little_memory",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}\n{}", child.status, String::from_utf8_lossy(&child.stderr));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));
}

#[test]
#[ignore = "a part of little_memory_is_enough_or_an_error"]
fn under_little_memory() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    // Made before memory gets scarce: encoders take more than decoders.
    let archive = crate::testing::Tar::new().file("a", &sample(3 << 20)).file("b", b"x").end();
    let ordinary: Vec<Vec<u8>> = ALL.iter().map(|(_, compress)| compress(&archive)).collect();
    // A window of 128 MiB, which is allowed but not to be had.
    let mut window = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 17 << 3];
    window.extend([0x00, 0x01, 0x00]);
    window.extend([0; 200]);
    let mut dictionary = xz(b"x");
    // A dictionary of 96 MiB.
    dictionary[16] = 29;
    let mut crc = flate2::Crc::new();
    crc.update(&dictionary[12..20]);
    dictionary[20..24].copy_from_slice(&crc.sum().to_le_bytes());

    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let used = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
    let limit = Some(used + (64 << 20));
    let limit = rustix::process::Rlimit { current: limit, maximum: limit };
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();

    for (compressed, (format, _)) in ordinary.iter().zip(ALL) {
        let limits = Limits::default();
        let mut reader = crate::Reader::new(Stream::new(Cursor::new(compressed), limits).unwrap(), limits);
        let mut entries = 0;
        while reader.advance().unwrap() {
            entries += 1;
        }
        assert_eq!(entries, 2, "{format:?}");
        reader.into_source().finish().unwrap();
    }
    assert_eq!(decode(&window), Err(Error::Decode { format: Format::Zstd, rule: MEMORY }));
    assert_eq!(decode(&dictionary), Err(Error::Decode { format: Format::Xz, rule: MEMORY }));
}
