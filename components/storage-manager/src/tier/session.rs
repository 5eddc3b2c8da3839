//! One stream, from reading its chain until something fails or everything ends.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
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
use tokio_util::task::AbortOnDropHandle;

use super::context::Context;
use super::error::{FetchError, ReaderError, UploadError};
use super::gaps::Gaps;
use super::history::{Alignment, HistoryError, align};
use super::known::Known;
use super::merge::SealError;
use super::progress::Progress;
use super::schedule::Ages;
use super::seal::{self, Sealed};
use super::segmenter::{Upload, Uploaded};
use super::survey::{Survey, Surveyor, missed};
use super::{collect, gate, read, ship, shorn, witness};
use crate::chain::{self, CommitError, Committer, Draft, ReadError};
use crate::hooks::fail_point;
use crate::jetstream::{ApiError, StreamInfo};
use crate::journal::{Item, JournalClosed, NotCommitted, Refused};
use crate::s3::S3Error;

/// How often the live stream is surveyed.
const SURVEY: Duration = Duration::from_secs(1);
/// Uploads that may be finished or under way and not committed.
const UPLOADS: usize = 2;
/// How long the NAS may take to say that it has what was committed last.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// Why a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The stream is gone.
    Gone,
    /// What was waited for has come, or may have.
    Replaced,
    /// A part of its archive is to be archived anew.
    Anew,
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
    /// The journal was closed.
    Journal(#[from] JournalClosed),
    /// The journal did not take what the stream has to say.
    Refused(#[from] Refused),
    /// The live stream became another one.
    #[error("stream `{0}` was deleted and made again: its archive begins a new timeline")]
    Recreated(StreamName),
}

impl From<NotCommitted> for SessionError {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Closed(closed) => closed.into(),
            NotCommitted::Refused(refused) => refused.into(),
        }
    }
}

/// Tiers one stream.
pub async fn run(context: &Arc<Context>, stream: &StreamName) -> Result<End, SessionError> {
    // Nothing is read yet that an end could lose, and who is asked here may be away.
    let opening = Box::pin(gate::through(&context.beginning, open(context, stream)));
    let opened = context.stop.run_until_cancelled(opening).await;
    match opened.transpose()? {
        None => Ok(End::Stopped),
        Some(ControlFlow::Break(end)) => Ok(end),
        Some(ControlFlow::Continue((committer, live))) => {
            Box::pin(Session::start(context, stream, committer, &live).run()).await
        }
    }
}

/// Reads the chain, and goes on with it where there is something to read.
async fn open(
    context: &Arc<Context>,
    stream: &StreamName,
) -> Result<ControlFlow<End, (Committer, StreamInfo)>, SessionError> {
    let live = match context.jetstream.stream_info(stream.as_str(), false).await {
        Err(error) if error.not_found() => return Ok(ControlFlow::Break(End::Gone)),
        other => other?,
    };
    Ok(match open_chain(context, stream, &live).await? {
        Some(committer) => ControlFlow::Continue((committer, live)),
        None => ControlFlow::Break(wait_for_a_message(context, stream, &live).await?),
    })
}

