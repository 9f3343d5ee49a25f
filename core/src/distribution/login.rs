//! Login and logout: credentials are tried before they are kept, and kept where the other programs of the field look for them.

use std::path::Path;

use ureq::http::{Method, StatusCode};

use super::ProgressSink;
use super::answer::refused;
use super::auth::{FileSet, forget, store};
use super::client::{Client, World};
use super::event::Event;
use super::options::{Credentials, RegistryOptions};
use super::progress::Reporter;
use super::registries::LoginResult;
use super::settings;
use crate::cancel::CancelToken;
use crate::error::{Context, Error, ErrorKind, Result};

/// What Docker Hub is called when no registry is named.
const DEFAULT_SERVER: &str = "docker.io";

/// Tries the credentials, and stores them when the registry takes them.
pub(super) fn login(
    world: &World,
    server: &str,
    credentials: &Credentials,
    options: &RegistryOptions,
    progress: ProgressSink<'_>,
    cancel: &CancelToken,
) -> Result<LoginResult> {
    let server = if server.is_empty() { DEFAULT_SERVER } else { server };
    let username = match credentials {
        Credentials::Password { username, password } => {
            // What a file cannot tell apart again.
            if username.is_empty() || username.contains(':') || password.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "a name without a colon and a password are needed to log in",
                ));
            }
            username.clone()
        }
        _ => String::new(),
    };
    let given = options.clone().credentials(credentials.clone());
    let reporter = Reporter::new(server, progress);
    let events = |event: Event| reporter.event(event);
    let client = Client::of_server(world, server, &given, &events, cancel)?;
    let name = client.origin()?.host.keys.last().cloned().unwrap_or_default();
    // What the engine has of this registry says nothing of these credentials.
    world.network.memory().forget_registry(&name);
    verify(&client, &name).context(|| format!("logging in to \"{name}\""))?;
    cancel.check()?;
    let files = writable(options.or(world.network.defaults()).auth_file.as_deref());
    let stored_in = store(&world.places, &files, &name, credentials, cancel)
        .context(|| format!("storing the credentials for \"{name}\""))?;
    // Nor of who was somebody else until now.
    world.network.memory().forget_registry(&name);
    Ok(LoginResult { server: name, username, stored_in })
}

/// Whether the registry takes the credentials. One that takes everybody cannot tell.
fn verify(client: &Client<'_>, name: &str) -> Result<()> {
    let server = client.origin()?;
    client.persist(name, || {
        let answer = client.ask(server, &client.request(server, Method::GET, "")?)?;
        match answer.status {
            StatusCode::OK => {
                answer.discard();
                Ok(())
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let authority = server.host.authority();
                let error = refused(answer, name);
                Err(Error::new(
                    ErrorKind::Unauthorized,
                    format!("\"{authority}\" does not take the credentials: {}", error.message()),
                )
                .with_object(authority))
            }
            StatusCode::NOT_FOUND => {
                let authority = server.host.authority();
                Err(Error::new(ErrorKind::Registry, format!("\"{authority}\" is no registry of version 2"))
                    .with_object(authority))
            }
            _ => Err(refused(answer, name)),
        }
    })
}

/// Forgets a registry. False if nothing was known of it.
pub(super) fn logout(
    World { places, network, .. }: &World,
    server: &str,
    auth_file: Option<&Path>,
    cancel: &CancelToken,
) -> Result<bool> {
    let server = if server.is_empty() { DEFAULT_SERVER } else { server };
    let defaults = network.defaults();
    let host =
        settings::host_of_server(&places.with(defaults), server, &RegistryOptions::default().insecure(true))?;
    let auth_file = auth_file.or(defaults.auth_file.as_deref());
    let name = host.keys.last().cloned().unwrap_or_default();
    let forgotten = forget(places, network, &writable(auth_file), &name, cancel);
    network.memory().forget_registry(&name);
    forgotten.context(|| format!("logging out of \"{name}\""))
}

fn writable(auth_file: Option<&Path>) -> FileSet {
    FileSet::of(auth_file)
}
