//! Tiers JetStream streams to S3 and restores them exactly.

pub mod chain;
pub mod cli;
pub mod config;
pub mod jetstream;
pub mod restore;
pub mod s3;
pub mod segment;
pub mod tier;
pub mod wire;
