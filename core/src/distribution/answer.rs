//! What a registry says when it does not do what was asked: its error document, or whatever it sent instead.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use ureq::http::StatusCode;

use super::net::{Answer, text_of};
use crate::error::{Error, ErrorKind};

/// So much of an error's body is looked at, and so much of it shown.
const MAX_BODY: u64 = 64 << 10;
const MAX_SHOWN: usize = 500;
/// The most errors of one document that are shown.
const MAX_ERRORS: usize = 5;

#[derive(Deserialize)]
struct Document {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: Option<serde_json::Value>,
}

/// The error of an answer that is one. `object` is what the request was about.
pub(super) fn refused(answer: Answer, object: &str) -> Error {
    refused_as(answer, object, ErrorKind::Registry)
}

/// As [`refused`], with nothing of what the server says.
pub(super) fn refused_silently(answer: Answer, object: &str) -> Error {
    error_of(answer, object, ErrorKind::Registry, false)
}

/// As [`refused`], for something whose absence, which status 404 stands for, has a kind of its own.
pub(super) fn refused_as(answer: Answer, object: &str, missing: ErrorKind) -> Error {
    error_of(answer, object, missing, true)
}

fn error_of(answer: Answer, object: &str, missing: ErrorKind, shown: bool) -> Error {
    let status = answer.status;
    let authority = answer.origin().authority();
    let wait = retry_after(&answer);
    let secrets = answer.secrets();
    let (codes, said) = if shown {
        read(&answer.beginning(MAX_BODY), &secrets)
    } else {
        answer.discard();
        (Vec::new(), String::new())
    };
    let kind = match kind_of(status, &codes) {
        ErrorKind::Registry if status == StatusCode::NOT_FOUND => missing,
        kind => kind,
    };
    let number = status.as_u16();
    let mut text = match kind {
        ErrorKind::ImageNotFound => format!("\"{authority}\" does not have \"{object}\""),
        ErrorKind::RateLimited => format!("\"{authority}\" refuses more requests for now (status {number})"),
        ErrorKind::Unauthorized => format!("\"{authority}\" refuses \"{object}\" (status {number})"),
        _ => format!("\"{authority}\" answered status {number} for \"{object}\""),
    };
    if !said.is_empty() {
        text.push_str(": ");
        text.push_str(&said);
    }
    let mut error = Error::new(kind, text).with_object(object);
    match kind {
        ErrorKind::Unauthorized => error = error.with_hint("log in, or check what the account may do there"),
        ErrorKind::RateLimited => error = error.with_hint("wait, or log in for a higher limit"),
        _ => {}
    }
    if is_transient(status) { error.transient_after(wait) } else { error }
}

/// A server's text without what it was sent in secret.
pub(super) fn hidden(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
}

/// The codes of an error's body, if it is a document.
pub(super) fn codes_of(body: &[u8]) -> Vec<String> {
    let document = serde_json::from_slice::<Document>(body);
    document
        .map_or_else(|_| Vec::new(), |document| document.errors.into_iter().map(|entry| entry.code).collect())
}

/// Codes and text of an error's body. A server that repeats what it was asked with is not quoted in that.
fn read(body: &[u8], secrets: &[String]) -> (Vec<String>, String) {
    let hide = |text: &[u8]| text_of(hidden(&String::from_utf8_lossy(text), secrets).as_bytes(), MAX_SHOWN);
    match serde_json::from_slice::<Document>(body) {
        Ok(document) if !document.errors.is_empty() => {
            let codes = document.errors.iter().map(|entry| entry.code.clone()).collect();
            let texts: Vec<String> = document.errors.iter().take(MAX_ERRORS).map(Entry::text).collect();
            (codes, hide(texts.join("; ").as_bytes()))
        }
        _ => (Vec::new(), hide(body)),
    }
}

impl Entry {
    fn text(&self) -> String {
        let message = self.message.as_deref().filter(|message| !message.is_empty());
        let detail = match &self.detail {
            Some(serde_json::Value::String(detail)) if message.is_none() => Some(detail.as_str()),
            _ => None,
        };
        match (self.code.as_str(), message.or(detail)) {
            ("", None) => "an error without a word".to_owned(),
            ("", Some(message)) => message.to_owned(),
            (code, None) => code.to_owned(),
            (code, Some(message)) => format!("{code}: {message}"),
        }
    }
}

