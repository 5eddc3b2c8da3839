//! One stream, while its archive is in a journal: reads it, surveys it, and hands what it has to say to the
//! journal, one commit after the other. While one is on its way the next one gathers.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::{Change, Served};
use cim_core::archive::{SeqRanges, Watermark};
use cim_core::names::StreamName;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::archived::ArchivedSoFar;
use super::budget::Reserved;
use super::change::{change, missed};
use super::context::Context;
use super::error::ReaderError;
use super::gaps::GapClassifier;
use super::open_stream::open;
use super::progress::{Progress, Read};
use super::ready::{add, take};
use super::segmenter::{Upload, Uploaded};
use super::session_outcome::{SessionError, SessionOutcome};
use super::skipped::Skipped;
use super::survey::{Survey, Surveyor};
use super::{gate, read};
use crate::chain::Draft;
use crate::jetstream::StreamInfo;
use crate::journal::{Commit, Item, Journal, NotCommitted, Share};

/// The interval at which the live stream is surveyed.
const SURVEY: Duration = Duration::from_secs(1);

/// Uploads that the reader may have under way.
const UPLOADS: usize = 2;

/// The time that a reader may take to hear that its stream is gone. It hears it behind the last message.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The uploads that may be ready and wait for the commit before them.
const READY: usize = 4;

/// Tiers one stream into a journal.
pub async fn run(
    context: &Arc<Context>,
    journal: &Journal,
    stream: &StreamName,
) -> Result<SessionOutcome, SessionError> {
    // Nothing is read yet that an end could lose, and NATS may be away.
    let opening = Box::pin(gate::through(&context.beginning, open(context, journal, stream)));
    let (live, served) = match context.stop.run_until_cancelled(opening).await.transpose()? {
        None => return Ok(SessionOutcome::ShutDown),
        Some(ControlFlow::Break(end)) => return Ok(end),
        Some(ControlFlow::Continue(begun)) => begun,
    };
    let mut follower = Follower::start(context, journal, stream, &live, served)?;
    let outcome = follower.run().await;
    if let Some(surveying) = follower.surveying.take() {
        surveying.abort();
    }
    let left = match &outcome {
        // All is read again, or what follows would not be taken either.
        Err(SessionError::Journal(_) | SessionError::Refused(_)) => Ok(()),
        Ok(SessionOutcome::StreamDeleted) | Err(SessionError::Recreated(_)) => {
            follower.leave(true).await
        }
        Ok(
            SessionOutcome::ShutDown | SessionOutcome::StreamChanged | SessionOutcome::ArchiveAnew,
        )
        | Err(_) => follower.leave(false).await,
    };
    follower.reader.abort();
    left.and(outcome)
}

/// A survey, and by whom.
type FinishedSurvey = (Surveyor, Result<Option<Survey>, ReaderError>);

/// A commit on its way.
type Committing = Pin<Box<dyn Future<Output = Result<(), NotCommitted>> + Send>>;

struct Follower<'a> {
    context: &'a Arc<Context>,
    journal: &'a Journal,
    stream: &'a StreamName,
    /// The time at which the stream was created that is read.
    born: Timestamp,
    /// By whom it is served, where that is known.
    served: Option<Served>,
    reader: JoinHandle<Result<(), ReaderError>>,
    /// The reader has ended; what it handed over is all there is.
    read: bool,
    /// The live stream is to be looked at once more.
    last_look: bool,
    uploads: mpsc::Receiver<Upload>,
    /// The upload that is waited for.
    upload: Option<Upload>,
    ready: VecDeque<Uploaded>,
    /// The progress of the reader.
    progress: Arc<Progress>,
    /// `None` while it looks.
    surveyor: Option<Surveyor>,
    surveying: Option<JoinHandle<FinishedSurvey>>,
    survey: Option<Survey>,
    /// The watermark of the NAS, for the reader.
    confirmed: watch::Sender<u64>,
    gaps: GapClassifier,
    skipped: Skipped,
    committing: Option<Committing>,
    /// The share that was handed over last: until it is in an entry, more can be added.
    share: Option<Share>,
    /// The budget of what is on its way.
    held: Vec<Reserved>,
    committed: Instant,
    stop_reader: CancellationToken,
    _stop_all: DropGuard,
}

