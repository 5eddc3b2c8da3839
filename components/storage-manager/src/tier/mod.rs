//! Tiering: from JetStream to the NAS, and on to Wasabi.
//!
//! The way of one event through this folder (docs/architecture.md has all of it):
//!
//! | step | file | function |
//! |---|---|---|
//! | check NATS and the tiers | `tier/startup.rs` | `check_requirements` |
//! | find the stream | `tier/tasks.rs` | `Tasks::discover` |
//! | open its archive | `tier/open_stream.rs` | `open` |
//! | compare archive and live stream | `tier/history.rs` | `align` |
//! | read the stream | `tier/read/consumer.rs` | `ConsumerReader::read` |
//! | read a work queue | `tier/read/by_sequence.rs` | `run` |
//! | check gaps in what was read | `tier/read_gaps.rs` | `ReadGaps::confirm` |
//! | collect messages | `tier/segmenter.rs` | `Segmenter::push`, `Segmenter::step` |
//! | upload a large segment | `tier/upload.rs` | `put` |
//! | survey the live stream | `tier/survey.rs` | `Surveyor::survey` |
//! | tell deletes from damage | `tier/gaps.rs` | `GapClassifier::classify` |
//! | commit to the journal | `tier/stream.rs` | `Follower::commit_what_is_due`, `Follower::draft` |
//! | commit to a chain (older layout) | `tier/session.rs` | `Session::append` |
//! | merge segments of a chain | `tier/schedule.rs`, `tier/seal.rs` | `CompactionSchedule::next_run`, `seal` |
//! | copy a chain to Wasabi | `tier/ship/step.rs`, `tier/ship/outbox.rs` | `next_step`, `put_decided` |
//!
//! It owns
//! - the tasks of all streams, and the order of their ends,
//! - the session of each stream (`stream` with a journal, `session` with a chain): what is committed next, and when,
//! - the readers (`read`): one a stream, and the budget that bounds what they hold,
//! - the segmenter: columns in memory, encoding and uploads, in the order of the messages,
//! - merging (`seal`) and copying to Wasabi (`ship`) of chains.
//!
//! It does not own
//! - the journal: `crate::journal` gathers entries, commits, merges, ships and heals by itself,
//! - a chain's entries: `crate::chain` writes them, and finds out that a log is not there any more,
//! - the form of rows and files: `crate::segment`,
//! - the connections: `crate::wire`, `crate::jetstream` and `crate::s3`.
//!
//! Invariants
//! - The cursor is the manifest: reading always starts one past the NAS's watermark. Nothing else is
//!   remembered, so this process may die anywhere, at any instant.
//! - Segments are committed in order; a segment is durable before an entry names it.
//! - A message is in memory only against the budget ([`crate::config::MemoryConfig`]), which is given back when
//!   it is committed. When S3 is slow the budget runs out, nothing more is asked of NATS, and memory
//!   stays where it is.
//!
//! Recovery and startup are the same code path: when something fails, the session of the stream ends with an error,
//! its state is thrown away, and the next session reads the archive again.

// Start: checks, then a task for each stream.
mod daemon; // the whole process
mod startup; // what has to be there
mod start_error; // what kept it from starting
mod systemd; // ready, stopping
mod takeover; // a journal that takes over chains
mod journal_loop; // opens the journal anew
mod open_journal; // the journal and its tasks
mod tasks; // one for each stream
mod overview; // all streams, once a second
pub(crate) mod context; // what all tasks share
pub(crate) mod error; // errors that several parts share
pub(crate) mod segment_key; // a key that may be damaged

// Open: the archive and the live stream are compared.
mod open_stream; // in a journal
mod open_chain; // in a chain
mod gate; // few at once
mod history; // the same messages?
mod parting; // where histories part
mod alignment; // goes on, or forks
pub(crate) mod sides; // both, to be compared
pub(crate) mod other_journals; // of the same bucket
pub(crate) mod foreign; // the stream of another host
mod previous_nas; // what it had confirmed
pub(crate) mod rearchive; // begin before damage
mod damaged; // is a segment damaged now?
mod unsupported_config; // settings that the server lacks

// Read: messages from NATS, in order, against the budget.
mod read; // through a consumer, or by sequence
mod pace; // how much to ask for
pub(crate) mod budget; // bytes in memory
mod read_gaps; // sequences that were not read
mod headers; // which messages a server has
mod anchor; // keeps messages of interest streams
mod progress; // how far it has read

// Collect: columns, row groups, a file.
pub(crate) mod segmenter; // messages to segments
mod skipped; // sequences without a message
pub(crate) mod upload; // a file to the NAS

// Survey: what reading does not show.
mod survey; // configuration, consumers, deletes
mod survey_schedule; // when
mod archived; // what the archive knows before
mod deletes; // which sequences are gone
mod replica_check; // what other servers have
mod gaps; // deleted, or lost?
mod positions; // of consumers
mod deliveries; // single messages of consumers
mod query_budget; // how often they are asked for

// Commit: the session of a stream.
mod stream; // with a journal
mod session; // with a chain
mod session_outcome; // how either ends
mod ready; // messages into a commit
mod change; // what a draft says that is new

// Chains only; a journal merges, deletes and copies by itself.
mod schedule; // which run is merged next
pub(crate) mod seal; // merges it
pub(crate) mod merge; // rows to full row groups
mod gc; // deletes what was replaced
mod ship; // copies to Wasabi

pub use alignment::Alignment;
pub use context::Context;
pub use daemon::run;
pub use history::{HistoryError, align};
pub use start_error::StartError;
