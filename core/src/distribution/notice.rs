//! What a registry says beside its answers: warnings, and how many requests are left.

use std::time::Duration;

use super::answer::hidden;
use super::event::Event;
use super::header::{parts, unquote};
use super::net::{Answer, text_of};

/// Characters of a warning that are shown.
const MAX_SHOWN: usize = 500;

/// The warnings of an answer. What it was asked with in secret is not repeated.
pub(super) fn warnings_of(answer: &Answer) -> Vec<String> {
    let secrets = answer.secrets();
    let values = answer.headers.get_all("warning").iter();
    values
        .flat_map(|value| texts(&String::from_utf8_lossy(value.as_bytes())))
        .map(|text| text_of(hidden(&text, &secrets).as_bytes(), MAX_SHOWN))
        .collect()
}

/// The texts of `299 - "text"`, the only code that the specification has. There may be several in one header.
fn texts(value: &str) -> Vec<String> {
    let text = |part: &str| {
        let (_, rest) = part.strip_prefix("299 ")?.split_once('"')?;
        // It ends with a quote, or is none.
        unquote(rest).filter(|text| !text.trim().is_empty())
    };
    parts(value).into_iter().filter_map(text).collect()
}

/// `RateLimit-Limit: 100;w=21600` and `RateLimit-Remaining: 76;w=21600`.
pub(super) fn rate_limit_of(answer: &Answer) -> Option<Event> {
    let number = |name: &str| {
        let value = answer.header(name)?;
        let mut parts = value.split([';', ',']).map(str::trim);
        let number = parts.next()?.parse::<u64>().ok()?;
        Some((number, parts.find_map(|part| part.strip_prefix("w=")?.parse::<u64>().ok())))
    };
    let (limit, remaining) = (number("ratelimit-limit"), number("ratelimit-remaining"));
    let period = limit.or(remaining)?.1.map(Duration::from_secs);
    Some(Event::RateLimit {
        limit: limit.map(|limit| limit.0),
        remaining: remaining.map(|left| left.0),
        period,
    })
}

#[cfg(any(test, fuzzing))]
pub(super) fn fuzz(text: &str) -> bool {
    !texts(text).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_have_one_form() {
        assert_eq!(texts(r#"299 - "use \"v2\" now""#), [r#"use "v2" now"#]);
        assert_eq!(
            texts(r#"299 - "a, b", 199 - "other" ,299 reg:1 "c" "Sat, 25 Aug 2012 23:34:45 GMT""#),
            ["a, b", "c"]
        );
        assert_eq!(texts("299 - \"f\u{fc}r\""), ["f\u{fc}r"]);
        for other in
            ["", "199 - \"x\"", "299 - no quotes", "299 - \"open", "299", "299 - \"\"", ",,\"299 - \"x"]
        {
            assert!(texts(other).is_empty(), "{other}");
        }
    }
}
