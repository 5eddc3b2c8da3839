//! What each kind of merge needs: the bytes of an object, and the form of its outcome.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::archive::Segment;
use cim_core::archive::journal::Replacement;
use cim_core::names::StreamName;

use super::error::MergeError;
use crate::tier::Context;

/// The replacements of each stream.
pub(super) type Replacements = BTreeMap<StreamName, Vec<Replacement>>;

/// Fetches an object, from Wasabi where the NAS has not got it back yet. Gives up in the end: what one object lacks
/// must not hold up the others.
pub(super) async fn fetch(
    context: &Arc<Context>,
    segment: &Segment,
) -> Result<bytes::Bytes, MergeError> {
    let fetched = context.try_fetch(segment).await;
    fetched.map_err(|source| MergeError::Fetch { key: segment.key.clone(), source })
}
