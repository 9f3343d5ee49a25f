//! Printing: the only place that writes to standard output and standard error.

use std::fmt::Display;
use std::io::{self, Write};

use coble::{Error, ErrorKind};

/// How a verb ends: with an exit status, or not at all.
pub(crate) type Outcome = Result<u8, Failure>;

/// Why a verb cannot go on.
pub(crate) enum Failure {
    /// The engine said no.
    Engine(Error),
    /// Standard output cannot be written.
    Output(io::Error),
    /// A signal ended it, after the engine had cleaned up.
    Signal(coble::Signal),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Prints a line of data.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Prints raw bytes of data.
pub(crate) fn bytes(data: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(data)?;
    out.flush()?;
    Ok(())
}

/// Prints raw bytes to standard error.
pub(crate) fn error_bytes(data: &[u8]) {
    // There is nowhere left to complain to.
    let _ = io::stderr().lock().write_all(data);
}

/// Says something that is not data.
pub(crate) fn note(text: impl Display) {
    error_bytes(format!("{text}\n").as_bytes());
}

/// Reports an error.
pub(crate) fn error(error: &Error) {
    // The engine escapes what comes from others; lines are its own.
    let text = error.to_string();
    note(format_args!("coble: {}", text.lines().map(printable).collect::<Vec<_>>().join("\n")));
}

/// Prints something as one line of JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(defect)?;
    line(text)
}

/// Prints something as indented JSON.
pub(crate) fn pretty_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(defect)?;
    line(text)
}

fn defect(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("json: {error}"))
}

/// A table with a heading, columns padded with spaces.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Table {
        Table { rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.cells(cells.into());
    }

    /// A row of any number of cells.
    pub(crate) fn cells(&mut self, cells: Vec<String>) {
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    pub(crate) fn print(&self) -> Result<(), Failure> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut rendered = String::new();
            for (width, cell) in widths.iter().zip(row) {
                rendered.push_str(&format!("{cell:<width$}   "));
            }
            text.push_str(rendered.trim_end());
            text.push('\n');
        }
        bytes(text.as_bytes())
    }
}

// Names and commands come from images, which could hide escape sequences in them.
pub(crate) use coble::visible as printable;

/// The first characters of a digest or id, as docker shows them.
pub(crate) fn short_id(id: &str) -> String {
    id.strip_prefix("sha256:").unwrap_or(id).chars().take(12).collect()
}

/// Repository and tag of a canonical reference. A digest counts as no tag.
pub(crate) fn split_reference(reference: &str) -> (String, String) {
    if let Some((repository, _)) = reference.split_once('@') {
        return (repository.to_owned(), "<none>".to_owned());
    }
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (reference.to_owned(), "<none>".to_owned()),
    }
}

/// A size for people, in powers of 1000 as docker shows it.
pub(crate) fn size(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            let decimals = if unit == "B" || value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.decimals$}{unit}");
        }
        value /= 1000.0;
    }
    format!("{value:.1}PB")
}

/// A command in one line, cut to a width.
pub(crate) fn command(words: &[String], width: Option<usize>) -> String {
    let text = words.join(" ");
    match width {
        Some(width) if text.chars().count() > width => {
            let cut: String = text.chars().take(width.saturating_sub(1)).collect();
            format!("\"{cut}…\"")
        }
        _ => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_a_repository_and_a_tag() {
        let split = |text: &str| split_reference(text);
        assert_eq!(split("docker.io/library/a:1"), ("docker.io/library/a".into(), "1".into()));
        assert_eq!(split("host:5000/a"), ("host:5000/a".into(), "<none>".into()));
        assert_eq!(split("host:5000/a:b"), ("host:5000/a".into(), "b".into()));
        assert_eq!(split("a@sha256:00"), ("a".into(), "<none>".into()));
    }

    #[test]
    fn sizes_and_commands_for_people() {
        assert_eq!(size(0), "0B");
        assert_eq!(size(999), "999B");
        assert_eq!(size(1_234_000), "1.23MB");
        assert_eq!(size(12_340_000), "12.3MB");
        assert_eq!(size(123_400_000), "123MB");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        let words = ["sleep".to_owned(), "1000".to_owned()];
        assert_eq!(command(&words, None), "\"sleep 1000\"");
        assert_eq!(command(&words, Some(5)), "\"slee…\"");
        assert_eq!(printable("a\u{1b}[31m"), "a\\u{1b}[31m");
    }
}
