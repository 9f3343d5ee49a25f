//! Ids, and names for containers that were given none.

use crate::error::{Call, Result};

const FIRST: &[&str] = &[
    "amber", "brisk", "calm", "clear", "coral", "crisp", "deep", "eager", "early", "fair", "fresh", "gentle",
    "glad", "golden", "grand", "hardy", "keen", "kind", "light", "lively", "lucky", "mellow", "mild",
    "misty", "neat", "noble", "plain", "prime", "proud", "quick", "quiet", "rapid", "ready", "sharp",
    "silver", "smooth", "solid", "steady", "still", "sturdy", "sunny", "swift", "tidy", "warm", "wide",
    "wise",
];
const SECOND: &[&str] = &[
    "anchor", "barge", "bay", "beacon", "boat", "bow", "breeze", "buoy", "canal", "cape", "channel",
    "clipper", "coast", "compass", "cove", "current", "cutter", "deck", "delta", "dock", "ferry", "fjord",
    "gale", "gulf", "harbour", "helm", "hull", "island", "jetty", "keel", "ketch", "lagoon", "lock", "mast",
    "oar", "pier", "port", "quay", "reef", "rudder", "sail", "shore", "sloop", "sound", "strait", "tide",
    "wharf",
];

/// A new id: 64 random hexadecimal digits.
pub(crate) fn id() -> Result<String> {
    let mut bytes = [0u8; 32];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether the text has the form of an id.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A name, made of words while that is likely to be free, later with digits.
pub(super) fn suggestion(attempt: u32) -> Result<String> {
    let mut bytes = [0u8; 8];
    random(&mut bytes)?;
    let pick = |words: &'static [&'static str], byte: u16| {
        words.get(byte as usize % words.len()).copied().unwrap_or("coble")
    };
    let first = pick(FIRST, u16::from_le_bytes([bytes[0], bytes[1]]));
    let second = pick(SECOND, u16::from_le_bytes([bytes[2], bytes[3]]));
    let digits = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
    Ok(match attempt {
        0..3 => format!("{first}_{second}"),
        _ => format!("{first}_{second}_{digits:08x}"),
    })
}

fn random(bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())
            .call("getrandom", "a new id")?;
    }
    Ok(())
}
