//! What a monitor keeps on file while its container lives, beyond what the engine knows since the start: the health of the program, and that it was started again.

use serde::{Deserialize, Serialize};

use crate::{Exit, ProcessSpec, ProtocolError, VERSION};

/// The name of the file in the container's run directory: a [`Condition`]. A monitor that has none of this to say writes none.
pub const CONDITION_FILE: &str = "condition";
/// The name that it has while it is being written.
pub const CONDITION_TEMPORARY: &str = "condition.tmp";

/// How the program's health is looked at. Times are nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    /// The program whose exit code 0 is health.
    pub process: ProcessSpec,
    /// The time between two probes, from the end of one to the start of the next.
    pub interval: u64,
    /// How long a probe may take.
    pub timeout: u64,
    /// For how long after the start failures do not count, unless one probe has been good.
    pub start_period: u64,
    /// The time between two probes as long as that is so.
    pub start_interval: u64,
    /// How many failures in a row are ill health.
    pub retries: u32,
}

/// When the program is started again after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartSpec {
    /// Only after a failure: an exit code that is not 0.
    pub on_failure: bool,
    /// At most that many times. 0: as often as needed.
    pub most: u32,
}

/// The state of the program's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Not known yet.
    Starting,
    /// The last probes were good.
    Healthy,
    /// Too many were not.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub const fn name(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of the program's health.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The state.
    pub status: HealthStatus,
    /// Failures since the last good probe.
    pub failing_streak: u32,
    /// The last probes, the newest last: at most [`Health::LOG`].
    pub log: Vec<Probe>,
}

impl Health {
    /// How many probes are kept.
    pub const LOG: usize = 5;
    /// How much of the output of a probe is kept.
    pub const OUTPUT: usize = 4096;
}

/// A probe that is over. Times are nanoseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: u64,
    /// When it was over.
    pub end: u64,
    /// Its exit code; -1 if there was none.
    pub exit_code: i32,
    /// What it wrote, or why it could not be run.
    pub output: Vec<u8>,
}

/// An end of the program. It is on file before the hooks for it are run, so that it is not lost with a monitor that is killed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it was.
    pub exit: Exit,
    /// The number that the record of it has in the journal, once that is there. Only an end that the container outlives gets one.
    pub record: u64,
    /// Whether it waits to be started again, when the hooks are over.
    pub waits: bool,
    /// Whether the hooks for it are being run. Nobody is answered meanwhile.
    pub hooks: bool,
}

/// The content of [`CONDITION_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Condition {
    /// How often the program was started again.
    pub restarts: u32,
    /// How it ended last, until it is started again.
    pub ended: Option<Ended>,
    /// When it was started last, nanoseconds since the epoch, and its process id on the host; if it was started again.
    pub started: Option<(u64, i32)>,
    /// How many programs of the container were killed for want of memory, of those that the monitor has told of.
    pub oom_kills: u64,
    /// Whether one of them was killed since it was started last.
    pub out_of_memory: bool,
    /// Its health, if that is looked at.
    pub health: Option<Health>,
}

/// The number of programs that were killed for want of memory, of what `memory.events` of a version 2 cgroup or `memory.oom_control` of a version 1 cgroup says.
pub fn oom_kills(text: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "))?;
    str::from_utf8(line).ok()?.trim().parse().ok()
}

impl Condition {
    /// How the program ended last, while it waits to be started again.
    pub fn waiting(&self) -> Option<Exit> {
        self.ended.filter(|ended| ended.waits).map(|ended| ended.exit)
    }

    /// The bytes of the file: [`VERSION`] as a little-endian `u32`, then the condition.
    pub fn encode(&self) -> Result<Vec<u8>, ProtocolError> {
        let mut out = VERSION.to_le_bytes().to_vec();
        out.extend(postcard::to_stdvec(self).map_err(|_| ProtocolError::Malformed)?);
        Ok(out)
    }

    /// Reads the file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Condition, ProtocolError> {
        let (version, body) = bytes.split_first_chunk::<4>().ok_or(ProtocolError::Truncated)?;
        if u32::from_le_bytes(*version) != VERSION {
            return Err(ProtocolError::Malformed);
        }
        postcard::from_bytes(body).map_err(|_| ProtocolError::Malformed)
    }
}
