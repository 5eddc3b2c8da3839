//! A stream on a server that does not know all of its configuration. Restored onto an older server a stream is without
//! what only newer ones can do. No user has changed it: the archive keeps it, and a restore onto a newer
//! server brings it back.

use cim_core::archive::{ConsumerRecord, StreamRecord};
use cim_core::names::StreamName;

use crate::jetstream::{Consumers, JetStream, OF_CONSUMER, OF_STREAM};

/// Returns a stream as the archive is to have it.
pub fn stream(
    jetstream: &JetStream,
    name: &StreamName,
    known: &StreamRecord,
    now: StreamRecord,
    said: &mut bool,
) -> StreamRecord {
    // Another stream of the name is what it is.
    if known.created != now.created {
        return now;
    }
    let server = jetstream.server_version();
    let Some((config, unknown)) = OF_STREAM.with_unknown(&known.config, &now.config, server) else {
        return now;
    };
    if !std::mem::replace(said, true) {
        let (major, minor, patch) = server;
        tracing::warn!(
            stream = %name,
            "nats-server {major}.{minor}.{patch} does not support `{}`, which the stream had: the stream runs without, and the archive keeps the setting for a newer server",
            unknown.join("`, `")
        );
    }
    StreamRecord { config, ..now }
}

/// Returns consumers as the archive is to have them.
pub fn consumers(jetstream: &JetStream, known: &[ConsumerRecord], mut now: Consumers) -> Consumers {
    let server = jetstream.server_version();
    for consumer in &mut now.reported {
        let before = known
            .iter()
            .find(|known| (&known.name, known.created) == (&consumer.name, consumer.created));
        let kept = before
            .and_then(|before| OF_CONSUMER.with_unknown(&before.config, &consumer.config, server));
        if let Some((config, _)) = kept {
            consumer.config = config;
        }
    }
    now
}
