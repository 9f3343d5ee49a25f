//! Tokens: asked for with a scope, kept until shortly before they end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{Method, StatusCode};

use super::challenge::Bearer;
use super::{realm, unauthorized};
use crate::distribution::answer::refused_silently;
use crate::distribution::net::{Answer, Content, Http, Origin, Request, basic, encode, with_query};
use crate::distribution::options::Credentials;
use crate::distribution::redirect::follow;
use crate::distribution::settings::Host;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::state::parse_rfc3339;

/// A token that says nothing about its life has this one, by the specification of the token server.
const DEFAULT_LIFE: u64 = 60;
const MAX_LIFE: u64 = 24 * 3600;
const MAX_ANSWER: u64 = 1 << 20;
const CLIENT_ID: &str = "coble";

/// What is to be done: `repository:name:pull,push`, several at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::distribution) struct Scopes(BTreeSet<(String, String)>);

impl Scopes {
    /// Actions on a repository.
    pub(in crate::distribution) fn repository(name: &str, actions: &[&str]) -> Scopes {
        let resource = format!("repository:{name}");
        Scopes(actions.iter().map(|action| (resource.clone(), (*action).to_owned())).collect())
    }

    /// The list of repositories.
    pub(in crate::distribution) fn catalog() -> Scopes {
        Scopes([("registry:catalog".to_owned(), "*".to_owned())].into())
    }

    /// With what a challenge asks for.
    pub(super) fn with(&self, more: &[String]) -> Scopes {
        let mut all = self.clone();
        for scope in more.iter().take(16) {
            if let Some((resource, actions)) = scope.rsplit_once(':') {
                all.0.extend(actions.split(',').map(|action| (resource.to_owned(), action.to_owned())));
            }
        }
        all
    }

    /// With those of another one.
    pub(in crate::distribution) fn and(mut self, other: Scopes) -> Scopes {
        self.0.extend(other.0);
        self
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        let mut last = None;
        for (resource, action) in &self.0 {
            match texts.last_mut() {
                Some(text) if last == Some(resource) => {
                    text.push(',');
                    text.push_str(action);
                }
                _ => texts.push(format!("{resource}:{action}")),
            }
            last = Some(resource);
        }
        texts
    }
}

/// A token and what it is good for. Not `Debug`.
#[derive(Clone)]
pub(in crate::distribution) struct Token {
    pub(super) value: String,
    scopes: Scopes,
    /// When it was fetched, and how old it was then.
    fetched: Instant,
    old: Duration,
    end: Instant,
}

