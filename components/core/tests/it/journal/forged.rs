//! Forged entries: a forger can forge the hash as well. A state still answers after it accepted one, and
//! a refused one has changed nothing.

use cim_core::archive::Sha256;
use cim_core::archive::journal::{JournalCheckpoint, JournalEntry, JournalState};
use cim_testing::cases;
use proptest::prelude::*;
use proptest::sample::Index;

use super::draw::history;
use super::{entries, fold};
use crate::tampered::{ask, changed, changes};

/// Asks a state every question that readers ask.
fn ask_all(state: &JournalState) {
    state.streams.values().for_each(ask);
    let objects = state.streams.values().flat_map(|stream| stream.segments.values());
    for segment in objects {
        assert!(segment.messages > 0);
        if let Some(part) = &segment.part {
            assert!(state.shares(&segment.key));
            assert!(part.group.checked_add(part.groups).is_some() && part.groups > 0);
        }
        assert!(state.superseded.iter().all(|s| s.key != segment.key), "{} is in use", segment.key);
    }
    let checkpoint = state.checkpoint().unwrap();
    assert_eq!(&JournalState::open(state.of, &checkpoint).unwrap(), state);
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_forged_entry_is_refused_or_makes_a_state_that_answers(
        history in history(), at in any::<Index>(), changes in changes(),
    ) {
        let entries = entries(&history);
        let at = at.index(entries.len());
        let mut state = fold(&entries[..at]);
        let before = state.clone();
        let value = changed(&serde_json::to_value(&entries[at].0).unwrap(), &changes).to_string();
        let hash = Sha256::of(value.as_bytes());
        let Ok((entry, hash)) =
            JournalEntry::from_text(&format!("{{\"sha256\":\"{hash}\",\"entry\":{value}}}"))
        else {
            return Ok(());
        };
        if state.apply(&entry, hash).is_err() {
            prop_assert_eq!(&state, &before);
        } else {
            ask_all(&state);
            // Later entries still find what they name, or are refused.
            for (entry, hash) in &entries[at + 1..] {
                let mut entry = entry.clone();
                entry.previous = state.hash();
                let before = state.clone();
                if state.apply(&entry, *hash).is_err() {
                    prop_assert_eq!(&state, &before);
                    break;
                }
                ask_all(&state);
            }
        }
    }

    #[test]
    fn a_forged_checkpoint_is_refused_or_makes_a_state_that_answers(
        history in history(), changes in changes(),
    ) {
        let state = fold(&entries(&history));
        let checkpoint = serde_json::to_value(state.checkpoint().unwrap()).unwrap();
        let Ok(forged) = serde_json::from_value::<JournalCheckpoint>(changed(&checkpoint, &changes))
        else {
            return Ok(());
        };
        if let Ok(opened) = JournalState::open(state.of, &forged) {
            ask_all(&opened);
        }
    }

    /// Checks entries that were swapped, left out or repeated.
    #[test]
    fn a_changed_journal_is_refused_or_cut_at_its_end(
        history in history(), at in any::<Index>(), to in any::<Index>(), how in 0..4,
    ) {
        let whole = entries(&history);
        let mut entries = whole.clone();
        let (at, to) = (at.index(entries.len()), to.index(entries.len()));
        match how {
            0 => drop(entries.remove(at)),
            1 => entries.insert(to, whole[at].clone()),
            2 => entries.swap(at, to),
            _ => entries.truncate(at),
        }
        let mut state = super::empty();
        if entries.iter().all(|(entry, hash)| state.apply(entry, *hash).is_ok()) {
            prop_assert_eq!(state, fold(&whole[..entries.len()]));
        }
    }
}
