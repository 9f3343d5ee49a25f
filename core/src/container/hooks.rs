//! Hooks of a container, in the words of the runtime specification: programs that are run at moments of its life. Who runs them is written in the design.

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use coble_protocol::{FdList, OwedHooks};

use super::live::RunDir;
use super::validate::invalid;
use super::{ContainerSpec, Warning, create};
use crate::engine::Inner;
use crate::error::{Error, ErrorKind, Result};
use crate::process;
use crate::state::{ContainerRow, Locked};

/// The most hooks of one container.
const MOST: usize = 64;
/// The most bytes of a text with hooks.
const MAX_TEXT: usize = 1 << 20;
/// Seconds that a hook has if it does not say how many.
const TIMEOUT: u32 = 20;
const MAX_TIMEOUT: u32 = 3600;
/// The version of the specification that the state is written by.
const STATE_VERSION: &str = "1.2.0";

/// A program that is run at a moment of a container's life.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Hook {
    /// The absolute path of the program.
    pub path: String,
    /// All its arguments, the first of which is its name for itself. Empty: the path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Its whole environment, as `NAME=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Seconds until it is killed, 1 to 3600. None: 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
}

impl Hook {
    /// A program without arguments.
    pub fn new(path: impl Into<String>) -> Hook {
        Hook { path: path.into(), ..Hook::default() }
    }
}

/// The hooks of a container. Each list is run in its order, with the container's state as JSON on standard input. One of the first four that fails is the end of the start; of the
/// others it is a warning.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Hooks {
    /// As `create_runtime`, before those; the specification advises against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prestart: Vec<Hook>,
    /// In the monitor's namespaces, which are the host's but for processes and, rootless, for users, when the container's namespaces are there and its root is not mounted yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, by a path of the host, when its root is mounted and is the working directory, and before it is changed to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_container: Vec<Hook>,
    /// Inside, by a path in the container, with the user and rights of the container's program, right before that is executed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub start_container: Vec<Hook>,
    /// As `create_runtime`, when the program runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststart: Vec<Hook>,
    /// As `create_runtime`, when nothing of the container runs any more; also after a start that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Reads hooks as the runtime specification has them: a JSON object such as `{"poststop": [{"path": "/bin/true"}]}`.
    pub fn parse(text: &str) -> Result<Hooks> {
        if text.len() > MAX_TEXT {
            let why = format!("hooks: the text is longer than {MAX_TEXT} bytes");
            return Err(Error::new(ErrorKind::LimitExceeded, why).with_object("hooks"));
        }
        let hooks: Hooks = serde_json::from_str(text)
            .map_err(|error| invalid("hooks", format!("cannot be read: {error}")))?;
        hooks.check()?;
        Ok(hooks)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Hook> {
        let lists = [
            &self.prestart,
            &self.create_runtime,
            &self.create_container,
            &self.start_container,
            &self.poststart,
            &self.poststop,
        ];
        lists.into_iter().flatten()
    }

    pub(super) fn check(&self) -> Result<()> {
        let why = |hook: &Hook, why: &str| {
            Err(invalid("hooks", format!("\"{}\" {why}", hook.path.escape_default())))
        };
        if self.all().count() > MOST {
            return Err(invalid("hooks", format!("are more than {MOST}")));
        }
        for hook in self.all() {
            if !hook.path.starts_with('/') || hook.path.len() >= libc::PATH_MAX as usize {
                return why(hook, "is not an absolute path");
            }
            if [&hook.path].into_iter().chain(&hook.args).chain(&hook.env).any(|text| text.contains('\0')) {
                return why(hook, "has a NUL character");
            }
            if hook.env.iter().any(|entry| entry.split_once('=').is_none_or(|(name, _)| name.is_empty())) {
                return why(hook, "has a variable that is not NAME=value");
            }
            if hook.timeout.is_some_and(|seconds| !(1..=MAX_TIMEOUT).contains(&seconds)) {
                return why(hook, "has a timeout that is not 1 to 3600 seconds");
            }
        }
        Ok(())
    }

    /// As the monitor gets them, if there are any. `directory` is the container's.
    pub(super) fn plan(
        spec: &ContainerSpec,
        id: &str,
        directory: &std::path::Path,
    ) -> Result<Option<Box<coble_protocol::Hooks>>> {
        let hooks = &spec.hooks;
        if hooks.is_empty() {
            return Ok(None);
        }
        let list = |list: &[Hook]| -> Vec<coble_protocol::Hook> {
            let hook = |hook: &Hook| coble_protocol::Hook {
                path: hook.path.clone(),
                args: hook.args.clone(),
                env: hook.env.clone(),
                timeout: hook.timeout.unwrap_or(TIMEOUT),
            };
            list.iter().map(hook).collect()
        };
        let bundle = spec.bundle.clone().unwrap_or_else(|| directory.to_string_lossy().into_owned());
        let state = serde_json::json!({
            "ociVersion": STATE_VERSION,
            "id": id,
            "bundle": bundle,
            "annotations": spec.annotations,
        });
        let mut create_runtime = list(&hooks.prestart);
        create_runtime.extend(list(&hooks.create_runtime));
        Ok(Some(Box::new(coble_protocol::Hooks {
            // The members alone: the monitor adds status and pid.
            state: state.to_string().trim_start_matches('{').to_owned(),
            create_runtime,
            create_container: list(&hooks.create_container),
            start_container: list(&hooks.start_container),
            poststart: list(&hooks.poststart),
            poststop: list(&hooks.poststop),
        })))
    }
}

/// Makes the hooks begin for the end of a run whose monitor was killed before it ran them, if there are any. The caller has the container's lock, so nothing of it runs any more, and nobody else runs them: they begin once,
/// and what ends them on their way (the end of the machine, say) does not make them begin again. None: they run, and have the lock until they have ended, whatever becomes of the caller; what
/// goes wrong with them is in the run directory then. What keeps them from being run is put into the row, which the caller writes.
pub(super) fn begin_owed(
    inner: &Inner,
    row: &mut ContainerRow,
    run_dir: &RunDir,
    lock: Locked,
) -> Result<Option<Locked>> {
    if !run_dir.owes_hooks() {
        return Ok(Some(lock));
    }
    let begin = || {
        let hooks = Hooks::plan(&row.spec()?, &row.id, &create::directory(inner, &row.id))?;
        let hooks = hooks.unwrap_or_default();
        let mut fds = FdList::default();
        let owed = OwedHooks {
            userns: inner.userns.clone(),
            state: hooks.state("stopped", None),
            poststop: hooks.poststop,
            run_dir: fds.push(run_dir.as_fd()),
            lock: fds.push(lock.as_fd()),
        };
        process::begin_owed(inner, owed, fds.as_slice())
    };
    match begin() {
        // Whoever takes the file away decides it, so that they are neither run twice nor wanted for ever.
        Err(error) if run_dir.take_hooks() => {
            let mut run = row.run()?;
            run.warnings.push(Warning { code: "hook".into(), message: error.to_string() });
            row.set_run(&run)?;
            Ok(Some(lock))
        }
        _ => {
            lock.hand_over();
            Ok(None)
        }
    }
}
