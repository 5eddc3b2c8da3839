//! One stream, from reading its chain until something fails or everything ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveState, Fork, Segment, SeqRange, SeqRanges, Watermark};
use cim_core::names::StreamName;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::context::{Context, FetchError};
use super::gaps::Gaps;
use super::history::{Alignment, HistoryError, align};
use super::progress::Progress;
use super::reader::{self, ReaderError};
use super::seal::{self, Ages, SealError, Sealed};
use super::segmenter::{Upload, UploadError, Uploaded};
use super::survey::{Known, Survey, Surveyor, missed};
use super::witness;
use super::{collect, gate, ship};
use crate::chain::{self, CommitError, Committer, Draft, ReadError};
use crate::hooks::fail_point;
use crate::jetstream::{ApiError, StreamInfo};
use crate::s3::S3Error;

/// How often the live stream is surveyed.
const SURVEY: Duration = Duration::from_secs(1);
/// Uploads that may be finished or under way and not committed.
const UPLOADS: usize = 2;

/// How long the NAS may take to say that it has what was committed last.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// Why a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The stream is gone.
    Gone,
    /// It is not the empty one any more that was waited with.
    Replaced,
    /// Everything is to end, and everything is committed.
    Stopped,
}

/// Why a session ended otherwise. The next one begins at the manifest.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum SessionError {
    /// JetStream.
    Api(#[from] ApiError),
    /// The archive could not be read.
    Read(#[from] ReadError),
    /// A commit did not happen.
    Commit(#[from] CommitError),
    /// The histories could not be compared.
    History(#[from] HistoryError),
    /// Reading the stream failed.
    Reader(#[from] ReaderError),
    /// A segment did not get to the NAS.
    Upload(#[from] UploadError),
    /// A segment could not be read.
    Fetch(#[from] FetchError),
    /// S3.
    S3(#[from] S3Error),
    /// The live stream became another one.
    #[error("stream `{0}` was deleted and made again: its archive begins a new timeline")]
    Recreated(StreamName),
}

/// Tiers one stream.
pub async fn run(context: &Arc<Context>, stream: &StreamName) -> Result<End, SessionError> {
    let live = match context.jetstream.stream_info(stream.as_str(), false).await {
        Err(error) if error.not_found() => return Ok(End::Gone),
        other => other?,
    };
    let opening = gate::through(&context.beginning, open_chain(context, stream, &live));
    match opening.await? {
        Some(committer) => Session::start(context, stream, committer, &live).run().await,
        None => wait_for_a_message(context, stream, &live).await,
    }
}

/// Waits for an empty stream to become more than that, or to go.
async fn wait_for_a_message(
    context: &Arc<Context>,
    stream: &StreamName,
    empty: &StreamInfo,
) -> Result<End, SessionError> {
    tracing::warn!(
        stream = %stream,
        "the archive has messages of this stream, the server has a new, empty one: nothing is archived before it has a message. Was the host lost? Then delete it and restore"
    );
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return Ok(End::Stopped),
            () = tokio::time::sleep(SURVEY) => {}
        }
        match context.jetstream.stream_info(stream.as_str(), false).await {
            Err(error) if error.not_found() => return Ok(End::Gone),
            Err(error) => return Err(error.into()),
            Ok(live) if live.record.created != empty.record.created => return Ok(End::Replaced),
            Ok(live) if live.state.last_seq > 0 => return Ok(End::Replaced),
            Ok(_) => {}
        }
    }
}

/// Reads the chain, or begins it; opens a new timeline where the live stream went another way. `None`
/// where an empty stream stands in the place of one that was archived: as often as not that is a host
/// that was lost and not restored yet, and what would be archived of it would hide what is to come back.
async fn open_chain(
    context: &Arc<Context>,
    stream: &StreamName,
    live: &StreamInfo,
) -> Result<Option<Committer>, SessionError> {
    let state = chain::load(&context.nas, Chain::Manifest, stream).await?;
    let known = state.is_some();
    let committer = |state| {
        let (nas, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
        Committer::new(nas, Chain::Manifest, stream.clone(), writer, state)
    };
    let mut committer = committer(state);
    let consumers = context.jetstream.durable_consumers(stream.as_str()).await?;
    if !known {
        // What the one before has on its way to Wasabi is part of what is taken over.
        let alone = context.abort.run_until_cancelled(context.ship_alone(stream)).await;
        if let Some(wasabi) = adoptable(context, stream).await? {
            tracing::warn!(
                stream = %stream,
                "the nas has no archive of this stream, wasabi has: taking it over up to sequence {}",
                wasabi.watermark().seq
            );
            committer.adopt(&wasabi, &context.abort).await?;
            fail_point!(AdoptAfter);
        } else {
            let consumers = consumers.known.clone();
            let draft = Draft::begin(live.record.clone(), live.state.clone(), consumers);
            committer.commit(draft, &context.abort).await?;
        }
        drop(alone);
    }
    let state = committer.state().expect("it was read or begun");
    match align(context, stream, state, live).await? {
        Alignment::Continues => {
            if let Some(range) = missed(state, live.state.first_seq)
                && !has_another(context, stream, live, range).await?
            {
                tracing::warn!(
                    stream = %stream,
                    "sequences {} to {} were gone before they could be archived",
                    range.0, range.1
                );
                let mut draft = Draft::of(state);
                draft.missed = vec![range];
                draft.watermark.seq = range.1;
                committer.commit(draft, &context.abort).await?;
            }
        }
        Alignment::Forks { parent: None, .. } if live.state.last_seq == 0 => return Ok(None),
        Alignment::Forks { parent, last, reason } => {
            tracing::warn!(stream = %stream, "{reason}: opening timeline {}", state.timeline() + 1);
            if let Some(parent) = &parent
                && let Some(left) = state.beyond(parent)
            {
                tracing::error!(
                    stream = %stream,
                    "sequences {} to {} of timeline {} are not in the live stream: where nobody restored it to an earlier point the server has lost them. The archive keeps them: `restore {stream} --timeline {} --as NAME` brings them back",
                    left.0, left.1, parent.timeline, parent.timeline
                );
            }
            let mut draft = Draft::of(state);
            draft.timeline = state.timeline() + 1;
            draft.watermark = Watermark { seq: parent.as_ref().map_or(0, |p| p.last_seq), last };
            draft.lost = draft.lost.clipped(1, draft.watermark.seq);
            draft.fork = Some(Fork { parent, reason: reason.into() });
            draft.consumers = consumers.or(&state.consumers);
            (draft.stream, draft.state) = (live.record.clone(), live.state.clone());
            committer.commit(draft, &context.abort).await?;
        }
    }
    Ok(Some(committer))
}

/// Whether another server has something of what the stream's leader does not have.
async fn has_another(
    context: &Arc<Context>,
    stream: &StreamName,
    live: &StreamInfo,
    range: SeqRange,
) -> Result<bool, SessionError> {
    let gone = SeqRanges::from_iter([range]);
    let found = witness::elsewhere(context, stream, &live.servers.current, &gone).await?;
    Ok(found.is_some_and(|found| !found.is_empty()))
}

/// What Wasabi has of a stream that the NAS knows nothing of.
async fn adoptable(
    context: &Context,
    stream: &StreamName,
) -> Result<Option<ArchiveState>, SessionError> {
    let Some(wasabi) = &context.wasabi else { return Ok(None) };
    // Not to know is not to have nothing: a chain begun over one that Wasabi holds would hide it.
    let what = format!("looking for an archive of stream `{stream}` at wasabi");
    let prefix = Chain::Manifest.prefix(stream);
    let folders = context.insist(&what, || wasabi.list(&prefix, true)).await?;
    if folders.is_empty() {
        return Ok(None);
    }
    Ok(chain::load(wasabi, Chain::Manifest, stream).await?)
}

/// A survey, and by whom.
type Looked = (Surveyor, Result<Option<Survey>, ReaderError>);

struct Session<'a> {
    context: &'a Arc<Context>,
    stream: &'a StreamName,
    committer: Committer,
    /// `None` while it looks.
    surveyor: Option<Surveyor>,
    surveying: Option<JoinHandle<Looked>>,
    survey: Option<Survey>,
    gaps: Gaps,
    /// When the stream was created that this session reads.
    born: Timestamp,
    uploads: mpsc::Receiver<Upload>,
    waiting: VecDeque<Upload>,
    reader: JoinHandle<Result<(), ReaderError>>,
    sealing: Option<JoinHandle<Result<Sealed, SealError>>>,
    collecting: Option<JoinHandle<Result<Vec<String>, S3Error>>>,
    ages: Ages,
    /// How far the NAS has the stream, for its reader.
    watermark: watch::Sender<u64>,
    states: Option<watch::Sender<Arc<ArchiveState>>>,
    shipper: Option<JoinHandle<()>>,
    shipped: Instant,
    committed: Instant,
    stop_reader: CancellationToken,
    _stop_all: DropGuard,
}

impl<'a> Session<'a> {
    fn start(
        context: &'a Arc<Context>,
        stream: &'a StreamName,
        committer: Committer,
        live: &StreamInfo,
    ) -> Self {
        let state = committer.state().expect("the chain was opened");
        let ended = CancellationToken::new();
        let stop_reader = ended.child_token();
        let (sender, uploads) = mpsc::channel(UPLOADS);
        let config = live.record.config.value();
        let progress = Arc::new(Progress::begin(state.watermark().seq));
        let (watermark, committed) = watch::channel(state.watermark().seq);
        let task = reader::Task {
            context: Arc::clone(context),
            stream: stream.clone(),
            timeline: state.timeline(),
            start_seq: state.watermark().seq + 1,
            work_queue: config["retention"] == "workqueue",
            interest: config["retention"] == "interest",
            committed,
            replicated: config["num_replicas"].as_u64() > Some(1),
            progress: Arc::clone(&progress),
            stop: stop_reader.clone(),
        };
        let (mut states, mut shipper) = (None, None);
        if let Some(wasabi) = &context.wasabi {
            let (sender, receiver) = watch::channel(Arc::new(state.clone()));
            let (ctx, wasabi, name) = (Arc::clone(context), Arc::clone(wasabi), stream.clone());
            fill_back(&ctx, &wasabi, stream, state, ended.child_token());
            shipper =
                Some(tokio::spawn(ship::run(ctx, wasabi, name, receiver, context.abort.clone())));
            states = Some(sender);
        }
        Self {
            context,
            stream,
            surveyor: Some(Surveyor::new(Arc::clone(context), stream.clone(), progress)),
            surveying: None,
            survey: None,
            gaps: Gaps::new(stream.clone(), state),
            born: live.record.created,
            uploads,
            waiting: VecDeque::new(),
            reader: tokio::spawn(task.run(sender)),
            sealing: None,
            collecting: None,
            ages: Ages::default(),
            watermark,
            states,
            shipper,
            shipped: Instant::now(),
            committed: Instant::now(),
            stop_reader,
            _stop_all: ended.drop_guard(),
            committer,
        }
    }

    async fn run(mut self) -> Result<End, SessionError> {
        let mut ticks = tokio::time::interval(SURVEY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let outcome = loop {
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => break self.finish().await.map(|()| End::Stopped),
                uploaded = next_upload(&mut self.uploads, &mut self.waiting) => {
                    let committed = match uploaded {
                        Some(upload) => self.append(upload).await,
                        None => match (&mut self.reader).await.expect("reading does not panic") {
                            Ok(()) => continue,
                            Err(error) => Err(error.into()),
                        },
                    };
                    if let Err(error) = committed { break Err(error) }
                }
                sealed = join(&mut self.sealing) => {
                    self.sealing = None;
                    match sealed {
                        Ok(sealed) => if let Err(error) = self.commit_sealed(sealed).await { break Err(error) },
                        Err(error) => {
                            self.log_background("sealing", &error);
                            self.ages.failed();
                        }
                    }
                }
                collected = join(&mut self.collecting) => {
                    self.collecting = None;
                    match collected {
                        Ok(keys) => if let Err(error) = self.commit_collected(keys).await { break Err(error) },
                        Err(error) => self.log_background("deleting replaced segments", &error),
                    }
                }
                looked = look(&mut self.surveying) => match self.surveyed(looked, false).await {
                    Ok(()) => {}
                    Err(SessionError::Reader(ReaderError::Api(error))) if error.not_found() => break Ok(End::Gone),
                    Err(error) => break Err(error),
                },
                _ = ticks.tick() => {
                    let state = self.committer.state().expect("the chain was opened");
                    if self.surveyor.as_ref().is_some_and(|surveyor| surveyor.due(state)) {
                        self.start_survey();
                    }
                    if let Some(lost) = self.look().await { break Err(lost.into()) }
                }
            }
        };
        self.leave(&outcome).await;
        self.reader.abort();
        if let Some(surveying) = self.surveying {
            surveying.abort();
        }
        outcome
    }

    /// Looks whether the archive is there, where no commit has for a while.
    async fn look(&mut self) -> Option<CommitError> {
        if !self.committer.look_is_due() {
            return None;
        }
        match self.context.stop.run_until_cancelled(self.committer.look(None)).await? {
            Ok(lost) => lost,
            Err(error) => {
                self.log_background("looking for the archive", &error);
                None
            }
        }
    }

    /// Leaves nothing behind that the next session could not read.
    async fn leave(&mut self, outcome: &Result<End, SessionError>) {
        if let Err(SessionError::Commit(CommitError::Lost { .. })) = outcome {
            // Its successor begins with what is there. A shipper that knows another chain, of a NAS that is
            // not there any more, must not be at work then.
            if let Some(shipper) = self.shipper.take() {
                shipper.abort();
                drop(shipper.await);
            }
        } else if self.committer.has_unseen() {
            match tokio::time::timeout(LAST_LOOK, self.committer.look(None)).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(lost))) => self.log_background("the last look at the archive", &lost),
                Ok(Err(error)) => self.log_background("the last look at the archive", &error),
                Err(_) => tracing::warn!(
                    stream = %self.stream,
                    "the nas does not say whether it has what was committed last"
                ),
            }
        }
    }

    /// Commits an upload, and with it all that are finished behind it.
    async fn append(&mut self, first: Upload) -> Result<(), SessionError> {
        let mut done = vec![first.await.expect("uploading does not panic")?];
        while let Ok(upload) = self.uploads.try_recv() {
            self.waiting.push_back(upload);
        }
        while self.waiting.front().is_some_and(JoinHandle::is_finished) {
            let upload = self.waiting.pop_front().expect("it is there");
            done.push(
                upload
                    .now_or_never()
                    .expect("it is finished")
                    .expect("uploading does not panic")?,
            );
        }
        let state = self.committer.state().expect("the chain was opened");
        let mut draft = Draft::of(state);
        if let Some(survey) = self.survey.take() {
            survey.fill(&mut draft);
            self.gaps.fill(&mut draft, state);
        }
        // A survey taken before these messages arrived knows nothing of what follows them.
        let last = done.last().expect("there is at least one").segment.last.clone();
        draft.watermark = Watermark { seq: last.seq.max(draft.watermark.seq), last: Some(last) };
        draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
        draft.add = done.iter().map(|Uploaded { segment, .. }| segment.clone()).collect();
        let sealed = draft.add.iter().any(|s| s.sealed);
        self.commit(draft, sealed).await?;
        for uploaded in done {
            drop(uploaded.reserved);
        }
        self.start_background(false);
        Ok(())
    }

    /// Looks at the live stream, besides everything else: a cluster that elects answers late, and what
    /// is uploaded must not wait for that.
    fn start_survey(&mut self) {
        let Some(mut surveyor) = self.surveyor.take() else { return };
        let state = self.committer.state().expect("the chain was opened");
        let known = Known {
            watermark: state.watermark().seq,
            first_seq: state.current().state.first_seq,
            away: if surveyor.wants_away() { self.gaps.known(state) } else { SeqRanges::default() },
            consumers: state.consumers.clone(),
        };
        self.surveying = Some(tokio::spawn(async move {
            let survey = surveyor.survey(&known).await;
            (surveyor, survey)
        }));
    }

    /// Takes a survey in, and commits what is new when nothing else does.
    async fn surveyed(&mut self, looked: Looked, at_once: bool) -> Result<(), SessionError> {
        let (surveyor, survey) = looked;
        (self.surveyor, self.surveying) = (Some(surveyor), None);
        let Some(survey) = survey? else { return Ok(()) };
        let state = self.committer.state().expect("the chain was opened");
        if survey.record.created != self.born {
            return Err(SessionError::Recreated(self.stream.clone()));
        }
        self.gaps.weigh(&survey, state);
        let mut draft = Draft::of(state);
        survey.fill(&mut draft);
        self.gaps.fill(&mut draft, state);
        let deleted = self.gaps.deleted(draft.watermark.seq);
        let news = draft.says_something(state) || !deleted.is_empty();
        if news && (at_once || self.committed.elapsed() >= SURVEY) {
            draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
            self.commit(draft, false).await?;
        } else {
            self.survey = Some(survey);
        }
        self.start_background(false);
        Ok(())
    }

    fn start_background(&mut self, now: bool) {
        let state = self.committer.state().expect("the chain was opened");
        if self.sealing.is_none()
            && let Some(run) = self.ages.due(self.context, state, now)
        {
            let (context, stream) = (Arc::clone(self.context), self.stream.clone());
            self.sealing =
                Some(tokio::spawn(async move { seal::seal(&context, &stream, run).await }));
        }
        if self.collecting.is_none() {
            let keys = collect::due(self.context, state);
            if !keys.is_empty() {
                let context = Arc::clone(self.context);
                self.collecting =
                    Some(tokio::spawn(async move { collect::collect(&context, keys).await }));
            }
        }
        // What needs no segment (consumers, deletes) goes to Wasabi at its own interval.
        if self.shipped.elapsed() >= self.context.config.seal.interval {
            self.publish_state();
        }
    }

    async fn commit_sealed(&mut self, sealed: Sealed) -> Result<(), SessionError> {
        let mut draft = Draft::of(self.committer.state().expect("the chain was opened"));
        draft.add = vec![sealed.segment];
        draft.remove = sealed.replaces;
        self.commit(draft, true).await?;
        fail_point!(SealCommitted);
        self.start_background(false);
        Ok(())
    }

    async fn commit_collected(&mut self, keys: Vec<String>) -> Result<(), SessionError> {
        let mut draft = Draft::of(self.committer.state().expect("the chain was opened"));
        draft.collected = keys;
        self.commit(draft, false).await
    }

    async fn commit(&mut self, draft: Draft, sealed: bool) -> Result<(), SessionError> {
        self.committer.commit(draft, &self.context.abort).await?;
        self.committed = Instant::now();
        let state = self.committer.state().expect("the chain was opened");
        self.watermark.send_replace(state.watermark().seq);
        if sealed {
            self.publish_state();
        }
        Ok(())
    }

    fn publish_state(&mut self) {
        if let (Some(states), Some(state)) = (&self.states, self.committer.state()) {
            states.send_replace(Arc::new(state.clone()));
            self.shipped = Instant::now();
        }
    }

    /// Flushes, commits, seals and ships what there is.
    async fn finish(&mut self) -> Result<(), SessionError> {
        self.stop_reader.cancel();
        while let Some(upload) = next_upload(&mut self.uploads, &mut self.waiting).await {
            self.append(upload).await?;
        }
        (&mut self.reader).await.expect("reading does not panic")?;
        // One that is under way may know nothing of what was just committed.
        if self.surveying.is_some() {
            let looked = look(&mut self.surveying).await;
            self.surveyed(looked, false).await?;
        }
        self.start_survey();
        let looked = look(&mut self.surveying).await;
        self.surveyed(looked, true).await?;
        if let Some(sealing) = self.sealing.take() {
            match sealing.await.expect("sealing does not panic") {
                Ok(sealed) => self.commit_sealed(sealed).await?,
                Err(error) => self.log_background("sealing", &error),
            }
        }
        self.publish_state();
        self.states = None;
        if let Some(shipper) = self.shipper.take() {
            shipper.await.expect("shipping does not panic");
        }
        Ok(())
    }

    fn log_background(&self, what: &str, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(stream = %self.stream, "{what} failed: {}", cim_runtime::error::chain(error));
    }
}

/// The next upload in order; `None` when the reader has ended. Cancelling it loses nothing.
async fn next_upload(
    uploads: &mut mpsc::Receiver<Upload>,
    waiting: &mut VecDeque<Upload>,
) -> Option<Upload> {
    match waiting.pop_front() {
        Some(upload) => Some(upload),
        None => uploads.recv().await,
    }
}

async fn join<T, E>(task: &mut Option<JoinHandle<Result<T, E>>>) -> Result<T, E> {
    match task {
        Some(task) => task.await.expect("background work does not panic"),
        None => std::future::pending().await,
    }
}

/// The survey that is under way, if one is. Cancelling it loses nothing.
async fn look(surveying: &mut Option<JoinHandle<Looked>>) -> Looked {
    match surveying {
        Some(task) => task.await.expect("surveying does not panic"),
        None => std::future::pending().await,
    }
}

/// Brings back to the NAS what only Wasabi has.
fn fill_back(
    context: &Arc<Context>,
    wasabi: &Arc<crate::s3::Store>,
    stream: &StreamName,
    state: &ArchiveState,
    ended: CancellationToken,
) {
    if !state.segments.values().any(|s: &Segment| s.sealed) {
        return;
    }
    let (context, wasabi, state, stream) =
        (Arc::clone(context), Arc::clone(wasabi), state.clone(), stream.clone());
    tokio::spawn(async move {
        let filling = ship::backfill(context, wasabi, stream.clone(), state);
        // The next session looks for itself.
        let Some(filled) = ended.run_until_cancelled(filling).await else { return };
        match filled {
            Ok(0) => {}
            Ok(segments) => {
                tracing::info!(stream = %stream, "brought {segments} segments back to the nas");
            }
            Err(error) => {
                let error = cim_runtime::error::chain(&error);
                tracing::error!(stream = %stream, "bringing segments back to the nas failed: {error}");
            }
        }
    });
}
