//! From the shim's (step, errno, object) to the engine's errors and warnings: the only place that does it.

use coble_protocol::{Failure, Step};

use crate::container::Warning;
use crate::error::{Error, ErrorKind, errno_text, kind_of_errno};

/// The error that a failure of the shim is.
pub(crate) fn error_of(failure: &Failure) -> Error {
    let object = printable(&failure.object);
    let mut error = Error::new(kind_of(failure), sentence(failure, &object)).with_object(object);
    if failure.errno != 0 {
        error = error.with_errno(failure.errno);
    }
    match hint(failure) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// The warning that a failure of something not essential is.
pub(crate) fn warning_of(failure: &Failure) -> Warning {
    Warning { code: code(failure.step), message: sentence(failure, &printable(&failure.object)) }
}

/// The error of an archive that this process itself writes.
pub(crate) fn error_of_layer(error: &coble_layer::Error) -> Error {
    use coble_layer::{Act, Error as Layer};
    error_of(&match error {
        Layer::Read(errno) => Failure::new(Step::ReadArchive, *errno, ""),
        Layer::Output(errno) => Failure::new(Step::WriteOutput, *errno, ""),
        Layer::Decode { format, rule } => Failure::rule(Step::ReadArchive, format.name(), *rule),
        Layer::Invalid { entry, rule } => Failure::rule(Step::InvalidTree, entry, *rule),
        Layer::Limit { entry, rule } => Failure::rule(Step::ArchiveLimit, entry, *rule),
        Layer::System { act, errno, object } => {
            let step = if *act == Act::Read { Step::ReadTree } else { Step::WriteEntry };
            Failure::new(step, *errno, object)
        }
    })
}

/// The warning of an archive that this process itself writes.
pub(crate) fn warning_of_layer(warning: &coble_layer::Warning) -> Warning {
    let failure = Failure::new(Step::ReadTree, warning.errno, &warning.object);
    warning_of(&Failure { detail: warning.kind.text().into(), ..failure })
}

fn sentence(failure: &Failure, object: &str) -> String {
    let object = match (failure.step, object.parse()) {
        // The helper knows resource limits by their numbers.
        (Step::Rlimit, Ok(number)) => crate::container::ulimit_name(number),
        _ => object,
    };
    let mut text = format!("cannot {}", failure.step.text());
    if !object.is_empty() {
        text.push_str(&format!(" \"{object}\""));
    }
    let cause = match (failure.detail.as_str(), failure.errno) {
        ("", 0) => String::new(),
        ("", errno) => errno_text(errno),
        (detail, 0) => detail.to_owned(),
        (detail, errno) => format!("{detail}: {}", errno_text(errno)),
    };
    if !cause.is_empty() {
        text.push_str(": ");
        text.push_str(&cause);
    }
    text
}

fn kind_of(failure: &Failure) -> ErrorKind {
    use ErrorKind as Kind;
    let errno = failure.errno;
    match failure.step {
        // ENOSPC here is a limit of namespaces, and no disk that is full.
        Step::UserNamespace | Step::MonitorNamespace | Step::Clone | Step::Network
            if matches!(errno, libc::EPERM | libc::ENOSYS | libc::EINVAL | libc::ENOSPC) =>
        {
            Kind::Unsupported
        }
        _ if matches!(errno, libc::ENOSPC | libc::EDQUOT) => Kind::StorageFull,
        Step::User | Step::Group => Kind::UserNotFound,
        Step::FindProgram => Kind::CommandNotFound,
        // The program was found, so what is missing is its interpreter.
        Step::Exec if errno == libc::ENOENT => Kind::CommandNotFound,
        Step::Exec => Kind::CommandNotExecutable,
        Step::Landlock if matches!(errno, libc::ENOSYS | libc::EOPNOTSUPP) => Kind::Unsupported,
        Step::Landlock if matches!(errno, libc::ENOENT | libc::ELOOP) => Kind::InvalidArgument,
        Step::AppArmor if errno == libc::ENOENT => Kind::InvalidArgument,
        // An id that the container's user namespace does not have.
        Step::SetIds if errno == libc::EINVAL => Kind::InvalidArgument,
        Step::Hook if errno == 0 => Kind::InvalidState,
        Step::WorkingDirectory => Kind::InvalidArgument,
        Step::InvalidArchive => Kind::InvalidArchive,
        Step::Freeze => Kind::Unsupported,
        // Which of them a container in a user namespace has for itself differs between kernels.
        Step::Sysctl if errno == libc::ENOENT => Kind::Unsupported,
        Step::Sysctl if matches!(errno, libc::EINVAL | libc::ERANGE) => Kind::InvalidArgument,
        Step::ReadArchive if errno == 0 => Kind::InvalidArchive,
        Step::ArchiveLimit | Step::ListLimit => Kind::LimitExceeded,
        Step::UserMount if matches!(errno, 0 | libc::EINVAL | libc::ENOTDIR | libc::EISDIR | libc::ELOOP) => {
            Kind::InvalidArgument
        }
        Step::Mount if is_covered(failure) => Kind::Unsupported,
        Step::Mount | Step::ProvideFile if errno == 0 => Kind::InvalidImage,
        Step::Protocol => Kind::MonitorLost,
        Step::Internal => Kind::Internal,
        Step::Stdio | Step::Log | Step::Terminal if errno == 0 => Kind::InvalidState,
        Step::Signal if errno == libc::ESRCH => Kind::InvalidState,
        Step::Join if errno == libc::ESRCH || errno == 0 => Kind::InvalidState,
        Step::JoinSpace if errno == 0 => Kind::InvalidState,
        Step::JoinSpace | Step::Keep if matches!(errno, libc::EPERM | libc::ENOENT) => Kind::Unsupported,
        Step::RootMount if matches!(errno, libc::EPERM | libc::ENOSYS | libc::EINVAL | libc::ENODEV) => {
            Kind::Unsupported
        }
        _ if errno == 0 => Kind::Unsupported,
        _ => match kind_of_errno(errno) {
            // A path inside the container is not a path of the caller.
            Kind::PathNotFound => Kind::Io,
            kind => kind,
        },
    }
}

fn hint(failure: &Failure) -> Option<&'static str> {
    match failure.step {
        Step::UserNamespace
        | Step::MonitorNamespace
        | Step::Clone
        | Step::Network
        | Step::RootMount
        | Step::IdMap
        | Step::Seccomp
        | Step::Sandbox => Some("run `coble doctor` to see what this host does not allow"),
        Step::Mount if is_covered(failure) => Some(
            "inside another container, start that one with --security-opt systempaths=unconfined; `coble doctor` names what covers it",
        ),
        Step::AppArmor if failure.errno == libc::ENOENT => {
            Some("the kernel knows no profile of this name: load it with apparmor_parser")
        }
        Step::Sysctl if failure.errno == libc::ENOENT => Some(
            "leave it out: this kernel has no such parameter for containers in a user namespace, or none at all",
        ),
        Step::Exec if failure.errno == libc::ENOENT => Some(
            "the program is there, but the interpreter or dynamic loader that it names is not in the image",
        ),
        Step::Exec if failure.errno == libc::ENOEXEC => {
            Some("is it made for another architecture, or a script without \"#!\"?")
        }
        _ => None,
    }
}

