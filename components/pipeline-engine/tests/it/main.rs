//! The pipeline engine as its users meet it: definitions, and the program.

mod check;
mod expression;
mod graph;
mod program;
