//! The erasures of a stream's archive, from its state.

use super::erased::{Erasure, ErasureNote};
use crate::archive::{ArchiveState, SeqRanges};

impl ArchiveState {
    /// Returns the notes of what was erased that can be read; a journal has no others.
    pub fn erasures(&self) -> impl Iterator<Item = (&Erasure, ErasureNote)> {
        self.erased.iter().filter_map(|erasure| Some((erasure, erasure.read().ok()?)))
    }

    /// Returns the sequences between two that were erased of a timeline, and of those that it goes on from.
    pub fn erased_between(&self, timeline: u32, first_seq: u64, last_seq: u64) -> SeqRanges {
        let mut found = SeqRanges::default();
        if self.erased.is_empty() {
            return found;
        }
        let notes: Vec<ErasureNote> = self.erasures().map(|(_, note)| note).collect();
        let mut from = first_seq;
        for (number, until) in self.lineage(timeline) {
            let until = until.min(last_seq);
            for note in &notes {
                note.of(number).within(from, until).for_each(|range| found.insert(range));
            }
            from = from.max(until.saturating_add(1));
        }
        found
    }
}
