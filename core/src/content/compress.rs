//! Compression of layers that are made here, over several processors.
//!
//! A gzip file may have several members (RFC 1952 section 2.2), and a zstd file several frames (RFC 8878 section 3), and every reader reads all of them: so
//! pieces of the input are compressed independently. The same input gives the same bytes, however many processors there are.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::RangeInclusive;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Mutex, PoisonError};

use libdeflater::CompressionLvl;

use super::{Writer, read_error};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Compression;
use crate::process::spawn_helper;

/// Bytes of a piece: large enough, for the window of each format, that what is lost between two of them does not matter.
const GZIP_PIECE: usize = 1 << 20;
const ZSTD_PIECE: usize = 4 << 20;
/// Bytes that are read between two looks at whether the call was cancelled.
const STEP: usize = 256 << 10;
/// The most threads.
const MAX_THREADS: usize = 8;
/// libdeflate's level for a layer on its way out: two thirds of the time of level 2, for layers that are 4 % larger, and 2 % larger than podman's. Compressing is
/// nearly all that a push does.
const GZIP_LEVEL: i32 = 1;
/// The default of the library, which other engines use.
const ZSTD_LEVEL: i32 = 3;
/// The levels that can be asked for: those of the programs `gzip` and `zstd`.
const GZIP_LEVELS: RangeInclusive<u32> = 1..=9;
const ZSTD_LEVELS: RangeInclusive<u32> = 1..=22;

/// A level that a caller asks for.
pub(crate) fn check_level(compression: Option<Compression>, level: u32) -> Result<()> {
    let (name, levels) = match compression {
        Some(Compression::Gzip) => ("gzip", GZIP_LEVELS),
        Some(Compression::Zstd) => ("zstd", ZSTD_LEVELS),
        Some(Compression::None) | None => {
            return Err(Error::new(ErrorKind::InvalidArgument, "a level is for gzip and zstd only")
                .with_hint("say which of them with the compression"));
        }
    };
    if levels.contains(&level) {
        return Ok(());
    }
    let text = format!("the level {level} of {name} is not from {} to {}", levels.start(), levels.end());
    Err(Error::new(ErrorKind::InvalidArgument, text))
}

/// Compresses everything that a reader has. Without a level, quickly.
pub(crate) fn compress(
    input: &mut dyn Read,
    what: &str,
    compression: Compression,
    level: Option<u32>,
    output: &mut Writer<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    let level = level.and_then(|level| i32::try_from(level).ok());
    let method = match compression {
        Compression::None => return output.append_all(input, what, cancel),
        Compression::Gzip => Method::Gzip(level.unwrap_or(GZIP_LEVEL)),
        Compression::Zstd => Method::Zstd(level.unwrap_or(ZSTD_LEVEL)),
    };
    in_pieces(&mut Pieces::new(input, what, method, cancel), output)
}

/// An input, cut into pieces.
struct Pieces<'a> {
    input: &'a mut dyn Read,
    what: &'a str,
    method: Method,
    begun: bool,
    cancel: &'a CancelToken,
}

impl<'a> Pieces<'a> {
    fn new(input: &'a mut dyn Read, what: &'a str, method: Method, cancel: &'a CancelToken) -> Pieces<'a> {
        Pieces { input, what, method, begun: false, cancel }
    }

    /// The next piece. An empty input has one, which is empty, since no file of either format is.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        let size = self.method.piece();
        let mut piece = Vec::with_capacity(size);
        while piece.len() < size {
            self.cancel.check()?;
            // A step at a time, so that cancelling does not wait for a slow input.
            let step = (size - piece.len()).min(STEP) as u64;
            match (&mut *self.input).take(step).read_to_end(&mut piece) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(read_error(&error, self.what)),
            }
        }
        let first = !std::mem::replace(&mut self.begun, true);
        Ok((!piece.is_empty() || first).then_some(piece))
    }
}

/// A format, and how hard is tried.
#[derive(Debug, Clone, Copy)]
enum Method {
    Gzip(i32),
    Zstd(i32),
}

impl Method {
    fn piece(self) -> usize {
        match self {
            Method::Gzip(_) => GZIP_PIECE,
            Method::Zstd(_) => ZSTD_PIECE,
        }
    }
}

