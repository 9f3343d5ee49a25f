//! Compiles rules to a classic BPF program: a search tree over system call numbers for each ABI.
//!
//! A call costs about a dozen instructions, whichever it is, and none at all once the kernel has seen that the answer for
//! its number does not depend on the arguments. Loading a program takes the kernel time for every instruction, so it is kept short: each answer is there once, and an ABI
//! whose answers are those of another leads to that one's tree. Not for loading programs: the shim does that.

use std::collections::BTreeMap;

use super::profile::{Action, Condition, Operator, Rule, Test};
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

/// The largest errno that the kernel takes from a filter.
pub(super) const MAX_ERRNO: u32 = 4095;

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
    /// Those of its ABIs whose calls are not made, whatever the rules say.
    pub(super) closed: &'static [Abi],
}

/// From this number on calls have the same number on all architectures.
const COMMON: u32 = 424;

/// What is decided about one number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict<'a> {
    /// Tried in order.
    tests: Vec<(Test<'a>, Action)>,
    /// If none holds.
    otherwise: Action,
}

impl Verdict<'_> {
    const fn plain(otherwise: Action) -> Self {
        Verdict { tests: Vec::new(), otherwise }
    }
}

/// The program for these architectures. Of the rules that name a call the first whose test holds decides; then `default`; a number
/// without a name gets `unknown`, as do the calls with a number above `newest` that no rule names.
pub(super) fn compile(
    architectures: &[Architecture],
    rules: &[&Rule<'_>],
    default: Action,
    unknown: Action,
    newest: Option<u32>,
) -> Vec<Instruction> {
    let mut verdicts = verdicts(rules, default);
    let unknown = Verdict::plain(unknown);
    let closed = Verdict::plain(Action::Errno(libc::ENOSYS as u16));
    if let (Some(newest), Some(abi)) = (newest, architectures.first().and_then(|first| first.abis.first())) {
        let plain = Verdict::plain(default);
        for (row, _, _) in abi.calls().filter(|(_, _, number)| *number > newest) {
            if verdicts[row] == plain {
                verdicts[row] = unknown.clone();
            }
        }
    }
    let mut code = Code::default();
    let mut entries = Vec::new();
    let kill = code.put(statement(RETURN, KILL));
    let mut answers: Vec<(&Verdict<'_>, Place)> = Vec::new();
    let mut place = |code: &mut Code, verdict| match answers.iter().find(|(known, _)| *known == verdict) {
        Some((_, place)) => *place,
        None => {
            let place = code.put_all(&decide(verdict));
            answers.push((verdict, place));
            place
        }
    };
    let mut first: Option<(BTreeMap<u32, Place>, Place)> = None;
    let unknown = place(&mut code, &unknown);
    let closed = place(&mut code, &closed);
    for architecture in architectures {
        let mut entry = None;
        for abi in architecture.abis {
            if architecture.closed.contains(abi) {
                entry = entry.map(|plain| code.branch(IF_NOT_LESS, abi.bit(), closed, plain));
                continue;
            }
            let calls: BTreeMap<u32, Place> = abi
                .calls()
                .map(|(row, _, number)| (number & !abi.bit(), place(&mut code, &verdicts[row])))
                .collect();
            let tree = match &first {
                None => code.search(&leaves(&calls, unknown)),
                Some((base, tree)) => {
                    let from = if abi.bit() == 0 { COMMON } else { 0 };
                    code.search(&leaves(
                        &unlike(&calls, base, from, *tree, unknown),
                        if from == 0 { *tree } else { unknown },
                    ))
                }
            };
            first.get_or_insert((calls, tree));
            entry = Some(match entry {
                None => tree,
                // Masked, the numbers are like those of the first. With the bit above there is no call.
                Some(plain) => {
                    let marked = code.put_before(statement(AND, !abi.bit()), tree);
                    code.branch(IF_NOT_LESS, abi.bit(), marked, plain)
                }
            });
        }
        let entry = entry.unwrap_or(kill);
        entries.push((architecture.audit, code.put_before(statement(LOAD, NUMBER), entry)));
    }
    let mut start = kill;
    for (audit, entry) in entries.into_iter().rev() {
        start = code.branch(IF_EQUAL, audit, entry, start);
    }
    code.put_before(statement(LOAD, ARCHITECTURE), start);
    code.finish()
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

/// What the rules decide, for each row of the table.
fn verdicts<'a>(rules: &[&Rule<'a>], default: Action) -> Vec<Verdict<'a>> {
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

/// A range of numbers with one answer, up to the next, except for some single numbers.
#[derive(Debug, Clone)]
struct Leaf {
    start: u32,
    answer: Place,
    except: Vec<(u32, Place)>,
}

/// All numbers: those of the calls with their answers, and the others. A number between two ranges of the same answer is one comparison as an exception, and would
/// be two as a range.
fn leaves(calls: &BTreeMap<u32, Place>, other: Place) -> Vec<Leaf> {
    let mut ranges: Vec<(u32, Place)> = Vec::new();
    let mut add = |start: u32, answer: Place| match ranges.last() {
        Some((_, last)) if *last == answer => {}
        _ => ranges.push((start, answer)),
    };
    let mut next = 0;
    for (number, answer) in calls {
        if *number > next {
            add(next, other);
        }
        add(*number, *answer);
        next = number + 1;
    }
    add(next, other);
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut rest = &ranges[..];
    while let [(start, answer), others @ ..] = rest {
        match (leaves.last_mut(), others) {
            (Some(leaf), [(next, after), beyond @ ..]) if *next == start + 1 && *after == leaf.answer => {
                leaf.except.push((*start, *answer));
                rest = beyond;
            }
            _ => {
                leaves.push(Leaf { start: *start, answer: *answer, except: Vec::new() });
                rest = others;
            }
        }
    }
    leaves
}

/// The calls of an ABI, where those from a number on for which the answer is that of the first ABI lead to its `tree`.
fn unlike(
    calls: &BTreeMap<u32, Place>,
    first: &BTreeMap<u32, Place>,
    from: u32,
    tree: Place,
    unknown: Place,
) -> BTreeMap<u32, Place> {
    let of = |calls: &BTreeMap<u32, Place>, number| calls.get(number).copied().unwrap_or(unknown);
    let mut unlike: BTreeMap<u32, Place> =
        calls.range(..from).map(|(number, answer)| (*number, *answer)).collect();
    for number in calls.keys().chain(first.keys()).filter(|number| **number >= from) {
        let answer = of(calls, number);
        unlike.insert(*number, if answer == of(first, number) { tree } else { answer });
    }
    unlike
}

/// A program that is written from its end to its start, since all jumps of BPF go forward.
#[derive(Debug, Default)]
struct Code {
    backwards: Vec<Instruction>,
    /// For a place that was too far away: a jump to it.
    stations: BTreeMap<Place, Place>,
}

/// An instruction, counted from the end of the program.
type Place = usize;

impl Code {
    /// How far a conditional jump may go, less what two stations take.
    const REACH: usize = u8::MAX as usize - 2;
    /// The most numbers that are compared one after the other.
    const CHAIN: usize = 4;

    /// Puts an instruction before all others.
    fn put(&mut self, instruction: Instruction) -> Place {
        self.backwards.push(instruction);
        self.backwards.len() - 1
    }

    fn put_all(&mut self, code: &[Instruction]) -> Place {
        self.backwards.extend(code.iter().rev());
        self.backwards.len() - 1
    }

    /// Puts an instruction that is followed by what is at that place.
    fn put_before(&mut self, instruction: Instruction, next: Place) -> Place {
        if next + 1 != self.backwards.len() {
            self.put(statement(JUMP, self.distance(next) as u32));
        }
        self.put(instruction)
    }

    /// From the instruction that is put next.
    fn distance(&self, place: Place) -> usize {
        self.backwards.len() - place - 1
    }

    /// The place, or a station that leads there.
    fn near(&mut self, place: Place) -> Place {
        let near = self.stations.get(&place).copied().unwrap_or(place);
        if self.distance(near) <= Self::REACH {
            return near;
        }
        let station = self.put(statement(JUMP, self.distance(place) as u32));
        self.stations.insert(place, station);
        station
    }

    /// Puts a comparison.
    fn branch(&mut self, code: u16, k: u32, yes: Place, no: Place) -> Place {
        let (yes, no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.put(Instruction { code, jt, jf, k })
    }

    /// Puts a balanced search tree, which expects the number in the accumulator.
    fn search(&mut self, leaves: &[Leaf]) -> Place {
        let weight = |leaves: &[Leaf]| leaves.iter().map(|leaf| 1 + leaf.except.len()).sum::<usize>();
        let (below, above) = match leaves {
            [] => unreachable!("there is a leaf for every number"),
            [leaf] if leaf.except.len() <= Self::CHAIN => {
                let mut next = leaf.answer;
                for (number, answer) in leaf.except.iter().rev() {
                    next = self.branch(IF_EQUAL, *number, *answer, next);
                }
                return next;
            }
            [leaf] => {
                let (below, above) = leaf.except.split_at(leaf.except.len() / 2);
                let part =
                    |start, except: &[_]| vec![Leaf { start, answer: leaf.answer, except: except.to_vec() }];
                (part(leaf.start, below), part(above[0].0, above))
            }
            leaves => {
                let half = weight(leaves) / 2;
                let middle =
                    (1..leaves.len() - 1).find(|n| weight(&leaves[..*n]) >= half).unwrap_or(leaves.len() - 1);
                let (below, above) = leaves.split_at(middle);
                (below.to_vec(), above.to_vec())
            }
        };
        let yes = self.search(&above);
        let no = self.search(&below);
        self.branch(IF_NOT_LESS, above[0].start, yes, no)
    }

    fn finish(mut self) -> Vec<Instruction> {
        self.backwards.reverse();
        self.backwards
    }
}

fn decide(verdict: &Verdict<'_>) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (test, action) in &verdict.tests {
        code.extend(check(test, *action));
    }
    code.push(statement(RETURN, answer(verdict.otherwise)));
    code
}

/// Code that returns the action if the test holds, and goes on behind itself if not.
fn check(test: &Test<'_>, action: Action) -> Vec<Instruction> {
    // Jumps are aimed at the end, when it is known where these places are.
    const NEXT: u8 = 253;
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
        Test::All(conditions) => {
            for condition in conditions {
                let begin = code.len();
                code.extend(compare(condition, NEXT, MISS));
                let end = code.len();
                for (index, instruction) in code.iter_mut().enumerate().skip(begin) {
                    let aim = |branch: u8| if branch == NEXT { (end - index - 1) as u8 } else { branch };
                    if matches!(instruction.code, IF_EQUAL | IF_GREATER | IF_NOT_LESS) {
                        (instruction.jt, instruction.jf) = (aim(instruction.jt), aim(instruction.jf));
                    }
                }
            }
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

/// Code that jumps to `next` if the condition holds, and to `miss` if not. The halves of an argument are compared one after the other.
fn compare(condition: &Condition, next: u8, miss: u8) -> Vec<Instruction> {
    let Condition { arg, operator, mask, value } = *condition;
    let load = |code: &mut Vec<Instruction>, offset, mask: u32| {
        code.push(statement(LOAD, offset));
        if mask != u32::MAX {
            code.push(statement(AND, mask));
        }
    };
    let (above, below) = ((value >> 32) as u32, value as u32);
    let branch = |code, k, jt, jf| Instruction { code, jt, jf, k };
    let mut code = Vec::new();
    load(&mut code, high(arg), (mask >> 32) as u32);
    match operator {
        Operator::Equal => code.push(branch(IF_EQUAL, above, 0, miss)),
        Operator::NotEqual => code.push(branch(IF_EQUAL, above, 0, next)),
        Operator::Greater | Operator::NotLess => {
            code.push(branch(IF_GREATER, above, next, 0));
            code.push(branch(IF_EQUAL, above, 0, miss));
        }
        Operator::Less | Operator::NotGreater => {
            code.push(branch(IF_GREATER, above, miss, 0));
            code.push(branch(IF_EQUAL, above, 0, next));
        }
    }
    load(&mut code, low(arg), mask as u32);
    code.push(match operator {
        Operator::Equal => branch(IF_EQUAL, below, next, miss),
        Operator::NotEqual => branch(IF_EQUAL, below, miss, next),
        Operator::Greater => branch(IF_GREATER, below, next, miss),
        Operator::NotLess => branch(IF_NOT_LESS, below, next, miss),
        Operator::Less => branch(IF_NOT_LESS, below, miss, next),
        Operator::NotGreater => branch(IF_GREATER, below, miss, next),
    });
    code
}

const fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jt: 0, jf: 0, k }
}

const fn answer(action: Action) -> u32 {
    match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        Action::Return(value) => value,
    }
}

const fn low(arg: u8) -> u32 {
    ARGUMENTS + 8 * arg as u32 + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const fn high(arg: u8) -> u32 {
    ARGUMENTS + 8 * arg as u32 + if cfg!(target_endian = "big") { 0 } else { 4 }
}
