//! An interpreter for classic BPF, tables of expected answers, and the comparison with a naive evaluation of the profile.

use super::compile::{AND, IF_EQUAL, IF_GREATER, IF_NOT_LESS, Instruction, JUMP, KILL, LOAD, RETURN};
use super::profile::{self, Test};
use super::syscalls::X32_BIT;
use super::*;
use crate::isolation::capabilities::{self as caps, DEFAULT};

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

#[derive(Debug, Clone, Copy, Default)]
struct Call {
    arch: u32,
    number: u32,
    args: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset & 7 == 0 { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load of {offset}"),
        }
    }
}

#[test]
fn what_a_profile_forbids_in_vain_is_named() {
    let profile = |default: &str, action: &str, names: &str| {
        format!(
            r#"{{"defaultAction":"{default}","syscalls":[{{"names":{names},"action":"{action}"}},{{"names":["later"],"action":"SCMP_ACT_KILL","includes":{{"caps":["CAP_SYS_ADMIN"]}}}}]}}"#
        )
    };
    let named = |default: &str, action: &str, bounding: u64| {
        let text = profile(default, action, r#"["mkdir","frobnicate","swapon","frobnicate","mkdri"]"#);
        let read = json::read(&text, Host::X86_64, bounding, (6, 1)).unwrap();
        read.not_forbidden().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for default in ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"] {
        for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"] {
            assert_eq!(named(default, action, 0), ["frobnicate", "mkdri"]);
        }
        // Nothing is forbidden by what allows.
        assert!(named(default, "SCMP_ACT_ALLOW", 0).is_empty());
        assert_eq!(named(default, "SCMP_ACT_ALLOW", 1 << 21), ["later"]);
    }
    // What is not known is refused anyway.
    assert!(named("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW", 1 << 21).is_empty());
    assert!(named("SCMP_ACT_ERRNO", "SCMP_ACT_KILL", 1 << 21).is_empty());
}

/// Runs a program as the kernel would. Panics on what the kernel would not accept.
fn run(code: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut accumulator, mut steps) = (0usize, 0u32, 0usize);
    loop {
        let instruction = code[at];
        (at, steps) = (at + 1, steps + 1);
        let holds = match instruction.code {
            LOAD => {
                accumulator = call.word(instruction.k);
                continue;
            }
            AND => {
                accumulator &= instruction.k;
                continue;
            }
            JUMP => {
                at += instruction.k as usize;
                continue;
            }
            RETURN => return (instruction.k, steps),
            IF_EQUAL => accumulator == instruction.k,
            IF_GREATER => accumulator > instruction.k,
            IF_NOT_LESS => accumulator >= instruction.k,
            other => panic!("instruction {other}"),
        };
        at += usize::from(if holds { instruction.jt } else { instruction.jf });
    }
}

fn number(abi: Abi, name: &str) -> u32 {
    abi.calls().find(|(_, known, _)| *known == name).unwrap_or_else(|| panic!("{name} on {abi:?}")).2
}

fn options(capabilities: u64) -> Options {
    Options { capabilities, socketcall: false }
}

fn ask(code: &[Instruction], arch: u32, number: u32, args: &[u64]) -> u32 {
    let mut call = Call { arch, number, ..Call::default() };
    call.args[..args.len()].copy_from_slice(args);
    run(code, &call).0
}

/// The answer by reading the profile from top to bottom.
fn naive(host: Host, options: Options, call: &Call) -> u32 {
    let Some(architecture) = host.architectures().iter().find(|known| known.audit == call.arch) else {
        return KILL;
    };
    let name =
        architecture.abis.iter().flat_map(|abi| abi.calls()).find(|(_, _, number)| *number == call.number);
    let Some((_, name, _)) = name else { return ENOSYS };
    for rule in host.rules(options) {
        let holds = match rule.test {
            None => true,
            Some(Test::Masked { arg, mask, value }) => call.args[arg as usize] & mask == value,
            Some(Test::Within { arg, ranges }) => ranges.iter().any(|(first, last)| {
                (u64::from(*first)..=u64::from(*last)).contains(&call.args[arg as usize])
            }),
            Some(Test::Low { arg, values }) => values.contains(&(call.args[arg as usize] as u32)),
            Some(Test::All(_)) => unreachable!("not in the default profile"),
        };
        if rule.names.contains(&name) && holds {
            return match rule.action {
                Action::Allow => ALLOW,
                Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
                Action::Return(value) => value,
            };
        }
    }
    EPERM
}

