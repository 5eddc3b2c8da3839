//! Leaves out of an entry what does not follow; all else goes into it: one stream's trouble is that stream's
//! alone.

use std::collections::BTreeMap;

use cim_core::archive::journal::{JournalError, JournalState};
use cim_core::names::StreamName;

use super::object::Commit;

/// A stream's share of an entry that contradicts what the journal holds of it. It was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal refused the new messages of the stream, which is opened again: {0}")]
pub struct Refused(JournalError);

/// Takes out of `commits` what does not follow from `state`.
pub(super) fn reject_invalid(
    state: &JournalState,
    commits: &mut BTreeMap<StreamName, Commit>,
) -> BTreeMap<StreamName, Refused> {
    let mut refused = BTreeMap::new();
    commits.retain(|stream, commit| {
        commit.change.add = commit.outline();
        let checked = state.check_change(stream, &commit.change);
        commit.change.add.clear();
        checked.map_err(|error| refused.insert(stream.clone(), Refused(error))).is_ok()
    });
    refused
}

#[cfg(test)]
mod tests {
    use cim_core::archive::Watermark;
    use cim_core::archive::journal::Change;
    use cim_core::archive::key::JournalOf;
    use proptest::prelude::*;

    use super::*;
    use crate::journal::object::{Item, Place, make};
    use crate::journal::testing::{apply, begin, empty, stream};
    use crate::segment::{Columns, Message};

    /// A stream's share.
    #[derive(Debug, Clone)]
    enum Said {
        /// Messages between two sequences.
        Rows(u64, u64),
        Watermark(u64),
        Begin,
    }

    fn commit(said: &Said) -> Commit {
        let mut commit = Commit { timeline: 1, ..Commit::default() };
        match said {
            Said::Rows(first, last) => {
                let mut columns = Columns::default();
                for seq in *first..=*last {
                    columns.push(Message {
                        seq,
                        time: 1,
                        subject: b"s",
                        headers: b"",
                        payload: b"p",
                    });
                }
                commit.items.push(Item::Rows(columns));
            }
            Said::Watermark(seq) => {
                commit.change.watermark = Some(Watermark { seq: *seq, last: None });
            }
            Said::Begin => commit.change.begin = Some(begin()),
        }
        commit
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            (1u64..30, 0u64..5).prop_map(|(first, more)| Said::Rows(first, first + more)),
            (0u64..30).prop_map(Said::Watermark),
            Just(Said::Begin),
        ]
    }

    /// Returns true for a share that follows: streams 0 to 2 are there up to sequence 10, and 3 to 5 are not.
    fn follows(index: usize, said: &Said) -> bool {
        match said {
            Said::Rows(first, _) => index < 3 && *first > 10,
            Said::Watermark(seq) => index < 3 && *seq >= 10,
            Said::Begin => index >= 3,
        }
    }

    fn there() -> JournalState {
        let mut state = empty(JournalOf::Secondary);
        let change = Change { begin: Some(begin()), ..Change::default() };
        apply(&mut state, (0..3).map(|index| (stream(index), change.clone())).collect());
        let watermark = Some(Watermark { seq: 10, last: None });
        let change = Change { watermark, ..Change::default() };
        apply(&mut state, (0..3).map(|index| (stream(index), change.clone())).collect());
        state
    }

    proptest! {
        #[test]
        fn what_follows_goes_through_and_the_rest_is_named(all in prop::collection::btree_map(0usize..6, said(), 0..6)) {
            let mut state = there();
            let mut commits = all.iter().map(|(index, said)| (stream(*index), commit(said))).collect();
            let refused = reject_invalid(&state, &mut commits);
            for (index, said) in &all {
                let name = stream(*index);
                prop_assert_eq!(commits.contains_key(&name), follows(*index, said), "{}: {:?}", index, said);
                let named = refused.get(&name).map(ToString::to_string);
                prop_assert_eq!(named.is_none(), follows(*index, said));
                let its = format!("stream `{name}`");
                prop_assert!(named.is_none_or(|said| said.contains(&its)));
            }
            // What is left makes an entry that follows, whatever was beside it.
            let made = make(Place::after(&state), commits, Vec::new(), "t").unwrap();
            prop_assert_eq!(state.apply(&made.entry, made.hash), Ok(()));
        }
    }
}
