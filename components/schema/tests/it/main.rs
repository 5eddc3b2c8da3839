//! The judge is held against a validator.

mod draw;
mod held;
