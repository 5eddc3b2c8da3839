//! The engine: one task that owns the state, follows the log and decides commands one after another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use cim_core::envelope::{Envelope, EventId, NewEvent};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::aggregate::{Aggregate, Changed, Fact, Owed};
use super::done::Done;
use super::folded::{Answer, Folded, Unreadable};
use super::log::{AppendError, Log, LogError, Reader, Record};
use super::metrics::Metrics;
use super::notes::{self, Notes};
use super::points::fail_point;
use super::refusal::{Code, Refusal};
use super::views::Views;
use super::{digest, snapshot};
use crate::error::chain;
use crate::retry::Backoff;

/// A command is tried so long; then its caller is told to send it again.
const PATIENCE: Duration = Duration::from_secs(10);
/// An event that the server has must be delivered in this time; otherwise reading begins anew.
const DELIVERY: Duration = Duration::from_secs(5);

/// A request to the engine.
pub(super) enum Ask<A: Aggregate> {
    Command(Command<A>),
    Query(Box<dyn FnOnce(&A) + Send>),
}

/// A command, and what is known of its place among others.
pub(super) struct Command<A: Aggregate> {
    pub(super) id: EventId,
    pub(super) digest: Option<String>,
    pub(super) correlation: Option<EventId>,
    pub(super) causation: Option<EventId>,
    pub(super) asked: A::Command,
    pub(super) reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// The engine ended for good.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An event cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Reads a log on from a fold, or from its first event when the fold's last event is not in the log (any more).
/// Returns the reader, and the first event behind the fold if it was read already.
async fn resume<A: Aggregate>(
    log: &Log,
    folded: &mut Folded<A>,
) -> Result<(Reader, Option<Record>), LogError> {
    if folded.position > 0 {
        let mut reader = log.read_from(folded.position).await?;
        let first = if reader.is_at_end() { None } else { Some(reader.next().await?) };
        if first.is_some_and(|first| is_last(folded, &first)) {
            return Ok((reader, None));
        }
        tracing::warn!(
            "event {} is not in stream `{}` as it was: it was restored to an earlier point or made anew, and the state is folded from its first event",
            folded.position,
            log.stream()
        );
        *folded = Folded::default();
    }
    Ok((log.read_from(1).await?, None))
}

fn is_last<A: Aggregate>(folded: &Folded<A>, record: &Record) -> bool {
    #[derive(Deserialize)]
    struct Identity {
        id: EventId,
    }
    let id = serde_json::from_slice(&record.payload).ok().map(|Identity { id }| id);
    record.sequence == folded.position && (folded.last.is_none() || id == folded.last)
}

/// Reads all of a log, from `folded` on. `told` hears of each page.
pub(super) async fn read_all<A: Aggregate>(
    log: &Log,
    mut folded: Folded<A>,
    skip: &[u64],
    until: Option<u64>,
    mut told: impl FnMut(u64, u64),
) -> Result<(Folded<A>, Reader, Changed), EngineError> {
    let mut changed = Changed::new();
    let (mut reader, _) = resume(log, &mut folded).await?;
    let mut tries = 0;
    while !reader.is_at_end() {
        match reader.next().await {
            Ok(record) => {
                if until.is_some_and(|until| record.sequence > until) {
                    break;
                }
                folded.take_in(&record, skip, &mut changed)?;
                tries = 0;
                if folded.events.is_multiple_of(50_000) {
                    told(folded.events, record.pending);
                }
            }
            Err(error) => {
                tries += 1;
                tracing::warn!("{}; going on there", chain(&error));
                tokio::time::sleep(Backoff::default().after(tries)).await;
                if tries > 20 {
                    return Err(error.into());
                }
                match resume(log, &mut folded).await {
                    Ok((resumed, _)) => reader = resumed,
                    Err(error) => tracing::warn!("{}", chain(&error)),
                }
            }
        }
    }
    Ok((folded, reader, changed))
}

/// A component at work.
pub(super) struct Engine<A: Aggregate> {
    pub(super) log: Log,
    pub(super) reader: Reader,
    pub(super) folded: Folded<A>,
    pub(super) changed: Changed,
    pub(super) views: Views,
    pub(super) bucket: Store,
    pub(super) notes: Option<Arc<Mutex<Notes>>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) skip: Vec<u64>,
    pub(super) snapshot_every: u64,
    pub(super) snapshot_at: u64,
    pub(super) max_payload: usize,
    pub(super) cancel: CancellationToken,
}

