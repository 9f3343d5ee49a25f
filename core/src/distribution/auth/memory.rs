//! What an engine remembers from one call to the next: tokens until they end, and for a moment what credential helpers said. It is in memory alone, and nobody's
//! credentials are in it but those of helpers: what a token was fetched with is known by a digest.

use std::fmt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::challenge::Bearer;
use super::token::{Scopes, Token};
use crate::cancel::CancelToken;
use crate::distribution::net::Origin;
use crate::distribution::options::Credentials;
use crate::distribution::settings::Host;
use crate::error::Result;

/// The most tokens, and answers of helpers. Those that were used longest ago go.
const MAX_TOKENS: usize = 256;
const MAX_HELPED: usize = 32;
/// Helpers may give something else each time, and somebody else may have logged in: so it is for a call on many images, not for the life of the engine.
const HELPED: Duration = Duration::from_secs(30);
/// How often who waits looks whether the caller has cancelled.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The memory of an engine.
#[derive(Default)]
pub(in crate::distribution) struct Memory {
    /// Drawn at the first use, so that digests are of no use elsewhere.
    salt: std::sync::OnceLock<[u8; 32]>,
    kept: Mutex<Kept>,
    fetched: Condvar,
}

#[derive(Default)]
struct Kept {
    /// Used longest ago first.
    tokens: Vec<Entry>,
    helped: Vec<Helped>,
    /// Tokens that are being fetched.
    fetching: Vec<Owner>,
    /// How often somebody has logged in or out. What was asked for before that is not remembered.
    era: u64,
}

struct Entry {
    owner: Owner,
    bearer: Bearer,
    token: Token,
    /// What the registry is called where credentials are kept.
    name: String,
}

struct Helped {
    question: Mark,
    answer: Credentials,
    since: Instant,
}

/// A salted digest of something that is not kept.
type Mark = [u8; 32];

/// Who a token is for, and who takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    origin: Origin,
    /// In front of what is asked for: a server may stand in for several registries.
    place: (String, String, Option<String>),
    who: Mark,
    trust: Mark,
}

