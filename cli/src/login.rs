//! `login` and `logout`.

use std::path::PathBuf;

use clap::Args;
use coble::{Credentials, Error};

use crate::args::Global;
use crate::output::{self, Outcome};
use crate::progress::hear;
use crate::reach::{RestArgs, Secret, TokenArgs};
use crate::signals::cancellable;
use crate::{open, prompt, refuse};

/// What docker means when no server is named.
const DEFAULT: &str = "docker.io";

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// User name; asked for when not given
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password; better given by --password-stdin, or typed when asked for
    #[arg(short, long, value_name = "PASSWORD", conflicts_with = "password_stdin")]
    password: Option<Secret>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    tokens: TokenArgs,
    #[command(flatten)]
    rest: RestArgs,
    /// Host and port of the registry
    #[arg(value_name = "SERVER", default_value = DEFAULT)]
    server: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// The only file that credentials are looked for in
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Host and port of the registry
    #[arg(value_name = "SERVER", default_value = DEFAULT)]
    server: String,
}

pub(crate) fn login(global: &Global, args: LoginArgs) -> Outcome {
    let credentials = match args.tokens.credentials()? {
        Some(_) if args.username.is_some() || args.password.is_some() || args.password_stdin => {
            return Err(refuse("a token and a password exclude each other", "give one of them").into());
        }
        Some(token) => token,
        None => password(args.username, args.password, args.password_stdin)?,
    };
    let options = args.rest.options();
    let engine = open(global)?;
    let done =
        cancellable(|cancel| engine.registry().login(&args.server, &credentials, &options, &hear, cancel))?;
    if done.stored_in.contains('/') {
        output::note(format_args!(
            "warning: the password is stored unencrypted in '{}'; a credential helper would not do that",
            done.stored_in
        ));
    }
    output::line("Login Succeeded")?;
    Ok(0)
}

/// A name and a password, which are asked for if nobody gives them.
fn password(username: Option<String>, given: Option<Secret>, stdin: bool) -> Result<Credentials, Error> {
    if given.is_some() {
        output::note("warning: a password of the command line is seen by others; use --password-stdin");
    }
    if stdin && username.is_none() {
        return Err(refuse("--password-stdin is not enough", "give the user name with --username"));
    }
    let username = match username {
        Some(username) => username,
        None => prompt::line("Username: ", "give --username and --password-stdin")?,
    };
    if username.is_empty() {
        return Err(refuse("there is no user name", "give one with --username"));
    }
    let password = match given {
        Some(Secret(password)) => password,
        None if stdin => prompt::piped()?,
        None => prompt::password("give --password-stdin")?,
    };
    if password.is_empty() {
        return Err(refuse("there is no password", "give one with --password-stdin"));
    }
    Ok(Credentials::password(username, password))
}

pub(crate) fn logout(global: &Global, args: LogoutArgs) -> Outcome {
    let server = output::printable(&args.server);
    let engine = open(global)?;
    let file = args.authfile.as_deref();
    if cancellable(|cancel| engine.registry().logout(&args.server, file, cancel))? {
        output::line(format_args!("Removing login credentials for {server}"))?;
    } else {
        output::line(format_args!("Not logged in to {server}"))?;
    }
    Ok(0)
}
