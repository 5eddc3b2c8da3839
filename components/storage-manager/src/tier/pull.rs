//! Reading through a consumer: every retention but work-queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::budget::{Reserved, cost};
use super::holes::Holes;
use super::reader::{ReaderError, Task};
use super::segmenter::Segmenter;
use crate::jetstream::{Depth, ReadConsumer};
use crate::wire::{Connection, Puller, Pumped, WireError};

/// Smallest and largest pull, in bytes: idle streams must not eat the budget, busy ones want few requests.
const SMALL: usize = 256 << 10;
const LARGE: usize = 8 << 20;
/// How long a pull stays open on the server.
const EXPIRES: u64 = 5;
/// With a pull open the server says something every second. One of a cluster that is lost takes the
/// consumer with it, and nobody else says so.
const SILENCE: Duration = Duration::from_secs(6);
/// Pulls open at once: the next one is there before the last is served.
const OPEN: usize = 2;
/// Room for what the server counts besides a message's bytes.
const MARGIN: usize = 64 << 10;

pub(super) async fn run(task: &Task, mut segmenter: Segmenter) -> Result<(), ReaderError> {
    let stream = task.stream.as_str();
    let consumer = consumer(task).await?;
    if let Some(server) = consumer.server.filter(|_| task.replicated) {
        let (context, stream) = (Arc::clone(&task.context), task.stream.clone());
        segmenter.check(Holes::new(context, stream, server, task.start_seq));
    }
    let consumer = consumer.name;
    let nats = &task.context.config.nats;
    let connection = Connection::open(nats).await?;
    let puller = Puller::start(connection, &nats.inbox_prefix, stream, &consumer).await?;
    let size = SMALL.max(puller.max_payload().min(LARGE));
    let mut pull =
        Pull { task, puller, size, idle_size: size, reserved: None, heard: Instant::now() };
    let outcome = pull.read(&mut segmenter).await;
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

/// The consumer to read through: in a cluster not on the stream's leader where another server will do,
/// so that two have to agree on what is gone.
async fn consumer(task: &Task) -> Result<ReadConsumer, ReaderError> {
    let (jetstream, stream) = (&task.context.jetstream, task.stream.as_str());
    if task.replicated {
        let others = jetstream.stream_info(stream, false).await?.servers.current;
        let made = jetstream.create_reader_on(&others, stream, task.start_seq, Depth::Whole);
        if let Some(made) = made.await? {
            return Ok(made);
        }
    }
    Ok(jetstream.create_reader(stream, task.start_seq, Depth::Whole).await?)
}

struct Pull<'a> {
    task: &'a Task,
    puller: Puller,
    size: usize,
    idle_size: usize,
    reserved: Option<Reserved>,
    heard: Instant,
}

impl Pull<'_> {
    async fn read(&mut self, segmenter: &mut Segmenter) -> Result<(), ReaderError> {
        let age = self.task.context.config.segment.flush_age;
        let budget = self.task.context.budget.clone();
        loop {
            while self.puller.open_requests() < OPEN && self.make_room() {
                self.heard = Instant::now();
                self.puller.request(1 << 16, self.size, EXPIRES).await?;
            }
            let open = self.puller.open_requests() > 0;
            if !open {
                // Who holds a part while waiting for the rest can wait for ever, for another who does.
                self.reserved = None;
            }
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
                reserved = budget.reserve(self.size), if !open => self.add(reserved),
                () = tokio::time::sleep_until(self.heard + SILENCE), if open => {
                    let why = format!("NATS said nothing for {} s", SILENCE.as_secs());
                    return Err(WireError::Restart { stream: self.task.stream.to_string(), why }.into());
                }
                pumped = pump(&mut self.puller, &mut self.reserved, segmenter), if open => {
                    self.adapt(pumped?);
                    segmenter.step().await?;
                    self.heard = Instant::now();
                }
            }
        }
    }

    /// Whether one more pull's bytes are reserved.
    fn make_room(&mut self) -> bool {
        let budget = &self.task.context.budget;
        let have = self.reserved.as_ref().map_or(0, Reserved::bytes);
        // What open pulls may still bring is reserved already.
        let want = (self.size * (self.puller.open_requests() + 1)).min(budget.limit());
        if have >= want {
            return true;
        }
        let more = budget.try_reserve(want - have);
        let enough = more.is_some();
        if let Some(more) = more {
            self.add(more);
        }
        enough
    }

    fn add(&mut self, more: Reserved) {
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
    }

    /// Asks for more at once while much comes, for little while nothing does.
    fn adapt(&mut self, pumped: Pumped) {
        // A quarter of the budget, so that no stream has all of it; but the largest message must fit.
        let fair = LARGE.min(self.task.context.budget.limit() / 4);
        let limit = fair.max(self.puller.max_payload() + MARGIN);
        if pumped.too_small > 0 || pumped.messages > 256 {
            self.size = (self.size * 4).min(limit);
        } else if pumped.ended > 0 && pumped.messages == 0 {
            self.size = self.idle_size;
            self.reserved = None;
        }
    }
}

async fn pump(
    puller: &mut Puller,
    reserved: &mut Option<Reserved>,
    segmenter: &mut Segmenter,
) -> Result<Pumped, WireError> {
    puller
        .pump(|message| {
            let taken = reserved.as_mut().and_then(|r| r.take(cost(&message)));
            segmenter.push(message, taken);
        })
        .await
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
