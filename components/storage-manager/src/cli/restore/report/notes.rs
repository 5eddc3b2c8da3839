//! What is other than in the archive though a stream was restored, or can be, in words.

use std::time::Duration;

use cim_core::names::StreamName;

use super::Restored;
use super::figures::{ErasedHere, LeftOutBatch, Numbers};
use crate::clock;
use crate::journal::expire::in_words;

/// The age that an archive's view of deletes may have: they are looked for once a second, of each of hundreds of streams in
/// turn.
const VIEW: Duration = Duration::from_secs(5);

impl Restored {
    /// Returns what is other than in the archive though it was restored, or can be.
    pub(super) fn notes(&self) -> Vec<String> {
        let (Some(numbers), stream) = (&self.numbers, &self.stream) else { return Vec::new() };
        let mut notes: Vec<String> = in_words(&numbers.expired)
            .into_iter()
            .map(|line| format!("{stream}: {line}"))
            .collect();
        if let Some(LeftOutBatch { id, first_seq, last_seq }) = &numbers.partial_batch {
            notes.push(format!(
                "{stream}: sequences {first_seq} to {last_seq} are left out: they are half of batch `{id}`, and the rest of it is not there"
            ));
        }
        for ErasedHere { messages, reason } in &numbers.erased {
            notes.push(format!(
                "{stream}: {messages} messages were erased from the archive for good, and their sequences stay empty: {reason}"
            ));
        }
        if numbers.fence > 0 {
            notes.push(numbers.fence_in_words(stream));
        }
        if numbers.added > 0 {
            notes.push(format!(
                "{stream}: goes on to sequence {} since (a schedule that was due, a delete marker, a source or a mirror that goes on, a client)",
                numbers.last_seq + numbers.fence + numbers.added
            ));
        }
        if numbers.dropped > 0 {
            notes.push(format!(
                "{stream}: has let go of {} messages since (its own limits, times to live, retention or roll-ups)",
                numbers.dropped
            ));
        }
        if let Some(known) = &numbers.deletes_known
            && clock::is_old(numbers.archived_at, known.at, VIEW)
        {
            notes.push(format!(
                "{stream}: deletes are known up to {}, its messages up to {}: what was deleted or purged in between may be back",
                known.at.strftime("%F %T UTC"),
                numbers.archived_at.strftime("%F %T UTC")
            ));
        }
        if !numbers.unsupported_in_memory.is_empty() {
            notes.push(format!("{stream}: it is kept in memory, and comes back without"));
            notes.extend(numbers.unsupported_in_memory.iter().map(|what| format!("    {what}")));
        }
        if !numbers.left_out.is_empty() {
            let why = if self.stream == self.target {
                "with what was dropped it would act on the live system"
            } else {
                "in a copy it would reach the live system, `--keep-links` brings it back too"
            };
            notes.push(format!("{stream}: left out of `{}` ({why}):", self.target));
            notes.extend(numbers.left_out.iter().map(|what| format!("    {what}")));
        }
        notes
    }
}

impl Numbers {
    /// Says which sequences are not given out, and why.
    fn fence_in_words(&self, stream: &StreamName) -> String {
        let (first, last) = (self.last_seq + 1, self.last_seq + self.fence);
        let unused = format!(
            "{stream}: sequences {first} to {last} stay unused, and the next message gets {}",
            last + 1
        );
        match self.fence_for.as_slice() {
            [] => unused,
            followers => format!(
                "{unused}: of what was lost behind {} some may have reached {} (`--fence 0` leaves none unused)",
                self.last_seq,
                followers.join(", ")
            ),
        }
    }
}
