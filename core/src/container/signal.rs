//! Signals by name and number.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A signal of Linux, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("RTMIN", 34),
    ("RTMAX", 64),
];

impl Signal {
    /// SIGKILL.
    pub const KILL: Signal = Signal(9);
    /// SIGTERM.
    pub const TERM: Signal = Signal(15);
    /// SIGINT.
    pub const INT: Signal = Signal(2);

    /// `SIGTERM`, `TERM`, `term`, `15`, `RTMIN+3`.
    pub fn parse(text: &str) -> Result<Signal> {
        let invalid = || {
            Error::new(ErrorKind::InvalidArgument, format!("unknown signal \"{}\"", text.escape_default()))
                .with_object(text)
        };
        if let Ok(number) = text.parse::<i32>() {
            return Signal::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(offset) = name.strip_prefix("RTMIN+") {
            let offset: i32 = offset.parse().map_err(|_| invalid())?;
            return if (0..=30).contains(&offset) { Ok(Signal(34 + offset)) } else { Err(invalid()) };
        }
        if let Some(offset) = name.strip_prefix("RTMAX-") {
            let offset: i32 = offset.parse().map_err(|_| invalid())?;
            return if (0..=30).contains(&offset) { Ok(Signal(64 - offset)) } else { Err(invalid()) };
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Signal(*number)).ok_or_else(invalid)
    }

    /// The signal of a number, 1 to 64.
    pub fn new(number: i32) -> Result<Signal> {
        if (1..=64).contains(&number) {
            Ok(Signal(number))
        } else {
            Err(Error::new(ErrorKind::InvalidArgument, format!("signal number {number} is not in 1 to 64")))
        }
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if (35..64).contains(&self.0) => write!(f, "SIGRTMIN+{}", self.0 - 34),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_nonsense() {
        for text in ["SIGTERM", "TERM", "term", "15"] {
            assert_eq!(Signal::parse(text).unwrap(), Signal::TERM);
        }
        assert_eq!(Signal::parse("RTMIN+3").unwrap().number(), 37);
        assert_eq!(Signal::parse("SIGRTMAX-1").unwrap().number(), 63);
        for text in ["", "SIG", "0", "65", "-1", "TERM ", "RTMIN+31", "9999999999999"] {
            assert_eq!(Signal::parse(text).unwrap_err().kind(), ErrorKind::InvalidArgument, "{text}");
        }
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
    }
}
