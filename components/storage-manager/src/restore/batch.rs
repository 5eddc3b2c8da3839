//! Streams that are read together.
//!
//! Objects that streams share have their rows by stream, and a row group has those of many. Where one stream is read
//! after the other the same row groups are read again and again; here the parts of some streams that follow each
//! other by name are read object by object, each row group once.
//!
//! It is a short cut: what cannot be read here is left out, and read again for its stream, which says why.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use cim_core::archive::Segment;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;

use super::error::RestoreError;
use super::plan::Plan;
use super::source::{Loaded, Source};
use crate::segment::{Columns, read_parts};

/// Bytes of messages that are read together.
const BATCH: u64 = 16 << 20;
/// Memory that a message takes besides its bytes.
const MESSAGE: u64 = 40;
/// Objects that are read at once, and bytes of those.
const AT_ONCE: usize = 16;
const BYTES_AT_ONCE: usize = 12 << 20;
/// Bytes between two parts that are read too: a request takes longer.
const BETWEEN: u64 = 256 << 10;

/// Returns the bytes of memory that a stream takes when all of it is read.
pub(super) fn weight(plan: &Plan) -> u64 {
    plan.bytes().saturating_add(plan.messages().saturating_mul(MESSAGE))
}

/// Streams, and where each is in the order in which they are wanted.
pub(super) type Batch = Vec<(usize, Plan)>;

/// Divides streams into batches.
pub(super) fn batches(plans: Batch) -> Vec<Batch> {
    let (mut batches, mut bytes): (Vec<Batch>, u64) = (Vec::new(), u64::MAX);
    for (index, plan) in plans {
        let more = weight(&plan);
        match batches.last_mut() {
            Some(batch) if bytes.saturating_add(more) <= BATCH => {
                bytes += more;
                batch.push((index, plan));
            }
            _ => {
                bytes = more;
                batches.push(vec![(index, plan)]);
            }
        }
    }
    batches
}

/// Reads the parts that streams have in shared objects.
pub(super) async fn load(source: &Source, plans: &[(usize, Plan)]) -> Vec<Loaded> {
    let mut objects: BTreeMap<&str, Vec<(usize, Segment)>> = BTreeMap::new();
    for (place, (_, plan)) in plans.iter().enumerate() {
        for (segment, ..) in plan.pieces.iter().filter(|piece| piece.0.part.is_some()) {
            objects.entry(&segment.key).or_default().push((place, segment.clone()));
        }
    }
    let room = Semaphore::new(BYTES_AT_ONCE);
    let mut read = stream::iter(objects)
        .map(|(key, parts)| Box::pin(object(source, &room, key, parts)))
        .buffer_unordered(AT_ONCE);
    let mut loaded: Vec<Loaded> = plans.iter().map(|_| Loaded::default()).collect();
    while let Some(read) = read.next().await {
        match read {
            Ok(parts) => parts.into_iter().for_each(|(place, segment, columns)| {
                loaded[place].put(&segment, columns);
            }),
            Err(error) => tracing::debug!("parts are read one by one: {error}"),
        }
    }
    loaded
}

type Read = Vec<(usize, Segment, Columns)>;

/// Reads parts of one object.
async fn object(
    source: &Source,
    room: &Semaphore,
    key: &str,
    parts: Vec<(usize, Segment)>,
) -> Result<Read, RestoreError> {
    let (footer, tail) = source.footer(key).await?;
    let place = |(place, segment): (usize, Segment)| {
        let range = footer.range(&segment, segment.part.as_ref()?).ok()?;
        Some((range, place, segment))
    };
    let mut read = Vec::new();
    for (range, parts) in stretches(parts.into_iter().filter_map(place).collect()) {
        let bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let bytes = u32::try_from(bytes.min(BYTES_AT_ONCE)).expect("it is some MiB");
        let _room = room.acquire_many(bytes).await.expect("it is never closed");
        let window = source.window(key, range, tail.clone()).await?;
        let footer = Arc::clone(&footer);
        let decoded = tokio::task::spawn_blocking(move || {
            let wanted: Vec<_> =
                parts.iter().filter_map(|(_, s)| Some((s, s.part.as_ref()?))).collect();
            let columns = read_parts(&footer, window, &wanted);
            parts.into_iter().zip(columns).collect::<Vec<_>>()
        });
        for ((place, segment), columns) in decoded.await.expect("reading does not panic") {
            match columns {
                Ok(columns) => read.push((place, segment, columns)),
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }
    Ok(read)
}

type Stretch = (Range<u64>, Vec<(usize, Segment)>);

/// Puts parts together that lie side by side.
fn stretches(mut parts: Vec<(Range<u64>, usize, Segment)>) -> Vec<Stretch> {
    parts.sort_by_key(|(range, ..)| range.start);
    let mut stretches: Vec<Stretch> = Vec::new();
    for (range, place, segment) in parts {
        match stretches.last_mut() {
            Some((whole, parts)) if range.start <= whole.end.saturating_add(BETWEEN) => {
                whole.end = whole.end.max(range.end);
                parts.push((place, segment));
            }
            _ => stretches.push((range, vec![(place, segment)])),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::restore::tests::{piece, plan_of};

    proptest! {
        /// Every stream is in one batch, in its order, and a batch has its bounds unless one stream alone breaks them.
        #[test]
        fn batches_have_all_streams_within_bounds(
            sizes in prop::collection::vec(prop_oneof![1..1000_u64, 1..2 * BATCH / MESSAGE], 0..60)
        ) {
            let plans: Batch = sizes
                .iter()
                .map(|messages| {
                    let mut plan = plan_of(json!({}));
                    plan.pieces = vec![piece(*messages, 1)];
                    plan
                })
                .enumerate()
                .collect();
            let batches = batches(plans);
            let order: Vec<usize> = batches.iter().flatten().map(|(index, _)| *index).collect();
            prop_assert_eq!(order, (0..sizes.len()).collect::<Vec<_>>());
            for batch in &batches {
                let bytes: u64 = batch.iter().map(|(_, plan)| weight(plan)).sum();
                prop_assert!(bytes <= BATCH || batch.len() == 1);
            }
            for two in batches.windows(2) {
                let first: u64 = two[0].iter().map(|(_, plan)| weight(plan)).sum();
                prop_assert!(first + weight(&two[1][0].1) > BATCH, "two batches could be one");
            }
        }

        /// Every part lies in the stretch that it is read with, and stretches are far apart.
        #[test]
        fn stretches_cover_all_parts(
            ranges in prop::collection::vec((0..100 * BETWEEN, 1..3 * BETWEEN), 0..40)
        ) {
            let segment = piece(1, 1).0;
            let parts = ranges.iter().enumerate();
            let parts = parts.map(|(place, (from, size))| (*from..from + size, place, segment.clone()));
            let stretches = stretches(parts.collect());
            let mut places: Vec<usize> = Vec::new();
            for (whole, parts) in &stretches {
                for (place, _) in parts {
                    let (from, size) = ranges[*place];
                    prop_assert!(whole.start <= from && from + size <= whole.end);
                    places.push(*place);
                }
            }
            places.sort_unstable();
            prop_assert_eq!(places, (0..ranges.len()).collect::<Vec<_>>());
            prop_assert!(stretches.windows(2).all(|two| two[0].0.end + BETWEEN < two[1].0.start));
        }
    }
}
