//! How the registry of a verb is reached: the flags for it, which are podman's.

use std::path::{Path, PathBuf};

use clap::Args;
use coble::{Credentials, Error, RegistryOptions};

use crate::prompt;

/// The flags of every verb that talks to a registry.
#[derive(Debug, Default, Args)]
pub(crate) struct ReachArgs {
    /// User name and password for the registry (default: those of the credential files); without a password, it is asked for
    #[arg(long, value_name = "USER[:PASSWORD]", conflicts_with_all = ["identity_token_file", "registry_token_file"])]
    creds: Option<Secret>,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    rest: RestArgs,
}

/// Tokens in place of a password. They are read from files, since what is part of a command is seen by everybody on the machine.
#[derive(Debug, Default, Args)]
pub(crate) struct TokenArgs {
    /// File with an identity token, which a token server exchanges for access tokens; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "registry_token_file")]
    identity_token_file: Option<PathBuf>,
    /// File with an access token, which is sent to the registry as it is; - is standard input
    #[arg(long, value_name = "FILE")]
    registry_token_file: Option<PathBuf>,
}

impl TokenArgs {
    pub(crate) fn credentials(self) -> Result<Option<Credentials>, Error> {
        token(self.identity_token_file.as_deref(), self.registry_token_file.as_deref())
    }
}

/// The credentials of files with tokens.
pub(crate) fn token(identity: Option<&Path>, registry: Option<&Path>) -> Result<Option<Credentials>, Error> {
    Ok(match (identity, registry) {
        (Some(path), _) => Some(Credentials::IdentityToken(prompt::secret(path, "the identity token")?)),
        (None, Some(path)) => Some(Credentials::Token(prompt::secret(path, "the registry token")?)),
        (None, None) => None,
    })
}

/// The flags besides the credentials.
#[derive(Debug, Default, Args)]
pub(crate) struct RestArgs {
    /// Whether certificates are checked and plain HTTP is refused (default: true, but for what is configured to be insecure)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// The only file that credentials are read from
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Directory with *.crt, *.cert and *.key for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// How often a request is made again that failed for a reason that may pass
    #[arg(long, value_name = "NUMBER")]
    retry: Option<u32>,
}

/// Text that is in no message and no Debug output.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Secret, Self::Err> {
        Ok(Secret(text.to_owned()))
    }
}

/// The credentials of `--creds`.
pub(crate) fn credentials(given: Option<Secret>) -> Result<Option<Credentials>, Error> {
    let Some(Secret(given)) = given else { return Ok(None) };
    let (username, password) = match given.split_once(':') {
        Some((username, password)) => (username.to_owned(), password.to_owned()),
        None => {
            let password = prompt::password("give the password with --creds USER:PASSWORD")?;
            (given, password)
        }
    };
    Ok(Some(Credentials::password(username, password)))
}

impl RestArgs {
    pub(crate) fn options(self) -> RegistryOptions {
        let mut options = RegistryOptions::default();
        options.insecure = self.tls_verify == Some(false);
        options.auth_file = self.authfile;
        options.cert_dir = self.cert_dir;
        options.retries = self.retry;
        options
    }
}

impl ReachArgs {
    pub(crate) fn options(self) -> Result<RegistryOptions, Error> {
        let credentials = match self.tokens.credentials()? {
            None => credentials(self.creds)?,
            token => token,
        };
        let mut options = self.rest.options();
        options.credentials = credentials;
        Ok(options)
    }
}
