//! Choosing containers: the filters of lists, and of what is pruned. One reader of their words, for every surface.

use coble_protocol::HealthStatus;

use super::State;
use super::mount::{self, MountKind};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::image::changes::exposed;
use crate::image::{self, moment};
use crate::state::ContainerRow;
use crate::state::containers::{self, Listed};

/// Conditions of all keys that are to be met; of several values for one key one is enough, except for labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters {
    ancestors: Vec<String>,
    before: Vec<String>,
    since: Vec<String>,
    exited: Vec<i32>,
    ids: Vec<String>,
    names: Vec<Pattern>,
    labels: Vec<(String, Option<String>)>,
    without_labels: Vec<(String, Option<String>)>,
    health: Vec<String>,
    /// First and last port, and protocol.
    exposed: Vec<Ports>,
    volumes: Vec<String>,
    networks: Vec<String>,
    states: Vec<State>,
    never: bool,
    /// Nanoseconds since the epoch.
    until: Option<u64>,
}

impl Filters {
    /// Reads conditions of the form `key=value`.
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
                "ancestor" => filters.ancestors.push(value.to_owned()),
                "before" => filters.before.push(value.to_owned()),
                "since" => filters.since.push(value.to_owned()),
                "exited" => filters.exited.push(value.parse().map_err(|_| invalid("not an exit code"))?),
                "health" => match value {
                    "starting" | "healthy" | "unhealthy" | "none" => filters.health.push(value.to_owned()),
                    _ => {
                        return Err(invalid("no state of health")
                            .with_hint("use starting, healthy, unhealthy or none"));
                    }
                },
                "expose" => {
                    filters
                        .exposed
                        .push(Ports::parse(value).ok_or_else(|| invalid("not a port, or a range of them"))?);
                }
                // Nothing is published.
                "publish" => {
                    Ports::parse(value).ok_or_else(|| invalid("not a port, or a range of them"))?;
                    filters.never = true;
                }
                "volume" => filters.volumes.push(value.to_owned()),
                "network" => filters.networks.push(value.to_owned()),
                "id" => filters.ids.push(value.to_owned()),
                "name" => filters.names.push(Pattern::parse(value).ok_or_else(|| {
                    invalid("more of a regular expression than is known here").with_hint(
                        "use ^, $, . and \\ before another character; give several for alternatives",
                    )
                })?),
                "label" => filters.labels.push(label(value)),
                "label!" => filters.without_labels.push(label(value)),
                "status" => match value {
                    "created" => filters.states.push(State::Created),
                    "running" => filters.states.push(State::Running),
                    "paused" => filters.states.push(State::Paused),
                    "exited" => filters.states.push(State::Exited),
                    "restarting" => filters.states.push(State::Restarting),
                    // States of docker that no container is ever seen in here.
                    "removing" | "dead" => filters.never = true,
                    _ => {
                        let hint = "use created, running, paused, restarting or exited";
                        return Err(invalid("no state").with_hint(hint));
                    }
                },
                "until" => {
                    let micros = moment(value).ok_or_else(|| invalid("neither a time nor a duration"))?;
                    filters.until = Some(u64::try_from(micros).unwrap_or(0).saturating_mul(1000));
                }
                _ => {
                    return Err(invalid("unknown key").with_hint(
                        "use ancestor, before, exited, expose, health, id, label, label!, name, network, publish, since, status, until or volume",
                    ));
                }
            }
        }
        Ok(filters)
    }

    /// As [`Filters::parse`], for a pruning, which is not about states.
    pub(crate) fn parse_prune(texts: &[String]) -> Result<Filters> {
        if let Some(other) = texts.iter().find(|text| {
            !matches!(text.split_once('=').map(|(key, _)| key), Some("until" | "label" | "label!"))
        }) {
            let shown: String = other.chars().take(300).collect();
            let why = format!("filter \"{}\": unknown key", shown.escape_debug());
            return Err(Error::new(ErrorKind::InvalidArgument, why)
                .with_object(shown)
                .with_hint("use until, label or label!"));
        }
        Filters::parse(texts)
    }

    /// Whether containers that do not run are meant, too.
    pub(crate) fn means_all(&self) -> bool {
        !self.states.is_empty() || self.never
    }

    /// Whether there are conditions on what only the options of a container say.
    pub(crate) fn looks_deep(&self) -> bool {
        !(self.exposed.is_empty() && self.volumes.is_empty() && self.networks.is_empty())
    }

    /// Looks up what the conditions name. A container that `before` or `since` names has to be there.
    pub(crate) fn resolve<'a>(&'a self, inner: &Inner) -> Result<Choice<'a>> {
        let created = |name: &String| -> Result<u64> {
            let row = containers::find(&inner.store.db, name)?;
            row.map(|row| row.created_at).ok_or_else(|| super::list::not_found(name))
        };
        let images = match self.ancestors.is_empty() {
            true => None,
            false => {
                let mut images = Vec::new();
                for ancestor in &self.ancestors {
                    images.extend(image::descendants(&inner.store, ancestor)?);
                }
                Some(images)
            }
        };
        let network = |value: &String| -> Result<String> {
            let Some(name) = value.strip_prefix("container:") else { return Ok(value.clone()) };
            let row = containers::find(&inner.store.db, name)?;
            Ok(format!("container:{}", row.map_or_else(|| name.to_owned(), |row| row.id)))
        };
        Ok(Choice {
            filters: self,
            networks: self.networks.iter().map(network).collect::<Result<_>>()?,
            images,
            before: self.before.iter().map(created).collect::<Result<_>>()?,
            since: self.since.iter().map(created).collect::<Result<_>>()?,
        })
    }
}

