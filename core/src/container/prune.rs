//! Removing the containers that do not run.

use std::collections::BTreeMap;

use rusqlite::Transaction;

use super::filter::Filters;
use super::{Containers, ContainersPruned, State, list, remove};
use crate::engine::Inner;
use crate::error::{Context, ErrorKind, Result};
use crate::state::{containers, events, now_nanos};

impl Containers<'_> {
    /// Removes the containers that do not run and meet conditions: `until`, `label` and `label!`. Those that belong to a session that lives go with it.
    pub fn prune(&self, filters: &[String]) -> Result<ContainersPruned> {
        let inner = &*self.engine.inner()?;
        let doing = || "pruning containers".to_owned();
        let filters = Filters::parse_prune(filters)?;
        let mut pruned = ContainersPruned::default();
        let found = list::chosen(inner, true, &filters).context(doing)?;
        let idle: Vec<usize> = (0..found.len())
            .filter(|index| matches!(found.state(*index), Some(State::Created | State::Exited)))
            .collect();
        if idle.is_empty() {
            tell(inner, 0);
            return Ok(pruned);
        }
        let sizes = list::sizes(inner).context(doing)?;
        for (id, name) in idle.into_iter().filter_map(|index| found.id(index).zip(found.name(index))) {
            let Some(row) = containers::get(&inner.store.db, id)? else { continue };
            if row.session.as_deref().is_some_and(|session| inner.session_lives(session)) {
                continue;
            }
            match remove::by_id(inner, id, name, false) {
                // Started, or removed by somebody else, in between.
                Err(error)
                    if matches!(error.kind(), ErrorKind::InvalidState | ErrorKind::ContainerNotFound) => {}
                removed => {
                    removed.context(doing)?;
                    pruned.reclaimed += sizes.get(id).copied().unwrap_or(0);
                    pruned.deleted.push(id.to_owned());
                }
            }
        }
        tell(inner, pruned.reclaimed);
        Ok(pruned)
    }
}

/// As docker has it: there is an event also when there was nothing to remove. One that cannot be recorded is no reason to fail.
fn tell(inner: &Inner, reclaimed: u64) {
    let reclaimed = BTreeMap::from([("reclaimed".to_owned(), reclaimed.to_string())]);
    let told = |tx: &Transaction<'_>| events::add(tx, ("container", "prune", ""), now_nanos(), &reclaimed);
    let _ = inner.store.db.write(told);
}
