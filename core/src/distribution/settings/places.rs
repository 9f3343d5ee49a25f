//! Where files are looked for. The process's own environment, or in tests one that is made up.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::distribution::options::RegistryOptions;
use crate::error::{Call, Error, ErrorKind, Result};

/// The longest file of settings.
pub(in crate::distribution) const MAX_SETTINGS: u64 = 4 << 20;

/// Environment and places of files.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    variables: Option<HashMap<String, String>>,
    etc: PathBuf,
    /// What the caller names instead of the usual ones.
    registries_conf: Option<PathBuf>,
    hosts_dir: Option<PathBuf>,
}

impl Places {
    /// Those of this process.
    pub(crate) fn of_process() -> Places {
        Places { variables: None, etc: PathBuf::from("/etc"), registries_conf: None, hosts_dir: None }
    }

    /// Made up: everything is below one directory.
    #[cfg(test)]
    pub(crate) fn below(root: &Path, variables: &[(&str, &str)]) -> Places {
        let mut all: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.entry("HOME".to_owned()).or_insert_with(|| root.join("home").display().to_string());
        Places { variables: Some(all), etc: root.join("etc"), registries_conf: None, hosts_dir: None }
    }

    /// With what the caller names.
    pub(in crate::distribution) fn with(&self, options: &RegistryOptions) -> Places {
        let (registries_conf, hosts_dir) = (options.registries_conf.clone(), options.hosts_dir.clone());
        Places { registries_conf, hosts_dir, ..self.clone() }
    }

    /// The file of registries that the caller names.
    pub(super) fn registries_conf(&self) -> Option<&Path> {
        self.registries_conf.as_deref()
    }

    /// The directory of registries that the caller names.
    pub(super) fn hosts_dir(&self) -> Option<&Path> {
        self.hosts_dir.as_deref()
    }

    /// A variable that is set and not empty.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let value = match &self.variables {
            None => std::env::var(name).ok(),
            Some(variables) => variables.get(name).cloned(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// All variables that are text, as `NAME=value`.
    pub(in crate::distribution) fn variables(&self) -> Vec<String> {
        match &self.variables {
            None => std::env::vars_os()
                .filter_map(|(name, value)| Some(format!("{}={}", name.to_str()?, value.to_str()?)))
                .collect(),
            Some(variables) => variables.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        }
    }

    /// A file below `/etc`.
    pub(in crate::distribution) fn etc(&self, path: &str) -> PathBuf {
        self.etc.join(path)
    }

    pub(crate) fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
    }

    /// A file below the user's configuration.
    pub(in crate::distribution) fn config(&self, path: &str) -> Option<PathBuf> {
        let base = self.variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        Some(base.or_else(|| Some(self.home()?.join(".config")))?.join(path))
    }
}

/// A file of at most `limit` bytes; None if it is not there.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
        result => result.call("open", path)?,
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).call("read", path)?;
    if bytes.len() as u64 > limit {
        let text = format!("\"{}\" is longer than {limit} bytes", path.display());
        return Err(Error::new(ErrorKind::LimitExceeded, text).with_object(path.display().to_string()));
    }
    Ok(Some(bytes))
}

/// A file of TOML; None if it is not there.
pub(super) fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(bytes) = read_file(path, MAX_SETTINGS)? else { return Ok(None) };
    let bad = |why: &str| {
        let text = format!("\"{}\" is malformed: {}", path.display(), why.trim_end().replace('\n', " "));
        Error::new(ErrorKind::InvalidArgument, text).with_object(path.display().to_string())
    };
    let text = String::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
    toml::from_str(&text).map(Some).map_err(|error: toml::de::Error| bad(error.message()))
}
