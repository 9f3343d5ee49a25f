//! Pulling an image: what a name stands for, what of it is missing, and bringing that in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::{Connection, Transaction};

use super::blob::verified;
use super::fetch::{Blob, Fetcher};
use super::local::{self, Current};
use super::lockfile::LockFile;
use super::net::Network;
use super::progress::Reporter;
use super::{
    Access, Client, Event, Fetched, PlannedBlob, ProgressKind, ProgressSink, PullOptions, PullPlan,
    PullPolicy,
};
use crate::cancel::CancelToken;
use crate::content::{Partial, read_small};
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::choose::{self, Documents, Found, Several};
use crate::image::{ImageSummary, pair, wanted};
use crate::oci::{Descriptor, Digest, ImageDocument, MAX_DOCUMENT, Manifest, PlatformChoice, Reference};
use crate::process::{Deadline, spawn_helper};
use crate::snapshot::{Input, Stack, Supply, Worker};
use crate::state::images::{self, LayerRow, NewImage};
use crate::state::origins::{self, Origin};
use crate::state::{Session, Store, events};

/// Blobs at once, if the caller does not say.
const JOBS: u32 = 4;
pub(super) const JOBS_MAX: u32 = 64;
/// How often it is begun again when images are removed at the same time.
const ATTEMPTS: u32 = 10;

/// Where images come to, and go from.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) store: &'a Store,
    pub(super) worker: &'a dyn Worker,
    pub(super) network: &'a Network,
    /// The lock file that every pull obeys.
    pub(super) lock_file: Option<&'a Path>,
}

impl<'a> Ground<'a> {
    pub(super) fn of(inner: &'a Inner) -> Ground<'a> {
        let lock_file = inner.lock_file.as_deref();
        Ground { store: &inner.store, worker: inner, network: &inner.network, lock_file }
    }
}

/// A pull that has begun.
struct Pull<'a> {
    ground: Ground<'a>,
    reference: Reference,
    /// The canonical name.
    name: String,
    choice: PlatformChoice,
    options: &'a PullOptions,
    jobs: usize,
    lock: Option<LockFile>,
    reporter: Reporter<'a>,
}

pub(crate) fn pull(
    inner: &Inner,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    pull_until(inner, reference, options, progress, Deadline::never(), cancel)
}

/// As [`pull`], to be over in time.
pub(crate) fn pull_until(
    inner: &Inner,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    pull_to(Ground::of(inner), reference, options, progress, deadline, cancel)
}

pub(super) fn pull_to(
    ground: Ground<'_>,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    deadline: Deadline,
    cancel: &CancelToken,
) -> Result<ImageSummary> {
    let candidates = super::short_names(&super::Places::of_process(), reference)?;
    let mut pulls = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        pulls.push(Pull::new(ground, candidate, options, progress)?);
    }
    let here = || -> Result<Option<(&Pull<'_>, String)>> {
        for pull in &pulls {
            // Without a platform it is what the name means here.
            let choice = options.platform.as_ref().map(|_| &pull.choice);
            let found = local::find(ground.store, &pull.name, choice)?;
            if let Some(id) = found.and_then(|ids| ids.into_iter().next()) {
                return Ok(Some((pull, id)));
            }
        }
        Ok(None)
    };
    if matches!(options.policy, PullPolicy::Never | PullPolicy::Missing)
        && let Some((pull, id)) = here()?
    {
        match pull.local(&id) {
            // Somebody else has removed it since.
            Err(error) if error.kind() == ErrorKind::ImageNotFound => {}
            result => return result,
        }
    }
    if options.policy == PullPolicy::Never {
        return Err(images::not_found(reference));
    }
    let mut last = None;
    for pull in &pulls {
        let result = Halt::under(cancel, deadline, |halt| pull.remote(halt));
        match result.context(|| format!("pulling \"{}\"", pull.name)) {
            Ok(summary) => {
                pull.reporter.tell(ProgressKind::Done, Some(summary.id.clone()));
                return Ok(summary);
            }
            // Perhaps the next registry that a short name may mean has it.
            Err(error) if is_elsewhere(&error) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    let error = last.unwrap_or_else(|| images::not_found(reference));
    if options.policy == PullPolicy::Newer
        && let Some((pull, id)) = here()?
    {
        let message = format!("{}; the image that is here is taken", error.message());
        pull.reporter.tell(ProgressKind::Warning, Some(message));
        return pull.local(&id);
    }
    Err(error)
}

/// Whether the failure is one of the registry, or of the way to it.
fn is_elsewhere(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Network
            | ErrorKind::Offline
            | ErrorKind::Registry
            | ErrorKind::RateLimited
            | ErrorKind::Unauthorized
            | ErrorKind::ImageNotFound
    )
}

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

