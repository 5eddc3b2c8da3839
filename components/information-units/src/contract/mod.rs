//! Everything that information units take, emit and answer: one file a request or event, and its version.
//!
//! Requests and replies are read with unknown fields passed over, so that an older program takes a newer caller's.
//! The JSON Schema of each type is `fixtures/schemas/iu-…/v<version>.json`.

mod body;
mod create_v1;
mod created_v1;
mod get_v1;
mod link_v1;
mod query_v1;
mod type_v1;
mod update_v1;
mod updated_v1;
mod word;

pub use body::Body;
pub use create_v1::Create;
pub use created_v1::Created;
pub use get_v1::{Edge, Get, Revision, UnitReply};
pub use link_v1::{Link, Linked};
pub use query_v1::{Found, List, Query, Summary};
pub use type_v1::{RegisterType, TypeRegistered, Validate, Validated};
pub use update_v1::Update;
pub use updated_v1::Updated;
pub use word::{NoWord, Word};
