//! Making an image of a container.

use std::os::fd::{AsFd, OwnedFd};
use std::time::SystemTime;

use coble_protocol::PackForm;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use serde_json::{Map, Value, json};

use super::tree::Tree;
use super::{CommitOptions, Container, ContainerSpec, frozen};
use crate::cancel::CancelToken;
use crate::content::{compress, writer};
use crate::engine::Inner;
use crate::error::{Call, Context, Error, ErrorKind, Result};
use crate::event::note;
use crate::image::{ImageSummary, NewLayer, Upon, changes, record};
use crate::oci::{Compression, Digest, Reference};
use crate::process::reader::{self, FreezerFiles, View};
use crate::process::{Workers, spawn_helper};
use crate::progress::{Meter, ProgressKind, ProgressSink, Reporter};
use crate::state::{Session, rfc3339};

impl Container {
    /// Makes an image of the container: its image's layers, one more with what it changed, and its configuration, with changes.
    ///
    /// A running container is stopped by the freezer of its cgroup while its files are read, unless `pause` is off; where it has no
    /// such cgroup, that fails with [`ErrorKind::Unsupported`]. Files that are in a volume or mounted are not part of the image.
    pub fn commit(
        &self,
        reference: Option<&str>,
        options: &CommitOptions,
        progress: ProgressSink<'_>,
        cancel: &CancelToken,
    ) -> Result<ImageSummary> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("making an image of container \"{}\"", self.name());
        let reference = reference.map(Reference::parse_tag).transpose()?;
        let compression = Compression::parse(options.compression.as_deref().unwrap_or("gzip"))?;
        // What is wrong with the changes shows before anything is read.
        changes::apply(&mut Map::new(), &options.changes, false)?;
        let reporter = &Reporter::new(self.name(), progress);
        Session::run(&inner.store, inner, cancel, |session| {
            let tree = self.tree(inner, cancel)?;
            if tree.row.image_id.is_empty() {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("container \"{}\" has no image that one could be made upon", self.name()),
                )
                .with_object(self.name())
                .with_hint("export its files, and import them as an image"));
            }
            let freezer = self.freezer(inner, &tree, options.pause)?;
            let mut layers = Vec::new();
            // How much it is shows when it is there.
            let meter = reporter.source(0);
            let job = Job { inner, workers: tree.workers(inner), session, compression, meter: &meter };
            for below in frozen::open_all(inner, &tree.row)?.into_iter().rev() {
                layers.extend(layer(job, &below, None, cancel)?);
            }
            layers.extend(layer(job, &tree.upper()?, freezer.as_ref(), cancel)?);
            meter.tell(ProgressKind::Read);
            self.still_there(inner)?;
            let spec = tree.row.spec()?;
            let created_by = tree.row.command()?.join(" ").chars().take(4096).collect();
            let named = reference.as_ref().map_or_else(String::new, |reference| reference.familiar());
            let upon = Upon {
                image: &tree.row.image_id,
                layers,
                created: rfc3339(SystemTime::now()),
                created_by,
                author: options.author.clone(),
                message: options.message.clone(),
                reference,
            };
            let made = record(
                &inner.store,
                session,
                inner,
                upon,
                |config| configure(config, &spec, &options.changes),
                reporter,
                cancel,
            )?;
            let comment = options.message.clone().unwrap_or_default();
            let extra = [("comment", comment), ("imageID", made.id.clone()), ("imageRef", named)];
            note(inner, self.id(), "commit", &extra);
            reporter.tell(ProgressKind::Done, None);
            Ok(made)
        })
        .context(doing)
    }

    /// What stops the container, if it has to be stopped.
    pub(super) fn freezer(&self, inner: &Inner, tree: &Tree, pause: bool) -> Result<Option<FreezerFiles>> {
        // One that is paused stays so.
        if !tree.running || !pause || inner.cgroups.is_frozen(self.id()) {
            return Ok(None);
        }
        match inner.cgroups.freezer(self.id()) {
            Some((freeze, events)) => Ok(Some(FreezerFiles { freeze, events })),
            None => Err(Error::new(
                ErrorKind::Unsupported,
                format!("container \"{}\" cannot be paused: it has no cgroup of version 2", self.name()),
            )
            .with_object(self.name())
            .with_hint("stop it first, or do it without a pause")),
        }
    }
}

