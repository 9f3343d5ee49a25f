//! Restart policies: when a container's program is started again after its end. Who does it is the container's monitor.

use coble_protocol::RestartSpec;
use serde::{Deserialize, Serialize};

use super::validate::invalid;
use crate::error::Result;

/// When a container's program is started again after its end, by the container's monitor. After 100 ms, then after twice as long each time, at most a minute, and after 100 ms again once it
/// has run for 10 s. The user's `stop`, `kill` and `remove` end it until the next start, and a reboot ends it too: there is no daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When its exit code is not 0, at most so many times; 0 is no bound.
    OnFailure(u32),
    /// Always.
    Always,
    /// Always. It differs from `Always` for who starts containers after a reboot.
    UnlessStopped,
}

impl RestartPolicy {
    /// `no`, `on-failure`, `on-failure:N`, `always` or `unless-stopped`.
    pub fn parse(text: &str) -> Result<RestartPolicy> {
        let (name, most) = match text.split_once(':') {
            Some((name, most)) => (name, Some(most)),
            None => (text, None),
        };
        let most = most
            .map(|most| {
                most.parse::<u32>()
                    .map_err(|_| invalid("restart_policy", "the number of attempts is not a number"))
            })
            .transpose()?;
        match (name, most) {
            ("no" | "", None) => Ok(RestartPolicy::No),
            ("on-failure", most) => Ok(RestartPolicy::OnFailure(most.unwrap_or(0))),
            ("always", None) => Ok(RestartPolicy::Always),
            ("unless-stopped", None) => Ok(RestartPolicy::UnlessStopped),
            ("no" | "" | "always" | "unless-stopped", Some(_)) => {
                Err(invalid("restart_policy", format!("{name} takes no number of attempts")))
            }
            _ => Err(invalid("restart_policy", format!("unknown policy \"{}\"", text.escape_default()))
                .with_hint("use no, on-failure, on-failure:N, always or unless-stopped")),
        }
    }

    /// Docker's name.
    pub const fn name(self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure(_) => "on-failure",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
        }
    }

    /// The most attempts; 0 is no bound.
    pub const fn most(self) -> u32 {
        match self {
            RestartPolicy::OnFailure(most) => most,
            _ => 0,
        }
    }

    /// What the monitor is told.
    pub(super) fn plan(self) -> Option<RestartSpec> {
        match self {
            RestartPolicy::No => None,
            RestartPolicy::OnFailure(most) => Some(RestartSpec { on_failure: true, most }),
            RestartPolicy::Always | RestartPolicy::UnlessStopped => {
                Some(RestartSpec { on_failure: false, most: 0 })
            }
        }
    }
}

impl std::fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RestartPolicy::OnFailure(most) if *most > 0 => write!(f, "on-failure:{most}"),
            policy => f.write_str(policy.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_read_and_written() {
        for text in ["no", "on-failure", "on-failure:3", "always", "unless-stopped"] {
            assert_eq!(RestartPolicy::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(RestartPolicy::parse("").unwrap(), RestartPolicy::No);
        for bad in ["never", "always:3", "on-failure:x", "on-failure:-1", "no:1"] {
            assert!(RestartPolicy::parse(bad).is_err(), "{bad}");
        }
    }
}
