//! Who the caller is to a server: challenges, credentials and where they are kept, tokens. Everything here is about one server; what belongs to it never
//! leaves for another one, but to the token server that evidently belongs to it.

mod challenge;
mod files;
mod helper;
mod memory;
mod realm;
mod refusal;
mod store;
mod token;

pub(super) use self::challenge::challenges_of;
use self::challenge::{Bearer, Challenge};
pub(super) use self::files::FileSet;
use self::files::Helpers;
pub(super) use self::memory::Memory;
use self::memory::{Owner, TICK};
pub(super) use self::refusal::Refusal;
pub(super) use self::store::{forget, store};
pub(super) use self::token::Scopes;
use self::token::Token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::HeaderValue;
use ureq::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::net::{Answer, Http, Network, Origin, basic, header_value};
use super::options::{CredentialProvider, CredentialRequest, Credentials};
use super::settings::{Host, Places};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};

/// The authentication of one server. Nothing is sent until the server asks for it. No lock is held while somebody is asked: neither a token server nor, which may take as long as a person takes, a provider
/// or a helper.
pub(super) struct Auth {
    places: Places,
    files: FileSet,
    provider: Option<Provider>,
    network: Network,
    cancel: CancelToken,
    state: Mutex<State>,
    who: Mutex<Who>,
    answered: Condvar,
}

/// Who is asked before the files, and whether he has failed, which ends the call.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) provider: CredentialProvider,
    pub(super) failed: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    asked: Option<Challenge>,
    tokens: Vec<Token>,
    /// A new token was refused as the one before it.
    in_vain: bool,
}

#[derive(Default)]
struct Who {
    /// None until they were looked for.
    known: Option<Known>,
    /// A thread is looking for them, and the others wait for what it finds.
    asking: bool,
    /// How often they were looked for.
    count: u64,
}

/// Who the caller is, if anybody.
#[derive(Clone)]
struct Known {
    who: Option<Credentials>,
    /// The call says so, and nothing else is asked.
    given: bool,
    since: Instant,
    /// Which answer it is.
    number: u64,
    /// They were refused, and are what there is all the same.
    confirmed: bool,
}

/// Credentials that were looked up may have ended after this time.
const YOUNG: Duration = Duration::from_secs(60);

