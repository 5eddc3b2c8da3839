//! What the live stream looks like: asked for when something has changed, for what reading it cannot show
//! (deletes, configuration, consumers, a tail that was deleted).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{
    ArchiveState, ConsumerRecord, DeletesKnown, Deliveries, SeqRange, SeqRanges, StreamRecord,
    StreamState, Watermark,
};
use cim_core::names::{ConsumerName, StreamName};
use tokio::time::Instant;

use super::archived::ArchivedSoFar;
use super::context::Context;
use super::deliveries::Asker;
use super::error::ReaderError;
use super::progress::{Delivered, Progress, Tail};
use super::survey_schedule::Last;
use super::{deletes, positions, replica_check, unsupported_config};
use crate::chain::Draft;
use crate::clock;
use crate::config::Layout;
use crate::hooks::sabotage;
use crate::jetstream::{ApiError, Consumers, Leader, LostStreamData, StreamInfo};

/// The interval at which positions are archived that move all the time.
const POSITIONS: Duration = Duration::from_secs(5);

/// A look at the live stream.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Creation and configuration.
    pub record: StreamRecord,
    /// Counts.
    pub state: StreamState,
    /// Durable consumers.
    pub consumers: Consumers,
    /// Their knowledge of single messages, where that is archived.
    pub deliveries: Option<BTreeMap<ConsumerName, Deliveries>>,
    /// Sequences that are gone, when they were asked for.
    pub deleted: Option<SeqRanges>,
    /// The age of the known deletes, unless it was time to ask for them and they were not.
    pub deletes_known: Option<DeletesKnown>,
    /// The loss that the server reports.
    pub damage: Option<LostStreamData>,
    /// True if other servers have the stream and are asked what its leader has lost.
    pub replicated: bool,
    /// True if another server leads the stream than at the survey before, or it is the first survey.
    pub led_anew: bool,
    /// Then, what of it another server has and its leader has not.
    pub elsewhere: SeqRanges,
    /// The end of the stream that has no messages, where nothing of it can still come.
    pub tail: Option<Tail>,
}

/// The beginning of a stream, and the number of sequences that are gone behind it. While both stay as they are, nothing was deleted;
/// the number alone may stay when the stream's beginning has passed one that was gone, and another one is gone.
type Deleted = (u64, u64);

fn deleted(info: &StreamInfo) -> Deleted {
    (info.state.first_seq, info.num_deleted)
}

/// Takes surveys of one stream.
pub struct Surveyor {
    context: Arc<Context>,
    stream: StreamName,
    progress: Arc<Progress>,
    seen_deleted: Option<Deleted>,
    /// Until then what is gone is not looked for.
    look_again: Instant,
    /// The leader of the stream when its gone sequences were looked for elsewhere.
    led_by: Option<Leader>,
    last: Option<Last>,
    /// The time at which the last survey began.
    looked: Instant,
    /// The time at which positions went into a survey that the archive did not have.
    positions: Option<Instant>,
    /// It was said that the server does not know all of the stream's configuration.
    said_shorn: bool,
    /// Asks for what consumers know of single messages; chains have no place for it.
    asker: Option<Asker>,
}

impl Surveyor {
    /// Creates the surveyor of a stream, which is read as `progress` says.
    pub fn new(context: Arc<Context>, stream: StreamName, progress: Arc<Progress>) -> Self {
        let asker = context.config.archive.layout == Layout::Journal;
        Self {
            asker: asker.then(Asker::default),
            context,
            stream,
            progress,
            seen_deleted: None,
            look_again: Instant::now(),
            led_by: None,
            last: None,
            looked: Instant::now(),
            positions: None,
            said_shorn: false,
        }
    }

