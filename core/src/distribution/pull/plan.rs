//! What a pull would fetch.

use super::Pull;
use crate::cancel::CancelToken;
use crate::distribution::ground::Ground;
use crate::distribution::{Event, PlannedBlob, ProgressSink, PullOptions, PullPlan, short_names};
use crate::engine::Inner;
use crate::error::{Context, Result};
use crate::halt::Halt;
use crate::oci::{Digest, Reference};
use crate::process::Deadline;

/// What a pull would fetch.
pub(crate) fn plan(
    inner: &Inner,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<PullPlan> {
    plan_for(Ground::of(inner), reference, options, progress, cancel)
}

pub(in crate::distribution) fn plan_for(
    ground: Ground<'_>,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<PullPlan> {
    let candidates = short_names(ground.network, reference, &options.registry)?;
    let first = candidates.into_iter().next().map_or_else(|| Reference::parse(reference), Ok)?;
    let pull = Pull::new(ground, first, options, progress)?;
    Halt::under(cancel, Deadline::never(), |halt| {
        let events = |event: Event| pull.reporter.event(event);
        let client = pull.client(&events, halt)?;
        let top = pull.top(&client)?;
        let (several, digest) = pull.choose(&client, top)?;
        let mut plan =
            PullPlan { reference: pull.name.clone(), digest: digest.to_string(), ..PullPlan::default() };
        let mut seen: Vec<&Digest> = Vec::new();
        for found in &several.images {
            for descriptor in std::iter::once(&found.manifest.config).chain(&found.manifest.layers) {
                if seen.contains(&&descriptor.digest) {
                    continue;
                }
                seen.push(&descriptor.digest);
                let present = ground.store.content.has(&descriptor.digest, descriptor.size)?;
                let bytes = if present { &mut plan.present_bytes } else { &mut plan.missing_bytes };
                *bytes = bytes.saturating_add(descriptor.size);
                let digest = descriptor.digest.to_string();
                plan.blobs.push(PlannedBlob { digest, size: descriptor.size, present });
            }
        }
        Ok(plan)
    })
    .context(|| format!("planning the pull of \"{}\"", pull.name))
}
