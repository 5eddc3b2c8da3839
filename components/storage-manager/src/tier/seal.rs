//! Sealing: runs of small segments become one, which is what goes to Wasabi.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::Segment;
use cim_core::names::StreamName;
use tokio::time::Instant;

use super::context::Context;
use super::merge::{Merge, SealError};
use super::upload::{Patience, put};
use crate::hooks::fail_point;
use crate::s3::Tier;
use crate::segment::Finished;

/// The time for which a merge may keep others waiting before it ends with what it has.
const TURN: Duration = Duration::from_secs(10);

/// A run of segments and what replaces it.
#[derive(Debug)]
pub struct Sealed {
    /// The sealed segment.
    pub segment: Segment,
    /// The keys that it replaces.
    pub replaces: Vec<String>,
}

/// Makes one sealed segment of a run, or of its beginning where that takes long.
pub async fn seal(
    context: &Arc<Context>,
    stream: &StreamName,
    run: Vec<Segment>,
) -> Result<Sealed, SealError> {
    if let [only] = &run[..] {
        let replaces = vec![only.key.clone()];
        return Ok(Sealed { segment: Segment { sealed: true, ..only.clone() }, replaces });
    }
    let _one_at_a_time = context.merging.acquire().await.expect("it is never closed");
    let (begun, timeline, mut replaces) = (Instant::now(), run[0].timeline, Vec::new());
    let mut merge = Merge::to(Tier::Nas);
    for segment in run {
        if begun.elapsed() > TURN && !replaces.is_empty() {
            break;
        }
        let file = context.fetch_briefly(&segment).await?;
        replaces.push(segment.key.clone());
        let append = move || {
            merge.append(&segment, &file, 0)?;
            Ok::<_, SealError>(merge)
        };
        merge = tokio::task::spawn_blocking(append).await.expect("merging does not panic")?;
    }
    let name = stream.clone();
    let finish = tokio::task::spawn_blocking(move || merge.finish(&name, timeline, true));
    let finished = finish.await.expect("merging does not panic")?;
    put(context, &finished, Patience::Brief).await?;
    fail_point!(SealUploaded);
    Ok(Sealed { segment: finished.segment, replaces })
}

/// Makes a sealed segment of what another one has after `seq`. It is on the NAS, and no entry names it.
pub async fn split_after(
    context: &Arc<Context>,
    stream: &StreamName,
    segment: &Segment,
    seq: u64,
) -> Result<Finished, SealError> {
    let _one_at_a_time = context.merging.acquire().await.expect("it is never closed");
    let file = context.fetch_briefly(segment).await?;
    let (segment, name) = (segment.clone(), stream.clone());
    let cut = tokio::task::spawn_blocking(move || {
        let mut merge = Merge::to(Tier::Nas);
        merge.append(&segment, &file, seq)?;
        merge.finish(&name, segment.timeline, true)
    });
    let finished = cut.await.expect("cutting does not panic")?;
    put(context, &finished, Patience::Brief).await?;
    Ok(finished)
}
