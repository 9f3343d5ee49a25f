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
use self::memory::Owner;
pub(super) use self::refusal::Refusal;
pub(super) use self::store::{forget, store};
pub(super) use self::token::Scopes;
use self::token::Token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::HeaderValue;
use ureq::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::net::{Answer, Http, Network, Origin, basic, header_value};
use super::options::{CredentialProvider, CredentialRequest, Credentials};
use super::settings::{Host, Places};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};

/// The authentication of one server. Nothing is sent until the server asks for it.
pub(super) struct Auth {
    places: Places,
    files: FileSet,
    provider: Option<Provider>,
    network: Network,
    cancel: CancelToken,
    state: Mutex<State>,
}

/// Who is asked before the files, and whether he has failed, which ends the call.
#[derive(Clone)]
pub(super) struct Provider {
    pub(super) provider: CredentialProvider,
    pub(super) failed: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    /// None until they were looked for.
    known: Option<Known>,
    asked: Option<Challenge>,
    tokens: Vec<Token>,
    /// A new token was refused as the one before it.
    in_vain: bool,
}

/// Who the caller is, if anybody.
#[derive(Clone)]
struct Known {
    who: Option<Credentials>,
    /// The call says so, and nothing else is asked.
    given: bool,
    since: Instant,
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
        let given = given.map(|given| Known { who: Some(given.clone()), given: true, since: Instant::now() });
        let state = State { known: given, ..State::default() };
        let (places, network, cancel) = (places.clone(), network.clone(), cancel.clone());
        Auth { places, files, provider, network, cancel, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.lock();
        let challenge = match state.asked.clone() {
            Some(challenge) => challenge,
            None => {
                let Some(bearer) = self.remembered(&mut state, host, at, scopes)? else { return Ok(None) };
                match self.bearer(&mut state, http, host, at, scopes, &bearer) {
                    Ok(value) => {
                        state.asked = Some(Challenge::Bearer(bearer));
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
                        let who = self.credentials(&mut state, host)?;
                        self.memory().forget_owner(&self.memory().owner(at, host, who.as_ref()));
                        return Ok(None);
                    }
                }
            }
        };
        let text = match &challenge {
            Challenge::Basic => match self.credentials(&mut state, host)? {
                Some(Credentials::Password { username, password }) => basic(&username, &password),
                _ => return Ok(None),
            },
            Challenge::Bearer(bearer) => {
                let value = self.bearer(&mut state, http, host, at, scopes, bearer)?;
                format!("Bearer {value}")
            }
        };
        header_value(&AUTHORIZATION, &text).map(Some)
    }

    /// What the server asked another call of the engine for.
    fn remembered(
        &self,
        state: &mut State,
        host: &Host,
        at: &Origin,
        scopes: &Scopes,
    ) -> Result<Option<Bearer>> {
        if !self.memory().knows(at, host) {
            return Ok(None);
        }
        let who = self.credentials(state, host)?;
        Ok(self.memory().challenge(&self.memory().owner(at, host, who.as_ref()), scopes))
    }

