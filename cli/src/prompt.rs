//! Asking a person at the terminal: for a name, and for a password that is not shown.

use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

use coble::{Error, ErrorKind};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

use crate::{output, refuse};

/// More than that is no answer.
const LONGEST: usize = 64 * 1024;

/// Asks for a line.
pub(crate) fn line(question: &str, advice: &str) -> Result<String, Error> {
    interactive(advice)?;
    output::error_bytes(question.as_bytes());
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    Ok(answer.trim().to_owned())
}

/// Asks whether to go on. Docker reads the answer from whatever standard input is, and so do we; no answer is a no.
pub(crate) fn confirm(what: &str) -> Result<(), Error> {
    output::error_bytes(format!("{what} Go on? [y/N] ").as_bytes());
    let mut answer = String::new();
    std::io::stdin().lock().take(LONGEST as u64).read_line(&mut answer).map_err(unreadable)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refuse("nothing was removed", "answer y, or give --force")),
    }
}

/// Asks for a password.
pub(crate) fn password(advice: &str) -> Result<String, Error> {
    interactive(advice)?;
    // Before it is asked for: who answers at once is not to be seen, nor thrown away.
    let hidden = Hidden::begin()?;
    output::error_bytes(b"Password: ");
    let answer = hidden.read();
    drop(hidden);
    output::error_bytes(b"\n");
    answer
}

/// What a program writes to our standard input, without the end of its line.
pub(crate) fn piped() -> Result<String, Error> {
    one_line(std::io::stdin().lock(), "the password on standard input")
}

/// A secret in a file, or on standard input, without the end of its line.
pub(crate) fn secret(path: &Path, what: &str) -> Result<String, Error> {
    let text = if path == Path::new("-") {
        one_line(std::io::stdin().lock(), what)?
    } else {
        let file = std::fs::File::open(path).map_err(|error| Error::io("open", path, &error))?;
        one_line(file, what)?
    };
    if text.is_empty() { Err(refuse(format!("{what} is empty"), "write it to the file")) } else { Ok(text) }
}

fn one_line(from: impl Read, what: &str) -> Result<String, Error> {
    let mut bytes = Vec::new();
    from.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > LONGEST {
        return Err(refuse(format!("{what} is longer than {LONGEST} bytes"), "give it alone"));
    }
    let text =
        String::from_utf8(bytes).map_err(|_| refuse(format!("{what} is not UTF-8"), "write it as text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn interactive(advice: &str) -> Result<(), Error> {
    if std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(refuse("there is nobody to ask: standard input is not a terminal", advice))
}

fn unreadable(error: std::io::Error) -> Error {
    Error::io("read", "standard input", &error)
}

/// A terminal that shows nothing of what is typed, as long as it lives. It makes no signals meanwhile: Ctrl-C is a character, so that nothing ends us before
/// the terminal is as it was.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Hidden, Error> {
        let failed =
            |errno: rustix::io::Errno| Error::syscall("ioctl", "standard input", errno.raw_os_error());
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Hidden(before))
    }

    fn read(&self) -> Result<String, Error> {
        let mut typed = Vec::new();
        for byte in std::io::stdin().lock().bytes() {
            match edit(&mut typed, byte.map_err(unreadable)?) {
                Typed::More => {}
                Typed::Done => break,
                Typed::GivenUp => return Err(Error::new(ErrorKind::Cancelled, "interrupted")),
            }
        }
        String::from_utf8(typed).map_err(|_| refuse("the password is not UTF-8", "type it as text"))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // Nothing can be done about it.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Typed {
    More,
    Done,
    GivenUp,
}

/// One key of somebody who does not see what he types.
fn edit(typed: &mut Vec<u8>, key: u8) -> Typed {
    const INTERRUPT: u8 = 0x03;
    const END: u8 = 0x04;
    const BACKSPACE: u8 = 0x08;
    const KILL: u8 = 0x15;
    const DELETE: u8 = 0x7f;
    match key {
        b'\n' | b'\r' | END => return Typed::Done,
        INTERRUPT => return Typed::GivenUp,
        KILL => typed.clear(),
        BACKSPACE | DELETE => {
            // A character may have several bytes.
            while let Some(byte) = typed.pop() {
                if byte & 0xc0 != 0x80 {
                    break;
                }
            }
        }
        _ if typed.len() < LONGEST => typed.push(key),
        _ => {}
    }
    Typed::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_what_is_not_seen() {
        let typed = |keys: &[u8]| {
            let mut typed = Vec::new();
            let last = keys.iter().map(|key| edit(&mut typed, *key)).find(|state| *state != Typed::More);
            (String::from_utf8(typed).unwrap(), last)
        };
        assert_eq!(typed(b"secret\n"), ("secret".to_owned(), Some(Typed::Done)));
        assert_eq!(typed("sä\x7f\x08x\n".as_bytes()), ("x".to_owned(), Some(Typed::Done)));
        assert_eq!(typed(b"wrong\x15right\r"), ("right".to_owned(), Some(Typed::Done)));
        assert_eq!(typed(b"se\x03cret"), ("se".to_owned(), Some(Typed::GivenUp)));
        assert_eq!(typed(b"\x7f\x04"), (String::new(), Some(Typed::Done)));
    }
}