/// Conditions whose names have been looked up.
pub(crate) struct Choice<'a> {
    filters: &'a Filters,
    /// The images that containers may be of.
    images: Option<Vec<String>>,
    networks: Vec<String>,
    before: Vec<u64>,
    since: Vec<u64>,
}

impl Choice<'_> {
    /// Whether a row meets the conditions on what never changes.
    pub(crate) fn admits_row(&self, row: &Listed<'_>) -> bool {
        let filters = self.filters;
        any(&filters.ids, |id| row.id.contains(id.as_str()))
            && any(&filters.names, |name| name.fits(row.name))
            && self.images.as_ref().is_none_or(|images| images.iter().any(|id| id == row.image_id))
            && self.before.iter().all(|time| row.created_at < *time)
            && self.since.iter().all(|time| row.created_at > *time)
            && filters.until.is_none_or(|until| row.created_at < until)
    }

    /// Whether a container that is in this state and health meets the other conditions.
    pub(crate) fn admits(
        &self,
        row: &Listed<'_>,
        state: State,
        health: Option<HealthStatus>,
    ) -> Result<bool> {
        let filters = self.filters;
        let health = health.map_or("none", HealthStatus::name);
        Ok((!filters.means_all() || filters.states.contains(&state))
            && any(&filters.exited, |code| state == State::Exited && row.exit_code == Some(*code))
            && any(&filters.health, |wanted| wanted == health)
            && self.admits_labels(row)?)
    }

    /// Whether the options of a container meet the conditions on them.
    pub(crate) fn admits_options(&self, inner: &Inner, row: &ContainerRow) -> Result<bool> {
        let filters = self.filters;
        let spec = row.spec()?;
        let network = spec.network.to_string();
        // As docker has it: what is mounted, or where.
        let mounted = |wanted: &String| {
            mount::all(&spec).iter().any(|mount| {
                mount.target == *wanted
                    || (mount.kind != MountKind::Tmpfs && mount.source.as_ref() == Some(wanted))
            })
        };
        if !any(&self.networks, |wanted| *wanted == network) || !any(&filters.volumes, mounted) {
            return Ok(false);
        }
        if filters.exposed.is_empty() {
            return Ok(true);
        }
        let image = super::image_of(inner, row)?;
        let ports = image.config.exposed_ports.iter().chain(&spec.exposed_ports);
        let ports: Vec<Ports> = ports.filter_map(|text| Ports::parse(text)).collect();
        Ok(filters.exposed.iter().any(|wanted| ports.iter().any(|port| port.meets(wanted))))
    }

    fn admits_labels(&self, row: &Listed<'_>) -> Result<bool> {
        let filters = self.filters;
        if filters.labels.is_empty() && filters.without_labels.is_empty() {
            return Ok(true);
        }
        let labels = row.labels()?;
        let has = |(name, value): &(String, Option<String>)| {
            labels.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
        };
        Ok(filters.labels.iter().all(has) && !filters.without_labels.iter().any(has))
    }
}

