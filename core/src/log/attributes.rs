//! What each record of a log says of its container, by docker's options: a tag, labels and variables of its environment.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::error::{Error, ErrorKind, Result};

/// The most bytes of them, since they are in each record, and a program that writes empty lines makes one of every byte.
const MOST: usize = 4 << 10;

/// What a container is, for those who read its log.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_id: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
    /// `NAME=value`.
    pub(crate) environment: &'a [Vec<u8>],
}

/// The options, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    tag: Option<String>,
    labels: Vec<String>,
    labels_pattern: Option<String>,
    variables: Vec<String>,
    variables_pattern: Option<String>,
}

impl Attributes {
    /// Takes an option if it is one of these. What it cannot be is an error, in the middle of a sentence.
    pub(crate) fn take(&mut self, name: &str, value: &str) -> std::result::Result<bool, &'static str> {
        let list = || value.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let pattern = || match Regex::new(value) {
            Ok(_) => Ok(Some(value.to_owned())),
            Err(_) => Err("is not a regular expression"),
        };
        match name {
            "tag" => {
                expand(value, |_| Some(""))?;
                self.tag = Some(value.to_owned());
            }
            "labels" => self.labels = list(),
            "labels-regex" => self.labels_pattern = pattern()?,
            "env" => self.variables = list(),
            "env-regex" => self.variables_pattern = pattern()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The tag of a container, if one was asked for.
    pub(crate) fn tag(&self, about: &About<'_>) -> Option<String> {
        fn short(id: &str) -> &str {
            let id = id.strip_prefix("sha256:").unwrap_or(id);
            id.get(..12).unwrap_or(id)
        }
        let word = |word: &str| match word {
            "ID" => Some(short(about.id)),
            "FullID" => Some(about.id),
            "Name" => Some(about.name),
            "ImageID" => Some(short(about.image_id)),
            "ImageFullID" => Some(about.image_id),
            "ImageName" => Some(about.image),
            "DaemonName" => Some("coble"),
            _ => None,
        };
        // It was checked.
        self.tag.as_deref().map(|tag| expand(tag, word).unwrap_or_default())
    }

    /// The labels and variables that were asked for.
    pub(crate) fn of(&self, about: &About<'_>) -> Result<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let pattern = |text: &Option<String>| text.as_deref().and_then(|text| Regex::new(text).ok());
        let wanted = |name: &str, list: &[String], pattern: &Option<Regex>| {
            list.iter().any(|known| known == name) || pattern.as_ref().is_some_and(|it| it.is_match(name))
        };
        let labels = pattern(&self.labels_pattern);
        for (name, value) in about.labels {
            if wanted(name, &self.labels, &labels) {
                found.insert(name.clone(), value.clone());
            }
        }
        let variables = pattern(&self.variables_pattern);
        for variable in about.environment {
            let variable = String::from_utf8_lossy(variable);
            let Some((name, value)) = variable.split_once('=') else { continue };
            if wanted(name, &self.variables, &variables) {
                found.insert(name.to_owned(), value.to_owned());
            }
        }
        bounded(found.iter().map(|(name, value)| name.len() + value.len()).sum())?;
        Ok(found)
    }

    /// These and the tag.
    pub(crate) fn all(&self, about: &About<'_>) -> Result<BTreeMap<String, String>> {
        let mut all = self.of(about)?;
        if let Some(tag) = self.tag(about).filter(|tag| !tag.is_empty()) {
            all.insert("tag".to_owned(), tag);
        }
        Ok(all)
    }

    /// As a JSON object, if there is anything.
    pub(crate) fn json(&self, about: &About<'_>) -> Result<Option<String>> {
        let all = self.all(about)?;
        if all.is_empty() {
            return Ok(None);
        }
        let text = serde_json::to_string(&all)
            .map_err(|error| Error::new(ErrorKind::Internal, format!("json: {error}")))?;
        bounded(text.len())?;
        Ok(Some(text))
    }
}

fn bounded(bytes: usize) -> Result<()> {
    if bytes <= MOST {
        return Ok(());
    }
    let why = "log_opt: a tag, labels and variables of more than 4 KiB in each record";
    Err(Error::new(ErrorKind::LimitExceeded, why).with_object("log_opt"))
}

/// The name of a field of the journal, as docker makes it of any name; None if nothing is left of it.
pub(crate) fn field(name: &str) -> Option<String> {
    let plain = |c: char| match c.to_ascii_uppercase() {
        c @ ('A'..='Z' | '0'..='9') => c,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches('_');
    // The journal knows no longer ones, and none that begins with a digit.
    let good = !name.is_empty() && name.len() <= 64 && !name.starts_with(|c: char| c.is_ascii_digit());
    good.then(|| name.to_owned())
}

/// Puts words for `{{.Word}}`.
fn expand<'a>(
    template: &str,
    word: impl Fn(&str) -> Option<&'a str>,
) -> std::result::Result<String, &'static str> {
    const KNOWN: [&str; 7] = ["ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName"];
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let (name, after) = after.split_once("}}").ok_or("has no end of a {{")?;
        let name = name.trim().strip_prefix('.').filter(|name| KNOWN.contains(name));
        let name = name.ok_or("has a {{}} that is not known")?;
        text.push_str(word(name).unwrap_or_default());
        rest = after;
    }
    text.push_str(rest);
    if text.chars().any(char::is_control) {
        return Err("has a control character");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(options: &[(&str, &str)]) -> std::result::Result<Attributes, &'static str> {
        let mut all = Attributes::default();
        for (name, value) in options {
            assert!(all.take(name, value)?, "{name}");
        }
        Ok(all)
    }

    fn json(options: &[(&str, &str)]) -> Option<String> {
        let labels = [("app", "web"), ("app.kind", "x\"y"), ("other", "z")];
        let about = About {
            id: "0123456789abcdef",
            name: "box",
            image: "tools:1",
            image_id: "sha256:fedcba9876543210",
            labels: &labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            environment: &[b"A=1".to_vec(), b"AB=2=3".to_vec(), b"C=4".to_vec()],
        };
        attributes(options).unwrap().json(&about).unwrap()
    }

    #[test]
    fn dockers_attributes() {
        assert_eq!(json(&[]), None);
        assert_eq!(json(&[("labels", "app,none")]).as_deref(), Some(r#"{"app":"web"}"#));
        assert_eq!(json(&[("labels-regex", "^app")]).as_deref(), Some(r#"{"app":"web","app.kind":"x\"y"}"#));
        assert_eq!(
            json(&[("env", "A,C"), ("env-regex", "B$")]).as_deref(),
            Some(r#"{"A":"1","AB":"2=3","C":"4"}"#)
        );
        let tag = "{{.Name}}/{{ .ID }}/{{.ImageID}}/{{.ImageName}}";
        assert_eq!(
            json(&[("tag", tag)]).as_deref(),
            Some(r#"{"tag":"box/0123456789ab/fedcba987654/tools:1"}"#)
        );
        assert_eq!(json(&[("tag", ""), ("labels", "none")]), None);
    }

    #[test]
    fn what_is_refused() {
        for (name, value) in [
            ("tag", "{{.Name"),
            ("tag", "{{.Secret}}"),
            ("tag", "a\nb"),
            ("labels-regex", "("),
            ("env-regex", "[a"),
        ] {
            assert!(attributes(&[(name, value)]).is_err(), "{name} {value:?}");
        }
        assert_eq!(Attributes::default().take("max-size", "1m"), Ok(false));
    }

    #[test]
    fn all_that_a_record_says_has_a_bound_as_it_is_written() {
        let json = |tag: &str, value: &str| {
            let about = About {
                id: "0123",
                name: "box",
                image: "tools:1",
                image_id: "sha256:fedc",
                labels: &[("app".to_owned(), value.to_owned())].into(),
                environment: &[],
            };
            attributes(&[("tag", tag), ("labels", "app")]).unwrap().json(&about).map_err(|error| error.kind())
        };
        assert!(json("x", &"y".repeat(4000)).is_ok());
        for (tag, value) in
            [("x", "y".repeat(4096)), ("x", "\u{1}".repeat(1000)), (&*"x".repeat(4096), "y".into())]
        {
            assert_eq!(json(tag, &value), Err(ErrorKind::LimitExceeded));
        }
    }

    #[test]
    fn names_of_fields() {
        assert_eq!(field("com.example-x").as_deref(), Some("COM_EXAMPLE_X"));
        assert_eq!(field("__CURSOR").as_deref(), Some("CURSOR"));
        for name in ["", "___", "1a", "\u{e4}"] {
            assert_eq!(field(name), None, "{name}");
        }
    }
}
