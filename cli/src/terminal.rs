//! The terminal that this command is used from: its size, its raw mode, and the keys that leave a program.

use std::sync::{Mutex, PoisonError};

use coble::{Error, ErrorKind};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// Height and width, if there is a terminal.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = [stdout(), stdin(), stderr()].into_iter().find_map(|fd| tcgetwinsize(fd).ok())?;
    Some((size.ws_row, size.ws_col)).filter(|(height, width)| *height > 0 && *width > 0)
}

/// Whether standard input is a terminal.
pub(crate) fn is_input() -> bool {
    isatty(stdin())
}

/// Keys go to the program as they are typed, Ctrl-C among them, until this is left or dropped.
pub(crate) struct RawMode(Mutex<Option<Termios>>);

impl RawMode {
    /// Enters it, if standard input is a terminal.
    pub(crate) fn enter() -> Result<RawMode, Error> {
        let failed = |errno: rustix::io::Errno| Error::syscall("tcsetattr", "terminal", errno.raw_os_error());
        if !is_input() {
            return Ok(RawMode(Mutex::new(None)));
        }
        let before = tcgetattr(stdin()).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(RawMode(Mutex::new(Some(before))))
    }

    /// Makes the terminal what it was before.
    pub(crate) fn leave(&self) {
        if let Some(before) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = tcsetattr(stdin(), OptionalActions::Drain, &before);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The keys that leave a program that goes on, and how many of them have been typed.
#[derive(Debug)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// As docker has them: single characters and `ctrl-` with a letter or one of `@[\]^_`, with commas between. Nothing stands for `ctrl-p,ctrl-q`.
    pub(crate) fn parse(text: Option<&str>) -> Result<DetachKeys, Error> {
        let text = text.filter(|text| !text.is_empty()).unwrap_or("ctrl-p,ctrl-q");
        let key = |word: &str| match (word.strip_prefix("ctrl-"), word.as_bytes()) {
            (Some(letter), _) => match letter.as_bytes() {
                [letter @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => {
                    Some(letter.to_ascii_uppercase() & 0x1f)
                }
                _ => None,
            },
            (None, [key]) => Some(*key),
            (None, _) => None,
        };
        let keys = text.split(',').map(key).collect::<Option<Vec<u8>>>().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("--detach-keys \"{}\" are no keys", text.escape_default()),
            )
            .with_hint("give characters and ctrl-<letter>, with commas between, such as ctrl-p,ctrl-q")
        })?;
        Ok(DetachKeys { keys, typed: 0 })
    }

    /// Looks at what was typed: what of it is for the program, and whether the keys were among it. Keys that turn out to be others go to the program after all.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len() + self.typed);
        for byte in typed {
            if self.keys.get(self.typed) == Some(byte) {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    self.typed = 0;
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(self.keys.get(..self.typed).unwrap_or_default());
            self.typed = usize::from(self.keys.first() == Some(byte));
            if self.typed == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_wherever_they_come_in_pieces() {
        let mut keys = DetachKeys::parse(None).unwrap();
        assert_eq!(keys.pass(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.pass(b"\x11c"), (vec![], true));
        assert_eq!(keys.pass(b"\x10"), (vec![], false));
        assert_eq!(keys.pass(b"x\x10\x10"), (b"\x10x\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11"), (vec![], true));
        let mut keys = DetachKeys::parse(Some("ctrl-@,q,ctrl-[")).unwrap();
        assert_eq!(keys.pass(b"\0q\x1b"), (vec![], true));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["ctrl-", "ctrl-pp", "ctrl-1", "ab", "a,", "ctrl-p ctrl-q"] {
            assert!(DetachKeys::parse(Some(text)).is_err(), "{text}");
        }
    }
}
