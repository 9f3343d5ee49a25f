//! Changes to an image's configuration, in the words of a Dockerfile. Pure: text and JSON in, JSON out.
//!
//! What a configuration has beyond what is changed stays as it is, known or not.

use serde_json::{Map, Value, json};

use crate::container::parse;
use crate::error::{Error, ErrorKind, Result};

/// Applies instructions to the `config` object of an image configuration. `has_command` says that its command is not that of an image below.
pub(crate) fn apply(
    config: &mut Map<String, Value>,
    changes: &[String],
    mut has_command: bool,
) -> Result<()> {
    for change in changes {
        one(config, change.trim(), &mut has_command).map_err(|why| {
            let shown: String = change.chars().take(300).collect();
            Error::new(ErrorKind::InvalidArgument, format!("change \"{}\": {why}", shown.escape_debug()))
                .with_object(shown)
        })?;
    }
    Ok(())
}

type Outcome<T> = std::result::Result<T, String>;

fn one(config: &mut Map<String, Value>, change: &str, has_command: &mut bool) -> Outcome<()> {
    if change.contains('\0') {
        return Err("it has a NUL character".into());
    }
    let (word, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    let word = word.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(format!("{word} takes an argument"));
    }
    match word.as_str() {
        "CMD" => {
            config.insert("Cmd".into(), command(rest)?);
            *has_command = true;
        }
        "ENTRYPOINT" => {
            config.insert("Entrypoint".into(), command(rest)?);
            // As a Dockerfile has it: a command of the image below does not fit a new entrypoint.
            if !*has_command {
                config.remove("Cmd");
            }
        }
        "ENV" => {
            for (name, value) in assignments(rest)? {
                set_env(config, &name, &value);
            }
        }
        "LABEL" => {
            for (name, value) in assignments(rest)? {
                set_in(config, "Labels", name, Value::String(value));
            }
        }
        "EXPOSE" => {
            for port in rest.split_whitespace() {
                let port = exposed(port)?;
                set_in(config, "ExposedPorts", port, json!({}));
            }
        }
        "VOLUME" => {
            let paths = match json_words(rest)? {
                Some(paths) => paths,
                None => rest.split_whitespace().map(str::to_owned).collect(),
            };
            for path in paths {
                if path.is_empty() {
                    return Err("the path of a volume is empty".into());
                }
                set_in(config, "Volumes", path, json!({}));
            }
        }
        "USER" => {
            config.insert("User".into(), rest.into());
        }
        "WORKDIR" => {
            let before = config.get("WorkingDir").and_then(Value::as_str).unwrap_or("/");
            let path = if rest.starts_with('/') { rest.to_owned() } else { format!("{before}/{rest}") };
            config.insert("WorkingDir".into(), clean(&path).into());
        }
        "STOPSIGNAL" => {
            crate::container::Signal::parse(rest).map_err(|error| error.message().to_owned())?;
            config.insert("StopSignal".into(), rest.into());
        }
        "ONBUILD" => {
            let first = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
            if matches!(first.as_str(), "ONBUILD" | "FROM" | "MAINTAINER") {
                return Err(format!("{first} cannot be done by ONBUILD"));
            }
            match config.entry("OnBuild").or_insert_with(|| json!([])) {
                Value::Array(list) => list.push(rest.into()),
                other => *other = json!([rest]),
            }
        }
        "HEALTHCHECK" => {
            config.insert("Healthcheck".into(), healthcheck(rest)?);
        }
        _ => {
            return Err(format!(
                "\"{}\" is not one of CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR",
                word.escape_debug()
            ));
        }
    }
    Ok(())
}

/// Sets a key of an object that is a member of the configuration.
pub(crate) fn set_in(config: &mut Map<String, Value>, name: &str, key: String, value: Value) {
    let member = config.entry(name).or_insert_with(|| json!({}));
    if !member.is_object() {
        *member = json!({});
    }
    if let Value::Object(object) = member {
        object.insert(key, value);
    }
}

