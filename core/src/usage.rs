//! What the store takes of the disk: allocated blocks, files with several names once, as `du` counts. The parts add up to the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use serde::Serialize;

use crate::cancel::CancelToken;
use crate::engine::{Engine, Inner};
use crate::error::{Call, Context, Result};
use crate::oci::{Algorithm, Digest};
use crate::process::reader;
use crate::state::{self, containers, images};

/// What the store takes of the disk, in bytes of allocated blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DiskUsage {
    /// Everything below the data root. The sum of `blobs`, `layers`, `writable`, `logs`, `volumes_size` and `other`.
    pub total: u64,
    /// Compressed layers, configurations and manifests.
    pub blobs: u64,
    /// Unpacked layers.
    pub layers: u64,
    /// What containers wrote, with what they share as snapshots of each other.
    pub writable: u64,
    /// Logs of containers.
    pub logs: u64,
    /// What is in volumes.
    pub volumes_size: u64,
    /// The database, directories, and what is on its way in.
    pub other: u64,
    /// What pruning all images that no container uses would give back.
    pub reclaimable: u64,
    /// The images, newest first.
    pub images: Vec<ImageUsage>,
    /// The containers, newest first.
    pub containers: Vec<ContainerUsage>,
    /// The volumes, by name.
    pub volumes: Vec<VolumeUsage>,
}

/// What an image takes of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageUsage {
    /// The image.
    pub id: String,
    /// Its names.
    pub references: Vec<String>,
    /// When it was made, RFC 3339, as it says.
    pub created: Option<String>,
    /// All of its blobs and unpacked layers.
    pub size: u64,
    /// What other images have, too.
    pub shared: u64,
    /// What only it has.
    pub unique: u64,
    /// How many containers use it.
    pub containers: u64,
}

/// What a container takes of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ContainerUsage {
    /// The container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image as its creator named it.
    pub image: String,
    /// Its state.
    pub state: String,
    /// What it wrote.
    pub writable: u64,
    /// Its log.
    pub logs: u64,
}

/// What a volume takes of the disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VolumeUsage {
    /// Its name.
    pub name: String,
    /// What is in it. Of a clone, what it does not share with its source.
    pub size: u64,
    /// How many containers have it, whether they run or not.
    pub containers: u64,
    /// How many clones are made upon it.
    pub clones: u64,
}

/// Blobs and unpacked layers, with what they take.
pub(crate) fn parts(
    inner: &Inner,
    cancel: &CancelToken,
) -> Result<(BTreeMap<Digest, u64>, BTreeMap<i64, u64>)> {
    let mut layers: BTreeMap<i64, u64> = BTreeMap::new();
    for (path, bytes) in reader::usage(inner, inner.store.layers.as_fd(), 1, cancel)? {
        if let Ok(n) = path.parse() {
            layers.insert(n, bytes);
        }
    }
    Ok((blobs(inner)?, layers))
}

/// Blobs, with what they take.
fn blobs(inner: &Inner) -> Result<BTreeMap<Digest, u64>> {
    let mut blobs = BTreeMap::new();
    for algorithm in Algorithm::ALL {
        for name in inner.store.content.list(algorithm)? {
            if let Ok(digest) = Digest::parse(&format!("{}:{name}", algorithm.name())) {
                let bytes = inner.store.content.allocated(&digest)?;
                blobs.insert(digest, bytes);
            }
        }
    }
    Ok(blobs)
}

impl Engine {
    /// What the store takes of the disk, in all and for each image and container. The sum is what `du` sees of the data root.
    pub fn disk_usage(&self, cancel: &CancelToken) -> Result<DiskUsage> {
        // Without a session, whose directory would count. What goes meanwhile is counted or not.
        measure(&*self.inner()?, cancel).context(|| "measuring the store".to_owned())
    }
}

