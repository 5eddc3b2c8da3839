//! Sending a snapshot: many chunks in flight, each answered.

use std::time::{Duration, Instant};

use async_nats::Subscriber;
use bytes::Bytes;
use cim_runtime::retry::Backoff;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::error::SendError;
use super::frame::PADDING;
use super::plan::Plan;
use crate::hooks::fail_point;
use crate::jetstream::{ApiError, JetStream};

/// Chunks that are sent and not answered: 4 MiB, which fills 20 ms of 200 MiB/s.
const IN_FLIGHT: usize = 32;
/// The server gives up a restore to which nothing comes for 5 s. Where S3 is slow it gets padding this often.
const QUIET: Duration = Duration::from_secs(1);
/// The server answers a chunk when it has consumed it.
const ANSWER: Duration = Duration::from_secs(30);
/// The first chunk is sent again for so long: in a cluster the server that takes the restore may say where it listens
/// before the one that this is connected to knows of it. After 5 s it gives up.
const UNHEARD: Duration = Duration::from_millis(4500);
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(20), most: Duration::from_millis(500) };

/// Returns how long the server may take for the last answer. It reads all of a stream before that, says
/// nothing meanwhile, and may have a slow disk: ten minutes, and a second for every 8 MiB.
fn recovery(bytes: u64) -> Duration {
    Duration::from_secs(600 + bytes / (8 << 20))
}

impl SendError {
    /// Returns true if no server took what was sent.
    fn is_unheard(&self) -> bool {
        matches!(self, Self::Api(ApiError::Refused { code: 503, err_code: 0, .. }))
    }
}

/// A restore that the server has begun.
pub(super) struct Transfer<'a> {
    jetstream: &'a JetStream,
    stream: String,
    subject: String,
    inbox: String,
    answers: Subscriber,
    in_flight: usize,
    begun: Instant,
    /// True if a chunk arrived.
    heard: bool,
}

impl<'a> Transfer<'a> {
    /// Asks the server to begin. It refuses when the stream exists.
    pub(super) async fn begin(jetstream: &'a JetStream, plan: &Plan) -> Result<Self, SendError> {
        #[derive(Deserialize)]
        struct Begun {
            deliver_subject: String,
        }
        let publish = |error: &dyn std::fmt::Display| SendError::Publish(error.to_string());
        let client = jetstream.client();
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await.map_err(|e| publish(&e))?;
        let request = json!({
            "config": plan.config,
            "state": {
                "messages": plan.messages(),
                "bytes": plan.bytes(),
                "first_seq": plan.first_seq,
                "last_seq": plan.end(),
            },
        });
        let what = format!("STREAM.RESTORE.{}", plan.target);
        let begun: Begun = jetstream.request(&what, &request).await?;
        let (stream, subject) = (plan.target.to_string(), begun.deliver_subject);
        fail_point!(RestoreBegun);
        let (begun, in_flight, heard) = (Instant::now(), 0, false);
        Ok(Self { jetstream, stream, subject, inbox, answers, in_flight, begun, heard })
    }

    /// Returns the time at which the server accepted.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Sends every chunk as it comes.
    pub(super) async fn send(
        &mut self,
        first: Bytes,
        chunks: &mut mpsc::Receiver<Bytes>,
    ) -> Result<(), SendError> {
        let mut next = Some(first);
        while let Some(chunk) = next {
            while self.in_flight >= IN_FLIGHT {
                self.answer().await?;
            }
            self.deliver(chunk).await?;
            fail_point!(RestoreMidway);
            let waited = tokio::time::timeout(QUIET, chunks.recv()).await;
            next = if let Ok(next) = waited {
                next
            } else {
                // Where the server has refused, more padding would not learn of it for long.
                self.all_answers().await?;
                Some(PADDING)
            };
        }
        self.all_answers().await
    }

    /// Sends a chunk: the first one until it arrives, alone, for a later one must not arrive before it.
    async fn deliver(&mut self, chunk: Bytes) -> Result<(), SendError> {
        let mut tries = 0;
        while !self.heard {
            self.publish(chunk.clone()).await?;
            self.in_flight = 1;
            match self.answer().await {
                Err(error) if error.is_unheard() && self.begun.elapsed() < UNHEARD => {
                    tries += 1;
                    tokio::time::sleep(PAUSES.after(tries)).await;
                }
                answer => {
                    self.heard = true;
                    return answer;
                }
            }
        }
        self.publish(chunk).await?;
        self.in_flight += 1;
        Ok(())
    }

    async fn all_answers(&mut self) -> Result<(), SendError> {
        while self.in_flight > 0 {
            self.answer().await?;
        }
        Ok(())
    }

    /// Says that this was all, and waits for the stream, which has so many bytes.
    pub(super) async fn finish(mut self, bytes: u64) -> Result<Value, SendError> {
        self.publish(Bytes::new()).await?;
        let answer = self.receive(recovery(bytes)).await?;
        Ok(JetStream::read(&self.subject, &answer)?)
    }

    /// Makes the server forget what was sent: bytes that are no snapshot. Its answer is an error, and wanted. Where it
    /// had the whole snapshot before them it has restored the stream: then its answer is returned.
    ///
    /// # Errors
    /// When it does not say that it has: it will forget the restore by itself, some time.
    pub(super) async fn abort(mut self) -> Result<Option<Value>, SendError> {
        match self.deliver(Bytes::from_static(b"this restore was given up")).await {
            Ok(()) => self.publish(Bytes::new()).await?,
            // It has failed there before.
            Err(SendError::Api(_)) => return Ok(None),
            Err(silent) => return Err(silent),
        }
        // Chunks on their way are answered first, with nothing. The server is done with the stream
        // only when it says that it failed; deleting a part of it before that would be in vain.
        loop {
            match self.receive(ANSWER).await {
                Ok(answer) if answer.is_empty() => {}
                Ok(answer) => return Ok(JetStream::read(&self.subject, &answer).ok()),
                // It has failed there before.
                Err(SendError::Api(_)) => return Ok(None),
                Err(silent) => return Err(silent),
            }
        }
    }

    async fn publish(&self, chunk: Bytes) -> Result<(), SendError> {
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        let sent = self.jetstream.client().publish_with_reply(subject, inbox, chunk).await;
        sent.map_err(|error| SendError::Publish(error.to_string()))
    }

    /// Waits for the answer to one chunk: empty, or an error.
    async fn answer(&mut self) -> Result<(), SendError> {
        let answer = self.receive(ANSWER).await?;
        self.in_flight -= 1;
        if !answer.is_empty() {
            let _: Value = JetStream::read(&self.subject, &answer)?;
        }
        Ok(())
    }

    async fn receive(&mut self, after: Duration) -> Result<Bytes, SendError> {
        match tokio::time::timeout(after, self.answers.next()).await {
            Ok(Some(message)) => {
                if message.status.is_some_and(|s| s == async_nats::StatusCode::NO_RESPONDERS) {
                    let (code, err_code) = (503, 0);
                    let description = "the server has given up the restore".into();
                    let subject = self.subject.clone();
                    return Err(ApiError::Refused { subject, code, err_code, description }.into());
                }
                Ok(message.payload)
            }
            _ => Err(SendError::NoResponse { stream: self.stream.clone(), after }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terabyte_may_be_recovered_from_a_slow_disk() {
        assert_eq!(recovery(0), Duration::from_secs(600));
        assert!(recovery(1 << 40) > Duration::from_secs(24 * 3600));
    }
}
