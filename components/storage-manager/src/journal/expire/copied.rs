//! How far Wasabi has each stream: what it lacks does not leave the NAS.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;

use super::decide::Copied;

/// The knowledge of it in this process: none, until Wasabi's journal was read.
#[derive(Debug, Default)]
pub struct CopiedTo(Mutex<HashMap<StreamName, (u32, u64)>>);

impl CopiedTo {
    /// Takes note of what Wasabi's journal says.
    pub fn note(&self, wasabi: &JournalState) {
        let streams = wasabi.streams.iter();
        let known = streams.map(|(stream, state)| (stream.clone(), reached(state))).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Forgets it: another bucket may be Wasabi's by now.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns how far Wasabi has a stream.
    pub fn of(&self, stream: &StreamName) -> Copied {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Copied::UpTo(known.get(stream).copied())
    }
}

/// Returns how far a tier has a stream.
pub fn copied_to(state: Option<&ArchiveState>) -> Copied {
    Copied::UpTo(state.map(reached))
}

fn reached(state: &ArchiveState) -> (u32, u64) {
    (state.timeline(), state.watermark().seq)
}
