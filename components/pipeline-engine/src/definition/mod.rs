//! Definitions of pipelines: documents in TOML or JSON, checked before they are accepted.

mod check;
mod document;
mod graph;
mod lower;
mod lowering;
mod place;
mod stage;

pub use check::check;
pub use stage::{Definition, Format, Input, Output, Port, Shape, Stage, Step};