impl<'a> Follower<'a> {
    fn start(
        context: &'a Arc<Context>,
        journal: &'a Journal,
        stream: &'a StreamName,
        live: &StreamInfo,
        served: Option<Served>,
    ) -> Result<Self, SessionError> {
        let (timeline, watermark, gaps) = journal
            .stream(stream, |state| {
                (state.timeline(), state.watermark().seq, GapClassifier::new(stream.clone(), state))
            })
            .ok_or_else(|| SessionError::NotInJournal(stream.clone()))?;
        let ended = CancellationToken::new();
        let stop_reader = ended.child_token();
        let (sender, uploads) = mpsc::channel(UPLOADS);
        let config = live.record.config.value();
        let progress = Arc::new(Progress::begin(watermark));
        let (confirmed, committed) = watch::channel(watermark);
        let task = read::Task {
            context: Arc::clone(context),
            stream: stream.clone(),
            timeline,
            start_seq: watermark + 1,
            work_queue: config["retention"] == "workqueue",
            interest: config["retention"] == "interest",
            committed,
            progress: Arc::clone(&progress),
            replicated: config["num_replicas"].as_u64() > Some(1),
            stop: stop_reader.clone(),
        };
        Ok(Self {
            context,
            journal,
            stream,
            born: live.record.created,
            served,
            reader: tokio::spawn(task.run(sender)),
            read: false,
            last_look: false,
            uploads,
            upload: None,
            ready: VecDeque::new(),
            surveyor: Some(Surveyor::new(
                Arc::clone(context),
                stream.clone(),
                Arc::clone(&progress),
            )),
            progress,
            surveying: None,
            survey: None,
            confirmed,
            gaps,
            skipped: Skipped::default(),
            committing: None,
            share: None,
            held: Vec::new(),
            committed: Instant::now(),
            stop_reader,
            _stop_all: ended.drop_guard(),
        })
    }

    async fn run(&mut self) -> Result<SessionOutcome, SessionError> {
        let mut ticks = tokio::time::interval(SURVEY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let stop = self.context.stop.clone();
        let mut stopping = false;
        loop {
            // One last look, which knows of all that was read: one that is under way does not.
            if self.last_look && self.surveyor.is_some() {
                self.last_look = false;
                self.start_survey()?;
            }
            self.commit_what_is_due(stopping)?;
            if stopping && self.is_done() {
                return Ok(SessionOutcome::ShutDown);
            }
            let room = self.ready.len() < READY;
            tokio::select! {
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    self.stop_reader.cancel();
                    // What was handed over is not to wait for its age.
                    self.journal.grown(0, Instant::now());
                }
                closed = self.journal.closed() => return Err(closed.into()),
                uploaded = next(&mut self.uploads, &mut self.upload), if room && !self.read => {
                    if let Some(uploaded) = uploaded {
                        let uploaded = uploaded?;
                        self.skipped.add(&uploaded.skipped);
                        self.ready.push_back(uploaded);
                    } else {
                        (&mut self.reader).await.expect("reading does not panic")?;
                        self.read = true;
                        self.last_look = true;
                    }
                }
                committed = join(&mut self.committing) => {
                    (self.committing, self.share) = (None, None);
                    self.held.clear();
                    committed?;
                    self.committed = Instant::now();
                    let seq = self.journal.stream(self.stream, |state| state.watermark().seq);
                    self.confirmed.send_replace(seq.unwrap_or_default());
                }
                looked = finished_survey(&mut self.surveying) => match self.surveyed(looked) {
                    Err(SessionError::Reader(ReaderError::Api(error))) if error.not_found() => {
                        return Ok(SessionOutcome::StreamDeleted);
                    }
                    other => other?,
                },
                _ = ticks.tick(), if !stopping => {
                    if self.context.rearchive.wants(self.stream) {
                        return Ok(SessionOutcome::ArchiveAnew);
                    }
                    let due = self.surveyor.as_ref().is_some_and(|surveyor| {
                        self.journal.stream(self.stream, |state| surveyor.due(state)) == Some(true)
                    });
                    if due {
                        self.start_survey()?;
                    }
                }
            }
        }
    }

