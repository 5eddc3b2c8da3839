//! Requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, Message, Request, RequestError, ServerInfo};
use bytes::Bytes;
use cim_core::archive::journal::Served;
use cim_core::names::SubjectFilter;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::types::{
    ConsumerResponse, ConsumersResponse, CreatedResponse, InfoResponse, MessageResponse,
    NamesResponse, PageResponse, PositionsResponse, UserResponse, lasting_name,
};
use super::{Consumers, ReadConsumer, StoredMessage, StreamInfo, StreamPage};

/// The number of tries until a consumer is on the right server: with one of three that is right,
/// less than one time in a thousand it is not.
const PLACEMENT_ATTEMPTS: usize = 18;

/// The wait for an answer to a question before it is asked a second time, with the
/// connection's own limit. One that was on its way when a server ended is never answered.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(2);
/// The wait for an answer in the end. The client's own limit begins when it has taken a request, which
/// it does not while NATS is away and many others stand in front of it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Time that a server may take to say in which account a user is, which it need not.
const ACCOUNT_TIMEOUT: Duration = Duration::from_secs(1);

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The server refused.
    #[error("JetStream refused `{subject}`: {description} ({err_code})")]
    Refused {
        /// The request.
        subject: String,
        /// HTTP-like code.
        code: u64,
        /// JetStream's own.
        err_code: u64,
        /// In words.
        description: String,
    },
    /// No answer.
    #[error("JetStream did not answer `{subject}`: is JetStream on, and may this user ask?")]
    NoResponse {
        /// The request.
        subject: String,
        /// The cause.
        source: async_nats::RequestError,
    },
    /// An answer that makes no sense.
    #[error("JetStream answered `{subject}` with what this version cannot read: {what}")]
    Unreadable {
        /// The request.
        subject: String,
        /// Why.
        what: String,
    },
}

impl ApiError {
    /// Returns true if what was asked for does not exist.
    pub fn not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// Returns true if the stream, or its account, may have no more consumers.
    pub fn is_full(&self) -> bool {
        const FULL: u64 = 10_026;
        self.err_code() == Some(FULL)
    }

