//! The directories of certificates: `<host:port>/*.crt` are authorities to trust, `*.cert` with the `*.key` of the same name are to be shown.

use std::path::{Path, PathBuf};

use super::places::Places;
use crate::distribution::net::Trust;
use crate::error::{Call, Error, ErrorKind, Result};

/// What containerd keeps in such a directory.
pub(super) const HOSTS_TOML: &str = "hosts.toml";

/// The directories, the user's first; only the caller's, if one is named.
pub(super) fn directories(places: &Places) -> Vec<PathBuf> {
    if let Some(only) = places.hosts_dir() {
        return vec![only.to_owned()];
    }
    let users = ["containers/certs.d", "docker/certs.d", "containerd/certs.d"];
    let systems = ["containers/certs.d", "docker/certs.d", "containerd/certs.d"];
    let users = users.iter().filter_map(|path| places.config(path));
    users.chain(systems.iter().map(|path| places.etc(path))).collect()
}

/// Adds what is there for a server that goes by these names; only what is in `only`, if that is given.
pub(super) fn add(places: &Places, names: &[String], only: Option<&Path>, trust: &mut Trust) -> Result<()> {
    if let Some(only) = only {
        if !only.is_dir() {
            return Err(Error::syscall("opendir", only, libc::ENOENT));
        }
        return add_directory(only, trust);
    }
    for directory in directories(places) {
        for name in names {
            let directory = directory.join(name);
            // Where there is a file that says what is for what, names of files say nothing.
            if directory.is_dir() && !directory.join(HOSTS_TOML).exists() {
                add_directory(&directory, trust)?;
            }
        }
    }
    Ok(())
}

fn add_directory(directory: &Path, trust: &mut Trust) -> Result<()> {
    let mut files = Vec::new();
    for entry in directory.read_dir().call("opendir", directory)? {
        files.push(entry.call("readdir", directory)?.path());
    }
    files.sort();
    for file in &files {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.authorities.push(file.clone()),
            Some("cert") => {
                let key = file.with_extension("key");
                if !files.contains(&key) {
                    return Err(alone(file, &key));
                }
                trust.client.get_or_insert((file.clone(), key));
            }
            Some("key") => {
                let certificate = file.with_extension("cert");
                if !files.contains(&certificate) {
                    return Err(alone(file, &certificate));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn alone(file: &Path, other: &Path) -> Error {
    let text = format!("\"{}\" is there without \"{}\"", file.display(), other.display());
    Error::new(ErrorKind::InvalidArgument, text)
        .with_object(file.display().to_string())
        .with_hint("authorities are *.crt, certificates of clients *.cert")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_their_names() {
        let place = tempfile::tempdir().unwrap();
        let places = Places::below(place.path(), &[]);
        let system = places.etc("docker/certs.d/reg.example:5000");
        let users = places.config("containers/certs.d/reg.example:5000").unwrap();
        std::fs::create_dir_all(&system).unwrap();
        std::fs::create_dir_all(&users).unwrap();
        for file in ["ca.crt", "client.cert", "client.key", "README"] {
            std::fs::write(system.join(file), "").unwrap();
        }
        std::fs::write(users.join("own.crt"), "").unwrap();
        let mut trust = Trust::default();
        add(&places, &["reg.example:5000".into()], None, &mut trust).unwrap();
        assert_eq!(trust.authorities, [users.join("own.crt"), system.join("ca.crt")]);
        assert_eq!(trust.client, Some((system.join("client.cert"), system.join("client.key"))));

        let mut other = Trust::default();
        add(&places, &["reg.example".into()], None, &mut other).unwrap();
        assert_eq!(other, Trust::default());
        add(&places, &["reg.example:5000".into()], Some(&users), &mut other).unwrap();
        assert_eq!(other.authorities, [users.join("own.crt")]);

        std::fs::remove_file(system.join("client.key")).unwrap();
        std::fs::write(system.join(HOSTS_TOML), "").unwrap();
        let mut third = Trust::default();
        add(&places, &["reg.example:5000".into()], None, &mut third).unwrap();
        assert_eq!((third.authorities, third.client), (vec![users.join("own.crt")], None));

        std::fs::remove_file(system.join(HOSTS_TOML)).unwrap();
        let error = add(&places, &["reg.example:5000".into()], None, &mut Trust::default()).unwrap_err();
        assert!(error.message().contains("client.key"), "{error}");
    }
}
