//! The pipeline engine as its users meet it: definitions, and the program.

mod check;
mod checkpoint;
mod engine;
mod expression;
mod graph;
mod program;
mod properties;
mod snapshots;