    /// Returns JetStream's own error code, if it gave one.
    pub fn err_code(&self) -> Option<u64> {
        match self {
            Self::Refused { err_code, .. } => Some(*err_code),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
struct ErrorResponse {
    error: Option<ErrorBody>,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: u64,
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// A JetStream account.
#[derive(Debug, Clone)]
pub struct JetStream {
    client: Client,
    /// The account, as soon as it was asked for; `None` where the server does not tell.
    account: Arc<OnceCell<Option<String>>>,
}

impl JetStream {
    /// Uses this connection.
    pub fn new(client: Client) -> Self {
        Self { client, account: Arc::default() }
    }

    /// Returns the connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Returns the server's version, for example `(2, 15, 2)`.
    pub fn server_version(&self) -> (u64, u64, u64) {
        let version = self.client.server_info().version;
        let mut numbers = version.split(['.', '-']).map(|n| n.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        (next(), next(), next())
    }

    /// Returns who serves a stream; `None` where that is a server whose name is another one at each start.
    pub fn server(&self, stream: &StreamInfo) -> Option<String> {
        // Old servers say it of clusters alone.
        stream.server.clone().or_else(|| {
            let ServerInfo { cluster, server_name, domain, .. } = self.client.server_info();
            lasting_name(&[cluster.unwrap_or_default(), server_name, domain.unwrap_or_default()])
        })
    }

    /// Returns by whom a stream is served, and in which account; `None` as for [`JetStream::server`].
    pub async fn served(&self, stream: &StreamInfo) -> Option<Served> {
        let name = self.server(stream)?;
        let account = self.account.get_or_init(|| self.fetch_account()).await.clone();
        Some(Served { name, account })
    }

    /// Asks in which account this user is. Old servers do not answer, nor do others where it may not ask.
    async fn fetch_account(&self) -> Option<String> {
        let subject = "$SYS.REQ.USER.INFO";
        let answer = self.send_request(subject, Bytes::new(), ACCOUNT_TIMEOUT).await.ok()?;
        match Self::read::<UserResponse>(subject, &answer.payload) {
            Ok(UserResponse { data }) => Some(data.account),
            Err(error) => {
                tracing::debug!("the account is not known: {error}");
                None
            }
        }
    }

    /// Asks `$JS.API.<what>`.
    pub async fn request<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<T, ApiError> {
        let subject = format!("$JS.API.{what}");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.send_request(&subject, body.into(), REQUEST_TIMEOUT).await;
        let answer =
            answer.map_err(|source| ApiError::NoResponse { subject: subject.clone(), source })?;
        Self::read(&subject, &answer.payload)
    }

    pub(super) async fn send_request(
        &self,
        subject: &str,
        payload: Bytes,
        limit: Duration,
    ) -> Result<Message, RequestError> {
        let request = Request::new().payload(payload).timeout(None);
        let answer = self.client.send_request(subject.to_owned(), request);
        match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(RequestError::new(RequestErrorKind::TimedOut)),
        }
    }

    /// Asks what changes nothing, so that it may be asked twice.
    pub(super) async fn request_idempotent<T: DeserializeOwned>(
        &self,
        what: &str,
        body: &Value,
    ) -> Result<T, ApiError> {
        let subject = format!("$JS.API.{what}");
        let payload = if body.is_null() { String::new() } else { body.to_string() };
        match self.send_request(&subject, payload.into(), FIRST_TIMEOUT).await {
            Err(error) if error.kind() == RequestErrorKind::TimedOut => {
                self.request(what, body).await
            }
            Err(source) => Err(ApiError::NoResponse { subject, source }),
            Ok(answer) => Self::read(&subject, &answer.payload),
        }
    }

    /// Reads an answer: what was asked for, or the server's error.
    pub fn read<T: DeserializeOwned>(subject: &str, answer: &[u8]) -> Result<T, ApiError> {
        let unreadable = |error: serde_json::Error| ApiError::Unreadable {
            subject: subject.into(),
            what: error.to_string(),
        };
        let ErrorResponse { error } = serde_json::from_slice(answer).map_err(unreadable)?;
        match error {
            Some(ErrorBody { code, err_code, description }) => {
                Err(ApiError::Refused { subject: subject.into(), code, err_code, description })
            }
            None => serde_json::from_slice(answer).map_err(unreadable),
        }
    }

    /// Fetches the names of all streams.
    pub async fn stream_names(&self) -> Result<Vec<String>, ApiError> {
        let mut names = Vec::new();
        loop {
            let body = json!({ "offset": names.len() });
            let page: NamesResponse = self.request_idempotent("STREAM.NAMES", &body).await?;
            let found = page.streams.unwrap_or_default();
            let done = found.is_empty();
            names.extend(found);
            if done || names.len() >= page.total {
                return Ok(names);
            }
        }
    }

    /// Fetches the state of a stream; with `deleted`, its deleted sequences too.
    pub async fn stream_info(&self, stream: &str, deleted: bool) -> Result<StreamInfo, ApiError> {
        let body = if deleted { json!({ "deleted_details": true }) } else { Value::Null };
        let answer: InfoResponse =
            self.request_idempotent(&format!("STREAM.INFO.{stream}"), &body).await?;
        Ok(answer.into())
    }

    /// Reads what `STREAM.INFO` answers.
    #[cfg(test)]
    pub(crate) fn read_info(answer: &[u8]) -> Result<StreamInfo, ApiError> {
        Self::read::<InfoResponse>("STREAM.INFO", answer).map(StreamInfo::from)
    }

    /// The number of streams on a page.
    pub const PAGE: usize = 256;

    /// Fetches a page of all streams, each as [`JetStream::stream_info`] shows it.
    pub async fn stream_page(&self, offset: usize) -> Result<StreamPage, ApiError> {
        let page: PageResponse =
            self.request_idempotent("STREAM.LIST", &json!({ "offset": offset })).await?;
        let found = page.streams.unwrap_or_default();
        let mut unavailable = page.missing.unwrap_or_default();
        let until = offset + found.len() + unavailable.len();
        let next = if until > offset && until < page.total { until } else { 0 };
        let mut streams = Vec::with_capacity(found.len());
        for text in &found {
            match InfoResponse::named(text) {
                Some((name, Some(info))) => streams.push((name, info)),
                Some((name, None)) => unavailable.push(name),
                None => {}
            }
        }
        Ok(StreamPage { streams, unavailable, next })
    }

    /// Fetches how many messages a consumer has delivered and has still to deliver; `None` if it does not exist.
    pub async fn delivered(
        &self,
        stream: &str,
        consumer: &str,
    ) -> Result<Option<(u64, u64)>, ApiError> {
        let what = format!("CONSUMER.INFO.{stream}.{consumer}");
        match self.request_idempotent::<PositionsResponse>(&what, &Value::Null).await {
            Err(error) if error.not_found() => Ok(None),
            answer => answer.map(|found| Some((found.delivered.consumer_seq, found.num_pending))),
        }
    }

    /// Returns a stream's consumers that last, by name: durable ones, and such as outlive their client for long.
    pub async fn lasting_consumers(&self, stream: &str) -> Result<Consumers, ApiError> {
        let mut answers: Vec<ConsumerResponse> = Vec::new();
        let mut unavailable: Vec<String> = Vec::new();
        let mut listed = 0;
        loop {
            let body = json!({ "offset": listed });
            let what = format!("CONSUMER.LIST.{stream}");
            let page: ConsumersResponse = self.request_idempotent(&what, &body).await?;
            let found = page.consumers.unwrap_or_default();
            let missing = page.missing.unwrap_or_default();
            let count = found.len() + missing.len();
            listed += count;
            answers.extend(found);
            unavailable.extend(missing);
            if count == 0 || listed >= page.total {
                break;
            }
        }
        let of = |answer: ConsumerResponse| {
            let redelivered = answer.num_redelivered;
            answer.lasting().map(|consumer| (consumer, redelivered))
        };
        let (mut reported, redelivered): (Vec<_>, BTreeMap<_, _>) = answers
            .into_iter()
            .filter_map(of)
            .map(|(consumer, count)| (consumer.clone(), (consumer.name, count)))
            .unzip();
        // Servers list a consumer that is unavailable with a configuration and without positions.
        reported.retain(|consumer| !unavailable.iter().any(|name| consumer.name.as_str() == name));
        reported.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Consumers { reported, redelivered, unavailable })
    }

    /// Fetches the message with this sequence.
    pub async fn message(&self, stream: &str, seq: u64) -> Result<Option<StoredMessage>, ApiError> {
        self.get_message(stream, &json!({ "seq": seq })).await
    }

    /// Fetches the first message at or after this sequence.
    pub async fn next_message(
        &self,
        stream: &str,
        seq: u64,
    ) -> Result<Option<StoredMessage>, ApiError> {
        self.next_message_on(stream, seq, &SubjectFilter::all()).await
    }

    /// Fetches the first message at or after this sequence whose subject matches.
    pub async fn next_message_on(
        &self,
        stream: &str,
        seq: u64,
        filter: &SubjectFilter,
    ) -> Result<Option<StoredMessage>, ApiError> {
        self.get_message(stream, &json!({ "seq": seq, "next_by_subj": filter })).await
    }

    async fn get_message(
        &self,
        stream: &str,
        body: &Value,
    ) -> Result<Option<StoredMessage>, ApiError> {
        let what = format!("STREAM.MSG.GET.{stream}");
        let answer: MessageResponse = match self.request_idempotent(&what, body).await {
            Err(error) if error.not_found() => return Ok(None),
            other => other?,
        };
        let unreadable = |text| ApiError::Unreadable { subject: what.clone(), what: text };
        answer.stored().map(Some).map_err(unreadable)
    }

    /// Makes a pull consumer that acknowledges nothing and ends by itself.
    pub async fn create_reader(
        &self,
        stream: &str,
        start_seq: u64,
        headers_only: bool,
    ) -> Result<ReadConsumer, ApiError> {
        let body = json!({
            "stream_name": stream,
            "config": {
                "description": "cim-storage-manager reads for the archive",
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": start_seq.max(1),
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": 60_000_000_000_u64,
                "mem_storage": true,
                "num_replicas": 1,
                "headers_only": headers_only,
            },
        });
        let created: CreatedResponse =
            self.request(&format!("CONSUMER.CREATE.{stream}"), &body).await?;
        Ok(created.into())
    }

    /// Makes a durable consumer that keeps messages from `start_seq` on in an interest stream until they are
    /// acknowledged, where there is none of this name. How many messages it has delivered, and the last one.
    pub async fn anchor(
        &self,
        stream: &str,
        name: &str,
        start_seq: u64,
    ) -> Result<(u64, u64), ApiError> {
        let what = format!("CONSUMER.INFO.{stream}.{name}");
        let answer = match self.request_idempotent::<PositionsResponse>(&what, &Value::Null).await {
            Err(error) if error.not_found() => {
                let body = json!({
                    "stream_name": stream,
                    "config": {
                        "durable_name": name,
                        "description": "cim-storage-manager keeps messages until they are archived",
                        "deliver_policy": "by_start_sequence",
                        "opt_start_seq": start_seq.max(1),
                        "ack_policy": "all",
                        // What it is given again is of no use to it.
                        "ack_wait": 86_400_000_000_000_u64,
                        "max_ack_pending": 1 << 16,
                        "replay_policy": "instant",
                        "headers_only": true,
                    },
                });
                self.request(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &body).await?
            }
            other => other?,
        };
        let PositionsResponse { delivered, .. } = answer;
        Ok((delivered.consumer_seq, delivered.stream_seq))
    }

    /// Creates a consumer to read through on one of these servers of a cluster. The cluster places consumers at random,
    /// so it tries several times; `None` if none was placed on one of them.
    pub async fn create_reader_on(
        &self,
        servers: &[String],
        stream: &str,
        start_seq: u64,
        headers_only: bool,
    ) -> Result<Option<ReadConsumer>, ApiError> {
        if servers.is_empty() {
            return Ok(None);
        }
        for _ in 0..PLACEMENT_ATTEMPTS {
            let made = self.create_reader(stream, start_seq, headers_only).await?;
            if made.server.as_ref().is_some_and(|server| servers.contains(server)) {
                return Ok(Some(made));
            }
            self.delete_consumer(stream, &made.name).await?;
        }
        Ok(None)
    }

    /// Deletes a consumer; one that is gone is fine.
    pub async fn delete_consumer(&self, stream: &str, consumer: &str) -> Result<(), ApiError> {
        let gone: Result<Value, _> =
            self.request(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null).await;
        match gone {
            Err(error) if !error.not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
