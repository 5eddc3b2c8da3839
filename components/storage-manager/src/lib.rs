//! Tiers JetStream streams to S3 and restores them exactly.

pub mod chain;
pub mod config;
pub mod jetstream;
pub mod s3;
pub mod segment;
pub mod wire;
