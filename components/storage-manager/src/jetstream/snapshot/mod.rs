//! What consumers know of single messages, which no question about them answers: it stands at the beginning of the
//! server's own snapshot of their stream, from nats-server 2.15 on. The rest of that is not waited for.

mod entries;
mod s2;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{RequestErrorKind, SubscribeError};
use cim_core::archive::Deliveries;
use cim_core::names::ConsumerName;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use self::entries::Unread;
use self::s2::Unpacked;
use super::api::FIRST_TIMEOUT;
use super::{ApiError, JetStream};

/// The first server whose snapshots begin with the consumers.
const SINCE: (u64, u64, u64) = (2, 15, 0);
/// Bytes of a chunk, and of those that the server sends before it wants to hear that they have come. It hears nothing:
/// it packs a mebibyte at a time, and the consumers are in the first.
const CHUNK: u64 = 128 << 10;
const SENT: u64 = 12 * CHUNK;
/// Most bytes that they may unpack to.
const UNPACKED: usize = 16 << 20;
/// The longest wait for the next chunk.
const NEXT: Duration = Duration::from_secs(2);

/// Why what consumers know cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// The server refuses, or does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// There is no way to hear it.
    #[error("the snapshot cannot be subscribed to")]
    Deaf(#[source] SubscribeError),
    /// The server's snapshots are of a kind that ends with the consumers.
    #[error("the server's snapshots begin with all messages")]
    Old,
    /// It is more than is worth it, or nothing more comes.
    #[error("what its consumers know is not in the first {} KiB of its snapshot", SENT >> 10)]
    TooMuch,
    /// It makes no sense.
    #[error("its snapshot cannot be read: {0}")]
    Strange(String),
}

impl Unknown {
    /// Returns true if the answer is the same for every stream.
    pub fn is_of_all(&self) -> bool {
        matches!(self, Self::Old)
    }

    /// Returns true if the answer may change the next time.
    pub fn is_of_now(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Deaf(_))
    }

    /// Returns true if there was no answer, as when this user may not ask.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Api(ApiError::NoResponse { source, .. }) if source.kind() == RequestErrorKind::TimedOut)
    }
}

impl JetStream {
    /// Returns true if the server's snapshots may begin with the consumers.
    pub fn tells_deliveries(&self) -> bool {
        self.server_version() >= SINCE
    }

    /// Returns what each consumer of a stream knows of single messages. A `small` snapshot is taken to its end; of others
    /// the server notes that the rest was not taken.
    ///
    /// # Errors
    /// When that cannot be had.
    pub async fn deliveries(
        &self,
        stream: &str,
        small: bool,
    ) -> Result<BTreeMap<ConsumerName, Deliveries>, Unknown> {
        let inbox = self.client().new_inbox();
        let mut chunks = self.client().subscribe(inbox.clone()).await.map_err(Unknown::Deaf)?;
        let subject = format!("$JS.API.STREAM.SNAPSHOT.{stream}");
        let body = json!({ "deliver_subject": inbox, "chunk_size": CHUNK, "window_size": SENT });
        // A second question would begin a second snapshot.
        let answer = self.send_request(&subject, body.to_string().into(), FIRST_TIMEOUT).await;
        let answer =
            answer.map_err(|source| ApiError::NoResponse { subject: subject.clone(), source })?;
        Self::read::<Value>(&subject, &answer.payload)?;
        let mut unpacked = Unpacked::default();
        let mut known = Err(Unknown::TooMuch);
        while let Ok(Some(chunk)) = tokio::time::timeout(NEXT, chunks.next()).await {
            if chunk.payload.is_empty() {
                break;
            }
            if known.is_ok() {
                continue;
            }
            if let Err(error) = unpacked.push(&chunk.payload) {
                known = Err(Unknown::Strange(error.to_string()));
                break;
            }
            known = match entries::consumers(&unpacked.bytes) {
                Ok(known) => Ok(known),
                Err(Unread::Short) if unpacked.bytes.len() < UNPACKED => continue,
                Err(Unread::Short) => Err(Unknown::TooMuch),
                Err(Unread::Old) => Err(Unknown::Old),
                Err(Unread::Strange(what)) => Err(Unknown::Strange(what)),
            };
            if known.is_err() || !small {
                break;
            }
        }
        // Where it was gone before, the server has ended by itself.
        let _ = chunks.unsubscribe().await;
        known
    }
}
