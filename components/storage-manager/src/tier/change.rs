//! The change that a draft makes to an archive, as a journal takes it.

use cim_core::archive::journal::Change;
use cim_core::archive::{ArchiveState, SeqRange, StreamState, Watermark};
use cim_core::names::StreamName;

use super::gaps::preview;
use super::ready::last_of;
use super::skipped::{Seen, Skipped};
use crate::chain::Draft;
use crate::journal::Item;

/// Returns what a draft's stream had dropped before it was read, and says so.
pub(super) fn missed(
    skipped: &mut Skipped,
    draft: &Draft,
    state: &ArchiveState,
    stream: &StreamName,
) -> Vec<SeqRange> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let mut known = state.removed(state.timeline());
    draft.deleted.iter().copied().chain(draft.lost.iter()).for_each(|range| known.insert(range));
    let (config, first_seq) = (draft.stream.config.value(), draft.state.first_seq);
    let seen = Seen { config: &config, first_seq, watermark: draft.watermark.seq };
    let missed = skipped.missed(seen, &known);
    if !missed.is_empty() {
        tracing::warn!(
            stream = %stream,
            "{} messages were gone before they could be read, {}: limits of the stream or a purge removed them; the archive records them as missed",
            missed.count(),
            preview(&missed)
        );
    }
    missed.iter().collect()
}

/// Returns what a draft says that `state` and the items do not.
pub(super) fn change(draft: Draft, state: &ArchiveState, items: &[Item]) -> Change {
    let current = state.current();
    let last = items.last().map(last_of);
    let watermark = last.map_or_else(
        || current.watermark.clone(),
        |last| Watermark { seq: last.seq, last: Some(last) },
    );
    let differs = |counts: &StreamState| *counts != current.state;
    Change {
        deleted: draft.deleted,
        missed: draft.missed,
        lost: (draft.lost != current.lost).then(|| draft.lost.iter().collect()),
        watermark: Some(draft.watermark).filter(|found| *found != watermark),
        state: Some(draft.state).filter(differs),
        stream: Some(draft.stream).filter(|stream| *stream != state.stream),
        consumers: Some(draft.consumers).filter(|consumers| *consumers != state.consumers),
        ..Change::default()
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Entry, RawJson, SeqRanges, Sha256};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::segment::{Columns, Message};

    /// An archive of sequences 1 to 20, of which some are gone.
    fn archive() -> ArchiveState {
        let time = "2026-01-01T00:00:00Z";
        let counts = json!({ "first_seq": 1, "last_seq": 20, "messages": 20, "bytes": 1 });
        let (fork, watermark) = (json!({ "reason": "created" }), json!({ "seq": 20 }));
        let entry = json!({
            "format": 2, "number": 0, "committed_at": time, "writer": "t", "timeline": 1,
            "fork": fork, "watermark": watermark, "state": counts, "consumers": [],
            "stream": { "created": time, "config": {} },
            "checkpoint": {
                "segments": [],
                "timelines": [{
                    "number": 1, "fork": fork, "watermark": watermark, "state": counts,
                    "deleted": [[2, 3]], "lost": [[5, 6]],
                }],
            },
        });
        let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
        ArchiveState::open(&entry, Sha256::of(b"")).unwrap()
    }

    fn rows(seq: u64) -> Item {
        let mut columns = Columns::default();
        columns.push(Message { seq, time: 1, subject: b"s", headers: b"", payload: b"p" });
        Item::Rows(columns)
    }

    #[test]
    fn a_draft_without_news_is_no_change() {
        let state = archive();
        assert_eq!(change(Draft::from_state(&state), &state, &[]), Change::default());
    }

    #[test]
    fn the_watermark_of_the_messages_is_not_said_twice() {
        let state = archive();
        let (items, mut draft) = ([rows(21)], Draft::from_state(&state));
        let last = last_of(&items[0]);
        draft.watermark = Watermark { seq: 21, last: Some(last.clone()) };
        assert_eq!(change(draft.clone(), &state, &items), Change::default());
        // A deleted end is behind them.
        draft.watermark.seq = 25;
        let said = change(draft, &state, &items);
        assert_eq!(said.watermark, Some(Watermark { seq: 25, last: Some(last) }));
    }

    #[test]
    fn a_new_configuration_is_said_and_nothing_else() {
        let state = archive();
        let mut draft = Draft::from_state(&state);
        draft.stream.config = RawJson::new("{\"max_msgs\":1}".into()).unwrap();
        let stream = Some(draft.stream.clone());
        assert_eq!(change(draft, &state, &[]), Change { stream, ..Change::default() });
    }

    proptest! {
        /// Of the sequences that the reader skipped those are missed that the archive does not know to be gone.
        #[test]
        fn a_sequence_that_is_known_to_be_gone_is_not_missed(
            from in 1u64..20, more in 0u64..10, deleted in prop::option::of((1u64..25, 0u64..5)),
        ) {
            let state = archive();
            let mut skipped = Skipped::default();
            skipped.add(&SeqRanges::from_iter([SeqRange { first: from, last: from + more }]));
            let mut draft = Draft::from_state(&state);
            draft.watermark.seq = 40;
            // The stream begins behind what was dropped.
            draft.state.first_seq = 31;
            draft.deleted.extend(deleted.map(|(first, more)| SeqRange { first, last: first + more }));
            let stream = "S".parse().unwrap();
            let missed: SeqRanges = missed(&mut skipped, &draft, &state, &stream).into_iter().collect();
            let mut known = state.removed(1);
            draft.deleted.iter().copied().chain(draft.lost.iter()).for_each(|range| known.insert(range));
            for seq in 1..=40 {
                let is_skipped = (from..=from + more).contains(&seq);
                prop_assert_eq!(missed.contains(seq), is_skipped && !known.contains(seq), "{}", seq);
            }
        }
    }
}
