//! Finding the program and executing it.

use std::convert::Infallible;
use std::ffi::CString;

use coble_protocol::{Failure, Step};
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::failure::explained;
use crate::sys;

/// The search path when the environment has none, as libc's.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Turns arguments or environment into C strings.
pub(crate) fn strings(list: &[Vec<u8>], what: &str) -> Result<Vec<CString>, Failure> {
    list.iter()
        .map(|text| {
            CString::new(text.clone())
                .map_err(|_| Failure::rule(Step::Exec, what, "has a NUL byte in a string"))
        })
        .collect()
}

/// The files to try, in order.
fn candidates(name: &[u8], env: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix(b"PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(|byte| *byte == b':')
        .map(|directory| match directory {
            // As in every shell: the working directory.
            b"" => name.to_vec(),
            directory => [directory, b"/", name].concat(),
        })
        .collect()
}

/// Whether there is no such file, for certain.
fn missing(path: &CString) -> bool {
    let found = rustix::fs::accessat(CWD, path, Access::EXISTS, AtFlags::empty());
    matches!(found, Err(Errno::NOENT | Errno::NOTDIR))
}

/// Executes a program, looked for as a shell does. Returns only when that failed.
pub(crate) fn exec(
    name: &[u8],
    argv: &[CString],
    env: &[CString],
    raw_env: &[Vec<u8>],
) -> Result<Infallible, Failure> {
    let mut denied = None;
    let mut interpreter = None;
    let candidates = if name.is_empty() { Vec::new() } else { candidates(name, raw_env) };
    for candidate in candidates {
        let Ok(path) = CString::new(candidate) else { continue };
        // Looking is an order of magnitude cheaper than failing to execute.
        if !name.contains(&b'/') && missing(&path) {
            continue;
        }
        let Err(errno) = sys::execve(&path, argv, env);
        match errno {
            Errno::NOENT => {
                let there = !missing(&path);
                interpreter = interpreter.or(there.then_some(path));
            }
            Errno::ACCESS => denied = denied.or(Some(path)),
            // A component of PATH may be anything.
            Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT if !name.contains(&b'/') => {}
            errno => return Err(Failure::new(Step::Exec, errno.raw_os_error(), path.to_bytes())),
        }
    }
    if let Some(path) = denied {
        return Err(Failure::new(Step::Exec, Errno::ACCESS.raw_os_error(), path.to_bytes()));
    }
    Err(match interpreter {
        Some(path) => explained(
            Step::FindProgram,
            Errno::NOENT,
            path.to_bytes(),
            "the file is there, its interpreter or loader is not",
        ),
        None => Failure::new(Step::FindProgram, Errno::NOENT.raw_os_error(), name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path() {
        let env = |path: &str| vec![b"A=b".to_vec(), format!("PATH={path}").into_bytes()];
        let names = |name: &str, env: &[Vec<u8>]| {
            candidates(name.as_bytes(), env)
                .into_iter()
                .map(|path| String::from_utf8(path).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("ls", &env("/a:/b")), ["/a/ls", "/b/ls"]);
        assert_eq!(names("ls", &env("/a::")), ["/a/ls", "ls", "ls"]);
        assert_eq!(names("./ls", &env("/a")), ["./ls"]);
        assert_eq!(names("ls", &[]), ["/bin/ls", "/usr/bin/ls"]);
    }

    #[test]
    fn names_that_are_nothing() {
        for name in ["", "no-such-program"] {
            let argv = [CString::new(name).unwrap()];
            let failure = exec(name.as_bytes(), &argv, &[], &[b"PATH=/dev:/none".to_vec()]).unwrap_err();
            assert_eq!((failure.step, failure.errno), (Step::FindProgram, libc::ENOENT), "{name:?}");
        }
        for (name, errno) in [("/", libc::EACCES), ("/dev", libc::EACCES), ("/dev/null/x", libc::ENOTDIR)] {
            let failure = exec(name.as_bytes(), &[CString::new(name).unwrap()], &[], &[]).unwrap_err();
            assert_eq!((failure.step, failure.errno), (Step::Exec, errno), "{name:?}");
        }
    }
}
