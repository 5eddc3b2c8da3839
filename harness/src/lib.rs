//! Breaks CIM labs and proves that everything comes back.
//!
//! A [`scenario`] describes a lab and the events in it; the [`engine`] performs it, with real
//! programs from [`lab`]; the [`oracle`] judges the result against its own [`ledger`].

mod authoring;
pub mod bench;
pub mod cli;
pub mod engine;
mod error;
mod interrupt;
mod inventory;
pub mod lab;
pub mod ledger;
pub mod oracle;
mod outcomes;
mod output;
pub mod plan;
mod progress;
pub mod report;
mod rundir;
mod runner;
pub mod scenario;
mod schema;
mod selftest;
mod soak;
mod substrate;
pub mod supervise;
pub mod workload;

pub use error::{Context, Error, Result};
pub use interrupt::Interrupt;
pub use rundir::RunDir;
