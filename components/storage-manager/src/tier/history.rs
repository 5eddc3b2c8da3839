//! Is the live stream the one that was archived? Names do not tell, messages do.

use std::collections::BTreeMap;

use cim_core::archive::{ArchiveState, LastMessage, ParentTimeline, Piece, Segment, Sha256};
use cim_core::names::StreamName;
use cim_runtime::error::chain;

use super::error::FetchError;
use super::sides::Sides;
use crate::jetstream::{ApiError, StreamInfo};
use crate::s3::{ErrorKind, S3Error};
use crate::segment::{Rows, SegmentError};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alignment {
    /// The archive's current timeline goes on.
    Continues,
    /// The live stream went another way: a new timeline begins.
    Forks {
        /// What both share.
        parent: Option<ParentTimeline>,
        /// The last message that both share.
        last: Option<LastMessage>,
        /// In words.
        reason: &'static str,
    },
}

/// The comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// JetStream did not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A segment could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// What one message says about both histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Same {
    Yes,
    No,
    /// The live stream does not have it any more.
    Gone,
}

/// Compares the archive with the live stream. One that has what has left the archive by rule, as it has when it was
/// restored from a tier that keeps more, is archived anew: the archive is never less than the live stream.
pub async fn align(
    sides: &Sides,
    stream: &StreamName,
    state: &ArchiveState,
    live: &StreamInfo,
) -> Result<Alignment, HistoryError> {
    let alignment = compare_histories(sides, stream, state, live).await?;
    let kept_from = match &alignment {
        Alignment::Continues => state.kept_from(state.timeline()),
        Alignment::Forks { parent: Some(parent), .. } => {
            state.kept_within(parent.timeline, parent.last_seq)
        }
        Alignment::Forks { parent: None, .. } => return Ok(alignment),
    };
    let has_more = live.state.messages > 0 && live.state.first_seq < kept_from;
    let reason = "has what had left the archive by rule";
    Ok(if has_more { Alignment::Forks { parent: None, last: None, reason } } else { alignment })
}

/// Compares them, whatever has left.
async fn compare_histories(
    sides: &Sides,
    stream: &StreamName,
    state: &ArchiveState,
    live: &StreamInfo,
) -> Result<Alignment, HistoryError> {
    let watermark = state.watermark();
    // The archive was read after the live stream was looked at: another manager may have gone on with it meanwhile.
    let again;
    let live = if live.state.last_seq < watermark.seq {
        again = sides.jetstream.stream_info(stream.as_str(), false).await?;
        &again
    } else {
        live
    };
    let same_birth = state.stream.created == live.record.created;
    if live.state.last_seq >= watermark.seq {
        let Some(last) = &watermark.last else {
            // Nothing archived to compare with. A stream of another birth is another stream, unless
            // nothing at all was archived.
            let nothing = watermark.seq == 0 && state.timelines.len() == 1;
            if same_birth || nothing {
                return Ok(Alignment::Continues);
            }
            return other_history(sides, stream, state, live).await;
        };
        match compare(sides, stream, live, last).await? {
            Same::Yes => return Ok(Alignment::Continues),
            // What was purged, expired or deleted says nothing: what is before it does.
            Same::Gone if same_birth => {
                let timeline = state.timeline();
                let shared = last_shared(sides, stream, state, timeline, live).await?;
                let pieces = state.pieces(timeline, 1, u64::MAX);
                let archived =
                    pieces.last().map(|piece| piece.last_seq.min(piece.segment.last.seq));
                if shared.as_ref().map(|last| last.seq) >= archived {
                    return Ok(Alignment::Continues);
                }
            }
            Same::Gone | Same::No => {}
        }
    }
    other_history(sides, stream, state, live).await
}

