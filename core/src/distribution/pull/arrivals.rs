//! The layers of an image as they come in, for whoever unpacks them.

use std::sync::atomic::{AtomicU32, Ordering};

use super::Pull;
use crate::distribution::ProgressKind;
use crate::distribution::fetch::Blob;
use crate::error::{Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::snapshot::{Input, Supply};
use crate::state::images::LayerRow;

/// The layers of an image as they come in.
pub(super) struct Arrivals<'a> {
    pull: &'a Pull<'a>,
    layers: Vec<(&'a Blob, AtomicU32)>,
    halt: &'a Halt,
}

impl<'a> Arrivals<'a> {
    pub(super) fn new(
        pull: &'a Pull<'a>,
        blobs: &'a [Blob],
        layers: &[LayerRow],
        halt: &'a Halt,
    ) -> Result<Arrivals<'a>> {
        let find = |layer: &LayerRow| {
            let blob = blobs.iter().find(|blob| blob.digest == layer.digest);
            blob.map(|blob| (blob, AtomicU32::new(0))).ok_or_else(no_layer)
        };
        Ok(Arrivals { pull, layers: layers.iter().map(find).collect::<Result<_>>()?, halt })
    }

    fn layer(&self, layer: usize) -> Result<&(&'a Blob, AtomicU32)> {
        self.layers.get(layer).ok_or_else(no_layer)
    }
}

fn no_layer() -> Error {
    Error::new(ErrorKind::Internal, "a layer without a blob")
}

impl Supply for Arrivals<'_> {
    fn open(&self, layer: usize) -> Result<Input<'_>> {
        let (blob, generation) = self.layer(layer)?;
        let (whole, now) = blob.begun(self.halt)?;
        generation.store(now, Ordering::Relaxed);
        if whole && let Some(file) = blob.whole_file(self.pull.store())? {
            return Ok(Input::File(file));
        }
        Ok(Input::Stream(Box::new(move |pipe| blob.feed(self.pull.store(), now, pipe, self.halt))))
    }

    fn settle(&self, layer: usize) -> Result<bool> {
        let (blob, generation) = self.layer(layer)?;
        Ok(blob.complete(self.halt)? == generation.load(Ordering::Relaxed))
    }

    fn stored(&self, layer: usize) -> Result<()> {
        self.layer(layer)?.0.stored(self.halt)
    }

    fn tell(&self, layer: usize, done: bool) {
        if let Ok((blob, _)) = self.layer(layer) {
            let kind = if done { ProgressKind::UnpackDone } else { ProgressKind::Unpack };
            self.pull.reporter.blob(kind, &blob.digest, if done { blob.size } else { 0 }, blob.size);
        }
    }
}