/// What the layers of a commit have in common.
#[derive(Clone, Copy)]
struct Job<'a> {
    inner: &'a Inner,
    workers: Workers<'a>,
    session: &'a Session,
    compression: Compression,
    meter: &'a Meter<'a>,
}

/// Writes what is in a directory of changes as a layer, compressed on the way.
fn layer(
    Job { inner, workers, session, compression, meter }: Job<'_>,
    upper: &OwnedFd,
    freezer: Option<&FreezerFiles>,
    cancel: &CancelToken,
) -> Result<Option<NewLayer>> {
    // A socket pair instead of a pipe, since its end can be told: that of a pipe does not come as long as a child that the host forked has a copy.
    let (read, write) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .call("socketpair", "layer")?;
    let (read, write) = (std::fs::File::from(read), &write);
    let mut output = writer(session)?;
    let (packed, compressed) = std::thread::scope(|scope| -> Result<_> {
        let pack = spawn_helper(scope, "coble-commit", move || {
            let view = View::Directory(upper.as_fd());
            let packed = reader::pack(workers, view, PackForm::Layer, Some(write.as_fd()), freezer, cancel);
            let _ = shutdown(write, Shutdown::Write);
            packed
        })
        .map_err(|error| Error::io("clone", "helper thread", &error))?;
        let mut input = meter.reader(&read, ProgressKind::Read);
        let compressed = compress(&mut input, "layer", compression, None, &mut output, cancel);
        // Whoever still writes has nobody to write to.
        let _ = shutdown(&read, Shutdown::Both);
        let gone = |_| Error::new(ErrorKind::Internal, "the thread that reads the container has ended");
        Ok((pack.join().map_err(gone)?, compressed))
    })?;
    // Of two errors the one that came first: a full disk makes the other side fail, too.
    let packed = match (packed, compressed) {
        (Err(error), _) if error.errno() != Some(libc::EPIPE) => return Err(error),
        (_, Err(error)) | (Err(error), Ok(())) => return Err(error),
        (Ok(packed), Ok(())) => packed,
    };
    let staged = output.finish();
    if packed.entries == 0 {
        staged.discard(session)?;
        return Ok(None);
    }
    inner.store.publish(session, &staged, &staged.digest)?;
    Ok(Some(NewLayer {
        digest: staged.digest,
        size: staged.size,
        diff_id: Digest::from_sha256(&packed.diff_sha256),
        media_type: compression.layer_media_type().to_owned(),
    }))
}

/// The configuration of the container over that of its image, as docker has it, then the changes.
fn configure(config: &mut Map<String, Value>, spec: &ContainerSpec, instructions: &[String]) -> Result<()> {
    for (name, value) in &spec.environment {
        changes::set_env(config, name, value);
    }
    if let Some(entrypoint) = &spec.entrypoint {
        config.insert("Entrypoint".into(), json!(entrypoint));
        config.remove("Cmd");
    }
    if let Some(command) = &spec.command {
        config.insert("Cmd".into(), json!(command));
    }
    let texts = [("User", &spec.user), ("WorkingDir", &spec.working_dir), ("StopSignal", &spec.stop_signal)];
    for (name, value) in texts {
        if let Some(value) = value {
            config.insert(name.into(), json!(value));
        }
    }
    for (name, value) in &spec.labels {
        changes::set_in(config, "Labels", name.clone(), json!(value));
    }
    for port in &spec.exposed_ports {
        // It was checked when the container was made.
        if let Ok(port) = changes::exposed(port) {
            changes::set_in(config, "ExposedPorts", port, json!({}));
        }
    }
    changes::apply(config, instructions, false)
}
