//! The witness: it reads a stream while the host lives, so that the judge knows what was there.
//!
//! The ledger knows an event's content and sequence. When the server stored it, and with which bytes
//! for headers, only the server knows; after the host is lost nobody could say any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::print::{Parts, Print};
use super::retention::Retention;
use super::wire::{From, StreamMessage, Wire};
use crate::lab::endpoint::Endpoint;

/// Between two looks, where the server does not say when there is more.
const PAUSE: Duration = Duration::from_millis(50);

/// What was read of a stream.
#[derive(Debug, Default)]
pub struct Seen {
    prints: Mutex<BTreeMap<u64, Print>>,
}

/// A witness at work. Dropping it ends it.
#[derive(Debug)]
pub struct Witness {
    task: JoinHandle<()>,
}

impl Seen {
    /// All that was read, by sequence.
    pub fn prints(&self) -> BTreeMap<u64, Print> {
        self.prints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last sequence that was read.
    pub fn last(&self) -> u64 {
        let prints = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
        prints.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// The host is lost: what was beyond `seq` is no more.
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
    /// Begins to read after what was seen already, and goes on until it is dropped.
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
    // It sees what is still there when it comes by.
    loop {
        match wire.message_from(stream, notes.last() + 1).await? {
            Some(message) => notes.add(print_of(seed, &message)),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The print of a message of a stream.
pub(crate) fn print_of(seed: u64, message: &StreamMessage) -> Print {
    let delivery = &message.delivery;
    let parts = Parts {
        subject: &delivery.subject,
        headers: &delivery.headers,
        payload: &delivery.payload,
    };
    Print::of(seed, message.seq, message.time, &parts)
}
