//! Finding containers and looking at them.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use coble_protocol::Condition;
use rustix::fs::{Mode, OFlags};

use super::filter::Filters;
use super::pause::state_of;
use super::wait::refreshed;
use super::{
    Container, ContainerDetails, ContainerSummary, Containers, Health, Lifetime, ListOptions, State,
};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::reader;
use crate::state::containers::Listed;
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

    /// The running containers, or those that the options ask for, newest first.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>> {
        let inner = &*self.engine.inner()?;
        let filters = Filters::parse(&options.filters)?;
        let limit = options.limit.filter(|limit| *limit > 0);
        let all = options.all || limit.is_some() || filters.means_all();
        let mut summaries = chosen(inner, all, &filters)?;
        summaries.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
        if options.size && !summaries.is_empty() {
            let sizes = sizes(inner)?;
            for summary in &mut summaries {
                summary.size_rw = Some(sizes.get(&summary.id).copied().unwrap_or(0));
            }
        }
        Ok(summaries)
    }
}

/// The containers that meet conditions, as they are now.
pub(super) fn chosen(inner: &Inner, all: bool, filters: &Filters) -> Result<Vec<ContainerSummary>> {
    let choice = filters.resolve(inner)?;
    let admitted = |summary: ContainerSummary| {
        let runs = matches!(summary.state, State::Running | State::Paused | State::Restarting);
        ((all || runs) && choice.admits(&summary)).then_some(summary)
    };
    containers::listed(&inner.store.db, all, |row| {
        if !choice.admits_row(&row) {
            return Ok(None);
        }
        let state = row.state()?;
        if state != State::Running {
            return summary(row, state, None).map(admitted);
        }
        // It may have ended, or be paused.
        let Some(row) = containers::get(&inner.store.db, row.id)? else { return Ok(None) };
        match refreshed(inner, row) {
            // Removed since the list was read.
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => Ok(None),
            row => {
                let mut row = row?;
                let (state, condition) = state_of(inner, &mut row)?;
                summary(row.listed(), state, condition.as_ref()).map(admitted)
            }
        }
    })
}

/// What each container wrote, in bytes of the disk.
pub(super) fn sizes(inner: &Inner) -> Result<BTreeMap<String, u64>> {
    let path = inner.store.paths.data.join("containers");
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&path, flags, Mode::empty()).call("open", &path)?;
    let mut sizes: BTreeMap<String, u64> = BTreeMap::new();
    for (path, bytes) in reader::usage(inner, directory.as_fd(), 2, &CancelToken::never())? {
        if let Some((id, part)) = path.split_once('/')
            && !crate::log::driver::is_log(part)
        {
            *sizes.entry(id.to_owned()).or_default() += bytes;
        }
    }
    Ok(sizes)
}

impl Container {
    /// Its state now.
    pub fn state(&self) -> Result<State> {
        let inner = &*self.engine.inner()?;
        Ok(state_of(inner, &mut refreshed(inner, self.row(inner)?)?)?.0)
    }

    /// Everything about it.
    pub fn inspect(&self) -> Result<ContainerDetails> {
        let inner = &*self.engine.inner()?;
        let mut row = refreshed(inner, self.row(inner)?)?;
        let run = row.run()?;
        let (state, condition) = state_of(inner, &mut row)?;
        let health = condition.as_ref().and_then(|condition| condition.health.as_ref()).map(Health::of);
        Ok(ContainerDetails {
            summary: summary(row.listed(), state, condition.as_ref())?,
            restart_count: condition.map_or(run.restarts, |condition| condition.restarts),
            health: health.or(run.health),
            spec: row.spec()?,
            pid: row.pid,
            error: row.error.clone(),
            isolation: run.isolation,
            warnings: run.warnings,
            timings: run
                .timings
                .into_iter()
                .map(|(name, nanos)| (name, Duration::from_nanos(nanos)))
                .collect(),
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

fn summary(row: Listed<'_>, state: State, condition: Option<&Condition>) -> Result<ContainerSummary> {
    let time = |nanos: u64| rfc3339(from_nanos(nanos));
    Ok(ContainerSummary {
        command: row.json(row.command)?,
        created: time(row.created_at),
        state,
        exit_code: row.exit_code,
        started_at: row.started_at.map(time),
        finished_at: row.finished_at.map(time),
        labels: if row.labels == "{}" { BTreeMap::new() } else { row.json(row.labels)? },
        lifetime: if row.session { Lifetime::Session } else { Lifetime::Detached },
        health: condition
            .and_then(|condition| condition.health.as_ref())
            .map(|health| health.status.name().to_owned()),
        size_rw: None,
        id: row.id.to_owned(),
        name: row.name.to_owned(),
        image: row.image.to_owned(),
        image_id: row.image_id.to_owned(),
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
