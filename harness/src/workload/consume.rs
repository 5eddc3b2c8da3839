//! Durable consumers that acknowledge all, some or none of their messages.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::StreamExt as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::member;
use super::publish::{HostAt, connect};
use crate::error::Result;
use crate::lab::process::{Launcher, Process, Spec};
use crate::scenario::{Acks, ConsumerSpec};

/// The number of acks after which a consumer with `acks = "some"` leaves out every second one.
const ALL_UNTIL: u64 = 500;
/// A batch without a message for this long has ended.
const SILENT: Duration = Duration::from_secs(5);

/// The messages that a consumer of the lab has acknowledged, over all of the host's lives.
#[derive(Debug, Default)]
pub struct ConsumerLog {
    inner: Mutex<Acked>,
}

#[derive(Debug, Default)]
struct Acked {
    received: u64,
    /// The last sequence that was received.
    last: u64,
    /// Received and not acknowledged.
    left_out: BTreeSet<u64>,
    /// A bit for each acknowledged sequence: a reader that dies loses its batch, and the next one
    /// begins after it.
    single: Vec<u64>,
}

/// A running consumer. Dropping it ends it.
#[derive(Debug)]
pub enum Consumption {
    /// One reader.
    Alone(JoinHandle<()>),
    /// Members, each a process.
    Group(Vec<Worker>),
}

/// A running member of a group.
#[derive(Debug)]
pub struct Worker {
    /// Its number in the group, from 1.
    pub number: u32,
    /// Its process.
    pub process: Process,
}

impl ConsumerLog {
    /// Returns the last sequence up to which the lab acknowledged every message. The server may
    /// know less, never more.
    pub fn floor(&self) -> u64 {
        let acked = self.lock();
        acked.left_out.first().map_or(acked.last, |seq| seq - 1)
    }

    /// Reports whether the lab counts a message as acknowledged.
    pub fn acked(&self, seq: u64) -> bool {
        let acked = self.lock();
        seq <= acked.last && !acked.left_out.contains(&seq)
    }

    /// Reports whether the lab has received and acknowledged this very message.
    pub fn has_acked(&self, seq: u64) -> bool {
        let (word, bit) = place(seq);
        self.lock().single.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// Returns the number of received messages, repeated ones included.
    pub fn received(&self) -> u64 {
        self.lock().received
    }

    /// Forgets the messages after `seq`, where the stream continues after the loss of the host.
    pub fn rewind(&self, seq: u64) {
        let mut acked = self.lock();
        acked.last = acked.last.min(seq);
        acked.left_out.split_off(&seq.saturating_add(1));
        let (word, bit) = place(seq.saturating_add(1));
        acked.single.truncate(word.saturating_add(1));
        if let Some(bits) = acked.single.get_mut(word) {
            *bits &= bit - 1;
        }
    }

    /// Decides whether to acknowledge a message; if so it counts as acknowledged from here on.
    fn wants(&self, acks: Acks, seq: u64) -> bool {
        let mut acked = self.lock();
        acked.received += 1;
        acked.last = acked.last.max(seq);
        let wanted =
            acks == Acks::All || acked.received <= ALL_UNTIL || acked.received.is_multiple_of(2);
        if wanted {
            acked.left_out.remove(&seq);
            let (word, bit) = place(seq);
            if acked.single.len() <= word {
                acked.single.resize(word + 1, 0);
            }
            acked.single[word] |= bit;
        } else {
            acked.left_out.insert(seq);
        }
        wanted
    }

    fn lock(&self) -> MutexGuard<'_, Acked> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the word and the bit of a sequence.
fn place(seq: u64) -> (usize, u64) {
    (usize::try_from(seq / 64).unwrap_or(usize::MAX), 1 << (seq % 64))
}

impl Consumption {
    /// Starts to read; the durable consumer exists already.
    pub fn start(spec: &ConsumerSpec, host: HostAt, log: Arc<ConsumerLog>) -> Self {
        Self::Alone(tokio::spawn(consume(spec.clone(), host, log)))
    }
}

impl Worker {
    /// Starts a member that writes its notes to a file; the durable consumer exists already.
    pub async fn start(
        launcher: &Launcher,
        spec: &ConsumerSpec,
        number: u32,
        host: &HostAt,
        seed: u64,
        notes: &Path,
    ) -> Result<Self> {
        let name = notes.file_stem().unwrap_or_default().to_string_lossy();
        let mut member = Spec::new(name, launcher.harness());
        member.args =
            ["member", "--stream", spec.stream.as_str(), "--consumer", spec.name.as_str()]
                .map(Into::into)
                .into();
        member = member.arg("--seed").arg(seed.to_string()).env(member::URL, &host.nats.url);
        if let Some(seed) = host.nats.seed() {
            member = member.env(member::NKEY, seed);
        }
        member.out = Some(notes.to_owned());
        Ok(Self { number, process: launcher.start(member).await? })
    }
}

impl Drop for Consumption {
    fn drop(&mut self) {
        if let Self::Alone(task) = self {
            task.abort();
        }
    }
}

async fn consume(spec: ConsumerSpec, host: HostAt, log: Arc<ConsumerLog>) {
    if spec.acks == Acks::None {
        return;
    }
    let Some(client) = connect(&host).await else { return };
    let context = jetstream::new(client);
    loop {
        let consumer: Result<PullConsumer, _> =
            context.get_consumer_from_stream(spec.name.as_str(), spec.stream.as_str()).await;
        let messages = match consumer {
            Ok(consumer) => {
                consumer.fetch().max_messages(500).max_bytes(1 << 20).messages().await.ok()
            }
            Err(_) => None,
        };
        let Some(mut messages) = messages else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut got = false;
        // A server that was killed in the middle of a batch never ends it.
        while let Ok(Some(Ok(message))) = timeout(SILENT, messages.next()).await {
            got = true;
            let Ok(seq) = message.info().map(|info| info.stream_sequence) else { continue };
            let wanted = log.wants(spec.acks, seq);
            if wanted && message.ack().await.is_err() {
                break;
            }
        }
        if !got {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_took_with_it_is_not_acknowledged() {
        let log = ConsumerLog::default();
        for seq in [1, 2, 63, 64, 65, 130] {
            log.wants(Acks::All, seq);
        }
        let acked = |last| (1..=last).filter(|seq| log.has_acked(*seq)).collect::<Vec<_>>();
        assert_eq!(acked(200), [1, 2, 63, 64, 65, 130]);
        assert!(log.acked(100), "it is below the last one that was received");
        log.rewind(64);
        assert_eq!(acked(200), [1, 2, 63, 64]);
        log.rewind(u64::MAX);
        assert_eq!(acked(200), [1, 2, 63, 64]);
    }

    #[test]
    fn the_floor_is_below_the_first_message_that_was_left_out() {
        let log = ConsumerLog::default();
        for seq in 1..=ALL_UNTIL + 4 {
            log.wants(Acks::Some, seq);
        }
        assert_eq!(log.floor(), ALL_UNTIL);
        // It comes again and is acknowledged this time.
        log.wants(Acks::Some, ALL_UNTIL + 3);
        log.wants(Acks::Some, ALL_UNTIL + 1);
        assert_eq!(log.floor(), ALL_UNTIL + 2);
        log.rewind(100);
        assert_eq!(log.floor(), 100);
    }
}
