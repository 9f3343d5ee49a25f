//! Files that security options name: read when a container is created, so that it is started again with what it was created with.

use std::fs::File;
use std::io::Read;

use super::ContainerSpec;
use crate::error::{Error, ErrorKind, Result};
use crate::isolation::seccomp;

/// Puts the content of a seccomp profile in the place of its path, and checks it. `unconfined` and `builtin` are no paths.
pub(super) fn load(spec: &mut ContainerSpec) -> Result<()> {
    for option in &mut spec.security_opt {
        let value = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"));
        let Some(value) = value.filter(|value| !matches!(*value, "" | "unconfined" | "builtin" | "default"))
        else {
            continue;
        };
        let text = if value.trim_start().starts_with('{') { value.to_owned() } else { read(value)? };
        seccomp::check_profile(&text)?;
        *option = format!("seccomp={text}");
    }
    Ok(())
}

fn read(path: &str) -> Result<String> {
    let doing = || format!("reading the seccomp profile \"{}\"", path.escape_default());
    let failed = |error: &std::io::Error| Error::io("open", path, error).while_doing(doing());
    let file = File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(seccomp::MAX_PROFILE as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|_| {
        Error::new(ErrorKind::InvalidArgument, "security_opt: the seccomp profile is not UTF-8")
            .with_object("security_opt")
            .while_doing(doing())
    })
}
