//! The JetStream API, as JSON: what it answers is kept as it is, so that no field gets lost.

mod account;
mod api;
mod fields;
mod snapshot;
mod types;

pub use account::{Account, AllStreams, Limits, Usage};
pub use api::{ApiError, JetStream};
pub use fields::{Fields, OF_CONSUMER, OF_SOURCE, OF_STREAM, Version};
pub use snapshot::Unknown;
pub use types::{
    ClusterInfo, Consumers, Leader, LostStreamData, ReadConsumer, StoredMessage, StreamInfo,
    StreamPage,
};