/// Compares with the earlier timelines: one of them may have been restored, and goes on then.
async fn other_history(
    sides: &Sides,
    stream: &StreamName,
    state: &ArchiveState,
    live: &StreamInfo,
) -> Result<Alignment, HistoryError> {
    let mut longest: Option<(u32, LastMessage)> = None;
    for timeline in state.timelines.keys().rev() {
        let shared = last_shared(sides, stream, state, *timeline, live).await?;
        if let Some(last) = shared
            && longest.as_ref().is_none_or(|(_, longest)| longest.seq < last.seq)
        {
            longest = Some((*timeline, last));
        }
    }
    Ok(match longest {
        None => recreated(),
        Some((timeline, last)) => Alignment::Forks {
            // A deleted tail that both have is beyond the last message that both have.
            parent: Some(ParentTimeline { timeline, last_seq: last.seq }),
            last: Some(last),
            reason: if timeline == state.timeline() {
                "goes on from an earlier point"
            } else {
                "restored from an earlier timeline"
            },
        },
    })
}

fn recreated() -> Alignment {
    Alignment::Forks { parent: None, last: None, reason: "recreated" }
}

async fn compare(
    sides: &Sides,
    stream: &StreamName,
    live: &StreamInfo,
    archived: &LastMessage,
) -> Result<Same, ApiError> {
    if archived.seq < live.state.first_seq || archived.seq > live.state.last_seq {
        return Ok(if archived.seq > live.state.last_seq { Same::No } else { Same::Gone });
    }
    let message = sides.jetstream.message(stream.as_str(), archived.seq).await?;
    Ok(match message {
        None => Same::Gone,
        Some(message) if message.is(archived) => Same::Yes,
        Some(_) => Same::No,
    })
}

/// What a timeline has of a segment.
struct Share<'a> {
    segment: &'a Segment,
    /// Its last message in there: another timeline may have the rest.
    last: LastMessage,
}

/// Returns what a timeline has of each of its segments, but for those of which nothing can be said.
async fn shares<'a>(
    sides: &Sides,
    stream: &StreamName,
    pieces: Vec<Piece<'a>>,
) -> Result<Vec<Share<'a>>, HistoryError> {
    let mut shares = Vec::new();
    for Piece { segment, last_seq, .. } in pieces {
        if segment.last.seq <= last_seq {
            shares.push(Share { segment, last: segment.last.clone() });
            continue;
        }
        let messages = messages_of(sides, stream, segment, last_seq).await?;
        let last = messages.and_then(|messages| messages.into_iter().next_back());
        shares.extend(last.map(|last| Share { segment, last }));
    }
    Ok(shares)
}

/// Compares the newest message of a segment that the live stream still has; [`Same::Gone`] where it has none. A
/// server that lost its newest messages and gave their sequences out again may have deleted since what took the last
/// ones' place.
async fn newest_in(
    sides: &Sides,
    stream: &StreamName,
    share: &Share<'_>,
    live: &StreamInfo,
) -> Result<Same, HistoryError> {
    let Share { segment, last } = share;
    let until = last.seq;
    if until < live.state.first_seq {
        return Ok(Same::Gone);
    }
    let begin = segment.first_seq.max(live.state.first_seq);
    // Backwards by doubling: deletes are few, or they are a purge, of which nothing is left.
    let (mut back, mut next) = (1, None);
    while next.is_none() {
        let from = until.saturating_sub(back).max(begin);
        let found = sides.jetstream.next_message(stream.as_str(), from).await?;
        next = found.filter(|message| message.seq <= until);
        if from <= begin {
            break;
        }
        back *= 2;
    }
    let mut newest = None;
    while let Some(message) = next {
        let after = message.seq + 1;
        newest = Some(message);
        next = sides.jetstream.next_message(stream.as_str(), after).await?;
        next = next.filter(|message| message.seq <= until);
    }
    let Some(newest) = newest else { return Ok(Same::Gone) };
    // What cannot be read proves nothing.
    let archived = messages_of(sides, stream, segment, until).await?;
    let Some(archived) = archived else { return Ok(Same::Gone) };
    Ok(match archived.iter().find(|archived| archived.seq == newest.seq) {
        Some(archived) if newest.is(archived) => Same::Yes,
        _ => Same::No,
    })
}

