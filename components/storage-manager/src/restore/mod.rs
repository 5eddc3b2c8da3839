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
//!
//! It owns the way from an archive's state to a stream on the server. It does not own how an archive is read
//! (`archive`, `journal`, `chain`), nor how an object is (`s3`, `segment`), nor the words of the report (`cli`).

// A plan: pieces, configuration, and what must not come back.
mod detach; // a copy beside the live stream
mod plan; // which pieces of which segments
mod removal; // streams that remove messages by themselves
// The parts of it that take reading.
mod partial_batch; // an atomic batch without its end
mod point_in_time; // which sequence a time is
mod resolve; // all that takes reading
mod rolled_up; // messages that took others away
// Checks, before anything is sent.
mod check; // is all there, does the server take it
mod fence; // sequences that are not given out again
mod memory_stream; // what a stream in memory loses
// One stream after the other, small ones together.
mod batch; // small streams, read together
mod schedule; // the order of all streams
// Objects into memory, in order.
mod fetch; // segments in order, ahead of the sender
mod prefetch; // how many files at once
mod source; // a tier, and the other one for what it lacks
// Messages into a snapshot.
mod frame; // chunks of an S2 stream
mod v1; // message blocks, for file streams
mod v2; // named entries, for memory streams
mod varint; // their numbers
mod write; // messages into either
// The snapshot to the server, and what it says then.
mod compare; // was it restored as it was sent
mod consumers; // their positions
mod run; // one restore
mod send; // chunks in flight
// Messages for who only reads them.
mod read; // messages for export
// The outcome, and what to do about another one.
mod error; // what went wrong
mod outcome; // what was restored
mod remedy; // the command to type
#[cfg(test)]
mod tests;

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
