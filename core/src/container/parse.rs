//! The words in which people write option values (`64m`, `NAME=value`, a command as one string), read the same way for every surface.
//! Not for checking what a container may be given: that is [`ContainerSpec`](super::ContainerSpec)'s.

use super::mount::{BindRecursive, Mount, MountKind, Propagation, octal};
use crate::error::{Error, ErrorKind, Result};

fn invalid(what: &str, text: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{what} \"{}\": {why}", text.escape_default()))
        .with_object(text)
}

/// A size in bytes: a number with an optional fraction and an optional unit of `b`, `k`, `m`, `g`, `t` or `p`, each of which may be
/// followed by `b` or `ib`. Units are powers of 1024, upper or lower case, as docker has them.
pub fn size(text: &str) -> Result<u64> {
    let invalid = |why| invalid("size", text, why);
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start_matches(' ').to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(invalid("not a number with a unit of b, k, m, g, t or p")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || number.ends_with('.') {
        return Err(invalid("not a number with a unit of b, k, m, g, t or p"));
    }
    if fraction.len() > 15 {
        return Err(invalid("too many digits after the point"));
    }
    let whole: u128 = whole.parse().map_err(|_| invalid("too large"))?;
    let mut bytes = whole.checked_mul(1 << shift).ok_or_else(|| invalid("too large"))?;
    if !fraction.is_empty() {
        let numerator: u128 = fraction.parse().map_err(|_| invalid("not a number"))?;
        let denominator = 10u128.pow(fraction.len() as u32);
        bytes = bytes.saturating_add((numerator << shift) / denominator);
    }
    u64::try_from(bytes).ok().filter(|bytes| *bytes <= i64::MAX as u64).ok_or_else(|| invalid("too large"))
}

/// A number of CPUs in billionths, as [`ContainerSpec::nano_cpus`](super::ContainerSpec::nano_cpus) has it. 0 is no limit, as docker has it.
pub fn cpus(value: f64) -> Result<u64> {
    let nano = (value * 1e9).round();
    if value == 0.0 {
        return Ok(0);
    }
    if value.is_finite() && nano >= 1.0 && nano <= i64::MAX as f64 {
        Ok(nano as u64)
    } else {
        Err(invalid("cpus", &value.to_string(), "not a positive number of cpus"))
    }
}

/// A limit of memory and swap together: a [`size`], or -1 for swap without limit.
pub fn swap(text: &str) -> Result<i64> {
    if text.trim() == "-1" {
        return Ok(-1);
    }
    size(text).map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// A duration in nanoseconds, as docker has it for health checks: numbers with a unit of `ns`, `us`, `ms`, `s`, `m` or `h`, such as `1m30s`.
pub fn duration(text: &str) -> Result<u64> {
    crate::image::changes::nanoseconds(text)
        .map_err(|_| invalid("duration", text, "not of a form such as 1m30s"))
}

/// A limit on processes and threads, as [`ContainerSpec::pids_limit`](super::ContainerSpec::pids_limit) has it: 0 and -1 are no limit, as docker has it.
pub fn processes(value: i64) -> Result<u64> {
    match value {
        -1 => Ok(0),
        value => u64::try_from(value).map_err(|_| invalid("pids limit", &value.to_string(), "less than -1")),
    }
}

/// A number of which -1 stands for none, as docker has it for the CPU quota and for swappiness: that is [`u64::MAX`].
pub fn or_none(value: i64) -> Result<u64> {
    match value {
        -1 => Ok(u64::MAX),
        value => u64::try_from(value).map_err(|_| invalid("number", &value.to_string(), "less than -1")),
    }
}

/// `path:rate` of a block device; the rate is a [`size`].
pub fn device_rate(text: &str) -> Result<(String, u64)> {
    match text.rsplit_once(':') {
        Some((path, rate)) if !path.is_empty() => Ok((path.to_owned(), size(rate)?)),
        _ => Err(invalid("device rate", text, "not of the form path:rate")),
    }
}

/// `path:weight` of a block device.
pub fn device_weight(text: &str) -> Result<(String, u64)> {
    let wrong = || invalid("device weight", text, "not of the form path:weight");
    match text.rsplit_once(':') {
        Some((path, weight)) if !path.is_empty() => {
            Ok((path.to_owned(), weight.parse().map_err(|_| wrong())?))
        }
        _ => Err(wrong()),
    }
}

/// `NAME=value`, or `NAME` alone, whose meaning the caller knows.
pub fn assignment(text: &str) -> Result<(String, Option<String>)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(invalid("assignment", text, "the name is empty"));
    }
    Ok((name.to_owned(), value))
}

