//! One repository, as the transfer of images sees it: its mirrors and its registry behind one set of calls. What each call says to a server is in the files
//! of their nouns.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::http::{Method, StatusCode};

use super::auth::{Auth, FileSet, Provider, Scopes};
use super::elsewhere::UrlPolicy;
use super::event::Event;
use super::net::{Answer, Http, Network, Patience, Proxies, TlsSettings, Turn};
use super::notice::{rate_limit_of, warnings_of};
use super::options::RegistryOptions;
use super::retry::{DEFAULT_RETRIES, Persistence};
use super::server::{Ask, Server};
use super::settings::{self, Answers, Host, Places};
use super::upload::Location;
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::{Digest, Reference};

/// The pause before the first further attempt.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Warnings that are passed on; a server may send one with every answer.
const MAX_WARNINGS: usize = 50;

/// What a client is for: what its tokens are asked for, and whether mirrors may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading. Mirrors are asked first.
    Pull,
    /// Reading and writing. Mirrors are not asked.
    Push,
    /// Reading and deleting. Mirrors are not asked.
    Delete,
}

/// One repository of a registry: its mirrors first, then itself. It keeps connections and tokens, and any thread may use it.
pub(crate) struct Client<'a> {
    pub(super) http: Http,
    pub(super) servers: Vec<Server>,
    pub(super) scopes: Scopes,
    pub(super) events: &'a (dyn Fn(Event) + Sync),
    pub(super) cancel: CancelToken,
    retries: u32,
    first_pause: Duration,
    /// Warnings that were passed on.
    told: Mutex<HashSet<String>>,
    /// A mirror has sent something else than what was asked for, so that none is asked any more.
    mirrors_damaged: AtomicBool,
    /// The caller's function for credentials has failed.
    provider_failed: Arc<AtomicBool>,
    /// Upload sessions that a registry opened when it could not mount a blob.
    pub(super) sessions: Mutex<HashMap<Digest, Location>>,
    /// Whether content is looked for where descriptors say.
    pub(super) urls: UrlPolicy,
    pub(super) places: Places,
}

/// A manifest or index, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
}

/// What a registry says of a manifest without giving it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) size: u64,
}

/// The content of a blob that is being sent, which may be wanted more than once.
pub(crate) trait Reopen: Sync {
    /// The content from an offset on, for a host that it is sent to at once.
    fn open_at(&self, offset: u64, target: &str) -> Result<Opened<'_>>;
}

/// The content of a blob that is being sent, as it comes.
pub(crate) struct Opened<'a> {
    pub(super) reader: Box<dyn Read + 'a>,
    /// The turn that it is read and sent under, if it comes from another host.
    pub(super) turn: Option<Turn>,
}

impl<'a> Opened<'a> {
    /// What is here.
    pub(super) fn here(reader: impl Read + 'a) -> Opened<'a> {
        Opened { reader: Box::new(reader), turn: None }
    }
}

/// What is there before any call: the files and variables of the process, and the network of its engine.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) places: Places,
    pub(super) network: Network,
    pub(super) tuning: Tuning,
}

impl World {
    /// That of this process, with the network of an engine.
    pub(super) fn of_process(network: &Network) -> World {
        World { places: Places::of_process(), network: network.clone(), tuning: Tuning::default() }
    }

    /// That of a call, and what the call and the engine say together.
    pub(super) fn for_call(&self, options: &RegistryOptions) -> Result<(World, RegistryOptions)> {
        options.check_times()?;
        let options = options.or(self.network.defaults());
        let World { places, network, mut tuning } = self.clone();
        tuning.patience.connect = options.connect_timeout.unwrap_or(tuning.patience.connect);
        tuning.patience.idle = options.idle_timeout.unwrap_or(tuning.patience.idle);
        Ok((World { places: places.with(&options), network, tuning }, options))
    }
}

/// What a test changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub(super) patience: Patience,
    pub(super) first_pause: Duration,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { patience: Patience::default(), first_pause: FIRST_PAUSE }
    }
}

