//! The credential files that the field shares: docker's `config.json` and the `auth.json` of podman, which have one form.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value};

use super::{Memory, helper};
use crate::cancel::CancelToken;
use crate::distribution::options::Credentials;
use crate::distribution::settings::{Places, read_file};
use crate::error::{Context, Error, ErrorKind, Result};

/// What Docker Hub is called in credential files.
const HUB_KEY: &str = "https://index.docker.io/v1/";
const MAX_FILE: u64 = 16 << 20;

/// Which files are looked into.
#[derive(Debug, Clone)]
pub(in crate::distribution) enum FileSet {
    /// None at all.
    None,
    /// One that the caller names.
    Only(PathBuf),
    /// Those in the usual places.
    Usual,
}

/// The variable that has the content of a file.
const INLINE: &str = "DOCKER_AUTH_CONFIG";

/// Where a credential file is.
enum Source {
    File(PathBuf),
    /// In the environment.
    Inline(String),
}

/// A credential file as it is: what is not understood stays.
pub(in crate::distribution) struct CredentialFile {
    /// For messages.
    pub(super) name: String,
    pub(super) document: Map<String, Value>,
    /// What is another one when somebody writes the file anew, as who logs in does.
    stamp: String,
}

/// The programs that files name.
#[derive(Clone, Copy)]
pub(in crate::distribution) struct Helpers<'a> {
    pub(super) memory: &'a Memory,
    pub(super) cancel: &'a CancelToken,
    /// What they said a moment ago is of no use.
    pub(super) fresh: bool,
}

impl Helpers<'_> {
    fn ask(self, places: &Places, name: &str, server: &str, stamp: &str) -> Result<Option<Credentials>> {
        let mut variables = places.variables();
        variables.sort_unstable();
        let mut question = vec![name.as_bytes(), server.as_bytes(), stamp.as_bytes()];
        question.extend(variables.iter().map(String::as_bytes));
        self.memory.helped(&question, self.fresh, || helper::get(places, name, server, self.cancel))
    }
}

impl FileSet {
    pub(in crate::distribution) fn none() -> FileSet {
        FileSet::None
    }

    /// The caller's file, or the usual places.
    pub(in crate::distribution) fn of(auth_file: Option<&Path>) -> FileSet {
        auth_file.map_or(FileSet::Usual, |path| FileSet::Only(path.to_owned()))
    }

