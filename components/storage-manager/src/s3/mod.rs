//! S3, as far as an archive needs it: get, put, put-if-absent, list, delete.
//!
//! - Every call has a time limit and classifies its error. None retries by itself, but those of a
//!   [`Store::patient`] one, which asks a few times before it gives up.
//! - Bodies are sent through URLs that rust-s3 signs, as the `Bytes` they are: its own `put_object`
//!   copies and hashes the body twice more. What protects them is a CRC-32C that the service checks.

mod access;
mod error;
mod probe;
mod store;

pub use error::{Kind, S3Error};
pub use probe::{Probe, probe};
pub use store::{Listed, Put, Store, Tier};
