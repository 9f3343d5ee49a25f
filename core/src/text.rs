//! Text of others in messages, tables and logs.

/// Text as it can be shown on a terminal: with control characters escaped, and those that show nothing or turn the direction of what follows (Unicode
/// Technical Report 36, section 2.4). Images, registries and contained programs choose what is in such text.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_visible(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

fn is_visible(c: char) -> bool {
    let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !hidden
}

/// Shell patterns with `*` and `?`, in time that is linear for each star.
pub(crate) fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            (Some(b'?'), Some(c)) if *c != b'/' => {}
            (Some(a), Some(b)) if a == b => {}
            _ => match star {
                // The star takes one more, unless that is a slash.
                Some((at, from)) if text.get(from) != Some(&b'/') => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                    continue;
                }
                _ => return false,
            },
        }
        p += 1;
        t += 1;
    }
    pattern.get(p..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::{fits, visible};

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        assert_eq!(
            visible("a\u{1b}[31m\n\u{202e}txt.exe\u{2066}"),
            "a\\u{1b}[31m\\n\\u{202e}txt.exe\\u{2066}"
        );
        assert_eq!(visible("Grüße \"x\\y\" 日本"), "Grüße \"x\\y\" 日本");
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        assert!(fits(b"/proc/*", b"/proc/kcore") && !fits(b"/proc/*", b"/proc/sys/kernel"));
        assert!(!fits(&b"*a".repeat(2000), &b"b".repeat(2000)));
    }
}