    /// Returns true if the stream has to be looked at: it is not what the archive says, or may not be.
    pub fn due(&self, state: &ArchiveState) -> bool {
        let Some(last) = &self.last else { return true };
        let Some((look, streams)) = self.context.overview.latest(self.stream.as_str()) else {
            return true;
        };
        let consumers = last.consumers_after(streams);
        if consumers.is_some_and(|after| self.looked.elapsed() >= after) {
            return true;
        }
        let info = &look.info;
        look.at > self.looked
            && (last.differs(info)
                || self.seen_deleted != Some(deleted(info))
                || info.state.last_seq > state.watermark().seq
                || info.state != state.current().state)
    }

    /// Returns true if the next survey depends on the sequences that are known to be away.
    pub fn wants_away(&self) -> bool {
        self.last.as_ref().is_none_or(|last| last.doubtful)
    }

    /// Surveys the stream. Returns `None` while no server can be asked whether a new leader has what it should have.
    pub async fn survey(&mut self, known: &ArchivedSoFar) -> Result<Option<Survey>, ReaderError> {
        let (jetstream, stream) = (self.context.jetstream.clone(), self.stream.as_str());
        let (looked, at) = (Instant::now(), clock::now());
        let listed = self.context.overview.latest(stream).map(|(look, _)| look.info);
        let mut info = jetstream.stream_info(stream, false).await?;
        let mut led_anew = doubtful(&info) && self.led_by != info.cluster.leader;
        // It takes long where much was deleted, so it is looked for only when that is more than before.
        let more = self.seen_deleted != Some(deleted(&info)) && self.may_look(&info);
        let ask = (led_anew || more) && info.num_deleted > 0;
        if ask {
            let clustered = doubtful(&info);
            let began = Instant::now();
            match deletes::find(&self.context, &self.stream, info, clustered).await? {
                Some(looked) => info = looked,
                None => return Ok(None),
            }
            self.look_again = Instant::now() + deletes::pause(began.elapsed());
            led_anew = doubtful(&info) && self.led_by != info.cluster.leader;
        }
        if ask || info.num_deleted == 0 {
            self.seen_deleted = Some(deleted(&info));
        }
        // A server may show a message before it has taken away what goes with it, but not until that is archived.
        let deletes_known = (self.seen_deleted == Some(deleted(&info)))
            .then_some(DeletesKnown { seq: known.watermark, at });
        let mut elsewhere = SeqRanges::default();
        let replicated = doubtful(&info);
        if led_anew {
            let mut gone = info.deleted.clone();
            gone.insert(SeqRange {
                first: known.first_seq.max(1),
                last: info.state.first_seq.saturating_sub(1),
            });
            let gone = gone.difference(&known.away);
            let servers = &info.cluster.current;
            match replica_check::held_by_replicas(&self.context, &self.stream, servers, &gone)
                .await?
            {
                Some(found) => elsewhere = found,
                None => return Ok(None),
            }
            self.led_by.clone_from(&info.cluster.leader);
        }
        let found = match info.consumers {
            0 => Consumers::default(),
            _ => jetstream.lasting_consumers(stream).await?,
        };
        let found = unsupported_config::consumers(&jetstream, &known.consumers, found);
        let tail = self.tail(info.state.last_seq, known.watermark).await?;
        let quiet = found.merged_with_previous(&known.consumers) == known.consumers;
        let mut quiet = if quiet { self.last.as_ref().map_or(1, |last| last.quiet + 1) } else { 0 };
        let (mut deliveries, mut news) = (None, false);
        if let Some(asker) = &mut self.asker {
            let told = asker.ask(&self.context, &self.stream, &info, &found, known).await;
            news = told.deliveries != known.deliveries;
            if told.owing || news {
                quiet = 0;
            }
            deliveries = Some(told.deliveries);
        }
        let said = &mut self.said_shorn;
        let record =
            unsupported_config::stream(&jetstream, &self.stream, &known.record, info.record, said);
        let durable = !found.reported.is_empty() || !found.unavailable.is_empty();
        let (doubtful, consumers) = (replicated, info.consumers);
        self.last = Some(Last { listed, doubtful, consumers, durable, quiet });
        self.looked = looked;
        Ok(Some(Survey {
            record,
            state: info.state,
            consumers: self.settled(found, &known.consumers, news),
            deliveries,
            deleted: ask.then_some(sabotage!(deleted, info.deleted)),
            deletes_known,
            damage: info.lost,
            replicated,
            led_anew,
            elsewhere,
            tail,
        }))
    }

