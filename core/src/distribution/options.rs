//! How a registry is talked to: what a caller can say for one call.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// Who the caller is to a registry. Debug shows no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// A name and a password, or an access token in its place.
    Password {
        /// The name of the account.
        username: String,
        /// The password, or an access token.
        password: String,
    },
    /// An identity token: a refresh token of OAuth2, which is exchanged for tokens of single requests.
    IdentityToken(String),
    /// A token that is sent as it is.
    Token(String),
}

impl Credentials {
    /// A name and a password.
    pub fn password(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials::Password { username: username.into(), password: password.into() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credentials::Password { .. } => "Password { .. }",
            Credentials::IdentityToken(_) => "IdentityToken(..)",
            Credentials::Token(_) => "Token(..)",
        })
    }
}

/// What a [`CredentialProvider`] is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CredentialRequest {
    /// The registry, as it is called in references and credential files: `docker.io`, `reg.example:5000`. A mirror is asked for by its own name.
    pub registry: String,
    /// The repository there, without the registry. Empty for what concerns none.
    pub repository: String,
    /// Whether the registry has refused the last answer of the provider, or of the files, in this call.
    pub refused: bool,
}

/// A function of the caller that knows credentials. It is called at most once for each registry of a call, and once more for each of its answers that was refused, by one thread, whose answer is that of the others; when the
/// registry wants to know who asks, or an engine knows that from before. What it answers is for that registry; if it answers nothing, the files are
/// looked into. An error of it ends the call. It may call the engine itself, and runs on a thread of the call.
#[derive(Clone)]
pub struct CredentialProvider(Arc<Ask>);

type Ask = dyn Fn(&CredentialRequest) -> Result<Option<Credentials>> + Send + Sync;

impl CredentialProvider {
    /// A provider that calls the function.
    pub fn new(
        ask: impl Fn(&CredentialRequest) -> Result<Option<Credentials>> + Send + Sync + 'static,
    ) -> CredentialProvider {
        CredentialProvider(Arc::new(ask))
    }

    pub(super) fn ask(&self, request: &CredentialRequest) -> Result<Option<Credentials>> {
        (self.0)(request)
    }
}

impl fmt::Debug for CredentialProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialProvider")
    }
}

/// The same function, not one that does the same.
impl PartialEq for CredentialProvider {
    fn eq(&self, other: &CredentialProvider) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for CredentialProvider {}

/// How to talk to a registry. Everything has a default, which comes from the files that other engines use too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryOptions {
    /// The credentials. Default: those of the credential files, and if there are none, nobody's.
    pub credentials: Option<Credentials>,
    /// Whether plain HTTP and certificates that nobody vouches for are accepted. Default: only where a configuration file says so for the host.
    pub insecure: bool,
    /// The credential file, instead of those in the usual places.
    pub auth_file: Option<PathBuf>,
    /// A directory with `*.crt`, and `*.cert` with `*.key`, instead of the usual places.
    pub cert_dir: Option<PathBuf>,
    /// How often a request is tried again after a failure that may pass. Default: 5.
    pub retries: Option<u32>,
    /// How long is waited for a connection, with name and TLS. Default: 30 seconds.
    pub connect_timeout: Option<Duration>,
    /// How long is waited for data of a connection that is there; a transfer that moves has no end. Default: 60 seconds.
    pub idle_timeout: Option<Duration>,
    /// Mirrors to ask first, in this order, before those of the files: URLs, each with the registry that it is for and a `=` in front, or for every registry.
    /// They are asked as those of `hosts.toml`: never with the credentials of the call, and never for what is pushed.
    pub mirrors: Vec<String>,
    /// A file in the form of `registries.conf`, instead of those in the usual places.
    pub registries_conf: Option<PathBuf>,
    /// A directory with one directory for each registry (`HOST:PORT/hosts.toml`, `*.crt`, `*.cert` with `*.key`), instead of the usual `certs.d`.
    pub hosts_dir: Option<PathBuf>,
    /// Who is asked for credentials that the call does not give, before the files are.
    pub credential_provider: Option<CredentialProvider>,
}

