//! Messages erased for good on request: no object holds them any more, and a signed note records it.
//!
//! The note holds nothing of the erased messages, nor the subject filter of the request, which may be a name.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::{RawJson, SeqRange, SeqRanges, Sha256};
use crate::names::{JournalName, StreamName};

/// A signed note of what was erased. Since format 8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// An [`ErasureNote`], byte for byte as it was signed.
    pub note: RawJson,
    /// The public nkey of the signer.
    pub key: String,
    /// The Ed25519 signature of the bytes of `note`, in Base64.
    pub signature: String,
}

/// The content of a note: the erased messages, the time and the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasureNote {
    /// The same in the notes of all tiers that one run has written.
    pub id: String,
    /// The stream.
    pub stream: StreamName,
    /// The journal in which it was first said.
    pub journal: JournalName,
    /// `nas` or `wasabi`: the tier whose objects are meant.
    pub tier: String,
    /// The time of the erasure, by the eraser's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// Node and process that did it, for people.
    pub by: String,
    /// The reason, in the requester's words.
    pub reason: String,
    /// The number of erased messages.
    pub messages: u64,
    /// Their sequences, by timeline.
    pub timelines: Vec<ErasedIn>,
    /// The segments that held them, and others with them.
    pub segments: Vec<ErasedFrom>,
}

/// Sequences that were erased of a timeline: each of them had a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasedIn {
    /// The timeline that had archived them.
    pub timeline: u32,
    /// The sequences, ascending.
    pub sequences: Vec<SeqRange>,
}

/// A removed segment, as the archive had recorded it: a copy elsewhere can be identified by this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErasedFrom {
    /// The key of the object that it lay in.
    pub key: String,
    /// The hash that the archive had of it: of its file, or of its messages' hashes.
    pub sha256: Sha256,
}

impl Erasure {
    /// Reads the note.
    ///
    /// # Errors
    /// This version cannot read it.
    pub fn read(&self) -> Result<ErasureNote, serde_json::Error> {
        serde_json::from_str(self.note.get())
    }
}

impl ErasureNote {
    /// Returns the sequences that it names of a timeline.
    pub fn of(&self, timeline: u32) -> SeqRanges {
        let of_it = self.timelines.iter().filter(|erased| erased.timeline == timeline);
        of_it.flat_map(|erased| erased.sequences.iter().copied()).collect()
    }
}

/// Reads the notes of an entry about a stream.
pub(super) fn notes(erased: &[Erasure], stream: &StreamName) -> Result<Vec<ErasureNote>, String> {
    let read = |erasure: &Erasure| {
        let note =
            erasure.read().map_err(|error| format!("its note of an erasure is none: {error}"))?;
        if note.stream != *stream {
            return Err(format!("its note of an erasure is of stream `{}`", note.stream));
        }
        Ok(note)
    };
    erased.iter().map(read).collect()
}
