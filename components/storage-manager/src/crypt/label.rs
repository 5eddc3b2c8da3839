//! What an encrypted object says in the clear: with which key it opens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::Sha256;
use serde::{Deserialize, Serialize};

use super::key::{Key, KeyId, Wrapped};

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

    /// Returns the key that the object was encrypted with; `None` if the label is damaged.
    pub fn key(&self) -> Option<KeyId> {
        self.master_key_id.parse().ok()
    }

    /// Returns the hash of the object before a journal's entry, if its writer knew it.
    pub fn previous(&self) -> Option<Sha256> {
        self.previous
    }

    /// Returns the key, wrapped for recovery.
    pub(super) fn wrapped(&self) -> Option<Wrapped> {
        let by = self.recovery_key_id.as_ref()?.parse().ok()?;
        Some(Wrapped { by, text: STANDARD.decode(&self.wrapped_dek).ok()? })
    }
}
