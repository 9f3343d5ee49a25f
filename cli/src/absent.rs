//! What docker has and coble has not yet: said so, instead of a guess at what was meant.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Docker's verbs, and what to do instead, where there is something.
const VERBS: &[(&str, &str)] = &[
    ("build", BUILD),
    ("builder", BUILD),
    ("buildx", BUILD),
    ("checkpoint", ""),
    ("compose", "start the containers one by one with coble run -d, or from a program with the library"),
    ("config", ""),
    ("context", ""),
    ("manifest", "coble registry inspect shows what a registry has"),
    ("network", "use --network none, --network host or --network container:NAME of run and create"),
    ("node", ""),
    ("plugin", ""),
    ("port", PORTS),
    ("secret", "use --secret of run and create"),
    ("service", ""),
    ("stack", ""),
    ("swarm", ""),
    ("trust", ""),
];

const BUILD: &str = "build the image elsewhere, then use coble load or coble pull; or make one of programs of this host with coble image from-host";
const PORTS: &str = "use --network host, or a Unix socket in a directory that -v gives to the container, since ports are not mapped";
const NETWORKS: &str = "use --network none, --network host or --network container:NAME";

/// Docker's flags of `run`, `create` and `exec`, with both their forms, and what to do instead.
const FLAGS: &[(&str, &str)] = &[
    ("--cpu-rt-period", ""),
    ("--cpu-rt-runtime", ""),
    ("--disable-content-trust", ""),
    ("--gpus", "give the devices with --device, and the libraries with -v"),
    ("--ip", NETWORKS),
    ("--ip6", NETWORKS),
    ("--link", "use --network container:NAME"),
    ("--link-local-ip", NETWORKS),
    ("--mac-address", NETWORKS),
    ("--network-alias", NETWORKS),
    ("--net-alias", NETWORKS),
    ("--publish", PORTS),
    ("-p", PORTS),
    ("--publish-all", PORTS),
    ("-P", PORTS),
    ("--runtime", ""),
    ("--storage-opt", ""),
    ("--use-api-socket", ""),
    ("--volume-driver", "local is the only driver, and needs no word"),
];

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
        ErrorKind::InvalidValue => return is_template(error).then(|| TEMPLATES.to_owned()),
        _ => return None,
    };
    let Some(ContextValue::String(word)) = error.get(context) else { return None };
    let bare = word.split('=').next()?;
    if context == ContextKind::InvalidArg
        && let Some((_, why)) = NEVER.iter().find(|(flag, _)| *flag == bare)
    {
        return Some(format!("coble: \"{bare}\" {why}"));
    }
    let (_, instead) = known.iter().find(|(known, _)| *known == bare)?;
    let hint = if instead.is_empty() { String::new() } else { format!("\nhint: {instead}") };
    Some(format!("coble: \"{bare}\" is docker's, and not supported yet{hint}"))
}

const TEMPLATES: &str = "coble: there are no templates: use --format json | jq";

/// Whether a format is one of Go's templates.
fn is_template(error: &clap::Error) -> bool {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    text(ContextKind::InvalidArg).contains("--format") && text(ContextKind::InvalidValue).contains("{{")
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
            &["exec", "--gpus", "all", "container", "true"],
            &["container", "create", "--volume-driver", "nfs", "image"],
            &["swarm"],
            &["swarm", "init"],
        ] {
            let said = said(words).unwrap_or_default();
            assert!(said.contains("not supported yet"), "{words:?}: {said}");
        }
        for (words, hint) in [
            (&["run", "-p", "80:80", "image"][..], "--network host"),
            (&["run", "-dp80:80", "image"], "--network host"),
            (&["create", "--publish=80:80", "image"], "--network host"),
            (&["build", "."], "coble load"),
            (&["image", "build", "."], "coble load"),
            (&["network", "ls"], "--network container:NAME"),
            (&["compose", "up"], "coble run -d"),
        ] {
            let said = said(words).unwrap_or_default();
            assert!(said.contains("\nhint: ") && said.contains(hint), "{words:?}: {said}");
        }
        for words in [
            &["inspect", "-f", "{{.State.Pid}}", "container"][..],
            &["container", "inspect", "--format={{.State.Pid}}", "container"],
            &["ps", "--format", "table {{.Names}}"],
            &["images", "--format", "{{.ID}}"],
        ] {
            assert_eq!(said(words).as_deref(), Some(TEMPLATES), "{words:?}");
        }
        assert_eq!(said(&["ps", "--format", "yaml"]), None);
        let said_of = |flag: &str| said(&["create", flag, "image"]).unwrap_or_default();
        assert!(said_of("--isolation=hyperv").contains("is for containers of Windows"));
        assert!(said_of("--kernel-memory=1").contains("use --memory"));
        for words in [&["run", "--gpu", "all", "image"][..], &["swarms"], &["run"], &["images", "--gpus"]] {
            assert_eq!(said(words), None, "{words:?}");
        }
    }
}
