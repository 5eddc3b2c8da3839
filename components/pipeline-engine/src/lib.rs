//! The pipeline engine: definitions that are checked before they are accepted, and the stages that they name.
//!
//! Owns definitions, stages and windows, and the position of a running pipeline. Does not own the events that it reads,
//! and what reads its output.
//!
//! All of it but `cli` and `stream` is pure: the same definition over the same events
//! gives the same output, in the same order, whenever and in whatever batches it runs.

use std::process::ExitCode;

mod cli;
pub mod definition;
pub mod engine;
pub mod expression;
pub mod problem;
mod stream;
mod value;

/// Runs the program. `commit` is the commit of the build, where the build was told.
pub fn main(commit: Option<&str>) -> ExitCode {
    cli::main(commit)
}
