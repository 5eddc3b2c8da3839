//! The parts of a lab on this machine: processes, links, S3 services, NATS servers.
//!
//! Owns single programs on this machine, and the wires between them. Does not own scenarios, runs
//! and reports: nothing here knows them.
//!
//! Everything here can be used without a scenario; benchmarks do.

pub mod admin;
pub mod blocks;
pub(crate) mod disk;
pub mod endpoint;
pub mod http;
pub mod link;
pub mod nats;
pub mod ports;
pub mod process;
pub mod s3;
pub mod storage_manager;
pub(crate) mod test_build;
pub mod tools;
pub mod wait;
