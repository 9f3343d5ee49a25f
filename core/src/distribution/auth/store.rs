//! Writing credential files: for login and logout. What others have in them stays, and a reader never meets half a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::files::{CredentialFile, FileSet, normal, server_name};
use super::helper;
use crate::cancel::CancelToken;
use crate::distribution::net::Network;
use crate::distribution::options::Credentials;
use crate::distribution::settings::Places;
use crate::error::{Call, Error, ErrorKind, Result};
use crate::state::{Locked, Pause};

/// Stores the credentials of a server: with the helper that the file names for it, otherwise in the file. Returns where.
pub(in crate::distribution) fn store(
    places: &Places,
    files: &FileSet,
    server: &str,
    credentials: &Credentials,
    cancel: &CancelToken,
) -> Result<String> {
    let path = target_of(places, files)?;
    let key = server_name(server);
    let mut stored_in = path.display().to_string();
    change(&path, cancel, |document| {
        if let Some(helper) = helper_of(document, server) {
            helper::put(places, &helper, &key, credentials, cancel)?;
            stored_in = helper::program_of(&helper);
            // The helper has it, so the file must not have something older; an empty entry says that there is one, as docker has it.
            replace(entries(document, "auths")?, server, &key, json!({}));
        } else {
            replace(entries(document, "auths")?, server, &key, entry_of(credentials));
        }
        Ok(true)
    })?;
    Ok(stored_in)
}

/// Forgets the credentials of a server, in every file and helper that has them. False if none had.
pub(in crate::distribution) fn forget(
    places: &Places,
    network: &Network,
    files: &FileSet,
    server: &str,
    cancel: &CancelToken,
) -> Result<bool> {
    let key = server_name(server);
    let mut found = false;
    for path in files.paths(places) {
        let Some(file) = CredentialFile::read(&path)? else { continue };
        if let Some(helper) = helper_of(&file.document, server) {
            network.check_program(&helper::program_of(&helper))?;
            found |= helper::erase(places, &helper, &key, cancel)?;
        }
        let knows = |document: &Map<String, Value>| {
            let auths = document.get("auths").and_then(Value::as_object);
            auths.is_some_and(|auths| auths.keys().any(|stored| normal(stored) == server))
        };
        if knows(&file.document) {
            change(&path, cancel, |document| {
                entries(document, "auths")?.retain(|stored, _| normal(stored) != server);
                Ok(true)
            })?;
            found = true;
        }
    }
    Ok(found)
}

/// The file that a login writes: the caller's, the one that the environment names, the first that exists, or docker's.
fn target_of(places: &Places, files: &FileSet) -> Result<PathBuf> {
    let paths = files.paths(places);
    let named = places.variable("REGISTRY_AUTH_FILE").map(PathBuf::from);
    let existing = paths.iter().find(|path| Some(*path) == named.as_ref() || path.exists());
    existing.or(paths.last()).cloned().ok_or_else(|| {
        Error::new(ErrorKind::PathNotFound, "there is no place for a credential file")
            .with_hint("set HOME, or name a file")
    })
}

fn entry_of(credentials: &Credentials) -> Value {
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    match credentials {
        Credentials::Password { username, password } => {
            json!({ "auth": encode(format!("{username}:{password}")) })
        }
        Credentials::IdentityToken(token) => {
            json!({ "auth": encode("<token>:".to_owned()), "identitytoken": token })
        }
        Credentials::Token(token) => json!({ "registrytoken": token }),
    }
}

fn helper_of(document: &Map<String, Value>, server: &str) -> Option<String> {
    let helpers = document.get("credHelpers").and_then(Value::as_object);
    let own = helpers.and_then(|helpers| super::files::entry(helpers, server)).map(|(_, helper)| helper);
    let helper = own.or_else(|| document.get("credsStore")).and_then(Value::as_str)?;
    (!helper.is_empty()).then(|| helper.to_owned())
}

