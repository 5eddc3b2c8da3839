//! What a service honours is tried out, not believed.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;

use super::{Put, S3Error, Store};

/// What a service was found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Whether a second `If-None-Match: *` write of one key is refused.
    pub conditional_writes: bool,
}

/// Writes one key twice, and deletes it.
pub async fn probe(store: &Store) -> Result<Probe, S3Error> {
    let key = ArchiveKey::Probe { id: uuid::Uuid::now_v7().to_string() };
    store.put_new(&key, Bytes::from_static(b"probe")).await?;
    let second = store.put_new(&key, Bytes::from_static(b"probe")).await?;
    store.delete(&key.to_string()).await?;
    Ok(Probe { conditional_writes: second == Put::Exists })
}
