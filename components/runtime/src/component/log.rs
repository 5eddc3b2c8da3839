//! The component's log: its events in a stream, read in order from any sequence and appended to behind the last.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::Stream as Messages;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::stream::{DiscardPolicy, Info, Stream};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use cim_core::envelope::Envelope;
use cim_core::names::{ConsumerName, StreamName, SubjectFilter};
use futures_util::StreamExt as _;

use super::reading::reading;
use crate::error::chain;

/// The header that names the last sequence that a writer knows.
const EXPECTED: &str = "Nats-Expected-Last-Subject-Sequence";
/// The header that says of which subjects it is the last: here all of the component's. nats-server knows it since 2.11.
const EXPECTED_SUBJECT: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
/// The header with the digest of the command that an event came from.
const COMMAND: &str = "Cim-Command";
/// The events that are asked for at once.
const PAGE: usize = 1000;
/// An ack is waited for so long.
const ACK: Duration = Duration::from_secs(5);

/// A component's events in a stream.
#[derive(Clone)]
pub struct Log {
    jetstream: Context,
    stream: Stream<Info>,
    filter: SubjectFilter,
    reader: ConsumerName,
}

/// An event as it lies in the log.
#[derive(Debug, Clone)]
pub struct Record {
    /// The stream.
    pub stream: String,
    /// The subject.
    pub subject: String,
    /// The sequence in the stream.
    pub sequence: u64,
    /// The digest of the command that it came from.
    pub command: Option<String>,
    /// The envelope, not read yet.
    pub payload: Bytes,
    /// The number of the component's events behind it.
    pub pending: u64,
}

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no such stream, or it may not be looked at.
    #[error(
        "stream `{stream}` cannot be read: declare it in the inventory (`cim.streams`), or start with `--create`; its subjects have to hold `{filter}`"
    )]
    NoStream {
        /// The stream.
        stream: StreamName,
        /// The subjects that it has to hold.
        filter: SubjectFilter,
        /// The reason.
        source: jetstream::context::GetStreamError,
    },
    /// The server is too old for an append that names the last event of several subjects.
    #[error("nats-server {0} is too old for components: they need 2.11 or later")]
    OldServer(String),
    /// The reader could not be made.
    #[error(
        "the events of `{filter}` in stream `{stream}` cannot be read: check the permissions of this user, and that no other process reads as `{reader}`"
    )]
    NoReader {
        /// The stream.
        stream: StreamName,
        /// The component's subjects.
        filter: SubjectFilter,
        /// The consumer.
        reader: ConsumerName,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Reading broke off; it begins again at the same place.
    #[error("reading stream `{stream}` broke off behind sequence {after}: {why}")]
    BrokeOff {
        /// The stream.
        stream: String,
        /// The last sequence that was read.
        after: u64,
        /// The reason.
        why: String,
    },
}

