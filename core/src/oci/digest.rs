//! Content digests. A [`Digest`] that exists is well-formed, so that it can be used as a file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

use crate::error::{Error, ErrorKind, Result};

/// A registered digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Algorithm {
    Sha256,
    Sha512,
}

impl Algorithm {
    pub(crate) const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    const fn hex_digits(self) -> usize {
        match self {
            Algorithm::Sha256 => 64,
            Algorithm::Sha512 => 128,
        }
    }
}

/// `algorithm:hex`, lower case, of the right length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    text: String,
}

impl Digest {
    /// Parses a digest; anything but the exact form of a known algorithm is an error.
    pub(crate) fn parse(text: &str) -> Result<Digest> {
        let known = text.split_once(':').and_then(|(name, hex)| {
            let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)?;
            let valid = hex.len() == algorithm.hex_digits() && hex.bytes().all(is_hex);
            valid.then(|| Digest { algorithm, text: text.to_owned() })
        });
        known.ok_or_else(|| {
            let shown: String = text.chars().take(160).collect();
            Error::new(ErrorKind::InvalidDigest, format!("\"{}\" is not a digest", shown.escape_debug()))
                .with_object(shown)
        })
    }

    /// The SHA-256 of bytes.
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        Digest::from_sha256(&Sha256::digest(bytes).into())
    }

    /// A digest from the raw hash.
    pub(crate) fn from_sha256(hash: &[u8; 32]) -> Digest {
        Digest { algorithm: Algorithm::Sha256, text: format!("sha256:{}", hex(hash)) }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The part behind the colon.
    pub(crate) fn hex(&self) -> &str {
        self.text.get(self.algorithm.name().len() + 1..).unwrap_or_default()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Digest> {
        Digest::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

/// Hashes a stream with the algorithm of the digest that is expected.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha512(Box<Sha512>),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Hasher {
        match algorithm {
            Algorithm::Sha256 => Hasher::Sha256(Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(Box::new(Sha512::new())),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hash) => hash.update(bytes),
            Hasher::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Digest {
        match self {
            Hasher::Sha256(hash) => Digest::from_sha256(&hash.finalize().into()),
            Hasher::Sha512(hash) => {
                Digest { algorithm: Algorithm::Sha512, text: format!("sha512:{}", hex(&hash.finalize())) }
            }
        }
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_form_is_a_digest() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(Digest::parse(&good).unwrap().hex(), "0a".repeat(32));
        assert!(Digest::parse(&format!("sha512:{}", "0a".repeat(64))).is_ok());
        let bad = [
            String::new(),
            "sha256".into(),
            "sha256:".into(),
            "sha256:../../x".into(),
            format!("sha256:{}", "../".repeat(21) + "x"),
            format!("sha256:{}", "0A".repeat(32)),
            format!("SHA256:{}", "0a".repeat(32)),
            format!("sha256:{}", "0a".repeat(31)),
            format!("sha256:{}", "0a".repeat(33)),
            format!("sha256:{}\n", "0a".repeat(32)),
            format!(" sha256:{}", "0a".repeat(32)),
            format!("sha512:{}", "0a".repeat(32)),
            format!("md5:{}", "0a".repeat(16)),
            format!("sha256+b64:{}", "0a".repeat(32)),
            "0a".repeat(32),
        ];
        for text in bad {
            assert_eq!(Digest::parse(&text).unwrap_err().kind(), ErrorKind::InvalidDigest, "{text:?}");
        }
    }

    #[test]
    fn hashing() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"abc");
        assert!(hasher.finish().as_str().starts_with("sha512:ddaf35a193617abacc417349ae204131"));
    }
}
