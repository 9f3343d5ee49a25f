//! Values of headers that are lists: parts between commas, some of them in quotes.

/// The parts between commas that are not in quotes.
pub(super) fn parts(value: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (i, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(value.get(begin..i).unwrap_or_default());
                begin = i + 1;
            }
            _ => {}
        }
    }
    parts.push(value.get(begin..).unwrap_or_default());
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// What comes up to the quote that ends a text; None if there is none.
pub(super) fn unquote(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_are_part_of_the_text() {
        assert_eq!(parts(r#"a, "b, \"c", d ,,e"#), ["a", r#""b, \"c""#, "d", "e"]);
        assert!(parts(" , ,").is_empty());
        assert_eq!(unquote(r#"a\"b\\" rest"#).as_deref(), Some(r#"a"b\"#));
        assert_eq!(unquote("open\\"), None);
    }
}
