//! `WWW-Authenticate`: what a server wants to see.

use crate::distribution::header::{parts, unquote};
use crate::distribution::options::Credentials;

/// More challenges than any server has.
const MAX_CHALLENGES: usize = 32;

/// What can be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::distribution) enum Challenge {
    Basic,
    Bearer(Bearer),
}

/// Where a token is to be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::distribution) struct Bearer {
    pub(in crate::distribution) realm: String,
    pub(in crate::distribution) service: Option<String>,
    pub(in crate::distribution) scope: Vec<String>,
}

impl Challenge {
    /// The one to answer with these credentials: a token if there is a choice, since it says less than a password.
    pub(in crate::distribution) fn choose(
        offered: &[Challenge],
        credentials: Option<&Credentials>,
    ) -> Option<Challenge> {
        let bearer = offered.iter().find(|challenge| matches!(challenge, Challenge::Bearer(_)));
        let basic = offered.iter().find(|challenge| **challenge == Challenge::Basic);
        let basic = basic.filter(|_| matches!(credentials, None | Some(Credentials::Password { .. })));
        bearer.or(basic).cloned()
    }
}

/// All challenges of the headers that are understood.
pub(in crate::distribution) fn challenges_of<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut raw: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for value in values {
        let mut fresh = true;
        for part in parts(value) {
            if raw.len() > MAX_CHALLENGES {
                break;
            }
            // A scheme is a word in front of a parameter, or a word alone.
            let (word, rest) = match part.split_once([' ', '\t']) {
                Some((word, rest)) if !word.contains('=') && !rest.trim_start().starts_with('=') => {
                    (Some(word), rest.trim())
                }
                _ if !part.contains('=') => (Some(part), ""),
                _ => (None, part),
            };
            match word {
                Some(word) => raw.push((word.to_ascii_lowercase(), Vec::new())),
                None if fresh => continue,
                None => {}
            }
            fresh = false;
            let parameter = rest
                .split_once('=')
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), unquoted(value.trim())));
            if let (Some(parameter), Some((_, parameters))) = (parameter, raw.last_mut()) {
                parameters.push(parameter);
            }
        }
    }
    raw.into_iter()
        .filter_map(|(scheme, parameters)| {
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
                    .filter(|value| !value.is_empty())
            };
            match scheme.as_str() {
                "basic" => Some(Challenge::Basic),
                "bearer" => Some(Challenge::Bearer(Bearer {
                    realm: get("realm")?,
                    service: get("service"),
                    scope: get("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
                })),
                _ => None,
            }
        })
        .collect()
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    // A quote that is missing ends with the value.
    unquote(inner).or_else(|| unquote(&format!("{inner}\""))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: &[&str]) -> Challenge {
        Challenge::Bearer(Bearer {
            realm: realm.into(),
            service: service.map(str::to_owned),
            scope: scope.iter().map(|scope| (*scope).to_owned()).collect(),
        })
    }

    #[test]
    fn quotes_commas_and_several_challenges() {
        let table: &[(&[&str], Vec<Challenge>)] = &[
            (
                &[
                    r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                ],
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    &["repository:a/b:pull,push"],
                )],
            ),
            (&[r#"Basic realm="Registry""#], vec![Challenge::Basic]),
            (&["basic"], vec![Challenge::Basic]),
            (
                &[r#"Negotiate, Basic realm="a, b=\"c\"", BEARER realm=https://x/t , Service = "s""#],
                vec![Challenge::Basic, bearer("https://x/t", Some("s"), &[])],
            ),
            (
                &[
                    "Negotiate abc==",
                    r#"Bearer  realm="https://x/t",scope="repository:a:pull repository:b:pull",error="insufficient_scope""#,
                ],
                vec![bearer("https://x/t", None, &["repository:a:pull", "repository:b:pull"])],
            ),
            (&[r#"Bearer service="no realm""#], vec![]),
            (&["", ",,,", "=", r#"realm="https://no.scheme""#, r#"Bearer realm=""#], vec![]),
        ];
        for (headers, expected) in table {
            assert_eq!(&challenges_of(headers.iter().copied()), expected, "{headers:?}");
        }
        let many = "Basic,".repeat(100_000);
        assert!(challenges_of([many.as_str()].into_iter()).len() <= MAX_CHALLENGES + 1);
    }

    #[test]
    fn a_token_is_preferred() {
        let offered = [Challenge::Basic, bearer("https://x", None, &[])];
        let password = Credentials::password("u", "p");
        assert_eq!(Challenge::choose(&offered, Some(&password)).as_ref(), Some(&offered[1]));
        assert_eq!(Challenge::choose(&offered[..1], Some(&password)), Some(Challenge::Basic));
        assert_eq!(Challenge::choose(&offered[..1], Some(&Credentials::Token("t".into()))), None);
    }
}
