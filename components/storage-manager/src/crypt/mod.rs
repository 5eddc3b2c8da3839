//! Encryption of the archive: who reads the bucket without a key reads no message, subject or state.
//!
//! What is Parquet is encrypted as Parquet does it, all of a file with one key: DuckDB and pyarrow read it. What is not
//! is sealed whole. Either says in the clear which key it takes ([`Label`]), and carries that key wrapped for a recovery
//! key where there is one, so that any object opens with either. Keys are known by what they are: an object cannot name
//! one key and take another.
//!
//! A key that is not there is no damage: [`check`] tells before anything else looks at an object's bytes.
//!
//! The keys are the process's: what reads an object is far from what knows the configuration.

mod aead;
mod end;
mod key;
mod keyring;
mod label;
mod lookup;
mod modules;
mod sealed;

pub use end::is_encrypted;
pub use key::{Key, KeyError, KeyId};
#[cfg(test)]
pub(crate) use keyring::testing;
pub use keyring::{Keyring, encryption, install, installed};
pub use label::Locked;
pub use lookup::{check, check_range, key_of, label_of, label_range};
pub(crate) use modules::{FileKey, metadata};
pub use sealed::SealError;
pub(crate) use sealed::{is_intact, open, seal};
