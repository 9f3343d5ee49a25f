//! Platforms of images, and which of them this host can run.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::null_is_default;
use crate::error::{Error, ErrorKind, Result};

/// Operating system and architecture in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<String>,
    /// Of Windows: the build that an image is made for.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub(crate) os_version: Option<String>,
    /// What the system has to be able to do for it.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) os_features: Vec<String>,
}

/// An operating system as text, with what stands in parentheses behind it.
struct System {
    name: String,
    version: Option<String>,
    features: Vec<String>,
}

impl System {
    /// Reads `os`, or `os(version+feature+feature)` with or without a version or features, as containerd writes it.
    fn parse(text: &str) -> Option<System> {
        let is_option = |text: &str| {
            text.len() <= 128
                && text.bytes().all(|byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'%' | b'+')
                })
        };
        let (name, options) = match text.split_once('(') {
            Some((name, rest)) => (name, rest.strip_suffix(')').filter(|options| is_option(options))?),
            None => (text, ""),
        };
        let mut options = options.split('+');
        let version = decoded(options.next().unwrap_or_default())?;
        let features = options.map(|text| decoded(text).filter(|text| !text.is_empty()));
        Some(System {
            name: Some(name).filter(|name| is_word(name))?.to_ascii_lowercase(),
            version: Some(version).filter(|version| !version.is_empty()),
            features: features.collect::<Option<_>>()?,
        })
    }
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word.len() <= 64
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Puts `%` and two digits in the place of what would end a version or feature.
fn encoded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => shown.push_str("%25"),
            '+' => shown.push_str("%2B"),
            '(' => shown.push_str("%28"),
            ')' => shown.push_str("%29"),
            '/' => shown.push_str("%2F"),
            c => shown.push(c),
        }
    }
    shown
}

fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(part.bytes().skip(2));
    }
    String::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

impl Platform {
    /// The host's own.
    pub(crate) fn host() -> Platform {
        let variant = match host_architecture() {
            "arm" => Some("v7".to_owned()),
            _ => None,
        };
        Platform {
            architecture: host_architecture().to_owned(),
            os: "linux".into(),
            variant,
            os_version: None,
            os_features: Vec::new(),
        }
    }

    /// Reads `os/architecture`, `os/architecture/variant`, or one of the first two alone, in the words of Go or of `uname`. The system may
    /// have a version and features, as containerd writes them: `windows(10.0.17763+win32k)/amd64`.
    pub(crate) fn parse(text: &str) -> Result<Platform> {
        let bad = || {
            let shown: String = text.chars().take(120).collect();
            Error::new(ErrorKind::InvalidArgument, format!("\"{}\" is not a platform", shown.escape_debug()))
                .with_object(shown)
                .with_hint("give linux/amd64, linux/arm64 or linux/arm/v7, for example")
        };
        let (first, others) = match text.split_once('/') {
            Some((first, others)) => (first, others.split('/').collect()),
            None => (text, Vec::new()),
        };
        let system = System::parse(first).ok_or_else(bad)?;
        if !others.iter().all(|word| is_word(word)) {
            return Err(bad());
        }
        let host = Platform::host();
        let platform = |system: System, architecture: &str, variant: Option<&str>| Platform {
            os: system.name,
            architecture: architecture.to_ascii_lowercase(),
            variant: variant.map(str::to_ascii_lowercase),
            os_version: system.version,
            os_features: system.features,
        };
        let known = ["linux", "windows", "darwin", "freebsd"];
        let found = match others.as_slice() {
            [] if known.contains(&system.name.as_str()) => {
                platform(system, &host.architecture, host.variant.as_deref())
            }
            [] if first.contains('(') => return Err(bad()),
            [] => platform(System { name: host.os, ..system }, first, None),
            [architecture] => platform(system, architecture, None),
            [architecture, variant] => platform(system, architecture, Some(variant)),
            _ => return Err(bad()),
        };
        Ok(found.normal())
    }

