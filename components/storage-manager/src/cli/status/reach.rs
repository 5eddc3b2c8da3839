//! How far a tier is of a live stream: sequences say so only where its archive is that stream's.

use cim_core::archive::ArchiveState;
use cim_core::names::StreamName;
use jiff::Timestamp;
use serde::Serialize;

use super::super::exit::Failure;
use crate::jetstream::StreamInfo;
use crate::tier::error::FetchError;
use crate::tier::sides::{Note, Sides, Unread};
use crate::tier::{Alignment, align};

/// A tier's reach.
#[derive(Debug, Serialize)]
pub(super) struct TierStatus {
    /// The tier cannot be reached: nothing is known of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) unreachable: bool,
    /// The tier's own timeline; `None` where it holds nothing of the stream.
    pub(super) timeline: Option<u32>,
    /// Why that timeline is not the live stream's, in words.
    pub(super) diverged: Option<String>,
    /// The last sequence of its timeline.
    pub(super) seq: u64,
    /// Time of the last message that it holds.
    time: Option<Timestamp>,
    /// Age of the live stream's oldest message that it does not hold; 0 when it holds all, `None` when that is not
    /// known.
    pub(super) lag_seconds: Option<f64>,
    /// Live messages that it does not hold.
    pub(super) lag_events: Option<u64>,
    entry: Option<u64>,
    pub(super) segments: usize,
    pub(super) bytes: u64,
}

/// Returns how far a tier with this archive is; and why that could not be compared with the live stream, of which it
/// holds nothing then that could be relied on.
pub(super) async fn reach(
    sides: &Sides,
    stream: &StreamName,
    live: &StreamInfo,
    state: Option<ArchiveState>,
) -> Result<(TierStatus, Option<FetchError>), Failure> {
    // What could not be read for another tier, or another journal, says nothing of this one.
    let sides = &Sides { unread: Unread::default(), ..sides.clone() };
    let (mut diverged, mut incomparable) = (None, None);
    let held = match &state {
        None => 0,
        Some(state) => match align(sides, stream, state, live).await {
            Ok(Alignment::Continues) => state.watermark().seq,
            Ok(Alignment::Forks { parent, reason, .. }) => {
                diverged = Some(reason.to_owned());
                parent.map_or(0, |parent| parent.last_seq)
            }
            Err(error) => return Err(error.into()),
        },
    };
    let held = match sides.unread.take().into_iter().next() {
        None => held,
        Some(Note { error, .. }) => {
            diverged = Some("cannot be compared".to_owned());
            incomparable = Some(error);
            0
        }
    };
    // What the live stream has dropped cannot be missing.
    let held = held.max(live.state.first_seq.saturating_sub(1));
    let oldest = if live.state.last_seq > held {
        sides.jetstream.next_message(stream.as_str(), held + 1).await?
    } else {
        None
    };
    // Nor can what was never given out, or is gone again, in front of that one.
    let held = oldest.as_ref().map_or(live.state.last_seq, |oldest| held.max(oldest.seq - 1));
    let now = Timestamp::now().as_nanosecond();
    let segments = state.iter().flat_map(|state| state.segments.values());
    let status = TierStatus {
        unreachable: false,
        timeline: state.as_ref().map(ArchiveState::timeline),
        diverged,
        seq: state.as_ref().map_or(0, |state| state.watermark().seq),
        time: state.as_ref().and_then(|s| s.watermark().last.as_ref()).map(|last| last.time),
        lag_seconds: Some(oldest.map_or(0.0, |m| (now - i128::from(m.time)).max(0) as f64 / 1e9)),
        lag_events: Some(live.state.last_seq.saturating_sub(held)),
        entry: state.as_ref().map(|state| state.number),
        segments: state.as_ref().map_or(0, |state| state.segments.len()),
        bytes: segments.fold(0, |sum: u64, s| sum.saturating_add(s.size)),
    };
    Ok((status, incomparable))
}

impl TierStatus {
    /// Returns a tier that cannot be reached.
    pub(super) fn unreachable() -> Self {
        Self {
            unreachable: true,
            timeline: None,
            diverged: None,
            seq: 0,
            time: None,
            lag_seconds: None,
            lag_events: None,
            entry: None,
            segments: 0,
            bytes: 0,
        }
    }

    /// Returns a tier that is so far behind.
    #[cfg(test)]
    pub(super) fn behind(lag_seconds: f64, lag_events: u64) -> Self {
        Self {
            unreachable: false,
            timeline: Some(1),
            seq: 1,
            lag_seconds: Some(lag_seconds),
            lag_events: Some(lag_events),
            entry: Some(1),
            segments: 1,
            bytes: 1,
            ..Self::unreachable()
        }
    }
}