/// One entry for a server, in place of all that mean it.
fn replace(auths: &mut Map<String, Value>, server: &str, key: &str, value: Value) {
    auths.retain(|stored, _| normal(stored) != server);
    auths.insert(key.to_owned(), value);
}

fn entries<'m>(document: &'m mut Map<String, Value>, name: &str) -> Result<&'m mut Map<String, Value>> {
    let value = document.entry(name).or_insert_with(|| json!({}));
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut().ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("\"{name}\" of the credential file is malformed"))
    })
}

/// Changes a file as a whole, one process of ours at a time, with the mode that it has; a new one is for its owner alone.
fn change(
    path: &Path,
    cancel: &CancelToken,
    edit: impl FnOnce(&mut Map<String, Value>) -> Result<bool>,
) -> Result<()> {
    // A link, as configuration kept elsewhere has it, stays.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        let mut builder = std::fs::DirBuilder::new();
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.recursive(true).create(directory).call("mkdir", directory)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let _lock = LockFile::take(directory.join(format!(".{name}.coble-lock")), cancel)?;
    let mut document = CredentialFile::read(&path)?.map(|file| file.document).unwrap_or_default();
    if !edit(&mut document)? {
        return Ok(());
    }
    let mut text = serde_json::to_vec_pretty(&document)
        .map_err(|_| Error::new(ErrorKind::Internal, "a credential file cannot be written as JSON"))?;
    text.push(b'\n');
    let temporary = directory.join(format!(".{name}.coble-{}", std::process::id()));
    let result = write(&temporary, &path, &text)
        .and_then(|()| std::fs::rename(&temporary, &path).call("rename", &path));
    if result.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    result
}

/// A locked file beside the one that is changed. Whoever had it takes it away; what a process left that was killed is no hindrance.
struct LockFile {
    path: PathBuf,
    _lock: Locked,
}

