//! The file of a segment on its way to the NAS.

use std::sync::Arc;

use cim_core::archive::ArchiveKey;

use super::context::Context;
use crate::crypt::installed;
use crate::hooks::sabotage;
use crate::s3::{S3Error, Tier};
use crate::segment::Finished;

/// Returns whether a segment of the NAS may be one that nothing takes the place of any more. What is encrypted is not the
/// same bytes twice, so where it is damaged another does.
pub(crate) fn may_be_sealed() -> bool {
    installed().writes(Tier::Nas).is_none()
}

/// Bytes of messages in one row group: what a reader of the archive decodes at once.
pub(super) const ROW_GROUP: usize = 4 << 20;

/// The time for which S3 may fail before a segment's file is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// For ever: nothing goes on without it.
    Endless,
    /// For a moment: others wait for a permit that is held.
    Brief,
}

/// Writes a segment's file to the NAS.
pub async fn put(
    context: &Arc<Context>,
    finished: &Finished,
    patience: Patience,
) -> Result<(), S3Error> {
    let key = &finished.segment.key;
    let parsed = ArchiveKey::parse(key).expect("the writer spelled it");
    let what = format!("writing segment `{key}`");
    let file = sabotage!(file, finished.file.clone());
    sabotage!(if counts_as_uploaded(context, &parsed, &file) return Ok(()));
    let attempt = || context.nas.put_once(&parsed, file.clone());
    match patience {
        Patience::Endless => context.retry_until_cancelled(&what, attempt).await,
        Patience::Brief => context.retry_briefly(&what, attempt).await,
    }
}