/// `name:address`, a line of `/etc/hosts` as `--add-host` has it. An IPv6 address may stand in brackets.
pub fn host(text: &str) -> Result<(String, String)> {
    match text.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => {
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            Ok((name.to_owned(), bare.to_owned()))
        }
        _ => Err(invalid("host", text, "not of the form name:address")),
    }
}

/// A bind mount: a path of the host, a place in the container, and a comma-separated list of `ro` or `rw`, a [`Propagation`], `z` or `Z`, `O`, `U`, `idmap`, `noexec`, `nosuid`, `nodev`.
/// A missing source is made, as a directory.
pub fn bind(source: &str, target: &str, options: &str) -> Result<Mount> {
    let mut mount = Mount::bind(source, target);
    mount.create_source = true;
    mount.bind_words(options)?;
    Ok(mount)
}

/// `source:target` or `source:target:options`, as docker's `--volume` has it: see [`bind`]. A source that begins with `.` is relative to the working directory of this
/// process; one that begins neither with that nor with `/` is the name of a volume, which is made when it is missing, and whose options are `ro` or `rw`, `nocopy`, `z` or `Z`, `noexec`, `nosuid` and
/// `nodev`. A `target` alone is a volume that is made for the container.
pub fn volume(text: &str) -> Result<Mount> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts[..] {
        [target] => return Ok(Mount::new(MountKind::Volume, None, target)),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(invalid("volume", text, "not of the form source:target or source:target:options")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(invalid("volume", text, "not of the form source:target or source:target:options"));
    }
    if !target.starts_with('/') {
        return Err(invalid("volume", text, "the target is not an absolute path in the container"));
    }
    if source.starts_with(['.', '/']) {
        return bind(&absolute(source)?, target, options);
    }
    let mut named = Mount::new(MountKind::Volume, Some(source.to_owned()), target);
    named.bind_words(options)?;
    Ok(named)
}

/// `target` or `target:options`, as docker's `--tmpfs` has it: see [`tmpfs_options`].
pub fn tmpfs(text: &str) -> Result<Mount> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    tmpfs_options(target, options)
}

/// A tmpfs and a comma-separated list of `size=BYTES` or `size=SHARE%`, `mode=OCTAL`, `uid`, `gid`, `nr_inodes`, `nr_blocks`, `ro`, `exec`, `suid`, `dev` and their opposites. Without any
/// it is `noexec,nosuid,nodev`.
pub fn tmpfs_options(target: &str, options: &str) -> Result<Mount> {
    let mut mount = Mount::tmpfs(target);
    mount.tmpfs_words(options)?;
    Ok(mount)
}

