//! Status 403, which most registries mean as it is, and some say of a token that has ended: that of AWS does, whose tokens end in the middle of a long push.

use ureq::http::header::WWW_AUTHENTICATE;

use crate::distribution::answer::codes_of;
use crate::distribution::net::Answer;

/// So much of what is said is looked at.
const MAX_SAID: u64 = 64 << 10;

/// What a server that refuses a request says of the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::distribution) enum Refusal {
    /// What was sent has ended, or is not what it was.
    Ended,
    /// That it is refused, which is also what some servers say of what has ended.
    Denied,
    /// Something else.
    Other,
}

impl Refusal {
    /// What an answer says. Its body can still be shown afterwards.
    pub(in crate::distribution) fn of(answer: &mut Answer) -> Refusal {
        let body = answer.peek(MAX_SAID);
        let asked = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let asked: Vec<String> = asked.map(str::to_ascii_lowercase).collect();
        read(&asked.join(", "), &body)
    }
}

fn read(asked: &str, body: &[u8]) -> Refusal {
    let codes = codes_of(body);
    let said = String::from_utf8_lossy(body).to_ascii_lowercase();
    let any = |text: &str, words: &[&str]| words.iter().any(|word| text.contains(word));
    if asked.contains("insufficient_scope") {
        return Refusal::Other;
    }
    let about = |text: &str| any(text, &["token", "credential", "authoriz", "authentic", "jwt"]);
    let ended = |text: &str| {
        (any(text, &["expired", "no longer valid"]) && about(text))
            || any(text, &["invalid_token", "invalid token", "token is invalid", "token is not valid"])
    };
    if ended(asked) || ended(&said) {
        Refusal::Ended
    } else if !asked.is_empty() || codes.iter().any(|code| code == "DENIED" || code == "UNAUTHORIZED") {
        Refusal::Denied
    } else {
        Refusal::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_of_the_reason() {
        let document =
            |code: &str, text: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"{text}"}}]}}"#);
        for (asked, body, refusal) in [
            (
                "",
                document("DENIED", "Your authorization token has expired. Reauthenticate and try again."),
                Refusal::Ended,
            ),
            (r#"bearer realm="x",error="invalid_token""#, String::new(), Refusal::Ended),
            ("", "<html>Invalid token</html>".to_owned(), Refusal::Ended),
            ("", document("DENIED", "requested access to the resource is denied"), Refusal::Denied),
            (r#"basic realm="x""#, String::new(), Refusal::Denied),
            ("", document("DENIED", "your subscription has expired"), Refusal::Denied),
            (
                r#"bearer realm="x",error="insufficient_scope""#,
                document("DENIED", "token expired"),
                Refusal::Other,
            ),
            ("", document("TOOMANYREQUESTS", "slow down"), Refusal::Other),
            ("", "<html>a firewall</html>".to_owned(), Refusal::Other),
        ] {
            assert_eq!(read(asked, body.as_bytes()), refusal, "{asked:?} {body:?}");
        }
    }
}