#[test]
fn the_tables_have_one_name_for_each_number_and_the_profile_names_only_known_calls() {
    let abis = [Abi::X86_64, Abi::I386, Abi::X32, Abi::Aarch64, Abi::Arm];
    for abi in abis {
        let mut numbers: Vec<u32> = abi.calls().map(|(_, _, number)| number).collect();
        let count = numbers.len();
        assert!(count > 300);
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count, "{abi:?}");
    }
    for name in profile::DEFAULT.iter().flat_map(|rule| rule.names) {
        // Rows are found by binary search: this also sees a table out of order.
        assert!(syscalls::row(name).is_some(), "{name}");
        assert!(abis.iter().any(|abi| abi.calls().any(|(_, known, _)| known == *name)), "{name}");
    }
    for (abi, name, expected) in [
        (Abi::X86_64, "openat2", 437),
        (Abi::I386, "socketcall", 102),
        (Abi::X32, "ioctl", X32_BIT | 514),
        (Abi::Aarch64, "clone", 220),
        (Abi::Arm, "set_tls", 0xf0005),
    ] {
        assert_eq!(number(abi, name), expected);
    }
}

/// The numbers of the running architecture, against the C library's.
#[test]
fn the_tables_agree_with_the_c_library() {
    let abi = if cfg!(target_arch = "aarch64") { Abi::Aarch64 } else { Abi::X86_64 };
    for (name, expected) in [
        ("read", libc::SYS_read),
        ("clone3", libc::SYS_clone3),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("mseal", libc::SYS_mseal),
        ("socket", libc::SYS_socket),
        ("personality", libc::SYS_personality),
    ] {
        assert_eq!(i64::from(number(abi, name)), expected, "{name}");
    }
}

