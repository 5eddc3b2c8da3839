//! The engine: events go in, outputs come out, and what failed comes out too.
//!
//! Pure and deterministic. Every item carries the number of the input event that it comes from, and each stage takes its
//! items in that order, so that batches and threads change nothing.

mod aggregate;
mod checkpoint;
mod event;
mod flow;
mod join;
mod kept;
mod late;
mod pipeline;
mod readers;
mod record;
mod simple;
mod work;

pub use checkpoint::Checkpoint;
pub use event::{Event, Lost, Out, Reason};
pub use pipeline::{Counts, Pipeline};
pub use record::{lost_line, out_line};
