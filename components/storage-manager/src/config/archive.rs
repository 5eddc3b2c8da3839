//! The archive: layout, journal, encryption.

use std::path::PathBuf;

use cim_core::names::JournalName;
use serde::Deserialize;

use crate::s3::Tier;

/// `[archive]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// Where what is fresh goes.
    pub layout: Layout,
    /// The journal's name: managers that share a bucket have one each.
    pub journal: JournalName,
    /// Servers that are no more: their streams are gone on with, though those here share nothing with them.
    pub succeeds: Vec<String>,
    /// With which keys it is encrypted and read.
    pub encryption: Option<EncryptionConfig>,
}

/// `[archive.encryption]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionConfig {
    /// Tiers whose objects are encrypted.
    #[serde(default)]
    pub tiers: Tiers,
    /// The key that writes, and reads.
    pub key_file: Option<PathBuf>,
    /// Keys that read: those before, or the recovery key.
    #[serde(default)]
    pub more_key_files: Vec<PathBuf>,
}

/// Tiers whose objects are encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiers {
    /// Both.
    #[default]
    Both,
    /// The tier that leaves the house.
    Wasabi,
    /// None any more.
    None,
}

impl Tiers {
    /// Returns whether a tier is one of them.
    pub fn have(self, tier: Tier) -> bool {
        self == Self::Both || (self == Self::Wasabi && tier == Tier::Wasabi)
    }
}

/// Where what is fresh goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Into a segment and a manifest entry for each stream.
    Chains,
    /// Into one journal for all streams.
    Journal,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        let journal = JournalName::new("main").expect("it is a valid name");
        Self { layout: Layout::Journal, journal, succeeds: Vec::new(), encryption: None }
    }
}
