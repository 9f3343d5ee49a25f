//! Applying a layer while the layers below are still being applied.
//!
//! What depends on them is done provisionally, as if everything could be below: whiteouts and opaque attributes are always made, directories that the archive
//! leaves out get the attributes of nothing. Where that was done is noted. When the layers below are complete, [`Applier::settle_deferred`] goes
//! over the notes, and what comes out is what would have come out with complete layers from the beginning.
//!
//! Notes take memory, so their number is bounded: beyond the bound the worker waits for the layers below, settles, and goes on
//! without notes. So it does when it meets something that cannot be done provisionally, such as a hard link into them.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::Applier;
use super::lower::{self, is_whiteout, opaque_name};
use super::meta::{Attributes, Place};
use crate::error::{Act, Error};
use crate::path;

/// The most notes, and the most bytes of their paths.
const NOTES_MAX: usize = 1 << 16;
const BYTES_MAX: usize = 4 << 20;

/// What has to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// A directory without an entry of its own.
    Implied,
    /// An opaque directory.
    Opaque,
    /// A directory that is both.
    ImpliedOpaque,
    /// A whiteout.
    Whiteout,
}

/// What was done provisionally.
#[derive(Debug)]
pub(super) struct Deferred {
    /// One byte can be read from it when the layers below are complete.
    ready: OwnedFd,
    notes: BTreeMap<Vec<u8>, Note>,
    bytes: usize,
}

impl Deferred {
    pub(super) fn new(ready: OwnedFd) -> Deferred {
        Deferred { ready, notes: BTreeMap::new(), bytes: 0 }
    }

    /// Waits until the layers below are complete.
    fn wait(&self) -> Result<(), Error> {
        let mut byte = [0; 1];
        loop {
            match rustix::io::read(&self.ready, &mut byte[..]) {
                Ok(1) => return Ok(()),
                // They never will be.
                Ok(_) => return Err(Error::Read(Errno::CANCELED.raw_os_error())),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::Read(errno.raw_os_error())),
            }
        }
    }

    fn is_full(&self) -> bool {
        self.notes.len() >= NOTES_MAX || self.bytes >= BYTES_MAX
    }

    fn put(&mut self, path: &[u8], note: Note) {
        if let Some(known) = self.notes.get_mut(path) {
            *known = note;
            return;
        }
        self.bytes += path.len();
        self.notes.insert(path.to_vec(), note);
    }

    fn take(&mut self, path: &[u8]) {
        if self.notes.remove(path).is_some() {
            self.bytes = self.bytes.saturating_sub(path.len());
        }
    }
}

impl Applier {
    /// Whether the layers below cannot be asked yet.
    pub(super) fn is_deferred(&self) -> bool {
        self.deferred.is_some()
    }

    pub(super) fn note_implied(&mut self, path: &[u8]) {
        if let Some(deferred) = &mut self.deferred {
            deferred.put(path, Note::Implied);
        }
    }

    pub(super) fn note_whiteout(&mut self, path: &[u8]) {
        if let Some(deferred) = &mut self.deferred {
            deferred.put(path, Note::Whiteout);
        }
    }

    /// The directory where the walk is became opaque.
    pub(super) fn note_opaque(&mut self) {
        if let Some(deferred) = &mut self.deferred {
            let note = match deferred.notes.get(&self.path) {
                Some(Note::Implied | Note::ImpliedOpaque) => Note::ImpliedOpaque,
                _ => Note::Opaque,
            };
            deferred.put(&self.path, note);
        }
    }

    /// A directory got an entry of its own.
    pub(super) fn note_explicit(&mut self, path: &[u8]) {
        if let Some(deferred) = &mut self.deferred {
            match deferred.notes.get(path) {
                Some(Note::Implied) => deferred.take(path),
                Some(Note::ImpliedOpaque) => deferred.put(path, Note::Opaque),
                _ => {}
            }
        }
    }

