//! The component registry: which components run, what each can do, and which need which.
//!
//! Owns which components run, and what follows from that. Does not own the log, requests,
//! snapshots and metrics, which are the runtime's.
//!
//! Its state is a fold over its own events (see `cim_runtime::component`); its rules are in `decide`, its views, the
//! graph of components, in `graph`.

use std::process::ExitCode;

use cim_runtime::component::cli::NoOther;

mod aggregate;
pub mod contract;
mod decide;
mod endpoints;
mod fold;
mod graph;
mod requirements;
pub mod schemas;
mod state;

pub use decide::Command;
pub use state::Registry;

/// Runs the program. `commit` is the commit of the build, where the build was told.
pub fn main(commit: Option<&str>) -> ExitCode {
    cim_runtime::component::cli::main::<Registry, NoOther>(commit)
}
