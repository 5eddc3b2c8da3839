//! What a service honours is tried out, not believed.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;

use super::{Kind, Put, S3Error, Store};

/// What a service was found to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Whether a second `If-None-Match: *` write of one key is refused.
    pub conditional_writes: bool,
    /// The key that was written under its name, where it may not be deleted.
    pub left: Option<String>,
}

/// Writes one key twice, and deletes it. With `name` it is the same key each time: where nothing may be deleted,
/// one object is left however often this is asked. Without, no other process writes it, which the answer of a
/// tier that must keep two writers apart has to rest on.
pub async fn probe(store: &Store, name: Option<&str>) -> Result<Probe, S3Error> {
    let id = name.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned);
    let key = ArchiveKey::Probe { id };
    let mut put = store.put_new(&key, Bytes::from_static(b"probe")).await?;
    if put == Put::Created {
        put = store.put_new(&key, Bytes::from_static(b"probe")).await?;
    }
    let key = key.to_string();
    let left = match store.delete(&key).await {
        Err(error) if name.is_some() && matches!(error.kind, Kind::Denied(_)) => Some(key),
        deleted => deleted.map(|()| None)?,
    };
    Ok(Probe { conditional_writes: put == Put::Exists, left })
}