/// Waits for an empty stream to become more than that, or to go.
pub(super) async fn wait_for_a_message(
    context: &Arc<Context>,
    stream: &StreamName,
    empty: &StreamInfo,
) -> Result<End, SessionError> {
    tracing::warn!(
        stream = %stream,
        "the archive has messages of this stream, the server has a new, empty one: nothing is archived before it has a message. Was the host lost? Then delete it and restore"
    );
    loop {
        tokio::time::sleep(SURVEY).await;
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
    let consumers = context.jetstream.lasting_consumers(stream.as_str()).await?;
    if !known {
        // What the one before has on its way to Wasabi is part of what is taken over.
        let alone = context.abort.run_until_cancelled(context.ship_alone(stream)).await;
        if let Some(wasabi) = adoptable(context, stream).await? {
            tracing::warn!(
                stream = %stream,
                "the nas has no archive of this stream, wasabi has: taking it over up to sequence {}",
                wasabi.watermark().seq
            );
            context.former.adopted(stream, &wasabi);
            committer.adopt(&wasabi, &context.abort).await?;
            fail_point!(AdoptAfter);
        } else {
            let consumers = consumers.reported.clone();
            let draft = Draft::begin(live.record.clone(), live.state.clone(), consumers);
            committer.commit(draft, &context.abort).await?;
        }
        drop(alone);
    }
    let state = committer.state().expect("it was read or begun");
    match align(&context.sides(), stream, state, live).await? {
        Alignment::Continues => {
            if let Some(range) = missed(state, live)
                && !has_another(context, stream, live, range).await?
            {
                context.former.missed(stream, state, range).say(stream);
                let mut draft = Draft::of(state);
                draft.missed = vec![range];
                draft.watermark.seq = range.last;
                committer.commit(draft, &context.abort).await?;
            }
        }
        Alignment::Forks { parent: None, .. } if live.state.last_seq == 0 => return Ok(None),
        Alignment::Forks { parent, last, reason } => {
            tracing::warn!(stream = %stream, "{reason}: opening timeline {}", state.timeline() + 1);
            if let Some(parent) = &parent
                && let Some(left) = state.after_fork(parent)
            {
                tracing::error!(
                    stream = %stream,
                    "sequences {} to {} of timeline {} are not in the live stream: where nobody restored it to an earlier point the server has lost them. The archive keeps them: `restore {stream} --timeline {} --as NAME` brings them back",
                    left.first, left.last, parent.timeline, parent.timeline
                );
            }
            let mut draft = Draft::of(state);
            draft.timeline = state.timeline() + 1;
            draft.watermark = Watermark { seq: parent.as_ref().map_or(0, |p| p.last_seq), last };
            draft.lost = draft.lost.intersect(1, draft.watermark.seq);
            draft.fork = Some(Fork { parent, reason: reason.into() });
            let jetstream = &context.jetstream;
            let consumers = shorn::consumers(jetstream, &state.consumers, consumers);
            draft.consumers = consumers.merged_with_previous(&state.consumers);
            let record = live.record.clone();
            draft.stream = shorn::stream(jetstream, stream, &state.stream, record, &mut true);
            draft.state = live.state.clone();
            committer.commit(draft, &context.abort).await?;
        }
    }
    Ok(Some(committer))
}

/// Whether another server has something of what the stream's leader does not have.
pub(super) async fn has_another(
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
pub(super) async fn adoptable(
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
    surveying: Option<AbortOnDropHandle<Looked>>,
    survey: Option<Survey>,
    gaps: Gaps,
    /// When the stream was created that this session reads.
    born: Timestamp,
    uploads: mpsc::Receiver<Upload>,
    waiting: VecDeque<Upload>,
    reader: AbortOnDropHandle<Result<(), ReaderError>>,
    sealing: Option<AbortOnDropHandle<Result<Sealed, SealError>>>,
    collecting: Option<AbortOnDropHandle<Result<Vec<String>, S3Error>>>,
    ages: Ages,
    /// How far the NAS has the stream, for its reader.
    watermark: watch::Sender<u64>,
    states: Option<watch::Sender<Arc<ArchiveState>>>,
    /// It ends by itself, between two entries, when the session does: one in the middle of an entry may have a
    /// request under way that its successor must not overtake.
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
        let ended = context.abort.child_token();
        let stop_reader = ended.child_token();
        let (sender, uploads) = mpsc::channel(UPLOADS);
        let config = live.record.config.value();
        let progress = Arc::new(Progress::begin(state.watermark().seq));
        let (watermark, committed) = watch::channel(state.watermark().seq);
        let task = read::Task {
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
            let ended = ended.child_token();
            shipper = Some(tokio::spawn(ship::run(ctx, wasabi, name, receiver, ended)));
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
            reader: AbortOnDropHandle::new(tokio::spawn(task.run(sender))),
            sealing: None,
            collecting: None,
            ages: Ages::new(state),
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
        let abort = &self.context.abort;
        let outcome = abort.run_until_cancelled(self.work()).await.unwrap_or(Ok(End::Stopped));
        self.leave(&outcome).await;
        outcome
    }

    /// Does what is ready, in no fixed order: an S3 service that takes longer for each than the next needs to get
    /// ready would have one kind of work done for ever, and the others never.
    async fn work(&mut self) -> Result<End, SessionError> {
        let mut ticks = tokio::time::interval(SURVEY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.context.stop.cancelled() => {
                    self.finish().await?;
                    return Ok(End::Stopped);
                }
                uploaded = next_uploaded(&mut self.uploads, &mut self.waiting) => {
                    let Some(uploaded) = uploaded else {
                        // It ends well only when it is told to.
                        (&mut self.reader).await.expect("reading does not panic")?;
                        return Ok(End::Stopped);
                    };
                    self.append(uploaded?).await?;
                }
                sealed = join(&mut self.sealing) => {
                    self.sealing = None;
                    match sealed {
                        Ok(sealed) => self.commit_sealed(sealed).await?,
                        Err(error) => {
                            self.log_background("sealing", &error);
                            self.ages.failed();
                        }
                    }
                }
                collected = join(&mut self.collecting) => {
                    self.collecting = None;
                    match collected {
                        Ok(keys) => self.commit_collected(keys).await?,
                        Err(error) => self.log_background("deleting replaced segments", &error),
                    }
                }
                looked = look(&mut self.surveying) => match self.surveyed(looked, false).await {
                    Err(SessionError::Reader(ReaderError::Api(error))) if error.not_found() => {
                        return Ok(End::Gone);
                    }
                    other => other?,
                },
                _ = ticks.tick() => {
                    let state = self.committer.state().expect("the chain was opened");
                    if self.surveyor.as_ref().is_some_and(|surveyor| surveyor.due(state)) {
                        self.start_survey();
                    }
                    // What is due by its age is due at rest too.
                    self.start_background();
                    if let Some(lost) = self.look().await {
                        return Err(lost.into());
                    }
                }
            }
        }
    }

    /// Looks whether the archive is there, where no commit has for a while.
    async fn look(&mut self) -> Option<CommitError> {
        if !self.committer.look_is_due() {
            return None;
        }
        match self.context.stop.run_until_cancelled(self.committer.look()).await? {
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
            match tokio::time::timeout(LAST_LOOK, self.committer.look()).await {
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

    /// Commits what was uploaded, and with it all that is finished behind it.
    async fn append(&mut self, first: Uploaded) -> Result<(), SessionError> {
        let mut done = vec![first];
        while let Ok(upload) = self.uploads.try_recv() {
            self.waiting.push_back(upload);
        }
        while self.waiting.front().is_some_and(AbortOnDropHandle::is_finished) {
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
        let segments = done.iter().filter_map(|uploaded| match &uploaded.item {
            Item::Segment(segment) => Some(Segment::clone(segment)),
            // Without a journal there are none.
            Item::Rows(_) => None,
        });
        let segments: Vec<Segment> = segments.collect();
        let last = segments.last().expect("there is at least one").last.clone();
        draft.watermark = Watermark { seq: last.seq.max(draft.watermark.seq), last: Some(last) };
        draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
        draft.add = segments;
        let sealed = draft.add.iter().any(|s| s.sealed);
        self.commit(draft, sealed).await?;
        for uploaded in done {
            drop(uploaded.reserved);
        }
        self.start_background();
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
            record: state.stream.clone(),
            consumers: state.consumers.clone(),
            deliveries: BTreeMap::new(),
        };
        self.surveying = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let survey = surveyor.survey(&known).await;
            (surveyor, survey)
        })));
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
        self.start_background();
        Ok(())
    }

    fn start_background(&mut self) {
        let state = self.committer.state().expect("the chain was opened");
        if self.sealing.is_none()
            && let Some(run) = self.ages.due(&self.context.config.seal, state)
        {
            let (context, stream) = (Arc::clone(self.context), self.stream.clone());
            let sealing = tokio::spawn(async move { seal::seal(&context, &stream, run).await });
            self.sealing = Some(AbortOnDropHandle::new(sealing));
        }
        if self.collecting.is_none() {
            let keys = collect::due(self.context, state);
            if !keys.is_empty() {
                let context = Arc::clone(self.context);
                let collecting =
                    tokio::spawn(async move { collect::collect(&context, keys).await });
                self.collecting = Some(AbortOnDropHandle::new(collecting));
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
        self.start_background();
        Ok(())
    }

    async fn commit_collected(&mut self, keys: Vec<String>) -> Result<(), SessionError> {
        let mut draft = Draft::of(self.committer.state().expect("the chain was opened"));
        draft.collected = keys;
        self.commit(draft, false).await
    }

    async fn commit(&mut self, draft: Draft, sealed: bool) -> Result<(), SessionError> {
        let (add, remove) = (draft.add.clone(), draft.remove.clone());
        self.committer.commit(draft, &self.context.abort).await?;
        self.ages.committed(&add, &remove);
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

    /// Flushes and commits what there is, seals what is due, and ships. What is not due yet stays as old as it
    /// is for whoever starts next.
    async fn finish(&mut self) -> Result<(), SessionError> {
        self.stop_reader.cancel();
        while let Some(uploaded) = next_uploaded(&mut self.uploads, &mut self.waiting).await {
            self.append(uploaded?).await?;
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
        while let Some(sealing) = self.sealing.take() {
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

/// Waits for the next upload in order; `None` when the reader has ended. Cancelling it loses nothing.
async fn next_uploaded(
    uploads: &mut mpsc::Receiver<Upload>,
    waiting: &mut VecDeque<Upload>,
) -> Option<Result<Uploaded, UploadError>> {
    if waiting.is_empty() {
        waiting.push_back(uploads.recv().await?);
    }
    let uploaded = waiting.front_mut()?.await.expect("uploading does not panic");
    waiting.pop_front();
    Some(uploaded)
}

async fn join<T, E>(task: &mut Option<AbortOnDropHandle<Result<T, E>>>) -> Result<T, E> {
    match task {
        Some(task) => task.await.expect("background work does not panic"),
        None => std::future::pending().await,
    }
}

/// The survey that is under way, if one is. Cancelling it loses nothing.
async fn look(surveying: &mut Option<AbortOnDropHandle<Looked>>) -> Looked {
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