impl<A: Aggregate> Engine<A> {
    /// Works until no one can ask any more, then writes views and snapshot.
    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask<A>>) -> Result<(), EngineError> {
        let mut tick = tokio::time::interval(notes::TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.settle().await?;
        loop {
            self.show();
            tokio::select! {
                record = self.reader.next() => self.took(record).await?,
                ask = asks.recv() => match ask {
                    Some(Ask::Query(query)) => query(&self.folded.state),
                    Some(Ask::Command(command)) => self.handle(command).await?,
                    None => break,
                },
                _ = tick.tick() => self.tick().await?,
            }
            if self.reader.is_at_end() {
                self.settle().await?;
            }
        }
        self.project().await;
        if self.folded.events > self.snapshot_at {
            self.snapshot().await;
        }
        tracing::info!("drained at sequence {}", self.folded.position);
        Ok(())
    }

    async fn took(&mut self, record: Result<Record, LogError>) -> Result<(), EngineError> {
        match record {
            Ok(record) => self.folded.take_in(&record, &self.skip, &mut self.changed)?,
            Err(error) => self.read_anew(&error).await?,
        }
        Ok(())
    }

    async fn read_anew(&mut self, why: &LogError) -> Result<(), EngineError> {
        tracing::warn!("{}; going on there", chain(why));
        let mut tries = 0;
        loop {
            tries += 1;
            if !Backoff::default().wait(tries, &self.cancel).await && tries > 3 {
                return Ok(());
            }
            let before = self.folded.position;
            match resume(&self.log, &mut self.folded).await {
                Ok((reader, _)) => {
                    self.reader = reader;
                    if self.folded.position < before {
                        self.changed.extend(self.folded.state.views());
                        self.start_over().await?;
                    }
                    return Ok(());
                }
                Err(error) => tracing::warn!("{}", chain(&error)),
            }
        }
    }

    /// Reads the whole log after it turned out to be another one.
    async fn start_over(&mut self) -> Result<(), EngineError> {
        let folded = std::mem::take(&mut self.folded);
        let (folded, reader, changed) =
            read_all(&self.log, folded, &self.skip, None, |_, _| {}).await?;
        (self.folded, self.reader) = (folded, reader);
        self.changed.extend(changed);
        if let Err(why) = self.views.compare(&self.folded, &mut self.changed).await {
            tracing::warn!("views cannot be compared: {why}");
        }
        Ok(())
    }

    /// Reads on until the event at `sequence` is part of the state.
    async fn read_to(&mut self, sequence: u64) -> Result<(), EngineError> {
        while self.folded.position < sequence {
            if !self.read_one().await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads one event; `false` when none came in time.
    async fn read_one(&mut self) -> Result<bool, EngineError> {
        if let Ok(record) = timeout(DELIVERY, self.reader.next()).await {
            self.took(record).await?;
            return Ok(true);
        }
        let why = LogError::BrokeOff {
            stream: self.log.stream().into(),
            after: self.folded.position,
            why: "an event that the server has does not come".into(),
        };
        self.read_anew(&why).await?;
        Ok(false)
    }

    async fn handle(&mut self, command: Command<A>) -> Result<(), EngineError> {
        let started = Instant::now();
        let result = self.decided(&command).await?;
        self.metrics.commanded(&result, started.elapsed());
        // A caller that has gone will ask again.
        let _ = command.reply.send(result);
        Ok(())
    }

    async fn decided(
        &mut self,
        command: &Command<A>,
    ) -> Result<Result<Done, Refusal>, EngineError> {
        let until = Instant::now() + PATIENCE;
        let mut tries = 0;
        loop {
            if let Some(answer) = self.folded.answer(command.id) {
                return Ok(same_command(answer, command.digest.as_deref()));
            }
            let fact = match self.folded.state.decide(&command.asked, Timestamp::now()) {
                Ok(Some(fact)) => fact,
                Ok(None) => {
                    let sequence = self.folded.position;
                    return Ok(Ok(Done { changed: false, sequence, event: None }));
                }
                Err(refusal) => return Ok(Err(refusal)),
            };
            let mut event = Envelope::root(command.id, Timestamp::now(), self.event(fact));
            event.correlation_id = command.correlation.or(command.causation).unwrap_or(event.id);
            event.causation_id = command.causation.unwrap_or(event.id);
            fail_point!("append-before");
            match self.append(&event, command.digest.as_deref()).await? {
                Appended::Yes(sequence) => {
                    fail_point!("folded");
                    if self.folded.answer(command.id).is_none() {
                        // The server had it before: its answer is no longer among those that are kept.
                        return Ok(Ok(Done { changed: true, sequence, event: None }));
                    }
                }
                Appended::Conflict => {}
                Appended::Refused(why) => return Ok(Err(unavailable(&why))),
                Appended::Unknown(why) => {
                    tries += 1;
                    let wait = tokio::time::sleep(Backoff::default().after(tries));
                    if timeout_at(until, wait).await.is_err() {
                        return Ok(Err(unavailable(&why)));
                    }
                }
            }
        }
    }

    fn event(&self, fact: Fact) -> NewEvent {
        NewEvent {
            event_type: fact.event_type,
            source: A::COMPONENT,
            aggregate_version: self.folded.next_version(&fact.aggregate_id),
            aggregate_id: fact.aggregate_id,
            schema_version: fact.schema_version,
            content: fact.content,
            payload: fact.payload,
        }
    }

    /// Appends an event and reads it back; or reads what the log has besides.
    async fn append(
        &mut self,
        event: &Envelope,
        digest: Option<&str>,
    ) -> Result<Appended, EngineError> {
        Ok(match self.log.append(event, self.folded.position, digest).await {
            Ok(sequence) => {
                fail_point!("append-after");
                tracing::debug!(
                    event = %event.id,
                    correlation = %event.correlation_id,
                    causation = %event.causation_id,
                    "{} of `{}` is event {sequence}",
                    event.event_type,
                    event.aggregate_id
                );
                self.read_to(sequence).await?;
                Appended::Yes(sequence)
            }
            Err(AppendError::Conflict) => {
                self.metrics.conflicts.inc();
                self.read_one().await?;
                Appended::Conflict
            }
            Err(error @ AppendError::Unknown(_)) => Appended::Unknown(chain(&error)),
            Err(error @ AppendError::Refused(_)) => Appended::Refused(chain(&error)),
        })
    }

    /// Appends what events have left owing, then writes the views.
    async fn settle(&mut self) -> Result<(), EngineError> {
        while let Some(owed) = self.folded.state.owed() {
            let again = owed.clone();
            let mut event = Envelope::root(owed_id(&owed), owed.time, self.event(owed.fact));
            event.correlation_id = owed.correlation;
            event.causation_id = owed.cause;
            fail_point!("owed-before");
            match self.append(&event, None).await? {
                Appended::Yes(sequence) => {
                    fail_point!("owed-after");
                    if self.folded.state.owed().as_ref() == Some(&again) {
                        tracing::error!(
                            "event {sequence} is in the log and owed all the same: this is a bug of the fold"
                        );
                        return Ok(());
                    }
                }
                Appended::Conflict => {}
                // The next tick tries again.
                Appended::Unknown(why) | Appended::Refused(why) => {
                    tracing::warn!("{} is owed and not appended: {why}", event.event_type);
                    return Ok(());
                }
            }
        }
        self.project().await;
        Ok(())
    }

    async fn project(&mut self) {
        if self.changed.is_empty() && self.views.position == self.folded.position {
            return;
        }
        if let Err(why) = self.views.write(&self.folded, &mut self.changed).await {
            tracing::warn!(
                "views of {} are behind at {}: {why}; trying again",
                A::NAME,
                self.views.position
            );
        }
    }

    async fn tick(&mut self) -> Result<(), EngineError> {
        let due = self.notes.as_ref().map(|notes| {
            let notes = notes::lock(notes);
            let since = notes.since?;
            Some(self.folded.state.due(&notes.times, since, Timestamp::now()))
        });
        for asked in due.flatten().unwrap_or_default() {
            let (reply, _) = oneshot::channel();
            let id = EventId::now();
            let command =
                Command { id, digest: None, correlation: None, causation: None, asked, reply };
            self.handle(command).await?;
        }
        if self.folded.events >= self.snapshot_at + self.snapshot_every {
            self.snapshot().await;
        }
        Ok(())
    }

    async fn snapshot(&mut self) {
        fail_point!("snapshot-before");
        self.snapshot_at = self.folded.events;
        match snapshot::save(&self.bucket, &self.folded, self.max_payload).await {
            Ok(_) => {
                self.metrics.snapshot.set(i64::try_from(self.folded.position).unwrap_or(0));
            }
            Err(why) => tracing::warn!("a snapshot cannot be written: {why}"),
        }
    }

    fn show(&self) {
        let unknown = self.folded.unknown.values().map(|unknown| unknown.count).sum();
        self.metrics.show(
            self.folded.position,
            self.reader.pending(),
            self.views.position,
            unknown,
        );
        self.metrics.set_connected(self.log.is_connected());
    }
}

enum Appended {
    Yes(u64),
    Conflict,
    Unknown(String),
    Refused(String),
}

fn unavailable(why: &str) -> Refusal {
    Refusal::new(
        Code::UNAVAILABLE,
        format!("the event could not be appended: {why}"),
        "send the same command again, with the same id: it has one effect",
    )
}

fn same_command(answer: &Answer, digest: Option<&str>) -> Result<Done, Refusal> {
    match (&answer.command, digest) {
        (Some(then), Some(now)) if then != now => Err(Refusal::new(
            Code::REUSED,
            format!("the id `{}` is that of another command, event {}", answer.id, answer.sequence),
            "give each command an id of its own",
        )),
        _ => Ok(answer.into()),
    }
}

/// Returns the id of an owed event: the same whichever process appends it, and whenever.
fn owed_id(owed: &Owed) -> EventId {
    let name = (owed.cause, owed.fact.event_type.as_str(), owed.fact.aggregate_id.as_str());
    let hash = Sha256::digest(digest::digest(&(name, owed.fact.payload.get())));
    let mut random = [0; 10];
    random.copy_from_slice(&hash[..10]);
    EventId::from_parts(u64::try_from(owed.time.as_millisecond()).unwrap_or(0), &random)
}
