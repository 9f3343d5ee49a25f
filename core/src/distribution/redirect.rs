//! Redirects: followed for what only reads, and never with credentials to another server.

use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::http::{HeaderMap, Method, StatusCode, Uri};

use super::net::{Answer, Content, Http, Origin, Request, join};
use crate::error::{Error, ErrorKind, Result};

/// The most redirects of one request.
const MAX_REDIRECTS: usize = 10;

/// Sends a request that reads and follows where it is sent to. What only the first server may see, which is every header that is marked sensitive, goes
/// to no other scheme, host or port; and what began with TLS stays with TLS.
pub(super) fn follow(http: &Http, request: Request<'_>) -> Result<Answer> {
    let Request { method, mut url, mut headers, content, passed_on_to } = request;
    if !matches!(method, Method::GET | Method::HEAD) || !matches!(content, Content::Nothing) {
        return http.send(Request { method, url, headers, content, passed_on_to });
    }
    let first = Origin::of(&url);
    for _ in 0..=MAX_REDIRECTS {
        let sent = Request {
            method: method.clone(),
            url: url.clone(),
            headers: headers.clone(),
            content: Content::Nothing,
            passed_on_to: passed_on_to.clone(),
        };
        let answer = http.send(sent)?;
        let Some(target) = target_of(&answer)? else { return Ok(answer) };
        let (from, to) = (Origin::of(&url), Origin::of(&target));
        if from.https && !to.https {
            let text = format!("\"{}\" redirects to \"{to}\", which is not encrypted", from.authority());
            return Err(Error::new(ErrorKind::Registry, text).with_object(from.authority()));
        }
        if to != first {
            // They do not come back either, when a later redirect leads to the first server.
            let keep = headers.iter().filter(|(name, value)| !value.is_sensitive() && *name != AUTHORIZATION);
            let kept: HeaderMap = keep.map(|(name, value)| (name.clone(), value.clone())).collect();
            headers = kept;
        }
        answer.discard();
        url = target;
    }
    let text = format!("\"{}\" redirects more than {MAX_REDIRECTS} times", first.authority());
    Err(Error::new(ErrorKind::Registry, text).with_object(first.authority()))
}

/// Where an answer sends its reader; None if it is an answer itself.
fn target_of(answer: &Answer) -> Result<Option<Uri>> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&answer.status) {
        return Ok(None);
    }
    let location = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok()).ok_or_else(|| {
        let authority = answer.origin().authority();
        Error::new(ErrorKind::Registry, format!("\"{authority}\" redirects without saying to where"))
            .with_object(authority)
    })?;
    join(&answer.url, location).map(Some)
}
