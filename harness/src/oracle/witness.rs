//! The witness: it reads a stream while the host lives, so that the judge knows its content.
//!
//! The ledger knows an event's content and sequence. Only the server knows the time of storing and
//! the bytes of the headers; after the loss of the host they could not be found out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::print::{Parts, Print};
use super::retention::Retention;
use super::wire::{From, StreamMessage, Wire};
use crate::lab::endpoint::Endpoint;

/// The pause between two looks at a work queue, which does not announce new messages.
const PAUSE: Duration = Duration::from_millis(50);

/// The messages read from a stream.
#[derive(Debug, Default)]
pub struct Seen {
    prints: Mutex<BTreeMap<u64, Print>>,
}

/// A running witness. Dropping it ends it.
#[derive(Debug)]
pub struct Witness {
    task: JoinHandle<()>,
}

impl Seen {
    /// Returns everything that was read, by sequence.
    pub fn prints(&self) -> BTreeMap<u64, Print> {
        self.prints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last sequence that was read.
    pub fn last(&self) -> u64 {
        let prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        prints.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Forgets the messages after `seq`: they were lost with the host.
    pub fn rewind(&self, seq: u64) {
        let mut prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        prints.split_off(&seq.saturating_add(1));
    }

    fn add(&self, print: Print) {
        let mut prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        prints.insert(print.seq, print);
    }
}

impl Witness {
    /// Begins to read after the messages seen already, and goes on until it is dropped.
    pub fn start(nats: Endpoint, stream: String, seed: u64, notes: Arc<Seen>) -> Self {
        let task = tokio::spawn(async move {
            loop {
                // The server may be away for a while; the witness waits for it to come back.
                // An error is the end of a connection; the next one goes on.
                drop(follow(&nats, &stream, seed, &notes).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { task }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(nats: &Endpoint, stream: &str, seed: u64, notes: &Seen) -> std::io::Result<()> {
    let mut wire = Wire::connect(nats).await?;
    let info = wire.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
    if !Retention::of(&info["config"]).is_work_queue() {
        let mut reader = wire.read(stream, From::Sequence(notes.last() + 1)).await?;
        loop {
            notes.add(print_of(seed, &reader.next().await?));
        }
    }
    // It sees the messages that are left when it looks.
    loop {
        match wire.message_from(stream, notes.last() + 1).await? {
            Some(message) => notes.add(print_of(seed, &message)),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Returns the print of a message of a stream.
pub(crate) fn print_of(seed: u64, message: &StreamMessage) -> Print {
    let delivery = &message.delivery;
    let parts = Parts {
        subject: &delivery.subject,
        headers: &delivery.headers,
        payload: &delivery.payload,
    };
    Print::of(seed, message.seq, message.time, &parts)
}
