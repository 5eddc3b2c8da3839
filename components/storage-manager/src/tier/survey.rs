//! What the live stream looks like: asked every second, for what reading it cannot show (deletes,
//! configuration, consumers, a tail that was deleted).

use std::sync::Arc;

use cim_core::archive::{ArchiveState, SeqRange, SeqRanges, StreamRecord, StreamState, Watermark};
use cim_core::names::StreamName;

use super::context::Context;
use super::reader::ReaderError;
use super::witness;
use crate::chain::Draft;
use crate::hooks::sabotage;
use crate::jetstream::{Consumers, Damage, Leader, StreamInfo};

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
    /// Whether other servers have the stream and are asked what its leader has lost.
    pub witnessed: bool,
    /// Whether another server leads the stream than at the survey before, or it is the first survey.
    pub led_anew: bool,
    /// Then, what of it another server has and its leader has not.
    pub elsewhere: SeqRanges,
    /// The last sequence after which there is nothing, when the archive has all there is.
    pub empty_until: Option<u64>,
}

/// Takes surveys of one stream.
pub struct Surveyor {
    context: Arc<Context>,
    stream: StreamName,
    seen_deleted: Option<u64>,
    /// Who led the stream when what it shows as gone was looked for elsewhere.
    led_by: Option<Leader>,
}

/// What the archive knows when a survey begins.
#[derive(Debug)]
pub struct Known {
    /// How far it goes.
    pub watermark: u64,
    /// The first sequence that the stream had.
    pub first_seq: u64,
    /// What is known to be gone or lost.
    pub away: SeqRanges,
}

impl Surveyor {
    /// Of this stream.
    pub fn new(context: Arc<Context>, stream: StreamName) -> Self {
        Self { context, stream, seen_deleted: None, led_by: None }
    }

    /// Looks. `None` while nobody can be asked whether a new leader has what it should have.
    pub async fn survey(&mut self, known: &Known) -> Result<Option<Survey>, ReaderError> {
        let (jetstream, stream) = (self.context.jetstream.clone(), self.stream.as_str());
        let mut info = jetstream.stream_info(stream, false).await?;
        let mut led_anew = doubtful(&info) && self.led_by != info.servers.leader;
        // The list is long where much was deleted, so it is asked for only when its length changed.
        let ask = (led_anew || self.seen_deleted != Some(info.num_deleted)) && info.num_deleted > 0;
        if ask {
            info = jetstream.stream_info(stream, true).await?;
            led_anew = doubtful(&info) && self.led_by != info.servers.leader;
        }
        let mut elsewhere = SeqRanges::default();
        let witnessed = doubtful(&info);
        if led_anew {
            let mut gone = info.deleted.clone();
            gone.insert(SeqRange(known.first_seq.max(1), info.state.first_seq.saturating_sub(1)));
            let gone = gone.difference(&known.away);
            let servers = &info.servers.current;
            match witness::elsewhere(&self.context, &self.stream, servers, &gone).await? {
                Some(found) => elsewhere = found,
                None => return Ok(None),
            }
            self.led_by.clone_from(&info.servers.leader);
        }
        self.seen_deleted = Some(info.num_deleted);
        let consumers = jetstream.durable_consumers(stream).await?;
        // The counts were taken first: if nothing follows what is archived now, nothing did then.
        let empty_until = if info.state.last_seq > known.watermark
            && jetstream.next_message(stream, known.watermark + 1).await?.is_none()
        {
            Some(info.state.last_seq)
        } else {
            None
        };
        Ok(Some(Survey {
            record: info.record,
            state: info.state,
            consumers,
            deleted: ask.then_some(sabotage!(deleted, info.deleted)),
            damage: info.damage,
            witnessed,
            led_anew,
            elsewhere,
            empty_until,
        }))
    }
}

/// Whether others have the stream, who can be asked what its leader may have lost. A work queue's
/// messages nobody but the leader tells.
fn doubtful(info: &StreamInfo) -> bool {
    let config = info.record.config.value();
    config["num_replicas"].as_u64() > Some(1) && config["retention"] != "workqueue"
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
