//! Seccomp profiles in docker's JSON format, which extends that of the runtime specification (config-linux, "Seccomp"). Pure: text in, rules out. A profile may come from
//! anywhere, so everything about it is bounded.

use serde::Deserialize;

use super::profile::{Action, Condition, Operator};
use super::{Host, compile, syscalls};
use crate::error::{Error, ErrorKind, Result};
use crate::isolation::capabilities;

/// The most bytes of a profile.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// The most conditions of one rule: the kernel has six arguments to look at, and a list that is longer says something twice.
const MAX_CONDITIONS: usize = 12;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    flags: Vec<String>,
    listener_path: Option<String>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: Filter,
    #[serde(default)]
    excludes: Filter,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// A rule of a profile, as it applies here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    pub(super) conditions: Vec<Condition>,
}

/// A profile, as it applies here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) default: Action,
    pub(super) rules: Vec<Rule>,
    /// Whether calls of the other ABIs of the machine are judged by the rules. Otherwise they are not made.
    pub(super) compat: bool,
    pub(super) x32: bool,
}

impl Read {
    /// Calls that a rule forbids, that would be allowed without it, and that are not known, so that the rule does nothing. In order, each once.
    pub(super) fn not_forbidden(&self) -> Vec<&str> {
        let lets_pass = |action| matches!(action, Action::Allow | Action::Return(libc::SECCOMP_RET_LOG));
        if !lets_pass(self.default) {
            return Vec::new();
        }
        let forbidding = self.rules.iter().filter(|rule| !lets_pass(rule.action));
        let names = forbidding.flat_map(|rule| &rule.names).map(String::as_str);
        let unknown: std::collections::BTreeSet<&str> =
            names.filter(|name| syscalls::row(name).is_none()).collect();
        unknown.into_iter().collect()
    }
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("security_opt: the seccomp profile {why}"))
        .with_object("security_opt")
}

/// Reads a profile, for a container with this bounding set on this machine.
pub(super) fn read(text: &str, host: Host, bounding: u64, kernel: (u32, u32)) -> Result<Read> {
    if text.len() > MAX_BYTES {
        return Err(invalid(format!("is longer than {MAX_BYTES} bytes")));
    }
    let profile: Profile =
        serde_json::from_str(text).map_err(|error| invalid(format!("cannot be read: {error}")))?;
    if profile.listener_path.is_some_and(|path| !path.is_empty()) {
        return Err(unsupported("a listener that decides about calls"));
    }
    for flag in &profile.flags {
        // They are about how a filter is installed, and none is needed for that.
        let known =
            ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
        if !known.contains(&flag.as_str()) {
            return Err(unsupported(&format!("the flag \"{}\"", flag.escape_default())));
        }
    }
    if !profile.architectures.is_empty() && !profile.arch_map.is_empty() {
        return Err(invalid("has both \"architectures\" and \"archMap\""));
    }
    let (native, compat, x32) = host.names();
    let mut named: Vec<&str> = profile.architectures.iter().map(String::as_str).collect();
    for map in &profile.arch_map {
        known_architecture(&map.architecture)?;
        if map.architecture == native {
            named.push(native);
            named.extend(map.sub_architectures.iter().flatten().map(String::as_str));
        }
    }
    named.iter().try_for_each(|name| known_architecture(name))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut rules = Vec::new();
    for entry in profile.syscalls {
        rules.extend(entry.rules(host, bounding, kernel)?);
    }
    Ok(Read {
        default,
        rules,
        compat: named.contains(&compat),
        x32: x32.is_some_and(|x32| named.contains(&x32)),
    })
}

impl Entry {
    /// The rules of an entry that applies; none if it does not.
    fn rules(self, host: Host, bounding: u64, kernel: (u32, u32)) -> Result<Vec<Rule>> {
        let action = action(&self.action, self.errno_ret)?;
        let mut names = self.names;
        match self.name {
            Some(_) if !names.is_empty() => {
                return Err(invalid("has an entry with both \"name\" and \"names\""));
            }
            Some(name) => names.push(name),
            None => {}
        }
        let mut conditions = Vec::new();
        for argument in self.args.into_iter().flatten() {
            conditions.push(argument.condition()?);
        }
        if conditions.len() > MAX_CONDITIONS {
            return Err(invalid("has an entry with too many conditions"));
        }
        // Both are read, also where one of them decides, so that a mistake is found on every machine.
        let included = self.includes.holds(host, bounding, kernel, true)?;
        let excluded = self.excludes.holds(host, bounding, kernel, false)?;
        if !included || excluded {
            return Ok(Vec::new());
        }
        // As docker's runtime has it: two conditions on one argument are alternatives, and then all are.
        let twice = conditions
            .iter()
            .enumerate()
            .any(|(at, condition)| conditions.iter().take(at).any(|before| before.arg == condition.arg));
        if twice {
            let one = |condition| Rule { names: names.clone(), action, conditions: vec![condition] };
            return Ok(conditions.into_iter().map(one).collect());
        }
        Ok(vec![Rule { names, action, conditions }])
    }
}