fn measure(inner: &Inner, cancel: &CancelToken) -> Result<DiskUsage> {
    let mut usage = DiskUsage::default();
    let mut writable: BTreeMap<String, u64> = BTreeMap::new();
    let mut logs: BTreeMap<String, u64> = BTreeMap::new();
    let mut volumes: BTreeMap<String, u64> = BTreeMap::new();
    let mut layers: BTreeMap<i64, u64> = BTreeMap::new();
    for (path, bytes) in reader::usage(inner, inner.store.data.as_fd(), 3, cancel)? {
        usage.total += bytes;
        let mut parts = path.split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("layers"), Some(n), _) if n.parse::<i64>().is_ok() => {
                usage.layers += bytes;
                *layers.entry(n.parse().unwrap_or_default()).or_default() += bytes;
            }
            (Some("containers"), Some(id), Some(name)) if crate::log::driver::is_log(name) => {
                usage.logs += bytes;
                *logs.entry(id.to_owned()).or_default() += bytes;
            }
            (Some("containers"), Some(id), _) => {
                usage.writable += bytes;
                *writable.entry(id.to_owned()).or_default() += bytes;
            }
            // What containers had written when snapshots of them were made. It may be of several.
            (Some("frozen"), ..) => usage.writable += bytes,
            (Some("volumes"), Some(name), _) if !name.starts_with('.') => {
                usage.volumes_size += bytes;
                *volumes.entry(name.to_owned()).or_default() += bytes;
            }
            _ => usage.other += bytes,
        }
    }
    let blobs = blobs(inner)?;
    usage.blobs = blobs.values().sum();
    usage.other = usage.other.saturating_sub(usage.blobs);
    let rows = containers::list(&inner.store.db, None)?;
    let mut used_by: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &rows {
        *used_by.entry(&row.image_id).or_default() += 1;
    }
    inner.store.db.read(|connection| {
        let summaries = images::summaries(connection, None)?;
        let mut users: BTreeMap<(bool, String), u64> = BTreeMap::new();
        let mut owned = Vec::new();
        for summary in &summaries {
            let parts = images::parts(connection, &summary.id)?;
            for digest in &parts.0 {
                *users.entry((true, digest.to_string())).or_default() += 1;
            }
            for n in &parts.1 {
                *users.entry((false, n.to_string())).or_default() += 1;
            }
            owned.push(parts);
        }
        let unused: BTreeSet<String> = images::unused(connection, true)?.into_keys().collect();
        // Those for ids that no container has any more.
        let (_, lost) = images::unreferenced(connection)?;
        let lost: BTreeSet<_> = lost.iter().map(|n| (false, n.to_string())).collect();
        // What stays if everything that is unused goes.
        let mut kept: BTreeSet<(bool, String)> = BTreeSet::new();
        for (summary, (own_blobs, own_layers)) in summaries.into_iter().zip(owned) {
            let mut image = ImageUsage {
                containers: used_by.get(summary.id.as_str()).copied().unwrap_or(0),
                id: summary.id,
                references: summary.references,
                created: summary.created,
                ..ImageUsage::default()
            };
            let own = own_blobs
                .iter()
                .map(|digest| ((true, digest.to_string()), blobs.get(digest)))
                .chain(own_layers.iter().map(|n| ((false, n.to_string()), layers.get(n))));
            for (key, bytes) in own {
                let bytes = bytes.copied().unwrap_or(0);
                image.size += bytes;
                if users.get(&key).copied().unwrap_or(0) > 1 {
                    image.shared += bytes;
                } else {
                    image.unique += bytes;
                }
                if !unused.contains(&image.id) && !lost.contains(&key) {
                    kept.insert(key);
                }
            }
            usage.images.push(image);
        }
        let rest = blobs
            .iter()
            .map(|(digest, bytes)| ((true, digest.to_string()), *bytes))
            .chain(layers.iter().map(|(n, bytes)| ((false, n.to_string()), *bytes)));
        usage.reclaimable = rest.filter(|(key, _)| !kept.contains(key)).map(|(_, bytes)| bytes).sum();
        // Of fetches that were cut short. Those that are under way stay, but are not there for long.
        usage.reclaimable += inner.store.content.partial_bytes()?;
        Ok(())
    })?;
    usage.containers = rows
        .into_iter()
        .map(|row| ContainerUsage {
            writable: writable.get(&row.id).copied().unwrap_or(0),
            logs: logs.get(&row.id).copied().unwrap_or(0),
            id: row.id,
            name: row.name,
            image: row.image,
            state: row.state,
        })
        .collect();
    let (rows, counts) = inner
        .store
        .db
        .read(|connection| Ok((state::volumes::list(connection)?, state::volumes::counts(connection)?)))?;
    let mut clones: BTreeMap<String, u64> = BTreeMap::new();
    for source in rows.iter().filter_map(|row| row.source.clone()) {
        *clones.entry(source).or_default() += 1;
    }
    usage.volumes = rows
        .into_iter()
        .map(|row| VolumeUsage {
            size: volumes.get(&row.name).copied().unwrap_or(0),
            containers: counts.get(&row.name).copied().unwrap_or(0),
            clones: clones.get(&row.name).copied().unwrap_or(0),
            name: row.name,
        })
        .collect();
    Ok(usage)
}

/// The free space of the file system that the store is on, in bytes.
pub(crate) fn free(inner: &Inner) -> Result<u64> {
    let statvfs = rustix::fs::fstatvfs(&inner.store.data).call("statvfs", &inner.store.paths.data)?;
    Ok(statvfs.f_bavail.saturating_mul(statvfs.f_frsize))
}
