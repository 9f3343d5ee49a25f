//! Applying the layers of an image side by side, also while their blobs are still coming in.
//!
//! Each layer has a worker of its own, which does without the layers below what can be done without them, and waits for those with the rest. They are begun
//! from the lowest up, a few at a time: the lowest one waits for nobody, so all of them get on. Which layers somebody else is at work on is not
//! waited for while a lock is held; they are left to [`Stack::push`] in the end.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use coble_layer::{Limits, Stream};
use rustix::pipe::{PipeFlags, pipe_with};

use super::unpack::{Blob, Claim, Layer, Pending, Place, Stack, check_diff_id, warnings_of};
use super::{Application, Below, Worker};
use crate::cancel::CancelToken;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::oci::{Digest, chain_ids};
use crate::process::{Deadline, spare_descriptors, spawn_helper};
use crate::progress::{ProgressKind, Reporter};
use crate::state::Store;

/// Workers at once. Each takes some memory, also while it waits for the layers below.
const WORKERS: usize = 8;
/// The most layers that are begun together; each is a descriptor until all of them are recorded.
const TOGETHER: usize = 64;
/// Of the descriptors that the process may still open, one in so many is for a layer, and one in so many for a worker, which has several.
const PER_LAYER: usize = 10;
const PER_WORKER: usize = 24;
/// Bytes that a pipe to a worker holds.
const PIPE: usize = 1 << 20;

/// A layer that goes on top of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) blob: Blob<'a>,
    pub(crate) diff_id: &'a Digest,
}

/// Where the archive of a layer comes from.
pub(crate) enum Input<'a> {
    /// A file that is complete.
    File(File),
    /// Something that writes it to a pipe. It returns when all is written, when the pipe's other end has gone, or when the work has ended.
    Stream(Box<dyn FnOnce(OwnedFd) + Send + 'a>),
}

/// Where the archives of the layers come from. Layers are numbered as they were given.
pub(crate) trait Supply: Sync {
    /// Where a layer is read from. May wait until there is something to read.
    fn open(&self, layer: usize) -> Result<Input<'_>>;

    /// Waits until the blob of a layer is known to be what it should be. False if that is not what was read of it.
    fn settle(&self, layer: usize) -> Result<bool>;

    /// Waits until the blob of a layer is in the store.
    fn stored(&self, layer: usize) -> Result<()>;

    /// A layer begins to be applied, or is applied.
    fn tell(&self, layer: usize, done: bool);
}

/// Blobs that are all in the store.
struct Stored<'a> {
    store: &'a Store,
    layers: &'a [Wanted<'a>],
    reporter: &'a Reporter<'a>,
}

impl Supply for Stored<'_> {
    fn open(&self, layer: usize) -> Result<Input<'_>> {
        let wanted = self.layers.get(layer).ok_or_else(no_layer)?;
        self.store.content.open_blob(wanted.blob.digest, wanted.blob.size).map(Input::File)
    }

    fn settle(&self, _layer: usize) -> Result<bool> {
        Ok(true)
    }

    fn stored(&self, _layer: usize) -> Result<()> {
        Ok(())
    }

    fn tell(&self, layer: usize, done: bool) {
        let Some(Wanted { blob, .. }) = self.layers.get(layer) else { return };
        let (kind, current) =
            if done { (ProgressKind::UnpackDone, blob.size) } else { (ProgressKind::Unpack, 0) };
        self.reporter.blob(kind, blob.digest, current, blob.size);
    }
}

/// A supply of more layers, of which the first ones are on the stack already.
struct Shifted<'a> {
    supply: &'a dyn Supply,
    first: usize,
}

impl Supply for Shifted<'_> {
    fn open(&self, layer: usize) -> Result<Input<'_>> {
        self.supply.open(self.first + layer)
    }

    fn settle(&self, layer: usize) -> Result<bool> {
        self.supply.settle(self.first + layer)
    }

    fn stored(&self, layer: usize) -> Result<()> {
        self.supply.stored(self.first + layer)
    }

    fn tell(&self, layer: usize, done: bool) {
        self.supply.tell(self.first + layer, done);
    }
}

