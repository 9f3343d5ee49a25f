//! What clients of registries tell among the progress of a call.

pub(super) use crate::progress::{Meter, Reporter};

use super::{Event, ProgressKind};

impl Reporter<'_> {
    /// What a client tells.
    pub(super) fn event(&self, event: Event) {
        match event {
            Event::Retry { what, attempt, delay, cause } => {
                let seconds = delay.as_secs_f64();
                let message = format!("{what}: {cause}; attempt {attempt} in {seconds:.1} s");
                self.tell(ProgressKind::Retry, Some(message));
            }
            Event::RateLimit { limit, remaining, period } => {
                let number = |value: Option<u64>| value.map_or("?".to_owned(), |value| value.to_string());
                let mut message = format!("{} of {} requests are left", number(remaining), number(limit));
                if let Some(period) = period {
                    message.push_str(&format!(", in {} s", period.as_secs()));
                }
                self.tell(ProgressKind::RateLimit, Some(message));
            }
            Event::Warning(message) => self.tell(ProgressKind::Warning, Some(message)),
        }
    }
}