pub(super) fn plan_for(
    ground: Ground<'_>,
    reference: &str,
    options: &PullOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<PullPlan> {
    let candidates = super::short_names(&super::Places::of_process(), reference)?;
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

/// How many blobs are moved at once.
pub(super) fn jobs(wanted: Option<u32>) -> Result<usize> {
    match wanted.unwrap_or(JOBS) {
        jobs @ 1..=JOBS_MAX => Ok(jobs as usize),
        jobs => Err(Error::new(ErrorKind::InvalidArgument, format!("{jobs} blobs at once are not possible"))
            .with_hint(format!("give a number from 1 to {JOBS_MAX}"))),
    }
}

impl<'a> Pull<'a> {
    fn new(
        ground: Ground<'a>,
        reference: Reference,
        options: &'a PullOptions,
        progress: ProgressSink<'a>,
    ) -> Result<Pull<'a>> {
        let name = reference.to_string();
        let lock = match options.lock.as_deref().or(ground.lock_file) {
            Some(path) => Some(LockFile::read(path)?),
            None => None,
        };
        Ok(Pull {
            ground,
            choice: PlatformChoice::parse(options.platform.as_deref())?,
            options,
            jobs: jobs(options.jobs)?,
            lock,
            reporter: Reporter::new(&name, progress),
            reference,
            name,
        })
    }

    fn store(&self) -> &'a Store {
        self.ground.store
    }

    fn client<'c>(&self, events: &'c (dyn Fn(Event) + Sync), halt: &Halt) -> Result<Client<'c>> {
        let Pull { ground, reference, options, .. } = self;
        Client::new(ground.network, reference, &options.registry, Access::Pull, events, halt.token())
    }

    /// What the name is pinned to.
    fn pin(&self) -> Option<(&LockFile, &Digest)> {
        let lock = self.lock.as_ref()?;
        Some((lock, lock.pin(&self.name)?))
    }

    /// The image that is here, if it is what the name is pinned to.
    fn local(&self, id: &str) -> Result<ImageSummary> {
        if let Some((lock, pinned)) = self.pin() {
            local::check_pin(self.store(), lock, &self.reference, pinned, id)?;
        }
        let summary = local::summary(self.store(), id)?;
        self.reporter.tell(ProgressKind::Done, Some(summary.id.clone()));
        Ok(summary)
    }

    fn origin(&self, digest: &Digest) -> Origin {
        let wanted = match &self.choice {
            PlatformChoice::All => "all".to_owned(),
            // Who names it gets no other, which who does not may have got.
            PlatformChoice::Best(platform) if self.options.platform.is_some() => format!("={platform}"),
            PlatformChoice::Best(platform) => platform.to_string(),
        };
        Origin {
            repository: self.reference.repository(),
            digest: digest.clone(),
            wanted,
            pinned: self.reference.digest().is_some(),
        }
    }

    fn check_drift(&self, digest: &Digest) -> Result<()> {
        match self.pin() {
            Some((lock, pinned)) if pinned != digest => Err(lock.drift(&self.name, pinned, digest.as_str())),
            _ => Ok(()),
        }
    }

    fn remote(&self, halt: &Halt) -> Result<ImageSummary> {
        let mut attempts = 1;
        loop {
            match self.attempt(halt) {
                // Somebody removed it after we had seen that it is here.
                Err(error) if error.kind() == ErrorKind::InvalidState && attempts < ATTEMPTS => attempts += 1,
                result => return result,
            }
        }
    }

    fn attempt(&self, halt: &Halt) -> Result<ImageSummary> {
        let events = |event: Event| self.reporter.event(event);
        let client = self.client(&events, halt)?;
        // A name that is here is likely to stand for the same as before, which takes a smaller question.
        let digest = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => Some(digest.clone()),
            (None, Some(tag)) if local::has_name(self.store(), &self.name)? => {
                let head = client.manifest_head(tag)?.ok_or_else(|| local::unknown(&self.name))?;
                Some(head.digest)
            }
            _ => None,
        };
        let top = match digest {
            Some(digest) => {
                self.check_drift(&digest)?;
                if let Some(current) =
                    local::current(self.store(), &self.origin(&digest), &self.reference, &self.choice)?
                {
                    self.reporter.tell(ProgressKind::Resolve, Some(digest.to_string()));
                    return self.unchanged(&digest, &current, halt);
                }
                client.manifest(digest.as_str())?
            }
            None => self.top(&client)?,
        };
        let (several, digest) = self.choose(&client, top)?;
        self.reporter.tell(ProgressKind::Resolve, Some(digest.to_string()));
        Session::run(self.store(), self.ground.worker, halt.token(), |session| {
            self.bring(&client, session, several, &digest, halt)
        })
    }

    /// What the name stands for in the registry.
    fn top(&self, client: &Client<'_>) -> Result<Fetched> {
        let wanted = match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, tag) => tag.unwrap_or("latest"),
        };
        let top = client.manifest(wanted)?;
        self.check_drift(&top.digest)?;
        Ok(top)
    }

    /// The images that are meant, and the digest that the name stands for.
    fn choose(&self, client: &Client<'_>, top: Fetched) -> Result<(Several, Digest)> {
        let digest = top.digest.clone();
        let entry = Descriptor::new(&top.media_type, top.digest.clone(), top.bytes.len() as u64);
        let remote = Remote::new(client, self.store(), top.digest, top.bytes);
        let mut foreign = Vec::new();
        let several = match &self.choice {
            PlatformChoice::All => choose::all(&remote, &entry)?,
            PlatformChoice::Best(platform) => choose::find(&remote, &entry, platform, &mut foreign)?
                .map(|found| Several { images: vec![found], index: None, nested: 0 }),
        };
        if let Some(nested) = several.as_ref().map(|several| several.nested).filter(|nested| *nested > 0) {
            let message =
                format!("{nested} of its entries are indexes themselves, and their images are left out");
            self.reporter.tell(ProgressKind::Warning, Some(message));
        }
        match (several, &self.choice) {
            (Some(several), _) => Ok((several, digest)),
            (None, PlatformChoice::Best(platform)) => Err(choose::foreign(platform, foreign)),
            (None, PlatformChoice::All) => {
                Err(Error::new(ErrorKind::InvalidImage, "there is no image in it")
                    .with_object(digest.as_str()))
            }
        }
    }

    /// Everything is here already. The name may have to be given.
    fn unchanged(&self, digest: &Digest, current: &Current, halt: &Halt) -> Result<ImageSummary> {
        if current.named {
            // Told like any other pull, and no reason to fail.
            if let Some(id) = current.ids.first() {
                let told =
                    |tx: &Transaction<'_>| events::of_image(tx, "pull", id, &self.reference.to_string());
                let _ = self.store().db.write(told);
            }
            return self.store().db.read(|connection| self.result(connection, &current.ids));
        }
        Session::run(self.store(), self.ground.worker, halt.token(), |session| {
            crate::image::change(self.store(), session, |tx| {
                self.name_it(tx, digest, &current.ids, None)?;
                let summary = self.result(tx, &current.ids)?;
                events::of_image(tx, "pull", &summary.id, &self.reference.to_string())?;
                Ok(summary)
            })
        })
    }

    /// The image that the caller gets: of several, the one for this host.
    fn result(&self, connection: &Connection, ids: &[String]) -> Result<ImageSummary> {
        let named = match self.choice {
            PlatformChoice::All => images::find(connection, &self.name).ok().map(|found| found.id),
            PlatformChoice::Best(_) => None,
        };
        let id = named.as_ref().or(ids.first()).ok_or_else(gone)?;
        images::summaries(connection, Some(id))?.pop().ok_or_else(gone)
    }

    /// Records what the name and the digest stand for. All images are there.
    fn name_it(
        &self,
        tx: &Transaction<'_>,
        digest: &Digest,
        ids: &[String],
        index: Option<&images::Document>,
    ) -> Result<()> {
        let origin = self.origin(digest);
        for id in ids {
            if images::summaries(tx, Some(id))?.is_empty() {
                return Err(gone());
            }
            origins::add(tx, &origin, id)?;
            images::touch(tx, id)?;
        }
        if self.reference.digest().is_some() {
            return Ok(());
        }
        // One more platform of what the name stands for already.
        if let Ok(group) = images::group(tx, &self.name, None)
            && let Some(known) = &group.index
            && known.digest == *digest
        {
            let mut all = group.ids;
            all.extend(ids.iter().filter(|id| !all.contains(id)).cloned().collect::<Vec<_>>());
            return images::set_group(tx, &self.reference, &all, Some(known));
        }
        match (index, ids) {
            (Some(index), [_, _, ..]) => images::set_group(tx, &self.reference, ids, Some(index)),
            (_, [id, ..]) => images::set_tag(tx, &self.reference, id),
            (_, []) => Ok(()),
        }
    }

    /// Brings in what is missing, and records all of it.
    fn bring(
        &self,
        client: &Client<'_>,
        session: &Session,
        several: Several,
        digest: &Digest,
        halt: &Halt,
    ) -> Result<ImageSummary> {
        let store = self.store();
        let Several { images: found, index, .. } = several;
        let expected = self.missing(found.iter().map(|found| &found.manifest))?;
        self.reporter.expect(expected);
        let mut coming = Vec::new();
        let mut configs = 0u64;
        for found in found {
            let Descriptor { digest, size, .. } = &found.manifest.config;
            let fetched = if store.content.has(digest, *size)? { 0 } else { *size };
            let image = self.prepare(client, found, halt)?;
            // An image that is here in another form needs nothing.
            configs = configs.saturating_add(if image.new.is_some() { fetched } else { 0 });
            coming.push(image);
        }
        let blobs = self.blobs(&coming)?;
        let missing = blobs.iter().filter(|blob| blob.missing);
        self.reporter.expect(missing.fold(configs, |sum, blob| sum.saturating_add(blob.size)));
        let warnings = self.fetch(client, &blobs, &coming, halt)?;
        halt.check()?;
        for image in &coming {
            if let Some(new) = &image.new {
                crate::image::put(store, session, &new.config, &new.id)?;
                crate::image::put(store, session, &new.manifest, &new.manifest_digest)?;
            }
        }
        if let Some(index) = &index {
            crate::image::put(store, session, &index.bytes, &index.digest)?;
        }
        halt.check()?;
        let ids: Vec<String> = coming.iter().map(|image| image.id.to_string()).collect();
        let repository = self.reference.repository();
        let summary = crate::image::change(store, session, |tx| {
            for image in &coming {
                if let Some(new) = &image.new {
                    images::add(tx, new)?;
                    for layer in &new.layers {
                        origins::add_blob(tx, &layer.digest, &repository)?;
                    }
                    origins::add_blob(tx, &new.id, &repository)?;
                }
            }
            self.name_it(tx, digest, &ids, index.as_ref())?;
            let mut summary = self.result(tx, &ids)?;
            events::of_image(tx, "pull", &summary.id, &self.reference.to_string())?;
            summary.warnings = warnings;
            Ok(summary)
        })?;
        for blob in &blobs {
            // What is left is found by the sweep.
            let _ = store.content.settle_partial(&blob.digest);
        }
        Ok(summary)
    }

    /// Reads the configuration of an image, and sees whether the image is here.
    fn prepare(&self, client: &Client<'_>, found: Found, halt: &Halt) -> Result<Coming> {
        let Found { descriptor, bytes, manifest } = found;
        let id = manifest.config.digest.clone();
        let store = self.store();
        let known = store.db.read(|connection| {
            let summary = images::summaries(connection, Some(id.as_str()))?.pop();
            let blobs = images::parts(connection, id.as_str())?.0;
            Ok(summary.map(|summary| (summary.digest, blobs)))
        })?;
        if let Some((manifest_digest, blobs)) = known
            && manifest_digest != descriptor.digest.as_str()
        {
            // The same image in another form, such as with another compression: what is here stays, if it is whole.
            let mut whole = true;
            for digest in &blobs {
                whole &= store.content.size(digest)?.is_some();
            }
            if whole {
                return Ok(Coming { id, new: None });
            }
        }
        let config = self.small(client, &manifest.config, halt).context(|| format!("configuration {id}"))?;
        let document = ImageDocument::parse(&config, &format!("configuration {id}"))?;
        if let PlatformChoice::Best(wanted) = &self.choice {
            let platform = document.platform();
            let unknown = platform.os.is_empty() || platform.architecture.is_empty();
            if !unknown && platform.rank_for(wanted).is_none() {
                if self.options.platform.is_some() {
                    return Err(choose::foreign(wanted, vec![platform.to_string()]));
                }
                let message = format!("the image is for {platform}, and this host is {wanted}");
                self.reporter.tell(ProgressKind::Warning, Some(message));
            }
        }
        let layers = pair(&manifest, &document, &id)?;
        let image = NewImage {
            id: id.clone(),
            manifest_digest: descriptor.digest,
            manifest_type: manifest.media_type,
            manifest: bytes,
            config,
            document,
            layers,
        };
        Ok(Coming { id, new: Some(image) })
    }

    /// Bytes of the configurations and layers of manifests that are not here, each once.
    fn missing<'m>(&self, manifests: impl Iterator<Item = &'m Manifest>) -> Result<u64> {
        let mut sizes: BTreeMap<&Digest, u64> = BTreeMap::new();
        for descriptor in
            manifests.flat_map(|manifest| std::iter::once(&manifest.config).chain(&manifest.layers))
        {
            let Descriptor { digest, size, .. } = descriptor;
            if !self.store().content.has(digest, *size)? {
                sizes.insert(digest, *size);
            }
        }
        Ok(sizes.values().fold(0, |sum, size| sum.saturating_add(*size)))
    }

    /// A small blob: of the store, or fetched, once for all who want it.
    fn small(&self, client: &Client<'_>, descriptor: &Descriptor, halt: &Halt) -> Result<Vec<u8>> {
        let Descriptor { digest, size, .. } = descriptor;
        if let Some(bytes) = self.store().db.read(|connection| images::document(connection, digest))? {
            return Ok(bytes);
        }
        if *size > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{digest} has {size} bytes, more than {MAX_DOCUMENT}"),
            )
            .with_object(digest.as_str()));
        }
        let here = self.store().content.has(digest, *size)?;
        let blob = Blob::new(digest.clone(), *size, !here);
        let retries = self.options.registry.retries;
        let blobs = std::slice::from_ref(&blob);
        let fetcher = Fetcher::new(self.store(), client, &self.reporter, halt, blobs, retries);
        fetcher.one(&blob)?;
        // It is not worth keeping for another pull.
        let _ = self.store().content.settle_partial(digest);
        let mut file = blob
            .whole_file(self.store())?
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a blob without a file"))?;
        match read_small(&mut file, *size, digest.as_str()).and_then(|bytes| verified(bytes, digest, *size)) {
            // The one of the store is damaged; it is mended elsewhere.
            Err(error) if here && error.kind() == ErrorKind::DigestMismatch => {
                client.small_blob(digest, *size)
            }
            result => result,
        }
    }

    /// The layer blobs of all images, each once, those of the lowest layers first.
    fn blobs(&self, coming: &[Coming]) -> Result<Vec<Blob>> {
        let mut sizes: BTreeMap<&Digest, u64> = BTreeMap::new();
        let mut blobs = Vec::new();
        for layer in coming.iter().filter_map(|image| image.new.as_ref()).flat_map(|new| &new.layers) {
            match sizes.insert(&layer.digest, layer.size) {
                None => {
                    let missing = !self.store().content.has(&layer.digest, layer.size)?;
                    blobs.push(Blob::new(layer.digest.clone(), layer.size, missing));
                }
                Some(size) if size != layer.size => {
                    return Err(Error::new(
                        ErrorKind::InvalidImage,
                        format!("{} is said to have {size} bytes and {}", layer.digest, layer.size),
                    )
                    .with_object(layer.digest.as_str()));
                }
                Some(_) => {}
            }
        }
        Ok(blobs)
    }

    /// Fetches blobs and unpacks layers, all at once.
    fn fetch(
        &self,
        client: &Client<'_>,
        blobs: &[Blob],
        coming: &[Coming],
        halt: &Halt,
    ) -> Result<Vec<crate::container::Warning>> {
        let retries = self.options.registry.retries;
        let fetcher = Fetcher::new(self.store(), client, &self.reporter, halt, blobs, retries);
        let mut warnings = Vec::new();
        let result = std::thread::scope(|scope| {
            let mut threads = 0;
            while threads < self.jobs.min(blobs.len()) {
                if spawn_helper(scope, "coble-fetch", || fetcher.work()).is_err() {
                    break;
                }
                threads += 1;
            }
            if threads == 0 {
                fetcher.work();
            }
            let result = self.unpack(blobs, coming, &mut warnings, halt);
            if let Err(error) = result {
                halt.fail(error);
            }
            halt.check()
        });
        // The threads have ended; one of them may have failed since.
        let result = result.and_then(|()| halt.check());
        if result.is_err() && halt.failed_with(ErrorKind::StorageFull) {
            // The space is wanted back, more than what is there of the blobs.
            for blob in blobs {
                let _ = match Partial::lock(self.store(), &blob.digest, &CancelToken::never()) {
                    Ok(Some(partial)) => partial.discard(self.store()),
                    // It is a blob already, which the end of the session takes away.
                    _ => self.store().content.settle_partial(&blob.digest),
                };
            }
        }
        result.map(|()| warnings)
    }

    fn unpack(
        &self,
        blobs: &[Blob],
        coming: &[Coming],
        warnings: &mut Vec<crate::container::Warning>,
        halt: &Halt,
    ) -> Result<()> {
        for new in coming.iter().filter_map(|image| image.new.as_ref()) {
            let supply = Arrivals::new(self, blobs, &new.layers, halt)?;
            let mut stack = Stack::new(self.store(), self.ground.worker);
            stack.push_all(&wanted(&new.layers), &supply, halt).context(|| format!("image {}", new.id))?;
            warnings.extend(stack.take_warnings());
            // The next image waits for nothing of this one, but may begin with the same layers.
            stack.publish()?;
        }
        for blob in blobs {
            blob.stored(halt)?;
        }
        Ok(())
    }
}

