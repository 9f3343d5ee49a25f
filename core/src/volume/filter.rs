//! Choosing volumes, by docker's words.

use super::{DRIVER, VolumeSummary};
use crate::error::{Error, ErrorKind, Result};

/// Conditions of all keys that are to be met; of several values for one key one is enough, except for labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filters {
    dangling: Option<bool>,
    drivers: Vec<String>,
    names: Vec<String>,
    labels: Vec<(String, Option<String>)>,
    without_labels: Vec<(String, Option<String>)>,
}

impl Filters {
    /// Reads conditions of a list.
    pub(super) fn parse(texts: &[String]) -> Result<Filters> {
        Filters::read(texts, false).map(|(filters, _)| filters)
    }

    /// Reads conditions of a pruning, and whether it is about all volumes, if they say so.
    pub(super) fn parse_prune(texts: &[String]) -> Result<(Filters, Option<bool>)> {
        Filters::read(texts, true)
    }

    fn read(texts: &[String], prune: bool) -> Result<(Filters, Option<bool>)> {
        let mut filters = Filters::default();
        let mut all = None;
        for text in texts {
            let invalid = |why: &str| {
                let shown: String = text.chars().take(300).collect();
                Error::new(ErrorKind::InvalidArgument, format!("filter \"{}\": {why}", shown.escape_debug()))
                    .with_object(shown)
            };
            let label = |value: &str| match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            };
            let truth = |value: &str| match value {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(invalid("neither true nor false")),
            };
            // The exclamation mark of `label!=` belongs to the key.
            let (key, value) = text.split_once('=').ok_or_else(|| invalid("not of the form key=value"))?;
            if value.is_empty() {
                return Err(invalid("the value is empty"));
            }
            match (key, prune) {
                ("label", _) => filters.labels.push(label(value)),
                ("label!", _) => filters.without_labels.push(label(value)),
                ("all", true) => all = Some(truth(value)?),
                ("dangling", false) => filters.dangling = Some(truth(value)?),
                ("driver", false) => filters.drivers.push(value.to_owned()),
                ("name", false) => filters.names.push(value.to_owned()),
                (_, true) => return Err(invalid("unknown key").with_hint("use all, label or label!")),
                (_, false) => {
                    return Err(
                        invalid("unknown key").with_hint("use dangling, driver, label, label! or name")
                    );
                }
            }
        }
        Ok((filters, all))
    }

    /// Whether a volume is wanted.
    pub(super) fn admits(&self, volume: &VolumeSummary) -> bool {
        let has = |(name, value): &(String, Option<String>)| {
            volume.labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        self.dangling.is_none_or(|dangling| (volume.containers == 0) == dangling)
            && (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == DRIVER))
            && (self.names.is_empty() || self.names.iter().any(|name| volume.name.contains(name.as_str())))
            && self.labels.iter().all(has)
            && !self.without_labels.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn docker_s_conditions() {
        let volume = VolumeSummary {
            name: "data1".into(),
            driver: DRIVER.into(),
            mountpoint: "/x".into(),
            created: String::new(),
            labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            anonymous: false,
            source: None,
            containers: 1,
        };
        let admits = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Filters::parse(&texts).unwrap().admits(&volume)
        };
        for right in [
            &[][..],
            &["name=ata"],
            &["name=x", "name=data"],
            &["dangling=false", "driver=local"],
            &["label=a", "label=a=b", "label!=c"],
        ] {
            assert!(admits(right), "{right:?}");
        }
        for wrong in [&["name=x"][..], &["dangling=1"], &["driver=nfs"], &["label=a=c"], &["label!=a"]] {
            assert!(!admits(wrong), "{wrong:?}");
        }
        for bad in ["", "x", "name=", "colour=red", "dangling=maybe", "all=true"] {
            assert!(Filters::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        assert_eq!(Filters::parse_prune(&["all=1".into()]).unwrap().1, Some(true));
        assert!(Filters::parse_prune(&["name=x".into()]).is_err());
    }
}
