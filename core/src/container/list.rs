//! Finding containers and looking at them.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::filter::Filters;
use super::pause::state_of;
use super::rows::{Part, health, summary};
use super::run::{NO_MEMORY, no_memory};
use super::wait::refreshed;
use super::{
    Container, ContainerDetails, ContainerRows, ContainerSummary, Containers, Health, ListOptions, State,
};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::process::reader;
use crate::state::containers::Listed;
use crate::state::{ContainerRow, containers};

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
        self.rows(options)?.summaries().collect()
    }

    /// As [`Containers::list`], with everything about them read when somebody asks: for where there are thousands.
    pub fn rows(&self, options: &ListOptions) -> Result<ContainerRows> {
        let inner = &*self.engine.inner()?;
        let filters = Filters::parse(&options.filters)?;
        let limit = options.limit.filter(|limit| *limit > 0);
        let all = options.all || limit.is_some() || filters.means_all();
        let mut rows = chosen(inner, all, &filters)?;
        rows.truncate(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)));
        if options.size && !rows.is_empty() {
            rows.measured(sizes(inner)?);
        }
        Ok(rows)
    }
}

/// The containers that meet conditions, as they are now.
pub(super) fn chosen(inner: &Inner, all: bool, filters: &Filters) -> Result<ContainerRows> {
    let choice = filters.resolve(inner)?;
    let take = |part: &mut Part, row: &Listed<'_>, state, health| {
        let runs = matches!(state, State::Running | State::Paused | State::Restarting);
        if !(all || runs) || !choice.admits(row, state, health)? {
            return Ok(());
        }
        if filters.looks_deep() {
            // Removed since the list was read.
            let Some(found) = containers::get(&inner.store.db, row.id)? else { return Ok(()) };
            if !choice.admits_options(inner, &found)? {
                return Ok(());
            }
        }
        part.push(row, state, health)
    };
    let parts = containers::listed(&inner.store.db, all, Part::with_capacity, |part, row| {
        if !choice.admits_row(&row) {
            return Ok(());
        }
        let state = row.state()?;
        if state != State::Running {
            return take(part, &row, state, None);
        }
        // It may have ended, or be paused.
        let Some(row) = containers::get(&inner.store.db, row.id)? else { return Ok(()) };
        match refreshed(inner, row) {
            // Removed since the list was read.
            Err(error) if error.kind() == ErrorKind::ContainerNotFound => Ok(()),
            row => {
                let mut row = row?;
                let (state, condition) = state_of(inner, &mut row)?;
                take(part, &row.listed(), state, health(condition.as_ref()))
            }
        }
    })?;
    Ok(ContainerRows::new(parts))
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

/// What one container wrote, in bytes of the disk.
pub(super) fn size_of(inner: &Inner, id: &str) -> Result<u64> {
    let path = super::create::directory(inner, id);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&path, flags, Mode::empty()).call("open", &path)?;
    let parts = reader::usage(inner, directory.as_fd(), 1, &CancelToken::never())?;
    Ok(parts.iter().filter(|(path, _)| !crate::log::driver::is_log(path)).map(|(_, bytes)| bytes).sum())
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
        let mut warnings = run.warnings;
        if condition.as_ref().is_some_and(|condition| condition.out_of_memory) {
            warnings.push(no_memory());
        }
        let checked = condition.as_ref().and_then(|condition| condition.health.as_ref()).map(Health::of);
        Ok(ContainerDetails {
            summary: summary(&row.listed(), state, health(condition.as_ref()))?,
            restart_count: condition.map_or(run.restarts, |condition| condition.restarts),
            health: checked.or(run.health),
            spec: row.spec()?,
            pid: row.pid,
            error: row.error.clone(),
            isolation: run.isolation,
            oom_killed: warnings.iter().any(|warning| warning.code == NO_MEMORY),
            warnings,
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

/// Brings the ends of programs of containers of these images on record that nobody has noticed yet. Those that cannot be are as they were.
pub(crate) fn settle(inner: &Inner, images: &[String]) -> Result<()> {
    for row in containers::list(&inner.store.db, Some(State::Running.name()))? {
        if images.contains(&row.image_id) {
            let _ = refreshed(inner, row);
        }
    }
    Ok(())
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
