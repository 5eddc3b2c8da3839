//! The judge of schema changes: what a change of a JSON Schema means for documents that exist, and for readers
//! that are not changed yet.
//!
//! Two questions make the four classes, in the words of the schema registries ([`Class`]):
//!
//! - *backward*: is every document of the old schema valid under the new one?
//! - *forward*: is every document of the new schema valid under the old one?
//!
//! Invariants:
//!
//! - A yes is a proof. Where the judge cannot prove that no document is lost it says so, and that counts as a
//!   break. The rules that make a yes stand in `prove`; what they know of the documents on the other side is
//!   in `cases`, and is always at least what a validator accepts, never less.
//! - Valid means JSON Schema 2020-12, whether or not the validator asserts `format`: a yes holds for both.
//! - The judge reads and writes nothing, depends on no validator, and is held against one by its tests.

mod cases;
mod changes;
mod class;
mod draw;
mod eval;
mod format;
mod kind;
mod node;
mod number;
mod pattern;
mod prove;

pub use changes::{Change, Judgement, Reason, Side, judge};
pub use class::Class;
pub use draw::documents;
pub use node::Unjudged;