impl Token {
    pub(super) fn is_stale(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Whether it may have ended, whatever its server said of its life.
    pub(super) fn may_be_over(&self) -> bool {
        self.old.saturating_add(self.fetched.elapsed()) > Duration::from_secs(DEFAULT_LIFE)
    }

    /// Whether it was there at that time.
    pub(super) fn is_from_before(&self, time: Instant) -> bool {
        self.fetched < time
    }

    /// Whether it was fetched after the other one.
    pub(super) fn is_younger_than(&self, other: &Token) -> bool {
        self.fetched > other.fetched
    }

    pub(super) fn covers(&self, wanted: &Scopes) -> bool {
        // Who wants nothing in particular is not helped by what is for something.
        if wanted.0.is_empty() { self.scopes.0.is_empty() } else { wanted.0.is_subset(&self.scopes.0) }
    }

    /// Whether the other one is good for all that this is good for.
    pub(super) fn is_covered_by(&self, other: &Token) -> bool {
        other.covers(&self.scopes)
    }
}

#[derive(Deserialize)]
struct Issued {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
    issued_at: Option<String>,
}

/// Fetches a token.
pub(in crate::distribution) fn fetch(
    http: &Http,
    host: &Host,
    registry: &Origin,
    bearer: &Bearer,
    credentials: Option<&Credentials>,
    scopes: &Scopes,
) -> Result<Token> {
    fetch_from(http, host, registry, bearer, credentials, scopes)
        .context(|| format!("getting a token for \"{}\"", registry.authority()))
}

fn fetch_from(
    http: &Http,
    host: &Host,
    registry: &Origin,
    bearer: &Bearer,
    credentials: Option<&Credentials>,
    scopes: &Scopes,
) -> Result<Token> {
    let url = realm::check(&bearer.realm, registry, host, credentials.is_some())?;
    let texts = scopes.texts();
    let form = |more: &[(&str, &str)]| {
        let scope = texts.join(" ");
        let mut fields = vec![("client_id", CLIENT_ID), ("access_type", "online")];
        fields.extend(bearer.service.as_deref().map(|service| ("service", service)));
        fields.extend((!scope.is_empty()).then_some(("scope", scope.as_str())));
        fields.extend(more);
        fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
    };
    let post = |form: String| {
        let request = Request::new(Method::POST, url.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")?
            .content(Content::Bytes(form.as_bytes()));
        // The secret is in the body, so it stays where it was sent to.
        http.send(request)
    };
    let answer = match credentials {
        Some(Credentials::IdentityToken(token)) => {
            post(form(&[("grant_type", "refresh_token"), ("refresh_token", token)]))?
        }
        Some(Credentials::Password { username, password }) => {
            let mut query: Vec<(&str, &str)> = vec![("account", username)];
            query.extend(bearer.service.as_deref().map(|service| ("service", service)));
            query.extend(texts.iter().map(|scope| ("scope", scope.as_str())));
            let request =
                Request::get(with_query(&url, &query)?).header(AUTHORIZATION, &basic(username, password))?;
            let answer = follow(http, request)?;
            match answer.status {
                // Servers that have the newer way only.
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    answer.discard();
                    post(form(&[("grant_type", "password"), ("username", username), ("password", password)]))?
                }
                _ => answer,
            }
        }
        Some(Credentials::Token(_)) | None => {
            let mut query: Vec<(&str, &str)> = Vec::new();
            query.extend(bearer.service.as_deref().map(|service| ("service", service)));
            query.extend(texts.iter().map(|scope| ("scope", scope.as_str())));
            follow(http, Request::get(with_query(&url, &query)?))?
        }
    };
    read(answer, registry, credentials.is_some(), scopes)
}

fn read(answer: Answer, registry: &Origin, with_credentials: bool, scopes: &Scopes) -> Result<Token> {
    match answer.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            let why = match with_credentials {
                true => "its token server does not take the credentials",
                false => "its token server gives nothing without credentials",
            };
            let error = unauthorized(&registry.authority(), why);
            return Err(if with_credentials {
                error
            } else {
                error.with_hint("log in, or give credentials")
            });
        }
        // What it says is not shown: it may repeat what it was asked with, which is the password.
        _ => return Err(refused_silently(answer, "token")),
    }
    let date = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    let authority = answer.origin().authority();
    let bytes = answer.bytes(MAX_ANSWER)?;
    let nonsense = |why: &str| {
        Error::new(ErrorKind::Registry, format!("the token server \"{authority}\" answered without {why}"))
    };
    // What does not parse is not shown: it may be most of a token.
    let issued: Issued =
        serde_json::from_slice(&bytes).map_err(|_| nonsense("a document of the form for tokens"))?;
    let value = issued
        .token
        .filter(|token| !token.is_empty())
        .or(issued.access_token.filter(|token| !token.is_empty()));
    // Anything else could not be sent in a header, or would be more than one.
    let value = value.filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()));
    let value = value.ok_or_else(|| nonsense("a token"))?;
    let life = issued
        .expires_in
        .filter(|life| life.is_finite() && *life > 0.0)
        .map_or(DEFAULT_LIFE, |life| life as u64);
    let life = Duration::from_secs(life.clamp(1, MAX_LIFE));
    // A token may be older than the answer. Both times are the server's, so that our clock does not matter.
    let age = date
        .zip(issued.issued_at.as_deref().and_then(parse_rfc3339))
        .map(|(date, issued)| u64::try_from(crate::state::micros(date).saturating_sub(issued)).unwrap_or(0));
    let old = Duration::from_micros(age.unwrap_or(0));
    let fetched = Instant::now();
    // Renewed a little before its end, so that no request is sent with one that ends on its way.
    let end = fetched + life.saturating_sub(old).mul_f32(0.9);
    Ok(Token { value, scopes: scopes.clone(), fetched, old, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_one_for_each_resource() {
        let both = Scopes::repository("a/b", &["push", "pull"]).and(Scopes::repository("from", &["pull"]));
        assert_eq!(both.texts(), ["repository:a/b:pull,push", "repository:from:pull"]);
        let more =
            Scopes::repository("a", &["pull"]).with(&["repository:a:pull,push".into(), "nonsense".into()]);
        assert_eq!(more.texts(), ["repository:a:pull,push"]);
        assert_eq!(Scopes::catalog().texts(), ["registry:catalog:*"]);
    }
}