/// The kind, by the codes of the specification, then by the status.
fn kind_of(status: StatusCode, codes: &[String]) -> ErrorKind {
    let by_code = codes.iter().find_map(|code| match code.as_str() {
        "MANIFEST_UNKNOWN" | "NAME_UNKNOWN" => Some(ErrorKind::ImageNotFound),
        "UNAUTHORIZED" | "DENIED" => Some(ErrorKind::Unauthorized),
        "TOOMANYREQUESTS" => Some(ErrorKind::RateLimited),
        "UNSUPPORTED" => Some(ErrorKind::Unsupported),
        "DIGEST_INVALID" | "SIZE_INVALID" => Some(ErrorKind::DigestMismatch),
        "NAME_INVALID" => Some(ErrorKind::InvalidReference),
        "MANIFEST_INVALID" => Some(ErrorKind::InvalidImage),
        // The code stays in the message: what a blob or an upload that is not there means depends on who asks.
        _ => None,
    });
    match (status.as_u16(), by_code) {
        // What the status says is clearer than the code beside it.
        (401 | 403, _) => ErrorKind::Unauthorized,
        (429, _) => ErrorKind::RateLimited,
        (500..=599, _) => ErrorKind::Registry,
        (_, Some(kind)) => kind,
        (405, None) => ErrorKind::Unsupported,
        (_, None) => ErrorKind::Registry,
    }
}

fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(answer: &Answer) -> Option<Duration> {
    let text = answer.header("retry-after")?;
    let now = answer.header("date").and_then(|date| httpdate::parse_http_date(date).ok());
    parse_retry_after(text, now.unwrap_or_else(SystemTime::now))
}

fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0)
            .then(|| Duration::from_secs_f64(seconds.min(86_400.0)));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(input: &[u8]) -> bool {
    let (codes, said) = read(input, &[]);
    assert!(said.chars().count() <= MAX_SHOWN * 12 + 3);
    let _ = kind_of(StatusCode::BAD_REQUEST, &codes);
    let wait = parse_retry_after(&String::from_utf8_lossy(input), SystemTime::UNIX_EPOCH);
    !codes.is_empty() || wait.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourteen_codes_unknown_ones_and_what_is_no_document() {
        let by_code = |status: u16, code: &str| {
            let body =
                format!(r#"{{"errors":[{{"code":"{code}","message":"said so","detail":{{"x":1}}}}]}}"#);
            let (codes, text) = read(body.as_bytes(), &[]);
            assert_eq!(text, format!("{code}: said so"));
            kind_of(StatusCode::from_u16(status).unwrap(), &codes)
        };
        for (status, code, kind) in [
            (404, "BLOB_UNKNOWN", ErrorKind::Registry),
            (404, "BLOB_UPLOAD_INVALID", ErrorKind::Registry),
            (404, "BLOB_UPLOAD_UNKNOWN", ErrorKind::Registry),
            (400, "DIGEST_INVALID", ErrorKind::DigestMismatch),
            (404, "MANIFEST_BLOB_UNKNOWN", ErrorKind::Registry),
            (400, "MANIFEST_INVALID", ErrorKind::InvalidImage),
            (404, "MANIFEST_UNKNOWN", ErrorKind::ImageNotFound),
            (400, "NAME_INVALID", ErrorKind::InvalidReference),
            (404, "NAME_UNKNOWN", ErrorKind::ImageNotFound),
            (400, "SIZE_INVALID", ErrorKind::DigestMismatch),
            (401, "UNAUTHORIZED", ErrorKind::Unauthorized),
            (403, "DENIED", ErrorKind::Unauthorized),
            (405, "UNSUPPORTED", ErrorKind::Unsupported),
            (429, "TOOMANYREQUESTS", ErrorKind::RateLimited),
            (418, "SOMETHING_NEW", ErrorKind::Registry),
            (503, "MANIFEST_UNKNOWN", ErrorKind::Registry),
        ] {
            assert_eq!(by_code(status, code), kind, "{code}");
        }
        let (codes, text) = read(b"<html>\x1b[2Jno\nway</html>", &[]);
        assert!(codes.is_empty() && text == "<html>\\u{1b}[2Jno\\nway</html>", "{text}");
        assert_eq!(read(&[b'x'; 10_000], &[]).1.len(), MAX_SHOWN + 3);
        assert_eq!(read(br#"{"errors":[]}"#, &[]).1, r#"{"errors":[]}"#);
        assert_eq!(read(br#"{"errors":[{"code":"X","message":null}]}"#, &[]).1, "X");
        assert_eq!(read(b"\xff\xfe", &[]).1, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        let after = |text: &str| parse_retry_after(text, now).map(|wait| wait.as_secs());
        assert_eq!(after("12"), Some(12));
        assert_eq!(after(" 0 "), Some(0));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after("Sun, 06 Nov 1994 08:40:37 GMT"), Some(0));
        assert_eq!(after("99999999999999999999"), Some(86_400));
        for nonsense in ["", "-1", "soon", "nan", "inf", "1994"] {
            assert!(after(nonsense).is_none_or(|seconds| seconds <= 86_400), "{nonsense}");
        }
    }
}
