//! The consumers that a component reads with: they keep nothing on disk and are forgotten soon.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};

/// The server removes a reader that has not asked for so long.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Returns the configuration of a reader with a name and a filter, which NATS's permissions can allow.
pub(super) fn reading(name: String, filter: String, from: DeliverPolicy) -> Config {
    Config {
        name: Some(name),
        filter_subject: filter,
        deliver_policy: from,
        ack_policy: AckPolicy::None,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: FORGOTTEN_AFTER,
        ..Config::default()
    }
}
