//! Test code that several crates need. A dev-dependency only, which itself depends on no other crate of the workspace.

mod cases;
mod corrupt;
mod noise;
mod skipped;
mod tools;
#[cfg(feature = "wait")]
mod wait;

pub use cases::cases;
pub use corrupt::{Corruption, corrupted, corruptions};
pub use noise::noise;
pub use skipped::skipped;
pub use tools::{optional_tool, required_tool, tools_are_required};
#[cfg(feature = "wait")]
pub use wait::{LIMIT, wait_until, wait_until_seldom, wait_until_within};