/// A comma-separated list of `key=value`, as docker's `--mount` has it: `type` (`volume`, which it is if nobody says otherwise, `bind` or `tmpfs`), `source` or `src`, `target`, `dst` or `destination`, `readonly` or `ro`,
/// `bind-propagation`, `bind-recursive`, `bind-create-src`, `idmap`, `chown` or `U`, `tmpfs-size`, `tmpfs-mode`, `volume-nocopy`, `volume-subpath`, `volume-label`, `volume-driver` (`local`), `consistency`. A field may stand in double quotes.
pub fn mount(text: &str) -> Result<Mount> {
    let invalid = |why: &str| invalid("mount", text, why);
    let mut mount = Mount::new(MountKind::Volume, None, "");
    let (mut of_bind, mut of_tmpfs, mut of_volume) = (false, false, false);
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_ascii_lowercase();
        let needed = || value.ok_or_else(|| invalid(&format!("\"{}\" has no value", key.escape_default())));
        let truth = || match value.map(str::to_ascii_lowercase).as_deref() {
            None | Some("true" | "1" | "t") => Ok(true),
            Some("false" | "0" | "f") => Ok(false),
            Some(_) => Err(invalid(&format!("\"{}\" is neither true nor false", key.escape_default()))),
        };
        of_bind |= key.starts_with("bind-");
        of_tmpfs |= key.starts_with("tmpfs-");
        of_volume |= key.starts_with("volume-");
        match key.as_str() {
            "type" => mount.kind = MountKind::parse(needed()?)?,
            "source" | "src" => mount.source = Some(needed()?.to_owned()),
            "target" | "dst" | "destination" => needed()?.clone_into(&mut mount.target),
            "readonly" | "ro" => mount.read_only = truth()?,
            "bind-propagation" => mount.propagation = Propagation::parse(needed()?)?,
            "bind-recursive" => mount.recursive = BindRecursive::parse(needed()?)?,
            "bind-nonrecursive" if truth()? => mount.recursive = BindRecursive::Disabled,
            "bind-nonrecursive" => {}
            "bind-create-src" => mount.create_source = truth()?,
            "idmap" if truth()? => {
                of_bind = true;
                mount.options.push(key);
            }
            "idmap" => {}
            // Podman's words for the same.
            "chown" | "u" if truth()? => {
                of_bind = true;
                mount.options.push("U".to_owned());
            }
            "chown" | "u" => {}
            "tmpfs-size" => mount.tmpfs_size = Some(size(needed()?)?),
            "tmpfs-mode" => mount.tmpfs_mode = Some(octal(needed()?)?),
            "consistency" => match needed()? {
                "default" | "consistent" | "cached" | "delegated" => {}
                _ => return Err(invalid("unknown consistency")),
            },
            "volume-nocopy" => mount.no_copy = truth()?,
            "volume-subpath" => mount.subpath = Some(needed()?.to_owned()),
            "volume-label" => {
                let (name, value) = assignment(needed()?)?;
                mount.volume_labels.insert(name, value.unwrap_or_default());
            }
            "volume-driver" => crate::volume::check_driver(needed()?)?,
            "volume-opt" => return Err(crate::volume::no_options(needed()?)),
            key => return Err(invalid(&format!("\"{}\" is not known", key.escape_default()))),
        }
    }
    for (given, kind, prefix) in [
        (of_bind, MountKind::Bind, "bind-"),
        (of_tmpfs, MountKind::Tmpfs, "tmpfs-"),
        (of_volume, MountKind::Volume, "volume-"),
    ] {
        if given && mount.kind != kind {
            return Err(invalid(&format!(
                "{prefix}... is not for a mount of the type {}",
                mount.kind.name()
            )));
        }
    }
    if mount.target.is_empty() {
        return Err(invalid("it has no target"));
    }
    if mount.kind == MountKind::Bind {
        let source = mount.source.as_deref().filter(|source| !source.is_empty());
        mount.source = Some(absolute(source.ok_or_else(|| invalid("it has no source"))?)?);
    }
    Ok(mount)
}

/// A path that begins with `.` becomes one of this process's working directory.
fn absolute(path: &str) -> Result<String> {
    if path != "." && path != ".." && !path.starts_with("./") && !path.starts_with("../") {
        return Ok(path.to_owned());
    }
    let here = std::env::current_dir().map_err(|error| Error::io("getcwd", ".", &error))?;
    let joined = here.join(path);
    let text = joined.to_str().ok_or_else(|| invalid("path", path, "the working directory is not UTF-8"))?;
    Ok(super::mount::clean(text))
}

/// The fields of one line of comma-separated values. A field in double quotes may have commas in it, and quotes that are doubled.
pub(super) fn fields(text: &str) -> Result<Vec<String>> {
    let wrong = || invalid("mount", text, "a quote is not closed, or in the middle of a field");
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let field;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut value = String::new();
            let mut left = quoted;
            loop {
                let (before, after) = left.split_once('"').ok_or_else(wrong)?;
                value.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        value.push('"');
                        left = more;
                    }
                    None => {
                        left = after;
                        break;
                    }
                }
            }
            field = value;
            rest = left;
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            let (value, left) = rest.split_at(end);
            if value.contains('"') {
                return Err(wrong());
            }
            field = value.to_owned();
            rest = left;
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(fields),
            None => return Err(wrong()),
        }
    }
}

