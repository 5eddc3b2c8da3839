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
    use cim_core::archive::Sha256;
    use proptest::prelude::*;

    use super::*;

    fn last(seq: u64) -> LastMessage {
        LastMessage { seq, time: jiff::Timestamp::UNIX_EPOCH, sha256: Sha256::of(b"") }
    }

    #[test]
    fn a_stream_that_shares_nothing_was_recreated() {
        let recreated = Alignment::Forks { parent: None, last: None, reason: "recreated" };
        assert_eq!(Alignment::of_shared(3, []), recreated);
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
