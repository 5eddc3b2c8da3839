//! S3, as far as an archive needs it: get, put, put-if-absent, list, delete.
//!
//! - Every call has a time limit and classifies its error. None retries by itself, but those of a
//!   [`Store::with_retries`] one, which asks a few times before it gives up, and those of one that waits
//!   for a key while the service refuses the one that it has.
//! - All are URLs that rust-s3 signs, sent by a client that trusts whom the configuration says; rust-s3's
//!   own cannot be told. A body is sent as the `Bytes` it is: `put_object` would copy and hash it twice
//!   more. What protects it is a CRC-32C that the service checks, which is tried out at start.

mod access;
mod error;
mod page;
mod probe;
mod store;
mod tier;
mod versions;

pub use error::{ErrorKind, S3Error};
pub use probe::{Probe, probe};
pub use store::{Listed, PutOutcome, Store};
pub use tier::Tier;
