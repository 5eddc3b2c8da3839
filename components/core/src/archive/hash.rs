//! SHA-256 as the archive writes it: 64 lowercase hex digits.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A SHA-256, shown and stored as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("pattern" = "^[0-9a-f]{64}$"))]
pub struct Sha256([u8; 32]);

/// A text that is not 64 lowercase hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256: 64 lowercase hex digits are needed")]
pub struct HashError(String);

impl Sha256 {
    /// Returns the hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 16 hex digits, the end of a segment's key.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..8])
    }
}

/// Returns the hash that identifies one message in a stream's history: over sequence (u64), time (i64
/// nanoseconds since 1970), then subject, raw headers and payload, each preceded by its length (u32);
/// all integers little-endian. Two histories that share a message share this hash.
pub fn message_hash(seq: u64, time: i64, subject: &[u8], headers: &[u8], payload: &[u8]) -> Sha256 {
    let mut hasher = sha2::Sha256::new();
    hasher.update(seq.to_le_bytes());
    hasher.update(time.to_le_bytes());
    for part in [subject, headers, payload] {
        let length = u32::try_from(part.len()).expect("a NATS message is far below 4 GiB");
        hasher.update(length.to_le_bytes());
        hasher.update(part);
    }
    Sha256(hasher.finalize().into())
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256 {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let mut bytes = [0; 32];
        let lowercase = !text.bytes().any(|b| b.is_ascii_uppercase());
        if lowercase && hex::decode_to_slice(text, &mut bytes).is_ok() {
            Ok(Self(bytes))
        } else {
            Err(HashError(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for Sha256 {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(hash: Sha256) -> Self {
        hash.to_string()
    }
}

impl From<[u8; 32]> for Sha256 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