impl<'a> Client<'a> {
    /// A client for the repository of a reference. Reads the settings; sends nothing.
    pub(crate) fn new(
        network: &Network,
        reference: &Reference,
        options: &RegistryOptions,
        access: Access,
        events: &'a (dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> Result<Client<'a>> {
        Client::with(&World::of_process(network), reference, options, access, events, cancel)
    }

    /// As [`Client::new`], in a world that is not the usual one.
    pub(super) fn with(
        world: &World,
        reference: &Reference,
        options: &RegistryOptions,
        access: Access,
        events: &'a (dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> Result<Client<'a>> {
        let (world, options) = &world.for_call(options)?;
        let hosts = settings::hosts_of(&world.places, reference, options, access)?;
        let mut client = Client::of_hosts(world, hosts, options, events, cancel)?;
        let actions: &[&str] = match access {
            Access::Pull => &["pull"],
            Access::Push => &["pull", "push"],
            Access::Delete => &["pull", "delete"],
        };
        // Mirrors may know the repository by another name, which their challenges say.
        let name = client.origin()?.host.repository.clone();
        client.scopes = Scopes::repository(&name, actions);
        Ok(client)
    }

    /// A client for a server, not for a repository.
    pub(super) fn of_server(
        world: &World,
        server: &str,
        options: &RegistryOptions,
        events: &'a (dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> Result<Client<'a>> {
        let (world, options) = &world.for_call(options)?;
        let host = settings::host_of_server(&world.places, server, options)?;
        Client::of_hosts(world, vec![host], options, events, cancel)
    }

    fn of_hosts(
        World { places, network, tuning }: &World,
        hosts: Vec<Host>,
        options: &RegistryOptions,
        events: &'a (dyn Fn(Event) + Sync),
        cancel: &CancelToken,
    ) -> Result<Client<'a>> {
        let mut tls = TlsSettings::new(options.insecure);
        for host in &hosts {
            for port in host.port.map_or(vec![443, 80], |port| vec![port]) {
                tls.set(&host.host, port, host.trust.clone());
            }
        }
        // A file that the caller names is one that the caller wants to be read, also where no question for it ever comes.
        if let (Some(path), None) = (&options.auth_file, &options.credentials)
            && !path.exists()
        {
            return Err(Error::syscall("open", path, libc::ENOENT));
        }
        let proxies = Proxies::of_environment(&|name| places.variable(name));
        let provider_failed = Arc::<AtomicBool>::default();
        let provider = options
            .credential_provider
            .clone()
            .map(|provider| Provider { provider, failed: Arc::clone(&provider_failed) });
        let mut servers = Vec::new();
        for host in hosts {
            // The caller's credentials are for the registry that the caller names, not for who stands in for it.
            let given = options.credentials.as_ref();
            let auth = match given {
                Some(given) if host.is_origin => {
                    Auth::new(places, network, Some(given), None, FileSet::none(), cancel)
                }
                _ => {
                    let files = FileSet::of(options.auth_file.as_deref());
                    Auth::new(places, network, None, provider.clone(), files, cancel)
                }
            };
            servers.push(Server::new(host, auth));
        }
        Ok(Client {
            http: Http::new(network, tls, proxies, tuning.patience, cancel),
            servers,
            scopes: Scopes::default(),
            events,
            cancel: cancel.clone(),
            retries: options.retries.unwrap_or(DEFAULT_RETRIES),
            first_pause: tuning.first_pause,
            told: Mutex::default(),
            mirrors_damaged: AtomicBool::new(false),
            provider_failed,
            sessions: Mutex::default(),
            urls: UrlPolicy::default(),
            places: places.clone(),
        })
    }

    /// The same, with what the caller says of URLs in descriptors.
    pub(super) fn with_urls(mut self, urls: UrlPolicy) -> Client<'a> {
        self.urls = urls;
        self
    }

    /// The registry itself, or who has its place.
    pub(super) fn origin(&self) -> Result<&Server> {
        let own = self.servers.iter().rfind(|server| server.host.is_origin);
        own.or(self.servers.last())
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a client without a server"))
    }

    /// The servers that may be asked, in their order. The last is the one of last resort.
    fn asked(&self, by_digest: bool) -> Vec<&Server> {
        let may = |answers: Answers| match answers {
            Answers::Everything => true,
            Answers::Tags => !by_digest,
            Answers::Digests => by_digest,
        };
        self.servers.iter().filter(|server| may(server.host.answers)).collect()
    }

    /// Whether another server is asked when this one does not have a blob.
    pub(super) fn is_mirror(&self, server: &Server) -> bool {
        self.asked(true).last().is_some_and(|last| !std::ptr::eq(*last, server))
    }

    /// Tries again what fails in passing.
    pub(super) fn persist<T>(&self, what: &str, call: impl FnMut() -> Result<T>) -> Result<T> {
        self.persistence(self.retries).until_done(what, call)
    }

    /// How often what fails in passing is tried again.
    pub(super) fn retries(&self) -> u32 {
        self.retries
    }

    pub(super) fn persistence(&self, retries: u32) -> Persistence<'_> {
        Persistence { retries, first_pause: self.first_pause, cancel: &self.cancel, events: self.events }
    }

