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

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_a_terminal_obeys_or_hides_is_escaped() {
        assert_eq!(
            visible("a\u{1b}[31m\n\u{202e}txt.exe\u{2066}"),
            "a\\u{1b}[31m\\n\\u{202e}txt.exe\\u{2066}"
        );
        assert_eq!(visible("Grüße \"x\\y\" 日本"), "Grüße \"x\\y\" 日本");
    }
}
