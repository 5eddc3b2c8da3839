//! Old versions of objects: in a bucket that keeps them, what was deleted is there still.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::plan::Wanted;
use super::scan::may_have;
use crate::crypt;
use crate::s3::{ErrorKind, S3Error, Store};

/// Versions that are read at once.
const FETCHES: usize = 16;

/// An old version that still holds what was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OldVersion {
    /// The object's key.
    pub key: String,
    /// The version's id.
    pub version: String,
    /// Until when the bucket lets it not be deleted, as the service says it.
    pub locked_until: Option<String>,
}

/// Finds old versions below some prefixes that hold what was erased, or that cannot be read and may.
///
/// # Errors
/// When S3 does not answer.
pub async fn old_versions(
    store: &Store,
    prefixes: Vec<String>,
    wanted: &Arc<Wanted>,
) -> Result<Vec<OldVersion>, S3Error> {
    let mut found = Vec::new();
    for prefix in prefixes {
        found.extend(store.old_versions(&prefix).await?);
    }
    let looked = stream::iter(found).map(|(key, version)| async move {
        let (file, locked_until) = match store.get_version(&key, &version).await {
            Ok(got) => got,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (wanted, of) = (Arc::clone(wanted), key.clone());
        let look = tokio::task::spawn_blocking(move || {
            crypt::check(&file).is_err() || may_have(&of, &file, &wanted)
        });
        let holds = look.await.expect("reading does not panic");
        Ok(holds.then_some(OldVersion { key, version, locked_until }))
    });
    looked.buffered(FETCHES).try_filter_map(async |found| Ok(found)).try_collect().await
}
