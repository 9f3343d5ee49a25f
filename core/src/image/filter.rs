//! Choosing images: the filters of lists, and of what is pruned. One reader of their words, for every surface.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use super::ImageSummary;
use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::state::{images, micros, parse_rfc3339};
use crate::text::fits;

/// Conditions that are all to be met; of several for `reference`, one is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    dangling: Option<bool>,
    labels: Vec<(String, Option<String>)>,
    without_labels: Vec<(String, Option<String>)>,
    references: Vec<String>,
    before: Vec<String>,
    since: Vec<String>,
    /// Microseconds since the epoch.
    until: Option<i64>,
}

impl Filters {
    /// Reads conditions of the form `key=value`, as docker has them: `dangling`, `label`, `label!`, `reference`, `before`, `since`, `until`.
    pub(crate) fn parse(texts: &[String]) -> Result<Filters> {
        let mut filters = Filters::default();
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
            // The exclamation mark of `label!=` belongs to the key.
            let (key, value) = text.split_once('=').ok_or_else(|| invalid("not of the form key=value"))?;
            if value.is_empty() {
                return Err(invalid("the value is empty"));
            }
            match key {
                "dangling" => {
                    filters.dangling = Some(match value {
                        "true" | "1" => true,
                        "false" | "0" => false,
                        _ => return Err(invalid("neither true nor false")),
                    });
                }
                "label" => filters.labels.push(label(value)),
                "label!" => filters.without_labels.push(label(value)),
                "reference" => filters.references.push(value.to_owned()),
                "before" => filters.before.push(value.to_owned()),
                "since" => filters.since.push(value.to_owned()),
                "until" => {
                    filters.until =
                        Some(moment(value).ok_or_else(|| invalid("neither a time nor a duration"))?)
                }
                _ => {
                    return Err(invalid("unknown key")
                        .with_hint("use dangling, label, label!, reference, before, since or until"));
                }
            }
        }
        Ok(filters)
    }

    /// The images that meet all conditions. Those that `before` and `since` name have to be there.
    pub(crate) fn choose(
        &self,
        connection: &Connection,
        images: Vec<ImageSummary>,
    ) -> Result<Vec<ImageSummary>> {
        let created =
            |summary: &ImageSummary| summary.created.as_deref().and_then(parse_rfc3339).unwrap_or(0);
        let time_of = |text: &String| -> Result<i64> {
            let found = images::find(connection, text)?;
            let summary = images::summaries(connection, Some(&found.id))?.pop();
            Ok(summary.as_ref().map_or(0, created))
        };
        let before = self.before.iter().map(time_of).collect::<Result<Vec<_>>>()?;
        let since = self.since.iter().map(time_of).collect::<Result<Vec<_>>>()?;
        let has = |summary: &ImageSummary, (name, value): &(String, Option<String>)| {
            summary.labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        Ok(images
            .into_iter()
            .filter(|image| {
                let at = created(image);
                self.dangling.is_none_or(|dangling| image.references.is_empty() == dangling)
                    && self.labels.iter().all(|label| has(image, label))
                    && !self.without_labels.iter().any(|label| has(image, label))
                    && before.iter().all(|time| at < *time)
                    && since.iter().all(|time| at > *time)
                    && self.until.is_none_or(|until| at < until)
                    && (self.references.is_empty()
                        || self.references.iter().any(|pattern| {
                            image.references.iter().any(|reference| matches(pattern, reference))
                        }))
            })
            .collect())
    }
}

/// A point in time, as microseconds since the epoch: RFC 3339, a date, seconds since the epoch, or a duration before now, such as `24h` or `7d`.
pub(crate) fn moment(text: &str) -> Option<i64> {
    if let Some(at) = parse_rfc3339(text).or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z"))) {
        return Some(at);
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return i64::try_from(seconds).ok()?.checked_mul(1_000_000);
    }
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(end);
        let mut chars = after.chars();
        let scale = match chars.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 7 * 86_400,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(scale)?)?;
        rest = chars.as_str();
    }
    Some(micros(SystemTime::now().checked_sub(Duration::from_secs(total)).unwrap_or(UNIX_EPOCH)))
}

/// Whether a pattern fits a canonical reference: against its long and short form, with and without the tag. `*` and `?` stay within a part
/// of the name.
fn matches(pattern: &str, reference: &str) -> bool {
    let familiar =
        Reference::parse(reference).map_or_else(|_| reference.to_owned(), |reference| reference.familiar());
    [reference, familiar.as_str()].into_iter().any(|name| {
        let bare = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(bare, _)| bare);
        fits(pattern.as_bytes(), name.as_bytes()) || fits(pattern.as_bytes(), bare.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let parse = |text: &str| Filters::parse(&[text.to_owned()]);
        assert_eq!(parse("dangling=true").unwrap().dangling, Some(true));
        assert_eq!(parse("label=a=b").unwrap().labels, [("a".to_owned(), Some("b".to_owned()))]);
        assert_eq!(parse("label!=a").unwrap().without_labels, [("a".to_owned(), None)]);
        assert_eq!(parse("until=1970-01-02").unwrap().until, Some(86_400_000_000));
        assert_eq!(parse("until=5").unwrap().until, Some(5_000_000));
        assert!(parse("until=1h30m").unwrap().until.is_some());
        for bad in ["", "x", "dangling=maybe", "label=", "color=red", "until=soon", "until=1y"] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn patterns_stay_within_a_part_of_the_name() {
        let reference = "docker.io/library/debian:12";
        for pattern in ["debian", "debian:12", "deb*", "*:12", "d?bian", "docker.io/*/debian", "*"] {
            assert!(matches(pattern, reference), "{pattern}");
        }
        for pattern in ["docker.io/*:12", "debian:13", "?", "deb", "", "*/debian"] {
            assert!(!matches(pattern, reference), "{pattern}");
        }
        assert!(matches("example.org:5000/*/app", "example.org:5000/team/app:1"));
    }
}