    /// Something was removed, with everything below.
    pub(super) fn note_removed(&mut self, path: &[u8]) {
        let Some(deferred) = &mut self.deferred else { return };
        deferred.take(path);
        let below = [path, b"/"].concat();
        let gone: Vec<Vec<u8>> = deferred
            .notes
            .range(below.clone()..)
            .map(|(known, _)| known)
            .take_while(|known| known.starts_with(&below))
            .cloned()
            .collect();
        for known in gone {
            deferred.take(&known);
        }
    }

    /// Whether anything is left that the layers below decide.
    pub(super) fn needs_lower(&self) -> bool {
        let Some(deferred) = &self.deferred else { return false };
        !deferred.notes.is_empty() || !self.root_set || self.levels.first().is_some_and(|root| root.hidden)
    }

    /// Called between entries: keeps the memory within its bound.
    pub(super) fn bound_deferred(&mut self) -> Result<(), Error> {
        match &self.deferred {
            Some(deferred) if deferred.is_full() => self.settle_deferred(),
            _ => Ok(()),
        }
    }

    /// Waits for the layers below and makes good what was done provisionally. The walk is at the root afterwards; from here on everything is done
    /// with the layers below.
    pub(super) fn settle_deferred(&mut self) -> Result<(), Error> {
        let Some(deferred) = self.deferred.take() else { return Ok(()) };
        self.leave_to(1)?;
        deferred.wait()?;
        let Deferred { notes, .. } = deferred;
        // First what is taken away, which changes the times of directories.
        for (path, note) in &notes {
            match note {
                Note::Whiteout => self.settle_whiteout(path)?,
                Note::Opaque | Note::ImpliedOpaque => self.settle_opaque(path)?,
                Note::Implied => {}
            }
        }
        for (path, note) in &notes {
            if matches!(note, Note::Implied | Note::ImpliedOpaque) {
                self.settle_implied(path)?;
            }
        }
        self.leave_to(1)
    }

    /// Takes a whiteout away that has nothing to hide.
    fn settle_whiteout(&mut self, canonical: &[u8]) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Whiteout, errno, canonical);
        if self.lower.find(canonical).map_err(fail)?.is_some() {
            return Ok(());
        }
        let (dir, name) = path::split(canonical);
        self.enter(dir)?;
        // Notes are kept true, so this is only a precaution.
        if is_whiteout(&lower::stat(self.here()?, name).map_err(fail)?) {
            rustix::fs::unlinkat(self.here()?, name, AtFlags::empty()).map_err(fail)?;
            self.touch();
        }
        Ok(())
    }

    /// Takes the attribute of a directory away that has nothing to merge with.
    fn settle_opaque(&mut self, canonical: &[u8]) -> Result<(), Error> {
        let fail = |errno| Error::system(Act::Whiteout, errno, canonical);
        let found = self.lower.find(canonical).map_err(fail)?;
        if found.is_some_and(|found| FileType::from_raw_mode(found.stat.st_mode) == FileType::Directory) {
            return Ok(());
        }
        self.enter(canonical)?;
        match rustix::fs::fremovexattr(self.here()?, opaque_name(self.userxattr)) {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(fail(errno)),
        }
    }

    /// Gives a directory what the layers below show.
    fn settle_implied(&mut self, canonical: &[u8]) -> Result<(), Error> {
        let Some(shown) = self.lower_directory(canonical)? else { return Ok(()) };
        self.enter(canonical)?;
        self.settle(Place::Directory, &Attributes::of_shown_directory(Some(&shown)), canonical, false)
    }

    /// Goes back to a directory that the walk was in before [`Applier::settle_deferred`].
    pub(super) fn return_to(&mut self, dir: &[u8]) -> Result<(), Error> {
        self.enter(dir)
    }

    /// The directory where the walk is gets the overlay's attribute.
    pub(super) fn set_opaque(&mut self) -> Result<(), Errno> {
        let Some(here) = self.levels.last().and_then(super::dirs::Level::fd) else {
            return Err(Errno::BADF);
        };
        rustix::fs::fsetxattr(
            here.as_fd(),
            opaque_name(self.userxattr),
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
    }
}
