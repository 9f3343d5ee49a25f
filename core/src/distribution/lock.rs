//! Pinning names to what they stand for now.

use std::path::Path;

use super::lockfile::LockFile;
use super::progress::Reporter;
use super::{Access, Client, Event, Pin, ProgressSink, RegistryOptions, local};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::oci::Reference;
use crate::process::Deadline;

pub(crate) fn lock(
    inner: &Inner,
    references: &[&str],
    path: &Path,
    options: &RegistryOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<Vec<Pin>> {
    if references.is_empty() {
        return Err(Error::new(ErrorKind::InvalidArgument, "no image is named"));
    }
    let names = references.iter().map(|text| Reference::parse_tag(text)).collect::<Result<Vec<_>>>()?;
    let mut lock = LockFile::read_or_new(path)?;
    let pinned = Halt::under(cancel, Deadline::never(), |halt| {
        let mut pinned = Vec::new();
        for name in &names {
            let reporter = Reporter::new(&name.to_string(), progress);
            let events = |event: Event| reporter.event(event);
            let ask = || {
                let client = Client::new(&inner.network, name, options, Access::Pull, &events, halt.token())?;
                let tag = name.tag().unwrap_or("latest");
                client.manifest_head(tag)?.ok_or_else(|| local::unknown(&name.to_string()))
            };
            let head = ask().context(|| format!("pinning \"{name}\""))?;
            pinned.push((name, head.digest));
        }
        Ok(pinned)
    })?;
    for (name, digest) in &pinned {
        lock.set(name, digest.clone());
    }
    lock.write()?;
    let pin = |(name, digest): (&Reference, _)| Pin { reference: name.to_string(), digest };
    Ok(pinned.into_iter().map(|(name, digest)| pin((name, digest.to_string()))).collect())
}