/// Whether the kernel refuses a file system of its own in a user namespace, since parts of it are covered here, as in a container.
fn is_covered(failure: &Failure) -> bool {
    failure.errno == libc::EPERM
        && !failure.detail.is_empty()
        && matches!(&failure.object[..], b"/proc" | b"/sys")
}

/// `WorkingDirectory` becomes `working-directory`.
fn code(step: Step) -> String {
    let mut code = String::new();
    for (i, c) in step.name().char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            code.push('-');
        }
        code.push(c.to_ascii_lowercase());
    }
    code
}

/// Bytes that a container or an archive chose, made harmless for a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    crate::text::visible(&String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_the_kinds_that_exit_statuses_come_from() {
        let missing = error_of(&Failure::new(Step::FindProgram, libc::ENOENT, "nope"));
        assert_eq!((missing.kind(), missing.kind().exit_status()), (ErrorKind::CommandNotFound, 127));
        let denied = error_of(&Failure::new(Step::Exec, libc::EACCES, "/etc/passwd"));
        assert_eq!((denied.kind(), denied.kind().exit_status()), (ErrorKind::CommandNotExecutable, 126));
        assert_eq!(denied.message(), "cannot execute \"/etc/passwd\": permission denied");
    }

    #[test]
    fn a_limit_of_namespaces_is_no_full_disk() {
        for step in [Step::MonitorNamespace, Step::Clone, Step::Network] {
            assert_eq!(error_of(&Failure::new(step, libc::ENOSPC, "pid")).kind(), ErrorKind::Unsupported);
        }
        assert_eq!(
            error_of(&Failure::new(Step::WriteEntry, libc::ENOSPC, "a")).kind(),
            ErrorKind::StorageFull
        );
    }

    #[test]
    fn what_a_container_around_this_one_covers_is_named() {
        let mut failure = Failure::new(Step::Mount, libc::EPERM, "/proc");
        assert_eq!(error_of(&failure).kind(), ErrorKind::PermissionDenied);
        failure.detail = "not visible".into();
        let error = error_of(&failure);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.hint().unwrap().contains("systempaths=unconfined"));
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        let error = error_of(&Failure::new(Step::WriteEntry, libc::EIO, b"a\x1b[2Jb\n"));
        assert!(!error.to_string().contains('\x1b'), "{error}");
        assert_eq!(warning_of(&Failure::rule(Step::Device, "null", "x")).code, "device");
    }
}