#[test]
fn the_default_profile_answers_as_designed() {
    let x86 = Host::X86_64.compile(options(DEFAULT));
    let arm = Host::Aarch64.compile(options(DEFAULT));
    let thread = (libc::CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND) as u64;
    let cases: &[(&str, &[u64], u32)] = &[
        ("read", &[], ALLOW),
        ("execve", &[], ALLOW),
        ("ptrace", &[], ALLOW),
        ("chroot", &[], ALLOW),
        ("clone", &[thread], ALLOW),
        ("clone", &[libc::CLONE_NEWUSER as u64], EPERM),
        ("clone", &[libc::CLONE_NEWCGROUP as u64 | thread], EPERM),
        ("clone3", &[], ENOSYS),
        ("unshare", &[], EPERM),
        ("setns", &[], EPERM),
        ("mount", &[], EPERM),
        ("open_tree", &[], EPERM),
        ("bpf", &[], EPERM),
        ("keyctl", &[], EPERM),
        ("add_key", &[], EPERM),
        ("request_key", &[], EPERM),
        ("userfaultfd", &[], EPERM),
        ("io_uring_setup", &[], EPERM),
        ("io_uring_enter", &[], EPERM),
        ("io_uring_register", &[], EPERM),
        ("perf_event_open", &[], EPERM),
        ("kexec_load", &[], EPERM),
        ("open_by_handle_at", &[], EPERM),
        ("init_module", &[], EPERM),
        ("reboot", &[], EPERM),
        ("settimeofday", &[], EPERM),
        ("swapon", &[], EPERM),
        ("syslog", &[], EPERM),
        ("quotactl", &[], EPERM),
        ("acct", &[], EPERM),
        ("move_pages", &[], EPERM),
        ("process_madvise", &[], EPERM),
        ("file_getattr", &[], ENOSYS),
        ("open_tree_attr", &[], ENOSYS),
        ("socket", &[libc::AF_UNIX as u64], ALLOW),
        ("socket", &[libc::AF_INET6 as u64], ALLOW),
        ("socket", &[libc::AF_NETLINK as u64], ALLOW),
        ("socket", &[libc::AF_ALG as u64], EPERM),
        ("socket", &[libc::AF_VSOCK as u64], EPERM),
        ("socket", &[12], EPERM),
        ("socket", &[46], EPERM),
        ("socket", &[1 << 32 | 1], EPERM),
        ("personality", &[0], ALLOW),
        ("personality", &[0xffff_ffff], ALLOW),
        ("personality", &[libc::ADDR_NO_RANDOMIZE as u64], EPERM),
        ("ioctl", &[0, 0x5401], ALLOW),
        ("ioctl", &[0, 0x5412], EPERM),
        ("ioctl", &[0, 0xdead_beef_0000_5412], EPERM),
        ("ioctl", &[0, 1 << 32 | 0x541c], EPERM),
    ];
    for (name, args, expected) in cases {
        for (code, arch, abi) in [
            (&x86, AUDIT_ARCH_X86_64, Abi::X86_64),
            (&x86, AUDIT_ARCH_X86_64, Abi::X32),
            (&x86, AUDIT_ARCH_I386, Abi::I386),
            (&arm, AUDIT_ARCH_AARCH64, Abi::Aarch64),
            (&arm, AUDIT_ARCH_ARM, Abi::Arm),
        ] {
            assert_eq!(ask(code, arch, number(abi, name), args), *expected, "{name} {args:x?} on {abi:?}");
        }
    }
    for (code, arch) in [(&x86, AUDIT_ARCH_X86_64), (&x86, AUDIT_ARCH_I386), (&arm, AUDIT_ARCH_AARCH64)] {
        for number in [600, 5000, X32_BIT - 1, X32_BIT | 5000, u32::MAX] {
            assert_eq!(ask(code, arch, number, &[]), ENOSYS, "{number}");
        }
    }
    for (code, arch) in
        [(&x86, AUDIT_ARCH_ARM), (&x86, 0), (&arm, AUDIT_ARCH_X86_64), (&arm, AUDIT_ARCH_I386)]
    {
        assert_eq!(ask(code, arch, 0, &[]), KILL);
    }
}

#[test]
fn architectures_have_their_own_calls() {
    let x86 = Host::X86_64.compile(options(DEFAULT));
    let arm = Host::Aarch64.compile(options(DEFAULT));
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, number(Abi::X86_64, "arch_prctl"), &[]), ALLOW);
    assert_eq!(ask(&x86, AUDIT_ARCH_I386, number(Abi::I386, "modify_ldt"), &[]), ALLOW);
    assert_eq!(ask(&arm, AUDIT_ARCH_ARM, number(Abi::Arm, "cacheflush"), &[]), ALLOW);
    // The numbers of one ABI mean something else on the other: 26 is ptrace on i386 and msync on x86-64, 21 is mount and access.
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, 21, &[]), ALLOW);
    assert_eq!(ask(&x86, AUDIT_ARCH_I386, 21, &[]), EPERM);
    // x32 has 64-bit x86's numbers with a bit, but not all of them, and some of its own.
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, X32_BIT, &[]), ALLOW);
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, X32_BIT | 13, &[]), ENOSYS);
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, X32_BIT | 512, &[]), ALLOW);
    assert_eq!(ask(&x86, AUDIT_ARCH_X86_64, 512, &[]), ENOSYS);
}

