//! What docker has and coble has not yet: said so, instead of a guess at what was meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Docker's verbs.
const VERBS: &str = "\
    build builder buildx checkpoint compose config context manifest network node plugin \
    port secret service stack swarm trust volume";

/// Docker's flags of `run`, `create` and `exec`, with both their forms.
const FLAGS: &str = "\
    --cpu-rt-period --cpu-rt-runtime --disable-content-trust --gpus --ip --ip6 --link --link-local-ip \
    --mac-address --network-alias --net-alias --publish -p --publish-all -P --runtime --storage-opt \
    --use-api-socket --volume-driver --volumes-from";

/// Those of its flags that will never be there, and why.
const NEVER: &[(&str, &str)] = &[
    ("--isolation", "is for containers of Windows"),
    ("--cpu-count", "is for containers of Windows; use --cpus"),
    ("--cpu-percent", "is for containers of Windows; use --cpus"),
    ("--io-maxbandwidth", "is for containers of Windows; use --device-read-bps and --device-write-bps"),
    ("--io-maxiops", "is for containers of Windows; use --device-read-iops and --device-write-iops"),
    ("--kernel-memory", "limits what the kernel has no limit for any more; use --memory"),
];

/// What to say of a word that only docker knows.
pub(crate) fn explain(error: &clap::Error) -> Option<String> {
    let (context, known) = match error.kind() {
        ErrorKind::InvalidSubcommand => (ContextKind::InvalidSubcommand, VERBS),
        ErrorKind::UnknownArgument if takes_flags(error) => (ContextKind::InvalidArg, FLAGS),
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else { return None };
    let bare = word.split('=').next()?;
    if context == ContextKind::InvalidArg
        && let Some((_, why)) = NEVER.iter().find(|(flag, _)| *flag == bare)
    {
        return Some(format!("coble: \"{bare}\" {why}"));
    }
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
            &["container", "create", "--volumes-from", "other", "image"],
            &["swarm"],
            &["swarm", "init"],
        ] {
            let said = said(words).unwrap_or_default();
            assert!(said.contains("not supported yet"), "{words:?}: {said}");
        }
        let said_of = |flag: &str| said(&["create", flag, "image"]).unwrap_or_default();
        assert!(said_of("--isolation=hyperv").contains("is for containers of Windows"));
        assert!(said_of("--kernel-memory=1").contains("use --memory"));
        for words in [&["run", "--gpu", "all", "image"][..], &["swarms"], &["run"], &["images", "--gpus"]] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
