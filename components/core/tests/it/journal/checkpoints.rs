//! A checkpoint is as good as the entries before it.

use cim_core::archive::journal::{JournalCheckpoint, JournalState};
use cim_testing::cases;
use proptest::prelude::*;
use proptest::sample::Index;

use super::draw::history;
use super::{entries, fold};

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn going_on_from_a_checkpoint_is_going_on(history in history(), at in any::<Index>()) {
        let entries = entries(&history);
        let (before, behind) = entries.split_at(at.index(entries.len()) + 1);
        let mut state = fold(before);
        let checkpoint = state.checkpoint().unwrap();
        let read = JournalCheckpoint::from_bytes(&checkpoint.to_bytes()).unwrap();
        prop_assert_eq!(&read, &checkpoint);
        let mut opened = JournalState::open(state.of, &read).unwrap();
        prop_assert_eq!(&opened, &state);
        for (entry, hash) in behind {
            state.apply(entry, *hash).unwrap();
            opened.apply(entry, *hash).unwrap();
            prop_assert_eq!(&opened, &state);
            prop_assert_eq!(opened.checkpoint(), state.checkpoint());
        }
    }
}