    /// A token: the caller's, one that is there, or a new one.
    fn bearer(
        &self,
        state: &mut State,
        http: &Http,
        host: &Host,
        at: &Origin,
        scopes: &Scopes,
        bearer: &Bearer,
    ) -> Result<String> {
        let was_known = state.known.is_some();
        state.tokens.retain(|token| !token.is_stale());
        let wanted = scopes.with(&bearer.scope);
        let mut looked_again = false;
        loop {
            let who = self.credentials(state, host)?;
            if let Some(Credentials::Token(token)) = who {
                return Ok(token);
            }
            if let Some(token) = state.tokens.iter().find(|token| token.covers(&wanted)) {
                return Ok(token.value.clone());
            }
            let owner = self.memory().owner(at, host, who.as_ref());
            match self.token(&owner, http, host, at, bearer, who.as_ref(), &wanted) {
                // They may have been changed since they were looked up.
                Err(error)
                    if (was_known || self.provider.is_some())
                        && error.kind() == ErrorKind::Unauthorized
                        && !std::mem::replace(&mut looked_again, true)
                        && self.look_again(state, host)? => {}
                result => {
                    let token = result?;
                    let value = token.value.clone();
                    state.tokens.push(token);
                    return Ok(value);
                }
            }
        }
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
        if let Some(token) = memory.token(owner, bearer, wanted) {
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
        let state = self.lock();
        let text = match (state.asked.as_ref()?, &state.known.as_ref()?.who) {
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
        let mut state = self.lock();
        let credentials = self.credentials(&mut state, host)?;
        let Some(challenge) = Challenge::choose(&offered, credentials.as_ref()) else { return Ok(false) };
        match (&challenge, &credentials) {
            (Challenge::Basic, Some(Credentials::Password { .. })) => {
                state.asked = Some(challenge);
                Ok(sent.is_none()
                    || (!std::mem::replace(renewed, true) && self.look_again(&mut state, host)?))
            }
            (Challenge::Basic, _) => Ok(false),
            (Challenge::Bearer(_), _) => {
                if let (Some(Credentials::Token(_)), Some(_)) = (&credentials, sent) {
                    return Ok(!std::mem::replace(renewed, true) && self.look_again(&mut state, host)?);
                }
                // A token that was not taken is worth nothing, whatever is said of its life, and neither are the others, which are no younger. Those that another thread
                // has fetched since are.
                if let Some(sent) =
                    sent.and_then(|sent| sent.to_str().ok()).and_then(|sent| sent.strip_prefix("Bearer "))
                {
                    let refused = state.tokens.iter().position(|token| token.value == sent);
                    if let Some(refused) = refused.map(|at| state.tokens.swap_remove(at)) {
                        state.tokens.retain(|token| token.is_younger_than(&refused));
                        let owner = self.memory().owner(&answer.origin(), host, credentials.as_ref());
                        self.memory().forget(&owner, |token| !token.is_younger_than(&refused));
                    }
                    self.memory().forget_token(&answer.origin(), sent);
                }
                state.asked = Some(challenge);
                Ok(true)
            }
        }
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
        let mut state = self.lock();
        let refusal = if state.in_vain && refusal == Refusal::Ended { Refusal::Denied } else { refusal };
        let may = |before: bool, over: bool| match refusal {
            Refusal::Ended => before,
            Refusal::Denied => before && over,
            Refusal::Other => false,
        };
        let known = state.known.as_ref();
        // A token that is not fetched is worth as much as a password.
        let fetched = match known.map(|known| &known.who) {
            Some(Some(Credentials::Token(_))) => None,
            _ => sent.to_str().ok().and_then(|sent| sent.strip_prefix("Bearer ")),
        };
        let Some(value) = fetched else {
            let may = known.is_some_and(|known| may(known.since < begun, known.since.elapsed() > YOUNG));
            return Ok(may && self.look_elsewhere(&mut state, host)? == Some(true));
        };
        let owner = self.memory().owner(at, host, known.and_then(|known| known.who.as_ref()));
        match state.tokens.iter().find(|token| token.value == value) {
            Some(token) if !may(token.is_from_before(begun), token.may_be_over()) => return Ok(false),
            // With it all that were there then: one of those in its place would be refused as well.
            Some(_) => {
                if self.look_elsewhere(&mut state, host)?.is_none() {
                    return Ok(false);
                }
                state.tokens.retain(|token| !token.is_from_before(begun));
                self.memory().forget(&owner, |token| token.is_from_before(begun));
            }
            // Another thread has renewed it.
            None => return Ok(refusal != Refusal::Other),
        }
        Ok(true)
    }

    /// As [`Auth::look_again`], where the answer may mean something else: nothing that is known is lost, and that a helper does not answer (None) is no reason to say that instead.
    fn look_elsewhere(&self, state: &mut State, host: &Host) -> Result<Option<bool>> {
        match self.look_again(state, host) {
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

    fn credentials(&self, state: &mut State, host: &Host) -> Result<Option<Credentials>> {
        match &state.known {
            Some(known) => Ok(known.who.clone()),
            None => self.look(state, host, false),
        }
    }

    fn look(&self, state: &mut State, host: &Host, fresh: bool) -> Result<Option<Credentials>> {
        let mut who = None;
        if let Some(provider) = &self.provider {
            who = provider.ask(host, fresh)?;
            // It may have taken its time.
            self.cancel.check()?;
        }
        if who.is_some() {
            return Ok(state.known.insert(Known { who, given: false, since: Instant::now() }).who.clone());
        }
        let helpers = Helpers { memory: self.memory(), cancel: &self.cancel, fresh };
        let who = self.files.find(&self.places, &host.keys, helpers)?;
        Ok(state.known.insert(Known { who, given: false, since: Instant::now() }).who.clone())
    }

    /// Looks credentials up again that were refused. True if there are others now; those of the call stay what they are.
    fn look_again(&self, state: &mut State, host: &Host) -> Result<bool> {
        let Some(before) = state.known.take_if(|known| !known.given) else { return Ok(false) };
        match self.look(state, host, true) {
            Ok(who) => Ok(who != before.who),
            Err(error) => {
                state.known = Some(before);
                Err(error)
            }
        }
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
