//! Tiering: JetStream to the NAS, and on to Wasabi.
//!
//! Invariants
//! - The cursor is the manifest: reading always starts one past the NAS's watermark. Nothing else is
//!   remembered, so this process may die anywhere, at any instant.
//! - Segments are committed in order; a segment is durable before an entry names it.
//! - A message is in memory only against the budget ([`crate::config::MemoryConfig`]), which is given back when
//!   it is committed. When S3 is slow the budget runs out, nothing more is asked of NATS, and memory
//!   stays where it is.
//!
//! When something fails, the stream's session ends with an error, its state is thrown away, and the
//! next session reads the chain again: there is one way back, and it is the way in.

mod anchor;
pub(crate) mod anew;
mod asking;
pub(crate) mod budget;
mod collect;
pub(crate) mod context;
mod daemon;
mod damaged;
mod deliveries;
pub(crate) mod error;
pub(crate) mod foreign;
mod former;
mod gaps;
mod gate;
mod gone;
mod headers;
mod history;
mod holes;
mod journaled;
mod known;
pub(crate) mod merge;
mod need;
mod open_journal;
mod opening;
pub(crate) mod others;
mod overview;
mod pace;
mod positions;
mod progress;
mod read;
mod ready;
mod schedule;
pub(crate) mod seal;
pub(crate) mod segmenter;
mod session;
mod ship;
mod shorn;
pub(crate) mod sides;
mod skipped;
mod start_error;
mod startup;
mod stream;
mod survey;
mod systemd;
mod takeover;
mod tasks;
pub(crate) mod upload;
mod witness;

pub use context::Context;
pub use daemon::run;
pub use history::{Alignment, HistoryError, align};
pub use start_error::StartError;
