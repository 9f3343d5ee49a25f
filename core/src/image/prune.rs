//! Removing images that are not used.

use std::collections::{BTreeMap, BTreeSet};

use super::filter::Filters;
use super::remove::change;
use super::{PruneOptions, Pruned};
use crate::cancel::CancelToken;
use crate::content::Leftover;
use crate::engine::Inner;
use crate::error::{Context, Error, Result};
use crate::oci::Digest;
use crate::state::{Session, events, images, now_nanos};

/// What blobs and unpacked layers take of the disk.
struct Sizes {
    blobs: BTreeMap<Digest, u64>,
    layers: BTreeMap<i64, u64>,
}

impl Sizes {
    fn measure(inner: &Inner, cancel: &CancelToken) -> Result<Sizes> {
        let (blobs, layers) = crate::usage::parts(inner, cancel)?;
        Ok(Sizes { blobs, layers })
    }

    fn of(&self, (blobs, layers): &(BTreeSet<Digest>, BTreeSet<i64>)) -> u64 {
        let blobs = blobs.iter().filter_map(|digest| self.blobs.get(digest));
        blobs.chain(layers.iter().filter_map(|n| self.layers.get(n))).sum()
    }

    fn total(&self) -> u64 {
        self.blobs.values().chain(self.layers.values()).sum()
    }
}

pub(super) fn prune(inner: &Inner, options: &PruneOptions, cancel: &CancelToken) -> Result<Pruned> {
    let filters = Filters::parse(&options.filters)?;
    let store = &inner.store;
    // What cannot be removed is counted as in use, and no reason to give nothing back.
    let partial = match store.content.partial_bytes() {
        Ok(before) if store.content.remove_partial(Leftover::All).is_ok() => {
            before.saturating_sub(store.content.partial_bytes().unwrap_or(before))
        }
        _ => 0,
    };
    let pruned = Session::run_freeing(store, inner, |session| {
        let sizes = Sizes::measure(inner, cancel)?;
        let free = match options.min_free {
            Some(_) => crate::usage::free(inner)?,
            None => 0,
        };
        let before = sizes.total();
        let limited = options.max_used.is_some() || options.min_free.is_some();
        let bounded = limited || options.reserved.is_some();
        // Whether enough has been given back.
        let enough = |reclaimed: u64| {
            let used = before.saturating_sub(reclaimed);
            let wanted = options.max_used.is_some_and(|most| used > most)
                || options.min_free.is_some_and(|least| free.saturating_add(reclaimed) < least);
            (limited && !wanted) || options.reserved.is_some_and(|least| used <= least)
        };
        change(store, session, |tx| {
            let unused = images::unused(tx, options.all)?;
            let all = images::summaries(tx, None)?;
            let mut chosen = filters.choose(tx, all)?;
            // The one that was not used for longest goes first.
            chosen.retain(|summary| unused.contains_key(&summary.id));
            chosen.sort_by_key(|summary| unused.get(&summary.id).copied());
            // What an earlier removal left, because somebody else was at work then, goes with the rest.
            let lost = || Ok::<_, Error>(sizes.of(&images::unreferenced(tx)?));
            let mut pruned = Pruned::default();
            for summary in chosen {
                // Asked for each only where the answer matters, since it takes a look at every blob.
                if bounded && enough(lost()?) {
                    break;
                }
                pruned.untagged.extend(images::tags_of(tx, &summary.id)?);
                events::of_image(tx, "delete", &summary.id, &summary.id)?;
                images::delete(tx, &summary.id)?;
                pruned.deleted.push(summary.id);
            }
            pruned.reclaimed = lost()?;
            // A name that another platform still has is not gone.
            let mut gone = Vec::new();
            for name in std::mem::take(&mut pruned.untagged) {
                if images::find(tx, &name).is_err() {
                    gone.push(name);
                }
            }
            pruned.untagged = gone;
            let reclaimed = BTreeMap::from([("reclaimed".to_owned(), pruned.reclaimed.to_string())]);
            events::add(tx, ("image", "prune", ""), now_nanos(), &reclaimed)?;
            Ok(pruned)
        })
    });
    let mut pruned = pruned.context(|| "pruning images".to_owned())?;
    pruned.reclaimed += partial;
    // Worth an attempt, and no reason to fail.
    let _ = store.db.shrink();
    Ok(pruned)
}
