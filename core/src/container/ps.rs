//! Which columns a table of processes has: what the usual options of `ps` ask for. They are read here, and no `ps` is run, so what is not known is refused by its name.

use crate::error::{Error, ErrorKind, Result};

/// What is shown of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Args,
    Comm,
    Cpu,
    CpuPercent,
    Elapsed,
    ElapsedSeconds,
    Gid,
    Group,
    MemoryPercent,
    Nice,
    Parent,
    Pid,
    Priority,
    ProcessGroup,
    Processor,
    RealGid,
    RealUid,
    RealUser,
    Resident,
    Session,
    Start,
    StartLong,
    Stat,
    State,
    Terminal,
    Threads,
    Time,
    Uid,
    User,
    VirtualSize,
}

/// The names that `ps` has for them, with its titles.
const FIELDS: &[(&str, Field, &str)] = &[
    ("%cpu", Field::CpuPercent, "%CPU"),
    ("%mem", Field::MemoryPercent, "%MEM"),
    ("args", Field::Args, "COMMAND"),
    ("c", Field::Cpu, "C"),
    ("cmd", Field::Args, "CMD"),
    ("comm", Field::Comm, "COMMAND"),
    ("command", Field::Args, "COMMAND"),
    ("cputime", Field::Time, "TIME"),
    ("egid", Field::Gid, "EGID"),
    ("egroup", Field::Group, "EGROUP"),
    ("etime", Field::Elapsed, "ELAPSED"),
    ("etimes", Field::ElapsedSeconds, "ELAPSED"),
    ("euid", Field::Uid, "EUID"),
    ("euser", Field::User, "EUSER"),
    ("gid", Field::Gid, "GID"),
    ("group", Field::Group, "GROUP"),
    ("lstart", Field::StartLong, "STARTED"),
    ("ni", Field::Nice, "NI"),
    ("nice", Field::Nice, "NI"),
    ("nlwp", Field::Threads, "NLWP"),
    ("pcpu", Field::CpuPercent, "%CPU"),
    ("pgid", Field::ProcessGroup, "PGID"),
    ("pgrp", Field::ProcessGroup, "PGRP"),
    ("pid", Field::Pid, "PID"),
    ("pmem", Field::MemoryPercent, "%MEM"),
    ("ppid", Field::Parent, "PPID"),
    ("pri", Field::Priority, "PRI"),
    ("psr", Field::Processor, "PSR"),
    ("rgid", Field::RealGid, "RGID"),
    ("rss", Field::Resident, "RSS"),
    ("rssize", Field::Resident, "RSS"),
    ("ruid", Field::RealUid, "RUID"),
    ("ruser", Field::RealUser, "RUSER"),
    ("s", Field::State, "S"),
    ("sess", Field::Session, "SESS"),
    ("sid", Field::Session, "SID"),
    ("start", Field::Start, "STARTED"),
    ("start_time", Field::Start, "START"),
    ("stat", Field::Stat, "STAT"),
    ("state", Field::State, "S"),
    ("stime", Field::Start, "STIME"),
    ("thcount", Field::Threads, "THCNT"),
    ("time", Field::Time, "TIME"),
    ("tname", Field::Terminal, "TTY"),
    ("tt", Field::Terminal, "TT"),
    ("tty", Field::Terminal, "TT"),
    ("ucmd", Field::Comm, "CMD"),
    ("ucomm", Field::Comm, "COMMAND"),
    ("uid", Field::Uid, "UID"),
    ("uname", Field::User, "USER"),
    ("user", Field::User, "USER"),
    ("vsize", Field::VirtualSize, "VSZ"),
    ("vsz", Field::VirtualSize, "VSZ"),
];

/// A field with its title.
pub(super) type Column = (Field, String);

/// Those of `ps -ef`.
const FULL: &[(Field, &str)] = &[
    (Field::User, "UID"),
    (Field::Pid, "PID"),
    (Field::Parent, "PPID"),
    (Field::Cpu, "C"),
    (Field::Start, "STIME"),
    (Field::Terminal, "TTY"),
    (Field::Time, "TIME"),
    (Field::Args, "CMD"),
];

/// Those of `ps aux`.
const USERS: &[(Field, &str)] = &[
    (Field::User, "USER"),
    (Field::Pid, "PID"),
    (Field::CpuPercent, "%CPU"),
    (Field::MemoryPercent, "%MEM"),
    (Field::VirtualSize, "VSZ"),
    (Field::Resident, "RSS"),
    (Field::Terminal, "TTY"),
    (Field::Stat, "STAT"),
    (Field::Start, "START"),
    (Field::Time, "TIME"),
    (Field::Args, "COMMAND"),
];

fn titled(columns: &[(Field, &str)]) -> Vec<Column> {
    columns.iter().map(|(field, title)| (*field, (*title).to_owned())).collect()
}

