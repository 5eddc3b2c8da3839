//! Names as validated types: a value that exists is valid, on construction and on deserialisation alike.
//!
//! A name from a service is accepted here exactly as that service accepts it, so a stream, a
//! consumer or an object that exists can always be named. Where a type is stricter its docs say so
//! and why. Equality, order and hash are those of the string, so maps of names accept a `&str`.
//!
//! The JSON Schema of a name carries its pattern and lengths. `maxLength` counts characters where the
//! rules count bytes, and a few rules (an address as a bucket name, say) do not fit a portable pattern,
//! so a schema refuses nothing that [`FromStr`](std::str::FromStr) accepts, but not the other way round.

mod macros;

mod cim;
mod content;
mod error;
mod nats;
mod nkey;
mod s3;
mod system;

pub use cim::{AggregateId, EventType, JournalName, NodeName, Token};
pub use content::{ContentId, UnknownHash};
pub(crate) use error::shown;
pub use error::{NameError, Problem};
pub use nats::{ConsumerName, NatsUrl, StoreName, StreamGlob, StreamName, Subject, SubjectFilter};
pub use nkey::UserKey;
pub use s3::{BucketName, Endpoint, ObjectKey, Region};
pub use system::{FilePath, InterfaceName, MemorySize, Span, SshKey};