impl Auth {
    /// With credentials of the call, or with those of the files.
    pub(super) fn new(
        places: &Places,
        network: &Network,
        given: Option<&Credentials>,
        provider: Option<Provider>,
        files: FileSet,
        cancel: &CancelToken,
    ) -> Auth {
        let given = given.map(|given| Known {
            who: Some(given.clone()),
            given: true,
            since: Instant::now(),
            number: 0,
            confirmed: false,
        });
        let who = Mutex::new(Who { known: given, ..Who::default() });
        let (places, network, cancel) = (places.clone(), network.clone(), cancel.clone());
        let (state, answered) = (Mutex::default(), Condvar::new());
        Auth { places, files, provider, network, cancel, state, who, answered }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_who(&self) -> MutexGuard<'_, Who> {
        self.who.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header for a request that needs the scopes; None as long as the server has not asked for one, of this call or of one before it. A token is fetched
    /// by one thread for all.
    pub(super) fn header(
        &self,
        http: &Http,
        host: &Host,
        at: &Origin,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>> {
        let asked = self.lock().asked.clone();
        let challenge = match asked {
            Some(challenge) => challenge,
            None => {
                let Some(bearer) = self.remembered(host, at, scopes)? else { return Ok(None) };
                match self.bearer(http, host, at, scopes, &bearer) {
                    Ok(value) => {
                        self.lock().asked.get_or_insert(Challenge::Bearer(bearer));
                        return header_value(&AUTHORIZATION, &format!("Bearer {value}")).map(Some);
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Offline) => {
                        return Err(error);
                    }
                    Err(error) if self.provider.as_ref().is_some_and(Provider::has_failed) => {
                        return Err(error);
                    }
                    // The server may say something else by now.
                    Err(_) => {
                        let who = self.known(host)?.who;
                        self.memory().forget_owner(&self.memory().owner(at, host, who.as_ref()));
                        return Ok(None);
                    }
                }
            }
        };
        let text = match &challenge {
            Challenge::Basic => match self.known(host)?.who {
                Some(Credentials::Password { username, password }) => basic(&username, &password),
                _ => return Ok(None),
            },
            Challenge::Bearer(bearer) => {
                let value = self.bearer(http, host, at, scopes, bearer)?;
                format!("Bearer {value}")
            }
        };
        header_value(&AUTHORIZATION, &text).map(Some)
    }

    /// What the server asked another call of the engine for.
    fn remembered(&self, host: &Host, at: &Origin, scopes: &Scopes) -> Result<Option<Bearer>> {
        if !self.memory().knows(at, host) {
            return Ok(None);
        }
        let who = self.known(host)?.who;
        Ok(self.memory().challenge(&self.memory().owner(at, host, who.as_ref()), scopes))
    }

    /// A token: the caller's, one that is there, or a new one.
    fn bearer(
        &self,
        http: &Http,
        host: &Host,
        at: &Origin,
        scopes: &Scopes,
        bearer: &Bearer,
    ) -> Result<String> {
        let was_known = self.lock_who().known.is_some();
        let wanted = scopes.with(&bearer.scope);
        let mut looked_again = false;
        loop {
            let known = self.known(host)?;
            if let Some(Credentials::Token(token)) = known.who {
                return Ok(token);
            }
            if let Some(token) = self.token_for(&wanted) {
                return Ok(token.value);
            }
            let owner = self.memory().owner(at, host, known.who.as_ref());
            match self.token(&owner, http, host, at, bearer, known.who.as_ref(), &wanted) {
                // They may have been changed since they were looked up.
                Err(error)
                    if (was_known || self.provider.is_some())
                        && error.kind() == ErrorKind::Unauthorized
                        && !std::mem::replace(&mut looked_again, true)
                        && self.look_again(host, &known, true)? => {}
                result => {
                    let token = result?;
                    let value = token.value.clone();
                    self.lock().tokens.push(token);
                    return Ok(value);
                }
            }
        }
    }

    /// A token of this call.
    fn token_for(&self, wanted: &Scopes) -> Option<Token> {
        let mut state = self.lock();
        state.tokens.retain(|token| !token.is_stale());
        state.tokens.iter().find(|token| token.covers(wanted)).cloned()
    }

    /// A token of the engine for its owner, which is fetched once for all calls.
    #[expect(clippy::too_many_arguments, reason = "what a request for a token consists of")]
    fn token(
        &self,
        owner: &Owner,
        http: &Http,
        host: &Host,
        at: &Origin,
        bearer: &Bearer,
        who: Option<&Credentials>,
        wanted: &Scopes,
    ) -> Result<Token> {
        let memory = self.memory();
        let _fetching = memory.fetching(owner, &self.cancel)?;
        // Another thread may have fetched one meanwhile.
        if let Some(token) = self.token_for(wanted).or_else(|| memory.token(owner, bearer, wanted)) {
            return Ok(token);
        }
        let era = memory.era();
        let token = token::fetch(http, host, at, bearer, who, wanted)?;
        memory.keep(era, owner, host, bearer, &token);
        Ok(token)
    }

    fn memory(&self) -> &Memory {
        self.network.memory()
    }

    /// The header of the last token, or of the password, if a server has asked for it; nothing is fetched or looked up.
    pub(super) fn known_header(&self) -> Option<HeaderValue> {
        let who = self.lock_who().known.as_ref()?.who.clone();
        let state = self.lock();
        let text = match (state.asked.as_ref()?, &who) {
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                basic(username, password)
            }
            (Challenge::Basic, _) => return None,
            (Challenge::Bearer(_), Some(Credentials::Token(token))) => format!("Bearer {token}"),
            (Challenge::Bearer(_), _) => format!("Bearer {}", state.tokens.last()?.value),
        };
        header_value(&AUTHORIZATION, &text).ok()
    }

    /// What to do after status 401: true if the request should be sent again. `sent` is what it was sent with, `renewed` whether it was sent again for that
    /// already.
    pub(super) fn challenged(
        &self,
        answer: &Answer,
        host: &Host,
        sent: Option<&HeaderValue>,
        renewed: &mut bool,
    ) -> Result<bool> {
        let values = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered = challenges_of(values);
        let known = self.known(host)?;
        let Some(challenge) = Challenge::choose(&offered, known.who.as_ref()) else { return Ok(false) };
        match (&challenge, &known.who) {
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                let own = header_value(&AUTHORIZATION, &basic(username, password))?;
                self.lock().asked = Some(challenge);
                Ok(sent.is_none() || self.others(host, &known, sent == Some(&own), renewed)?)
            }
            (Challenge::Basic, _) => Ok(false),
            (Challenge::Bearer(_), who) => {
                if let (Some(Credentials::Token(token)), Some(sent)) = (who, sent) {
                    let own = header_value(&AUTHORIZATION, &format!("Bearer {token}"))?;
                    return self.others(host, &known, *sent == own, renewed);
                }
                let mut state = self.lock();
                // A token that was not taken is worth nothing, whatever is said of its life, and neither are the others, which are no younger. Those that another thread
                // has fetched since are.
                if let Some(sent) =
                    sent.and_then(|sent| sent.to_str().ok()).and_then(|sent| sent.strip_prefix("Bearer "))
                {
                    let refused = state.tokens.iter().position(|token| token.value == sent);
                    if let Some(refused) = refused.map(|at| state.tokens.swap_remove(at)) {
                        state.tokens.retain(|token| token.is_younger_than(&refused));
                        let owner = self.memory().owner(&answer.origin(), host, who.as_ref());
                        self.memory().forget(&owner, |token| !token.is_younger_than(&refused));
                    }
                    self.memory().forget_token(&answer.origin(), sent);
                }
                state.asked = Some(challenge);
                Ok(true)
            }
        }
    }