/// A port such as `80` or `53/udp`, or a range such as `8000-8010/tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ports {
    first: u16,
    last: u16,
    protocol: String,
}

impl Ports {
    fn parse(text: &str) -> Option<Ports> {
        let text = exposed(text).ok()?;
        let (ports, protocol) = text.split_once('/')?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        Some(Ports { first: first.parse().ok()?, last: last.parse().ok()?, protocol: protocol.to_owned() })
    }

    /// Whether some port is of both.
    fn meets(&self, other: &Ports) -> bool {
        self.protocol == other.protocol && self.first <= other.last && other.first <= self.last
    }
}

/// Whether one of the values is right, or there are none.
fn any<T>(values: &[T], right: impl Fn(&T) -> bool) -> bool {
    values.is_empty() || values.iter().any(right)
}

/// A pattern of names: the part of docker's regular expressions that means the same here. It fits a part of a name, from its beginning with `^` or with the slash that docker's
/// names begin with, to its end with `$`. A dot is any character.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    begins: bool,
    ends: bool,
    /// None: any.
    characters: Vec<Option<char>>,
}

impl Pattern {
    /// None: a pattern that says more than that, and so would be misread.
    fn parse(text: &str) -> Option<Pattern> {
        let (mut begins, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let rest = rest.strip_prefix('/').map_or(rest, |rest| {
            begins = true;
            rest
        });
        let (mut ends, mut characters) = (false, Vec::new());
        let mut left = rest.chars().peekable();
        while let Some(character) = left.next() {
            match character {
                '$' if left.peek().is_none() => ends = true,
                '.' => characters.push(None),
                '\\' => characters.push(Some(left.next().filter(char::is_ascii_punctuation)?)),
                '^' | '$' | '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' => return None,
                character => characters.push(Some(character)),
            }
        }
        Some(Pattern { begins, ends, characters })
    }

    fn fits(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let Some(room) = name.len().checked_sub(self.characters.len()) else { return false };
        let places = if self.begins { 0..=0 } else { 0..=room };
        places.filter(|place| !self.ends || *place == room).any(|place| {
            let part = name.iter().skip(place);
            self.characters
                .iter()
                .zip(part)
                .all(|(wanted, found)| wanted.is_none_or(|wanted| wanted == *found))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read() {
        let parse = |text: &str| Filters::parse(&[text.to_owned()]);
        assert_eq!(parse("exited=137").unwrap().exited, [137]);
        assert_eq!(parse("status=paused").unwrap().states, [State::Paused]);
        assert!(parse("status=dead").unwrap().means_all() && !parse("name=x").unwrap().means_all());
        assert_eq!(parse("until=5").unwrap().until, Some(5_000_000_000));
        for bad in [
            "",
            "x",
            "name=",
            "name=web*",
            "exited=x",
            "status=up",
            "colour=v",
            "volume=",
            "until=soon",
            "expose=x",
            "publish=0",
        ] {
            assert_eq!(parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        assert!(Filters::parse_prune(&["label=a".into(), "until=1h".into()]).is_ok());
        assert!(Filters::parse_prune(&["name=a".into()]).is_err());
    }

    #[test]
    fn ports_meet() {
        let ports = |text| Ports::parse(text).unwrap();
        assert!(ports("80").meets(&ports("80/tcp")) && ports("8000-8010").meets(&ports("8010-8020")));
        assert!(!ports("80").meets(&ports("80/udp")) && !ports("8000-8010").meets(&ports("8011")));
    }

    #[test]
    fn names_fit_in_part() {
        let fits = |pattern| Pattern::parse(pattern).unwrap().fits("web-1");
        for pattern in
            ["web", "^web-1$", "/web", "^/web-1$", "1$", "-", "w.b", "^.....$", "\\-1", "^", "$", "."]
        {
            assert!(fits(pattern), "{pattern}");
        }
        for pattern in ["^1", "web$", "/1", "x", "^....$", "......", "w\\.b", "^$", "web-1-"] {
            assert!(!fits(pattern), "{pattern}");
        }
        for pattern in ["web*", "web-[0-9]", "a|b", "(a)", "a^", "$a", "\\d", "\\", "a+", "a?", "a{2}"] {
            assert_eq!(Pattern::parse(pattern), None, "{pattern}");
        }
    }
}
