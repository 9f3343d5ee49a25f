//! Compiles rules to a classic BPF program: a search tree over system call numbers for each architecture.
//!
//! A call costs about a dozen instructions, whichever it is, and none at all once the kernel has seen that the answer for
//! its number does not depend on the arguments. Not for loading programs: the shim does that.

use super::profile::{Action, Rule, Test};
use super::syscalls::{self, Abi};

/// An instruction: `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    /// Operation.
    pub(super) code: u16,
    /// Instructions to skip if the comparison holds.
    pub(super) jt: u8,
    /// Instructions to skip if it does not.
    pub(super) jf: u8,
    /// Operand.
    pub(super) k: u32,
}

/// The kernel's bound on a program.
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub(super) const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const IF_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
pub(super) const IF_NOT_LESS: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// The answer to a call from an architecture that the filter does not know.
pub(super) const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// An architecture as seccomp tells them apart, with the ABIs that share it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Architecture {
    /// `AUDIT_ARCH_*`.
    pub(super) audit: u32,
    /// Its ABIs; their numbers do not overlap.
    pub(super) abis: &'static [Abi],
}

/// What is decided about one number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    /// Tried in order.
    tests: Vec<(Test, Action)>,
    /// If none holds.
    otherwise: Action,
}

impl Verdict {
    const fn plain(otherwise: Action) -> Verdict {
        Verdict { tests: Vec::new(), otherwise }
    }
}

/// The program for these architectures. Of the rules that name a call the first whose test holds decides; then `default`; a number
/// without a name gets `unknown`.
pub(super) fn compile(
    architectures: &[Architecture],
    rules: &[&Rule],
    default: Action,
    unknown: Action,
) -> Vec<Instruction> {
    let verdicts = verdicts(rules, default);
    let unknown = Verdict::plain(unknown);
    let mut code = vec![statement(LOAD, ARCHITECTURE)];
    for architecture in architectures {
        let mut block = vec![statement(LOAD, NUMBER)];
        block.extend(search(&ranges(architecture, &verdicts, &unknown)));
        code.push(Instruction { code: IF_EQUAL, jt: 1, jf: 0, k: architecture.audit });
        code.push(statement(JUMP, block.len() as u32));
        code.extend(block);
    }
    code.push(statement(RETURN, KILL));
    code
}

/// The program as the kernel takes it.
pub(super) fn encode(code: &[Instruction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(code.len() * 8);
    for instruction in code {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    bytes
}

/// All numbers of an architecture as ranges of one verdict each: (first number, verdict). The first starts at 0, the last
/// ends at `u32::MAX`, neighbours differ.
fn ranges<'a>(
    architecture: &Architecture,
    verdicts: &'a [Verdict],
    unknown: &'a Verdict,
) -> Vec<(u32, &'a Verdict)> {
    let calls = architecture.abis.iter().flat_map(|abi| abi.calls());
    let mut calls: Vec<(u32, &Verdict)> = calls.map(|(row, _, number)| (number, &verdicts[row])).collect();
    calls.sort_unstable_by_key(|(number, _)| *number);
    let mut ranges: Vec<(u32, &Verdict)> = Vec::new();
    let mut add = |start: u32, verdict: &'a Verdict| match ranges.last() {
        Some((_, last)) if *last == verdict => {}
        _ => ranges.push((start, verdict)),
    };
    let mut next = 0;
    for (number, verdict) in calls {
        if number > next {
            add(next, unknown);
        }
        add(number, verdict);
        next = number + 1;
    }
    add(next, unknown);
    ranges
}

/// What the rules decide, for each row of the table.
fn verdicts(rules: &[&Rule], default: Action) -> Vec<Verdict> {
    let mut verdicts = vec![Verdict::plain(default); syscalls::ROWS];
    let mut decided = [false; syscalls::ROWS];
    for rule in rules {
        for row in rule.names.iter().filter_map(|name| syscalls::row(name)) {
            match rule.test {
                // Behind a rule without a test none is reached.
                _ if decided[row] => {}
                Some(test) => verdicts[row].tests.push((test, rule.action)),
                None => (verdicts[row].otherwise, decided[row]) = (rule.action, true),
            }
        }
    }
    verdicts
}

/// The most instructions of a [`unit`]: what a conditional jump can reach.
const REACH: usize = 250;

/// A balanced search tree over the ranges, with the number in the accumulator. What is small enough to be jumped through is a [`unit`]; above
/// that, long jumps lead from one to the other.
fn search(ranges: &[(u32, &Verdict)]) -> Vec<Instruction> {
    let answers = answers(ranges);
    if ranges.len() + answers.iter().map(|(_, code)| code.len()).sum::<usize>() <= REACH {
        return unit(ranges, &answers);
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let left = search(below);
    let mut code = match u8::try_from(left.len()) {
        Ok(skip) => vec![Instruction { code: IF_NOT_LESS, jt: skip, jf: 0, k: above[0].0 }],
        Err(_) => vec![
            Instruction { code: IF_NOT_LESS, jt: 0, jf: 1, k: above[0].0 },
            statement(JUMP, left.len() as u32),
        ],
    };
    code.extend(left);
    code.extend(search(above));
    code
}

/// The verdicts that occur, each once, with their code.
fn answers<'a>(ranges: &[(u32, &'a Verdict)]) -> Vec<(&'a Verdict, Vec<Instruction>)> {
    let mut answers: Vec<(&Verdict, Vec<Instruction>)> = Vec::new();
    for (_, verdict) in ranges {
        if !answers.iter().any(|(known, _)| known == verdict) {
            answers.push((verdict, decide(verdict)));
        }
    }
    answers
}

