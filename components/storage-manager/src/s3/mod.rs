//! S3, as far as an archive needs it: get, put, put-if-absent, list, delete.
//!
//! - Every call has a time limit and classifies its error. None retries by itself, but those of a
//!   [`Store::with_retries`] one, which asks a few times before it gives up, and those of one that waits
//!   for a key while the service refuses the one that it has.
//! - All are URLs that rust-s3 signs, sent by a client that trusts whom the configuration says; rust-s3's
//!   own cannot be told. A body is sent as the `Bytes` it is: `put_object` would copy and hash it twice
//!   more. What protects it is a CRC-32C that the service checks, which is tried out at start.
//!
//! It owns requests and the classes of their errors. It does not own what an object means, nor which key it has.

mod tier; // NAS or Wasabi
// The way to a service, and what it answers.
mod access; // keys and authorities, read again
mod error; // classes of errors
mod page; // answers that are none of S3
// Requests.
mod store; // get, put, list
// A service, tried out before it is used.
mod probe; // rights and guarantees

pub use error::{ErrorKind, S3Error};
#[cfg(test)]
pub(crate) use probe::testing;
pub use probe::{Probe, probe};
pub use store::{Listed, PutOutcome, Store};
pub use tier::Tier;