/// As long as this is there, others wait for the token that its owner fetches.
pub(super) struct Fetching<'m> {
    memory: &'m Memory,
    owner: Owner,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A digest of several parts.
    fn mark<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Mark {
        let salt = self.salt.get_or_init(|| {
            let mut salt = [0; 32];
            // Without, digests are still equal only for what is equal.
            let _ = rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::NONBLOCK);
            salt
        });
        let mut hash = Sha256::new();
        hash.update(salt);
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// The owner of tokens that a server gives to these credentials.
    pub(super) fn owner(&self, origin: &Origin, host: &Host, credentials: Option<&Credentials>) -> Owner {
        let who: [&str; 3] = match credentials {
            None => ["nobody", "", ""],
            Some(Credentials::Password { username, password }) => ["password", username, password],
            Some(Credentials::IdentityToken(token)) => ["identity", token, ""],
            Some(Credentials::Token(token)) => ["token", token, ""],
        };
        // What was given over a connection that somebody else may have had in hand is not for one that is known to be the server's.
        let trust = format!("{:?}", host.trust);
        Owner {
            origin: origin.clone(),
            place: (host.base.clone(), host.repository.clone(), host.namespace.clone()),
            who: self.mark(who.map(str::as_bytes)),
            trust: self.mark([trust.as_bytes()]),
        }
    }

    /// Whether anybody had a token for this place of a server, so that it is worth to know who the caller is before the server asks.
    pub(super) fn knows(&self, origin: &Origin, host: &Host) -> bool {
        let anybody = self.owner(origin, host, None);
        self.lock()
            .tokens
            .iter()
            .any(|entry| (&entry.owner.origin, &entry.owner.place) == (&anybody.origin, &anybody.place))
    }

    /// The challenge that a server had for this request the last time.
    pub(super) fn challenge(&self, owner: &Owner, scopes: &Scopes) -> Option<Bearer> {
        let kept = self.lock();
        let entry = kept.tokens.iter().rfind(|entry| entry.owner == *owner && entry.token.covers(scopes));
        entry.map(|entry| entry.bearer.clone())
    }

    /// A token that is good for these scopes.
    pub(super) fn token(&self, owner: &Owner, bearer: &Bearer, scopes: &Scopes) -> Option<Token> {
        let mut kept = self.lock();
        let at = kept.tokens.iter().rposition(|entry| {
            entry.owner == *owner
                && (&entry.bearer.realm, &entry.bearer.service) == (&bearer.realm, &bearer.service)
                && entry.token.covers(scopes)
                && !entry.token.is_stale()
        })?;
        let entry = kept.tokens.remove(at);
        let token = entry.token.clone();
        kept.tokens.push(entry);
        Some(token)
    }

    /// The time between a login or logout and the next one.
    pub(super) fn era(&self) -> u64 {
        self.lock().era
    }

    /// Remembers a token of this era, in place of those that it is as good as.
    pub(super) fn keep(&self, era: u64, owner: &Owner, host: &Host, bearer: &Bearer, token: &Token) {
        let mut kept = self.lock();
        kept.helped.retain(|helped| helped.since.elapsed() < HELPED);
        if kept.era != era {
            return;
        }
        kept.tokens.retain(|entry| entry.owner != *owner || !entry.token.is_covered_by(token));
        if kept.tokens.len() >= MAX_TOKENS {
            kept.tokens.remove(0);
        }
        let name = host.keys.last().cloned().unwrap_or_default();
        kept.tokens.push(Entry { owner: owner.clone(), bearer: bearer.clone(), token: token.clone(), name });
    }

    /// Forgets a token that its server does not take.
    pub(super) fn forget_token(&self, origin: &Origin, value: &str) {
        self.lock().tokens.retain(|entry| entry.owner.origin != *origin || entry.token.value != value);
    }

    /// Forgets what a server had for the owner, whose token server is not where it was.
    pub(super) fn forget_owner(&self, owner: &Owner) {
        self.forget(owner, |_| true);
    }

    /// Forgets tokens of an owner.
    pub(super) fn forget(&self, owner: &Owner, which: impl Fn(&Token) -> bool) {
        self.lock().tokens.retain(|entry| entry.owner != *owner || !which(&entry.token));
    }

    /// Forgets everything of a registry, whose credentials are about to be others.
    pub(in crate::distribution) fn forget_registry(&self, name: &str) {
        let mut kept = self.lock();
        kept.tokens.retain(|entry| entry.name != name && entry.owner.origin.authority() != name);
        kept.helped.clear();
        kept.era += 1;
    }

    /// Waits until nobody else fetches a token for the owner.
    pub(super) fn fetching(&self, owner: &Owner, cancel: &CancelToken) -> Result<Fetching<'_>> {
        let mut kept = self.lock();
        while kept.fetching.contains(owner) {
            cancel.check()?;
            kept = self.fetched.wait_timeout(kept, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        kept.fetching.push(owner.clone());
        Ok(Fetching { memory: self, owner: owner.clone() })
    }

    /// What a helper said to the same question a moment ago, or says now. What it does not know is asked for again.
    pub(super) fn helped(
        &self,
        question: &[&[u8]],
        fresh: bool,
        ask: impl FnOnce() -> Result<Option<Credentials>>,
    ) -> Result<Option<Credentials>> {
        let question = self.mark(question.iter().copied());
        let mut kept = self.lock();
        kept.helped
            .retain(|helped| helped.since.elapsed() < HELPED && !(fresh && helped.question == question));
        if let Some(helped) = kept.helped.iter().find(|helped| helped.question == question) {
            return Ok(Some(helped.answer.clone()));
        }
        let era = kept.era;
        drop(kept);
        let answer = ask()?;
        if let Some(answer) = &answer {
            let mut kept = self.lock();
            if kept.era == era {
                if kept.helped.len() >= MAX_HELPED {
                    kept.helped.remove(0);
                }
                kept.helped.push(Helped { question, answer: answer.clone(), since: Instant::now() });
            }
        }
        Ok(answer)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut kept = self.memory.lock();
        if let Some(at) = kept.fetching.iter().position(|owner| *owner == self.owner) {
            kept.fetching.swap_remove(at);
        }
        drop(kept);
        self.memory.fetched.notify_all();
    }
}
