//! The oracle: it decides whether a scenario has passed, and believes nobody.
//!
//! It compares three things that come from different places: the ledger (what was published and
//! acked), the streams (read over the wire with its own code) and the tiers (read from S3 with its own
//! code). What the storage manager says of itself it never asks.

mod archive;
pub mod judge;
pub mod lag;
pub mod limits;
pub mod print;
pub mod retention;
mod segment;
pub mod sourced;
pub mod tier;
pub mod wire;
pub mod witness;
