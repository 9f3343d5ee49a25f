//! Who the caller is to a server: challenges, credentials and where they are kept, tokens. Everything here is about one server; what belongs to it never
//! leaves for another one, but to the token server that evidently belongs to it.

mod challenge;
mod files;
mod helper;
mod realm;
mod store;
mod token;

use self::challenge::Challenge;
pub(super) use self::challenge::challenges_of;
pub(super) use self::files::FileSet;
pub(super) use self::store::{forget, store};
pub(super) use self::token::Scopes;
use self::token::Token;

use std::sync::{Mutex, MutexGuard, PoisonError};

use ureq::http::HeaderValue;
use ureq::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};

use super::net::{Answer, Http, Origin, basic, header_value};
use super::options::Credentials;
use super::settings::{Host, Places};
use crate::cancel::CancelToken;
use crate::error::{Error, ErrorKind, Result};

/// The authentication of one server. Nothing is sent until the server asks for it.
pub(super) struct Auth {
    places: Places,
    files: FileSet,
    cancel: CancelToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None until they were looked for.
    credentials: Option<Option<Credentials>>,
    asked: Option<Challenge>,
    tokens: Vec<Token>,
}

impl Auth {
    /// With credentials of the call, or with those of the files.
    pub(super) fn new(
        places: &Places,
        given: Option<&Credentials>,
        files: FileSet,
        cancel: &CancelToken,
    ) -> Auth {
        let credentials = given.map(|given| Some(given.clone()));
        let state = State { credentials, ..State::default() };
        Auth { places: places.clone(), files, cancel: cancel.clone(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header for a request that needs the scopes; None as long as the server has not asked for one. A token is fetched by one thread for all.
    pub(super) fn header(
        &self,
        http: &Http,
        host: &Host,
        at: &Origin,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>> {
        let mut state = self.lock();
        let Some(challenge) = state.asked.clone() else { return Ok(None) };
        let credentials = self.credentials(&mut state, host)?;
        let text = match (&challenge, credentials) {
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                basic(&username, &password)
            }
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer(_), Some(Credentials::Token(token))) => format!("Bearer {token}"),
            (Challenge::Bearer(bearer), credentials) => {
                state.tokens.retain(|token| !token.is_stale());
                let wanted = scopes.with(&bearer.scope);
                let value = match state.tokens.iter().find(|token| token.covers(&wanted)) {
                    Some(token) => token.value.clone(),
                    None => {
                        let token = token::fetch(http, host, at, bearer, credentials.as_ref(), &wanted)?;
                        let value = token.value.clone();
                        state.tokens.push(token);
                        value
                    }
                };
                format!("Bearer {value}")
            }
        };
        header_value(&AUTHORIZATION, &text).map(Some)
    }

    /// The header of the last token, or of the password, if a server has asked for it; nothing is fetched or looked up.
    pub(super) fn known_header(&self) -> Option<HeaderValue> {
        let state = self.lock();
        let text = match (state.asked.as_ref()?, state.credentials.as_ref()?) {
            (Challenge::Basic, Some(Credentials::Password { username, password })) => {
                basic(username, password)
            }
            (Challenge::Basic, _) => return None,
            (Challenge::Bearer(_), Some(Credentials::Token(token))) => format!("Bearer {token}"),
            (Challenge::Bearer(_), _) => format!("Bearer {}", state.tokens.last()?.value),
        };
        header_value(&AUTHORIZATION, &text).ok()
    }

    /// What to do after status 401: true if the request should be sent again. `sent` is what it was sent with.
    pub(super) fn challenged(
        &self,
        answer: &Answer,
        host: &Host,
        sent: Option<&HeaderValue>,
    ) -> Result<bool> {
        let values = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered = challenges_of(values);
        let mut state = self.lock();
        let credentials = self.credentials(&mut state, host)?;
        let Some(challenge) = Challenge::choose(&offered, credentials.as_ref()) else { return Ok(false) };
        match (&challenge, &credentials) {
            (Challenge::Basic, Some(Credentials::Password { .. })) => {
                state.asked = Some(challenge);
                Ok(sent.is_none())
            }
            (Challenge::Basic, _) => Ok(false),
            (Challenge::Bearer(_), _) => {
                // A token that was not taken is worth nothing, whatever is said of its life.
                if let Some(sent) =
                    sent.and_then(|sent| sent.to_str().ok()).and_then(|sent| sent.strip_prefix("Bearer "))
                {
                    state.tokens.retain(|token| token.value != sent);
                }
                state.asked = Some(challenge);
                Ok(true)
            }
        }
    }

    fn credentials(&self, state: &mut State, host: &Host) -> Result<Option<Credentials>> {
        if let Some(known) = &state.credentials {
            return Ok(known.clone());
        }
        let found = self.files.find(&self.places, &host.keys, &self.cancel)?;
        Ok(state.credentials.insert(found).clone())
    }
}

/// That a server wants to know who it is.
pub(super) fn unauthorized(authority: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unauthorized, format!("\"{authority}\": {why}")).with_object(authority)
}
