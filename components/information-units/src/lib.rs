//! Information units: immutable content by content id, with metadata, chains of versions, typed links and types.
//!
//! Owns the meaning of content: its metadata, versions, links, types and queries. Does not own the log and its requests,
//! which are the runtime's, and the keeping of messages.
//!
//! The state is a fold over the component's own events (see `cim_runtime::component`); its rules are in `decide`. Content
//! is no part of it: it lies in an object store, by its content id.

use std::process::ExitCode;

mod aggregate;
mod car;
mod closure;
mod commands;
mod content;
pub mod contract;
mod decide;
mod endpoints;
mod fold;
mod ids;
mod index;
mod packed;
mod query;
mod record;
pub mod schemas;
mod state;
mod validators;

pub use decide::Command;
pub use fold::Event;
pub use state::Units;

/// Runs the program. `commit` is the commit of the build, where the build was told.
pub fn main(commit: Option<&str>) -> ExitCode {
    cim_runtime::component::cli::main::<Units, commands::Command>(commit)
}
