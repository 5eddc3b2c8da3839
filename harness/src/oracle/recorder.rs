//! The recorder: it reads a stream while the host lives, so that the judge knows its content.
//!
//! The ledger knows an event's content and sequence. Only the server knows the time of storing and
//! the bytes of the headers; after the loss of the host they could not be found out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::fingerprint::{Fingerprint, Parts};
use super::retention::Retention;
use super::wire::{From, StreamMessage, Wire};
use crate::lab::endpoint::Endpoint;

/// The pause between two looks at a work queue, which does not announce new messages.
const PAUSE: Duration = Duration::from_millis(50);

/// The messages read from a stream.
#[derive(Debug, Default)]
pub struct Recording {
    fingerprints: Mutex<BTreeMap<u64, Fingerprint>>,
}

/// A running recorder. Dropping it ends it.
#[derive(Debug)]
pub struct StreamRecorder {
    task: JoinHandle<()>,
}

impl Recording {
    /// Returns everything that was read, by sequence.
    pub fn fingerprints(&self) -> BTreeMap<u64, Fingerprint> {
        self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the last sequence that was read.
    pub fn last(&self) -> u64 {
        let fingerprints = self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner);
        fingerprints.last_key_value().map_or(0, |(seq, _)| *seq)
    }

    /// Forgets the messages after `seq`: they were lost with the host.
    pub fn rewind(&self, seq: u64) {
        let mut fingerprints = self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner);
        fingerprints.split_off(&seq.saturating_add(1));
    }

    fn add(&self, fingerprint: Fingerprint) {
        let mut fingerprints = self.fingerprints.lock().unwrap_or_else(PoisonError::into_inner);
        fingerprints.insert(fingerprint.seq, fingerprint);
    }
}

impl StreamRecorder {
    /// Begins to read after the messages seen already, and goes on until it is dropped.
    pub fn start(nats: Endpoint, stream: String, seed: u64, notes: Arc<Recording>) -> Self {
        let task = tokio::spawn(async move {
            loop {
                // The server may be away for a while; the recorder waits for it to come back.
                // An error is the end of a connection; the next one goes on.
                drop(follow(&nats, &stream, seed, &notes).await);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { task }
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    nats: &Endpoint,
    stream: &str,
    seed: u64,
    notes: &Recording,
) -> std::io::Result<()> {
    let mut wire = Wire::connect(nats).await?;
    let info = wire.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await?;
    if !Retention::of(&info["config"]).is_work_queue() {
        let mut reader = wire.read(stream, From::Sequence(notes.last() + 1)).await?;
        loop {
            notes.add(fingerprint_of(seed, &reader.next().await?));
        }
    }
    // It sees the messages that are left when it looks.
    loop {
        match wire.message_from(stream, notes.last() + 1).await? {
            Some(message) => notes.add(fingerprint_of(seed, &message)),
            None => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Returns the fingerprint of a message of a stream.
pub(crate) fn fingerprint_of(seed: u64, message: &StreamMessage) -> Fingerprint {
    let delivery = &message.delivery;
    let parts = Parts {
        subject: &delivery.subject,
        headers: &delivery.headers,
        payload: &delivery.payload,
    };
    Fingerprint::of(seed, message.seq, message.time, &parts)
}