/// Sets a variable of `Env`, at its place if it has one.
pub(crate) fn set_env(config: &mut Map<String, Value>, name: &str, value: &str) {
    let entry = Value::String(format!("{name}={value}"));
    let list = config.entry("Env").or_insert_with(|| json!([]));
    if !list.is_array() {
        *list = json!([]);
    }
    if let Value::Array(list) = list {
        let same = list
            .iter_mut()
            .find(|old| old.as_str().and_then(|old| old.split('=').next()).is_some_and(|old| old == name));
        match same {
            Some(old) => *old = entry,
            None => list.push(entry),
        }
    }
}

/// A JSON list of words, or a line for the shell.
fn command(text: &str) -> Outcome<Value> {
    Ok(match json_words(text)? {
        Some(words) => json!(words),
        None => json!(["/bin/sh", "-c", text]),
    })
}

/// Words as a JSON list; None if the text is not meant as one.
fn json_words(text: &str) -> Outcome<Option<Vec<String>>> {
    if !text.starts_with('[') {
        return Ok(None);
    }
    // As docker has it: what only looks like a list is a line for the shell.
    Ok(serde_json::from_str(text).ok())
}

/// `name=value` pairs with quotes and backslashes, or the old form `name value`.
fn assignments(text: &str) -> Outcome<Vec<(String, String)>> {
    let words = parse::words(text).map_err(|error| error.message().to_owned())?;
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text.split_once(char::is_whitespace).ok_or("it has no value")?;
        return Ok(vec![(check_name(name)?, value.trim().to_owned())]);
    }
    words
        .iter()
        .map(|word| {
            let (name, value) = word
                .split_once('=')
                .ok_or_else(|| format!("\"{}\" is not of the form name=value", word.escape_debug()))?;
            Ok((check_name(name)?, value.to_owned()))
        })
        .collect()
}

fn check_name(name: &str) -> Outcome<String> {
    if name.is_empty() || name.contains(['\n', '=']) {
        return Err("a name is empty or malformed".into());
    }
    Ok(name.to_owned())
}

/// A port, or a range of them, with its protocol: docker's key for what is exposed. The error is the reason.
pub(crate) fn exposed(text: &str) -> Outcome<String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let fine = match ports.split_once('-') {
        Some((first, last)) => {
            is_port(first) && is_port(last) && first.parse::<u16>().ok() <= last.parse::<u16>().ok()
        }
        None => is_port(ports),
    };
    if !fine || !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("\"{}\" is not a port", text.escape_debug()));
    }
    Ok(format!("{ports}/{protocol}"))
}

/// An absolute path without `.`, `..` and doubled slashes.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(text: &str) -> Outcome<Value> {
    let mut check = Map::new();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).ok_or("it has no command")?;
        let (name, value) = option.split_once('=').ok_or("an option has no value")?;
        let (key, value) = match name {
            "interval" => ("Interval", json!(nanoseconds(value)?)),
            "timeout" => ("Timeout", json!(nanoseconds(value)?)),
            "start-period" => ("StartPeriod", json!(nanoseconds(value)?)),
            "start-interval" => ("StartInterval", json!(nanoseconds(value)?)),
            "retries" => {
                let retries: u32 = value.parse().map_err(|_| "the number of retries is not a number")?;
                ("Retries", json!(retries))
            }
            _ => return Err(format!("unknown option \"--{}\"", name.escape_debug())),
        };
        check.insert(key.into(), value);
        rest = after.trim_start();
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match (word.to_ascii_uppercase().as_str(), rest.trim()) {
        ("NONE", "") if check.is_empty() => json!(["NONE"]),
        ("CMD", command) if !command.is_empty() => match json_words(command)? {
            Some(mut words) => {
                words.insert(0, "CMD".into());
                json!(words)
            }
            None => json!(["CMD-SHELL", command]),
        },
        _ => return Err("it takes CMD with a command, or NONE".into()),
    };
    check.insert("Test".into(), test);
    Ok(Value::Object(check))
}

