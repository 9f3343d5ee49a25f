//! `registries.conf`, version 2: what other names stand for, mirrors, what is blocked or insecure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Answers;
use super::places::{Places, read_toml};
use crate::error::{Call, Error, ErrorKind, Result};
use crate::oci::Reference;

/// What is understood of a file. The rest is for other programs.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<Registry>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    prefix: Option<String>,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

/// Where a repository is, by this file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Domain and path.
    pub(super) name: String,
    pub(super) insecure: bool,
    pub(super) is_mirror: bool,
    pub(super) answers: Answers,
}

/// The files together.
#[derive(Debug, Default)]
pub(super) struct RegistriesConf {
    search: Vec<String>,
    registries: Vec<(PathBuf, Registry)>,
    aliases: BTreeMap<String, String>,
}

impl RegistriesConf {
    /// The caller's file alone; otherwise the user's file, or if there is none the system's, and the files of both directories beside them, of which later ones win.
    pub(super) fn read(places: &Places) -> Result<RegistriesConf> {
        let mut conf = RegistriesConf::default();
        if let Some(only) = places.registries_conf() {
            if !only.exists() {
                return Err(Error::syscall("open", only, libc::ENOENT));
            }
            conf.add(only)?;
            return Ok(conf);
        }
        let main = match places.variable("CONTAINERS_REGISTRIES_CONF") {
            Some(path) => PathBuf::from(path),
            None => places
                .config("containers/registries.conf")
                .filter(|path| path.exists())
                .unwrap_or_else(|| places.etc("containers/registries.conf")),
        };
        conf.add(&main)?;
        let beside =
            [Some(places.etc("containers/registries.conf.d")), places.config("containers/registries.conf.d")];
        for directory in beside.into_iter().flatten() {
            for path in files_of(&directory)? {
                conf.add(&path)?;
            }
        }
        Ok(conf)
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let Some(file) = read_toml::<File>(path)? else { return Ok(()) };
        if let Some(search) = file.unqualified_search_registries {
            self.search = search;
        }
        for registry in file.registry {
            let prefix = registry.prefix().to_owned();
            let empty = prefix.is_empty() || (registry.location.is_empty() && !prefix.starts_with("*."));
            if empty {
                let text = format!("\"{}\": a registry has no location", path.display());
                return Err(
                    Error::new(ErrorKind::InvalidArgument, text).with_object(path.display().to_string())
                );
            }
            self.registries.retain(|(_, other)| other.prefix() != prefix);
            self.registries.push((path.to_owned(), registry));
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }

    /// Where to look for a repository: mirrors first, itself last.
    pub(super) fn find(&self, reference: &Reference) -> Result<Vec<Place>> {
        let name = reference.repository();
        let full = reference.to_string();
        let best = self
            .registries
            .iter()
            .filter_map(|(path, registry)| Some((registry.covers(&name, &full)?, path, registry)))
            .max_by_key(|(length, _, _)| *length);
        let Some((length, path, registry)) = best else {
            return Ok(vec![Place { name, insecure: false, is_mirror: false, answers: Answers::Everything }]);
        };
        if registry.blocked {
            let text = format!("\"{full}\" is blocked by \"{}\"", path.display());
            return Err(Error::new(ErrorKind::PermissionDenied, text).with_object(full));
        }
        // What is behind the prefix stays.
        let rest = name.get(length..).unwrap_or_default();
        let mut places = Vec::new();
        for mirror in &registry.mirror {
            let answers = match mirror.pull_from_mirror.as_deref() {
                _ if registry.mirror_by_digest_only => Answers::Digests,
                None | Some("" | "all") => Answers::Everything,
                Some("digest-only") => Answers::Digests,
                Some("tag-only") => Answers::Tags,
                Some(other) => {
                    let text = format!(
                        "\"{}\": \"{}\" is not a way to use a mirror",
                        path.display(),
                        other.escape_debug()
                    );
                    return Err(Error::new(ErrorKind::InvalidArgument, text));
                }
            };
            let name = format!("{}{rest}", mirror.location.trim_end_matches('/'));
            places.push(Place { name, insecure: mirror.insecure, is_mirror: true, answers });
        }
        let name = if registry.location.is_empty() {
            name
        } else {
            format!("{}{rest}", registry.location.trim_end_matches('/'))
        };
        places.push(Place {
            name,
            insecure: registry.insecure,
            is_mirror: false,
            answers: Answers::Everything,
        });
        Ok(places)
    }

    /// What a name without a registry may stand for; None if nothing is said about that.
    pub(super) fn candidates(&self, text: &str) -> Option<Vec<String>> {
        if self.search.is_empty() {
            return None;
        }
        let end = text.find('@').unwrap_or(text.len());
        let end = text.get(..end).and_then(|front| front.find(':')).unwrap_or(end);
        let (name, suffix) = text.split_at(end);
        if let Some(full) = self.aliases.get(name).filter(|full| !full.is_empty()) {
            return Some(vec![format!("{full}{suffix}")]);
        }
        Some(
            self.search.iter().map(|registry| format!("{}/{text}", registry.trim_end_matches('/'))).collect(),
        )
    }
}

impl Registry {
    fn prefix(&self) -> &str {
        self.prefix.as_deref().filter(|prefix| !prefix.is_empty()).unwrap_or(&self.location)
    }

    /// How much of the name the prefix covers; None if it does not.
    fn covers(&self, name: &str, full: &str) -> Option<usize> {
        let prefix = self.prefix();
        if let Some(parent) = prefix.strip_prefix('*') {
            let host = name.split('/').next()?;
            let bare = host.split(':').next()?;
            return (bare.ends_with(parent) && bare.len() > parent.len()).then_some(host.len());
        }
        let prefix = prefix.trim_end_matches('/');
        let rest = full.strip_prefix(prefix)?;
        // Behind a repository a colon is that of the tag, behind a host that of the port, which is another registry.
        let ends = match rest.chars().next() {
            None | Some('/' | '@') => true,
            Some(':') => prefix.contains('/'),
            Some(_) => false,
        };
        ends.then_some(prefix.len().min(name.len()))
    }
}

fn files_of(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match directory.read_dir() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Ok(Vec::new());
        }
        result => result.call("opendir", directory)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.call("readdir", directory)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
