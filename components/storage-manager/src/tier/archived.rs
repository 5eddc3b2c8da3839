//! What the archive knows of a stream when a survey begins.

use std::collections::BTreeMap;

use cim_core::archive::{ConsumerRecord, Deliveries, SeqRanges, StreamRecord};
use cim_core::names::ConsumerName;

/// The facts that the archive has when a survey begins.
#[derive(Debug)]
pub struct ArchivedSoFar {
    /// Its watermark.
    pub watermark: u64,
    /// The first sequence that the stream had.
    pub first_seq: u64,
    /// The sequences that are known to be gone or lost, where [`Surveyor::wants_away`].
    pub away: SeqRanges,
    /// The stream.
    pub record: StreamRecord,
    /// The consumers.
    pub consumers: Vec<ConsumerRecord>,
    /// Their knowledge of single messages.
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
}