/// A duration as Go writes it: `1h2m3.5s`, `100ms`.
pub(crate) fn nanoseconds(text: &str) -> Outcome<u64> {
    let bad = || format!("\"{}\" is not a duration", text.escape_debug());
    let mut total = 0f64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "ns" => 1f64,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(bad()),
        };
        total += number.parse::<f64>().map_err(|_| bad())? * scale;
        rest = after;
    }
    if total < 1e18 { Ok(total as u64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Value {
        let mut config = Map::new();
        config.insert("Env".into(), json!(["PATH=/bin", "A=1"]));
        config.insert("Cmd".into(), json!(["old"]));
        config.insert("WorkingDir".into(), json!("/srv"));
        config.insert("Unknown".into(), json!({"kept": true}));
        let changes: Vec<String> = changes.iter().map(|change| (*change).to_owned()).collect();
        apply(&mut config, &changes, false).unwrap();
        Value::Object(config)
    }

    #[test]
    fn instructions_change_the_configuration() {
        let config = changed(&[
            "CMD [\"a\", \"b c\"]",
            "env A=2 B=\"x y\" C='$HOME' D=a\\ b",
            "ENV E f  g",
            "LABEL one=1 \"two\"=\"zwei drei\"",
            "EXPOSE 80 53/udp 8000-8010",
            "VOLUME [\"/a\"]",
            "VOLUME /b /c",
            "USER 1000:1000",
            "WORKDIR ../opt/./x",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN true",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://localhost",
        ]);
        assert_eq!(config["Cmd"], json!(["a", "b c"]));
        assert_eq!(config["Env"], json!(["PATH=/bin", "A=2", "B=x y", "C=$HOME", "D=a b", "E=f  g"]));
        assert_eq!(config["Labels"], json!({"one": "1", "two": "zwei drei"}));
        assert_eq!(config["ExposedPorts"], json!({"80/tcp": {}, "53/udp": {}, "8000-8010/tcp": {}}));
        assert_eq!(config["Volumes"], json!({"/a": {}, "/b": {}, "/c": {}}));
        assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("1000:1000"), &json!("/opt/x")));
        assert_eq!((&config["StopSignal"], &config["OnBuild"]), (&json!("SIGINT"), &json!(["RUN true"])));
        assert_eq!(
            config["Healthcheck"],
            json!({"Interval": 90_000_000_000u64, "Retries": 3, "Test": ["CMD-SHELL", "curl -f http://localhost"]})
        );
        assert_eq!(config["Unknown"], json!({"kept": true}));
        let config = changed(&["ENTRYPOINT run me", "HEALTHCHECK NONE"]);
        assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-c", "run me"]));
        assert_eq!((config.get("Cmd"), &config["Healthcheck"]), (None, &json!({"Test": ["NONE"]})));
    }

    #[test]
    fn an_entrypoint_drops_the_command_of_the_image_below_only() {
        assert_eq!(changed(&["ENTRYPOINT [\"a\"]"]).get("Cmd"), None);
        assert_eq!(changed(&["CMD [\"own\"]", "ENTRYPOINT [\"a\"]"])["Cmd"], json!(["own"]));
        let mut config = Map::from_iter([("Cmd".to_owned(), json!(["given"]))]);
        apply(&mut config, &["ENTRYPOINT [\"a\"]".to_owned()], true).unwrap();
        assert_eq!(config["Cmd"], json!(["given"]));
    }

    #[test]
    fn what_is_no_instruction_is_refused() {
        for change in [
            "",
            "CMD",
            "RUN true",
            "FROM x",
            "ENV A",
            "ENV =x",
            "ENV A=\"x",
            "LABEL a=1 b",
            "EXPOSE 0",
            "EXPOSE 80/icmp",
            "EXPOSE 9-1",
            "STOPSIGNAL SIGNOTHING",
            "ONBUILD FROM x",
            "HEALTHCHECK curl",
            "HEALTHCHECK --interval=1x CMD a",
            "HEALTHCHECK --what=1 CMD a",
            "USER a\0b",
        ] {
            let error = apply(&mut Map::new(), &[change.to_owned()], false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{change}");
        }
    }
}
