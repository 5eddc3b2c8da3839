//! Copies a tier's archive into another bucket, so that it can move from one service to another.
//!
//! Invariants
//! - An object is copied byte for byte, under its own key, and only when it is what its key or its content says.
//! - What decides comes after what it decides on, and the first of it last: until a pass has ended the new bucket reads as
//!   an archive whose beginning is missing, which no storage manager goes on with, never as a shorter one.
//! - Nothing is written over. An object that exists already and differs is of another archive, and refused.
//! - Nothing is deleted but what this run has seen in the old bucket, and which has been collected there since.
//!
//! `plan` compares two listings, `sound` looks at bytes, `run` makes passes until there is nothing more to do.

mod plan;
mod run;
mod sound;

pub use plan::{Clash, Pass, Work};
pub use run::{Copied, CopyError, Damaged, Progress, copy, work};
