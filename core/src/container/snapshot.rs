//! A container with the files that another one has at a moment.

use super::{Container, SnapshotOptions, State, create, frozen, remove, userns};
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::isolation::userns::OtherIds;
use crate::state::Session;

impl Container {
    /// Makes a new container with the options of this one, and with its files as they are now. It does not run yet: as long as it is not started it is a snapshot, of which any number of others can be
    /// made; started, it is a clone. The program of a clone begins anew, upon these files: what it did to them at its beginning, it does again. One that copies a file into its place and then sets
    /// owner and mode, for example, has it without set-id bits for a moment.
    ///
    /// Of a container that does not run, nothing is copied: what it wrote is frozen where it is, and both go on from there. That takes milliseconds, whatever the size. What a
    /// running container wrote is copied, while it is stopped by the freezer of its cgroup, unless [`SnapshotOptions::pause`] is off; where it has no such cgroup, that fails with
    /// [`ErrorKind::Unsupported`]. What belongs to ids that an ordinary user's container has for itself ([`UsernsMode::Auto`](super::UsernsMode::Auto)) is copied in any case, since the new one has others. Files that are in a volume or mounted are not
    /// part of it; of a container with such ids that has a volume there is no snapshot, since the volume's files would be nobody's in the new one ([`ErrorKind::Unsupported`]).
    pub fn snapshot(&self, options: &SnapshotOptions, cancel: &CancelToken) -> Result<Container> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("making a snapshot of container \"{}\"", self.name());
        if let Some(name) = &options.name {
            super::validate::container_name(name)?;
        }
        let tree = self.tree(inner, cancel).context(doing)?;
        let freezer = self.freezer(inner, &tree, options.pause).context(doing)?;
        let mut spec = tree.row.spec().context(doing)?;
        let image = super::image_of(inner, &tree.row).context(doing)?;
        spec.name = options.name.clone();
        let command = tree.row.command().context(doing)?;
        if let Some(need) = userns::its_own(inner, &tree.row, &spec).context(doing)? {
            super::volumes::check_copy(inner, &spec).context(doing)?;
            let copy = |owners: Option<&OtherIds>| {
                frozen::copy_for(inner, self, &tree, (owners, &image), freezer.as_ref(), cancel)
            };
            let files = create::Files::Copied(&copy, need);
            // The image's layers with the new container's ids are nobody's until it has a row.
            let lease = Session::lease(&inner.store, cancel).context(doing)?;
            let planned = create::Planned::like(spec, image.clone(), command, files);
            let made = create::make(inner, planned, State::Created);
            lease.end(&inner.store, inner);
            return made.map(|made| Container::new(self.engine.clone(), &made.row)).context(doing);
        }
        let frozen = frozen::freeze(inner, self, &tree, freezer.as_ref(), cancel).context(doing)?;
        let files = create::Files::Frozen(frozen.layers.clone(), tree.upper().context(doing)?);
        let planned = create::Planned::like(spec, image, command, files);
        let made = match create::make(inner, planned, State::Created) {
            Ok(made) => made,
            Err(error) => {
                if tree.running {
                    frozen.discard(inner);
                }
                return Err(error).context(doing);
            }
        };
        // Whoever removes the container from now on leaves what a row names. Before, he may not have.
        let there = frozen::are_there(inner, &frozen.layers);
        if !matches!(there, Ok(true)) {
            remove::locked(inner, &made.row.id, made.run_dir, made.lock, None, || {})?;
            there.context(doing)?;
            let text = format!("container \"{}\" was removed while a snapshot was made of it", self.name());
            return Err(Error::new(ErrorKind::InvalidState, text).with_object(self.name()));
        }
        Ok(Container::new(self.engine.clone(), &made.row))
    }
}
