//! How a registry is talked to: what a caller can say for one call.

use std::fmt;
use std::path::PathBuf;

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
}

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
}
