//! Is the live stream the one that was archived? Names do not tell, messages do.

use std::collections::BTreeMap;

use cim_core::archive::{ArchiveState, LastMessage, Piece, Segment, Sha256};
use cim_core::names::StreamName;
use cim_runtime::error::chain;

use super::alignment::Alignment;
use super::error::FetchError;
use super::parting::{self, Parting, Same};
use super::sides::Sides;
use crate::jetstream::{ApiError, StreamInfo};
use crate::s3::{ErrorKind, S3Error};
use crate::segment::{Rows, SegmentError};

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

/// Compares the archive with the live stream. One that has what has left the archive by rule is archived anew.
pub async fn align(
    sides: &Sides,
    stream: &StreamName,
    state: &ArchiveState,
    live: &StreamInfo,
) -> Result<Alignment, HistoryError> {
    let alignment = compare_histories(sides, stream, state, live).await?;
    Ok(alignment.unless_more_is_live(state, &live.state))
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
    let mut shared = Vec::new();
    for timeline in state.timelines.keys().rev() {
        let last = last_shared(sides, stream, state, *timeline, live).await?;
        shared.extend(last.map(|last| (*timeline, last)));
    }
    Ok(Alignment::of_shared(state.timeline(), shared))
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

/// The part of a segment that a timeline has.
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

/// Compares the end of a segment, or its newest message that the live stream still has.
async fn compare_share(
    sides: &Sides,
    stream: &StreamName,
    share: &Share<'_>,
    live: &StreamInfo,
) -> Result<Same, HistoryError> {
    match compare(sides, stream, live, &share.last).await? {
        Same::Gone => newest_in(sides, stream, share, live).await,
        same => Ok(same),
    }
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
    let compared =
        parting::find(shares.len(), |index| compare_share(sides, stream, &shares[index], live));
    let Parting { shared, same } = compared.await?;
    let within = match shares.get(shared) {
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
    let before = shared.checked_sub(1).map(|index| shares[index].last.clone());
    // Without a single message that both have, only the birth can speak for a shared beginning.
    Ok(before.filter(|_| same.is_some() || same_birth))
}

async fn last_shared_in(
    sides: &Sides,
    stream: &StreamName,
    share: &Share<'_>,
    live: &StreamInfo,
) -> Result<Option<LastMessage>, HistoryError> {
    let messages = messages_of(sides, stream, share.segment, share.last.seq).await?;
    let Some(messages) = messages else { return Ok(None) };
    let compared =
        parting::find(messages.len(), |index| compare(sides, stream, live, &messages[index]));
    let same = compared.await?.same;
    Ok(same.map(|index| messages[index].clone()))
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
