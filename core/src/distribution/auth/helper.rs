//! Credential helpers: programs of the host, `docker-credential-<name>`, that keep secrets for other programs. A configuration names them, so the name is
//! nothing but a name, the program is looked for in the absolute directories of `PATH` alone, and what it says is bounded in length and time. It is asked for
//! the one server that is being talked to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use coble_protocol::HostProgram;
use rustix::fs::Access;

use crate::cancel::CancelToken;
use crate::distribution::options::Credentials;
use crate::distribution::settings::Places;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::process::{Answered, Shim, ask_program};

const PREFIX: &str = "docker-credential-";
/// What a helper uses as the user name of an identity token.
const TOKEN_USER: &str = "<token>";
/// Long enough for somebody to type a password into a window.
const TIME: Duration = Duration::from_secs(60);
const MAX_OUTPUT: usize = 64 << 10;
const MAX_NAME: usize = 100;
/// Of the environment, what fits; more than this no helper needs.
const MAX_VARIABLE: usize = 16 << 10;
const MAX_ENVIRONMENT: usize = 96 << 10;
/// What a helper says when it has nothing for the server.
const NOT_FOUND: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks a helper for the credentials of a server. None if it has none.
pub(super) fn get(
    places: &Places,
    name: &str,
    server: &str,
    cancel: &CancelToken,
) -> Result<Option<Credentials>> {
    let Some(output) = ask(places, name, "get", server.as_bytes(), cancel)? else { return Ok(None) };
    let entry: Entry = serde_json::from_slice(&output).map_err(|_| {
        // The text is not shown: it may have the secret in it.
        failed(name, "it did not answer in the form of credential helpers")
    })?;
    if entry.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match entry.username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(entry.secret),
        _ => Credentials::password(entry.username, entry.secret),
    }))
}

/// Gives a helper the credentials of a server to keep.
pub(super) fn put(
    places: &Places,
    name: &str,
    server: &str,
    credentials: &Credentials,
    cancel: &CancelToken,
) -> Result<()> {
    let (username, secret) = match credentials {
        Credentials::Password { username, password } => (username.clone(), password.clone()),
        Credentials::IdentityToken(token) => (TOKEN_USER.to_owned(), token.clone()),
        Credentials::Token(_) => return Err(failed(name, "it cannot keep tokens that are sent as they are")),
    };
    let entry = Entry { server_url: server.to_owned(), username, secret };
    let text = serde_json::to_vec(&entry).map_err(|_| failed(name, "the credentials cannot be written"))?;
    ask(places, name, "store", &text, cancel).map(drop)
}

/// Makes a helper forget a server. False if it knew nothing.
pub(super) fn erase(places: &Places, name: &str, server: &str, cancel: &CancelToken) -> Result<bool> {
    Ok(ask(places, name, "erase", server.as_bytes(), cancel)?.is_some())
}

/// The name of the program of a helper.
pub(super) fn program_of(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What the helper said; None if it has nothing for the server.
fn ask(
    places: &Places,
    name: &str,
    verb: &str,
    input: &[u8],
    cancel: &CancelToken,
) -> Result<Option<Vec<u8>>> {
    let path = find(places, name)?;
    let shim = Shim::new(&std::env::temp_dir())?;
    let program = HostProgram { path, arguments: vec![verb.to_owned()], environment: environment(places) };
    let Answered { code, output } = ask_program(&shim, program, input, MAX_OUTPUT, TIME, cancel)
        .context(|| format!("asking the credential helper \"{name}\""))?;
    if code == 0 {
        return Ok(Some(output));
    }
    let said = String::from_utf8_lossy(&output);
    if said.to_ascii_lowercase().contains(NOT_FOUND) {
        return Ok(None);
    }
    // Only the first words: it may go on to repeat its input.
    let said = crate::distribution::net::text_of(said.lines().next().unwrap_or_default().as_bytes(), 120);
    let said = if verb == "store" { String::new() } else { format!(": {said}") };
    Err(failed(name, &format!("it ended with status {code}{said}")))
}

/// The program, in the absolute directories of `PATH`.
fn find(places: &Places, name: &str) -> Result<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(is_name) {
        let shown: String = name.chars().take(MAX_NAME).collect();
        return Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("\"{}\" is not the name of a credential helper", shown.escape_debug()),
        )
        .with_object(shown));
    }
    let program = program_of(name);
    let path = places.variable("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let found = path.split(':').filter(|directory| directory.starts_with('/')).map(PathBuf::from).find_map(
        |directory| {
            let candidate = directory.join(&program);
            let is_program = candidate.is_file() && rustix::fs::access(&candidate, Access::EXEC_OK).is_ok();
            is_program.then(|| candidate.to_str().map(str::to_owned)).flatten()
        },
    );
    found.ok_or_else(|| {
        Error::new(ErrorKind::PathNotFound, format!("there is no credential helper \"{program}\""))
            .with_object(program)
            .with_hint("the credential file names it; install it, or take \"credsStore\" or \"credHelpers\" out of the file")
    })
}