    /// Commits what was read, before the next session asks how far the archive goes: of a stream that is `gone`, and
    /// made again maybe, it is nowhere else, and its timeline is left when the next one begins.
    async fn leave(&mut self, gone: bool) -> Result<(), SessionError> {
        let journal = self.journal.clone();
        if self.progress.get().by_name {
            self.reader.abort();
            self.ready.clear();
            self.read = true;
        } else if !gone {
            self.stop_reader.cancel();
        }
        let (mut wait, mut patience) = (gone, Instant::now() + LAST_WORDS);
        journal.grown(0, Instant::now());
        loop {
            self.commit_what_is_due(true)?;
            if self.read && self.ready.is_empty() && self.committing.is_none() {
                if gone {
                    self.say_what_is_left();
                }
                return Ok(());
            }
            let room = self.ready.len() < READY;
            tokio::select! {
                closed = journal.closed() => return Err(closed.into()),
                uploaded = next(&mut self.uploads, &mut self.upload), if room && !self.read => {
                    patience = Instant::now() + LAST_WORDS;
                    match uploaded {
                        Some(Ok(uploaded)) => self.ready.push_back(uploaded),
                        // What is behind one that failed cannot be committed.
                        Some(Err(_)) | None => self.read = true,
                    }
                }
                () = tokio::time::sleep_until(patience), if wait => {
                    // Where the NAS is away it waits for room, and still has something to hand over.
                    if room && self.committing.is_none() && !journal.is_stuck(LAST_WORDS) {
                        // To end well it would ask the stream that has the name by now.
                        self.reader.abort();
                        wait = false;
                    }
                    patience = Instant::now() + LAST_WORDS;
                }
                committed = join(&mut self.committing) => {
                    (self.committing, self.share) = (None, None);
                    self.held.clear();
                    match committed {
                        Ok(()) => {}
                        Err(NotCommitted::Closed(closed)) => return Err(closed.into()),
                        Err(NotCommitted::Refused(error)) => {
                            let (stream, error) = (self.stream, cim_runtime::error::chain(&error));
                            tracing::warn!(
                                stream = %stream,
                                "the messages that were read last are not archived: {error}"
                            );
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Says which messages were read and are in no entry: the stream that had them is gone.
    fn say_what_is_left(&self) {
        let Read { seq: read, by_name, .. } = self.progress.get();
        let archived = self.journal.stream(self.stream, |state| state.watermark().seq);
        if !by_name && archived.is_some_and(|archived| archived < read) {
            tracing::error!(
                stream = %self.stream,
                "sequences {} to {read} are lost: they were read, and the stream was deleted before they could be archived",
                archived.unwrap_or_default() + 1
            );
        }
    }

    /// Returns true if, after the reader has ended, nothing is left to be committed.
    fn is_done(&self) -> bool {
        self.read
            && !self.last_look
            && self.ready.is_empty()
            && self.surveying.is_none()
            && self.survey.is_none()
            && self.committing.is_none()
    }

    /// Looks at the live stream, beside everything else: a cluster that elects answers late.
    fn start_survey(&mut self) -> Result<(), SessionError> {
        let Some(mut surveyor) = self.surveyor.take() else { return Ok(()) };
        let known = self.journal.stream(self.stream, |state| ArchivedSoFar {
            watermark: state.watermark().seq,
            first_seq: state.current().state.first_seq,
            away: if surveyor.wants_away() {
                self.gaps.missing(state)
            } else {
                SeqRanges::default()
            },
            record: state.stream.clone(),
            consumers: state.consumers.clone(),
            deliveries: state.deliveries.clone(),
        });
        let known = known.ok_or_else(|| SessionError::NotInJournal(self.stream.clone()))?;
        self.surveying = Some(tokio::spawn(async move {
            let survey = surveyor.survey(&known).await;
            (surveyor, survey)
        }));
        Ok(())
    }

    fn surveyed(&mut self, (surveyor, survey): FinishedSurvey) -> Result<(), SessionError> {
        (self.surveyor, self.surveying) = (Some(surveyor), None);
        let Some(survey) = survey? else { return Ok(()) };
        if survey.record.created != self.born {
            return Err(SessionError::Recreated(self.stream.clone()));
        }
        self.journal.stream(self.stream, |state| self.gaps.classify(&survey, state));
        self.survey = Some(survey);
        Ok(())
    }

    /// Hands to the journal what is ready, when nothing is on its way.
    fn commit_what_is_due(&mut self, stopping: bool) -> Result<(), SessionError> {
        if self.committing.is_some() {
            return self.add_to_share(stopping);
        }
        let first = self.ready.front().map(|uploaded| (uploaded.since, is_segment(uploaded)));
        let idle = self.committed.elapsed() >= SURVEY || stopping;
        if first.is_none() && (self.survey.is_none() || !idle) {
            return Ok(());
        }
        let age = self.context.config.segment.flush_age;
        let due = match first {
            _ if stopping => Instant::now(),
            // A segment of its own waited while it was made.
            Some((_, true)) => Instant::now(),
            Some((since, false)) => since + age,
            None => Instant::now() + age,
        };
        let Some(commit) = self.draft() else { return Ok(()) };
        let (journal, stream) = (self.journal.clone(), self.stream.clone());
        let share = Share::new(commit);
        self.share = Some(share.clone());
        self.committing =
            Some(Box::pin(async move { journal.commit_share(stream, share, due).await }));
        Ok(())
    }

    /// Adds what is ready to what was handed to the journal and is in no entry yet.
    fn add_to_share(&mut self, stopping: bool) -> Result<(), SessionError> {
        let Some(share) = self.share.as_ref().filter(|_| !self.ready.is_empty()) else {
            return Ok(());
        };
        let at_once = stopping || self.ready.iter().any(is_segment);
        let age = if at_once { Duration::ZERO } else { self.context.config.segment.flush_age };
        let known = self.journal.stream(self.stream, |state| state.watermark().seq);
        let known = known.ok_or_else(|| SessionError::NotInJournal(self.stream.clone()))?;
        let (ready, held, stream) = (&mut self.ready, &mut self.held, self.stream);
        let gaps = &mut self.gaps;
        let grown = share.grow(|commit| add(ready, held, commit, gaps, known, stream));
        if let Some(bytes) = grown {
            self.journal.grown(bytes, Instant::now() + age);
        }
        Ok(())
    }

    /// Drafts the stream's next share: all messages that are ready, and the findings of the last survey. Returns
    /// `None` where that is nothing new.
    fn draft(&mut self) -> Option<Commit> {
        let journal = self.journal.clone();
        journal.stream(self.stream, |state| {
            let mut draft = Draft::from_state(state);
            let (mut deletes_known, mut deliveries) = (None, None);
            if let Some(survey) = self.survey.take() {
                survey.apply_to(&mut draft);
                self.gaps.apply_to(&mut draft, state);
                (deletes_known, deliveries) = (survey.deletes_known, survey.deliveries);
            }
            let mut commit = Commit { timeline: state.timeline(), ..Commit::default() };
            let watermark = state.watermark().seq;
            let (ready, held) = (&mut self.ready, &mut self.held);
            let last = take(ready, held, &mut commit, watermark, self.stream);
            if let Some(last) = last {
                // A survey taken before these messages arrived knows nothing of what follows them.
                let seq = last.seq.max(draft.watermark.seq);
                draft.watermark = Watermark { seq, last: Some(last) };
            }
            draft.deleted = self.gaps.take_deleted(draft.watermark.seq);
            draft.missed = missed(&mut self.skipped, &draft, state, self.stream);
            commit.change = change(draft, state, &commit.items);
            commit.change.deliveries = deliveries.filter(|known| *known != state.deliveries);
            if commit.items.is_empty() && commit.change == Change::default() {
                return None;
            }
            commit.change.deletes_known =
                deletes_known.filter(|known| Some(known) != state.deletes_known.as_ref());
            // A host that was lost may have got another name. That alone is no reason for an entry.
            let served = self.served.as_ref();
            commit.change.served = served.and_then(|served| served.news(state.served.as_ref()));
            Some(commit)
        })?
    }
}

fn is_segment(uploaded: &Uploaded) -> bool {
    matches!(uploaded.item, Item::Segment(_))
}

/// Waits for the next upload in order; `None` when the reader has ended. Cancelling it loses nothing.
async fn next(
    uploads: &mut mpsc::Receiver<Upload>,
    waiting: &mut Option<Upload>,
) -> Option<Result<Uploaded, super::error::UploadError>> {
    if waiting.is_none() {
        *waiting = uploads.recv().await;
    }
    let uploaded = waiting.as_mut()?.await.expect("uploading does not panic");
    *waiting = None;
    Some(uploaded)
}

async fn join(committing: &mut Option<Committing>) -> Result<(), NotCommitted> {
    match committing {
        Some(committing) => committing.await,
        None => std::future::pending().await,
    }
}

/// Waits for the survey that is under way, if one is. Cancelling it loses nothing.
async fn finished_survey(surveying: &mut Option<JoinHandle<FinishedSurvey>>) -> FinishedSurvey {
    match surveying {
        Some(task) => task.await.expect("surveying does not panic"),
        None => std::future::pending().await,
    }
}