    /// The credentials for a server, by the names it goes by, the most exact first. The first file that has any is the one.
    pub(in crate::distribution) fn find(
        &self,
        places: &Places,
        keys: &[String],
        ask: Helpers<'_>,
    ) -> Result<Option<Credentials>> {
        let find = |file: &CredentialFile| {
            file.find(places, keys, ask).context(|| format!("credentials in \"{}\"", file.name))
        };
        for source in self.sources(places) {
            let file = match source {
                Source::Inline(text) => CredentialFile::parse(INLINE, text.as_bytes())?,
                Source::File(path) => match (CredentialFile::read(&path)?, self) {
                    (Some(file), _) => file,
                    (None, FileSet::Only(path)) => return Err(Error::syscall("open", path, libc::ENOENT)),
                    (None, _) => continue,
                },
            };
            if let Some(found) = find(&file)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The files, in their order. The last of the usual ones is docker's.
    pub(in crate::distribution) fn paths(&self, places: &Places) -> Vec<PathBuf> {
        let file = |source| match source {
            Source::File(path) => Some(path),
            Source::Inline(_) => None,
        };
        self.sources(places).into_iter().filter_map(file).collect()
    }

    fn sources(&self, places: &Places) -> Vec<Source> {
        match self {
            FileSet::None => Vec::new(),
            FileSet::Only(path) => vec![Source::File(path.clone())],
            FileSet::Usual => {
                let runtime = places
                    .variable("XDG_RUNTIME_DIR")
                    .map(|path| PathBuf::from(path).join("containers/auth.json"));
                let docker = match places.variable("DOCKER_CONFIG") {
                    Some(path) => Some(PathBuf::from(path).join("config.json")),
                    None => places.home().map(|home| home.join(".docker/config.json")),
                };
                let named = places.variable("REGISTRY_AUTH_FILE").map(PathBuf::from);
                let before = [named, runtime, places.config("containers/auth.json")];
                // Where docker has it: before its own file, behind those of others.
                let inline = places.variable(INLINE).map(Source::Inline);
                let before = before.into_iter().flatten().map(Source::File);
                before.chain(inline).chain(docker.map(Source::File)).collect()
            }
        }
    }
}

impl CredentialFile {
    /// None if there is none.
    pub(in crate::distribution) fn read(path: &Path) -> Result<Option<CredentialFile>> {
        let Some(bytes) = read_file(path, MAX_FILE)? else { return Ok(None) };
        let mut file = CredentialFile::parse(&path.display().to_string(), &bytes)?;
        if let Ok(found) = path.metadata() {
            let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
            file.stamp = format!("{} {} {seconds}.{nanoseconds}", file.name, found.ino());
        }
        Ok(Some(file))
    }

    fn parse(name: &str, bytes: &[u8]) -> Result<CredentialFile> {
        let empty = bytes.iter().all(u8::is_ascii_whitespace);
        let document = if empty { Some(Map::new()) } else { serde_json::from_slice(bytes).ok() };
        // Nothing of it is shown.
        let document = document.ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{name}\" is not a credential file: it is malformed"),
            )
            .with_object(name)
        })?;
        Ok(CredentialFile { name: name.to_owned(), document, stamp: name.to_owned() })
    }

    fn find(&self, places: &Places, keys: &[String], ask: Helpers<'_>) -> Result<Option<Credentials>> {
        for key in keys {
            let helpers = self.document.get("credHelpers").and_then(Value::as_object);
            if let Some((server, helper)) = helpers.and_then(|helpers| entry(helpers, key)) {
                let helper = helper.as_str().unwrap_or_default();
                return ask.ask(places, helper, &server_name(server), &self.stamp);
            }
            let auths = self.document.get("auths").and_then(Value::as_object);
            if let Some((_, auth)) = auths.and_then(|auths| entry(auths, key))
                && let Some(found) = self.credentials_of(auth, key)?
            {
                return Ok(Some(found));
            }
        }
        let store = self.document.get("credsStore").and_then(Value::as_str).filter(|store| !store.is_empty());
        match (store, keys.last()) {
            (Some(store), Some(server)) => ask.ask(places, store, &server_name(server), &self.stamp),
            _ => Ok(None),
        }
    }

    fn credentials_of(&self, auth: &Value, key: &str) -> Result<Option<Credentials>> {
        let text = |name: &str| auth.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credentials::Token(token.to_owned())));
        }
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credentials::IdentityToken(token.to_owned())));
        }
        if let Some(encoded) = text("auth") {
            let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim()).ok();
            let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|pair| pair.trim_end_matches('\0').split_once(':'));
            let (username, password) = pair.ok_or_else(|| {
                let text = format!("\"{}\": the entry \"{key}\" is malformed", self.name);
                Error::new(ErrorKind::InvalidArgument, text).with_object(self.name.clone())
            })?;
            return Ok(Some(Credentials::password(username, password)));
        }
        Ok(text("username")
            .zip(text("password"))
            .map(|(username, password)| Credentials::password(username, password)))
    }
}

/// The entry for a server: by its exact name, else by one that means the same.
pub(super) fn entry<'m>(map: &'m Map<String, Value>, key: &str) -> Option<(&'m String, &'m Value)> {
    map.get_key_value(key).or_else(|| map.iter().find(|(stored, _)| normal(stored) == key))
}

/// `https://host:port/v1/` is the server `host:port`, and Docker Hub has several names.
pub(super) fn normal(stored: &str) -> String {
    let hub = |host: &str| matches!(host, "index.docker.io" | "registry-1.docker.io" | "docker.io");
    let stored = stored.trim();
    let (had_scheme, rest) = match stored.split_once("://") {
        Some((_, rest)) => (true, rest),
        None => (false, stored),
    };
    let rest = rest.trim_end_matches('/');
    let host = rest.split('/').next().unwrap_or_default();
    let old = rest.ends_with("/v1") || rest.ends_with("/v2");
    match (hub(host), had_scheme || old) {
        (true, true) => "docker.io".to_owned(),
        (true, false) => format!("docker.io{}", rest.get(host.len()..).unwrap_or_default()),
        (false, true) => host.to_owned(),
        (false, false) => rest.to_owned(),
    }
}

