//! The oracle: it decides whether a scenario has passed, and trusts no other program.
//!
//! Owns the comparison of ledger, streams and tiers, with readers of its own. Does not own when
//! it is asked (`engine`), and the numbers' bounds (`scenario`).
//!
//! It compares three independent sources: the ledger (published and acked events), the streams
//! (read over the wire with its own code) and the tiers (read from S3 with its own code). It never
//! asks the storage manager about itself.

mod archive;
pub mod fingerprint;
pub mod judge;
pub mod lag;
pub mod limits;
pub mod recorder;
pub mod retention;
mod segment;
pub mod sourced;
pub mod tier;
pub mod wire;
