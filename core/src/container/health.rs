//! Health checks: what the caller and the image say of them, together, and what the monitor found.

use coble_protocol::{HealthSpec, ProcessSpec};
use serde::{Deserialize, Serialize};

use super::validate::invalid;
use super::{Container, ContainerSpec, ExecSpec, State, command};
use crate::error::Result;
use crate::image::ImageConfig;
use crate::state::{from_nanos, rfc3339};

/// Docker's defaults, in nanoseconds.
const SECOND: u64 = 1_000_000_000;
const INTERVAL: u64 = 30 * SECOND;
const TIMEOUT: u64 = 30 * SECOND;
const START_INTERVAL: u64 = 5 * SECOND;
const RETRIES: u32 = 3;
/// Docker's least time.
const MIN: u64 = 1_000_000;

/// How the health of a container's program is looked at. What is left out is as the image says, or docker's default. Times are nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct HealthCheck {
    /// `CMD` and the words of a command, `CMD-SHELL` and a line for `/bin/sh`, or `NONE`, for no checks whatever the image says. Empty: the image's.
    pub test: Vec<String>,
    /// From the end of a check to the start of the next. 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
    /// How long a check may take before its processes are killed. 30 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
    /// For how long after the start failures do not count, unless a check has succeeded. 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<u64>,
    /// The interval in that time. 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<u64>,
    /// How many failures in a row make it unhealthy. 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
}

impl HealthCheck {
    /// A check by a line for `/bin/sh`.
    pub fn shell(line: impl Into<String>) -> HealthCheck {
        HealthCheck { test: vec!["CMD-SHELL".to_owned(), line.into()], ..HealthCheck::default() }
    }

    /// No checks, whatever the image says.
    pub fn none() -> HealthCheck {
        HealthCheck { test: vec!["NONE".to_owned()], ..HealthCheck::default() }
    }

    /// What is refused of a caller.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |why: &str| Err(invalid("healthcheck", why));
        match self.test.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] | ["NONE"] | ["CMD-SHELL", _] => {}
            ["CMD", program, ..] if !program.is_empty() => {}
            _ => return bad("the test is CMD with a command, CMD-SHELL with a line, or NONE"),
        }
        if self.test.iter().any(|word| word.contains('\0')) {
            return bad("the test contains a NUL character");
        }
        let times = [self.interval, self.timeout, self.start_period, self.start_interval];
        if times.into_iter().flatten().any(|time| time != 0 && time < MIN) {
            return bad("a time is less than a millisecond");
        }
        Ok(())
    }

    /// What an image's configuration says, in docker's form. What is not in that form says nothing.
    pub(crate) fn of_image(value: &serde_json::Value) -> Option<HealthCheck> {
        let test = value.get("Test")?.as_array()?;
        let time = |name: &str| value.get(name).and_then(serde_json::Value::as_u64).filter(|time| *time > 0);
        let check = HealthCheck {
            test: test.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            interval: time("Interval"),
            timeout: time("Timeout"),
            start_period: time("StartPeriod"),
            start_interval: time("StartInterval"),
            retries: time("Retries").and_then(|retries| u32::try_from(retries).ok()),
        };
        check.check().is_ok().then_some(check)
    }

    /// What counts for a container. None: no checks.
    pub(super) fn effective(spec: &ContainerSpec, image: &ImageConfig) -> Option<HealthCheck> {
        let mut check = spec.healthcheck.clone().unwrap_or_default();
        if let Some(image) = &image.healthcheck {
            if check.test.is_empty() {
                check.test.clone_from(&image.test);
            }
            let given =
                |own: &mut Option<u64>, other: Option<u64>| *own = own.filter(|time| *time > 0).or(other);
            given(&mut check.interval, image.interval);
            given(&mut check.timeout, image.timeout);
            given(&mut check.start_period, image.start_period);
            given(&mut check.start_interval, image.start_interval);
            check.retries = check.retries.filter(|retries| *retries > 0).or(image.retries);
        }
        match check.test.first().map(String::as_str) {
            None | Some("NONE") => None,
            Some(_) => Some(check),
        }
    }

    /// In docker's form.
    pub(super) fn to_docker(&self) -> serde_json::Value {
        serde_json::json!({
            "Test": self.test,
            "Interval": self.interval.unwrap_or(0),
            "Timeout": self.timeout.unwrap_or(0),
            "StartPeriod": self.start_period.unwrap_or(0),
            "StartInterval": self.start_interval.unwrap_or(0),
            "Retries": self.retries.unwrap_or(0),
        })
    }
}

/// What the monitor is told. `own` is the container's own program.
pub(super) fn plan(spec: &ContainerSpec, image: &ImageConfig, own: &ProcessSpec) -> Option<Box<HealthSpec>> {
    let check = HealthCheck::effective(spec, image)?;
    let (form, words) = check.test.split_first()?;
    let argv: Vec<String> = match form.as_str() {
        // The image's shell, as docker has it.
        "CMD-SHELL" => {
            let usual = || ["/bin/sh", "-c"].map(str::to_owned).to_vec();
            image.shell.clone().unwrap_or_else(usual).into_iter().chain(words.iter().cloned()).collect()
        }
        _ => words.to_vec(),
    };
    let or = |time: Option<u64>, default: u64| time.filter(|time| *time > 0).unwrap_or(default);
    Some(Box::new(HealthSpec {
        process: command::exec_process(own, &ExecSpec::new(argv), false, None),
        interval: or(check.interval, INTERVAL),
        timeout: or(check.timeout, TIMEOUT),
        start_period: or(check.start_period, 0),
        start_interval: or(check.start_interval, START_INTERVAL),
        retries: check.retries.filter(|retries| *retries > 0).unwrap_or(RETRIES),
    }))
}