#[test]
fn socketcall_makes_no_sockets_unless_the_image_needs_it() {
    let call = number(Abi::I386, "socketcall");
    let strict = Host::X86_64.compile(options(DEFAULT));
    assert_eq!(ask(&strict, AUDIT_ARCH_I386, call, &[1]), ENOSYS);
    assert_eq!(ask(&strict, AUDIT_ARCH_I386, call, &[3]), ALLOW);
    let lenient = Host::X86_64.compile(Options { capabilities: DEFAULT, socketcall: true });
    assert_eq!(ask(&lenient, AUDIT_ARCH_I386, call, &[1]), ALLOW);
    assert_ne!(
        default_filter(DEFAULT).unwrap(),
        filter(Options { capabilities: DEFAULT, socketcall: true }).unwrap()
    );
}

#[test]
fn capabilities_open_what_belongs_to_them() {
    for (capability, name) in [
        (caps::SYS_ADMIN, "mount"),
        (caps::SYS_ADMIN, "clone3"),
        (caps::SYS_ADMIN, "unshare"),
        (caps::SYS_BOOT, "reboot"),
        (caps::SYS_CHROOT, "chroot"),
        (caps::SYS_MODULE, "finit_module"),
        (caps::SYS_PACCT, "acct"),
        (caps::SYS_PTRACE, "kcmp"),
        (caps::SYS_RAWIO, "iopl"),
        (caps::SYS_TIME, "clock_settime"),
        (caps::SYS_TTY_CONFIG, "vhangup"),
        (caps::SYS_NICE, "mbind"),
        (caps::SYSLOG, "syslog"),
        (caps::BPF, "bpf"),
        (caps::PERFMON, "perf_event_open"),
        (caps::DAC_READ_SEARCH, "open_by_handle_at"),
    ] {
        let call = number(Abi::X86_64, name);
        let with = Host::X86_64.compile(options(1 << capability));
        let without = Host::X86_64.compile(options(!(1 << capability) & !(1 << caps::SYS_ADMIN)));
        assert_eq!(ask(&with, AUDIT_ARCH_X86_64, call, &[]), ALLOW, "{name}");
        assert_ne!(ask(&without, AUDIT_ARCH_X86_64, call, &[]), ALLOW, "{name}");
    }
    let admin = Host::X86_64.compile(options(1 << caps::SYS_ADMIN));
    let clone = number(Abi::X86_64, "clone");
    assert_eq!(ask(&admin, AUDIT_ARCH_X86_64, clone, &[libc::CLONE_NEWUSER as u64]), ALLOW);
}

#[test]
fn the_program_agrees_with_the_profile() {
    let values: Vec<u64> = (0..48u64)
        .chain([0x5412, 0x541c, 0x5413, 8, 0x2_0000, 0x2_0008, u64::from(u32::MAX), u64::MAX, 1 << 32])
        .chain((0..64).map(|bit| 1u64 << bit))
        .collect();
    let conditional = ["socket", "personality", "clone", "ioctl", "socketcall"];
    for host in [Host::X86_64, Host::Aarch64] {
        for (capabilities, socketcall) in [(DEFAULT, false), (0, true), (u64::MAX, false)] {
            let options = Options { capabilities, socketcall };
            let code = host.compile(options);
            assert!(code.len() <= compile::MAX_INSTRUCTIONS, "{}", code.len());
            let mut most = 0;
            for arch in [
                AUDIT_ARCH_X86_64,
                AUDIT_ARCH_I386,
                AUDIT_ARCH_AARCH64,
                AUDIT_ARCH_ARM,
                0xc000_0016,
                u32::MAX,
            ] {
                let plain = (0..601).chain([u32::MAX]);
                for number in plain.chain((0..601).map(|n| n | X32_BIT)).chain(0xf0000..0xf0010) {
                    let call = Call { arch, number, ..Call::default() };
                    let (answer, steps) = run(&code, &call);
                    assert_eq!(answer, naive(host, options, &call), "{call:x?}");
                    most = most.max(steps);
                }
                for abi in
                    host.architectures().iter().filter(|known| known.audit == arch).flat_map(|a| a.abis)
                {
                    for (_, _, number) in abi.calls().filter(|(_, name, _)| conditional.contains(name)) {
                        for value in &values {
                            for args in [[*value, 0, 0, 0, 0, 0], [0, *value, 0, 0, 0, 0]] {
                                let call = Call { arch, number, args };
                                assert_eq!(run(&code, &call).0, naive(host, options, &call), "{call:x?}");
                            }
                        }
                    }
                }
            }
            assert!(most < 40, "{most} instructions for a call");
        }
    }
}

