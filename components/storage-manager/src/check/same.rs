//! Two tiers that are one bucket: a service may have several names.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;

use crate::s3::{ErrorKind, S3Error, Store};

/// Looks whether what is written to one is read from the other. Of one that cannot be written to, which is told
/// elsewhere, this says no.
///
/// # Errors
/// The other one does not say whether it is there.
pub async fn is_same_bucket(written: &Store, read: &Store) -> Result<bool, S3Error> {
    // One key whenever this is asked: a key that may not delete leaves the object.
    let key = ArchiveKey::Probe { id: "same".into() };
    let mark = Bytes::from(uuid::Uuid::now_v7().to_string());
    if written.put_once(&key, mark.clone()).await.is_err() {
        return Ok(false);
    }
    let found = read.get_once(&key.to_string()).await;
    drop(written.delete(&key.to_string()).await);
    match found {
        Err(error) if error.kind != ErrorKind::NotFound => Err(error),
        found => Ok(found.is_ok_and(|found| found == mark)),
    }
}

/// Returns what is wrong with that, in words.
pub fn one_bucket(nas: &Store) -> String {
    format!(
        "`secondary` and `tertiary` are the same bucket, `{}`: losing it would lose both; give `tertiary` another service",
        nas.bucket()
    )
}
