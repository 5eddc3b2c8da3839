//! Reading through a consumer: every retention but work-queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Task;
use crate::jetstream::{ApiError, ReadConsumer};
use crate::tier::budget::{Reserved, Room, cost_of};
use crate::tier::error::ReaderError;
use crate::tier::pace::Pace;
use crate::tier::read_gaps::ReadGaps;
use crate::tier::segmenter::Segmenter;
use crate::wire::{Mail, Puller, WireError};

/// The interval at which a server says that it is there, at rest. One that is lost takes its connections with it; one
/// of a cluster takes the consumer with it, and no other server says so.
const HEARTBEAT: Duration = Duration::from_mins(1);
const HEARTBEAT_IN_CLUSTERS: Duration = Duration::from_secs(3);

/// The first server whose consumers leave out nothing that is there when a part of the stream is purged.
const SKIPS_NOTHING: (u64, u64, u64) = (2, 10, 0);

pub(super) async fn run(
    task: &Task,
    consumer: ReadConsumer,
    mut segmenter: Segmenter,
) -> Result<(), ReaderError> {
    let stream = task.stream.as_str();
    let heartbeat = if consumer.clustered { HEARTBEAT_IN_CLUSTERS } else { HEARTBEAT };
    let server = consumer.server.filter(|_| task.replicated);
    if server.is_some() || task.context.jetstream.server_version() < SKIPS_NOTHING {
        let (context, stream) = (Arc::clone(&task.context), task.stream.clone());
        segmenter.check(ReadGaps::new(context, stream, server, task.start_seq));
    }
    let (consumer, clustered) = (consumer.name, consumer.clustered);
    let mut puller = Puller::start(&task.context.link, stream, &consumer, task.start_seq).await?;
    if clustered {
        puller.wait_until_known().await?;
    }
    let budget = task.context.budget.limit();
    let pace = Pace::new(puller.max_payload(), budget, heartbeat);
    task.progress.update(|read| read.consumer = Some((consumer.clone(), 0)));
    let mut pull =
        ConsumerReader { task, puller, pace, room: None, letter: None, heard: Instant::now() };
    let mut outcome = pull.read(&mut segmenter).await;
    if outcome.is_err() {
        outcome = segmenter.leave().await.map_err(ReaderError::from).and(outcome);
    }
    // It would end by itself in a minute; until then it would be in every list of consumers.
    let (jetstream, stream) = (task.context.jetstream.clone(), stream.to_owned());
    let tidy = async move {
        if let Err(error) = jetstream.delete_consumer(&stream, &consumer).await {
            tracing::debug!(stream, "reader `{consumer}` was left to expire: {error}");
        }
    };
    if outcome.is_ok() {
        tidy.await;
    } else {
        // A server that was just lost may not answer for long; the next session need not wait for it.
        tokio::spawn(tidy);
    }
    outcome
}

/// Creates the consumer to read through: in a cluster on another server than the stream's leader where one will do,
/// so that two servers have to agree on what is gone.
pub(super) async fn open(task: &Task) -> Result<ReadConsumer, ApiError> {
    let (jetstream, stream) = (&task.context.jetstream, task.stream.as_str());
    if task.replicated {
        let others = jetstream.stream_info(stream, false).await?.cluster.current;
        let made = jetstream.create_reader_on(&others, stream, task.start_seq, false);
        if let Some(made) = made.await? {
            return Ok(made);
        }
    }
    jetstream.create_reader(stream, task.start_seq, false).await
}

struct ConsumerReader<'a> {
    task: &'a Task,
    puller: Puller,
    pace: Pace,
    /// For what open requests may bring.
    room: Option<Room>,
    /// Came, and waits for the budget.
    letter: Option<Mail>,
    heard: Instant,
}