#[test]
fn the_kernel_accepts_and_obeys_the_program() {
    let program = default_filter(DEFAULT).unwrap();
    assert_eq!(program.len() % 8, 0);
    assert_eq!(program, default_filter(DEFAULT).unwrap());
    // A filter confines a thread and what it starts; this one ends with the test.
    let answers =
        std::thread::spawn(move || crate::sys::bpf::probe_filter(&program)).join().unwrap().unwrap();
    assert_eq!(answers, [Some(libc::EPERM), Some(libc::EPERM), Some(libc::ENOSYS), Some(libc::EPERM), None]);
}

// --- profiles in docker's JSON format -------------------------------------------------------------------------------

fn profile(text: &str, capabilities: u64) -> Vec<Instruction> {
    Host::X86_64.profile(text, capabilities, (6, 1)).unwrap()
}

fn on_x86_64(code: &[Instruction], name: &str, args: &[u64]) -> u32 {
    ask(code, AUDIT_ARCH_X86_64, number(Abi::X86_64, name), args)
}

#[test]
fn comparisons_are_of_all_64_bits() {
    let values = [0, 1, 7, 8, 9, 0xffff_ffff, 1 << 32, (1 << 32) + 7, (7 << 32) + 8, (8 << 32) + 1, u64::MAX];
    for value in values {
        for (op, holds) in [
            ("NE", (|a, b| a != b) as fn(u64, u64) -> bool),
            ("EQ", |a, b| a == b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
            ("GT", |a, b| a > b),
            ("GE", |a, b| a >= b),
        ] {
            let text = format!(
                r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",
                    "args":[{{"index":2,"value":{value},"op":"SCMP_CMP_{op}"}}]}}]}}"#
            );
            let code = profile(&text, 0);
            for given in values {
                let expected = if holds(given, value) { ALLOW } else { EPERM };
                assert_eq!(on_x86_64(&code, "read", &[0, 0, given]), expected, "{given} {op} {value}");
            }
        }
    }
}

