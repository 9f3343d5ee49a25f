//! The objects of a `config.json`, taken apart member by member, so that nothing in it goes unseen: what is taken is checked, what cannot be honoured is refused by its
//! name, and what nobody knows is noted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// The most members without a meaning that are remembered.
const MOST_NOTES: usize = 32;

/// What a document says that is no matter here.
#[derive(Debug, Default)]
pub(super) struct Notes(RefCell<Vec<String>>);

impl Notes {
    pub(super) fn add(&self, what: &str) {
        let mut all = self.0.borrow_mut();
        if all.len() < MOST_NOTES {
            all.push(crate::text::visible(&what.chars().take(200).collect::<String>()));
        }
    }

    pub(super) fn all(self) -> Vec<String> {
        self.0.into_inner()
    }
}

/// An object that is taken apart.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    at: String,
    members: Map<String, Value>,
    notes: &'a Notes,
}

/// A member is not what it has to be.
pub(super) fn wrong(name: &str, why: impl std::fmt::Display) -> Error {
    let name = crate::text::visible(name);
    Error::new(ErrorKind::InvalidArgument, format!("config.json: {name}: {why}")).with_object(name)
}

/// A member asks for something that cannot be given.
pub(super) fn refused(name: &str, why: impl std::fmt::Display) -> Error {
    let name = crate::text::visible(name);
    Error::new(ErrorKind::Unsupported, format!("config.json: {name}: {why}")).with_object(name)
}

impl<'a> Fields<'a> {
    pub(super) fn root(document: Value, notes: &'a Notes) -> Result<Fields<'a>> {
        Fields::of(String::new(), document, notes)
    }

    fn of(at: String, value: Value, notes: &'a Notes) -> Result<Fields<'a>> {
        match value {
            Value::Object(members) => Ok(Fields { at, members, notes }),
            _ if at.is_empty() => Err(wrong("the document", "is not an object")),
            _ => Err(wrong(&at, "is not an object")),
        }
    }

    /// The whole name of a member.
    pub(super) fn name(&self, key: &str) -> String {
        match (self.at.as_str(), key) {
            ("", key) => key.to_owned(),
            (at, "") => at.to_owned(),
            (at, key) => format!("{at}.{key}"),
        }
    }

    /// Remembers that a member is no matter.
    pub(super) fn note(&self, key: &str, word: &str) {
        self.notes.add(&format!("{} \"{word}\"", self.name(key)));
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.members.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => {
                Err(wrong(&self.name(key), "has a NUL character"))
            }
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(&self.name(key), "is not a string")),
        }
    }

    /// A text that has to be there.
    pub(super) fn needed(&mut self, key: &str) -> Result<String> {
        match self.text(key)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => Err(wrong(&self.name(key), "is missing")),
        }
    }

    pub(super) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>> {
        let name = self.name(key);
        let text = |value| match value {
            Value::String(text) if !text.contains('\0') => Ok(text),
            _ => Err(wrong(&name, "is not a list of strings without NUL characters")),
        };
        let list = self.list(key)?;
        list.map(|all| all.into_iter().map(text).collect()).transpose()
    }

    fn list(&mut self, key: &str) -> Result<Option<Vec<Value>>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Array(all)) => Ok(Some(all)),
            Some(_) => Err(wrong(&self.name(key), "is not a list")),
        }
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<Option<bool>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong(&self.name(key), "is neither true nor false")),
        }
    }

    /// A whole number within the bounds of its type.
    pub(super) fn number<T: TryFrom<i128>>(&mut self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_u64().map(i128::from).or_else(|| value.as_i64().map(i128::from));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(wrong(&self.name(key), "is not a whole number, or none that can be meant")),
        }
    }

    pub(super) fn object(&mut self, key: &str) -> Result<Option<Fields<'a>>> {
        let name = self.name(key);
        self.take(key).map(|value| Fields::of(name, value, self.notes)).transpose()
    }

    pub(super) fn objects(&mut self, key: &str) -> Result<Vec<Fields<'a>>> {
        let name = self.name(key);
        let list = self.list(key)?.unwrap_or_default();
        let of = |(n, value)| Fields::of(format!("{name}[{n}]"), value, self.notes);
        list.into_iter().enumerate().map(of).collect()
    }

    pub(super) fn map(&mut self, key: &str) -> Result<BTreeMap<String, String>> {
        let Some(object) = self.object(key)? else { return Ok(BTreeMap::new()) };
        let at = object.at;
        let text = |(key, value): (String, Value)| match value {
            Value::String(text) if !text.contains('\0') && !key.contains('\0') => Ok((key, text)),
            _ => Err(wrong(
                &at,
                format!("\"{}\" is not a string without NUL characters", key.escape_default()),
            )),
        };
        object.members.into_iter().map(text).collect()
    }

    /// A member as it is.
    pub(super) fn raw(&mut self, key: &str) -> Option<Value> {
        self.take(key)
    }

    /// Fails if one of these members says anything.
    pub(super) fn refuse(&mut self, keys: &[&str]) -> Result<()> {
        for key in keys {
            let says = self.take(key).is_some_and(|value| match value {
                Value::Bool(flag) => flag,
                Value::String(text) => !text.is_empty(),
                Value::Array(all) => !all.is_empty(),
                Value::Object(all) => !all.is_empty(),
                Value::Null => false,
                Value::Number(_) => true,
            });
            if says {
                return Err(refused(&self.name(key), "is not supported"));
            }
        }
        Ok(())
    }

    /// Notes what was not taken.
    pub(super) fn end(self) {
        for key in self.members.keys() {
            self.notes.add(&self.name(key));
        }
    }
}
