//! What an encrypted object says in the clear: with which key it opens.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::Sha256;
use serde::{Deserialize, Serialize};

use super::end::{End, end, label_at};
use super::key::{Key, KeyId, Wrapped};
use super::keyring::installed;
use super::sealed;

/// More bytes than a label has, with what stands before it.
const LABEL: u64 = 4 << 10;

/// With which key an object opens. Its JSON is what Parquet's key tools call internal key material.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Label {
    key_material_type: String,
    internal_storage: bool,
    is_footer_key: bool,
    #[serde(rename = "kmsInstanceID")]
    kms_instance_id: String,
    #[serde(rename = "kmsInstanceURL")]
    kms_instance_url: String,
    #[serde(rename = "masterKeyID")]
    master_key_id: String,
    double_wrapping: bool,
    #[serde(rename = "wrappedDEK")]
    wrapped_dek: String,
    #[serde(rename = "recoveryKeyID", default, skip_serializing_if = "Option::is_none")]
    recovery_key_id: Option<String>,
    /// Of a journal's entry, the hash of the object before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Sha256>,
}

/// An object that the configuration has no key of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The key that it was encrypted with.
    pub key: KeyId,
    /// The one that opens it too.
    pub recovery: Option<KeyId>,
}

impl std::fmt::Display for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, out) = (&self.key, self.way_out());
        write!(f, "it is encrypted with key `{key}`, which the configuration does not have: {out}")
    }
}

impl Locked {
    /// Returns what to do about it.
    pub fn way_out(&self) -> String {
        let more = self.recovery.as_ref().map_or_else(String::new, |recovery| {
            format!(", or that of the recovery key `{recovery}`")
        });
        format!("name the key's file in `archive.encryption.more_key_files`{more}")
    }
}

impl Label {
    pub(super) fn of(key: &Key, previous: Option<Sha256>) -> Self {
        let wrapped = key.recovery();
        Self {
            key_material_type: "PKMT1".into(),
            internal_storage: true,
            is_footer_key: true,
            kms_instance_id: "cim".into(),
            kms_instance_url: "cim".into(),
            master_key_id: key.id().to_string(),
            double_wrapping: false,
            wrapped_dek: wrapped.map(|wrapped| STANDARD.encode(&wrapped.text)).unwrap_or_default(),
            recovery_key_id: wrapped.map(|wrapped| wrapped.by.to_string()),
            previous,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain fields are JSON")
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The key that it was encrypted with; `None` where that is damaged.
    pub fn key(&self) -> Option<KeyId> {
        self.master_key_id.parse().ok()
    }

    /// Of a journal's entry, the hash of the object before it, where its writer knew that.
    pub fn previous(&self) -> Option<Sha256> {
        self.previous
    }

    /// The key, wrapped for recovery.
    pub(super) fn wrapped(&self) -> Option<Wrapped> {
        let by = self.recovery_key_id.as_ref()?.parse().ok()?;
        Some(Wrapped { by, text: STANDARD.decode(&self.wrapped_dek).ok()? })
    }

    /// Finds the key; `Ok(None)` where what it says is damaged.
    pub(super) fn open(&self) -> Result<Option<Key>, Locked> {
        let Some(key) = self.key() else { return Ok(None) };
        let wrapped = self.wrapped();
        match installed().find(&key, wrapped.as_ref()) {
            Some(found) => Ok(Some(found)),
            None => Err(Locked { key, recovery: wrapped.map(|wrapped| wrapped.by) }),
        }
    }
}

/// What an object, of which these bytes are at least the end, says of its key; `None` where it is not encrypted, or
/// damaged there.
pub fn label_of(object: &[u8]) -> Option<Label> {
    match end(object) {
        End::Encrypted { label, .. } => Label::parse(label),
        _ => sealed::label(object),
    }
}

/// The key of an object, of which these bytes are at least the end; `None` where it is not encrypted, or damaged there,
/// or there is no key of it.
pub fn key_of(object: &[u8]) -> Option<Key> {
    label_of(object)?.open().ok()?
}

/// Returns where an encrypted object of some size says which key it takes, where these bytes of its end do not reach so
/// far.
pub fn label_range(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let End::More(needed) = end(tail) else { return None };
    let begin = size.checked_sub(needed)?;
    Some(begin..size.min(begin + LABEL))
}

/// Looks whether there is a key of an object that has these bytes [there](label_range).
///
/// # Errors
/// When there is none.
pub fn check_range(bytes: &[u8]) -> Result<(), Locked> {
    let label = label_at(bytes).and_then(Label::parse);
    label.map_or(Ok(()), |label| label.open().map(drop))
}

/// Looks whether what was fetched of an object opens with a key of this configuration, or needs none. What is damaged
/// is not this one's to say.
///
/// # Errors
/// When it does not.
pub fn check(object: &[u8]) -> Result<(), Locked> {
    label_of(object).map_or(Ok(()), |label| label.open().map(drop))
}
