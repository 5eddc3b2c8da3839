//! Objects that are not Parquet, sealed whole: a line in the clear, then nonce, text and tag.

use bytes::Bytes;
use cim_core::archive::Sha256;
use serde::{Deserialize, Serialize};

use super::aead;
use super::keyring::{installed, open_label};
use super::label::{Label, Locked};
use crate::s3::Tier;

/// The beginning of a sealed object.
const BEGIN: &[u8] = b"{\"sealed\":";
/// The text that it is bound to.
const ABOUT: &[u8] = b"cim archive object";

/// The line.
#[derive(Serialize, Deserialize)]
struct Line {
    sealed: u32,
    /// Of all that follows the line.
    sha256: Sha256,
    key: Label,
}

/// A sealed object that does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// There is no key of it.
    #[error("{0}")]
    Locked(Locked),
    /// It is not what was sealed.
    #[error("it is not what was encrypted")]
    Damaged,
}

/// Seals an object that goes to a tier, where what goes there is encrypted.
pub(crate) fn seal(tier: Tier, object: Bytes) -> Bytes {
    let Some(key) = installed().writes(tier) else { return object };
    let text = aead::encrypt(key.bytes(), ABOUT, &object);
    let line = Line { sealed: 1, sha256: Sha256::of(&text), key: Label::of(key, None) };
    let mut sealed = serde_json::to_vec(&line).expect("plain fields are JSON");
    sealed.push(b'\n');
    sealed.extend(text);
    sealed.into()
}

fn split(object: &[u8]) -> Option<(Line, &[u8])> {
    let end = object.iter().position(|byte| *byte == b'\n')?;
    let line: Line = serde_json::from_slice(&object[..end]).ok()?;
    Some((line, &object[end + 1..])).filter(|(line, _)| line.sealed == 1)
}

/// Returns the label of a sealed object; `None` if it is not sealed, or is damaged there.
pub(super) fn label(object: &[u8]) -> Option<Label> {
    if !object.starts_with(BEGIN) {
        return None;
    }
    split(object).map(|(line, _)| line.key)
}

/// Returns whether a sealed object is what was written, as far as that can be told without its key; `None` of one that
/// is not sealed.
pub(crate) fn is_intact(object: &[u8]) -> Option<bool> {
    let sealed = object.starts_with(BEGIN);
    sealed.then(|| split(object).is_some_and(|(line, text)| Sha256::of(text) == line.sha256))
}

/// Opens an object; one that is not sealed is what it is.
///
/// # Errors
/// When there is no key of it, or it is damaged.
pub(crate) fn open(object: &[u8]) -> Result<std::borrow::Cow<'_, [u8]>, SealError> {
    if !object.starts_with(BEGIN) {
        return Ok(object.into());
    }
    let (line, text) = split(object).ok_or(SealError::Damaged)?;
    let key = open_label(&line.key).map_err(SealError::Locked)?.ok_or(SealError::Damaged)?;
    let opened = aead::decrypt(&aead::ready(key.bytes()), ABOUT, text);
    opened.map(Into::into).ok_or(SealError::Damaged)
}
