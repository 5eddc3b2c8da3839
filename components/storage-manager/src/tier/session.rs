//! One stream, from reading its chain until something fails or everything ends.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{ArchiveState, Segment, SeqRanges, Watermark};
use cim_core::names::StreamName;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;

use super::archived::ArchivedSoFar;
use super::context::Context;
use super::error::{ReaderError, UploadError};
use super::gaps::GapClassifier;
use super::merge::SealError;
use super::open_chain::open;
use super::progress::Progress;
use super::schedule::CompactionSchedule;
use super::seal::{self, Sealed};
use super::segmenter::{Upload, Uploaded};
use super::session_outcome::{SessionError, SessionOutcome};
use super::survey::{Survey, Surveyor};
use super::{gate, gc, read, ship};
use crate::chain::{CommitError, Committer, Draft};
use crate::hooks::fail_point;
use crate::jetstream::StreamInfo;
use crate::journal::Item;
use crate::s3::S3Error;

/// The interval at which the live stream is surveyed.
const SURVEY: Duration = Duration::from_secs(1);

/// Uploads that may be finished or under way and not committed.
const UPLOADS: usize = 2;

/// The time that the NAS may take to say that it has what was committed last.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// Tiers one stream.
pub async fn run(
    context: &Arc<Context>,
    stream: &StreamName,
) -> Result<SessionOutcome, SessionError> {
    // Nothing is read yet that an end could lose, and who is asked here may be away.
    let opening = Box::pin(gate::through(&context.beginning, open(context, stream)));
    let opened = context.stop.run_until_cancelled(opening).await;
    match opened.transpose()? {
        None => Ok(SessionOutcome::ShutDown),
        Some(ControlFlow::Break(end)) => Ok(end),
        Some(ControlFlow::Continue((committer, live))) => {
            let session = Session::start(context, stream, committer, &live)?;
            Box::pin(session.run()).await
        }
    }
}

/// A survey, and by whom.
type FinishedSurvey = (Surveyor, Result<Option<Survey>, ReaderError>);

