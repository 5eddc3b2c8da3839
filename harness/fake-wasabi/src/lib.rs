//! An S3 server that behaves like Wasabi and fails on request. For tests only.
//!
//! Owns S3's protocol, the store on disk, and faults on request. Does not own what a tier holds,
//! and who asks: any S3 client may.
//!
//! It speaks the real protocol (Signature Version 4, multipart, versions, object lock) over a
//! directory and accounts as Wasabi bills. See [`Rule`] for the fault plan and [`behaviour`] for the
//! facts known about Wasabi and the assumptions.
//!
//! ```no_run
//! # async fn example() -> Result<(), cim_fake_wasabi::StartError> {
//! use cim_fake_wasabi::{Config, FakeWasabi, Fault, Rule};
//!
//! let dir = std::env::temp_dir().join("fake-wasabi");
//! let wasabi = FakeWasabi::start(Config { buckets: vec!["tier".into()], ..Config::new(dir) }).await?;
//! println!("S3 at {}", wasabi.s3_url());
//! wasabi.set_faults(vec![Rule::new(Fault::SlowDown).count(3)]).expect("a valid plan");
//! // … the code under test …
//! assert_eq!(wasabi.stats().faults["slow_down"], 3);
//! wasabi.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod access;
mod admin;
pub mod behaviour;
mod clock;
mod config;
mod error;
mod faults;
mod operations;
mod request_context;
mod s3;
mod server;
mod service;
mod state;
mod stats;
mod store;
mod target;

pub use config::{Config, Credentials};
pub use error::StartError;
pub use faults::{Fault, PlanError, Rule, RuleState};
pub use server::FakeWasabi;
pub use stats::{EarlyDeletions, Requests, Stats, Storage};
