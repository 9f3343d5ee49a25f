//! What docker has and coble has not yet: said so, instead of a guess at what was meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Docker's verbs.
const VERBS: &str = "\
    attach build builder buildx checkpoint compose config context cp events manifest network node pause \
    plugin port rename restart secret service stack stats swarm top trust unpause update volume";

/// Docker's flags of `run`, `create` and `exec`, with both their forms.
const FLAGS: &str = "\
    --annotation --attach -a --blkio-weight --blkio-weight-device --cgroup-parent --cgroupns --cidfile \
    --cpu-count --cpu-percent --cpu-period --cpu-quota --cpu-rt-period --cpu-rt-runtime --cpu-shares -c \
    --cpuset-cpus --cpuset-mems --detach-keys --device --device-cgroup-rule --device-read-bps \
    --device-read-iops --device-write-bps --device-write-iops --disable-content-trust --dns-option \
    --dns-search --domainname --expose --gpus --health-cmd --health-interval --health-retries \
    --health-start-interval --health-start-period --health-timeout --io-maxbandwidth --io-maxiops --ip \
    --ip6 --ipc --isolation --kernel-memory --label-file --link --link-local-ip --log-driver --log-opt \
    --mac-address --memory-reservation --memory-swap --memory-swappiness --mount --network-alias \
    --net-alias --no-healthcheck --oom-kill-disable --oom-score-adj --pid --privileged --publish -p \
    --publish-all -P --restart --runtime --sig-proxy --storage-opt --sysctl --tmpfs --ulimit \
    --use-api-socket --userns --uts --volume -v --volume-driver --volumes-from";

/// What to say of a word that only docker knows.
pub(crate) fn explain(error: &clap::Error) -> Option<String> {
    let (context, known) = match error.kind() {
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, VERBS),
        ErrorKind::UnknownArgument if takes_flags(error) => (ContextKind::InvalidArg, FLAGS),
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else { return None };
    let bare = word.split('=').next()?;
    let known = known.split_ascii_whitespace().any(|known| known == bare);
    known.then(|| format!("coble: \"{bare}\" is docker's, and not supported yet"))
}

/// Whether the error is of a verb that the flags are for.
fn takes_flags(error: &clap::Error) -> bool {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return false };
    let usage = usage.to_string();
    usage.split_ascii_whitespace().any(|word| matches!(word, "run" | "create" | "exec"))
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
            &["container", "create", "-v", "/a:/b", "image"],
            &["swarm"],
            &["swarm", "init"],
        ] {
            let said = said(words).unwrap_or_default();
            assert!(said.contains("not supported yet"), "{words:?}: {said}");
        }
        for words in [&["run", "--gpu", "all", "image"][..], &["swarms"], &["run"], &["images", "--gpus"]] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
