//! What is known of a NAS that was there before this one, for a true word about what is missing: what JetStream
//! has dropped and this NAS does not have may be on the other one, and need not have come too late for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cim_core::archive::journal::JournalState;
use cim_core::archive::{ArchiveState, SeqRange};
use cim_core::names::StreamName;

/// The knowledge of each stream.
#[derive(Debug, Default)]
pub struct PreviousNas(Mutex<BTreeMap<StreamName, Known>>);

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The timeline and sequence up to which a journal that was closed had been confirmed.
    confirmed: Option<(u32, u64)>,
    /// The timeline and sequence up to which the archive was taken over from Wasabi.
    adopted: Option<(u32, u64)>,
}

impl PreviousNas {
    /// Takes note of how far a journal went that was closed.
    pub fn confirmed(&self, journal: &JournalState) {
        let mut known = self.lock();
        for (stream, state) in &journal.streams {
            let confirmed = Some((state.timeline(), state.watermark().seq));
            let stream = known.entry(stream.clone()).or_default();
            stream.confirmed = stream.confirmed.max(confirmed);
        }
    }

    /// Takes note that a stream's archive was taken over from Wasabi.
    pub fn bootstrapped(&self, stream: &StreamName, state: &ArchiveState) {
        let adopted = Some((state.timeline(), state.watermark().seq));
        self.lock().entry(stream.clone()).or_default().adopted = adopted;
    }

    /// Says what became of sequences of a stream that JetStream does not have any more and the archive ends before.
    pub fn missed(&self, stream: &StreamName, state: &ArchiveState, range: SeqRange) -> Missed {
        let known = self.lock().get(stream).copied().unwrap_or_default();
        let confirmed = known
            .confirmed
            .filter(|(timeline, seq)| *timeline == state.timeline() && *seq >= range.first);
        Missed {
            range,
            archived: state.watermark().seq,
            confirmed: confirmed.map(|(_, seq)| seq.min(range.last)),
            // What came since this NAS has itself.
            adopted: known.adopted == Some((state.timeline(), state.watermark().seq)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sequences that are in neither JetStream nor the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    range: SeqRange,
    /// The end of the archive.
    archived: u64,
    /// Up to where the NAS had confirmed them.
    confirmed: Option<u64>,
    /// The archive is what Wasabi had.
    adopted: bool,
}

impl Missed {
    /// Logs it, as an error where it was archived once.
    pub fn say(self, stream: &StreamName) {
        if self.confirmed.is_some() {
            tracing::error!(stream = %stream, "{self}");
        } else {
            tracing::warn!(stream = %stream, "{self}");
        }
    }
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { range: SeqRange { first, last }, archived, confirmed, adopted } = *self;
        write!(
            f,
            "sequences {first} to {last} are not in JetStream any more, and the archive on the NAS ends at {archived}: they count as missed"
        )?;
        if adopted {
            write!(
                f,
                "; this NAS took the place of another one and has what Wasabi had, up to sequence {archived}"
            )?;
        }
        match (confirmed, adopted) {
            (Some(confirmed), true) => write!(
                f,
                "; that one had confirmed them up to sequence {confirmed}: keep it, they are there alone"
            ),
            (Some(confirmed), false) => write!(
                f,
                "; the NAS had confirmed them up to sequence {confirmed} and has lost them, or was replaced: keep what is left of it"
            ),
            (None, true) => {
                f.write_str("; that one may have them: keep it, they would be there alone")
            }
            (None, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(confirmed: Option<u64>, adopted: bool) -> String {
        Missed { range: SeqRange { first: 41, last: 90 }, archived: 40, confirmed, adopted }
            .to_string()
    }

    #[test]
    fn nothing_is_said_that_is_not_known() {
        let plain = "sequences 41 to 90 are not in JetStream any more, and the archive on the NAS ends at 40: they count as missed";
        assert_eq!(said(None, false), plain);
        assert!(said(None, true).contains("what Wasabi had, up to sequence 40; that one may have"));
        assert!(said(Some(70), true).contains("that one had confirmed them up to sequence 70"));
        assert!(said(Some(70), false).contains("the NAS had confirmed them up to sequence 70 and"));
        assert!(!said(Some(70), false).contains("wasabi"));
    }
}
