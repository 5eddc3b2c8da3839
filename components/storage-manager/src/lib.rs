//! Tiers JetStream streams to S3 and restores them exactly.
