//! Finding containers and looking at them.

use super::wait::refreshed;
use super::{Container, ContainerDetails, ContainerSummary, Containers, State};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::state::{ContainerRow, containers, from_nanos, rfc3339};

impl Containers<'_> {
    /// The container with this name, id, or unambiguous id prefix of at least four digits.
    pub fn get(&self, name_or_id: &str) -> Result<Container> {
        let inner = &*self.engine.inner()?;
        match containers::find(&inner.store.db, name_or_id)? {
            Some(row) => Ok(Container::new(self.engine.clone(), &row)),
            None => Err(not_found(name_or_id)),
        }
    }

    /// The running containers, or all, newest first.
    pub fn list(&self, all: bool) -> Result<Vec<ContainerSummary>> {
        let inner = &*self.engine.inner()?;
        let mut summaries = Vec::new();
        for row in containers::list(&inner.store.db, (!all).then_some(State::Running.name()))? {
            let row = match refreshed(inner, row) {
                // Removed since the list was read.
                Err(error) if error.kind() == ErrorKind::ContainerNotFound => continue,
                result => result?,
            };
            if all || row.state()? == State::Running {
                summaries.push(summary(&row)?);
            }
        }
        Ok(summaries)
    }
}

impl Container {
    /// Its state now.
    pub fn state(&self) -> Result<State> {
        let inner = &*self.engine.inner()?;
        refreshed(inner, self.row(inner)?)?.state()
    }

    /// Everything about it.
    pub fn inspect(&self) -> Result<ContainerDetails> {
        let inner = &*self.engine.inner()?;
        let row = refreshed(inner, self.row(inner)?)?;
        let run = row.run()?;
        Ok(ContainerDetails {
            summary: summary(&row)?,
            spec: row.spec()?,
            pid: row.pid,
            error: row.error.clone(),
            isolation: run.isolation,
            warnings: run.warnings,
        })
    }

    /// The row of the container as it is in the database now.
    pub(super) fn row(&self, inner: &Inner) -> Result<ContainerRow> {
        containers::get(&inner.store.db, self.id())?.ok_or_else(|| not_found(self.name()))
    }
}

pub(super) fn not_found(name: &str) -> Error {
    Error::new(ErrorKind::ContainerNotFound, format!("no container \"{}\"", name.escape_default()))
        .with_object(name)
}

fn summary(row: &ContainerRow) -> Result<ContainerSummary> {
    let spec = row.spec()?;
    let time = |nanos: u64| rfc3339(from_nanos(nanos));
    Ok(ContainerSummary {
        id: row.id.clone(),
        name: row.name.clone(),
        image: row.image.clone(),
        image_id: row.image_id.clone(),
        command: row.command()?,
        created: time(row.created_at),
        state: row.state()?,
        exit_code: row.exit_code,
        started_at: row.started_at.map(time),
        finished_at: row.finished_at.map(time),
        labels: spec.labels,
        lifetime: spec.lifetime,
    })
}

/// The name of a running container whose image has a layer in this place.
pub(crate) fn running_on(inner: &Inner, chain_id: &crate::oci::Digest) -> Result<Option<String>> {
    let images = inner.store.db.read(|connection| crate::state::images::with_chain(connection, chain_id))?;
    for row in containers::list(&inner.store.db, Some(State::Running.name()))? {
        if images.contains(&row.image_id) {
            return Ok(Some(row.name));
        }
    }
    Ok(None)
}
