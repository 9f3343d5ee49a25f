//! Programs that are run beside the life of a container, as the runtime specification has them.

use serde::{Deserialize, Serialize};

use crate::{Failure, FdIndex, ProtocolError, UserNamespace, VERSION};

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The absolute path of the program.
    pub path: String,
    /// All its arguments, the first of which is its name for itself. Empty: the path.
    pub args: Vec<String>,
    /// Its whole environment, `NAME=value`.
    pub env: Vec<String>,
    /// Seconds until it is killed.
    pub timeout: u32,
}

/// The name of the file in the container's run directory that is there from the beginning of a run until its [`Hooks::poststop`] begin, if there are any. Who finds it when the monitor is gone, and removes it, runs them.
pub const OWED_FILE: &str = "poststop";

/// The name of the file in the container's run directory that says what went wrong with hooks that no monitor has run: see [`complaints`].
pub const COMPLAINTS_FILE: &str = "poststop.failed";

/// The bytes of [`COMPLAINTS_FILE`]: [`VERSION`] as a little-endian `u32`, then the failures.
pub fn encode_complaints(complaints: &[Failure]) -> Result<Vec<u8>, ProtocolError> {
    let mut out = VERSION.to_le_bytes().to_vec();
    out.extend(postcard::to_stdvec(complaints).map_err(|_| ProtocolError::Malformed)?);
    Ok(out)
}

/// Reads the bytes of [`COMPLAINTS_FILE`]. Those of another version are [`ProtocolError::Malformed`].
pub fn complaints(bytes: &[u8]) -> Result<Vec<Failure>, ProtocolError> {
    let (version, body) = bytes.split_first_chunk::<4>().ok_or(ProtocolError::Truncated)?;
    if u32::from_le_bytes(*version) != VERSION {
        return Err(ProtocolError::Malformed);
    }
    postcard::from_bytes(body).map_err(|_| ProtocolError::Malformed)
}

/// Hooks of a run whose monitor was killed before it could run them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwedHooks {
    /// The user namespace that they are run in.
    pub userns: Option<UserNamespace>,
    /// [`Hooks::poststop`].
    pub poststop: Vec<Hook>,
    /// The state that they are told.
    pub state: String,
    /// The container's run directory, with the [`OWED_FILE`] to take away and the place for the [`COMPLAINTS_FILE`].
    pub run_dir: FdIndex,
    /// The lock of the container, which is held until the last one has ended.
    pub lock: FdIndex,
}

/// The hooks of a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hooks {
    /// What there is to say of the container beside its status and process: the end of a JSON object.
    pub state: String,
    /// Run by the monitor when there are namespaces, and the root is not changed yet.
    pub create_runtime: Vec<Hook>,
    /// Run by the first process after those, in its namespaces, before the root is changed.
    pub create_container: Vec<Hook>,
    /// Run inside, as the program is, right before that.
    pub start_container: Vec<Hook>,
    /// Run by the monitor when the program runs.
    pub poststart: Vec<Hook>,
    /// Run by the monitor when nothing of the container runs any more.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// The state of the container, which a hook gets as its standard input.
    pub fn state(&self, status: &str, pid: Option<i32>) -> String {
        let pid = pid.map_or_else(String::new, |pid| format!(",\"pid\":{pid}"));
        format!("{{\"status\":\"{status}\"{pid},{}", self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Step;

    #[test]
    fn complaints_are_read_as_they_were_written_and_by_the_same_version_only() {
        let all = [Failure::rule(Step::Hook, "/bin/false", "poststop: it ended with exit code 1".to_owned())];
        let mut bytes = encode_complaints(&all).unwrap();
        assert_eq!(complaints(&bytes).unwrap(), all);
        assert!(complaints(&bytes[..bytes.len() - 1]).is_err() && complaints(&[]).is_err());
        bytes[0] ^= 1;
        assert!(complaints(&bytes).is_err());
    }
}
