//! What becomes of parts of a damaged object that nothing has exactly any more.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::Segment;
use cim_core::names::StreamName;

use super::error::HealError;
use super::part::{Place, whose};
use crate::journal::{Journal, OpenError};
use crate::tier::Context;

/// The time that the session of a stream may take to begin it anew, before it is said that it does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives up what only a timeline needs that was left, and has the other streams archived anew. Returns those that
/// can be neither.
pub(super) async fn settle(
    context: &Arc<Context>,
    journal: &Journal,
    key: &str,
    parts: Vec<Place>,
) -> Result<Vec<Place>, HealError> {
    let (mut left, mut lost) = (Vec::new(), Vec::new());
    for (stream, segment) in parts {
        match is_needed(journal, &stream, &segment) {
            Some(false) if context.damaged.give_up(&stream, &segment) => {
                left.push((stream, segment));
            }
            None | Some(false) => {}
            Some(true) => {
                // One that was left may be gone on with.
                context.damaged.take_back(&stream, &segment);
                if !is_begun_anew(context, journal, &stream, &segment).await? {
                    lost.push((stream, segment));
                }
            }
        }
    }
    if !left.is_empty() {
        let whose = whose(left.iter().map(|(stream, segment)| (stream, segment)));
        tracing::warn!(
            "`{key}` of the NAS stays damaged, in timelines that the streams have left: {whose}; the newest timelines do not need it, but `restore --timeline N` and `--with-dropped` cannot bring these sequences back, and Wasabi goes on without them unless it has them"
        );
    }
    Ok(lost)
}

/// Returns whether a stream's newest timeline has a segment, be it that it shares it with an earlier one; `None` where
/// the journal has something else in its place.
fn is_needed(journal: &Journal, stream: &StreamName, segment: &Segment) -> Option<bool> {
    let place = (segment.timeline, segment.first_seq);
    journal.stream(stream, |state| {
        state.segments.get(&place).filter(|there| there.key == segment.key)?;
        let pieces = state.pieces(state.timeline(), 1, u64::MAX);
        let mut places = pieces.iter().map(|p| (p.segment.timeline, p.segment.first_seq));
        Some(places.any(|other| other == place))
    })?
}

/// Asks the session of a stream to begin it anew; false where there is none that does.
async fn is_begun_anew(
    context: &Arc<Context>,
    journal: &Journal,
    stream: &StreamName,
    segment: &Segment,
) -> Result<bool, HealError> {
    let live = match context.jetstream.stream_info(stream.as_str(), false).await {
        Err(error) if error.not_found() => return Ok(false),
        Err(source) => {
            let whose = whose([(stream, segment)].into_iter());
            return Err(HealError::Api { key: segment.key.clone(), whose, source });
        }
        Ok(live) => live,
    };
    let born = journal.stream(stream, |state| state.stream.created);
    // One that was made again begins a timeline of its own, with its first message.
    if born != Some(live.record.created) && live.state.last_seq == 0 {
        return Ok(false);
    }
    Ok(context.rearchive.note(stream, segment) < PATIENCE)
}

/// Parts that could not be healed, and what is known of them.
pub(super) struct Unhealed<'a> {
    pub(super) key: &'a str,
    pub(super) why: String,
    /// The NAS answers, and does not have them.
    pub(super) damaged: bool,
    /// Those that Wasabi has, where it says so.
    pub(super) covered: Result<Vec<Place>, OpenError>,
    pub(super) lost: Vec<Place>,
}

/// Says what becomes of parts that could not be healed.
pub(super) async fn report_unhealed(
    context: &Arc<Context>,
    journal: &Journal,
    stays: Unhealed<'_>,
) -> Result<(), HealError> {
    let Unhealed { key, why, damaged, covered, lost } = stays;
    let key = key.to_owned();
    let named = |places: &[Place]| whose(places.iter().map(|(stream, segment)| (stream, segment)));
    if !damaged {
        return Err(HealError::Lost { key, why, whose: named(&lost) });
    }
    let covered = match covered {
        Ok(covered) => covered,
        Err(source) => return Err(HealError::Silent { key, why, source }),
    };
    let (elsewhere, nowhere) = lost.into_iter().partition(|place| covered.contains(place));
    let lost = settle(context, journal, &key, nowhere).await?;
    Err(match (lost.is_empty(), elsewhere.is_empty()) {
        (false, _) => HealError::Lost { key, why, whose: named(&lost) },
        (_, false) => HealError::Elsewhere { key, why, whose: named(&elsewhere) },
        (true, true) => HealError::Settled,
    })
}
