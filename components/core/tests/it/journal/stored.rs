//! Entries and checkpoints as they are stored.

use cim_core::archive::journal::{JOURNAL_FORMAT, JournalCheckpoint, JournalEntry};
use cim_core::archive::{EntryError, Sha256};
use cim_testing::{cases, corrupted, corruptions};
use proptest::prelude::*;
use proptest::sample::Index;

use super::draw::history;
use super::{entries, fold};

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn an_entry_is_read_as_it_was_written(history in history()) {
        for (entry, hash) in entries(&history) {
            let (text, its_hash) = entry.to_text();
            prop_assert_eq!(its_hash, hash);
            prop_assert_eq!(JournalEntry::from_text(&text).unwrap(), (entry, hash));
        }
    }

    #[test]
    fn a_changed_entry_is_refused_or_the_same(
        history in history(), at in any::<Index>(), corruptions in corruptions(),
    ) {
        let entries = entries(&history);
        let (entry, hash) = at.get(&entries);
        let corrupted = corrupted(entry.to_text().0.as_bytes(), &corruptions);
        let Ok(text) = String::from_utf8(corrupted) else { return Ok(()) };
        if let Ok(read) = JournalEntry::from_text(&text) {
            prop_assert_eq!(read, (entry.clone(), *hash));
        }
    }

    #[test]
    fn a_changed_checkpoint_is_refused_or_the_same(history in history(), corruptions in corruptions()) {
        let checkpoint = fold(&entries(&history)).checkpoint().unwrap();
        if let Ok(read) = JournalCheckpoint::from_bytes(&corrupted(&checkpoint.to_bytes(), &corruptions)) {
            prop_assert_eq!(read, checkpoint);
        }
    }
}

/// Checks the refusal: a newer version may write fields that this one does not know.
#[test]
fn a_newer_format_is_refused_with_its_number() {
    let value = format!("{{\"format\":{},\"more\":true}}", JOURNAL_FORMAT + 1);
    let hash = Sha256::of(value.as_bytes());
    let text = |name: &str| format!("{{\"sha256\":\"{hash}\",\"{name}\":{value}}}");
    let refusals = [
        JournalEntry::from_text(&text("entry")).map(drop),
        JournalCheckpoint::from_bytes(text("checkpoint").as_bytes()).map(drop),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(matches!(error, EntryError::TooNewJournal(9)), "{error}");
        assert_eq!(
            error.to_string(),
            "it has format 9, this version reads up to 8: use a newer one"
        );
    }
}
