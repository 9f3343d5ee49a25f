//! Whose turn it is: how many exchanges all calls of an engine together have with servers, in all and with one of them.
//!
//! An exchange has a turn from before its connection is there until its answer was read. Nobody waits for a turn who has one: what needs two servers at once, as a
//! copy does, waits for both together. So somebody always gets on, and gives his turn back. Turns are given in the order in which they were asked for, but who waits
//! for a server that is busy with others lets pass whoever wants something of another one.
//!
//! What the caller does when it is told about progress is not ours: it may take for ever, or want something of the same server itself. A turn whose thread has been
//! with the caller for longer than a moment does not count for as long as that lasts.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::cancel::CancelToken;
use crate::error::Result;
use crate::process::Deadline;

/// How often who waits looks whether the caller has cancelled.
const TICK: Duration = Duration::from_millis(50);

/// How long a thread is with the caller before its turn does not count any more.
const MOMENT: Duration = Duration::from_secs(1);

/// The turns of an engine.
#[derive(Debug)]
pub(super) struct Turns {
    total: usize,
    per_host: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By ticket.
    taken: BTreeMap<u64, Taken>,
    /// Who waits, in order.
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Taken {
    hosts: Vec<String>,
    /// Since when its thread is with the caller, or waits to be.
    telling: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    hosts: Vec<String>,
}

/// A turn, which ends when this is dropped.
#[derive(Debug)]
pub(in crate::distribution) struct Turn {
    turns: Arc<Turns>,
    ticket: u64,
}

thread_local! {
    /// The turns that the thread has taken: one, and those of calls that the caller makes while it is told something.
    static OWN: RefCell<Vec<(Weak<Turns>, u64)>> = const { RefCell::new(Vec::new()) };
}

/// As long as this is there, the thread is with the caller, or waits to be.
pub(crate) struct Telling(Vec<(Arc<Turns>, u64)>);

impl Turns {
    pub(super) fn new(total: usize, per_host: usize) -> Arc<Turns> {
        Arc::new(Turns { total, per_host, state: Mutex::default(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn with each of the hosts; None if there was none in time.
    pub(super) fn take(
        self: &Arc<Turns>,
        hosts: Vec<String>,
        until: Deadline,
        cancel: &CancelToken,
    ) -> Result<Option<Turn>> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push_back(Waiting { ticket, hosts: hosts.clone() });
        let result = loop {
            if state.first(self.total, self.per_host) == Some(ticket) {
                state.taken.insert(ticket, Taken { hosts, telling: None });
                OWN.with_borrow_mut(|own| own.push((Arc::downgrade(self), ticket)));
                break Ok(Some(Turn { turns: Arc::clone(self), ticket }));
            }
            if let Err(error) = cancel.check() {
                break Err(error);
            }
            if until.is_over() {
                break Ok(None);
            }
            let tick = until.left().map_or(TICK, |left| left.min(TICK));
            state = self.changed.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.retain(|waiting| waiting.ticket != ticket);
        drop(state);
        // There may be room for the next one, too.
        self.changed.notify_all();
        result
    }
}

impl State {
    /// Who is to go next, if there is room for anybody.
    fn first(&self, total: usize, per_host: usize) -> Option<u64> {
        let mut taken = 0;
        let mut by_host: BTreeMap<&str, usize> = BTreeMap::new();
        for host in self.taken.values().filter(|turn| turn.counts()).flat_map(|turn| &turn.hosts) {
            taken += 1;
            *by_host.entry(host).or_default() += 1;
        }
        let mut passed: Vec<&str> = Vec::new();
        for Waiting { ticket, hosts } in &self.waiting {
            let room = |host: &String| {
                let taken = by_host.get(host.as_str()).copied().unwrap_or(0);
                let wanted = hosts.iter().filter(|other| *other == host).count();
                // Who needs more than there may be gets it when nobody else has any.
                !passed.contains(&host.as_str()) && (taken == 0 || taken + wanted <= per_host)
            };
            if !hosts.iter().all(room) {
                // Nobody who wants the same goes before. Of those who want two, the other one is not kept free meanwhile.
                if let Some(only) = hosts.first().filter(|first| hosts.iter().all(|host| host == *first)) {
                    passed.push(only);
                }
                continue;
            }
            return (taken == 0 || taken + hosts.len() <= total).then_some(*ticket);
        }
        None
    }
}

impl Taken {
    fn counts(&self) -> bool {
        self.telling.is_none_or(|since| since.elapsed() < MOMENT)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let is_this = |(turns, ticket): &(Weak<Turns>, u64)| {
            *ticket == self.ticket && std::ptr::eq(turns.as_ptr(), Arc::as_ptr(&self.turns))
        };
        // Of a thread that is ending there is no list any more.
        let _ = OWN.try_with(|own| own.borrow_mut().retain(|own| !is_this(own)));
        self.turns.lock().taken.remove(&self.ticket);
        self.turns.changed.notify_all();
    }
}

impl Telling {
    pub(crate) fn begin() -> Telling {
        let mut own = OWN.with_borrow(|own| {
            own.iter().filter_map(|(turns, ticket)| Some((turns.upgrade()?, *ticket))).collect::<Vec<_>>()
        });
        own.retain(|(turns, ticket)| match turns.lock().taken.get_mut(ticket) {
            Some(turn) if turn.telling.is_none() => {
                turn.telling = Some(Instant::now());
                true
            }
            // Who tells something in a call that the caller makes while it is told something.
            _ => false,
        });
        Telling(own)
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        for (turns, ticket) in &self.0 {
            if let Some(turn) = turns.lock().taken.get_mut(ticket) {
                turn.telling = None;
            }
        }
    }
}

/// How many turns the thread has; those that it has while it is with the caller only if that is asked for.
#[cfg(test)]
pub(in crate::distribution) fn held(telling: bool) -> usize {
    let is_held = |(turns, ticket): &&(Weak<Turns>, u64)| {
        let turns = turns.upgrade().unwrap();
        let state = turns.lock();
        state.taken.get(ticket).is_some_and(|turn| telling || turn.telling.is_none())
    };
    OWN.with_borrow(|own| own.iter().filter(is_held).count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn take(turns: &Arc<Turns>, hosts: &[&str]) -> Option<Turn> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        turns.take(hosts, Deadline::after(Some(Duration::ZERO)), &CancelToken::never()).unwrap()
    }

    #[test]
    fn bounds_in_all_and_for_each_host() {
        let turns = Turns::new(3, 2);
        let (one, _two) = (take(&turns, &["a"]).unwrap(), take(&turns, &["a"]).unwrap());
        assert!(take(&turns, &["a"]).is_none());
        let three = take(&turns, &["b"]).unwrap();
        assert!(take(&turns, &["c"]).is_none());
        drop(one);
        assert!(take(&turns, &["a", "b"]).is_none());
        drop(three);
        assert!(take(&turns, &["a", "b"]).is_some());
        assert!(take(&turns, &["a", "a"]).is_none());
    }

    #[test]
    fn who_needs_two_gets_them_where_only_one_is_allowed() {
        for hosts in [["a", "a"], ["a", "b"]] {
            let turns = Turns::new(1, 1);
            let both = take(&turns, &hosts).unwrap();
            assert!(take(&turns, &["c"]).is_none());
            drop(both);
            assert!(take(&turns, &["c"]).is_some());
        }
    }

    #[test]
    fn a_busy_host_holds_up_nobody_else_and_the_order_is_kept() {
        let taken = || Taken { hosts: vec!["slow".into()], telling: None };
        let mut state = State { taken: BTreeMap::from([(8, taken()), (9, taken())]), ..State::default() };
        for (ticket, host) in ["slow", "fast", "slow", "other"].iter().enumerate() {
            state.waiting.push_back(Waiting { ticket: ticket as u64, hosts: vec![(*host).into()] });
        }
        assert_eq!(state.first(3, 2), Some(1));
        assert_eq!(state.first(2, 2), None);
        // Of two who want the same, the first.
        state.taken.clear();
        assert_eq!(state.first(3, 2), Some(0));
        // Who wants two of one host is not overtaken by those who want one.
        state.taken.insert(9, taken());
        state.waiting[0].hosts.push("slow".into());
        assert_eq!(state.first(9, 2), Some(1));
        state.waiting.remove(1);
        assert_eq!(state.first(9, 2), Some(3));
    }

    #[test]
    fn waiting_ends_when_the_caller_cancels_and_leaves_nothing() {
        let turns = Turns::new(1, 1);
        let _held = take(&turns, &["a"]).unwrap();
        let cancel = CancelToken::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                cancel.cancel();
            });
            let error = turns.take(vec!["b".into()], Deadline::never(), &cancel).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
        assert!(turns.lock().waiting.is_empty());
    }

    #[test]
    fn many_threads_stay_within_bounds_and_all_get_on() {
        let turns = Turns::new(4, 2);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..24 {
                let (turns, now, most) = (&turns, &now, &most);
                scope.spawn(move || {
                    for round in 0..20 {
                        let mut hosts = vec![format!("host{}", (thread + round) % 3)];
                        if thread % 4 == 0 {
                            hosts.push(format!("host{}", round % 3));
                        }
                        let count = hosts.len();
                        let turn = turns.take(hosts, Deadline::never(), &CancelToken::never()).unwrap();
                        most.fetch_max(now.fetch_add(count, Ordering::SeqCst) + count, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(count, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert!(most.load(Ordering::SeqCst) <= 4);
        let state = turns.lock();
        assert!(state.taken.is_empty() && state.waiting.is_empty());
        drop(state);
        assert_eq!(held(true), 0);
    }

    #[test]
    fn a_turn_of_who_is_with_the_caller_for_long_does_not_count_meanwhile() {
        let turns = Turns::new(1, 1);
        let held_up = take(&turns, &["a"]).unwrap();
        let telling = Telling::begin();
        assert!(take(&turns, &["a"]).is_none());
        assert_eq!((held(false), held(true)), (0, 1));
        std::thread::sleep(MOMENT);
        let other = take(&turns, &["a"]).unwrap();
        // What is told meanwhile changes nothing for the first, but it is not the end of it either.
        drop(Telling::begin());
        assert!(take(&turns, &["a"]).is_none());
        drop(other);
        drop(take(&turns, &["a"]).unwrap());
        drop(telling);
        assert!(take(&turns, &["a"]).is_none());
        // It may end on another thread.
        std::thread::scope(|scope| {
            scope.spawn(|| drop(held_up));
        });
        drop(Telling::begin());
        assert!(take(&turns, &["a"]).is_some());
    }
}