    /// The one spelling of what has several, as containerd has it.
    fn normal(&self) -> Platform {
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let (architecture, variant) = match (self.architecture.as_str(), variant) {
            ("i386" | "i486" | "i586" | "i686" | "386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("8" | "v8" | "v8.0")) => ("arm64", None),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", None | Some("7")) => ("arm", Some("v7")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (architecture, variant) => (architecture, variant),
        };
        let mut os_features: Vec<String> =
            self.os_features.iter().filter(|feature| !feature.is_empty()).cloned().collect();
        os_features.sort_unstable();
        os_features.dedup();
        Platform {
            os: self.os.clone(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: self.os_version.clone(),
            os_features,
        }
    }

    /// How well the host runs images of this platform; lower is better, None is not at all.
    pub(crate) fn rank(&self) -> Option<usize> {
        if self.os == "linux" { self.rank_for(&Platform::host()) } else { None }
    }

    /// How well an image of this platform does where another is wanted; lower is better, None is not at all. A processor runs the
    /// older variants of its architecture, and the 32-bit one. Of a version the first parts are enough, and what an image wants of the system
    /// has to be among what is there: of two that fit it is the one that makes more of it.
    pub(crate) fn rank_for(&self, wanted: &Platform) -> Option<usize> {
        let (own, wanted) = (self.normal(), wanted.normal());
        if own.os != wanted.os {
            return None;
        }
        if let Some(version) = wanted.os_version.as_deref().filter(|version| !version.is_empty()) {
            let rest = own.os_version.as_deref().unwrap_or_default().strip_prefix(version)?;
            if !rest.is_empty() && !rest.starts_with('.') && !version.ends_with('.') {
                return None;
            }
        }
        let wanted_features = wanted.os_features.len();
        if !own.os_features.iter().all(|feature| wanted.os_features.binary_search(feature).is_ok()) {
            return None;
        }
        let arm = |newest: &str| {
            let variants = ["v8", "v7", "v6", "v5"].into_iter().skip_while(move |variant| *variant != newest);
            variants.map(|variant| ("arm", Some(variant.to_owned()))).collect::<Vec<_>>()
        };
        let variant = wanted.variant.as_deref();
        let runs: Vec<(&str, Option<String>)> = match (wanted.architecture.as_str(), variant) {
            ("amd64", variant) => {
                let newest: u32 = variant.and_then(|text| text.strip_prefix('v')?.parse().ok()).unwrap_or(1);
                let newer = (2..=newest.min(9)).rev().map(|n| ("amd64", Some(format!("v{n}"))));
                newer.chain([("amd64", None), ("386", None)]).collect()
            }
            ("arm64", variant) => {
                let own = variant.map(|variant| ("arm64", Some(variant.to_owned())));
                own.into_iter().chain([("arm64", None)]).chain(arm("v8")).collect()
            }
            ("arm", Some(variant)) if ["v8", "v7", "v6", "v5"].contains(&variant) => arm(variant),
            (architecture, variant) => vec![(architecture, variant.map(str::to_owned))],
        };
        let position = runs.iter().position(|(architecture, variant)| {
            *architecture == own.architecture && variant.as_deref() == own.variant.as_deref()
        })?;
        Some(position * (wanted_features + 1) + (wanted_features - own.os_features.len()))
    }
}

/// Which of the platforms of an image are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlatformChoice {
    /// The one that fits this platform best.
    Best(Platform),
    /// All of them.
    All,
}

impl PlatformChoice {
    /// The host's own by default, `all`, or a platform.
    pub(crate) fn parse(text: Option<&str>) -> Result<PlatformChoice> {
        match text {
            None => Ok(PlatformChoice::Best(Platform::host())),
            Some("all") => Ok(PlatformChoice::All),
            Some(text) => Platform::parse(text).map(PlatformChoice::Best),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.os)?;
        let Platform { os_version, os_features, .. } = self.normal();
        let version = os_version.unwrap_or_default();
        if !version.is_empty() || !os_features.is_empty() {
            write!(f, "({}", encoded(&version))?;
            for feature in &os_features {
                write!(f, "+{}", encoded(feature))?;
            }
            write!(f, ")")?;
        }
        write!(f, "/{}", self.architecture)?;
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

    #[test]
    fn platforms_have_one_spelling() {
        let text = |text: &str| Platform::parse(text).unwrap().to_string();
        for (written, read) in [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armhf", "linux/arm/v7"),
            ("Linux/ARM/6", "linux/arm/v6"),
            ("windows/amd64", "windows/amd64"),
            ("i686", "linux/386"),
            ("riscv64", "linux/riscv64"),
        ] {
            assert_eq!(text(written), read, "{written}");
        }
        for same in [
            "windows(10.0.17763)/amd64",
            "windows(10.0.17763+win32k)/amd64",
            "linux(+gpu+simd)/arm/v7",
            "windows(10.0.17763%2Bbuild.42+feat%2F1)/amd64",
            "windows(50%25done)/arm64",
        ] {
            assert_eq!(text(same), same);
        }
        assert_eq!(text("Linux(+simd+gpu+gpu)/x86_64"), "linux(+gpu+simd)/amd64");
        assert_eq!(text("windows()/amd64"), "windows/amd64");
        let windows = Platform::parse("windows(10.0.17763%2Bx)").unwrap();
        assert_eq!((windows.os.as_str(), windows.os_version.as_deref()), ("windows", Some("10.0.17763+x")));
        for bad in [
            "windows(1.0",
            "windows(1.0)x/amd64",
            "windows(1.0/amd64)",
            "windows((1.0))/amd64",
            "windows(+)/amd64",
            "windows(1.0+)/amd64",
            "windows(%)/amd64",
            "windows(%4)/amd64",
            "windows(%FF)/amd64",
            "windows(%0A)/amd64",
            "windows(%é)/amd64",
            "(1.0)/amd64",
            "amd64(1.0)",
            "linux/amd64(1.0)",
        ] {
            assert_eq!(Platform::parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux//v7", "linux/é"] {
            assert_eq!(Platform::parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn a_processor_runs_what_is_older() {
        let rank = |own: &str, wanted: &str| {
            Platform::parse(own).unwrap().rank_for(&Platform::parse(wanted).unwrap())
        };
        assert_eq!(rank("linux/arm/v7", "linux/arm/v7"), Some(0));
        assert_eq!(rank("linux/arm/v5", "linux/arm/v7"), Some(2));
        assert_eq!(rank("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(rank("linux/arm64/v8", "linux/arm64"), Some(0));
        assert!(rank("linux/arm/v7", "linux/arm64") > rank("linux/arm64", "linux/arm64"));
        assert_eq!(rank("linux/386", "linux/amd64"), Some(1));
        assert_eq!(rank("linux/amd64/v2", "linux/amd64/v3"), Some(1));
        assert_eq!(rank("linux/amd64/v3", "linux/amd64"), None);
        assert_eq!(rank("windows/amd64", "linux/amd64"), None);
        let build = |version: &str| Platform {
            os_version: Some(version.into()),
            ..Platform::parse("windows/amd64").unwrap()
        };
        assert_eq!(build("10.0.17763.1").rank_for(&build("10.0.17763")), Some(0));
        assert_eq!(build("10.0.20348.1").rank_for(&build("10.0.17763")), None);
        assert_eq!(build("10.0.177630").rank_for(&build("10.0.17763")), None);
        assert_eq!(build("10.0.17763").rank_for(&build("10.0.17763")), Some(0));
    }

    #[test]
    fn what_an_image_wants_of_the_system_has_to_be_there() {
        let rank = |own: &str, wanted: &str| {
            Platform::parse(own).unwrap().rank_for(&Platform::parse(wanted).unwrap())
        };
        assert_eq!(rank("windows(+win32k)/amd64", "windows/amd64"), None);
        assert_eq!(rank("windows(+win32k)/amd64", "windows(+win32k)/amd64"), Some(0));
        assert_eq!(rank("linux(+a+c)/amd64", "linux(+a+b)/amd64"), None);
        let ranks = ["linux(+b+a)/amd64", "linux(+b)/amd64", "linux/amd64", "linux(+a+b)/386", "linux/386"]
            .map(|own| rank(own, "linux(+a+b)/amd64").unwrap());
        assert!(ranks.is_sorted() && ranks.windows(2).all(|two| two[0] != two[1]), "{ranks:?}");
        // As it stands in documents, with what Go programs write for nothing.
        let json =
            r#"{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"]}"#;
        let platform: Platform = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&platform).unwrap(), json);
        let json = r#"{"architecture":"amd64","os":"linux","os.features":null}"#;
        let platform: Platform = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&platform).unwrap(), r#"{"architecture":"amd64","os":"linux"}"#);
    }
}
