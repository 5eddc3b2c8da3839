//! Deleting the objects of segments that a sealed one has replaced.

use std::sync::Arc;

use cim_core::archive::ArchiveState;

use super::context::Context;
use crate::clock;
use crate::hooks::fail_point;
use crate::s3::S3Error;

/// The number of objects that are deleted before the manifest says so.
const AT_ONCE: usize = 256;

/// Returns the keys of replaced segments whose grace period has passed.
pub fn due(context: &Context, state: &ArchiveState) -> Vec<String> {
    let (now, grace) = (clock::now(), context.config.collect.grace);
    let old = state.superseded.iter().filter(|s| clock::is_old(now, s.since, grace));
    old.take(AT_ONCE).map(|s| s.key.clone()).collect()
}

/// Deletes them. What is deleted and not yet committed is deleted again next time, which is nothing.
pub async fn collect(context: &Arc<Context>, keys: Vec<String>) -> Result<Vec<String>, S3Error> {
    fail_point!(CollectBefore);
    for key in &keys {
        let what = format!("deleting replaced segment `{key}`");
        context.retry_until_cancelled(&what, || context.nas.delete(key)).await?;
        fail_point!(CollectMidway);
    }
    fail_point!(CollectAfter);
    Ok(keys)
}