    /// Returns the consumers as they are to be archived: as they were, while only positions move, and not for long;
    /// with other `news` of them as they are.
    fn settled(&mut self, found: Consumers, known: &[ConsumerRecord], news: bool) -> Consumers {
        let now = found.merged_with_previous(known);
        if now == known {
            return found;
        }
        let soon = self.positions.is_some_and(|at| at.elapsed() < POSITIONS);
        if soon && !news && !positions::differ(known, &now) && !self.context.stop.is_cancelled() {
            return Consumers { reported: known.to_vec(), ..Consumers::default() };
        }
        self.positions = Some(Instant::now());
        found
    }

    /// Returns true if it is time to look for deleted sequences; when the process ends, only if that is short.
    fn may_look(&self, info: &StreamInfo) -> bool {
        let ending = self.context.stop.is_cancelled() && deletes::is_short(info);
        ending || Instant::now() >= self.look_again
    }

    /// Returns the end of a stream whose last sequence was `last_seq` a moment ago, where nothing of it can come.
    async fn tail(&self, last_seq: u64, watermark: u64) -> Result<Option<Tail>, ApiError> {
        let (jetstream, stream) = (&self.context.jetstream, self.stream.as_str());
        let read = self.progress.get();
        if last_seq <= watermark || read.seq > watermark {
            // There is none, or what was read moves the watermark in a moment.
            return Ok(None);
        }
        let Some((consumer, _)) = &read.consumer else {
            return Ok(Tail::seen(last_seq, None, &read));
        };
        let next = jetstream.next_message(stream, read.seq + 1).await?;
        if next.is_some_and(|message| message.seq <= last_seq) {
            return Ok(None);
        }
        match jetstream.delivered(stream, consumer).await? {
            Some((count, pending)) => {
                let delivered = Delivered { count, pending };
                Ok(Tail::seen(last_seq, Some(delivered), &self.progress.get()))
            }
            None => Ok(None),
        }
    }
}

/// Returns true if other servers have the stream, which can be asked what its leader may have lost. A work queue's
/// messages only the leader tells.
fn doubtful(info: &StreamInfo) -> bool {
    let config = info.record.config.value();
    config["num_replicas"].as_u64() > Some(1) && config["retention"] != "workqueue"
}

impl Survey {
    /// Puts what was seen into a draft; deletes are the caller's, who knows what is archived.
    pub fn apply_to(&self, draft: &mut Draft) {
        draft.stream = self.record.clone();
        draft.consumers = self.consumers.merged_with_previous(&draft.consumers);
        draft.state = self.state.clone();
        if let Some(seq) = self.tail.and_then(|tail| tail.passes(draft.watermark.seq)) {
            draft.watermark = Watermark { seq, last: draft.watermark.last.clone() };
        }
    }
}

/// Returns the sequences that a stream dropped before they could be archived: those between the watermark and its
/// beginning. Where no message came after the last one that was archived, they were never given out: a restore has
/// left a fence there.
pub fn missed(state: &ArchiveState, live: &StreamInfo) -> Option<SeqRange> {
    let (watermark, first_seq) = (state.watermark(), live.state.first_seq);
    let fenced = watermark.last.as_ref().is_some_and(|last| live.last_time == Some(last.time));
    let missed = watermark.seq > 0 && first_seq > watermark.seq + 1 && !fenced;
    missed.then(|| SeqRange { first: watermark.seq + 1, last: first_seq - 1 })
}
