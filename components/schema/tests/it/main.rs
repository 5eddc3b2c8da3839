//! The judge is held against a validator.

mod committed;
mod draw;
mod held;
mod table;