/// The error for an image that was here a moment ago.
fn gone() -> Error {
    Error::new(ErrorKind::InvalidState, "the image was removed by somebody else at the same time")
}

/// An image of the pull.
struct Coming {
    id: Digest,
    /// None if it is here already.
    new: Option<NewImage>,
}

/// The layers of an image as they come in.
struct Arrivals<'a> {
    pull: &'a Pull<'a>,
    layers: Vec<(&'a Blob, AtomicU32)>,
    halt: &'a Halt,
}

impl<'a> Arrivals<'a> {
    fn new(
        pull: &'a Pull<'a>,
        blobs: &'a [Blob],
        layers: &[LayerRow],
        halt: &'a Halt,
    ) -> Result<Arrivals<'a>> {
        let find = |layer: &LayerRow| {
            let blob = blobs.iter().find(|blob| blob.digest == layer.digest);
            blob.map(|blob| (blob, AtomicU32::new(0))).ok_or_else(no_layer)
        };
        Ok(Arrivals { pull, layers: layers.iter().map(find).collect::<Result<_>>()?, halt })
    }

    fn layer(&self, layer: usize) -> Result<&(&'a Blob, AtomicU32)> {
        self.layers.get(layer).ok_or_else(no_layer)
    }
}

fn no_layer() -> Error {
    Error::new(ErrorKind::Internal, "a layer without a blob")
}

