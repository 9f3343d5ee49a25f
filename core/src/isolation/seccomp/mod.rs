//! System call filters: the default profile, compiled to the program that the shim installs.
//!
//! Pure computation. Tables in `syscalls`, policy in `profile`, code generation in `compile`.

mod compile;
mod json;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::container::Warning;
use crate::error::{Error, ErrorKind, Result};
use compile::Architecture;
use profile::{Action, Rule, When};
use syscalls::Abi;

const EPERM: Action = Action::Errno(libc::EPERM as u16);
const ENOSYS: Action = Action::Errno(libc::ENOSYS as u16);

/// What the default profile depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Options {
    /// The container's bounding set.
    pub(crate) capabilities: u64,
    /// Whether `socketcall` may make sockets. For images of 32-bit x86 (`386`), whose C library may have no other way; it
    /// leaves `AF_ALG` and `AF_VSOCK` reachable for 32-bit programs.
    pub(crate) socketcall: bool,
}

/// The default filter for a container with this bounding set, as an array of `struct sock_filter` in native byte order.
pub(crate) fn default_filter(capabilities: u64) -> Result<Vec<u8>> {
    filter(Options { capabilities, socketcall: false })
}

/// As [`default_filter`], with every option. Fails with `Unsupported` on an architecture that has no tables.
pub(crate) fn filter(options: Options) -> Result<Vec<u8>> {
    /// Filters by options. Few combinations are ever used; a caller that goes through many recomputes them.
    static KNOWN: Mutex<BTreeMap<Options, Vec<u8>>> = Mutex::new(BTreeMap::new());
    const MOST: usize = 32;

    if let Some(program) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&options) {
        return Ok(program.clone());
    }
    let Some(host) = Host::current() else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("no seccomp profile for the architecture \"{}\"", std::env::consts::ARCH),
        )
        .with_hint("run the container with the security option seccomp=unconfined"));
    };
    let code = host.compile(options);
    if code.len() > compile::MAX_INSTRUCTIONS {
        return Err(Error::new(ErrorKind::Internal, "seccomp program too long"));
    }
    let program = compile::encode(&code);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(options, program.clone());
    Ok(program)
}

/// The most bytes of a profile.
pub(crate) const MAX_PROFILE: usize = json::MAX_BYTES;

/// Checks a profile in docker's JSON format, as far as can be told without the container.
pub(crate) fn check_profile(text: &str) -> Result<()> {
    profile_filter(text, 0).map(drop)
}

/// The filter of a profile in docker's JSON format for a container with this bounding set, as [`default_filter`] gives its own.
pub(crate) fn profile_filter(text: &str, capabilities: u64) -> Result<Vec<u8>> {
    let Some(host) = Host::current() else {
        let why = format!("no seccomp tables for the architecture \"{}\"", std::env::consts::ARCH);
        return Err(Error::new(ErrorKind::Unsupported, why));
    };
    host.profile(text, capabilities, kernel()).map(|code| compile::encode(&code))
}

/// Warns of calls that a profile forbids and that have no number here: nobody is kept from making them. A profile that allows what it does not know is the only one that can mean such calls; what
/// another one allows and is not known stays forbidden.
pub(crate) fn warn_of_unknown(text: &str, capabilities: u64, warnings: &mut Vec<Warning>) -> Result<()> {
    /// As many names as a message has room for.
    const SHOWN: usize = 8;

    let Some(host) = Host::current() else { return Ok(()) };
    let profile = json::read(text, host, capabilities, kernel())?;
    let names = profile.not_forbidden();
    if names.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        names.iter().take(SHOWN).map(|name| format!("\"{}\"", crate::text::visible(name))).collect();
    let more = match names.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    warnings.push(Warning {
        code: "seccomp-unknown-calls".into(),
        message: format!(
            "the seccomp profile forbids calls that are not known here, so they are not forbidden: {}{more}",
            shown.join(", ")
        ),
    });
    Ok(())
}

/// Version and patch level of the running kernel.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What the fuzz target does: reads a profile, and compiles it. Whether it is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz_profile(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let hosts = [Host::X86_64, Host::Aarch64];
    hosts.into_iter().all(|host| {
        let made = host.profile(text, 1 << 21, (6, 1));
        assert!(made.as_ref().is_ok_and(|code| code.len() <= compile::MAX_INSTRUCTIONS) || made.is_err());
        made.is_ok()
    })
}

