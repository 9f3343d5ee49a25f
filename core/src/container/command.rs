//! The program of a container: how options and image configuration become arguments, environment and the rest of a process.

use std::collections::HashMap;

use coble_protocol::{Capabilities, ProcessSpec, Terminal, TerminalSize};

use super::validate::{Seccomp, SecurityOptions};
use super::{ContainerSpec, ExecSpec};
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageConfig;
use crate::isolation::{capabilities, seccomp};

/// Docker's search path, for images that set none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The arguments. An entrypoint that the caller gives drops the image's command; an empty one (or one empty word) drops the image's entrypoint too.
pub(crate) fn argv(spec: &ContainerSpec, image: &ImageConfig) -> Result<Vec<String>> {
    let given = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    let (mut argv, command) = match &spec.entrypoint {
        Some(entrypoint) => {
            let empty = entrypoint.is_empty() || matches!(entrypoint.as_slice(), [word] if word.is_empty());
            (if empty { Vec::new() } else { entrypoint.clone() }, given(&spec.command).unwrap_or_default())
        }
        None => (
            image.entrypoint.clone().unwrap_or_default(),
            given(&spec.command).unwrap_or_else(|| image.cmd.clone().unwrap_or_default()),
        ),
    };
    argv.extend(command);
    match argv.first() {
        Some(program) if program.is_empty() => {
            Err(Error::new(ErrorKind::InvalidArgument, "command: the program's name is empty")
                .with_object("command"))
        }
        Some(_) => Ok(argv),
        None => Err(Error::new(ErrorKind::InvalidArgument, "command: none was given and the image has none")
            .with_object("command")),
    }
}