/// What a server is called when it is stored, and towards helpers.
pub(super) fn server_name(key: &str) -> String {
    if normal(key) == "docker.io" { HUB_KEY.to_owned() } else { key.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Asked(Memory, CancelToken);

    impl Asked {
        fn helpers(&self) -> Helpers<'_> {
            Helpers { memory: &self.0, cancel: &self.1, fresh: false }
        }
    }

    fn encoded(pair: &str) -> String {
        base64::engine::general_purpose::STANDARD.encode(pair)
    }

    fn write(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn found(places: &Places, files: &FileSet, keys: &[&str]) -> Option<String> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        match files.find(places, &keys, Asked::default().helpers()).unwrap()? {
            Credentials::Password { username, password } => Some(format!("{username}:{password}")),
            Credentials::IdentityToken(token) => Some(format!("identity {token}")),
            Credentials::Token(token) => Some(format!("token {token}")),
        }
    }

    #[test]
    fn the_order_of_the_files() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let at = |path: &str| root.join(path);
        let file = |user: &str| {
            format!(r#"{{"auths":{{"reg.example":{{"auth":"{}"}}}}}}"#, encoded(&format!("{user}:p")))
        };
        let inline = file("inline");
        let runtime = at("run").display().to_string();
        let named = at("named.json").display().to_string();
        let variables = [
            ("XDG_RUNTIME_DIR", runtime.as_str()),
            ("REGISTRY_AUTH_FILE", named.as_str()),
            ("DOCKER_AUTH_CONFIG", inline.as_str()),
        ];
        let places = Places::below(root, &variables);
        let files = [
            (at("named.json"), "named"),
            (at("run/containers/auth.json"), "runtime"),
            (at("home/.config/containers/auth.json"), "config"),
        ];
        write(&at("home/.docker/config.json"), &file("docker"));
        for (path, user) in &files {
            write(path, &file(user));
        }
        for (path, user) in &files {
            assert_eq!(found(&places, &FileSet::Usual, &["reg.example"]), Some(format!("{user}:p")));
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(found(&places, &FileSet::Usual, &["reg.example"]).as_deref(), Some("inline:p"));
        // Also where there is no place for a file.
        let alone = Places::below(root, &[("HOME", ""), ("DOCKER_AUTH_CONFIG", inline.as_str())]);
        assert_eq!(FileSet::Usual.paths(&alone), Vec::<PathBuf>::new());
        assert_eq!(found(&alone, &FileSet::Usual, &["reg.example"]).as_deref(), Some("inline:p"));
        let places = Places::below(root, &[]);
        assert_eq!(found(&places, &FileSet::Usual, &["reg.example"]).as_deref(), Some("docker:p"));
        assert_eq!(found(&places, &FileSet::None, &["reg.example"]), None);
        write(&at("own.json"), &file("own"));
        assert_eq!(
            found(&places, &FileSet::Only(at("own.json")), &["reg.example"]).as_deref(),
            Some("own:p")
        );
        let missing =
            FileSet::Only(at("missing.json")).find(&places, &["x".into()], Asked::default().helpers());
        assert_eq!(missing.unwrap_err().kind(), ErrorKind::PathNotFound);
    }

    #[test]
    fn sec_102_only_the_entry_of_the_server() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("auth.json");
        let text = format!(
            r#"{{"auths":{{
                "https://index.docker.io/v1/":{{"auth":"{hub}"}},
                "https://old.example/v1/":{{"auth":"{old}"}},
                "reg.example":{{"auth":"{reg}"}},
                "reg.example/team":{{"auth":"{team}"}},
                "reg.example:5000":{{"identitytoken":"it","auth":"{reg}"}},
                "token.example":{{"registrytoken":"rt"}},
                "plain.example":{{"username":"u","password":"p:q"}},
                "empty.example":{{}}
            }}}}"#,
            hub = encoded("hub:p"),
            old = encoded("old:p"),
            reg = encoded("reg:p"),
            team = encoded("team:p\0\0")
        );
        write(&path, &text);
        let places = Places::below(place.path(), &[]);
        let files = FileSet::Only(path);
        for (keys, expected) in [
            (&["docker.io/library/debian", "docker.io/library", "docker.io"][..], Some("hub:p")),
            (&["old.example"], Some("old:p")),
            (&["reg.example/other", "reg.example"], Some("reg:p")),
            (&["reg.example/team/app", "reg.example/team", "reg.example"], Some("team:p")),
            (&["reg.example:5000"], Some("identity it")),
            (&["token.example"], Some("token rt")),
            (&["plain.example"], Some("u:p:q")),
            (&["empty.example"], None),
            (&["reg.example:443"], None),
            (&["evil-reg.example"], None),
            (&["reg.example.evil.net"], None),
            (&["example"], None),
        ] {
            assert_eq!(found(&places, &files, keys).as_deref(), expected, "{keys:?}");
        }
    }

    #[test]
    fn malformed_files_are_named_and_not_shown() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("auth.json");
        let places = Places::below(place.path(), &[]);
        for text in [r#"{"auths": "sEcReT"#, r#"{"auths":{"reg.example":{"auth":"sEcReT!"}}}"#] {
            write(&path, text);
            let error = FileSet::Only(path.clone())
                .find(&places, &["reg.example".into()], Asked::default().helpers())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(
                error.to_string().contains("auth.json") && !error.to_string().contains("sEcReT"),
                "{error}"
            );
        }
        write(&path, " \n");
        assert_eq!(found(&places, &FileSet::Only(path), &["reg.example"]), None);
    }
}
