//! One restore, from checks to the stream being there.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use futures_util::future::maybe_done;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::compare::{compare, shorn};
use super::error::{RestoreError, SendError};
use super::fetch::feed;
use super::outcome::{Outcome, Progress};
use super::plan::Plan;
use super::send::Transfer;
use super::source::Source;
use super::write::write;
use super::{consumers, resolve::resolve};
use crate::jetstream::JetStream;

/// Chunks of a snapshot that wait to be sent: few, which keeps memory flat.
const CHUNKS: usize = 16;
/// More chunks than a snapshot has.
const ALL_CHUNKS: usize = 1 << 24;

/// Restores a stream that was [checked](super::check()). When `stop` is cancelled the server is made to forget what
/// it was sent; once it has everything it is too late for that.
pub async fn restore(
    jetstream: &JetStream,
    source: &Source,
    plan: Plan,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Outcome, RestoreError> {
    if plan.staged {
        let target = plan.target.clone();
        let staged = or_cancelled(stop, &target, stage(source, plan, progress)).await?;
        return staged.send(jetstream, stop).await;
    }
    let (plan, chunks, made) = snapshot(source, plan, progress, CHUNKS).await?;
    send(jetstream, &plan, chunks, made, stop).await
}

/// A snapshot that was made before the server hears of it.
pub(super) struct Staged {
    plan: Arc<Plan>,
    chunks: mpsc::Receiver<Bytes>,
    counts: Outcome,
}

/// Makes the whole snapshot of a stream.
pub(super) async fn stage(
    source: &Source,
    plan: Plan,
    progress: &Arc<Progress>,
) -> Result<Staged, RestoreError> {
    let (plan, chunks, made) = snapshot(source, plan, progress, ALL_CHUNKS).await?;
    Ok(Staged { plan, chunks, counts: made.await? })
}

impl Staged {
    /// Sends it.
    pub(super) async fn send(
        self,
        jetstream: &JetStream,
        stop: &CancellationToken,
    ) -> Result<Outcome, RestoreError> {
        send(jetstream, &self.plan, self.chunks, async { Ok(self.counts) }, stop).await
    }
}

/// Begins a snapshot. So many chunks wait at most until they are taken; what makes them must be awaited meanwhile.
async fn snapshot(
    source: &Source,
    mut plan: Plan,
    progress: &Arc<Progress>,
    waiting: usize,
) -> Result<
    (Arc<Plan>, mpsc::Receiver<Bytes>, impl Future<Output = Result<Outcome, RestoreError>>),
    RestoreError,
> {
    Box::pin(resolve(source, &mut plan)).await?;
    let plan = Arc::new(plan);
    let (sender, chunks) = mpsc::channel(waiting);
    // What is in this one is bounded by its bytes, by the feeder.
    let (segments, incoming) = mpsc::unbounded_channel();
    let (to_write, progress) = (Arc::clone(&plan), Arc::clone(progress));
    let writer = tokio::task::spawn_blocking(move || write(&to_write, incoming, sender, &progress));
    let to_feed = Arc::clone(&plan);
    let made = async move {
        let (fed, written) = tokio::join!(Box::pin(feed(source, &to_feed, segments)), writer);
        let written = written.expect("writing does not panic");
        fed.and(written)
    };
    Ok((plan, chunks, made))
}

/// Sends a snapshot while it is made.
async fn send(
    jetstream: &JetStream,
    plan: &Plan,
    mut chunks: mpsc::Receiver<Bytes>,
    made: impl Future<Output = Result<Outcome, RestoreError>>,
    stop: &CancellationToken,
) -> Result<Outcome, RestoreError> {
    let mut transfer = None;
    let mut made = pin!(maybe_done(made));
    let both = async {
        let send = async {
            let sent = send_chunks(jetstream, plan, &mut transfer, &mut chunks).await;
            // A writer that waits for room must learn that none is made any more.
            chunks.close();
            sent
        };
        let ((), sent) = tokio::join!(made.as_mut(), send);
        sent
    };
    let sent = or_cancelled(stop, &plan.target, both).await;
    // Where it was interrupted the writer is still at work.
    chunks.close();
    // What the server refused explains why the writer was cut off, not the other way round.
    let counts = sent.and_then(|()| made.as_mut().take_output().expect("it was awaited"));
    let counts = match counts {
        Ok(counts) => counts,
        Err(error) => {
            let Some(transfer) = transfer else { return Err(error) };
            let begun = transfer.begun();
            return match transfer.abort().await {
                // It had all of it before it was told.
                Ok(Some(answer)) if matches!(error, RestoreError::Interrupted(_)) => {
                    made.as_mut().await;
                    let counts = made.as_mut().take_output().expect("it was awaited")?;
                    arrived(
                        jetstream,
                        plan,
                        Outcome { sending: begun.elapsed(), ..counts },
                        &answer,
                    )
                    .await
                }
                Ok(_) => {
                    remove_partial(jetstream, plan).await;
                    Err(error)
                }
                // The server may still be at it, and must not be asked to restore another one beside it.
                Err(silent) => {
                    remove_partial(jetstream, plan).await;
                    if !error.is_of_one_stream() {
                        return Err(error);
                    }
                    tracing::warn!("stream `{}` was not restored: {}", plan.target, chain(&error));
                    Err(silent.into())
                }
            };
        }
    };
    let transfer = transfer.expect("a snapshot that was made has chunks");
    let begun = transfer.begun();
    let answer = match transfer.finish(counts.bytes).await {
        Ok(answer) => answer,
        Err(error) => {
            remove_partial(jetstream, plan).await;
            return Err(refused(plan, error));
        }
    };
    arrived(jetstream, plan, Outcome { sending: begun.elapsed(), ..counts }, &answer).await
}

/// Checks the server's answer to a restore, and puts the consumers in place.
async fn arrived(
    jetstream: &JetStream,
    plan: &Plan,
    sent: Outcome,
    answer: &Value,
) -> Result<Outcome, RestoreError> {
    let outcome = compare(plan, sent, answer)?;
    let lost = shorn(&plan.config, &answer["config"]);
    if !lost.is_empty() {
        // Else the storage manager would archive it as it is now. Messages that a client has published into it are not ours.
        let kept = outcome.added > 0;
        if !kept {
            remove(jetstream, plan, "without some of its settings").await;
        }
        let (stream, what) = (plan.target.to_string(), lost.join(", "));
        return Err(RestoreError::Shorn { stream, what, kept });
    }
    consumers::wait_for_consumers(jetstream, plan).await;
    Ok(outcome)
}

/// Sends every chunk as it comes. The server gives up a restore to which nothing comes, from its answer
/// on: it is asked only when there is something to send.
async fn send_chunks<'a>(
    jetstream: &'a JetStream,
    plan: &Plan,
    transfer: &mut Option<Transfer<'a>>,
    chunks: &mut mpsc::Receiver<Bytes>,
) -> Result<(), RestoreError> {
    // Where there is none, making it has failed, and says why.
    let Some(first) = chunks.recv().await else { return Ok(()) };
    let begun = Transfer::begin(jetstream, plan).await.map_err(|error| refused(plan, error))?;
    Ok(transfer.insert(begun).send(first, chunks).await?)
}