/// The lines of an environment file: `NAME=value` or `NAME`; empty lines and lines that begin with `#` say nothing.
pub fn environment_file(text: &str) -> Result<Vec<(String, Option<String>)>> {
    let mut out = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = assignment(line)?;
        if name.contains(char::is_whitespace) {
            return Err(invalid("environment file line", line, "the name has white space in it"));
        }
        out.push((name, value));
    }
    Ok(out)
}

/// Splits a command into words as a POSIX shell would, with quotes and backslashes, and without any expansion.
pub fn words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(invalid("command", text, "a quote is not closed")),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some('\n') => {}
                            Some(c) => word.extend(['\\', c]),
                            None => return Err(invalid("command", text, "a quote is not closed")),
                        },
                        Some(c) => word.push(c),
                        None => return Err(invalid("command", text, "a quote is not closed")),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(invalid("command", text, "it ends with a backslash")),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_reads_them() {
        let table = [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("4k", 4096),
            ("4K", 4096),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("1GiB", 1 << 30),
            ("1.5g", 3 << 29),
            ("0.5k", 512),
            ("2 m", 2 << 20),
            ("1t", 1 << 40),
            ("1p", 1 << 50),
        ];
        for (text, bytes) in table {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
        }
        for text in [
            "",
            "m",
            "-1",
            "+1",
            "1.",
            ".5",
            "1.2.3",
            "1x",
            "1mm",
            "1ki",
            "9999999999p",
            "1e3",
            "0x10",
            "1 1",
            "1.0000000000000001g",
        ] {
            assert_eq!(size(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn cpus_are_positive_and_finite() {
        assert_eq!(cpus(0.0).unwrap(), 0);
        assert_eq!(cpus(1.5).unwrap(), 1_500_000_000);
        assert_eq!(cpus(0.1 + 0.2).unwrap(), 300_000_000);
        for value in [-1.0, 1e-12, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(cpus(value).unwrap_err().kind(), ErrorKind::InvalidArgument, "{value}");
        }
    }

    #[test]
    fn none_is_minus_one() {
        assert_eq!([-1, 0, 7].map(|value| or_none(value).unwrap()), [u64::MAX, 0, 7]);
        assert_eq!(or_none(-2).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn no_limit_on_processes_has_two_words() {
        assert_eq!([-1, 0, 7].map(|value| processes(value).unwrap()), [0, 0, 7]);
        assert_eq!(processes(-2).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn assignments_hosts_and_files() {
        assert_eq!(assignment("A=b=c").unwrap(), ("A".into(), Some("b=c".into())));
        assert_eq!(assignment("A").unwrap(), ("A".into(), None));
        assert!(assignment("=x").is_err() && assignment("").is_err());
        assert_eq!(host("db:10.0.0.1").unwrap(), ("db".into(), "10.0.0.1".into()));
        assert_eq!(host("db:::1").unwrap(), ("db".into(), "::1".into()));
        assert_eq!(host("db=[::1]").unwrap(), ("db".into(), "::1".into()));
        assert!(host("db").is_err() && host(":1").is_err() && host("db:").is_err());
        let file = environment_file("# note\n\n A=1\nB\nC=x # y\n").unwrap();
        assert_eq!(
            file,
            [("A".into(), Some("1".into())), ("B".into(), None), ("C".into(), Some("x # y".into()))]
        );
        assert!(environment_file("A B=1").is_err());
    }

    #[test]
    fn words_as_a_shell_splits_them() {
        let table: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  echo   hi ", &["echo", "hi"]),
            ("sh -c 'echo \"$A\"; exit 3'", &["sh", "-c", "echo \"$A\"; exit 3"]),
            ("a\"b c\"d '' \"\"", &["ab cd", "", ""]),
            ("a\\ b \"\\\"\\$\\n\"", &["a b", "\"$\\n"]),
        ];
        for (text, expected) in table {
            assert_eq!(&words(text).unwrap(), expected, "{text}");
        }
        for text in ["'", "\"", "\"\\", "a\\"] {
            assert_eq!(words(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
    }
}
