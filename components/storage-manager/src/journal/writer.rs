//! Gathers what streams have to say and commits it, entry after entry.

use std::sync::Arc;
use std::time::Duration;

use cim_runtime::error::chain;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry_task::{EntryTask, Put};
use super::gathered::{Gathered, Waiting};
use super::shared_state::{Asked, Shared};
use crate::chain::Log;
use crate::s3::Store;

/// Bytes of messages that are worth an object, however young they are.
const WORTH: usize = 2 << 20;

/// The interval at which it is asked whether the log is to be looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The outcome of verifying the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    There,
    /// It is another one, and the journal is closed.
    Lost,
    /// The NAS did not say.
    Unknown,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<Store>,
    pub(super) name: Arc<str>,
    pub(super) by: Arc<str>,
    pub(super) room: usize,
    pub(super) abort: CancellationToken,
    pub(super) receiver: mpsc::Receiver<Waiting>,
    pub(super) asked: mpsc::Receiver<Asked>,
    /// `None` while an entry is on its way.
    pub(super) log: Option<Log>,
    pub(super) gathered: Gathered,
    pub(super) committing: Option<JoinHandle<Put>>,
}

impl Writer {
    pub(super) async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        loop {
            let idle = self.committing.is_none();
            if !open && idle && self.gathered.replies.is_empty() {
                break;
            }
            let due = self.gathered.due.filter(|_| idle);
            let room = self.gathered.bytes < self.room;
            let wait = open && self.gathered.bytes < WORTH.min(self.room);
            let due = if wait { due } else { due.map(|_| Instant::now()) };
            tokio::select! {
                waiting = self.receiver.recv(), if open && room => match waiting {
                    Some(waiting) => self.gathered.take_in(waiting),
                    None => open = false,
                },
                () = until(due) => self.put(),
                put = join(&mut self.committing) => if !self.settle(put) { return },
                Some(asked) = self.asked.recv(), if open && idle => {
                    match self.look_now().await {
                        Looked::There => asked.send(()).unwrap_or_default(),
                        Looked::Unknown => drop(asked),
                        Looked::Lost => return,
                    }
                }
                _ = looks.tick(), if idle => {
                    if self.verification_due() && self.look_now().await == Looked::Lost {
                        return;
                    }
                }
            }
        }
        // The last entry may have gone to a bucket that was replaced just then.
        if self.log.as_ref().is_some_and(Log::has_unverified) {
            self.look_now().await;
        }
        self.shared.close("all is committed");
    }

    fn put(&mut self) {
        let Some(log) = self.log.take() else { return };
        let gathered = std::mem::take(&mut self.gathered);
        *self.shared.busy() = Some(Instant::now());
        let entry = EntryTask {
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
            name: Arc::clone(&self.name),
            writer: Arc::clone(&self.by),
            abort: self.abort.clone(),
        };
        self.committing = Some(tokio::spawn(entry.run(log, gathered)));
    }

    /// Takes in that an entry was committed, or was not; false when that is the end.
    fn settle(&mut self, put: Put) -> bool {
        self.committing = None;
        *self.shared.busy() = None;
        self.log = Some(put.log);
        let bytes = match put.outcome {
            Ok(bytes) => bytes,
            Err(error) => {
                self.shared.close(&chain(&error));
                return false;
            }
        };
        if let Some(bytes) = bytes {
            self.shared.committed.send_modify(|committed| {
                committed.entries += 1;
                committed.bytes += bytes;
            });
        }
        put.replies.into_iter().for_each(|waiter| waiter.tell(&put.refused));
        true
    }

    fn verification_due(&self) -> bool {
        self.log.as_ref().is_some_and(Log::verification_due)
    }

    async fn look_now(&mut self) -> Looked {
        let Some(log) = &mut self.log else { return Looked::Unknown };
        *self.shared.busy() = Some(Instant::now());
        let looked = self.abort.run_until_cancelled(log.verify_anchor(None)).await;
        *self.shared.busy() = None;
        match looked {
            Some(Ok(Some(lost))) => {
                self.shared.close(&chain(&lost));
                Looked::Lost
            }
            Some(Err(error)) => {
                tracing::warn!(
                    "{}: cannot verify that the archive is still there: {}",
                    self.name,
                    chain(&error)
                );
                Looked::Unknown
            }
            Some(Ok(None)) => Looked::There,
            None => Looked::Unknown,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn join(task: &mut Option<JoinHandle<Put>>) -> Put {
    match task {
        Some(task) => task.await.expect("committing does not panic"),
        None => std::future::pending().await,
    }
}
