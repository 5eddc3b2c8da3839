//! What an account has, and what it may have.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::api::FIRST_TIMEOUT;
use super::{ApiError, JetStream, StreamInfo};

/// An account, as `INFO` shows it.
#[derive(Debug, Clone, Deserialize)]
pub struct Account {
    #[serde(flatten)]
    all: Usage,
    /// Its share by replicas, `R1` and so on, where it has one for each.
    #[serde(default)]
    tiers: BTreeMap<String, Usage>,
    #[serde(default)]
    api: Api,
}

/// The use of an account and its limits.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Streams.
    pub streams: u64,
    /// Bytes of streams in memory.
    pub memory: u64,
    /// Bytes of streams on disk.
    pub storage: u64,
    /// Bytes in memory that streams with `max_bytes` have for themselves; servers before 2.10 do not say it.
    pub reserved_memory: u64,
    /// The same on disk.
    pub reserved_storage: u64,
    /// Its limits.
    pub limits: Limits,
}

/// The limits of an account; a number that is not above zero sets none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Streams.
    pub max_streams: i64,
    /// Bytes in memory.
    pub max_memory: i64,
    /// Bytes on disk.
    pub max_storage: i64,
    /// Bytes that one stream in memory may ask for.
    pub memory_max_stream_bytes: i64,
    /// The same on disk.
    pub storage_max_stream_bytes: i64,
    /// True if each stream must say how large it gets.
    pub max_bytes_required: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Api {
    level: u64,
}

impl Account {
    /// Returns what streams of so many replicas share, and with whom: 0 is all of them. `None` where the account has
    /// room for others only.
    pub fn usage(&self, replicas: u64) -> Option<(u64, &Usage)> {
        if self.tiers.is_empty() {
            return Some((0, &self.all));
        }
        Some((replicas, self.tiers.get(&format!("R{replicas}"))?))
    }

    /// Returns the level of the API that the server has: it grows with what streams can do. Servers before 2.11
    /// have none.
    pub fn api_level(&self) -> u64 {
        self.api.level
    }
}

/// The streams of an account.
#[derive(Debug, Clone, Default)]
pub struct AllStreams {
    /// By name.
    pub known: BTreeMap<String, StreamInfo>,
    /// Names of those of which nothing was said.
    pub unavailable: Vec<String>,
}

impl JetStream {
    /// Asks what the account has, and may have.
    ///
    /// # Errors
    /// When the server refuses, or does not answer soon: who restores need not have the right to ask.
    pub async fn account(&self) -> Result<Account, ApiError> {
        let subject = "$JS.API.INFO";
        let mut answer = self.send_request(subject, Bytes::new(), FIRST_TIMEOUT).await;
        if answer.is_err() {
            answer = self.send_request(subject, Bytes::new(), FIRST_TIMEOUT).await;
        }
        let answer =
            answer.map_err(|source| ApiError::NoResponse { subject: subject.into(), source })?;
        Self::read(subject, &answer.payload)
    }

    /// Asks for all streams, page by page.
    ///
    /// # Errors
    /// When the server refuses, or does not answer.
    pub async fn all_streams(&self) -> Result<AllStreams, ApiError> {
        let mut all = AllStreams::default();
        let mut offset = 0;
        loop {
            let page = self.stream_page(offset).await?;
            all.known.extend(page.streams);
            all.unavailable.extend(page.unavailable);
            if page.next == 0 {
                return Ok(all);
            }
            offset = page.next;
        }
    }

    /// Tries whether the server hears a request for a restore, with one that it refuses: it has no body.
    ///
    /// # Errors
    /// When nothing is answered: this user may not ask, as a rule.
    pub async fn try_restore(&self, stream: &str) -> Result<(), ApiError> {
        match self
            .request_idempotent::<Value>(&format!("STREAM.RESTORE.{stream}"), &Value::Null)
            .await
        {
            Ok(_) | Err(ApiError::Refused { code: 400, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_of_tiers_has_room_for_those_alone() {
        let usage = |text: &str| serde_json::from_str::<Account>(text).unwrap();
        let flat = usage(r#"{"storage":5,"limits":{"max_storage":9},"api":{"level":3}}"#);
        assert_eq!(flat.usage(3).map(|of| (of.0, of.1.limits.max_storage)), Some((0, 9)));
        assert_eq!(flat.api_level(), 3);
        let tiers = usage(r#"{"limits":{},"tiers":{"R1":{"streams":2}},"api":{"total":1}}"#);
        assert_eq!(tiers.usage(1).map(|of| (of.0, of.1.streams)), Some((1, 2)));
        assert!(tiers.usage(3).is_none());
        assert_eq!(tiers.api_level(), 0);
    }
}
