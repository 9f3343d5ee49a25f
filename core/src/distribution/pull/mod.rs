//! Pulling an image: what a name stands for, and whether that is here.

mod arrivals;
mod bring;
mod plan;
mod record;

pub(crate) use self::plan::plan;
#[cfg(test)]
pub(super) use self::plan::plan_for;

use super::elsewhere::UrlPolicy;
use super::ground::Ground;
use super::jobs::jobs;
use super::local;
use super::lockfile::LockFile;
use super::progress::Reporter;
use super::remote::Remote;
use super::{Access, Client, Event, Fetched, ProgressKind, ProgressSink, PullOptions, PullPolicy};
use crate::cancel::CancelToken;
use crate::engine::Inner;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::halt::Halt;
use crate::image::ImageSummary;
use crate::image::choose::{self, Several};
use crate::oci::{Descriptor, Digest, PlatformChoice, Reference};
use crate::process::Deadline;
use crate::state::images;
use crate::state::origins::Origin;
use crate::state::{Session, Store};

/// How often it is begun again when images are removed at the same time.
const ATTEMPTS: u32 = 10;

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
    urls: UrlPolicy,
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
    let candidates = super::short_names(ground.network, reference, &options.registry)?;
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
            urls: UrlPolicy::new(options.allow_foreign_urls, &options.foreign_url_hosts)?,
            reporter: Reporter::new(&name, progress),
            reference,
            name,
        })
    }

    fn store(&self) -> &'a Store {
        self.ground.store
    }

    fn client<'c>(&self, events: &'c (dyn Fn(Event) + Sync), halt: &Halt) -> Result<Client<'c>> {
        let Pull { ground, reference, options, urls, .. } = self;
        let registry = &options.registry;
        let client = Client::new(ground.network, reference, registry, Access::Pull, events, halt.token())?;
        Ok(client.with_urls(urls.clone()))
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
}