#[test]
fn rules_of_a_profile() {
    let text = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13, "comment": "more keys are fine",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}, {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": null}],
        "syscalls": [
            {"names": ["read", "no_such_call", "openat2"], "action": "SCMP_ACT_ALLOW", "args": null, "includes": {}, "excludes": {}},
            {"name": "write", "action": "SCMP_ACT_KILL_PROCESS"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 255, "valueTwo": 17, "op": "SCMP_CMP_MASKED_EQ"}, {"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}]},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["umount2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.2"}},
            {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64", "x32"]}},
            {"names": ["s390_sthyi"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
            {"names": ["kcmp"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
            {"names": ["getcpu"], "action": "SCMP_ACT_LOG"}
        ]}"#;
    let admin = 1 << caps::SYS_ADMIN;
    let (plain, code) = (profile(text, 0), profile(text, admin));
    let refused = libc::SECCOMP_RET_ERRNO | 13;
    for (name, args, expected) in [
        ("read", &[][..], ALLOW),
        ("getpid", &[], refused),
        ("write", &[], libc::SECCOMP_RET_KILL_PROCESS),
        ("clone", &[0xf11, 5], ALLOW),
        ("clone", &[0xf11, 6], refused),
        ("clone", &[0xf12, 5], refused),
        ("personality", &[1], ALLOW),
        ("personality", &[2], ALLOW),
        ("personality", &[3], refused),
        ("mount", &[], ALLOW),
        ("umount2", &[], refused),
        ("ptrace", &[], ALLOW),
        ("bpf", &[], refused),
        ("arch_prctl", &[], ALLOW),
        ("kcmp", &[], libc::SECCOMP_RET_TRACE | 7),
        ("getcpu", &[], libc::SECCOMP_RET_LOG),
        // Newer than the newest that is named, which is openat2.
        ("mount_setattr", &[], ENOSYS),
    ] {
        assert_eq!(on_x86_64(&code, name, args), expected, "{name} {args:?}");
    }
    assert_eq!(on_x86_64(&plain, "mount", &[]), refused);
    assert_eq!(on_x86_64(&plain, "umount2", &[]), ENOSYS);
    assert_eq!(ask(&code, AUDIT_ARCH_I386, number(Abi::I386, "read"), &[]), ALLOW);
    assert_eq!(ask(&code, AUDIT_ARCH_X86_64, number(Abi::X86_64, "read") | X32_BIT, &[]), ENOSYS);
    assert_eq!(ask(&code, AUDIT_ARCH_AARCH64, 0, &[]), KILL);
}

#[test]
fn what_is_forbidden_has_no_way_around() {
    let text =
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let code = profile(text, 0);
    let mount = number(Abi::X86_64, "mount");
    assert_eq!(on_x86_64(&code, "mount", &[]), EPERM);
    assert_eq!(on_x86_64(&code, "umount2", &[]), ALLOW);
    assert_eq!(ask(&code, AUDIT_ARCH_X86_64, mount | X32_BIT, &[]), ENOSYS);
    assert_eq!(ask(&code, AUDIT_ARCH_I386, number(Abi::I386, "mount"), &[]), KILL);
    let both = text.replace(
        r#""syscalls""#,
        r#""architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls""#,
    );
    let code = profile(&both, 0);
    assert_eq!(ask(&code, AUDIT_ARCH_X86_64, number(Abi::X32, "mount"), &[]), EPERM);
    assert_eq!(ask(&code, AUDIT_ARCH_I386, number(Abi::I386, "mount"), &[]), EPERM);
    assert_eq!(ask(&code, AUDIT_ARCH_I386, number(Abi::I386, "umount2"), &[]), ALLOW);
}

#[test]
fn bad_profiles_are_refused() {
    let long = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","comment":"{}"}}"#, "x".repeat(json::MAX_BYTES));
    let deep = "[".repeat(100_000);
    let with = |entry: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{entry}]}}"#);
    let table = [
        String::new(),
        "{}".into(),
        "[]".into(),
        long,
        deep,
        r#"{"defaultAction":"SCMP_ACT_FROB"}"#.into(),
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#.into(),
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":-1}"#.into(),
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_FROB"]}"#.into(),
        r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86"}]}"#.into(),
        with(r#"{"names":["read"]}"#),
        with(r#"{"name":"read","names":["write"],"action":"SCMP_ACT_ERRNO"}"#),
        with(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}"#),
        with(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"EQ"}]}"#),
        with(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","includes":{"minKernel":"new"}}"#),
    ];
    for text in table {
        let error = Host::X86_64.profile(&text, 0, (6, 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{}", text.get(..200).unwrap_or(&text));
    }
    for text in [
        r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
        r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#,
    ] {
        assert_eq!(
            Host::X86_64.profile(text, 0, (6, 1)).unwrap_err().kind(),
            ErrorKind::Unsupported,
            "{text}"
        );
    }
    let many: Vec<String> = (0..3000)
        .map(|value| format!(r#"{{"names":["read"],"action":"SCMP_ACT_ERRNO","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_EQ"}}]}}"#))
        .collect();
    let error = Host::X86_64.profile(&with(&many.join(",")), 0, (6, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}
