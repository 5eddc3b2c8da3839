//! The outputs that were published behind the last checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures_util::StreamExt as _;

pub(super) struct Published {
    ids: BTreeSet<String>,
    last: BTreeMap<String, u64>,
}

impl Published {
    /// Reads the ids behind the last sequences that the position knows.
    pub(super) async fn open(
        context: &Context,
        subjects: BTreeSet<String>,
        last: BTreeMap<String, u64>,
    ) -> Result<Self, String> {
        let mut ids = BTreeSet::new();
        for subject in subjects {
            let failed = |error: &dyn std::fmt::Display| {
                format!("the stream of `{subject}` cannot be read: {error}")
            };
            let name = context.stream_by_subject(&subject).await.map_err(|error| failed(&error))?;
            let stream = context.get_stream(name).await.map_err(|error| failed(&error))?;
            let config = pull::Config {
                deliver_policy: DeliverPolicy::ByStartSequence {
                    start_sequence: last.get(&subject).map_or(1, |last| last + 1),
                },
                ack_policy: AckPolicy::None,
                filter_subject: subject.clone(),
                headers_only: true,
                ..Default::default()
            };
            let mut consumer =
                stream.create_consumer(config).await.map_err(|error| failed(&error))?;
            let count = consumer.info().await.map_err(|error| failed(&error))?.num_pending;
            let messages = consumer.messages().await.map_err(|error| failed(&error))?;
            let mut messages = messages.take(usize::try_from(count).unwrap_or(usize::MAX));
            while let Some(message) = messages.next().await {
                let message = message.map_err(|error| failed(&error))?;
                ids.extend(
                    message
                        .headers
                        .as_ref()
                        .and_then(|headers| headers.get("Nats-Msg-Id"))
                        .map(ToString::to_string),
                );
            }
        }
        Ok(Self { ids, last })
    }

    /// Reports whether an id is there already.
    pub(super) fn has(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Notes an ack.
    pub(super) fn acked(&mut self, subject: &str, sequence: u64) {
        let last = self.last.entry(subject.to_owned()).or_default();
        *last = sequence.max(*last);
    }

    /// Returns the last sequence of each subject.
    pub(super) fn last(&self) -> &BTreeMap<String, u64> {
        &self.last
    }
}