/// A search tree whose leaves are jumps to answers that stand at its end, each once: loading a filter takes the kernel time for every instruction.
fn unit(ranges: &[(u32, &Verdict)], answers: &[(&Verdict, Vec<Instruction>)]) -> Vec<Instruction> {
    /// Where a branch leads: to a comparison, or to an answer.
    #[derive(Clone, Copy)]
    enum Aim {
        Comparison(usize),
        Answer(usize),
    }
    fn grow(
        ranges: &[(u32, &Verdict)],
        answers: &[(&Verdict, Vec<Instruction>)],
        tree: &mut Vec<(u32, Aim, Aim)>,
    ) -> Aim {
        if let [(_, verdict)] = ranges {
            // It is one of them: they were gathered from these ranges.
            return Aim::Answer(answers.iter().position(|(known, _)| known == verdict).unwrap_or(0));
        }
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let place = tree.len();
        tree.push((above[0].0, Aim::Answer(0), Aim::Answer(0)));
        let left = grow(below, answers, tree);
        let right = grow(above, answers, tree);
        tree[place] = (above[0].0, right, left);
        Aim::Comparison(place)
    }
    let mut tree = Vec::with_capacity(ranges.len());
    if !ranges.is_empty() {
        grow(ranges, answers, &mut tree);
    }
    let mut starts = Vec::with_capacity(answers.len());
    let mut end = tree.len();
    for (_, code) in answers {
        starts.push(end);
        end += code.len();
    }
    let mut code = Vec::with_capacity(end);
    for (place, (k, yes, no)) in tree.iter().enumerate() {
        // Forward, and within reach, since the whole is no longer than that.
        let skip = |aim: &Aim| match aim {
            Aim::Comparison(target) => (target - place - 1) as u8,
            Aim::Answer(answer) => (starts[*answer] - place - 1) as u8,
        };
        code.push(Instruction { code: IF_NOT_LESS, jt: skip(yes), jf: skip(no), k: *k });
    }
    code.extend(answers.iter().flat_map(|(_, code)| code.iter().copied()));
    code
}

fn decide(verdict: &Verdict) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (test, action) in &verdict.tests {
        code.extend(check(test, *action));
    }
    code.push(statement(RETURN, answer(verdict.otherwise)));
    code
}

/// Code that returns the action if the test holds, and goes on behind itself if not.
fn check(test: &Test, action: Action) -> Vec<Instruction> {
    // Jumps are aimed at the end, when it is known where these two places are.
    const HIT: u8 = 254;
    const MISS: u8 = 255;
    let mut code = Vec::new();
    match *test {
        Test::Masked { arg, mask, value } => {
            for (offset, mask, value) in [
                (high(arg), (mask >> 32) as u32, (value >> 32) as u32),
                (low(arg), mask as u32, value as u32),
            ] {
                if mask == 0 && value == 0 {
                    continue;
                }
                code.push(statement(LOAD, offset));
                if mask != u32::MAX {
                    code.push(statement(AND, mask));
                }
                code.push(Instruction { code: IF_EQUAL, jt: 0, jf: MISS, k: value });
            }
        }
        Test::Within { arg, ranges } => {
            code.push(statement(LOAD, high(arg)));
            code.push(Instruction { code: IF_EQUAL, jt: 0, jf: MISS, k: 0 });
            code.push(statement(LOAD, low(arg)));
            for (first, last) in ranges {
                if first == last {
                    code.push(Instruction { code: IF_EQUAL, jt: HIT, jf: 0, k: *first });
                } else {
                    code.push(Instruction { code: IF_NOT_LESS, jt: 0, jf: MISS, k: *first });
                    code.push(Instruction { code: IF_GREATER, jt: 0, jf: HIT, k: *last });
                }
            }
            code.push(Instruction { code: IF_EQUAL, jt: MISS, jf: MISS, k: 0 });
        }
        Test::Low { arg, values } => {
            code.push(statement(LOAD, low(arg)));
            for value in values {
                code.push(Instruction { code: IF_EQUAL, jt: HIT, jf: 0, k: *value });
            }
            code.push(Instruction { code: IF_EQUAL, jt: MISS, jf: MISS, k: 0 });
        }
    }
    let hit = code.len();
    code.push(statement(RETURN, answer(action)));
    for (index, instruction) in code.iter_mut().enumerate().take(hit) {
        let aim = |branch: u8| match branch {
            HIT => (hit - index - 1) as u8,
            MISS => (hit - index) as u8,
            near => near,
        };
        if matches!(instruction.code, IF_EQUAL | IF_GREATER | IF_NOT_LESS) {
            (instruction.jt, instruction.jf) = (aim(instruction.jt), aim(instruction.jf));
        }
    }
    code
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn answer(action: Action) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
    }
}

const fn low(arg: u8) -> u32 {
    ARGUMENTS + 8 * arg as u32 + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const fn high(arg: u8) -> u32 {
    ARGUMENTS + 8 * arg as u32 + if cfg!(target_endian = "big") { 0 } else { 4 }
}