    /// Whether there is something else to be sent than what was refused: what another thread has found since, or what is found now, once for a request. `same`: what was refused is what is known.
    fn others(&self, host: &Host, known: &Known, same: bool, renewed: &mut bool) -> Result<bool> {
        Ok(!std::mem::replace(renewed, true) && (!same || self.look_again(host, known, true)?))
    }

    /// What to do after status 403 to a request that was `sent` with this header and begun at that time: true if it should be sent again. That is what a
    /// request is worth that was sent with something that may have ended; what cannot have ended is not renewed, since the answer would be the same.
    pub(super) fn refused(
        &self,
        refusal: Refusal,
        host: &Host,
        at: &Origin,
        sent: &HeaderValue,
        begun: Instant,
    ) -> Result<bool> {
        let in_vain = self.lock().in_vain;
        let refusal = if in_vain && refusal == Refusal::Ended { Refusal::Denied } else { refusal };
        let may = |before: bool, over: bool| match refusal {
            Refusal::Ended => before,
            Refusal::Denied => before && over,
            Refusal::Other => false,
        };
        let known = self.lock_who().known.clone();
        // A token that is not fetched is worth as much as a password.
        let fetched = match known.as_ref().map(|known| &known.who) {
            Some(Some(Credentials::Token(_))) => None,
            _ => sent.to_str().ok().and_then(|sent| sent.strip_prefix("Bearer ")),
        };
        let Some(value) = fetched else {
            let Some(known) = known.filter(|known| may(known.since < begun, known.since.elapsed() > YOUNG))
            else {
                return Ok(false);
            };
            return Ok(self.look_elsewhere(host, &known, true)? == Some(true));
        };
        let owner = self.memory().owner(at, host, known.as_ref().and_then(|known| known.who.as_ref()));
        let found = {
            let state = self.lock();
            let token = state.tokens.iter().find(|token| token.value == value);
            token.map(|token| may(token.is_from_before(begun), token.may_be_over()))
        };
        match found {
            Some(false) => return Ok(false),
            // With it all that were there then: one of those in its place would be refused as well.
            Some(true) => {
                if let Some(known) = &known
                    && self.look_elsewhere(host, known, false)?.is_none()
                {
                    return Ok(false);
                }
                self.lock().tokens.retain(|token| !token.is_from_before(begun));
                self.memory().forget(&owner, |token| token.is_from_before(begun));
            }
            // Another thread has renewed it.
            None => return Ok(refusal != Refusal::Other),
        }
        Ok(true)
    }

