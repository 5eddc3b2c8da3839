//! Exact restore: a JetStream snapshot made of segments while it is sent.
//!
//! Invariants
//! - Nothing is visible on the server before the last byte was accepted: a restore that fails leaves
//!   no stream behind.
//! - Every segment's hash is checked before its first row is sent; chain, presence and sizes of all
//!   segments before anything is sent at all.
//! - Memory: of a large stream some MiB of segments' files (`ahead`), one row group, one block, and the chunks in
//!   flight, whatever its size; of small ones what is read together (`batch`) and waits to be sent (`many`).
//! - The server has one restore under way at a time (`many`).
//! - The server gives up a restore to which nothing comes for 5 s. It is asked to begin when there is
//!   something to send, and gets padding while S3 is slow.
//! - Segments that are merged while a restore is under way are read where they went.
//!
//! File streams go as v1 snapshots (message blocks as the server stores them; every version reads
//! them, and it only has to move files), memory streams as v2 (2.15 and later).

mod ahead;
mod arrived;
mod batch;
mod check;
mod consumers;
mod copy;
mod error;
mod feed;
mod fence;
mod frame;
mod half_batch;
mod many;
mod memory;
mod outcome;
mod plan;
mod read;
mod removal;
mod resolve;
mod rolled_up;
mod run;
mod send;
mod source;
#[cfg(test)]
mod tests;
mod until;
mod v1;
mod v2;
mod varint;
mod way_out;
mod write;

pub use check::{Found, Looks, check};
pub use error::{RestoreError, SendError};
pub use fence::{Fences, Followers};
pub use half_batch::HalfBatch;
pub use many::{Done, restore_many};
pub use memory::{leaves_no_markers, not_kept};
pub use outcome::{Outcome, Progress};
pub use plan::{Fence, Later, Options, Piece, Plan, PlanError, Takes, plan};
pub use read::read;
pub use run::restore;
pub use source::Source;
pub use way_out::Ways;
