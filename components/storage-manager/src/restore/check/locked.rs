//! Objects that there is no key of. Their ends tell; where something is to be restored they are read anyway.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};

use crate::restore::error::RestoreError;
use crate::restore::plan::Plan;
use crate::restore::prefetch::REQUESTS;
use crate::restore::source::Source;

/// Returns the places of streams that have messages in an object which there is no key of, and which that is.
///
/// # Errors
/// When a tier does not answer.
pub(super) async fn find<'a>(
    source: &Source,
    plans: impl Iterator<Item = (usize, &'a Plan)>,
) -> Result<Vec<(usize, RestoreError)>, RestoreError> {
    let mut objects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, plan) in plans {
        for (segment, ..) in &plan.pieces {
            let streams = objects.entry(&segment.key).or_default();
            if streams.last() != Some(&index) {
                streams.push(index);
            }
        }
    }
    let looks = stream::iter(objects).map(async |(key, of)| (of, source.look(key).await));
    let mut looks = std::pin::pin!(looks.buffered(REQUESTS));
    let mut found: BTreeMap<usize, RestoreError> = BTreeMap::new();
    while let Some((streams, looked)) = looks.next().await {
        match looked.map_err(RestoreError::from) {
            Err(RestoreError::Locked { tier, key, locked }) => {
                for index in streams {
                    let (key, locked) = (key.clone(), locked.clone());
                    found.entry(index).or_insert(RestoreError::Locked { tier, key, locked });
                }
            }
            // What is damaged is found when it is read.
            Err(error) if !error.is_of_one_stream() => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(found.into_iter().collect())
}