    /// Asks the servers that may be asked, one after the other, until one has it. Of the last, which is the registry itself, the error counts.
    pub(super) fn first_of<T>(
        &self,
        what: &str,
        by_digest: bool,
        call: impl Fn(&Server) -> Result<T>,
    ) -> Result<T> {
        let servers = self.asked(by_digest);
        let Some((last, mirrors)) = servers.split_last() else {
            let text = format!("the configuration names no server that may be asked for \"{what}\"");
            return Err(Error::new(ErrorKind::InvalidArgument, text).with_object(what));
        };
        let damaged = self.mirrors_damaged.load(Ordering::Relaxed);
        for mirror in mirrors.iter().filter(|mirror| !damaged && !mirror.is_given_up()) {
            // The next one may answer at once, so a mirror is not waited for long.
            match self.persistence(self.mirror_retries()).until_done(what, || call(mirror)) {
                // Nor is anybody else asked.
                Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Offline) => {
                    return Err(error);
                }
                Err(error) if self.provider_failed.load(Ordering::Relaxed) => return Err(error),
                // One that cannot be reached would be waited for again at every request.
                Err(error) if error.kind() == ErrorKind::Network => {
                    self.give_up_mirror(&mirror.host.authority(), error.message());
                }
                Err(error) => {
                    let text = format!(
                        "the mirror \"{}\" is passed over: {}",
                        mirror.host.authority(),
                        error.message()
                    );
                    self.warn(text);
                }
                result => return result,
            }
        }
        self.persist(what, || call(last))
    }

    /// How often a mirror is tried again.
    pub(super) fn mirror_retries(&self) -> u32 {
        self.retries.min(1)
    }

    /// Does not ask a mirror any more, since the way to it fails.
    pub(super) fn give_up_mirror(&self, authority: &str, why: &str) {
        self.servers.iter().filter(|server| server.host.authority() == authority).for_each(Server::give_up);
        self.warn(format!("the mirror \"{authority}\" is not asked any more: {why}"));
    }

    /// Asks no mirror from now on, since the content of one is not what it should be.
    pub(super) fn distrust_mirrors(&self, why: &str) {
        self.mirrors_damaged.store(true, Ordering::Relaxed);
        self.warn(format!("a mirror has damaged content, and none is asked any more: {why}"));
    }

    /// Sends a request and takes note of what is beside the answer.
    pub(super) fn ask(&self, server: &Server, ask: &Ask<'_>) -> Result<Answer> {
        let answer = server.ask(&self.http, ask)?;
        for text in warnings_of(&answer) {
            self.warn(format!("\"{}\" warns: {text}", server.host.authority()));
        }
        if let Some(event) = rate_limit_of(&answer) {
            (self.events)(event);
        }
        Ok(answer)
    }

    /// A request for something of the repository.
    pub(super) fn request<'b>(&'b self, server: &Server, method: Method, rest: &str) -> Result<Ask<'b>> {
        Ok(Ask::new(method, server.url(&self.http, rest)?, &self.scopes))
    }

    pub(super) fn warn(&self, text: String) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_WARNINGS && told.insert(text.clone()) {
            drop(told);
            (self.events)(Event::Warning(text));
        }
    }

    /// Whether a server that stands in for another one says that it answered for a third.
    pub(super) fn check_namespace(server: &Server, answer: &Answer) -> Result<()> {
        match (&server.host.namespace, answer.header("oci-namespace")) {
            (Some(wanted), Some(given)) if wanted != given && answer.status == StatusCode::OK => {
                let text = format!(
                    "the mirror \"{}\" answered for another registry than \"{wanted}\"",
                    server.host.authority()
                );
                Err(Error::new(ErrorKind::Registry, text).with_object(server.host.authority()))
            }
            _ => Ok(()),
        }
    }
}