/// JetStream's error for replicas where there is no cluster.
const NO_CLUSTER: u64 = 10_074;

/// Converts an error of the server, with the remedy if there is one.
fn refused(plan: &Plan, error: SendError) -> RestoreError {
    match error {
        SendError::Api(error) if error.err_code() == Some(NO_CLUSTER) => {
            RestoreError::Alone(plan.target.to_string())
        }
        other => other.into(),
    }
}

/// Returns the outcome of the work, or that it was interrupted.
async fn or_cancelled<T>(
    stop: &CancellationToken,
    target: &StreamName,
    work: impl Future<Output = Result<T, RestoreError>>,
) -> Result<T, RestoreError> {
    tokio::select! {
        outcome = work => outcome,
        () = stop.cancelled() => Err(RestoreError::Interrupted(target.to_string())),
    }
}

/// Removes a stream that a failed v2 restore left: the server creates it before it has all of it. It did not exist
/// before, so it is ours.
async fn remove_partial(jetstream: &JetStream, plan: &Plan) {
    if plan.in_memory() {
        remove(jetstream, plan, "in part").await;
    }
}

/// Deletes a stream that this restore has made.
async fn remove(jetstream: &JetStream, plan: &Plan, how: &str) {
    let gone: Result<Value, _> =
        jetstream.request(&format!("STREAM.DELETE.{}", plan.target), &Value::Null).await;
    if let Err(error) = gone
        && !error.not_found()
    {
        tracing::error!(
            "stream `{}` is on the server {how} and could not be deleted ({error}): delete it before you restore again",
            plan.target
        );
    }
}