/// The columns that options ask for; none are those of `ps -ef`.
pub(super) fn columns<S: AsRef<str>>(options: &[S]) -> Result<Vec<Column>> {
    let mut words = options.iter().flat_map(|option| option.as_ref().split_ascii_whitespace()).peekable();
    let mut chosen = Vec::new();
    let mut all = None;
    while let Some(word) = words.next() {
        let refuse = || {
            let shown: String = word.chars().take(100).collect();
            Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" is no option of ps that is known here", shown.escape_debug()),
            )
            .with_object("ps_args")
            .with_hint("use -ef, aux, or -o with columns such as pid,ppid,user,stat,etime,rss,comm,args")
        };
        if word == "aux" || word == "-aux" {
            all = Some(USERS);
            continue;
        }
        let list = match word.strip_prefix("--") {
            Some(long) => Some(long.strip_prefix("format").ok_or_else(refuse)?).map(|rest| {
                match rest.strip_prefix('=') {
                    Some(list) => Ok(list),
                    None if rest.is_empty() => Ok(""),
                    None => Err(refuse()),
                }
            }),
            None => {
                let flags = word.strip_prefix('-').unwrap_or(word);
                let dashed = word.starts_with('-');
                // Every process of the container is shown anyway.
                let (before, list) = match flags.split_once('o') {
                    Some((before, list)) => (before, Some(list)),
                    None => (flags, None),
                };
                let known = |flag: char| matches!(flag, 'e' | 'f' | 'A' | 'a' | 'x' | 'w' | 'd');
                if !before.chars().all(known) || (before.is_empty() && list.is_none()) {
                    return Err(refuse());
                }
                if dashed && before.contains('f') {
                    all = Some(FULL);
                }
                list.map(Ok)
            }
        };
        let Some(list) = list.transpose()? else { continue };
        let list = if list.is_empty() { words.next().ok_or_else(refuse)? } else { list };
        read(list, &mut chosen)?;
    }
    Ok(if chosen.is_empty() { titled(all.unwrap_or(FULL)) } else { chosen })
}

/// Reads a list of columns. A title goes on to the end of the word, as `ps` has it.
fn read(mut list: &str, columns: &mut Vec<Column>) -> Result<()> {
    loop {
        let end = list.find([',', '=']).unwrap_or(list.len());
        let (name, rest) = list.split_at(end);
        let lower = name.to_ascii_lowercase();
        let Some((_, field, title)) = FIELDS.iter().find(|(known, ..)| *known == lower) else {
            let shown: String = name.chars().take(100).collect();
            let known: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("\"{}\" is no column of ps that is known here", shown.escape_debug()),
            )
            .with_object("ps_args")
            .with_hint(format!("use {}", known.join(", "))));
        };
        match rest.split_at_checked(1) {
            Some(("=", title)) => {
                columns.push((*field, title.to_owned()));
                return Ok(());
            }
            Some((_, rest)) => {
                columns.push((*field, (*title).to_owned()));
                list = rest;
            }
            None => {
                columns.push((*field, (*title).to_owned()));
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(options: &[&str]) -> String {
        columns(options).unwrap().into_iter().map(|(_, title)| title).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_ps_says_is_understood() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for options in [&[][..], &["-ef"], &["-e", "-f"], &["ax"], &["-A"], &[""]] {
            assert_eq!(titles(options), full, "{options:?}");
        }
        assert!(titles(&["aux"]).starts_with("USER PID %CPU %MEM VSZ RSS TTY STAT START"));
        for options in [
            &["-o", "pid,comm"][..],
            &["-eo", "pid,comm"],
            &["-opid,comm"],
            &["-eopid,comm"],
            &["-o", "pid", "-o", "comm"],
            &["--format", "pid,comm"],
            &["--format=pid,comm"],
            &["o", "pid,comm"],
            &["-eo pid,comm"],
            &["aux", "-o", "pid", "-ocomm"],
            &["-efo", "PID,Comm"],
        ] {
            assert_eq!(titles(options), "PID COMMAND", "{options:?}");
        }
        assert_eq!(titles(&["-o", "pid=The,Pid", "-o", "args="]), "The,Pid ");
    }

    #[test]
    fn what_is_not_known_is_named() {
        for (options, named) in [
            (&["-o"][..], "-o"),
            (&["-o", "pid,nope"], "nope"),
            (&["-o", "pid,"], "\"\""),
            (&["--forest"], "--forest"),
            (&["--formats"], "--formats"),
            (&["-p", "1"], "-p"),
            (&["-"], "-"),
            (&["1"], "1"),
        ] {
            let error = columns(options).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::InvalidArgument, Some("ps_args")));
            assert!(error.message().contains(named), "{error}");
        }
    }
}
