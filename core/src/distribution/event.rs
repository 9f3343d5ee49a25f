//! What a client tells beside its results.

use std::time::Duration;

/// Something that happened during a request and that the caller may want to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The same is tried again after `delay`, for the `attempt`th time.
    Retry { what: String, attempt: u32, delay: Duration, cause: String },
    /// What the registry says of its limit: requests in a period, and how many of them are left.
    RateLimit { limit: Option<u64>, remaining: Option<u64>, period: Option<Duration> },
    /// A warning of the registry, or of the settings.
    Warning(String),
}
