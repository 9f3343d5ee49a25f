//! Writing credential files: for login and logout.

use crate::distribution::options::Credentials;
use crate::distribution::settings::Places;
use crate::error::{Error, ErrorKind, Result};

pub(in crate::distribution) fn store(_: &Places, _: &str, _: &Credentials) -> Result<String> {
    Err(Error::new(ErrorKind::Unsupported, "not there yet"))
}

pub(in crate::distribution) fn forget(_: &Places, _: &str) -> Result<bool> {
    Err(Error::new(ErrorKind::Unsupported, "not there yet"))
}