impl Argument {
    fn condition(self) -> Result<Condition> {
        if self.index > 5 {
            return Err(invalid(format!("has a condition on argument {}, and there are 0 to 5", self.index)));
        }
        let operator = match self.op.as_str() {
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::NotGreater,
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_GE" => Operator::NotLess,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_MASKED_EQ" => {
                return Ok(Condition {
                    arg: self.index,
                    operator: Operator::Equal,
                    mask: self.value,
                    value: self.value_two,
                });
            }
            other => {
                return Err(invalid(format!("has the unknown comparison \"{}\"", other.escape_default())));
            }
        };
        Ok(Condition { arg: self.index, operator, mask: u64::MAX, value: self.value })
    }
}

impl Filter {
    /// Whether a container like this on this machine is meant: for `includes` all that is said has to be true, for `excludes` any of it.
    fn holds(&self, host: Host, bounding: u64, kernel: (u32, u32), includes: bool) -> Result<bool> {
        let mut said = Vec::new();
        if let Some(arches) = self.arches.as_ref().filter(|arches| !arches.is_empty()) {
            said.push(arches.iter().any(|arch| arch == host.go_name()));
        }
        for name in self.caps.iter().flatten() {
            // One that is not known, because the profile is newer, nobody has.
            said.push(bounding & capabilities::mask(std::slice::from_ref(name)) != 0);
        }
        if let Some(text) = &self.min_kernel {
            let wrong = || invalid(format!("has the odd kernel version \"{}\"", text.escape_default()));
            let (major, minor) = text.split_once('.').ok_or_else(wrong)?;
            let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
            said.push(kernel >= (number(major)?, number(minor)?));
        }
        Ok(if includes { said.iter().all(|one| *one) } else { said.iter().any(|one| *one) })
    }
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("security_opt: the seccomp profile asks for {what}"))
        .with_object("security_opt")
}

fn action(name: &str, errno: Option<u16>) -> Result<Action> {
    let data = u32::from(errno.unwrap_or(libc::EPERM as u16));
    if matches!(name, "SCMP_ACT_ERRNO") && data > compile::MAX_ERRNO {
        return Err(invalid(format!("has the errno {data}, and the largest is {}", compile::MAX_ERRNO)));
    }
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(data as u16),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::Return(libc::SECCOMP_RET_KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Action::Return(libc::SECCOMP_RET_KILL_PROCESS),
        "SCMP_ACT_TRAP" => Action::Return(libc::SECCOMP_RET_TRAP),
        "SCMP_ACT_LOG" => Action::Return(libc::SECCOMP_RET_LOG),
        "SCMP_ACT_TRACE" => Action::Return(libc::SECCOMP_RET_TRACE | data),
        "SCMP_ACT_NOTIFY" => return Err(unsupported("a listener that decides about calls")),
        other => return Err(invalid(format!("has the unknown action \"{}\"", other.escape_default()))),
    })
}

/// The names of libseccomp.
fn known_architecture(name: &str) -> Result<()> {
    const KNOWN: &[&str] = &[
        "NATIVE",
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPS",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC",
        "PPC64",
        "PPC64LE",
        "S390",
        "S390X",
        "RISCV64",
        "LOONGARCH64",
        "PARISC",
        "PARISC64",
        "M68K",
        "SH",
        "SHEB",
    ];
    match name.strip_prefix("SCMP_ARCH_") {
        Some(short) if KNOWN.contains(&short) => Ok(()),
        _ => Err(invalid(format!("names the unknown architecture \"{}\"", name.escape_default()))),
    }
}

/// The largest number among the calls that rules name, on the machine's own ABI. A call that is newer than a profile is answered as by a kernel that does not have it.
pub(super) fn newest(rules: &[Rule], host: Host) -> Option<u32> {
    let abi = host.own_abi();
    let numbers: std::collections::BTreeMap<&str, u32> =
        abi.calls().map(|(_, name, number)| (name, number)).collect();
    rules.iter().flat_map(|rule| &rule.names).filter_map(|name| numbers.get(name.as_str()).copied()).max()
}