fn no_layer() -> Error {
    Error::new(ErrorKind::Internal, "a layer that nobody asked for")
}

/// When the layers below each are complete.
struct Gates(Mutex<Vec<Gate>>);

#[derive(Default)]
struct Gate {
    applied: bool,
    /// Tells the layer's worker.
    go: Option<OwnedFd>,
}

impl Gates {
    fn lock(&self) -> MutexGuard<'_, Vec<Gate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A layer begins. What its worker waits on; None if everything below is complete.
    fn enter(&self, layer: usize) -> Result<Option<OwnedFd>> {
        let mut gates = self.lock();
        if gates.iter().take(layer).all(|gate| gate.applied) {
            return Ok(None);
        }
        let (ready, go) = pipe_with(PipeFlags::CLOEXEC).call("pipe2", "worker")?;
        if let Some(gate) = gates.get_mut(layer) {
            gate.go = Some(go);
        }
        Ok(Some(ready))
    }

    /// A layer is applied. Those above that wait for nobody else can go on.
    fn leave(&self, layer: usize) {
        let mut gates = self.lock();
        if let Some(gate) = gates.get_mut(layer) {
            gate.applied = true;
        }
        for gate in gates.iter_mut() {
            if let Some(go) = gate.go.take() {
                // A worker that needed nothing of what is below has gone already.
                let _ = crate::sys::write_without_sigpipe(go.as_fd(), b"x");
            }
            if !gate.applied {
                break;
            }
        }
    }
}

/// A layer on its way.
struct Making {
    /// The name of its tree, which it keeps until all that were begun together are recorded.
    tree: String,
    state: Mutex<State>,
}

enum State {
    Pending(Pending),
    Done(Layer),
    Gone,
}

impl Making {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is done, and not of this stack.
    fn was_there(&self) -> bool {
        matches!(*self.lock(), State::Done(Layer { place: Place::Published(_), .. }))
    }

    fn is_done(&self) -> bool {
        matches!(*self.lock(), State::Done(_))
    }
}

