//! Whether a segment on the NAS is damaged now.

use std::sync::Arc;

use cim_core::archive::Segment;

use super::context::{Context, checked};
use crate::crypt;
use crate::segment::{Rows, SegmentError};

/// Reads a segment on the NAS once more. Only what is gone, is not what it was, or is not given though the NAS answers, is
/// damaged: a NAS that does not answer says nothing.
pub async fn is_damaged(context: &Arc<Context>, segment: &Segment) -> bool {
    let bytes = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(bytes, None).await;
    // The hash of a file of its own is over what lies there, whether there is a key of it or not.
    let alone = segment.part.is_none();
    let got = if alone {
        context.nas.get_as_is(&segment.key).await
    } else {
        context.nas.get(&segment.key).await
    };
    let file = match got {
        Err(error) => return context.nas.judged(error).await.kind.is_damage(),
        Ok(file) if alone && crypt::check(&file).is_err() => {
            return checked(segment, file).await.is_err();
        }
        Ok(file) => file,
    };
    let to_read = segment.clone();
    let read = tokio::task::spawn_blocking(move || {
        Rows::read(&to_read, &file, |_| Ok::<_, SegmentError>(())).is_err()
    });
    read.await.expect("reading does not panic")
}
