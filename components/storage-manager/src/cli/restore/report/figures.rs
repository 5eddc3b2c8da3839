//! Figures of a stream that was restored, or can be.

use cim_core::archive::DeletesKnown;
use cim_core::archive::journal::Expired;
use jiff::Timestamp;
use serde::Serialize;

use crate::clock;
use crate::restore::{Done, Plan, leaves_no_markers, unsupported_in_memory};

/// Figures of a stream that is there, or can be.
#[derive(Debug, Serialize)]
pub(super) struct Numbers {
    pub(super) timeline: u32,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) consumers: usize,
    pub(super) method: &'static str,
    pub(super) seconds: f64,
    /// Of those, from the server's first answer to its last.
    pub(super) seconds_sending: f64,
    pub(super) segments: usize,
    pub(super) s3_requests: u64,
    /// Sequences behind the last one that are not given out, for they may have been before.
    pub(super) fence: u64,
    /// The followers that may have seen some of them.
    pub(super) fence_for: Vec<String>,
    /// Sequences behind those that the stream has given out since, and messages that it has let go of.
    pub(super) added: u64,
    pub(super) dropped: u64,
    /// The batch that it would have ended in, and that is left out.
    #[serde(rename = "half_batch")]
    pub(super) partial_batch: Option<LeftOutBatch>,
    /// The messages that would have come back and have left the archive by rule.
    pub(super) expired: Vec<Expired>,
    /// Up to where deletes were known when something of the stream was archived last; `null` where that is not known.
    pub(super) deletes_known: Option<DeletesKnown>,
    #[serde(skip)]
    pub(super) archived_at: Timestamp,
    /// Messages between the first and the last one that were erased for good, and why.
    pub(super) erased: Vec<ErasedHere>,
    /// The parts of the archived stream that this one lacks.
    pub(super) left_out: Vec<String>,
    /// The parts of a stream in memory that its snapshot does not carry.
    #[serde(rename = "not_kept")]
    pub(super) unsupported_in_memory: Vec<String>,
    #[serde(skip)]
    pub(super) leaves_no_markers: bool,
}

/// Messages that a person has asked to be erased.
#[derive(Debug, Serialize)]
pub(super) struct ErasedHere {
    pub(super) messages: u64,
    pub(super) reason: String,
}

/// A batch of which the end is not in the archive.
#[derive(Debug, Serialize)]
pub(super) struct LeftOutBatch {
    pub(super) id: String,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

impl Numbers {
    /// Takes the figures of a plan, which are exact but for messages that are filtered out.
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            timeline: plan.timeline,
            first_seq: plan.first_seq,
            last_seq: plan.last_seq,
            messages: plan.messages(),
            bytes: plan.bytes(),
            consumers: plan.consumers.len(),
            method: if plan.in_memory() { "snapshot v2" } else { "snapshot v1" },
            seconds: 0.0,
            seconds_sending: 0.0,
            segments: plan.pieces.len(),
            s3_requests: 0,
            fence: plan.end() - plan.last_seq,
            fence_for: plan.fence.as_ref().map(|fence| fence.followers.clone()).unwrap_or_default(),
            added: 0,
            dropped: 0,
            partial_batch: plan.partial_batch.as_ref().map(|half| LeftOutBatch {
                id: half.id.clone(),
                first_seq: half.messages.first,
                last_seq: half.messages.last,
            }),
            expired: plan.expired.clone(),
            deletes_known: plan.deletes_known.clone(),
            archived_at: plan.archived_at,
            erased: plan
                .erased
                .iter()
                .map(|(messages, reason)| ErasedHere {
                    messages: *messages,
                    reason: reason.clone(),
                })
                .collect(),
            left_out: plan.left_out.clone(),
            unsupported_in_memory: unsupported_in_memory(plan, clock::now()),
            leaves_no_markers: leaves_no_markers(plan),
        }
    }

    /// Says what was restored instead of what was planned.
    pub(super) fn are_now(&mut self, done: &Done) {
        self.first_seq = done.outcome.first_seq;
        if self.fence > 0 {
            // A point in time was looked for since.
            self.fence += self.last_seq.saturating_sub(done.outcome.last_seq);
        }
        self.last_seq = done.outcome.last_seq;
        self.messages = done.outcome.messages;
        self.bytes = done.outcome.bytes;
        (self.added, self.dropped) = (done.outcome.added, done.outcome.dropped);
        if self.leaves_no_markers && self.dropped > 0 {
            self.unsupported_in_memory.push(format!(
                "delete markers of {} messages that expired meanwhile: who watches does not hear of it",
                self.dropped
            ));
        }
        self.method = done.outcome.method;
        self.seconds = done.took.as_secs_f64();
        self.seconds_sending = done.outcome.sending.as_secs_f64();
        self.s3_requests = done.requests;
    }
}

impl Numbers {
    /// Clears what a stream that is left as it is does not need.
    pub(super) fn nothing_is_done(&mut self) {
        self.fence = 0;
        self.fence_for.clear();
        self.unsupported_in_memory.clear();
    }
}
