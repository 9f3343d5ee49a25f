//! What programs that are linked already depend on: functions, constants, types, and the fields of structures, one a line. The committed list
//! may only grow while COBLE_ABI_VERSION stays the same.

use std::collections::BTreeMap;

/// What a header declares, one line for each thing that has to stay: `what` → how it is now.
pub(crate) fn declared(header: &str) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let plain = without_comments(header);
    for line in plain.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("#define")
            && let Some(name) = words.next().filter(|name| !name.starts_with("COBLE_VERSION"))
        {
            let value: Vec<&str> = words.collect();
            if !value.is_empty() {
                found.insert(format!("constant {name}"), value.join(" "));
            }
        }
    }
    let code: Vec<&str> = plain.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code = code.join(" ").replace("extern \"C\" {", "");
    let mut rest = code.as_str();
    while let Some(end) = rest.find([';', '{']) {
        let head = words(&rest[..end]);
        if rest[end..].starts_with(';') {
            item(&head, &mut found)?;
            rest = &rest[end + 1..];
            continue;
        }
        let close = rest[end..].find('}').ok_or("a brace is not closed")? + end;
        let after = rest[close..].find(';').ok_or("no semicolon after a structure")? + close;
        let name = rest[close + 1..after].trim();
        if name.is_empty() {
            return Err(format!("\"{head}\" has no name of its own"));
        }
        for (index, field) in
            rest[end + 1..close].split(';').map(words).filter(|field| !field.is_empty()).enumerate()
        {
            found.insert(format!("field {name} {index:02}"), field);
        }
        rest = &rest[after + 1..];
    }
    Ok(found)
}

fn item(text: &str, found: &mut BTreeMap<String, String>) -> Result<(), String> {
    let (kind, name) = match text.split_once('(') {
        Some((before, _)) if !text.starts_with("typedef") => ("function", before),
        _ => ("type", text),
    };
    // The name of a type of functions is inside of it: typedef int (*name)(...).
    let name = match name.split_once("(*").and_then(|(_, rest)| rest.split_once(')')) {
        Some((inner, _)) if kind == "type" => inner,
        _ => name.rsplit([' ', '*']).next().unwrap_or_default().trim_end_matches(')'),
    };
    if text.is_empty() || text == "}" {
        return Ok(());
    }
    if name.is_empty() {
        return Err(format!("cannot read \"{text}\""));
    }
    found.insert(format!("{kind} {name}"), text.to_owned());
    Ok(())
}

/// The committed list with what is new added to it. Fails if something that it has is gone or different.
pub(crate) fn grown(committed: &str, header: &str) -> Result<String, String> {
    let now = declared(header)?;
    let version = now.get("constant COBLE_ABI_VERSION");
    let before: BTreeMap<&str, &str> = committed.lines().filter_map(|line| line.split_once(" = ")).collect();
    if before.get("constant COBLE_ABI_VERSION").copied() == version.map(String::as_str) {
        for (what, how) in before {
            let how_now = now.get(what).map_or("gone", String::as_str);
            if how_now != how && !takes_reserved(how, how_now) {
                return Err(format!(
                    "{what} was \"{how}\" and is \"{how_now}\": programs that are linked already would break; \
                     this needs a higher COBLE_ABI_VERSION"
                ));
            }
        }
    }
    Ok(now.iter().map(|(what, how)| format!("{what} = {how}\n")).collect())
}

/// Whether a member gets a meaning that had to be 0 until now, which then means what it meant.
fn takes_reserved(how: &str, how_now: &str) -> bool {
    let same = |kind: &str| how_now.strip_prefix(kind).is_some_and(|name| !name.trim().contains([' ', '*']));
    how.strip_suffix(" reserved").is_some_and(same)
}

fn without_comments(header: &str) -> String {
    let mut plain = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        plain.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    plain + rest
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "
        #ifndef X
        #define X
        #define COBLE_VERSION \"1\"
        #define COBLE_ABI_VERSION 3
        /** One; two. */
        #define COBLE_OK 0
        #ifdef __cplusplus
        extern \"C\" {
        #endif
        typedef int32_t coble_status_t;
        typedef struct coble_a_t coble_a_t;
        typedef int32_t (*coble_c_t)(const coble_a_t *a, void *b);
        typedef struct {
          /** Size; of it. */
          size_t size;
          const char *name;
        } coble_b_t;
        coble_status_t coble_f(const coble_a_t *a,
                               coble_b_t *b);
        const char *coble_g(void);
        #ifdef __cplusplus
        }
        #endif
        #endif
    ";

    #[test]
    fn the_list_names_everything_that_programs_depend_on() {
        let list = grown("", HEADER).unwrap();
        for line in [
            "constant COBLE_ABI_VERSION = 3",
            "constant COBLE_OK = 0",
            "field coble_b_t 00 = size_t size",
            "field coble_b_t 01 = const char *name",
            "function coble_f = coble_status_t coble_f(const coble_a_t *a, coble_b_t *b)",
            "function coble_g = const char *coble_g(void)",
            "type coble_a_t = typedef struct coble_a_t coble_a_t",
            "type coble_c_t = typedef int32_t (*coble_c_t)(const coble_a_t *a, void *b)",
            "type coble_status_t = typedef int32_t coble_status_t",
        ] {
            assert!(list.lines().any(|other| other == line), "{line} is not in\n{list}");
        }
        assert_eq!(list.lines().count(), 9, "{list}");
    }

    #[test]
    fn it_may_only_grow_with_the_same_abi_version() {
        let list = grown("", HEADER).unwrap();
        let more = HEADER.replace("const char *name;", "const char *name; int32_t more;");
        assert_eq!(grown(&list, &more).unwrap().lines().count(), 10);
        for (old, new) in [
            ("const char *coble_g(void);", ""),
            ("coble_b_t *b);", "const coble_b_t *b);"),
            ("size_t size;", "uint32_t size;"),
            ("COBLE_OK 0", "COBLE_OK 1"),
            ("typedef int32_t", "typedef int64_t"),
        ] {
            let changed = HEADER.replace(old, new);
            assert!(grown(&list, &changed).is_err(), "{old}");
            assert!(grown(&list, &changed.replace("ABI_VERSION 3", "ABI_VERSION 4")).is_ok(), "{old}");
        }
    }

    #[test]
    fn what_was_reserved_may_get_a_name_and_no_other_type() {
        let before = HEADER.replace("const char *name;", "int32_t reserved;");
        let list = grown("", &before).unwrap();
        assert!(grown(&list, &before.replace("reserved", "offline")).is_ok());
        for other in ["int64_t offline", "int32_t *offline", "const int32_t offline"] {
            assert!(grown(&list, &before.replace("int32_t reserved", other)).is_err(), "{other}");
        }
        let named = before.replace("reserved", "offline");
        assert!(grown(&grown("", &named).unwrap(), &before).is_err());
    }
}
