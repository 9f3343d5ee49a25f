//! What docker has and coble has not yet: said so, instead of a guess at what was meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Docker's verbs.
const VERBS: &[&str] = &[
    "attach",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "events",
    "manifest",
    "network",
    "node",
    "plugin",
    "port",
    "prune",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
    "volume",
    "inspect",
];

/// Docker's flags of `run`, `create` and `exec`, with both their forms.
const FLAGS: &[&str] = &[
    "--annotation",
    "--attach",
    "-a",
    "--blkio-weight-device",
    "--cgroup-parent",
    "--cgroupns",
    "--cidfile",
    "--cpu-count",
    "--cpu-percent",
    "--cpu-rt-period",
    "--cpu-rt-runtime",
    "--detach-keys",
    "--device",
    "--device-cgroup-rule",
    "--disable-content-trust",
    "--dns-option",
    "--dns-search",
    "--domainname",
    "--expose",
    "--gpus",
    "--health-cmd",
    "--health-interval",
    "--health-retries",
    "--health-start-interval",
    "--health-start-period",
    "--health-timeout",
    "--io-maxbandwidth",
    "--io-maxiops",
    "--ip",
    "--ip6",
    "--ipc",
    "--isolation",
    "--kernel-memory",
    "--label-file",
    "--link",
    "--link-local-ip",
    "--log-driver",
    "--log-opt",
    "--mac-address",
    "--mount",
    "--network-alias",
    "--net-alias",
    "--no-healthcheck",
    "--pid",
    "--privileged",
    "--publish",
    "-p",
    "--publish-all",
    "-P",
    "--restart",
    "--runtime",
    "--sig-proxy",
    "--storage-opt",
    "--tmpfs",
    "--use-api-socket",
    "--userns",
    "--uts",
    "--volume",
    "-v",
    "--volume-driver",
    "--volumes-from",
];

/// What to say of a word that only docker knows.
pub(crate) fn explain(error: &clap::Error) -> Option<String> {
    let (context, known) = match error.kind() {
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, VERBS),
        ErrorKind::UnknownArgument => (ContextKind::InvalidArg, FLAGS),
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else { return None };
    let bare = word.split('=').next()?;
    known.contains(&bare).then(|| format!("coble: \"{bare}\" is docker's, and not supported yet"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    use crate::args::Cli;

    fn said(words: &[&str]) -> Option<String> {
        let error = Cli::try_parse_from(std::iter::once("coble").chain(words.iter().copied())).err()?;
        explain(&error)
    }

    #[test]
    fn what_only_docker_knows_is_named() {
        for words in [
            &["run", "--gpus", "all", "image"][..],
            &["run", "--gpus=all", "image"],
            &["swarm"],
            &["swarm", "init"],
        ] {
            let said = said(words).unwrap_or_default();
            assert!(said.contains("not supported yet"), "{words:?}: {said}");
        }
        for words in [&["run", "--gpu", "all", "image"][..], &["swarms"], &["run"]] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