/// Variables of an environment in their order, each once. An image may have very many.
#[derive(Debug, Default)]
struct Variables {
    all: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Variables {
    fn of(env: &[Vec<u8>]) -> Variables {
        let mut variables = Variables::default();
        for entry in env {
            let text = String::from_utf8_lossy(entry);
            if let Some((name, value)) = text.split_once('=') {
                variables.set(name, value);
            }
        }
        variables
    }

    /// Sets one, in its place if it is there.
    fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name).and_then(|place| self.all.get_mut(*place)) {
            Some((_, old)) => value.clone_into(old),
            None => {
                self.places.insert(name.to_owned(), self.all.len());
                self.all.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn joined(&self) -> Vec<Vec<u8>> {
        self.all.iter().map(|(name, value)| format!("{name}={value}").into_bytes()).collect()
    }
}

/// The environment: `PATH` and `HOSTNAME`, with a terminal `TERM`, then the image's, then the caller's.
pub(super) fn environment(
    spec: &ContainerSpec,
    image: &ImageConfig,
    hostname: &str,
) -> Vec<(String, String)> {
    variables(spec, image, hostname).all
}

fn variables(spec: &ContainerSpec, image: &ImageConfig, hostname: &str) -> Variables {
    let mut env = Variables::default();
    env.set("PATH", DEFAULT_PATH);
    env.set("HOSTNAME", hostname);
    if spec.tty {
        env.set("TERM", "xterm");
    }
    for (name, value) in image.env.iter().chain(&spec.environment) {
        env.set(name, value);
    }
    env
}

/// Adds proxies to the environment of a process: over the image's, not over those that the caller named.
pub(super) fn add_proxies(env: &mut Vec<Vec<u8>>, spec: &ContainerSpec, proxies: &[(String, String)]) {
    let mut all = Variables::of(env);
    for (name, value) in proxies {
        if !spec.environment.iter().any(|(own, _)| own == name) {
            all.set(name, value);
        }
    }
    *env = all.joined();
}

fn bytes(words: &[String]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.clone().into_bytes()).collect()
}

/// The process of a container's own program. `bounding` is the set of capabilities that was decided for it.
pub(crate) fn process(
    spec: &ContainerSpec,
    image: &ImageConfig,
    security: &SecurityOptions,
    hostname: &str,
    bounding: u64,
) -> Result<ProcessSpec> {
    let working_dir = spec.working_dir.clone().or_else(|| image.working_dir.clone());
    let working_dir = working_dir.filter(|dir| !dir.is_empty()).unwrap_or_else(|| "/".to_owned());
    super::validate::working_dir(&working_dir)?;
    let beyond = spec.beyond.as_deref();
    Ok(ProcessSpec {
        argv: bytes(&argv(spec, image)?),
        env: variables(spec, image, hostname).joined(),
        cwd: working_dir.into_bytes(),
        create_cwd: true,
        user: spec
            .user
            .clone()
            .or_else(|| image.user.clone())
            .filter(|user| !user.is_empty())
            .or_else(|| super::userns::user(spec))
            .unwrap_or_default(),
        additional_groups: spec.group_add.clone(),
        capabilities: Capabilities {
            bounding,
            ambient: beyond.map_or(0, |beyond| beyond.ambient & bounding),
        },
        no_new_privileges: security.no_new_privileges,
        seccomp: match &security.seccomp {
            Seccomp::Default => seccomp::default_filter(bounding)?,
            Seccomp::Unconfined => Vec::new(),
            Seccomp::Profile(text) => seccomp::profile_filter(text, bounding)?,
        },
        landlock: security.landlock.clone(),
        apparmor: security.apparmor.clone(),
        rlimits: super::resources::ulimits(spec)?,
        umask: beyond.and_then(|beyond| beyond.umask).unwrap_or(0o022),
        oom_score_adj: spec.oom_score_adj,
        terminal: spec.tty.then(|| terminal(spec.console_size, false)),
    })
}

/// A terminal to make. `given` if its master is for the caller.
fn terminal(size: Option<(u16, u16)>, given: bool) -> Terminal {
    let (rows, columns) = size.unwrap_or_default();
    Terminal { size: TerminalSize { rows, columns }, given }
}

/// The process of another program in the container: as the container's own, which has no terminal, with what the caller changes. `given` if the
/// caller wants the master of its terminal; `bounding` if it has other capabilities.
pub(crate) fn exec_process(
    own: &ProcessSpec,
    exec: &ExecSpec,
    given: bool,
    bounding: Option<u64>,
) -> ProcessSpec {
    let mut env = Variables::of(&own.env);
    if exec.tty && !env.places.contains_key("TERM") {
        env.set("TERM", "xterm");
    }
    for (name, value) in &exec.environment {
        env.set(name, value);
    }
    ProcessSpec {
        argv: bytes(&exec.command),
        env: env.joined(),
        cwd: exec.working_dir.clone().map_or_else(|| own.cwd.clone(), String::into_bytes),
        create_cwd: false,
        user: exec.user.clone().unwrap_or_else(|| own.user.clone()),
        capabilities: Capabilities {
            bounding: bounding.unwrap_or(own.capabilities.bounding),
            ..own.capabilities
        },
        terminal: exec.tty.then(|| terminal(exec.console_size, given)),
        ..own.clone()
    }
}

/// The capabilities to ask for, as a bit mask.
pub(crate) fn bounding(spec: &ContainerSpec) -> Result<u64> {
    if spec.privileged {
        return capabilities::from_lists(&["ALL".to_owned()], &spec.cap_drop);
    }
    capabilities::from_lists(&spec.cap_add, &spec.cap_drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Option<Vec<String>> {
        (text != "-").then(|| text.split_whitespace().map(str::to_owned).collect())
    }

    /// Docker's table: image entrypoint and command against the caller's.
    #[test]
    fn entrypoint_and_command() {
        let table = [
            // image entrypoint, image cmd, entrypoint, command, result
            ("-", "c d", "-", "-", "c d"),
            ("-", "c d", "-", "x y", "x y"),
            ("e", "c d", "-", "-", "e c d"),
            ("e", "c d", "-", "x y", "e x y"),
            ("e", "c d", "n m", "-", "n m"),
            ("e", "c d", "n m", "x y", "n m x y"),
            ("e", "c d", "", "x y", "x y"),
            ("e", "c d", "-", "", "e c d"),
            ("e", "c d", "", "-", ""),
            ("-", "-", "-", "-", ""),
        ];
        for (entrypoint, cmd, given_entrypoint, given_command, expected) in table {
            let image =
                ImageConfig { entrypoint: words(entrypoint), cmd: words(cmd), ..ImageConfig::default() };
            let mut spec = ContainerSpec::new("i");
            spec.entrypoint = words(given_entrypoint);
            spec.command = words(given_command);
            let got = argv(&spec, &image).map(|argv| argv.join(" ")).unwrap_or_default();
            assert_eq!(got, expected, "{entrypoint} / {cmd} with {given_entrypoint} / {given_command}");
        }
    }

    #[test]
    fn the_environment_is_merged_by_name() {
        let image = ImageConfig {
            env: vec![("PATH".into(), "/x".into()), ("A".into(), "1".into())],
            ..ImageConfig::default()
        };
        let mut spec = ContainerSpec::new("i");
        spec.environment = vec![("A".into(), "2".into()), ("B".into(), String::new())];
        let env = environment(&spec, &image, "h");
        let env: Vec<String> = env.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["PATH=/x", "HOSTNAME=h", "A=2", "B="]);
        // As many as an image can have are no work.
        spec.environment = (0..500_000).map(|n| (n.to_string(), String::new())).collect();
        assert_eq!(environment(&spec, &image, "h").len(), 500_003);
    }
}
