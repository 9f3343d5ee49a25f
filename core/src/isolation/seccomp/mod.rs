//! System call filters: the default profile, compiled to the program that the shim installs.
//!
//! Pure computation. Tables in `syscalls`, policy in `profile`, code generation in `compile`.

mod compile;
mod profile;
mod syscalls;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

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
                Architecture { audit: AUDIT_ARCH_X86_64, abis: &[Abi::X86_64, Abi::X32] },
                Architecture { audit: AUDIT_ARCH_I386, abis: &[Abi::I386] },
            ],
            Host::Aarch64 => &[
                Architecture { audit: AUDIT_ARCH_AARCH64, abis: &[Abi::Aarch64] },
                Architecture { audit: AUDIT_ARCH_ARM, abis: &[Abi::Arm] },
            ],
        }
    }

    fn rules(self, options: Options) -> Vec<&'static Rule> {
        let has = |number: u8| options.capabilities & (1 << number) != 0;
        let applies = |rule: &&Rule| match rule.when {
            When::Always => true,
            When::With(number) => has(number),
            When::Without(number) => !has(number),
            When::X86 => self == Host::X86_64,
            When::Arm => self == Host::Aarch64,
            When::NoSocketcall => !options.socketcall,
        };
        profile::DEFAULT.iter().filter(applies).collect()
    }

    fn compile(self, options: Options) -> Vec<compile::Instruction> {
        compile::compile(self.architectures(), &self.rules(options), EPERM, ENOSYS)
    }
}
