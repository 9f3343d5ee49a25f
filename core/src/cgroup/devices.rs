//! Device rules in the forms of both versions: lines for version 1, a program for version 2. The rules are `isolation::defaults`'.

use crate::isolation::defaults::{DeviceKind, DeviceRule};

/// The lines for `devices.allow`, in the form in which `devices.list` shows them.
pub(super) fn lines(rules: &[DeviceRule]) -> Vec<String> {
    rules.iter().map(line).collect()
}

fn line(rule: &DeviceRule) -> String {
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kind = match rule.kind {
        DeviceKind::Char => 'c',
        DeviceKind::Block => 'b',
    };
    let access: String = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')]
        .into_iter()
        .filter_map(|(wanted, letter)| wanted.then_some(letter))
        .collect();
    format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor))
}

// Facts of the kernel's interface: instruction classes and operations of eBPF, and the fields and values of
// `struct bpf_cgroup_dev_ctx`.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const IF_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

const ACCESS_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

const ACCESS_MKNOD: u32 = 1;
const ACCESS_READ: u32 = 2;
const ACCESS_WRITE: u32 = 4;
const KIND_BLOCK: u32 = 1;
const KIND_CHAR: u32 = 2;

/// An instruction, `struct bpf_insn`, as one word in native byte order.
fn instruction(code: u8, target: u8, source: u8, offset: i16, operand: u32) -> u64 {
    let registers = if cfg!(target_endian = "big") { target << 4 | source } else { source << 4 | target };
    let (offset, operand) = (offset.to_ne_bytes(), operand.to_ne_bytes());
    u64::from_ne_bytes([
        code, registers, offset[0], offset[1], operand[0], operand[1], operand[2], operand[3],
    ])
}

/// The program that returns 1 for an access that a rule allows and 0 for any other.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    // Registers: 0 answer, 1 context and later scratch, 2 kind of device, 3 access, 4 major, 5 minor.
    let mut code = vec![
        instruction(LOAD_WORD, 2, 1, ACCESS_TYPE, 0),
        instruction(MOVE_REGISTER, 3, 2, 0, 0),
        instruction(AND, 2, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 3, 0, 0, 16),
        instruction(LOAD_WORD, 4, 1, MAJOR, 0),
        instruction(LOAD_WORD, 5, 1, MINOR, 0),
    ];
    for rule in rules {
        let kind = match rule.kind {
            DeviceKind::Char => KIND_CHAR,
            DeviceKind::Block => KIND_BLOCK,
        };
        let access = [(rule.read, ACCESS_READ), (rule.write, ACCESS_WRITE), (rule.mknod, ACCESS_MKNOD)];
        let access = access.into_iter().filter(|(wanted, _)| *wanted).fold(0, |mask, (_, bit)| mask | bit);
        // What has to be equal for the rule to hold: (instructions before the comparison, register, value).
        let mut checks = vec![(Vec::new(), 2, kind)];
        if access != ACCESS_READ | ACCESS_WRITE | ACCESS_MKNOD {
            let beyond = vec![instruction(MOVE_REGISTER, 1, 3, 0, 0), instruction(AND, 1, 0, 0, !access)];
            checks.push((beyond, 1, 0));
        }
        checks.extend(rule.major.map(|major| (Vec::new(), 4, major)));
        checks.extend(rule.minor.map(|minor| (Vec::new(), 5, minor)));
        let mut left: usize = checks.iter().map(|(before, _, _)| before.len() + 1).sum::<usize>() + 2;
        for (before, register, value) in checks {
            left -= before.len() + 1;
            code.extend(before);
            code.push(instruction(IF_NOT_EQUAL, register, 0, left as i16, value));
        }
        code.extend([instruction(MOVE, 0, 0, 0, 1), instruction(EXIT, 0, 0, 0, 0)]);
    }
    code.extend([instruction(MOVE, 0, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::defaults::DEVICE_RULES;

    #[test]
    fn lines_are_the_kernels() {
        assert_eq!(
            lines(DEVICE_RULES),
            [
                "c *:* m",
                "b *:* m",
                "c 1:3 rwm",
                "c 1:8 rwm",
                "c 1:7 rwm",
                "c 5:0 rwm",
                "c 1:5 rwm",
                "c 1:9 rwm",
                "c 136:* rwm",
                "c 5:2 rwm"
            ]
        );
    }

    /// Runs a program as the kernel would, on 32-bit registers, which are all that it uses.
    fn run(code: &[u64], context: [u32; 3]) -> u32 {
        let mut registers = [0u32; 11];
        let mut at = 0usize;
        loop {
            let bytes = code[at].to_ne_bytes();
            let (target, source) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
            let operand = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            at += 1;
            match bytes[0] {
                LOAD_WORD => {
                    assert_eq!(source, 1);
                    registers[target] = context[usize::try_from(offset).unwrap() / 4];
                }
                MOVE => registers[target] = operand,
                MOVE_REGISTER => registers[target] = registers[source],
                AND => registers[target] &= operand,
                SHIFT_RIGHT => registers[target] >>= operand,
                IF_NOT_EQUAL if registers[target] != operand => at += usize::try_from(offset).unwrap(),
                IF_NOT_EQUAL => {}
                EXIT => return registers[0],
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_agrees_with_the_rules() {
        let code = program(DEVICE_RULES);
        for kind in [KIND_BLOCK, KIND_CHAR] {
            for access in 1..8 {
                for major in [0, 1, 2, 5, 8, 10, 136, 137, u32::MAX] {
                    for minor in [0, 1, 2, 3, 5, 7, 8, 9, 200, 229, u32::MAX] {
                        let allowed = DEVICE_RULES.iter().any(|rule| {
                            (rule.kind == DeviceKind::Char) == (kind == KIND_CHAR)
                                && rule.major.is_none_or(|only| only == major)
                                && rule.minor.is_none_or(|only| only == minor)
                                && (rule.read || access & ACCESS_READ == 0)
                                && (rule.write || access & ACCESS_WRITE == 0)
                                && (rule.mknod || access & ACCESS_MKNOD == 0)
                        });
                        let answer = run(&code, [access << 16 | kind, major, minor]);
                        assert_eq!(answer, u32::from(allowed), "{kind} {access} {major}:{minor}");
                    }
                }
            }
        }
        assert_eq!(run(&program(&[]), [7 << 16 | KIND_CHAR, 1, 3]), 0);
    }
}