impl ConsumerReader<'_> {
    async fn read(&mut self, segmenter: &mut Segmenter) -> Result<(), ReaderError> {
        let age = self.task.context.config.segment.flush_age;
        let budget = self.task.context.budget.clone();
        loop {
            if self.letter.is_none() {
                self.ask()?;
            }
            let open = self.puller.open_requests() > 0;
            if !open || self.letter.is_some() {
                // Who holds a part while waiting for the rest can wait for ever, for another who does.
                self.room = None;
            }
            let owed = self.letter.as_ref().map(|mail| cost_of(mail.messages(), mail.bytes()));
            let wanted = self.pace.reserve().filter(|_| !open && owed.is_none());
            let deadline = segmenter.deadline(age);
            tokio::select! {
                biased;
                () = self.task.stop.cancelled() => {
                    segmenter.flush().await?;
                    return Ok(());
                }
                () = until(deadline) => {
                    segmenter.flush().await?;
                    self.heard = Instant::now();
                }
                paid = budget.reserve(owed.unwrap_or_default()), if owed.is_some() => {
                    let mail = self.letter.take().expect("it is owed for");
                    self.take_in(&mail, Some(paid), segmenter).await?;
                }
                room = budget.make_room(wanted.unwrap_or_default()), if wanted.is_some() => self.add(room),
                () = tokio::time::sleep_until(self.heard + self.pace.silence()), if open && owed.is_none() => {
                    let why = format!("NATS said nothing for {} s", self.pace.silence().as_secs());
                    return Err(WireError::Restart { stream: self.task.stream.to_string(), why }.into());
                }
                mail = self.puller.receive(), if owed.is_none() => {
                    let mail = mail?;
                    match self.pay(&mail) {
                        Some(paid) => self.take_in(&mail, Some(paid), segmenter).await?,
                        None => self.letter = Some(mail),
                    }
                }
            }
        }
    }

    /// Asks for what may be open, as far as there is room for it.
    fn ask(&mut self) -> Result<(), WireError> {
        if self.pace.reserve().is_none() && self.puller.open_requests() == 0 {
            // The next request is one at rest, which is open for minutes: others want the room.
            self.room = None;
        }
        while self.puller.open_requests() < self.pace.open() && self.has_room() {
            self.heard = Instant::now();
            self.pace.share(self.puller.readers());
            self.puller.request(&self.pace.ask())?;
        }
        Ok(())
    }

    /// Returns true if one more request's bytes are reserved, or need not be.
    fn has_room(&mut self) -> bool {
        let Some(size) = self.pace.reserve() else { return true };
        let budget = &self.task.context.budget;
        let have = self.room.as_ref().map_or(0, Room::bytes);
        // What open requests may still bring is reserved already.
        let want = budget.largest_room().min(size * (self.puller.open_requests() + 1));
        if have >= want {
            return true;
        }
        match budget.try_make_room(want - have) {
            Some(more) => {
                self.add(more);
                true
            }
            None => false,
        }
    }

    fn add(&mut self, more: Room) {
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
    }

    /// Pays for a letter, out of its reservation first and out of the free budget for the rest.
    fn pay(&mut self, mail: &Mail) -> Option<Reserved> {
        let cost = cost_of(mail.messages(), mail.bytes());
        let paid = self.room.as_mut().and_then(|room| room.take(cost));
        let rest = cost - paid.as_ref().map_or(0, Reserved::bytes).min(cost);
        if rest == 0 {
            return paid;
        }
        let mut more = self.task.context.budget.try_reserve(rest)?;
        if let Some(paid) = paid {
            more.merge(paid);
        }
        Some(more)
    }

    async fn take_in(
        &mut self,
        mail: &Mail,
        mut paid: Option<Reserved>,
        segmenter: &mut Segmenter,
    ) -> Result<(), ReaderError> {
        let outcome =
            self.puller.for_each_message(mail, |message| segmenter.push(message, paid.take()))?;
        let (seq, count) = (self.puller.last_seq(), self.puller.delivered());
        self.task.progress.update(|read| {
            read.seq = seq;
            if let Some((_, delivered)) = &mut read.consumer {
                *delivered = count;
            }
        });
        outcome.ended.into_iter().for_each(|end| self.pace.ended(end));
        segmenter.step().await?;
        self.heard = Instant::now();
        Ok(())
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
