//! What a list shows of containers, when there may be thousands of them.

use std::collections::BTreeMap;

use coble_protocol::{Condition, HealthStatus};

use super::{ContainerSummary, Lifetime, State};
use crate::error::Result;
use crate::state::containers::Listed;
use crate::state::{from_nanos, rfc3339};

/// Containers as they were when they were listed, newest first.
///
/// It is the text of the database in a few large pieces, of which nothing is read before somebody asks: a list of many thousands costs little
/// more than finding them.
#[derive(Debug, Clone, Default)]
pub struct ContainerRows {
    /// One after the other. There are at most two.
    parts: Vec<Part>,
    /// How many of them count.
    len: usize,
    /// Bytes that each wrote, if that was asked for.
    sizes: Option<BTreeMap<String, u64>>,
}

/// Some containers, and all their text.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    text: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Where its text begins: id, name, image, id of the image, command and labels.
    begin: usize,
    lengths: [u32; 6],
    state: State,
    session: bool,
    health: Option<HealthStatus>,
    exit_code: Option<i32>,
    created_at: u64,
    started_at: Option<u64>,
    finished_at: Option<u64>,
}

impl Part {
    /// Room for so many rows of the usual length.
    pub(super) fn with_capacity(rows: usize) -> Part {
        Part { text: String::with_capacity(rows * 256), rows: Vec::with_capacity(rows) }
    }

    /// Adds a container, as it is now.
    pub(super) fn push(
        &mut self,
        row: &Listed<'_>,
        state: State,
        health: Option<HealthStatus>,
    ) -> Result<()> {
        let texts = [row.id, row.name, row.image, row.image_id, row.command, row.labels];
        let begin = self.text.len();
        let mut lengths = [0; 6];
        for (length, text) in lengths.iter_mut().zip(texts) {
            *length = u32::try_from(text.len()).map_err(|_| row.damaged("a column is too long"))?;
            self.text.push_str(text);
        }
        self.rows.push(Row {
            begin,
            lengths,
            state,
            session: row.session,
            health,
            exit_code: row.exit_code,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        });
        Ok(())
    }

    fn listed(&self, row: &Row) -> Listed<'_> {
        let mut rest = &self.text[row.begin..];
        let [id, name, image, image_id, command, labels] = row.lengths.map(|length| {
            let (text, after) = rest.split_at(length as usize);
            rest = after;
            text
        });
        Listed {
            id,
            name,
            image,
            image_id,
            command,
            labels,
            state: Some(row.state),
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            exit_code: row.exit_code,
            session: row.session,
        }
    }
}

impl ContainerRows {
    pub(super) fn new(parts: Vec<Part>) -> ContainerRows {
        let len = parts.iter().map(|part| part.rows.len()).sum();
        ContainerRows { parts, len, sizes: None }
    }

    /// Keeps the first ones.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Says what each of them wrote.
    pub(super) fn measured(&mut self, sizes: BTreeMap<String, u64>) {
        self.sizes = Some(sizes);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn part(&self, index: usize) -> Option<(&Part, &Row)> {
        let mut left = Some(index).filter(|index| *index < self.len)?;
        for part in &self.parts {
            match part.rows.get(left) {
                Some(row) => return Some((part, row)),
                None => left -= part.rows.len(),
            }
        }
        None
    }

    /// The id of the container with this number: 64 hexadecimal digits.
    pub fn id(&self, index: usize) -> Option<&str> {
        self.part(index).map(|(part, row)| part.listed(row).id)
    }

    /// The name that the container with this number had.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.part(index).map(|(part, row)| part.listed(row).name)
    }

    /// The state that the container with this number had.
    pub fn state(&self, index: usize) -> Option<State> {
        self.part(index).map(|(_, row)| row.state)
    }

