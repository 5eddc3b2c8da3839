//! The JetStream API, as JSON: what it answers is kept as it is, so that no field gets lost.

mod api;
mod types;

pub use api::{ApiError, Depth, JetStream};
pub use types::{
    ANCHOR, Consumers, Damage, Leader, ReadConsumer, Servers, StoredMessage, StreamInfo, StreamPage,
};
