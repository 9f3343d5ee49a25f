//! Profiles of security modules: AppArmor's, and SELinux's labels. What was asked for and cannot be given is never left out silently.

use std::fs;
use std::path::Path;

use crate::container::Warning;
use crate::container::validate::SecurityOptions;
use crate::error::{Error, ErrorKind, Result};

/// Fails if the kernel has a module that was asked for, and coble cannot do what was asked; warns if the kernel has no such module, as docker lets it pass.
pub(crate) fn check(security: &SecurityOptions, rootless: bool, warnings: &mut Vec<Warning>) -> Result<()> {
    let unsupported = |why: String, hint: &str| {
        Err(Error::new(ErrorKind::Unsupported, format!("security_opt: {why}"))
            .with_object("security_opt")
            .with_hint(hint))
    };
    if let Some(profile) = &security.apparmor {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|text| text.starts_with('Y')) {
            let why = format!("this kernel has no AppArmor, so it cannot confine by \"{profile}\"");
            return unsupported(why, "leave apparmor= out, or use apparmor=unconfined");
        }
        if rootless {
            let why = format!("an ordinary user cannot confine by the AppArmor profile \"{profile}\"");
            return unsupported(why, "leave apparmor= out, or run as root");
        }
    }
    if security.labels {
        if Path::new("/sys/fs/selinux/enforce").exists() {
            return unsupported("SELinux labels are not supported".into(), "use label=disable");
        }
        warnings.push(Warning {
            code: "label-not-applied".into(),
            message: "this kernel has no SELinux, so the container has no label".into(),
        });
    }
    Ok(())
}
