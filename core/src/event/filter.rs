//! Choosing events, by docker's words.

use crate::error::{Error, ErrorKind, Result};
use crate::oci::Reference;
use crate::state::events::EventRow;

/// Conditions of all keys that are to be met; of several values for one key one is enough, except for labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filters {
    containers: Vec<String>,
    events: Vec<String>,
    images: Vec<String>,
    labels: Vec<(String, Option<String>)>,
    kinds: Vec<String>,
    volumes: Vec<String>,
}

impl Filters {
    /// Reads conditions of the form `key=value`.
    pub(super) fn parse(texts: &[String]) -> Result<Filters> {
        let mut filters = Filters::default();
        for text in texts {
            let invalid = |why: &str| {
                let shown: String = text.chars().take(300).collect();
                Error::new(ErrorKind::InvalidArgument, format!("filter \"{}\": {why}", shown.escape_debug()))
                    .with_object(shown)
            };
            let (key, value) = text.split_once('=').ok_or_else(|| invalid("not of the form key=value"))?;
            if value.is_empty() {
                return Err(invalid("the value is empty"));
            }
            let value = value.to_owned();
            match key {
                "container" => filters.containers.push(value),
                "event" => filters.events.push(value),
                "image" => filters.images.push(value),
                "label" => filters.labels.push(match value.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (value, None),
                }),
                "type" => filters.kinds.push(value),
                "volume" => filters.volumes.push(value),
                // Everything is of this host.
                "scope" if value == "local" => {}
                _ => {
                    return Err(invalid("unknown key")
                        .with_hint("use container, event, image, label, type or volume"));
                }
            }
        }
        Ok(filters)
    }

    /// Whether an event is wanted.
    pub(super) fn admits(&self, event: &EventRow) -> bool {
        let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
        let container = |wanted: &String| {
            event.kind == "container"
                && (event.actor.starts_with(wanted.as_str())
                    || attribute("name").starts_with(wanted.as_str()))
        };
        let image = |wanted: &String| {
            let name = attribute(if event.kind == "image" { "name" } else { "image" });
            wanted == name || *wanted == event.actor || same_image(wanted, name) || untagged(name) == *wanted
        };
        let label = |(name, value): &(String, Option<String>)| {
            event.attributes.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        any(&self.kinds, |kind| *kind == event.kind)
            && any(&self.events, |wanted| is_action(wanted, &event.action))
            && any(&self.containers, container)
            && any(&self.images, image)
            && any(&self.volumes, |wanted| event.kind == "volume" && event.actor == *wanted)
            && self.labels.iter().all(label)
    }
}

/// Whether one of the values is right, or there are none.
fn any<T>(values: &[T], right: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(right)
}

/// Whether an action is the wanted one. Those with something behind a colon are meant without it, too.
fn is_action(wanted: &str, action: &str) -> bool {
    action == wanted || action.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(": "))
}

/// Whether two names are the same once both are written out.
fn same_image(one: &str, other: &str) -> bool {
    match (Reference::parse(one), Reference::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A name without its tag.
fn untagged(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((front, tag)) if !tag.contains('/') => front,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(texts: &[&str], event: &EventRow) -> bool {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        Filters::parse(&texts).unwrap().admits(event)
    }

    #[test]
    fn docker_s_conditions() {
        let event = |kind: &str, action: &str, actor: &str, attributes: &[(&str, &str)]| EventRow {
            id: 1,
            time: 0,
            kind: kind.into(),
            action: action.into(),
            actor: actor.into(),
            attributes: attributes.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        };
        let exec = event(
            "container",
            "exec_create: ls",
            "abcd",
            &[("name", "web"), ("image", "demo:1"), ("a", "b")],
        );
        for right in [
            &["container=web"][..],
            &["container=we"],
            &["container=abc"],
            &["container=other", "container=web"],
            &["event=exec_create"],
            &["event=exec_create: ls"],
            &["image=demo"],
            &["image=demo:1"],
            &["image=docker.io/library/demo:1"],
            &["label=a", "label=a=b"],
            &["type=container", "scope=local"],
            &[],
        ] {
            assert!(admits(right, &exec), "{right:?}");
        }
        for wrong in [
            &["container=eb"][..],
            &["event=exec"],
            &["event=exec_create: l"],
            &["image=demo:2"],
            &["image=dem"],
            &["label=a", "label=c"],
            &["label=a=c"],
            &["type=image"],
            &["type=container", "event=start"],
        ] {
            assert!(!admits(wrong, &exec), "{wrong:?}");
        }
        let tag = event("image", "tag", "sha256:1", &[("name", "demo:latest")]);
        assert!(admits(&["image=demo"], &tag) && admits(&["image=sha256:1"], &tag));
        assert!(!admits(&["container=demo"], &tag));
        for bad in ["", "x", "event=", "colour=red", "scope=swarm"] {
            assert_eq!(
                Filters::parse(&[bad.to_owned()]).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{bad}"
            );
        }
    }
}
