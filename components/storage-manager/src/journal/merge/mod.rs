//! Merging: what leaves the journal becomes segments of one stream where there is enough for one, and larger
//! shared objects where there is not. The older a message is, the fewer and larger objects it is in.
//!
//! Two kinds of jobs, each decided by a pure function in [`plan`]:
//! - The shared objects of a level, the oldest first, become one of the next level and, for each stream that
//!   has enough there, a segment of its own. Level 0 is the journal.
//! - Neighbouring segments of one stream become one. What has reached its final size is sealed.
//!
//! Levels are ordered by age, and so are the objects within one. So the parts of a stream in the oldest objects
//! of a level are neighbours, but for its own segments between them; a merged part never reaches across one.

mod error;
mod fetch;
pub(super) mod plan;
mod run;
mod shared;
#[cfg(test)]
mod tests;

pub use run::run;