/// More patience is as good as none at all.
const MAX_PATIENCE: Duration = Duration::from_secs(24 * 3600);

impl RegistryOptions {
    /// Sets the credentials.
    pub fn credentials(mut self, credentials: Credentials) -> RegistryOptions {
        self.credentials = Some(credentials);
        self
    }

    /// Accepts plain HTTP and certificates that nobody vouches for.
    pub fn insecure(mut self, insecure: bool) -> RegistryOptions {
        self.insecure = insecure;
        self
    }

    /// Sets the credential file.
    pub fn auth_file(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.auth_file = Some(path.into());
        self
    }

    /// Sets the directory of certificates.
    pub fn cert_dir(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.cert_dir = Some(path.into());
        self
    }

    /// Sets how often a request is tried again.
    pub fn retries(mut self, retries: u32) -> RegistryOptions {
        self.retries = Some(retries);
        self
    }

    /// Sets how long is waited for a connection.
    pub fn connect_timeout(mut self, time: Duration) -> RegistryOptions {
        self.connect_timeout = Some(time);
        self
    }

    /// Sets how long is waited for data.
    pub fn idle_timeout(mut self, time: Duration) -> RegistryOptions {
        self.idle_timeout = Some(time);
        self
    }

    /// Adds a mirror.
    pub fn mirror(mut self, mirror: impl Into<String>) -> RegistryOptions {
        self.mirrors.push(mirror.into());
        self
    }

    /// Sets the file that says what is where.
    pub fn registries_conf(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.registries_conf = Some(path.into());
        self
    }

    /// Sets the directory of the registries' settings.
    pub fn hosts_dir(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.hosts_dir = Some(path.into());
        self
    }

    /// Sets who is asked for credentials.
    pub fn credential_provider(mut self, provider: CredentialProvider) -> RegistryOptions {
        self.credential_provider = Some(provider);
        self
    }

    /// With what another one has for all that this says nothing of.
    pub(super) fn or(&self, other: &RegistryOptions) -> RegistryOptions {
        RegistryOptions {
            credentials: self.credentials.clone(),
            insecure: self.insecure,
            auth_file: self.auth_file.clone().or_else(|| other.auth_file.clone()),
            cert_dir: self.cert_dir.clone(),
            retries: self.retries.or(other.retries),
            connect_timeout: self.connect_timeout.or(other.connect_timeout),
            idle_timeout: self.idle_timeout.or(other.idle_timeout),
            mirrors: if self.mirrors.is_empty() { other.mirrors.clone() } else { self.mirrors.clone() },
            registries_conf: self.registries_conf.clone().or_else(|| other.registries_conf.clone()),
            hosts_dir: self.hosts_dir.clone().or_else(|| other.hosts_dir.clone()),
            credential_provider: self
                .credential_provider
                .clone()
                .or_else(|| other.credential_provider.clone()),
        }
    }

    /// Fails on what cannot be for every registry.
    pub(super) fn check_default(&self) -> Result<()> {
        let only = |what: &str, hint: &str| {
            let text = format!("{what} are for one registry, not for all of an engine");
            Err(Error::new(ErrorKind::InvalidArgument, text).with_hint(hint))
        };
        if self.credentials.is_some() {
            return only("credentials", "give them with the call, or log in");
        }
        if self.cert_dir.is_some() {
            return only(
                "certificates without a name",
                "give them with the call, or name a directory of registries",
            );
        }
        if self.insecure {
            return only(
                "plain HTTP and certificates that nobody vouches for",
                "mark the registry in registries.conf",
            );
        }
        self.check_times()
    }

    /// Fails on times that are none.
    pub(super) fn check_times(&self) -> Result<()> {
        for (name, time) in [("connect_timeout", self.connect_timeout), ("idle_timeout", self.idle_timeout)] {
            if time.is_some_and(|time| time.is_zero() || time > MAX_PATIENCE) {
                let text = format!("{name}: a registry cannot be waited for that long");
                return Err(Error::new(ErrorKind::InvalidArgument, text)
                    .with_hint("give more than nothing, and at most a day"));
            }
        }
        Ok(())
    }
}