impl LockFile {
    fn take(path: PathBuf, cancel: &CancelToken) -> Result<LockFile> {
        let mut pause = Pause::default();
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .call("open", &path)?;
            let ours = file.metadata().call("fstat", &path)?;
            if let Some(lock) = Locked::try_exclusive(file.into(), &path)? {
                // The one who had it may have taken it away, and another one made it anew.
                let there = std::fs::symlink_metadata(&path);
                if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                    return Ok(LockFile { path, _lock: lock });
                }
            }
            pause.wait(cancel)?;
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Before the lock goes, so that nobody else's is removed.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn write(temporary: &Path, path: &Path, text: &[u8]) -> Result<()> {
    // What a process left that had our number and died.
    let _ = std::fs::remove_file(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(temporary)
        .call("open", temporary)?;
    if let Ok(before) = std::fs::metadata(path) {
        // Never wider than for its owner, whatever it was: it has secrets in it.
        let mode = before.permissions().mode() & 0o600;
        file.set_permissions(std::fs::Permissions::from_mode(mode | 0o400)).call("chmod", temporary)?;
        // As root for somebody else: the file stays theirs. That it cannot be given away does no harm to us.
        let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
    }
    file.write_all(text).call("write", temporary)?;
    file.sync_all().call("fsync", temporary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online() -> Network {
        Network::usual()
    }

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_login_keeps_what_others_wrote_and_a_logout_takes_away_one_entry() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path(), &[]);
        let never = CancelToken::never();
        let path = place.path().join("home/.docker/config.json");
        let files = FileSet::Usual;
        let login = |server: &str, credentials: &Credentials| {
            store(&places, &files, server, credentials, &never).unwrap()
        };
        let me = Credentials::password("me", "s3");
        assert_eq!(login("docker.io", &me), path.display().to_string());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, r#"{"psFormat":"x","auths":{"https://reg.example/v1/":{"auth":"b2xk"},"other":{"auth":"eA=="}},"plugins":{"a":1}}"#).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        login("reg.example", &me);
        login("docker.io", &Credentials::IdentityToken("it".into()));
        let document = read(&path);
        assert_eq!(document["psFormat"], "x");
        assert_eq!(document["plugins"]["a"], 1);
        assert_eq!(document["auths"]["other"]["auth"], "eA==");
        assert_eq!(document["auths"]["reg.example"]["auth"], "bWU6czM=");
        assert!(document["auths"].get("https://reg.example/v1/").is_none());
        assert_eq!(document["auths"]["https://index.docker.io/v1/"]["identitytoken"], "it");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let memory = crate::distribution::auth::Memory::default();
        let ask = super::super::Helpers { memory: &memory, cancel: &never, fresh: false };
        let found = files.find(&places, &["docker.io".into()], ask).unwrap();
        assert_eq!(found, Some(Credentials::IdentityToken("it".into())));

        assert!(forget(&places, &online(), &files, "docker.io", &never).unwrap());
        assert!(!forget(&places, &online(), &files, "docker.io", &never).unwrap());
        assert!(read(&path)["auths"].get("https://index.docker.io/v1/").is_none());
        assert_eq!(read(&path)["auths"]["other"]["auth"], "eA==");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_a_malformed_file_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path(), &[]);
        let never = CancelToken::never();
        let (link, real) = (place.path().join("link.json"), place.path().join("real.json"));
        std::fs::write(&real, "{}").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let files = FileSet::Only(link.clone());
        store(&places, &files, "reg.example", &Credentials::Token("t".into()), &never).unwrap();
        assert!(link.is_symlink());
        assert_eq!(read(&real)["auths"]["reg.example"]["registrytoken"], "t");
        std::fs::write(&real, "{broken").unwrap();
        let error =
            store(&places, &files, "reg.example", &Credentials::password("a", "b"), &never).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "{broken");
    }

    #[test]
    fn waiting_for_somebody_else_can_be_cancelled() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path(), &[]);
        let files = FileSet::Only(place.path().join("auth.json"));
        std::fs::write(place.path().join("auth.json"), r#"{"auths":{"reg.example":{"auth":"eA=="}}}"#)
            .unwrap();
        let lock = place.path().join(".auth.json.coble-lock");
        let never = CancelToken::never();
        let held = LockFile::take(lock.clone(), &never).unwrap();
        let me = Credentials::password("a", "b");
        for wait in [
            &(|cancel: &CancelToken| store(&places, &files, "reg.example", &me, cancel).map(drop))
                as &(dyn Fn(&CancelToken) -> Result<()> + Sync),
            &|cancel| forget(&places, &online(), &files, "reg.example", cancel).map(drop),
        ] {
            let cancel = CancelToken::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                    cancel.cancel();
                });
                assert_eq!(wait(&cancel).unwrap_err().kind(), ErrorKind::Cancelled);
            });
        }
        drop(held);
        assert!(!lock.exists());
        // Nor does a lock of the directory, which others may have for reasons of their own, keep anybody.
        let directory = std::fs::File::open(place.path()).unwrap();
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive).unwrap();
        store(&places, &files, "reg.example", &me, &never).unwrap();
        // What a killed process left is no hindrance.
        std::fs::write(&lock, "").unwrap();
        assert!(forget(&places, &online(), &files, "reg.example", &never).unwrap());
        assert!(!lock.exists());
    }

    #[test]
    fn logins_side_by_side_lose_nothing() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path(), &[]);
        let files = FileSet::Only(place.path().join("auth.json"));
        std::thread::scope(|scope| {
            for i in 0..8 {
                let (places, files) = (&places, &files);
                scope.spawn(move || {
                    let server = format!("reg{i}.example");
                    store(places, files, &server, &Credentials::password("a", "b"), &CancelToken::never())
                        .unwrap();
                });
            }
        });
        assert_eq!(read(&place.path().join("auth.json"))["auths"].as_object().unwrap().len(), 8);
    }
}
