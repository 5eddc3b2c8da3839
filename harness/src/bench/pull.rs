//! The peer of tiering: a bare pull of the whole stream, every message read and discarded.

use std::time::Instant;

use async_nats::jetstream::{self, consumer};
use futures_util::StreamExt as _;

use crate::error::{Context as _, Error, Result};

/// The bytes that all pulls of a connection may have in flight: a server cuts a connection for
/// which it has to keep more than 64 MiB.
const ON_THE_WAY: usize = 32 << 20;

/// Returns the seconds that it takes if `pulls` pulls share the connection.
pub(super) async fn measure(
    client: &async_nats::Client,
    stream: &str,
    events: u64,
    pulls: usize,
) -> Result<f64> {
    let cannot = || format!("cannot read stream `{stream}`");
    let jetstream = jetstream::new(client.clone());
    let source = jetstream.get_stream(stream).await.step(cannot)?;
    let config = consumer::pull::Config {
        ack_policy: consumer::AckPolicy::None,
        memory_storage: true,
        ..consumer::pull::Config::default()
    };
    let started = Instant::now();
    let consumer = source.create_consumer(config).await.step(cannot)?;
    let mut messages = consumer
        .stream()
        .max_messages_per_batch(10_000)
        .max_bytes_per_batch((16 << 20).min(ON_THE_WAY / pulls))
        .messages()
        .await
        .step(cannot)?;
    let mut read = 0;
    while read < events {
        let Some(message) = messages.next().await else {
            return Err(Error::step(format!("{}: it ended at {read}", cannot())));
        };
        message.step(cannot)?;
        read += 1;
    }
    Ok(started.elapsed().as_secs_f64())
}
