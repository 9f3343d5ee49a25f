//! What the host lacks, and how to mend it.

use serde::Serialize;

use crate::engine::EngineOptions;

/// The result of a check-up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The checks, in a fixed order.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether containers can run: no check failed.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.status != CheckStatus::Fail)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// A stable name, such as `overlay`.
    pub name: String,
    /// The outcome.
    pub status: CheckStatus,
    /// What was found.
    pub summary: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Fine.
    Ok,
    /// Works, with something missing.
    Warning,
    /// Containers cannot run.
    Fail,
}

/// Looks at the host. Works when no engine can be opened.
pub fn doctor(_options: &EngineOptions) -> Report {
    Report { checks: Vec::new() }
}
