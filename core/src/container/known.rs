//! The processes of containers that run, as exec needs them: made once for each run instead of for every exec.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use coble_protocol::ProcessSpec;

use super::start::process_of;
use crate::engine::Inner;
use crate::error::Result;
use crate::state::ContainerRow;

/// How many are kept. One that is not is made again.
const MOST: usize = 64;

/// What the programs of this engine's containers have, by the run: nothing that a running container can have changed of it goes into one.
#[derive(Debug, Default)]
pub(crate) struct KnownProcesses(Mutex<VecDeque<(Run, Arc<ProcessSpec>)>>);

/// A container's id, and when it was started.
type Run = (String, u64);

impl KnownProcesses {
    /// The process of a running container.
    pub(super) fn of(inner: &Inner, row: &ContainerRow) -> Result<Arc<ProcessSpec>> {
        let Some(started_at) = row.started_at else { return process_of(inner, row).map(Arc::new) };
        let find = |known: &VecDeque<(Run, Arc<ProcessSpec>)>| {
            let same = |((id, start), _): &&(Run, _)| *start == started_at && *id == row.id;
            known.iter().find(same).map(|(_, process)| process.clone())
        };
        let KnownProcesses(known) = &inner.known_processes;
        if let Some(process) = find(&known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(process);
        }
        let process = Arc::new(process_of(inner, row)?);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.pop_front();
        }
        known.push_back(((row.id.clone(), started_at), process.clone()));
        Ok(process)
    }
}