/// Finds the last archived message of a timeline that the live stream has too. Histories share a beginning and then
/// nothing, so the place where they part is found by halving.
async fn last_shared(
    sides: &Sides,
    stream: &StreamName,
    state: &ArchiveState,
    timeline: u32,
    live: &StreamInfo,
) -> Result<Option<LastMessage>, HistoryError> {
    let pieces = state.pieces(timeline, 1, u64::MAX);
    let shares = shares(sides, stream, pieces).await?;
    let (mut low, mut high) = (0, shares.len());
    // Those before `low` are shared to their end, those from `high` on are not.
    let mut replicated = false;
    while low < high {
        let middle = usize::midpoint(low, high);
        let mut same = compare(sides, stream, live, &shares[middle].last).await?;
        if same == Same::Gone {
            same = newest_in(sides, stream, &shares[middle], live).await?;
        }
        match same {
            Same::Yes => {
                replicated = true;
                low = middle + 1;
            }
            // Gone from the front is what limits do to a stream that shares it.
            Same::Gone => low = middle + 1,
            Same::No => high = middle,
        }
    }
    let within = match shares.get(low) {
        // The live stream does not go as far as it begins: it need not be read.
        Some(share) if share.segment.first_seq > live.state.last_seq => None,
        // Where it cannot be read the new timeline begins before it, and archives again what the live stream has.
        Some(share) => last_shared_in(sides, stream, share, live).await?,
        None => None,
    };
    if within.is_some() {
        return Ok(within);
    }
    let same_birth = state.stream_of(timeline).0.created == live.record.created;
    let before = low.checked_sub(1).map(|index| shares[index].last.clone());
    // Without a single message that both have, only the birth can speak for a shared beginning.
    Ok(before.filter(|_| replicated || same_birth))
}

async fn last_shared_in(
    sides: &Sides,
    stream: &StreamName,
    share: &Share<'_>,
    live: &StreamInfo,
) -> Result<Option<LastMessage>, HistoryError> {
    let messages = messages_of(sides, stream, share.segment, share.last.seq).await?;
    let Some(messages) = messages else { return Ok(None) };
    let (mut low, mut high, mut found) = (0, messages.len(), None);
    while low < high {
        let middle = usize::midpoint(low, high);
        match compare(sides, stream, live, &messages[middle]).await? {
            Same::No => high = middle,
            Same::Gone => low = middle + 1,
            Same::Yes => {
                found = Some(messages[middle].clone());
                low = middle + 1;
            }
        }
    }
    Ok(found)
}

/// Returns what every message of a segment up to a sequence is known by, ascending; `None`, which is noted, where the
/// segment is damaged or not there, or there is no key of it.
async fn messages_of(
    sides: &Sides,
    stream: &StreamName,
    segment: &Segment,
    until: u64,
) -> Result<Option<Vec<LastMessage>>, HistoryError> {
    let says_nothing =
        |error: &S3Error| !matches!(error.kind, ErrorKind::NotFound | ErrorKind::Locked(_));
    let error = match read_messages(sides, segment, until).await {
        Ok(messages) => return Ok(Some(messages)),
        Err(HistoryError::Fetch(FetchError::S3(error))) if says_nothing(&error) => {
            return Err(FetchError::from(error).into());
        }
        Err(HistoryError::Fetch(error)) => error,
        Err(error) => return Err(error),
    };
    tracing::error!(stream = %stream, "a segment cannot be read, so the archive and the stream are compared without it: {}", chain(&error));
    sides.unread.note(&segment.key, error);
    Ok(None)
}

async fn read_messages(
    sides: &Sides,
    segment: &Segment,
    until: u64,
) -> Result<Vec<LastMessage>, HistoryError> {
    let file = sides.fetch(segment).await.map_err(FetchError::from)?;
    let (record, mut hashes) = (segment.clone(), BTreeMap::new());
    let hashes: BTreeMap<u64, (i64, Sha256)> = tokio::task::spawn_blocking(move || {
        Rows::read(&record, &file, |rows| {
            hashes.extend(rows.messages().map(|m| (m.seq, (m.time, m.hash()))));
            Ok::<_, SegmentError>(())
        })
        .map(|()| hashes)
    })
    .await
    .expect("reading does not panic")
    .map_err(FetchError::from)?;
    let known = hashes.into_iter().filter(|(seq, _)| *seq <= until).map(|(seq, (time, sha256))| {
        LastMessage {
            seq,
            time: jiff::Timestamp::from_nanosecond(time.into())
                .expect("i64 nanoseconds are in range"),
            sha256,
        }
    });
    Ok(known.collect())
}