/// The health of a container's program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Health {
    /// `starting`, `healthy` or `unhealthy`. That of one that has ended is `unhealthy`, as docker has it.
    pub status: String,
    /// Failures since the last check that succeeded.
    pub failing_streak: u32,
    /// The last checks, at most 5, the newest last.
    pub log: Vec<HealthProbe>,
}

/// A health check that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HealthProbe {
    /// When it began, RFC 3339.
    pub start: String,
    /// When it was over, RFC 3339.
    pub end: String,
    /// Its exit code; -1 if it took too long or could not be run.
    pub exit_code: i32,
    /// What it wrote, at most 4096 bytes, or why it could not be run. Bytes that are no text are replaced.
    pub output: String,
}

impl Health {
    pub(super) fn of(found: &coble_protocol::Health) -> Health {
        Health {
            status: found.status.name().to_owned(),
            failing_streak: found.failing_streak,
            log: found
                .log
                .iter()
                .map(|probe| HealthProbe {
                    start: rfc3339(from_nanos(probe.start)),
                    end: rfc3339(from_nanos(probe.end)),
                    exit_code: probe.exit_code,
                    output: String::from_utf8_lossy(&probe.output).into_owned(),
                })
                .collect(),
        }
    }

    /// In docker's form.
    pub(super) fn to_docker(&self) -> serde_json::Value {
        let log: Vec<_> = self
            .log
            .iter()
            .map(|probe| {
                serde_json::json!({
                    "Start": probe.start,
                    "End": probe.end,
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                })
            })
            .collect();
        serde_json::json!({ "Status": self.status, "FailingStreak": self.failing_streak, "Log": log })
    }
}

impl Container {
    /// The health of its program. None if that is not looked at, or it was not started yet.
    pub fn health(&self) -> Result<Option<Health>> {
        let details = self.inspect()?;
        Ok(details.health.filter(|_| details.summary.state != State::Created))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(text: &str) -> ImageConfig {
        let value = serde_json::from_str(text).unwrap();
        ImageConfig { healthcheck: HealthCheck::of_image(&value), ..ImageConfig::default() }
    }

    #[test]
    fn the_caller_s_words_come_before_the_image_s() {
        let image = image(r#"{"Test": ["CMD", "a", "b"], "Interval": 5000000000, "Retries": 7}"#);
        let mut spec = ContainerSpec::new("i");
        let of = |spec: &ContainerSpec| HealthCheck::effective(spec, &image);
        let found = of(&spec).unwrap();
        assert_eq!(
            (found.test.join(" "), found.interval, found.retries),
            ("CMD a b".into(), Some(5 * SECOND), Some(7))
        );
        spec.healthcheck = Some(HealthCheck { interval: Some(SECOND), ..HealthCheck::default() });
        let found = of(&spec).unwrap();
        assert_eq!(
            (found.test.join(" "), found.interval, found.retries),
            ("CMD a b".into(), Some(SECOND), Some(7))
        );
        spec.healthcheck = Some(HealthCheck::shell("c"));
        assert_eq!(of(&spec).unwrap().test, ["CMD-SHELL", "c"]);
        spec.healthcheck = Some(HealthCheck::none());
        assert_eq!(of(&spec), None);
        assert_eq!(HealthCheck::effective(&ContainerSpec::new("i"), &ImageConfig::default()), None);
    }

    #[test]
    fn what_an_image_says_in_another_form_says_nothing() {
        for text in [
            "{}",
            "7",
            r#"{"Test": "x"}"#,
            r#"{"Test": [1]}"#,
            r#"{"Test": ["CMD"]}"#,
            r#"{"Test": ["WHAT", "x"]}"#,
        ] {
            assert_eq!(image(text).healthcheck, None, "{text}");
        }
        assert_eq!(image(r#"{"Test": ["NONE"], "Interval": -1}"#).healthcheck, Some(HealthCheck::none()));
    }

    #[test]
    fn checks_of_a_caller() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        for good in [&[][..], &["NONE"], &["CMD", "a", ""], &["CMD-SHELL", "a b"]] {
            assert!(HealthCheck { test: words(good), ..HealthCheck::default() }.check().is_ok(), "{good:?}");
        }
        for bad in [
            &["CMD"][..],
            &["CMD", ""],
            &["CMD-SHELL"],
            &["CMD-SHELL", "a", "b"],
            &["NONE", "a"],
            &["x"],
            &["CMD", "a\0"],
        ] {
            assert!(HealthCheck { test: words(bad), ..HealthCheck::default() }.check().is_err(), "{bad:?}");
        }
        assert!(HealthCheck { timeout: Some(5), ..HealthCheck::default() }.check().is_err());
    }
}