impl Supply for Arrivals<'_> {
    fn open(&self, layer: usize) -> Result<Input<'_>> {
        let (blob, generation) = self.layer(layer)?;
        let (whole, now) = blob.begun(self.halt)?;
        generation.store(now, Ordering::Relaxed);
        if whole && let Some(file) = blob.whole_file(self.pull.store())? {
            return Ok(Input::File(file));
        }
        Ok(Input::Stream(Box::new(move |pipe| blob.feed(self.pull.store(), now, pipe, self.halt))))
    }

    fn settle(&self, layer: usize) -> Result<bool> {
        let (blob, generation) = self.layer(layer)?;
        Ok(blob.complete(self.halt)? == generation.load(Ordering::Relaxed))
    }

    fn stored(&self, layer: usize) -> Result<()> {
        self.layer(layer)?.0.stored(self.halt)
    }

    fn tell(&self, layer: usize, done: bool) {
        if let Ok((blob, _)) = self.layer(layer) {
            let kind = if done { ProgressKind::UnpackDone } else { ProgressKind::Unpack };
            self.pull.reporter.blob(kind, &blob.digest, if done { blob.size } else { 0 }, blob.size);
        }
    }
}

/// The manifests and indexes of a repository.
pub(super) struct Remote<'a> {
    client: &'a Client<'a>,
    store: &'a Store,
    known: RefCell<BTreeMap<Digest, Vec<u8>>>,
}