/// An append that was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log has events that the decision did not know.
    #[error("the log has grown")]
    Conflict,
    /// The event may be in the log or not.
    #[error("the append was not acknowledged")]
    Unknown(#[source] PublishError),
    /// The server will not take it.
    #[error("the server refused the event")]
    Refused(#[source] PublishError),
}

impl Log {
    /// Finds the stream. `reader` is the name of the consumer that reads it: one for each process.
    ///
    /// # Errors
    /// When there is no such stream, or the server is too old.
    pub async fn open(
        client: &async_nats::Client,
        stream: &StreamName,
        filter: SubjectFilter,
        reader: ConsumerName,
    ) -> Result<Self, LogError> {
        let version = client.server_info().version;
        if !client.is_server_compatible(2, 11, 0) {
            return Err(LogError::OldServer(version));
        }
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(ACK);
        let found = jetstream.get_stream(stream.as_str()).await.map_err(|source| {
            LogError::NoStream { stream: stream.clone(), filter: filter.clone(), source }
        })?;
        let config = &found.cached_info().config;
        if config.discard == DiscardPolicy::Old
            && (config.max_age > Duration::ZERO || config.max_messages > 0 || config.max_bytes > 0)
        {
            tracing::warn!(
                "stream `{stream}` forgets its oldest events (`max_age`, `max_msgs` or `max_bytes` with `discard: old`): the state of this component is then no longer all of its history; lift the limits, or set `discard: new`"
            );
        }
        Ok(Self { jetstream, stream: found, filter, reader })
    }

    /// Returns the stream's name.
    pub fn stream(&self) -> &str {
        &self.stream.cached_info().config.name
    }

    /// Reports whether there is a connection to NATS.
    pub fn is_connected(&self) -> bool {
        self.jetstream.client().connection_state() == async_nats::connection::State::Connected
    }

    /// Begins to read at a sequence, or at the first event behind it.
    ///
    /// # Errors
    /// When the consumer cannot be made.
    pub async fn read_from(&self, sequence: u64) -> Result<Reader, LogError> {
        let reader = self.reader.as_str();
        // The one of a process before, or of this one before the connection broke.
        drop(self.stream.delete_consumer(reader).await);
        let made = async {
            let from = DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) };
            let config = reading(reader.into(), self.filter.as_str().into(), from);
            let consumer = self.stream.create_consumer(config).await?;
            let pending = consumer.cached_info().num_pending;
            let messages = consumer.stream().max_messages_per_batch(PAGE).messages().await?;
            Ok((pending, messages))
        };
        let (pending, messages) = made.await.map_err(|source: async_nats::Error| {
            let stream = StreamName::new(self.stream()).expect("the server has such a stream");
            let (filter, reader) = (self.filter.clone(), self.reader.clone());
            LogError::NoReader { stream, filter, reader, source }
        })?;
        let stream = self.stream().to_owned();
        Ok(Reader { stream, messages, pending, after: sequence.saturating_sub(1), delivered: 0 })
    }

    /// Appends an event behind `last`, the sequence of the newest event that its decision knew, and returns its
    /// sequence. An event whose id the log has had within its duplicate window is not appended again.
    ///
    /// # Errors
    /// When the log has a newer event, the answer is not known, or the server refuses.
    pub async fn append(
        &self,
        event: &Envelope,
        last: u64,
        command: Option<&str>,
    ) -> Result<u64, AppendError> {
        let mut headers = HeaderMap::new();
        let (name, id) = event.msg_id();
        headers.insert(name, id);
        headers.insert(EXPECTED, last.to_string());
        headers.insert(EXPECTED_SUBJECT, self.filter.as_str());
        if let Some(command) = command {
            headers.insert(COMMAND, command);
        }
        let payload = serde_json::to_vec(event).expect("an envelope is JSON");
        let subject = event.subject().to_string();
        let sent = self.jetstream.publish_with_headers(subject, headers, payload.into()).await;
        let acked = match sent {
            Ok(acked) => acked.await,
            Err(error) => Err(error),
        };
        acked.map(|ack| ack.sequence).map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => AppendError::Conflict,
            PublishErrorKind::TimedOut
            | PublishErrorKind::BrokenPipe
            | PublishErrorKind::StreamNotFound => AppendError::Unknown(error),
            _ => AppendError::Refused(error),
        })
    }
}

/// The events of a log, in order.
pub struct Reader {
    stream: String,
    messages: Messages,
    /// The number of events that are still to come, as far as is known.
    pending: u64,
    after: u64,
    delivered: u64,
}

impl Reader {
    /// Reports whether all events that there are were read.
    pub fn is_at_end(&self) -> bool {
        self.pending == 0
    }

    /// Returns the number of events that are still to come.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Returns the next event, and waits for it. It may be called anew when it was given up.
    ///
    /// # Errors
    /// When reading broke off: the connection, the server, or another reader of the same name.
    pub async fn next(&mut self) -> Result<Record, LogError> {
        let (stream, after) = (self.stream.clone(), self.after);
        let broke_off = |why: String| LogError::BrokeOff { stream, after, why };
        let message = match self.messages.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(broke_off(chain(&error))),
            None => return Err(broke_off("the server ended it".into())),
        };
        let info = match message.info() {
            Ok(info) => info,
            Err(error) => return Err(broke_off(error.to_string())),
        };
        if info.consumer_sequence != self.delivered + 1 || info.stream_sequence <= self.after {
            return Err(broke_off(format!(
                "event {} came where another was due: does a second process read under this name",
                info.stream_sequence
            )));
        }
        self.delivered = info.consumer_sequence;
        self.after = info.stream_sequence;
        self.pending = info.pending;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        let command = message.headers.as_ref().and_then(|headers| headers.get(COMMAND));
        Ok(Record {
            stream: self.stream.clone(),
            subject: message.subject.to_string(),
            sequence,
            command: command.map(|value| value.as_str().to_owned()),
            payload: message.payload.clone(),
            pending,
        })
    }
}
