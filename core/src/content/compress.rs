//! Compression of layers that are made here, over several processors.
//!
//! A gzip file may have several members, and every reader of gzip reads all of them: so pieces of the input are compressed independently. The same
//! input gives the same bytes, however many processors there are.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};

use flate2::write::GzEncoder;

use super::{Writer, read_error};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Compression;
use crate::process::spawn_helper;

/// Bytes of a member: large enough that what is lost between two of them does not matter.
const PIECE: usize = 1 << 20;
/// The most threads.
const MAX_THREADS: usize = 8;
/// The level that other engines use for each, as their libraries' default.
const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// Compresses everything that a reader has.
pub(crate) fn compress(
    input: &mut dyn Read,
    what: &str,
    compression: Compression,
    output: &mut Writer<'_>,
    cancel: &CancelToken,
) -> Result<()> {
    match compression {
        Compression::None => output.append_all(input, what, cancel),
        Compression::Gzip => gzip(input, what, output, cancel),
        Compression::Zstd => zstd(input, what, output, cancel),
    }
}

/// Fills a piece as far as the input goes.
fn piece(input: &mut dyn Read, what: &str, cancel: &CancelToken) -> Result<Vec<u8>> {
    let mut piece = vec![0; PIECE];
    let mut filled = 0;
    while filled < PIECE {
        cancel.check()?;
        match input.read(piece.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(read_error(&error, what)),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

fn member(piece: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(PIECE / 2), flate2::Compression::new(GZIP_LEVEL));
    encoder.write_all(piece).and_then(|()| encoder.finish()).map_err(|error| failed(&error))
}

fn failed(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("compressing: {error}"))
}

type Job = (Vec<u8>, Sender<Result<Vec<u8>>>);

fn gzip(input: &mut dyn Read, what: &str, output: &mut Writer<'_>, cancel: &CancelToken) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (jobs, queue) = sync_channel::<Job>(threads);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        let helpers = (0..threads).filter(|_| spawn_helper(scope, "coble-compress", || work(&queue)).is_ok());
        if helpers.count() == 0 {
            return gzip_alone(input, what, output, cancel);
        }
        // What is being compressed, in the order of the input.
        let mut pending: VecDeque<Receiver<Result<Vec<u8>>>> = VecDeque::new();
        let gone = || Error::new(ErrorKind::Internal, "a thread that compresses has ended");
        let mut first = true;
        let result = loop {
            let piece = match piece(input, what, cancel) {
                // An empty input has one empty member.
                Ok(piece) if piece.is_empty() && !first => break Ok(()),
                Ok(piece) => piece,
                Err(error) => break Err(error),
            };
            first = false;
            let (reply, receiver) = channel();
            if jobs.send((piece, reply)).is_err() {
                break Err(gone());
            }
            pending.push_back(receiver);
            if pending.len() > 2 * threads
                && let Some(receiver) = pending.pop_front()
                && let Err(error) =
                    receiver.recv().map_err(|_| gone()).and_then(|bytes| output.append(&bytes?))
            {
                break Err(error);
            }
        };
        drop(jobs);
        result?;
        for receiver in pending {
            output.append(&receiver.recv().map_err(|_| gone())??)?;
        }
        Ok(())
    })
}

/// As [`gzip`], where no thread can be had.
fn gzip_alone(input: &mut dyn Read, what: &str, output: &mut Writer<'_>, cancel: &CancelToken) -> Result<()> {
    let mut first = true;
    loop {
        let piece = piece(input, what, cancel)?;
        if piece.is_empty() && !first {
            return Ok(());
        }
        first = false;
        output.append(&member(&piece)?)?;
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv();
        let Ok((piece, reply)) = job else { return };
        // Nobody listens any more when the call has failed.
        let _ = reply.send(member(&piece));
    }
}

fn zstd(input: &mut dyn Read, what: &str, output: &mut Writer<'_>, cancel: &CancelToken) -> Result<()> {
    let mut encoder =
        zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(|error| failed(&error))?;
    encoder.include_checksum(true).map_err(|error| failed(&error))?;
    loop {
        let piece = piece(input, what, cancel)?;
        if piece.is_empty() {
            break;
        }
        encoder.write_all(&piece).map_err(|error| failed(&error))?;
        output.append(encoder.get_ref())?;
        encoder.get_mut().clear();
    }
    output.append(&encoder.finish().map_err(|error| failed(&error))?)
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
            for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 7 * PIECE + 12_345] {
                let input: Vec<u8> = (0..size).map(|n| (n / 3 % 251) as u8).collect();
                for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
                    let mut output = writer(session).unwrap();
                    compress(&mut input.as_slice(), "input", compression, &mut output, &never).unwrap();
                    let staged = output.finish();
                    if compression == Compression::Gzip {
                        let mut output = writer(session).unwrap();
                        gzip_alone(&mut input.as_slice(), "input", &mut output, &never).unwrap();
                        assert_eq!(output.finish().digest, staged.digest);
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
}