impl Stack<'_> {
    /// Puts layers on top whose blobs are in the store, lowest first.
    pub(crate) fn push_stored(
        &mut self,
        layers: &[Wanted<'_>],
        reporter: &Reporter<'_>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let supply = Stored { store: self.store, layers, reporter };
        Halt::under(cancel, Deadline::never(), |halt| self.push_all(layers, &supply, halt))
    }

    /// Puts layers on top, lowest first: all together, or as many as there are descriptors for.
    pub(crate) fn push_all(&mut self, layers: &[Wanted<'_>], supply: &dyn Supply, halt: &Halt) -> Result<()> {
        let spare = spare_descriptors();
        let together = (spare / PER_LAYER).clamp(2, TOGETHER);
        for (turn, some) in layers.chunks(together).enumerate() {
            if turn > 0 {
                self.settle()?;
            }
            self.push_some(some, &Shifted { supply, first: turn * together }, halt)?;
        }
        Ok(())
    }

    fn push_some(&mut self, layers: &[Wanted<'_>], supply: &dyn Supply, halt: &Halt) -> Result<()> {
        let mut making: Vec<Making> = Vec::with_capacity(layers.len());
        let result = self
            .claim_all(layers, &mut making, halt)
            .and_then(|()| self.apply_all(layers, &making, supply, halt));
        let claimed = making.len();
        let there: Vec<usize> =
            making.iter().enumerate().filter(|(_, one)| one.was_there()).map(|(index, _)| index).collect();
        for one in making {
            match one.state.into_inner().unwrap_or_else(PoisonError::into_inner) {
                // What stays pending is removed with the stack.
                State::Done(mut layer) if result.is_ok() => {
                    self.warnings.append(&mut layer.warnings);
                    self.layers.push(layer);
                }
                State::Done(Layer { place: Place::Pending(pending), .. }) | State::Pending(pending) => {
                    // If this fails, the sweep finds it.
                    let _ = self.remove(&pending);
                }
                State::Done(_) | State::Gone => {}
            }
        }
        result?;
        for (index, wanted) in layers.iter().enumerate().skip(claimed) {
            supply.stored(index)?;
            supply.tell(index, false);
            self.push(wanted.blob, Some(wanted.diff_id), halt.token())?;
            supply.tell(index, true);
        }
        // Those that were not read here: somebody else made them, perhaps of other blobs.
        for index in there.into_iter().chain(claimed..layers.len()) {
            let Some(wanted) = layers.get(index) else { return Err(no_layer()) };
            self.prove(wanted, || supply.stored(index), halt.token())
                .context(|| format!("layer {}", wanted.blob.digest))?;
        }
        Ok(())
    }

    /// Makes sure that a layer is what its blob unpacks to. What images of the store say was made sure of already.
    fn prove(
        &self,
        wanted: &Wanted<'_>,
        stored: impl FnOnce() -> Result<()>,
        cancel: &CancelToken,
    ) -> Result<()> {
        let Wanted { blob, diff_id } = wanted;
        // An archive that is not compressed.
        if blob.digest == *diff_id {
            return Ok(());
        }
        let known = self.store.db.read(|connection| known(connection, blob.digest, diff_id))?;
        if known {
            return Ok(());
        }
        stored()?;
        let file = self.store.content.open_blob(blob.digest, blob.size)?;
        let unpacked = Stream::new(Watched { file, cancel }, Limits::default()).and_then(Stream::finish);
        cancel.check()?;
        let unpacked = unpacked.map_err(|error| {
            Error::new(ErrorKind::InvalidArchive, error.to_string()).with_object(blob.digest.as_str())
        })?;
        let found = Digest::from_sha256(&unpacked.diff_sha256);
        if found == **diff_id { Ok(()) } else { Err(crate::content::mismatch(diff_id, &found)) }
    }

    /// Finds or begins layers, as far as nobody else is at work on one.
    fn claim_all(&self, layers: &[Wanted<'_>], making: &mut Vec<Making>, halt: &Halt) -> Result<()> {
        let mut diff_ids: Vec<Digest> = self.layers.iter().map(|layer| layer.diff_id.clone()).collect();
        for wanted in layers {
            check_diff_id(wanted.diff_id)?;
            diff_ids.push(wanted.diff_id.clone());
        }
        let chain = chain_ids(&diff_ids);
        for (wanted, chain_id) in layers.iter().zip(chain.iter().skip(self.layers.len())) {
            match self.claim(chain_id.as_str(), Some((wanted.diff_id, chain_id)), halt.token())? {
                Claim::There(layer) => {
                    making.push(Making { tree: layer.name(), state: Mutex::new(State::Done(layer)) });
                }
                Claim::Ours(pending) => {
                    making.push(Making { tree: pending.tree(), state: Mutex::new(State::Pending(pending)) });
                }
                Claim::Taken => break,
            }
        }
        Ok(())
    }

    /// Removes everything in a tree, which stays the same directory: the workers of layers above have it open.
    fn empty(&self, tree: &OwnedFd) -> Result<()> {
        let path = self.store.paths.layers();
        let listing = crate::state::open_dir(tree, ".", &path)?;
        let names = crate::state::list_names(&listing, &path)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.worker.remove(tree.as_fd(), &names)
    }

    /// Does everything that is ours, on threads of its own.
    fn apply_all(
        &self,
        layers: &[Wanted<'_>],
        making: &[Making],
        supply: &dyn Supply,
        halt: &Halt,
    ) -> Result<()> {
        let gates: Vec<Gate> = making.iter().map(|one| Gate { applied: one.is_done(), go: None }).collect();
        let gates = Gates(Mutex::new(gates));
        let ours: Vec<usize> =
            making.iter().enumerate().filter(|(_, one)| !one.is_done()).map(|(index, _)| index).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let _part = halt.part();
            while let Some(&index) = ours.get(next.fetch_add(1, Ordering::Relaxed)) {
                let Some(wanted) = layers.get(index) else { return };
                let result = self.make(index, wanted, making, (&gates, supply, halt));
                if let Err(error) = result.context(|| format!("layer {}", wanted.blob.digest)) {
                    return halt.fail(error);
                }
            }
        };
        std::thread::scope(|scope| {
            let workers = (spare_descriptors() / PER_WORKER).clamp(1, WORKERS);
            for _ in 1..ours.len().min(workers) {
                // With fewer threads it only takes longer.
                if spawn_helper(scope, "coble-unpack", work).is_err() {
                    break;
                }
            }
            work();
        });
        halt.check()
    }

    /// Applies one layer.
    fn make(
        &self,
        index: usize,
        wanted: &Wanted<'_>,
        making: &[Making],
        (gates, supply, halt): (&Gates, &dyn Supply, &Halt),
    ) -> Result<()> {
        let Some(one) = making.get(index) else { return Err(no_layer()) };
        let stacked = self.layers.iter().map(Layer::name);
        let mut lower: Vec<String> =
            stacked.chain(making.iter().take(index).map(|one| one.tree.clone())).collect();
        lower.reverse();
        let tree = match &*one.lock() {
            State::Pending(pending) => pending.open(self.store)?,
            _ => return Err(no_layer()),
        };
        let done = loop {
            halt.check()?;
            let input = supply.open(index)?;
            supply.tell(index, false);
            let ready = gates.enter(index)?;
            // The input is filled in below.
            let layer = Application {
                target: tree.as_fd(),
                input: tree.as_fd(),
                below: Below::of(self.store, &lower),
                ready: ready.as_ref().map(AsFd::as_fd),
            };
            let applied = match input {
                Input::File(file) => {
                    self.worker.apply(Application { input: file.as_fd(), ..layer }, halt.token())
                }
                Input::Stream(feed) => streamed(self.worker, feed, layer, halt),
            };
            match applied {
                // An archive that is not one may be a blob that is not what it should be: then that is the error.
                Err(error) if error.kind() != ErrorKind::InvalidArchive => return Err(error),
                applied => {
                    if supply.settle(index)? {
                        break applied?;
                    }
                }
            }
            self.empty(&tree)?;
        };
        let diff_id = Digest::from_sha256(&done.diff_sha256);
        if diff_id != *wanted.diff_id {
            return Err(crate::content::mismatch(wanted.diff_id, &diff_id));
        }
        let mut state = one.lock();
        match std::mem::replace(&mut *state, State::Gone) {
            State::Pending(mut pending) => {
                pending.bytes = done.content_bytes;
                let chain_id = pending.chain_id.clone().ok_or_else(no_layer)?;
                let place = Place::Pending(pending);
                *state = State::Done(Layer { diff_id, chain_id, place, warnings: warnings_of(&done) });
            }
            _ => return Err(no_layer()),
        }
        drop(state);
        gates.leave(index);
        supply.tell(index, true);
        Ok(())
    }
}

/// Whether an image of the store has a layer with this blob and this diff id.
fn known(connection: &rusqlite::Connection, blob: &Digest, diff_id: &Digest) -> Result<bool> {
    let found = connection
        .prepare_cached(
            "SELECT 1 FROM image_blobs JOIN image_layers USING (image_id, digest) WHERE digest = ?1 AND diff_id = ?2 LIMIT 1",
        )?
        .exists([blob.as_str(), diff_id.as_str()])?;
    Ok(found)
}

/// A file that is read until the call is cancelled.
struct Watched<'a> {
    file: File,
    cancel: &'a CancelToken,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.cancel.check().map_err(|_| std::io::Error::other("cancelled"))?;
        self.file.read(buffer)
    }
}

/// Applies what another thread writes to a pipe meanwhile.
fn streamed(
    worker: &dyn Worker,
    feed: Box<dyn FnOnce(OwnedFd) + Send + '_>,
    layer: Application<'_>,
    halt: &Halt,
) -> Result<coble_protocol::ArchiveDone> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).call("pipe2", "worker")?;
    // As much as the system allows; it works with less.
    let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE);
    std::thread::scope(|scope| {
        let feeder = spawn_helper(scope, "coble-feed", move || feed(write));
        feeder.map_err(|error| Error::io("clone", "thread", &error))?;
        let result = worker.apply(Application { input: read.as_fd(), ..layer }, halt.token());
        // Tells the feeder that nobody reads any more.
        drop(read);
        result
    })
}
