//! The keys of a configuration.

use std::sync::{Arc, OnceLock};

use cim_core::archive::Sha256;
use parquet::encryption::encrypt::FileEncryptionProperties;

use super::key::{Key, KeyError, KeyId, Wrapped};
use super::label::{Label, Locked};
use crate::config::{EncryptionConfig, Tiers};
use crate::s3::Tier;

/// Keys: the one that writes, and all that read.
#[derive(Debug, Default)]
pub struct Keyring {
    write: Option<Key>,
    tiers: Tiers,
    keys: Vec<Key>,
}

static INSTALLED: OnceLock<Keyring> = OnceLock::new();

/// Takes the keys of this process, before anything is read; the first ones stay.
pub fn install(keyring: Keyring) {
    INSTALLED.set(keyring).unwrap_or_default();
}

/// Returns the keys of this process, which may be none.
pub fn installed() -> &'static Keyring {
    #[cfg(test)]
    return INSTALLED.get_or_init(testing::keyring);
    #[cfg(not(test))]
    INSTALLED.get_or_init(Keyring::default)
}

impl Keyring {
    /// Reads the files that a configuration names.
    ///
    /// # Errors
    /// When one of them holds no key.
    pub fn read(config: Option<&EncryptionConfig>) -> Result<Self, KeyError> {
        let Some(config) = config else { return Ok(Self::default()) };
        let write = config.key_file.as_deref().map(Key::read).transpose()?;
        let more = config.more_key_files.iter().map(|path| Key::read(path));
        let more = more.collect::<Result<Vec<_>, _>>()?;
        let keys = write.clone().into_iter().chain(more).collect();
        Ok(Self { write, tiers: config.tiers, keys })
    }

    /// Returns all keys, the one that writes first.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the key that encrypts what goes to a tier.
    pub fn writes(&self, tier: Tier) -> Option<&Key> {
        self.write.as_ref().filter(|_| self.tiers.have(tier))
    }

    /// Finds a key by its name, or recovers it.
    pub(super) fn find(&self, id: &KeyId, wrapped: Option<&Wrapped>) -> Option<Key> {
        let known = self.keys.iter().find(|key| key.id() == id).cloned();
        known.or_else(|| self.keys.iter().find_map(|key| key.unwrap(id, wrapped?)))
    }

    /// Returns how a Parquet file is encrypted that goes to a tier; `None` where it is not.
    fn encryption(
        &self,
        tier: Tier,
        previous: Option<Sha256>,
    ) -> Option<Arc<FileEncryptionProperties>> {
        let key = self.writes(tier)?;
        let properties = FileEncryptionProperties::builder(key.bytes().to_vec())
            .with_footer_key_metadata(Label::of(key, previous).to_bytes());
        Some(properties.build().expect("one key of 32 bytes is enough"))
    }
}

/// Returns how a Parquet file is encrypted that goes to a tier; `None` where it is not. A journal's entry says what the
/// hash of the object before it is.
pub fn encryption(tier: Tier, previous: Option<Sha256>) -> Option<Arc<FileEncryptionProperties>> {
    installed().encryption(tier, previous)
}

/// Finds the key of a label; `Ok(None)` where the label is damaged.
///
/// # Errors
/// When this process does not have it.
pub(super) fn open_label(label: &Label) -> Result<Option<Key>, Locked> {
    let Some(key) = label.key() else { return Ok(None) };
    let wrapped = label.wrapped();
    match installed().find(&key, wrapped.as_ref()) {
        Some(found) => Ok(Some(found)),
        None => Err(Locked { key, recovery: wrapped.map(|wrapped| wrapped.by) }),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Returns a keyring that reads a key of tests, and writes in the clear.
    pub(super) fn keyring() -> Keyring {
        Keyring { write: None, tiers: Tiers::None, keys: vec![key()] }
    }

    fn key() -> Key {
        Key::parse(&[7; 32]).unwrap()
    }

    /// Returns how a file is encrypted with that key.
    pub(crate) fn encryption() -> Option<Arc<FileEncryptionProperties>> {
        let keyring = Keyring { write: Some(key()), tiers: Tiers::Both, keys: Vec::new() };
        keyring.encryption(Tier::Nas, None)
    }

    /// Returns how a file is encrypted with a key that is not there.
    pub(crate) fn locked() -> Option<Arc<FileEncryptionProperties>> {
        let keyring = Keyring { write: Some(Key::random()), tiers: Tiers::Both, keys: Vec::new() };
        keyring.encryption(Tier::Nas, None)
    }
}