/// The caller's environment, for helpers find their keys, agents and windows by it.
fn environment(places: &Places) -> Vec<String> {
    let mut size = 0;
    let mut all = places.variables();
    all.retain(|variable| {
        size += variable.len();
        variable.len() <= MAX_VARIABLE && size <= MAX_ENVIRONMENT
    });
    all
}

fn failed(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, format!("the credential helper \"{name}\": {why}")).with_object(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    fn install(place: &Path, name: &str, script: &str) -> Places {
        let path = place.join("bin").join(program_of(name));
        std::fs::create_dir_all(place.join("bin")).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let search = format!("relative:{}:/usr/bin:/bin", place.join("bin").display());
        Places::below(place, &[("PATH", &search), ("FOR_THE_HELPER", "yes")])
    }

    #[test]
    fn sec_108_a_helper_is_a_name_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let never = CancelToken::never();
        let places = install(place.path(), "ok", "true");
        for name in ["", "../bin/ok", "a/b", "a b", "a;b", "$(x)", ".", "ok\n", "é", &"x".repeat(101)] {
            let error = get(&places, name, "reg.example", &never).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
        }
        assert_eq!(get(&places, "missing", "x", &never).unwrap_err().kind(), ErrorKind::PathNotFound);
        // A directory of PATH that is not absolute is where the caller happens to be.
        let relative = Places::below(place.path(), &[("PATH", "bin:.:")]);
        assert_eq!(get(&relative, "ok", "x", &never).unwrap_err().kind(), ErrorKind::PathNotFound);
        let endless =
            install(place.path(), "endless", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done");
        assert_eq!(get(&endless, "endless", "x", &never).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn what_helpers_answer() {
        let place = tempfile::tempdir().unwrap();
        let never = CancelToken::never();
        let places = install(
            place.path(),
            "one",
            r#"read server; echo "$1 $server $FOR_THE_HELPER" >> "$HOME.log"
            case $server in
            reg.example) echo '{"ServerURL":"reg.example","Username":"me","Secret":"s3"}' ;;
            token.example) echo '{"Username":"<token>","Secret":"it"}' ;;
            empty.example) echo '{"Username":"","Secret":""}' ;;
            odd.example) echo 'sEcReT' ;;
            bad.example) echo 'no keychain'; exit 2 ;;
            *) echo 'credentials not found in native keychain'; exit 1 ;;
            esac"#,
        );
        let ask = |server: &str| get(&places, "one", server, &never);
        assert_eq!(ask("reg.example").unwrap(), Some(Credentials::password("me", "s3")));
        assert_eq!(ask("token.example").unwrap(), Some(Credentials::IdentityToken("it".into())));
        assert_eq!(ask("empty.example").unwrap(), None);
        assert_eq!(ask("other.example").unwrap(), None);
        assert!(ask("bad.example").unwrap_err().to_string().contains("no keychain"));
        assert!(!ask("odd.example").unwrap_err().to_string().contains("sEcReT"));
        let log = std::fs::read_to_string(place.path().join("home.log")).unwrap();
        assert_eq!(log.lines().next(), Some("get reg.example yes"));
    }

    #[test]
    fn what_helpers_keep() {
        let place = tempfile::tempdir().unwrap();
        let never = CancelToken::never();
        let places = install(place.path(), "two", r#"echo "$1" >> "$HOME.log"; cat >> "$HOME.log""#);
        put(&places, "two", "reg.example", &Credentials::password("me", "s3"), &never).unwrap();
        assert!(erase(&places, "two", "reg.example", &never).unwrap());
        let log = std::fs::read_to_string(place.path().join("home.log")).unwrap();
        assert_eq!(
            log,
            "store\n{\"ServerURL\":\"reg.example\",\"Username\":\"me\",\"Secret\":\"s3\"}erase\nreg.example"
        );
    }
}