/// The machine a filter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    X86_64,
    Aarch64,
}

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

impl Host {
    fn current() -> Option<Host> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Host::X86_64),
            "aarch64" => Some(Host::Aarch64),
            _ => None,
        }
    }

    /// The host's own architecture and those its kernel also runs programs of.
    fn architectures(self) -> &'static [Architecture] {
        match self {
            Host::X86_64 => &[
                Architecture { audit: AUDIT_ARCH_X86_64, abis: &[Abi::X86_64, Abi::X32], closed: &[] },
                Architecture { audit: AUDIT_ARCH_I386, abis: &[Abi::I386], closed: &[] },
            ],
            Host::Aarch64 => &[
                Architecture { audit: AUDIT_ARCH_AARCH64, abis: &[Abi::Aarch64], closed: &[] },
                Architecture { audit: AUDIT_ARCH_ARM, abis: &[Abi::Arm], closed: &[] },
            ],
        }
    }

    /// Those that a profile names: calls of the others are not made. A number with the bit of x32 reaches the same kernel as one without, so it never goes by unjudged.
    fn chosen(self, compat: bool, x32: bool) -> Vec<Architecture> {
        let all = self.architectures().iter().take(if compat { 2 } else { 1 });
        all.map(|architecture| match architecture.abis {
            [_, _] if !x32 => Architecture { closed: &[Abi::X32], ..*architecture },
            _ => *architecture,
        })
        .collect()
    }

    /// What libseccomp calls the machine, the 32-bit one that it also is, and its ABI with 32-bit pointers.
    fn names(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            Host::X86_64 => ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", Some("SCMP_ARCH_X32")),
            Host::Aarch64 => ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", None),
        }
    }

    /// What docker's profiles call the machine.
    fn go_name(self) -> &'static str {
        match self {
            Host::X86_64 => "amd64",
            Host::Aarch64 => "arm64",
        }
    }

    fn own_abi(self) -> Abi {
        match self {
            Host::X86_64 => Abi::X86_64,
            Host::Aarch64 => Abi::Aarch64,
        }
    }

    fn rules(self, options: Options) -> Vec<&'static Rule<'static>> {
        let has = |number: u8| options.capabilities & (1 << number) != 0;
        let applies = |rule: &&Rule<'_>| match rule.when {
            When::Always => true,
            When::With(number) => has(number),
            When::Without(number) => !has(number),
            When::X86 => self == Host::X86_64,
            When::Arm => self == Host::Aarch64,
            When::NoSocketcall => !options.socketcall,
        };
        profile::DEFAULT.iter().filter(applies).collect()
    }

    fn profile(self, text: &str, capabilities: u64, kernel: (u32, u32)) -> Result<Vec<compile::Instruction>> {
        let read = json::read(text, self, capabilities, kernel)?;
        let names: Vec<Vec<&str>> =
            read.rules.iter().map(|rule| rule.names.iter().map(String::as_str).collect()).collect();
        let rules: Vec<Rule<'_>> = read
            .rules
            .iter()
            .zip(&names)
            .map(|(rule, names)| Rule {
                names,
                action: rule.action,
                when: When::Always,
                test: (!rule.conditions.is_empty()).then_some(profile::Test::All(&rule.conditions)),
            })
            .collect();
        let rules: Vec<&Rule<'_>> = rules.iter().collect();
        // A profile that refuses what it does not name is answered for what it cannot know as by a kernel that does not have it.
        let (unknown, newest) = match read.default {
            Action::Errno(_) => (ENOSYS, json::newest(&read.rules, self)),
            other => (other, None),
        };
        let architectures = self.chosen(read.compat, read.x32);
        let code = compile::compile(&architectures, &rules, read.default, unknown, newest);
        if code.len() > compile::MAX_INSTRUCTIONS {
            let why = format!("security_opt: the seccomp profile becomes {} instructions", code.len());
            return Err(Error::new(ErrorKind::LimitExceeded, why)
                .with_object("security_opt")
                .with_hint(format!("the kernel takes {} at most", compile::MAX_INSTRUCTIONS)));
        }
        Ok(code)
    }

    fn compile(self, options: Options) -> Vec<compile::Instruction> {
        compile::compile(self.architectures(), &self.rules(options), EPERM, ENOSYS, None)
    }
}