    /// What there is of the container with this number; `None` behind the last one. A row that is damaged is an error
    /// ([`ErrorKind::Database`](crate::ErrorKind::Database)) of its own only.
    pub fn summary(&self, index: usize) -> Option<Result<ContainerSummary>> {
        let (part, row) = self.part(index)?;
        let listed = part.listed(row);
        let written = self.sizes.as_ref().map(|sizes| sizes.get(listed.id).copied().unwrap_or(0));
        Some(
            summary(&listed, row.state, row.health)
                .map(|summary| ContainerSummary { size_rw: written, ..summary }),
        )
    }

    /// What there is of each, newest first.
    pub fn summaries(&self) -> impl Iterator<Item = Result<ContainerSummary>> + '_ {
        (0..self.len).map_while(|index| self.summary(index))
    }
}

/// The health that a condition speaks of.
pub(super) fn health(condition: Option<&Condition>) -> Option<HealthStatus> {
    condition.and_then(|condition| condition.health.as_ref()).map(|health| health.status)
}

/// A row as callers know it.
pub(super) fn summary(
    row: &Listed<'_>,
    state: State,
    health: Option<HealthStatus>,
) -> Result<ContainerSummary> {
    let time = |nanos: u64| rfc3339(from_nanos(nanos));
    Ok(ContainerSummary {
        command: row.json(row.command)?,
        created: time(row.created_at),
        state,
        exit_code: row.exit_code,
        started_at: row.started_at.map(time),
        finished_at: row.finished_at.map(time),
        labels: row.labels()?,
        lifetime: if row.session { Lifetime::Session } else { Lifetime::Detached },
        health: health.map(|health| health.name().to_owned()),
        size_rw: None,
        id: row.id.to_owned(),
        name: row.name.to_owned(),
        image: row.image.to_owned(),
        image_id: row.image_id.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn listed<'a>(id: &'a str, command: &'a str) -> Listed<'a> {
        Listed {
            id,
            name: "näme",
            image: "image",
            image_id: "",
            command,
            state: Some(State::Exited),
            created_at: 7_000_000_000,
            started_at: Some(8_000_000_000),
            finished_at: None,
            exit_code: Some(3),
            session: true,
            labels: "{\"a\":\"b\"}",
        }
    }

    #[test]
    fn rows_of_several_parts_are_one_list() {
        let mut parts = [Part::default(), Part::with_capacity(2)];
        parts[0].push(&listed("one", "[\"x\"]"), State::Exited, None).unwrap();
        parts[1].push(&listed("two", "[]"), State::Running, Some(HealthStatus::Healthy)).unwrap();
        parts[1].push(&listed("three", "damaged"), State::Paused, None).unwrap();
        let mut rows = ContainerRows::new(parts.into());
        assert_eq!((rows.len(), rows.is_empty(), rows.id(3)), (3, false, None));
        assert_eq!((rows.id(0), rows.id(1), rows.id(2)), (Some("one"), Some("two"), Some("three")));
        assert_eq!((rows.name(2), rows.state(2)), (Some("näme"), Some(State::Paused)));
        // One that is damaged does not keep the others from being read.
        assert_eq!(rows.summary(2).unwrap().unwrap_err().kind(), ErrorKind::Database);
        rows.measured(BTreeMap::from([("two".to_owned(), 5)]));
        let first = rows.summary(0).unwrap().unwrap();
        assert_eq!((first.command, first.exit_code, first.size_rw), (vec!["x".to_owned()], Some(3), Some(0)));
        assert_eq!((first.created.as_str(), first.finished_at), ("1970-01-01T00:00:07.000000000Z", None));
        assert_eq!((first.labels.len(), first.lifetime), (1, Lifetime::Session));
        let second = rows.summary(1).unwrap().unwrap();
        assert_eq!((second.health.as_deref(), second.size_rw), (Some("healthy"), Some(5)));
        rows.truncate(1);
        assert!(rows.len() == 1 && rows.id(1).is_none() && rows.summaries().count() == 1);
    }
}