    /// As [`Auth::look_again`], where the answer may mean something else: nothing that is known is lost, and that a helper does not answer (None) is no reason to say that instead.
    fn look_elsewhere(&self, host: &Host, known: &Known, refused: bool) -> Result<Option<bool>> {
        match self.look_again(host, known, refused) {
            Err(error)
                if error.kind() != ErrorKind::Cancelled
                    && !self.provider.as_ref().is_some_and(Provider::has_failed) =>
            {
                Ok(None)
            }
            looked => looked.map(Some),
        }
    }

    /// That what was sent instead of something refused was refused as well: it is not the token.
    pub(super) fn renewed_in_vain(&self) {
        self.lock().in_vain = true;
    }

    /// Who the caller is. The first thread looks, and the others wait for what it finds.
    fn known(&self, host: &Host) -> Result<Known> {
        let who = self.settled()?;
        match &who.known {
            Some(known) => Ok(known.clone()),
            None => self.look(who, host, None),
        }
    }

    /// Looks credentials up again that were `refused`, or of which a token was. True if there are others now; those of the call stay what they are. Nobody is asked twice about the same ones: who comes
    /// after another thread has asked gets its answer, and what is the same after it was refused stays so for a while.
    fn look_again(&self, host: &Host, before: &Known, refused: bool) -> Result<bool> {
        let who = self.settled()?;
        match &who.known {
            Some(known) if known.number != before.number => Ok(known.who != before.who),
            Some(known) if known.given || (known.confirmed && known.since.elapsed() <= YOUNG) => Ok(false),
            _ => Ok(self.look(who, host, Some((before, refused)))?.who != before.who),
        }
    }

    /// Waits until nobody is asked.
    fn settled(&self) -> Result<MutexGuard<'_, Who>> {
        let mut who = self.lock_who();
        while who.asking {
            self.cancel.check()?;
            who = self.answered.wait_timeout(who, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(who)
    }

    /// Looks for credentials, without the lock. What was known stays if that fails. `again`: what there was before, and whether that was refused.
    fn look(
        &self,
        mut who: MutexGuard<'_, Who>,
        host: &Host,
        again: Option<(&Known, bool)>,
    ) -> Result<Known> {
        who.asking = true;
        drop(who);
        let asking = Asking(self);
        let found = self.find(host, again.is_some());
        let mut who = self.lock_who();
        who.count += 1;
        let known = found.map(|found| Known {
            given: false,
            since: Instant::now(),
            number: who.count,
            confirmed: again.is_some_and(|(before, refused)| refused && before.who == found),
            who: found,
        });
        if let Ok(known) = &known {
            who.known = Some(known.clone());
        }
        drop(who);
        drop(asking);
        known
    }

    /// What the provider says, or else the files.
    fn find(&self, host: &Host, fresh: bool) -> Result<Option<Credentials>> {
        if let Some(provider) = &self.provider {
            let who = provider.ask(host, fresh)?;
            // It may have taken its time.
            self.cancel.check()?;
            if who.is_some() {
                return Ok(who);
            }
        }
        let helpers = Helpers { memory: self.memory(), cancel: &self.cancel, fresh };
        self.files.find(&self.places, &host.keys, helpers)
    }
}

/// That a thread is looking for credentials. Whatever ends that, the others go on.
struct Asking<'a>(&'a Auth);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.lock_who().asking = false;
        self.0.answered.notify_all();
    }
}

impl Provider {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn ask(&self, host: &Host, refused: bool) -> Result<Option<Credentials>> {
        let registry = host.keys.last().cloned().unwrap_or_default();
        let request = CredentialRequest { registry, repository: host.repository.clone(), refused };
        self.provider.ask(&request).map_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            error.lasting().while_doing(format!("asking for credentials for \"{}\"", request.registry))
        })
    }
}

/// That a server wants to know who it is.
pub(super) fn unauthorized(authority: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, format!("\"{authority}\": {why}")).with_object(authority)
}