impl<'a> Remote<'a> {
    /// Where one document is known already.
    pub(super) fn new(
        client: &'a Client<'a>,
        store: &'a Store,
        digest: Digest,
        bytes: Vec<u8>,
    ) -> Remote<'a> {
        Remote { client, store, known: RefCell::new(BTreeMap::from([(digest, bytes)])) }
    }
}

impl Documents for Remote<'_> {
    fn get(&self, descriptor: &Descriptor) -> Result<Option<Vec<u8>>> {
        let Descriptor { digest, size, media_type, .. } = descriptor;
        if let Some(bytes) = self.known.borrow().get(digest) {
            return Ok(Some(bytes.clone()));
        }
        if let Some(bytes) = self.store.db.read(|connection| images::document(connection, digest))? {
            return verified(bytes, digest, *size).map(Some);
        }
        if *size > MAX_DOCUMENT {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                format!("{digest} has {size} bytes, more than {MAX_DOCUMENT}"),
            )
            .with_object(digest.as_str()));
        }
        let fetched = match self.client.manifest(digest.as_str()) {
            Ok(fetched) => fetched,
            Err(error) if error.kind() == ErrorKind::ImageNotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if fetched.media_type != *media_type {
            let (found, announced) = (fetched.media_type.escape_debug(), media_type.escape_debug());
            return Err(Error::new(
                ErrorKind::InvalidImage,
                format!("{digest} is sent as \"{found}\", but \"{announced}\" was announced"),
            )
            .with_object(digest.as_str()));
        }
        verified(fetched.bytes, digest, *size).map(Some)
    }

    fn missing(&self, descriptor: &Descriptor) -> Error {
        let digest = descriptor.digest.as_str();
        Error::new(ErrorKind::ImageNotFound, format!("the registry does not have manifest {digest}"))
            .with_object(digest)
    }
}
