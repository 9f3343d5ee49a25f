//! The proxies of docker's client configuration, as variables of a container's programs.
//!
//! They may have passwords in them. So they are read whenever a program is started and given to that alone: nothing keeps them, neither the database nor what `inspect` shows.

use std::path::PathBuf;

use serde_json::Value;

use crate::distribution::{Places, read_file};
use crate::error::{Error, ErrorKind, Result};

/// The longest file.
const MAX_FILE: u64 = 16 << 20;

/// What the file calls a proxy, and what the variable is called.
const NAMES: [(&str, &str); 5] = [
    ("httpProxy", "HTTP_PROXY"),
    ("httpsProxy", "HTTPS_PROXY"),
    ("ftpProxy", "FTP_PROXY"),
    ("noProxy", "NO_PROXY"),
    ("allProxy", "ALL_PROXY"),
];

/// The variables of `proxies.default` in docker's `config.json`, each in upper and lower case. None if there is no such file, or nothing in it.
pub(super) fn variables(places: &Places) -> Result<Vec<(String, String)>> {
    let Some(path) = path(places) else { return Ok(Vec::new()) };
    let Some(bytes) = read_file(&path, MAX_FILE)? else { return Ok(Vec::new()) };
    // Nothing of the file is shown.
    let wrong = || {
        let text = format!("the proxies in \"{}\" are malformed", path.display());
        Error::new(ErrorKind::InvalidArgument, text).with_object(path.display().to_string())
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Vec::new());
    }
    let document: Value = serde_json::from_slice(&bytes).map_err(|_| wrong())?;
    let proxies = match document.get("proxies").and_then(|proxies| proxies.get("default")) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(proxies) => proxies.as_object().ok_or_else(wrong)?,
    };
    let mut variables = Vec::new();
    for (key, name) in NAMES {
        let value = match proxies.get(key) {
            None | Some(Value::Null) => continue,
            Some(value) => value.as_str().ok_or_else(wrong)?,
        };
        if value.chars().any(char::is_control) {
            return Err(wrong());
        }
        if !value.is_empty() {
            variables.push((name.to_owned(), value.to_owned()));
            variables.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    Ok(variables)
}

fn path(places: &Places) -> Option<PathBuf> {
    match places.variable("DOCKER_CONFIG") {
        Some(directory) => Some(PathBuf::from(directory).join("config.json")),
        None => places.home().map(|home| home.join(".docker/config.json")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), text).unwrap();
        variables(&Places::below(dir.path(), &[("DOCKER_CONFIG", dir.path().to_str().unwrap())]))
    }

    #[test]
    fn both_cases_of_what_is_there() {
        let some = r#"{"proxies": {"default": {"httpProxy": "http://u:p@h:1", "noProxy": "", "allProxy": null}}, "auths": 5}"#;
        let pair = |name: &str| (name.to_owned(), "http://u:p@h:1".to_owned());
        assert_eq!(read(some).unwrap(), [pair("HTTP_PROXY"), pair("http_proxy")]);
        for none in [
            "",
            " \n",
            "{}",
            r#"{"proxies": {}}"#,
            r#"{"proxies": {"tcp://other:2375": {"httpProxy": "x"}}}"#,
        ] {
            assert_eq!(read(none).unwrap(), [], "{none}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(variables(&Places::below(dir.path(), &[])).unwrap(), []);
    }

    #[test]
    fn what_is_malformed_is_not_shown() {
        for text in [
            "hunter2",
            r#"{"proxies": {"default": "hunter2"}}"#,
            r#"{"proxies": {"default": {"httpProxy": ["hunter2"]}}}"#,
            r#"{"proxies": {"default": {"httpProxy": "hunter2\u0000"}}}"#,
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
