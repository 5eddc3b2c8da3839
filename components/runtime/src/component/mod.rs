//! An event-sourced component: commands in, events out, state a fold over the component's own events.
//!
//! Invariants:
//!
//! - **The log is the only input of the state.** An event changes the state when it is read back from the stream, its
//!   writer's own events like any other's, so a process that was killed anywhere and one that was not end in the same
//!   state.
//! - **One command, one event.** The append names the last event that the decision knew
//!   (`Nats-Expected-Last-Subject-Sequence` for the component's whole log): of two writers one wins, the other reads
//!   what it lacked and decides again. What follows from an event is *owed*: part of the state until it is in the log,
//!   with ids that follow from the cause, so it is appended once whichever process does it.
//! - **The event's id is the command's.** A command that is sent again is answered from its event.
//! - Snapshots, views and metrics are caches. Deleting them loses nothing.
//! - No event is passed over in silence: one of an unknown type or version is counted and named, one that cannot be
//!   read stops the component.
//!
//! The way of one command: `service` → `engine` → [`Aggregate::decide`] → [`log`] (append, and back through the
//! reader) → [`folded`] → answer, then `views`.

mod aggregate;
mod bucket;
pub mod cli;
pub mod digest;
mod done;
mod engine;
pub mod folded;
mod http;
pub mod log;
mod metrics;
mod notes;
mod points;
mod reading;
mod refusal;
mod register;
mod serve;
mod service;
mod settings;
mod snapshot;
mod views;

pub use aggregate::{Aggregate, Changed, Endpoint, Fact, Kind, Note, Owed, reply, request};
pub use done::{Done, Event};
pub use refusal::{CODE_HEADER, Code, Refusal, WAY_OUT_HEADER, WHAT_HEADER};
pub use serve::{Failure, Place};
