//! The decision whether a live stream goes on with its archive, from what both share.

use cim_core::archive::{ArchiveState, LastMessage, ParentTimeline, StreamState};

/// The relation of a live stream to its archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alignment {
    /// The archive's current timeline goes on.
    Continues,
    /// The live stream went another way: a new timeline begins.
    Forks {
        /// The history that both share.
        parent: Option<ParentTimeline>,
        /// The last message that both share.
        last: Option<LastMessage>,
        /// In words.
        reason: &'static str,
    },
}

impl Alignment {
    /// Decides from the last shared message of each timeline, the newest timeline first: the stream forks from the one of
    /// which it has most.
    pub(super) fn of_shared(
        current: u32,
        shared: impl IntoIterator<Item = (u32, LastMessage)>,
    ) -> Self {
        let mut longest: Option<(u32, LastMessage)> = None;
        for (timeline, last) in shared {
            if longest.as_ref().is_none_or(|(_, longest)| longest.seq < last.seq) {
                longest = Some((timeline, last));
            }
        }
        let Some((timeline, last)) = longest else {
            return Self::Forks { parent: None, last: None, reason: "recreated" };
        };
        Self::Forks {
            // A deleted tail that both have is beyond the last message that both have.
            parent: Some(ParentTimeline { timeline, last_seq: last.seq }),
            last: Some(last),
            reason: if timeline == current {
                "goes on from an earlier point"
            } else {
                "restored from an earlier timeline"
            },
        }
    }

    /// Returns a new beginning in its place where the live stream has messages that have left the archive by rule, as it
    /// has when it was restored from a tier that keeps more: the archive is never less than the live stream.
    pub(super) fn unless_more_is_live(self, state: &ArchiveState, live: &StreamState) -> Self {
        let kept_from = match &self {
            Self::Continues => state.kept_from(state.timeline()),
            Self::Forks { parent: Some(parent), .. } => {
                state.kept_within(parent.timeline, parent.last_seq)
            }
            Self::Forks { parent: None, .. } => return self,
        };
        if live.messages == 0 || live.first_seq >= kept_from {
            return self;
        }
        Self::Forks { parent: None, last: None, reason: "has what had left the archive by rule" }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use cim_core::archive::Sha256;
    use cim_core::archive::journal::{Change, Expired};
    use cim_core::archive::key::JournalOf;
    use proptest::prelude::*;

    use super::*;
    use crate::journal::testing::{apply, begin, empty, record, stream};

    fn last(seq: u64) -> LastMessage {
        LastMessage { seq, time: jiff::Timestamp::UNIX_EPOCH, sha256: Sha256::of(b"") }
    }

    #[test]
    fn a_stream_that_shares_nothing_was_recreated() {
        let recreated = Alignment::Forks { parent: None, last: None, reason: "recreated" };
        assert_eq!(Alignment::of_shared(3, []), recreated);
    }

    /// The first ten messages left the archive by rule; of the next ten it has all.
    fn let_go() -> ArchiveState {
        let mut journal = empty(JournalOf::Secondary);
        let add = |first| record(None, first, first + 9, 10, 10);
        for change in [
            Change { begin: Some(begin()), ..Change::default() },
            Change { add: vec![add(1), add(11)], ..Change::default() },
        ] {
            apply(&mut journal, BTreeMap::from([(stream(0), change)]));
        }
        let mut state = journal.streams.remove(&stream(0)).unwrap();
        state.segments.remove(&(1, 1));
        state.retention.expired.push(Expired {
            timeline: 1,
            first_seq: 1,
            last_seq: 10,
            messages: 10,
            bytes: 10,
            at: jiff::Timestamp::UNIX_EPOCH,
            rule: "max_age = \"1s\"".into(),
        });
        state
    }

    #[test]
    fn a_live_stream_with_what_had_left_the_archive_begins_anew() {
        let live =
            |first_seq, messages| StreamState { first_seq, messages, ..StreamState::default() };
        let state = let_go();
        let goes_on = |live| Alignment::Continues.unless_more_is_live(&state, &live);
        assert_eq!(goes_on(live(11, 10)), Alignment::Continues);
        assert_eq!(goes_on(live(1, 0)), Alignment::Continues, "an empty one has nothing more");
        for first_seq in [1, 10] {
            let anew = Alignment::Forks {
                parent: None,
                last: None,
                reason: "has what had left the archive by rule",
            };
            assert_eq!(goes_on(live(first_seq, 10)), anew, "from {first_seq} on");
        }
        // A fork behind what left keeps its parent; so does one from nothing.
        let parent = |last_seq| Some(ParentTimeline { timeline: 1, last_seq });
        let fork = |parent| Alignment::Forks { parent, last: None, reason: "restored" };
        assert_eq!(fork(parent(15)).unless_more_is_live(&state, &live(11, 5)), fork(parent(15)));
        assert_ne!(fork(parent(15)).unless_more_is_live(&state, &live(6, 5)), fork(parent(15)));
        assert_eq!(fork(None).unless_more_is_live(&state, &live(1, 5)), fork(None));
    }

    proptest! {
        #[test]
        fn the_timeline_with_most_is_the_parent_and_of_equals_the_newest(
            shared in prop::collection::btree_map(1u32..8, 1u64..20, 1..6), current in 1u32..8,
        ) {
            let newest_first = shared.iter().rev().map(|(timeline, seq)| (*timeline, last(*seq)));
            let Alignment::Forks { parent: Some(parent), last: Some(found), reason } =
                Alignment::of_shared(current, newest_first)
            else {
                return Err(TestCaseError::fail("it shares something"));
            };
            let most = shared.values().copied().max();
            prop_assert_eq!(Some(found.seq), most);
            let newest = shared.iter().rev().find(|(_, seq)| Some(**seq) == most).map(|(timeline, _)| *timeline);
            prop_assert_eq!((Some(parent.timeline), parent.last_seq), (newest, found.seq));
            prop_assert_eq!(reason == "goes on from an earlier point", parent.timeline == current);
        }
    }
}
