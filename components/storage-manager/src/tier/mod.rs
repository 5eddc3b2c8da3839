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
mod archived;
pub(crate) mod budget;
pub(crate) mod context;
mod daemon;
mod damaged;
mod deletes;
mod deliveries;
pub(crate) mod error;
pub(crate) mod foreign;
mod gaps;
mod gate;
mod gc;
mod headers;
mod history;
mod journal_loop;
pub(crate) mod merge;
mod open_chain;
mod open_journal;
mod open_stream;
pub(crate) mod other_journals;
mod overview;
mod pace;
mod positions;
mod previous_nas;
mod progress;
mod query_budget;
mod read;
mod read_gaps;
mod ready;
pub(crate) mod rearchive;
mod replica_check;
mod schedule;
pub(crate) mod seal;
pub(crate) mod segmenter;
mod session;
mod session_outcome;
mod ship;
pub(crate) mod sides;
mod skipped;
mod start_error;
mod startup;
mod stream;
mod survey;
mod survey_schedule;
mod systemd;
mod takeover;
mod tasks;
mod unsupported_config;
pub(crate) mod upload;

pub use context::Context;
pub use daemon::run;
pub use history::{Alignment, HistoryError, align};
pub use start_error::StartError;
