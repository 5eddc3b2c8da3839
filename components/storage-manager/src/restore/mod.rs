//! Exact restore: a JetStream snapshot made of segments while it is sent.
//!
//! Invariants
//! - Nothing is visible on the server before the last byte was accepted: a restore that fails leaves
//!   no stream behind.
//! - Every segment's hash is checked before its first row is sent; chain, presence and sizes of all
//!   segments before anything is sent at all.
//! - Memory: of a large stream some MiB of segments' files (`prefetch`), one row group, one block, and the chunks in
//!   flight, whatever its size; of small ones what is read together (`batch`) and waits to be sent (`schedule`).
//! - The server has one restore under way at a time (`schedule`).
//! - The server gives up a restore to which nothing comes for 5 s. It is asked to begin when there is
//!   something to send, and gets padding while S3 is slow.
//! - Segments that are merged while a restore is under way are read where they went.
//!
//! File streams go as v1 snapshots (message blocks as the server stores them; every version reads
//! them, and it only has to move files), memory streams as v2 (2.15 and later).

mod batch;
mod check;
mod compare;
mod consumers;
mod detach;
mod error;
mod fence;
mod fetch;
mod frame;
mod memory_stream;
mod outcome;
mod partial_batch;
mod plan;
mod point_in_time;
mod prefetch;
mod read;
mod remedy;
mod removal;
mod resolve;
mod rolled_up;
mod run;
mod schedule;
mod send;
mod source;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod varint;
mod write;

pub use check::{Found, Looks, check};
pub use error::{RestoreError, SendError};
pub use fence::{Fences, Followers};
pub use memory_stream::{leaves_no_markers, unsupported_in_memory};
pub use outcome::{Outcome, Progress};
pub use partial_batch::PartialBatch;
pub use plan::{Capabilities, Fence, FirstLater, Options, Piece, Plan, PlanError, plan};
pub use read::read;
pub use remedy::RetryCommand;
pub use run::restore;
pub use schedule::{Done, restore_many};
pub use source::Source;