/// Compresses pieces, each by itself.
enum Encoder {
    /// With room for a member.
    Gzip(libdeflater::Compressor, Vec<u8>),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Encoder {
    fn new(method: Method) -> Result<Encoder> {
        Ok(match method {
            Method::Gzip(level) => {
                // The library has the level; if it had not, its default would do.
                let level = CompressionLvl::new(level).unwrap_or_default();
                let mut compressor = libdeflater::Compressor::new(level);
                let room = vec![0; compressor.gzip_compress_bound(GZIP_PIECE)];
                Encoder::Gzip(compressor, room)
            }
            Method::Zstd(level) => {
                let mut compressor = zstd::bulk::Compressor::new(level).map_err(failed)?;
                compressor.include_checksum(true).map_err(failed)?;
                Encoder::Zstd(compressor)
            }
        })
    }

    /// A member or a frame.
    fn encode(&mut self, piece: &[u8]) -> Result<Vec<u8>> {
        match self {
            Encoder::Gzip(compressor, room) => {
                let length = compressor.gzip_compress(piece, room).map_err(failed)?;
                Ok(room.get(..length).unwrap_or_default().to_vec())
            }
            Encoder::Zstd(compressor) => compressor.compress(piece).map_err(failed),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, format!("compressing: {error}"))
}

type Job = (Vec<u8>, Sender<Result<Vec<u8>>>);

fn in_pieces(pieces: &mut Pieces<'_>, output: &mut Writer<'_>) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (jobs, queue) = sync_channel::<Job>(threads);
    let queue = Mutex::new(queue);
    let method = pieces.method;
    std::thread::scope(|scope| {
        let work = || work(&queue, method);
        let helpers = (0..threads).filter(|_| spawn_helper(scope, "coble-compress", work).is_ok());
        if helpers.count() == 0 {
            return alone(pieces, output);
        }
        // What is being compressed, in the order of the input.
        let mut pending: VecDeque<Receiver<Result<Vec<u8>>>> = VecDeque::new();
        let result = feed(pieces, &jobs, &mut pending, 2 * threads, output);
        drop(jobs);
        result?;
        pending.into_iter().try_for_each(|receiver| hand_on(&receiver, output))
    })
}

/// Gives the pieces out, and hands on what is done, so that no more than `most` are pending.
fn feed(
    pieces: &mut Pieces<'_>,
    jobs: &SyncSender<Job>,
    pending: &mut VecDeque<Receiver<Result<Vec<u8>>>>,
    most: usize,
    output: &mut Writer<'_>,
) -> Result<()> {
    while let Some(piece) = pieces.next()? {
        let (reply, receiver) = channel();
        jobs.send((piece, reply)).map_err(|_| gone())?;
        pending.push_back(receiver);
        if pending.len() > most
            && let Some(receiver) = pending.pop_front()
        {
            hand_on(&receiver, output)?;
        }
    }
    Ok(())
}

fn hand_on(receiver: &Receiver<Result<Vec<u8>>>, output: &mut Writer<'_>) -> Result<()> {
    output.append(&receiver.recv().map_err(|_| gone())??)
}

fn gone() -> Error {
    Error::new(ErrorKind::Internal, "a thread that compresses has ended")
}

/// As [`in_pieces`], where no thread can be had.
fn alone(pieces: &mut Pieces<'_>, output: &mut Writer<'_>) -> Result<()> {
    let mut encoder = Encoder::new(pieces.method)?;
    while let Some(piece) = pieces.next()? {
        output.append(&encoder.encode(&piece)?)?;
    }
    Ok(())
}

fn work(queue: &Mutex<Receiver<Job>>, method: Method) {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
    match Encoder::new(method) {
        Ok(mut encoder) => {
            while let Ok((piece, reply)) = next() {
                // Nobody listens any more when the call has failed.
                let _ = reply.send(encoder.encode(&piece));
            }
        }
        Err(error) => {
            if let Ok((_, reply)) = next() {
                let _ = reply.send(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::writer;
    use crate::snapshot::tests::FakeWorker;
    use crate::state::Session;
    use crate::state::tests::temporary;

    #[test]
    fn what_is_compressed_comes_back() {
        let (_dir, store) = temporary();
        let never = CancelToken::never();
        Session::run(&store, &FakeWorker::default(), &never, |session| {
            for size in
                [0, 1, GZIP_PIECE - 1, GZIP_PIECE, GZIP_PIECE + 1, ZSTD_PIECE, 7 * ZSTD_PIECE + 12_345]
            {
                let input: Vec<u8> = (0..size).map(|n| (n / 3 % 251) as u8).collect();
                for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                    let mut output = writer(session).unwrap();
                    compress(&mut input.as_slice(), "input", compression, None, &mut output, &never).unwrap();
                    let staged = output.finish();
                    for method in [Method::Gzip(GZIP_LEVEL), Method::Zstd(ZSTD_LEVEL)] {
                        let wanted = match method {
                            Method::Gzip(_) => Compression::Gzip,
                            Method::Zstd(_) => Compression::Zstd,
                        };
                        if wanted == compression {
                            let mut output = writer(session).unwrap();
                            let mut input = input.as_slice();
                            alone(&mut Pieces::new(&mut input, "input", method, &never), &mut output)
                                .unwrap();
                            assert_eq!(output.finish().digest, staged.digest);
                        }
                    }
                    let mut file = staged.open(session).unwrap();
                    let mut decoder = coble_layer::Decoder::new(&mut file).unwrap();
                    let mut found = Vec::new();
                    let mut buffer = vec![0; 100_000];
                    loop {
                        match decoder.read(&mut buffer).unwrap() {
                            0 => break,
                            count => found.extend_from_slice(&buffer[..count]),
                        }
                    }
                    assert!(found == input, "{size} {compression:?}");
                }
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_higher_level_makes_less_of_it() {
        let (_dir, store) = temporary();
        let never = CancelToken::never();
        let input: Vec<u8> = (0..300_000u32)
            .flat_map(|n| format!("{:x} ", (n / 7).wrapping_mul(40_503) % 9973).into_bytes())
            .collect();
        Session::run(&store, &FakeWorker::default(), &never, |session| {
            let size = |compression, level| {
                let mut output = writer(session).unwrap();
                compress(&mut input.as_slice(), "input", compression, level, &mut output, &never).unwrap();
                output.finish().size
            };
            assert!(size(Compression::Gzip, Some(9)) < size(Compression::Gzip, None));
            assert!(size(Compression::Zstd, Some(19)) < size(Compression::Zstd, None));
            assert_eq!(size(Compression::Zstd, Some(3)), size(Compression::Zstd, None));
            Ok(())
        })
        .unwrap();
        for (compression, level, fits) in [
            (Some(Compression::Gzip), 1, true),
            (Some(Compression::Gzip), 9, true),
            (Some(Compression::Gzip), 10, false),
            (Some(Compression::Zstd), 22, true),
            (Some(Compression::Zstd), 0, false),
            (Some(Compression::Zstd), u32::MAX, false),
            (Some(Compression::None), 1, false),
            (None, 1, false),
        ] {
            assert_eq!(check_level(compression, level).is_ok(), fits, "{compression:?} {level}");
        }
    }
}
