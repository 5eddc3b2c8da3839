//! What the live stream looks like: asked every second, for what reading it cannot show (deletes,
//! configuration, consumers, a tail that was deleted).

use cim_core::archive::{ArchiveState, SeqRange, SeqRanges, StreamRecord, StreamState, Watermark};
use cim_core::names::StreamName;

use crate::chain::Draft;
use crate::hooks::sabotage;
use crate::jetstream::{ApiError, Consumers, Damage, JetStream};

/// A look at the live stream.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Creation and configuration.
    pub record: StreamRecord,
    /// Counts.
    pub state: StreamState,
    /// Durable consumers.
    pub consumers: Consumers,
    /// Sequences that are gone, when they were asked for.
    pub deleted: Option<SeqRanges>,
    /// What the server says that it has lost.
    pub damage: Option<Damage>,
    /// The last sequence after which there is nothing, when the archive has all there is.
    pub empty_until: Option<u64>,
}

/// Takes surveys of one stream.
#[derive(Debug)]
pub struct Surveyor {
    jetstream: JetStream,
    stream: StreamName,
    seen_deleted: Option<u64>,
}

impl Surveyor {
    /// Of this stream.
    pub fn new(jetstream: JetStream, stream: StreamName) -> Self {
        Self { jetstream, stream, seen_deleted: None }
    }

    /// Looks. `archived` is how far the archive goes.
    pub async fn survey(&mut self, archived: u64) -> Result<Survey, ApiError> {
        let stream = self.stream.as_str();
        let mut info = self.jetstream.stream_info(stream, false).await?;
        // The list is long where much was deleted, so it is asked for only when its length changed.
        let ask = self.seen_deleted != Some(info.num_deleted) && info.num_deleted > 0;
        if ask {
            info = self.jetstream.stream_info(stream, true).await?;
        }
        self.seen_deleted = Some(info.num_deleted);
        let consumers = self.jetstream.durable_consumers(stream).await?;
        // The counts were taken first: if nothing follows what is archived now, nothing did then.
        let empty_until = if info.state.last_seq > archived
            && self.jetstream.next_message(stream, archived + 1).await?.is_none()
        {
            Some(info.state.last_seq)
        } else {
            None
        };
        Ok(Survey {
            record: info.record,
            state: info.state,
            consumers,
            deleted: ask.then_some(sabotage!(deleted, info.deleted)),
            damage: info.damage,
            empty_until,
        })
    }
}

impl Survey {
    /// Puts what was seen into a draft; deletes are the caller's, who knows what is archived.
    pub fn fill(&self, draft: &mut Draft) {
        draft.stream = self.record.clone();
        draft.consumers = self.consumers.or(&draft.consumers);
        draft.state = self.state.clone();
        if let Some(seq) = self.empty_until.filter(|seq| *seq > draft.watermark.seq) {
            draft.watermark = Watermark { seq, last: draft.watermark.last.clone() };
        }
    }
}

/// What a stream that begins after the watermark had dropped before it could be archived.
pub fn missed(state: &ArchiveState, first_seq: u64) -> Option<SeqRange> {
    let watermark = state.watermark().seq;
    (watermark > 0 && first_seq > watermark + 1).then(|| SeqRange(watermark + 1, first_seq - 1))
}
