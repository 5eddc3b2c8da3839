//! Objects stored with their own hash: their content is used only after the hash agrees.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::oracle::segment::sha256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored<'a> {
    sha256: String,
    #[serde(borrow, alias = "checkpoint")]
    entry: &'a RawValue,
}

/// Parses an entry, or a journal's checkpoint, and returns it with its hash.
pub(super) fn stored<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<(T, String), String> {
    let no = |error: serde_json::Error| format!("is not {what}: {error}");
    let stored: Stored<'_> = serde_json::from_slice(bytes).map_err(no)?;
    let text = stored.entry.get();
    let hash = sha256(text.as_bytes());
    if hash != stored.sha256 {
        return Err(format!("has the hash {hash} and says {}", stored.sha256));
    }
    Ok((serde_json::from_str(text).map_err(no)?, hash))
}