struct Session<'a> {
    context: &'a Arc<Context>,
    stream: &'a StreamName,
    committer: Committer,
    /// `None` while it looks.
    surveyor: Option<Surveyor>,
    surveying: Option<AbortOnDropHandle<FinishedSurvey>>,
    survey: Option<Survey>,
    gaps: GapClassifier,
    /// The time at which the stream was created that this session reads.
    born: Timestamp,
    uploads: mpsc::Receiver<Upload>,
    waiting: VecDeque<Upload>,
    reader: AbortOnDropHandle<Result<(), ReaderError>>,
    sealing: Option<AbortOnDropHandle<Result<Sealed, SealError>>>,
    collecting: Option<AbortOnDropHandle<Result<Vec<String>, S3Error>>>,
    compaction: CompactionSchedule,
    /// The watermark of the NAS, for the reader.
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
    ) -> Result<Self, SessionError> {
        let state = committer.opened()?;
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
            ship::fill_back(&ctx, &wasabi, stream, state, ended.child_token());
            let ended = ended.child_token();
            shipper = Some(tokio::spawn(ship::run(ctx, wasabi, name, receiver, ended)));
            states = Some(sender);
        }
        Ok(Self {
            context,
            stream,
            surveyor: Some(Surveyor::new(Arc::clone(context), stream.clone(), progress)),
            surveying: None,
            survey: None,
            gaps: GapClassifier::new(stream.clone(), state),
            born: live.record.created,
            uploads,
            waiting: VecDeque::new(),
            reader: AbortOnDropHandle::new(tokio::spawn(task.run(sender))),
            sealing: None,
            collecting: None,
            compaction: CompactionSchedule::new(state),
            watermark,
            states,
            shipper,
            shipped: Instant::now(),
            committed: Instant::now(),
            stop_reader,
            _stop_all: ended.drop_guard(),
            committer,
        })
    }

    async fn run(mut self) -> Result<SessionOutcome, SessionError> {
        let abort = &self.context.abort;
        let outcome =
            abort.run_until_cancelled(self.work()).await.unwrap_or(Ok(SessionOutcome::ShutDown));
        self.leave(&outcome).await;
        outcome
    }

    /// Handles events as they come, in no fixed order: an S3 service that takes longer for each than the next needs
    /// to get ready would have one kind of work done for ever, and the others never.
    async fn work(&mut self) -> Result<SessionOutcome, SessionError> {
        let mut ticks = tokio::time::interval(SURVEY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.context.stop.cancelled() => {
                    self.finish().await?;
                    return Ok(SessionOutcome::ShutDown);
                }
                uploaded = next_uploaded(&mut self.uploads, &mut self.waiting) => {
                    let Some(uploaded) = uploaded else {
                        // It ends well only when it is told to.
                        (&mut self.reader).await.expect("reading does not panic")?;
                        return Ok(SessionOutcome::ShutDown);
                    };
                    self.append(uploaded?).await?;
                }
                sealed = join(&mut self.sealing) => {
                    self.sealing = None;
                    match sealed {
                        Ok(sealed) => self.commit_sealed(sealed).await?,
                        Err(error) => {
                            self.log_background("sealing", &error);
                            self.compaction.failed();
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
                looked = finished_survey(&mut self.surveying) => match self.surveyed(looked, false).await {
                    Err(SessionError::Reader(ReaderError::Api(error))) if error.not_found() => {
                        return Ok(SessionOutcome::StreamDeleted);
                    }
                    other => other?,
                },
                _ = ticks.tick() => {
                    let state = self.committer.opened()?;
                    if self.surveyor.as_ref().is_some_and(|surveyor| surveyor.due(state)) {
                        self.start_survey()?;
                    }
                    // What is due by its age is due at rest too.
                    self.start_background()?;
                    if let Some(lost) = self.verify_archive().await {
                        return Err(lost.into());
                    }
                }
            }
        }
    }

    /// Looks whether the archive is there, where no commit has for a while.
    async fn verify_archive(&mut self) -> Option<CommitError> {
        if !self.committer.verification_due() {
            return None;
        }
        match self.context.stop.run_until_cancelled(self.committer.verify_anchor()).await? {
            Ok(lost) => lost,
            Err(error) => {
                self.log_background("looking for the archive", &error);
                None
            }
        }
    }

    /// Leaves nothing behind that the next session could not read.
    async fn leave(&mut self, outcome: &Result<SessionOutcome, SessionError>) {
        if let Err(SessionError::Commit(CommitError::LogMissing { .. })) = outcome {
            // Its successor begins with the new chain. A shipper that knows another chain, of a NAS that is
            // not there any more, must not be at work then.
            if let Some(shipper) = self.shipper.take() {
                shipper.abort();
                drop(shipper.await);
            }
        } else if self.committer.has_unverified() {
            match tokio::time::timeout(LAST_LOOK, self.committer.verify_anchor()).await {
                Ok(Ok(None)) => {}
                Ok(Ok(Some(lost))) => self.log_background("the last look at the archive", &lost),
                Ok(Err(error)) => self.log_background("the last look at the archive", &error),
                Err(_) => tracing::warn!(
                    stream = %self.stream,
                    "the NAS does not answer whether it has the last commit: the next start checks"
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
        let state = self.committer.opened()?;
        let mut draft = Draft::from_state(state);
        if let Some(survey) = self.survey.take() {
            survey.apply_to(&mut draft);
            self.gaps.apply_to(&mut draft, state);
        }
        // A survey taken before these messages arrived knows nothing of what follows them.
        let segments = done.iter().filter_map(|uploaded| match &uploaded.item {
            Item::Segment(segment) => Some(Segment::clone(segment)),
            // Without a journal there are none.
            Item::Rows(_) => None,
        });
        let segments: Vec<Segment> = segments.collect();
        let Some(last) = segments.last().map(|segment| segment.last.clone()) else {
            return Err(SessionError::NoSegment(self.stream.clone()));
        };
        draft.watermark = Watermark { seq: last.seq.max(draft.watermark.seq), last: Some(last) };
        draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
        draft.add = segments;
        let sealed = draft.add.iter().any(|s| s.sealed);
        self.commit(draft, sealed).await?;
        for uploaded in done {
            drop(uploaded.reserved);
        }
        self.start_background()?;
        Ok(())
    }

    /// Looks at the live stream, besides everything else: a cluster that elects answers late, and what
    /// is uploaded must not wait for that.
    fn start_survey(&mut self) -> Result<(), SessionError> {
        let state = self.committer.opened()?;
        let Some(mut surveyor) = self.surveyor.take() else { return Ok(()) };
        let known = ArchivedSoFar {
            watermark: state.watermark().seq,
            first_seq: state.current().state.first_seq,
            away: if surveyor.wants_away() {
                self.gaps.missing(state)
            } else {
                SeqRanges::default()
            },
            record: state.stream.clone(),
            consumers: state.consumers.clone(),
            deliveries: BTreeMap::new(),
        };
        self.surveying = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let survey = surveyor.survey(&known).await;
            (surveyor, survey)
        })));
        Ok(())
    }

    /// Takes a survey in, and commits what is new when nothing else does.
    async fn surveyed(
        &mut self,
        looked: FinishedSurvey,
        at_once: bool,
    ) -> Result<(), SessionError> {
        let (surveyor, survey) = looked;
        (self.surveyor, self.surveying) = (Some(surveyor), None);
        let Some(survey) = survey? else { return Ok(()) };
        let state = self.committer.opened()?;
        if survey.record.created != self.born {
            return Err(SessionError::Recreated(self.stream.clone()));
        }
        self.gaps.classify(&survey, state);
        let mut draft = Draft::from_state(state);
        survey.apply_to(&mut draft);
        self.gaps.apply_to(&mut draft, state);
        let deleted = self.gaps.deleted(draft.watermark.seq);
        let news = draft.has_changes(state) || !deleted.is_empty();
        if news && (at_once || self.committed.elapsed() >= SURVEY) {
            draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
            self.commit(draft, false).await?;
        } else {
            self.survey = Some(survey);
        }
        self.start_background()?;
        Ok(())
    }

    fn start_background(&mut self) -> Result<(), SessionError> {
        let state = self.committer.opened()?;
        if self.sealing.is_none()
            && let Some(run) = self.compaction.next_run(&self.context.config.seal, state)
        {
            let (context, stream) = (Arc::clone(self.context), self.stream.clone());
            let sealing = tokio::spawn(async move { seal::seal(&context, &stream, run).await });
            self.sealing = Some(AbortOnDropHandle::new(sealing));
        }
        if self.collecting.is_none() {
            let keys = gc::due(self.context, state);
            if !keys.is_empty() {
                let context = Arc::clone(self.context);
                let collecting = tokio::spawn(async move { gc::collect(&context, keys).await });
                self.collecting = Some(AbortOnDropHandle::new(collecting));
            }
        }
        // What needs no segment (consumers, deletes) goes to Wasabi at its own interval.
        if self.shipped.elapsed() >= self.context.config.seal.interval {
            self.publish_state();
        }
        Ok(())
    }

    async fn commit_sealed(&mut self, sealed: Sealed) -> Result<(), SessionError> {
        let mut draft = Draft::from_state(self.committer.opened()?);
        draft.add = vec![sealed.segment];
        draft.remove = sealed.replaces;
        self.commit(draft, true).await?;
        fail_point!(SealCommitted);
        self.start_background()?;
        Ok(())
    }

    async fn commit_collected(&mut self, keys: Vec<String>) -> Result<(), SessionError> {
        let mut draft = Draft::from_state(self.committer.opened()?);
        draft.collected = keys;
        self.commit(draft, false).await
    }

    async fn commit(&mut self, draft: Draft, sealed: bool) -> Result<(), SessionError> {
        let (add, remove) = (draft.add.clone(), draft.remove.clone());
        self.committer.commit(draft, &self.context.abort).await?;
        self.compaction.committed(&add, &remove);
        self.committed = Instant::now();
        let state = self.committer.opened()?;
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
    /// is for the next process.
    async fn finish(&mut self) -> Result<(), SessionError> {
        self.stop_reader.cancel();
        while let Some(uploaded) = next_uploaded(&mut self.uploads, &mut self.waiting).await {
            self.append(uploaded?).await?;
        }
        (&mut self.reader).await.expect("reading does not panic")?;
        // One that is under way may know nothing of what was just committed.
        if self.surveying.is_some() {
            let looked = finished_survey(&mut self.surveying).await;
            self.surveyed(looked, false).await?;
        }
        self.start_survey()?;
        let looked = finished_survey(&mut self.surveying).await;
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

/// Waits for the survey that is under way, if one is. Cancelling it loses nothing.
async fn finished_survey(
    surveying: &mut Option<AbortOnDropHandle<FinishedSurvey>>,
) -> FinishedSurvey {
    match surveying {
        Some(task) => task.await.expect("surveying does not panic"),
        None => std::future::pending().await,
    }
}
