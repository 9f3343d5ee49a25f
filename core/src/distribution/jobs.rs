//! How many blobs are moved at once.

use crate::error::{Error, ErrorKind, Result};

/// If the caller does not say.
const JOBS: u32 = 4;
pub(super) const JOBS_MAX: u32 = 64;

/// How many blobs are moved at once.
pub(super) fn jobs(wanted: Option<u32>) -> Result<usize> {
    match wanted.unwrap_or(JOBS) {
        jobs @ 1..=JOBS_MAX => Ok(jobs as usize),
        jobs => Err(Error::new(ErrorKind::InvalidArgument, format!("{jobs} blobs at once are not possible"))
            .with_hint(format!("give a number from 1 to {JOBS_MAX}"))),
    }
}
