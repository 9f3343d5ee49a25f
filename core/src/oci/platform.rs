//! Platforms of images, and which of them this host can run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Operating system and architecture in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
}

impl Platform {
    /// The host's own.
    pub(crate) fn host() -> Platform {
        let variant = match host_architecture() {
            "arm" => Some("v7".to_owned()),
            _ => None,
        };
        Platform { architecture: host_architecture().to_owned(), os: "linux".into(), variant }
    }

    /// How well the host runs images of this platform; lower is better, None is not at all.
    pub(crate) fn rank(&self) -> Option<usize> {
        if self.os != "linux" {
            return None;
        }
        let variant = self.variant.as_deref().unwrap_or_default();
        // What the processor runs natively, best first; an empty variant is the base line of its architecture.
        let runs: &[(&str, &[&str])] = match host_architecture() {
            "amd64" => &[("amd64", &["", "v1"]), ("386", &[""])],
            "arm64" => &[("arm64", &["v8", ""]), ("arm", &["v8", "v7", "", "v6", "v5"])],
            "arm" => &[("arm", &["v7", "", "v6", "v5"])],
            other => return (self.architecture == other).then_some(0),
        };
        let all = runs
            .iter()
            .flat_map(|(architecture, variants)| variants.iter().map(move |v| (*architecture, *v)));
        all.enumerate()
            .find(|(_, (architecture, wanted))| *architecture == self.architecture && *wanted == variant)
            .map(|(rank, _)| rank)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) if !variant.is_empty() => write!(f, "/{variant}"),
            _ => Ok(()),
        }
    }
}

/// The host's architecture in Go's words.
fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "mips64" if cfg!(target_endian = "little") => "mips64le",
        "loongarch64" => "loong64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_runs_itself_and_no_other_system() {
        let host = Platform::host();
        // Made here, an image has no variant; on arm64 others can be better by having one.
        assert!(host.rank().is_some_and(|rank| rank <= 1));
        assert_eq!(Platform { os: "windows".into(), ..host.clone() }.rank(), None);
        assert_eq!(Platform { architecture: "s390x-of-mars".into(), ..host.clone() }.rank(), None);
        assert_eq!(
            Platform { variant: Some("v99".into()), ..host }.rank().filter(|_| cfg!(target_arch = "x86_64")),
            None
        );
    }
}
