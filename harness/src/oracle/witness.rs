//! The witness: it reads a stream while the host lives, so that the judge knows what was there.
//!
//! The ledger knows an event's content and sequence. When the server stored it, and with which bytes
//! for headers, only the server knows; after the host is lost nobody could say any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::print::{Parts, Print};
use super::wire::{From, Reader, StreamMessage, Wire};
use crate::lab::endpoint::Endpoint;

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
                if let Ok(reader) = open(&nats, &stream, notes.last() + 1).await {
                    follow(reader, seed, &notes).await;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
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

async fn open(nats: &Endpoint, stream: &str, from: u64) -> std::io::Result<Reader> {
    Wire::connect(nats).await?.read(stream, From::Sequence(from)).await
}

async fn follow(mut reader: Reader, seed: u64, notes: &Seen) {
    while let Ok(message) = reader.next().await {
        notes.add(print_of(seed, &message));
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
