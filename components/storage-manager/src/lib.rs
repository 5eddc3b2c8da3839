//! Tiers JetStream streams to S3 and restores them exactly.

#[cfg(all(any(feature = "fail-points", feature = "sabotage"), not(debug_assertions)))]
compile_error!(
    "`fail-points` and `sabotage` are for tests: a build without debug assertions, which could be \
     shipped, cannot have them"
);

pub mod archive;
mod authorities;
pub mod chain;
mod check;
pub mod cli;
mod clock;
pub mod config;
pub mod copy;
mod crypt;
mod erase;
pub mod export;
mod hooks;
pub mod jetstream;
pub mod journal;
pub mod restore;
pub mod s3;
pub mod segment;
pub mod tier;
pub mod wire;
