//! A volume as a tar, written and unpacked by confined workers.

use std::os::fd::{AsFd, OwnedFd};

use coble_protocol::{FdList, Owner, Place};

use super::Volume;
use super::files::{self, Hold, name_in_store};
use crate::cancel::CancelToken;
use crate::container::Exported;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::image::{self, Sink, Source, sink};
use crate::process::reader::{self, View};
use crate::process::{Workers, warning_of, writer};
use crate::state::volumes::{self, VolumeRow};

impl Volume {
    /// Writes what is in it as a tar, whether a container has it or not. The entry `./` has the attributes of the volume itself. Of files that change meanwhile there may be in the tar what they never were; the tar
    /// itself is always whole. A sparse file is written without its holes, in GNU's format 1.0.
    pub fn export(&self, sink: Sink, cancel: &CancelToken) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("exporting volume \"{}\"", self.name);
        let chain = self.chain(inner)?;
        let output = sink::create(sink, cancel).context(doing)?;
        let names: Vec<String> = chain.iter().map(name_in_store).collect();
        let (store, data);
        let view = match names.as_slice() {
            [_] => {
                data = files::open(inner, &self.name).context(doing)?;
                View::Directory(data.as_fd())
            }
            names => {
                store = files::store(inner).context(doing)?;
                View::Merged { layers: store.as_fd(), lower: names, directory: None, container: None }
            }
        };
        // With an entry for the volume itself.
        let done =
            reader::path(inner, view, b"/", (false, true), b".", output.fd(), cancel).context(doing)?;
        output.finish().context(doing)?;
        Ok(exported(&done))
    }

    /// Unpacks a tar (plain, or compressed with gzip, zstd, bzip2 or xz) in it. Directories that are there are merged, and get the attributes of the archive; files are replaced. When it fails, entries before the
    /// one that failed are there, each of them whole.
    ///
    /// Fails with [`ErrorKind::InUse`] if it has clones, and for a clone while a container that has it runs.
    pub fn import(&self, archive: Source, cancel: &CancelToken) -> Result<Exported> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("importing to volume \"{}\"", self.name);
        let chain = self.chain(inner)?;
        let input = image::archive_input(archive)?;
        let hold = if chain.len() > 1 { Hold::Alone } else { Hold::Write };
        let lock = files::hold(inner, &self.name, hold, cancel).context(doing)?;
        refuse_with_clones(inner, &self.name).context(doing)?;
        let names: Vec<String> = chain.iter().skip(1).map(name_in_store).collect();
        let directory: OwnedFd;
        let mut fds = FdList::default();
        let place = match names.is_empty() {
            true => {
                directory = files::open(inner, &self.name).context(doing)?;
                Place::Volume(fds.push(directory.as_fd()))
            }
            false => {
                directory = files::store(inner).context(doing)?;
                Place::Clone {
                    base: fds.push(directory.as_fd()),
                    lower: names,
                    own: format!("volumes/{}", self.name),
                    userxattr: inner.rootless(),
                }
            }
        };
        // The worker has the lock, too, and so it is held as long as there is one.
        let lock = Some(fds.push(lock.as_fd()));
        let owner = (Owner::Archive, lock);
        let done = writer::put(Workers::from(inner), (place, fds), b"/", input.as_fd(), owner, cancel);
        done.map(|done| exported(&done)).context(doing)
    }

    /// Its row, and those of the volumes that it is a clone of.
    fn chain(&self, inner: &Inner) -> Result<Vec<VolumeRow>> {
        let row = volumes::find(&inner.store.db, &self.name)?;
        inner.store.db.read(|connection| volumes::chain(connection, row))
    }
}

/// Fails for a volume that clones are made upon, which nobody may write to.
pub(crate) fn refuse_with_clones(inner: &Inner, name: &str) -> Result<()> {
    let clones = inner.store.db.read(|connection| volumes::clones(connection, name))?;
    let Some(clone) = clones.first() else { return Ok(()) };
    let why = format!("volume \"{name}\" has clones, such as \"{clone}\", so nothing can be written to it");
    Err(Error::new(ErrorKind::InUse, why)
        .with_object(name)
        .with_hint("mount it read-only, or a clone of it, or remove its clones"))
}

fn exported(done: &coble_protocol::ArchiveDone) -> Exported {
    Exported {
        bytes: done.uncompressed_bytes,
        entries: done.entries,
        warnings: done.warnings.iter().map(warning_of).collect(),
    }
}
