//! What the API answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::{
    ConsumerRecord, LastMessage, Position, RawJson, SeqRanges, StreamRecord, StreamState,
};
use cim_core::names::ConsumerName;
use jiff::Timestamp;
use nkeys::KeyPair;
use serde::Deserialize;

use crate::segment::Message;

/// A stream as `STREAM.INFO` shows it.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    /// Its creation and configuration.
    pub record: StreamRecord,
    /// Its counts.
    pub state: StreamState,
    /// When the last message came that it gave a sequence to, though that may be gone.
    pub last_time: Option<Timestamp>,
    /// The number of sequences between first and last that are gone.
    pub num_deleted: u64,
    /// These sequences; only where they were asked for.
    pub deleted: SeqRanges,
    /// The messages that the server says it lost when it started, if it noticed.
    pub lost: Option<LostStreamData>,
    /// The number of its consumers, of any kind.
    pub consumers: u64,
    /// The servers that have it.
    pub cluster: ClusterInfo,
    /// True if that is a cluster.
    pub clustered: bool,
    /// The name of who serves it; `None` where its answer has none that outlives a server's process.
    pub server: Option<String>,
}

/// Some of all streams.
#[derive(Debug, Clone)]
pub struct StreamPage {
    /// By name.
    pub streams: Vec<(String, StreamInfo)>,
    /// Names of those of which nothing was said, or what this version cannot read, as it will say when that one is
    /// asked for.
    pub unavailable: Vec<String>,
    /// Where the next page begins; 0 when this was the last.
    pub next: usize,
}

/// The servers of a cluster that have a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterInfo {
    /// The leader, and since when it leads where the server says so: what it says of the stream is what this
    /// one has on its disk.
    pub leader: Option<Leader>,
    /// The others that have all of it, by name.
    pub current: Vec<String>,
}

/// A server's time as a stream's leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its name.
    pub name: String,
    /// As it was written.
    pub since: Option<String>,
}

/// The messages of a stream that a server lost because its files were damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostStreamData {
    /// These sequences; `None` where it does not know which.
    pub named: Option<SeqRanges>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// A stream's consumers that last.
#[derive(Debug, Clone, Default)]
pub struct Consumers {
    /// Those that the servers know the positions of, by name.
    pub reported: Vec<ConsumerRecord>,
    /// Of these, how many messages each one counts that were delivered more than once.
    pub redelivered: BTreeMap<ConsumerName, u64>,
    /// Names that exist and for which no server answered, as in a cluster while one of its servers is away or
    /// elects: what was known of them before still holds. Ephemeral ones may be among them.
    pub unavailable: Vec<String>,
}

impl Consumers {
    /// Returns the reported consumers, and from `before` those that are unavailable now.
    pub fn merged_with_previous(&self, before: &[ConsumerRecord]) -> Vec<ConsumerRecord> {
        let silent =
            |c: &&ConsumerRecord| self.unavailable.iter().any(|name| c.name.as_str() == name);
        let mut all: Vec<_> = before.iter().filter(silent).cloned().collect();
        all.extend(self.reported.iter().cloned());
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

/// A message as `STREAM.MSG.GET` shows it.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// Sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Subject.
    pub subject: String,
    /// Raw header block; empty for none.
    pub headers: Vec<u8>,
    /// Raw payload.
    pub payload: Vec<u8>,
}

impl StoredMessage {
    /// Returns true if it is the message that was archived with its sequence. `STREAM.MSG.GET` shows a subject that is
    /// not UTF-8 as another one; then the time decides, to the nanosecond.
    pub fn is(&self, archived: &LastMessage) -> bool {
        let same_time = || archived.time.as_nanosecond() == i128::from(self.time);
        self.as_message().hash() == archived.sha256
            || (self.subject.contains(char::REPLACEMENT_CHARACTER) && same_time())
    }

    /// Borrows it as a message.
    pub fn as_message(&self) -> Message<'_> {
        Message {
            seq: self.seq,
            time: self.time,
            subject: self.subject.as_bytes(),
            headers: &self.headers,
            payload: &self.payload,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct InfoResponse {
    config: RawJson,
    created: Timestamp,
    state: StateResponse,
    #[serde(default)]
    cluster: ClusterResponse,
    #[serde(default)]
    domain: String,
}

#[derive(Deserialize, Default)]
pub(super) struct ClusterResponse {
    #[serde(default)]
    name: String,
    #[serde(default)]
    leader: String,
    #[serde(default)]
    leader_since: Option<String>,
    #[serde(default)]
    replicas: Option<Vec<ReplicaResponse>>,
}

#[derive(Deserialize)]
struct ReplicaResponse {
    name: String,
    #[serde(default)]
    current: bool,
    #[serde(default)]
    offline: bool,
}

impl From<ClusterResponse> for ClusterInfo {
    fn from(ClusterResponse { leader, leader_since, replicas, .. }: ClusterResponse) -> Self {
        let current = replicas.unwrap_or_default().into_iter().filter(|r| r.current && !r.offline);
        Self {
            leader: (!leader.is_empty()).then_some(Leader { name: leader, since: leader_since }),
            current: current.map(|replica| replica.name).collect(),
        }
    }
}

#[derive(Deserialize)]
struct StateResponse {
    messages: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
    #[serde(default)]
    last_ts: Option<Timestamp>,
    #[serde(default)]
    consumer_count: u64,
    #[serde(default)]
    num_deleted: u64,
    #[serde(default)]
    deleted: Option<Vec<u64>>,
    #[serde(default)]
    lost: Option<LostResponse>,
}

#[derive(Deserialize)]
struct LostResponse {
    #[serde(default)]
    msgs: Option<Vec<u64>>,
    #[serde(default)]
    bytes: u64,
}

impl From<LostResponse> for LostStreamData {
    fn from(LostResponse { msgs, bytes }: LostResponse) -> Self {
        Self { named: msgs.filter(|lost| !lost.is_empty()).map(ranges), bytes }
    }
}

fn ranges(sequences: Vec<u64>) -> SeqRanges {
    sequences.into_iter().map(|s| cim_core::archive::SeqRange { first: s, last: s }).collect()
}

impl From<InfoResponse> for StreamInfo {
    fn from(InfoResponse { config, created, state, cluster, domain }: InfoResponse) -> Self {
        let server = lasting_name([&cluster.name, &cluster.leader, &domain]);
        let deleted = state.deleted.unwrap_or_default();
        Self {
            record: StreamRecord { created, config },
            last_time: state.last_ts,
            num_deleted: state.num_deleted,
            deleted: ranges(deleted),
            lost: state.lost.map(LostStreamData::from),
            consumers: state.consumer_count,
            clustered: !cluster.name.is_empty(),
            cluster: cluster.into(),
            server,
            state: StreamState {
                first_seq: state.first_seq,
                last_seq: state.last_seq,
                messages: state.messages,
                bytes: state.bytes,
            },
        }
    }
}

/// Returns the first of some names that a server has for longer than it runs: one without a name in its
/// configuration calls itself by its key, which it makes at each start.
pub(super) fn lasting_name<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let random = |name: &String| KeyPair::from_public_key(name).is_ok();
    names.into_iter().find(|name| !name.is_empty() && !random(name)).cloned()
}

#[derive(Deserialize)]
pub(super) struct UserResponse {
    pub(super) data: UserBody,
}

#[derive(Deserialize)]
pub(super) struct UserBody {
    pub(super) account: String,
}

/// A consumer that the storage manager reads through.
#[derive(Debug, Clone)]
pub struct ReadConsumer {
    /// Its name.
    pub name: String,
    /// The server that it reads on; what it gives is what this one has. `None` outside clusters.
    pub server: Option<String>,
    /// True if that one is one of a cluster's.
    pub clustered: bool,
}

#[derive(Deserialize)]
pub(super) struct CreatedResponse {
    name: String,
    #[serde(default)]
    cluster: ClusterResponse,
}

impl From<CreatedResponse> for ReadConsumer {
    fn from(CreatedResponse { name, cluster }: CreatedResponse) -> Self {
        let clustered = !cluster.name.is_empty();
        Self { name, server: (!cluster.leader.is_empty()).then_some(cluster.leader), clustered }
    }
}

#[derive(Deserialize)]
pub(super) struct PageResponse {
    pub(super) total: usize,
    #[serde(default)]
    pub(super) streams: Option<Vec<RawJson>>,
    #[serde(default)]
    pub(super) missing: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct NamedResponse {
    config: NameResponse,
}

#[derive(Deserialize)]
struct NameResponse {
    name: String,
}

impl InfoResponse {
    /// Returns the name of a stream of a page, and the stream where this version can read it.
    pub(super) fn named(text: &RawJson) -> Option<(String, Option<StreamInfo>)> {
        let NamedResponse { config } = serde_json::from_str(text.get()).ok()?;
        let info = serde_json::from_str::<Self>(text.get()).ok();
        Some((config.name, info.map(StreamInfo::from)))
    }
}

#[derive(Deserialize)]
pub(super) struct PositionsResponse {
    pub(super) delivered: PositionResponse,
    #[serde(default)]
    pub(super) num_pending: u64,
}

#[derive(Deserialize)]
pub(super) struct NamesResponse {
    pub(super) total: usize,
    #[serde(default)]
    pub(super) streams: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct ConsumersResponse {
    pub(super) total: usize,
    #[serde(default)]
    pub(super) consumers: Option<Vec<ConsumerResponse>>,
    #[serde(default)]
    pub(super) missing: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(super) struct ConsumerResponse {
    name: ConsumerName,
    created: Timestamp,
    config: RawJson,
    delivered: PositionResponse,
    ack_floor: PositionResponse,
    num_ack_pending: u64,
    #[serde(default)]
    pub(super) num_redelivered: u64,
}

#[derive(Deserialize)]
pub(super) struct PositionResponse {
    pub(super) consumer_seq: u64,
    pub(super) stream_seq: u64,
}

/// The longest that a consumer may be without a client if a client library makes it for itself: five minutes are the most
/// that they give one. A storage manager's own has less.
const BY_LIBRARY: u64 = 5 * 60 * 1_000_000_000;

#[derive(Deserialize)]
struct Lifetime {
    #[serde(default)]
    durable_name: Option<String>,
    /// In nanoseconds.
    #[serde(default)]
    inactive_threshold: u64,
}

impl ConsumerResponse {
    /// Returns the record of a consumer that lasts and is not a storage manager's: a durable one, or one that was given
    /// more time without a client than client libraries give. Others end with their client.
    pub(super) fn lasting(self) -> Option<ConsumerRecord> {
        if self.name.as_str().starts_with(cim_core::archive::ANCHOR) {
            return None;
        }
        let lifetime: Lifetime = serde_json::from_str(self.config.get()).ok()?;
        let durable = lifetime.durable_name.is_some_and(|name| !name.is_empty());
        if !durable && lifetime.inactive_threshold <= BY_LIBRARY {
            return None;
        }
        let position = |p: &PositionResponse| Position {
            consumer_seq: p.consumer_seq,
            stream_seq: p.stream_seq,
        };
        Some(ConsumerRecord {
            name: self.name,
            created: self.created,
            delivered: position(&self.delivered),
            ack_floor: position(&self.ack_floor),
            ack_pending: self.num_ack_pending,
            config: self.config,
        })
    }
}

#[derive(Deserialize)]
pub(super) struct MessageResponse {
    message: MessageBody,
}

#[derive(Deserialize)]
struct MessageBody {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: Timestamp,
}

impl MessageResponse {
    pub(super) fn stored(self) -> Result<StoredMessage, String> {
        let MessageBody { subject, seq, hdrs, data, time } = self.message;
        let decode = |text: &str| STANDARD.decode(text).map_err(|e| format!("message {seq}: {e}"));
        let time =
            i64::try_from(time.as_nanosecond()).map_err(|e| format!("message {seq}: {e}"))?;
        Ok(StoredMessage { seq, time, subject, headers: decode(&hdrs)?, payload: decode(&data)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn consumer(name: &str, floor: u64) -> ConsumerRecord {
        let position = Position { consumer_seq: floor, stream_seq: floor };
        ConsumerRecord {
            name: ConsumerName::new(name).unwrap(),
            created: Timestamp::UNIX_EPOCH,
            delivered: position,
            ack_floor: position,
            ack_pending: 0,
            config: RawJson::new("{}".into()).unwrap(),
        }
    }

    #[test]
    fn a_consumer_lasts_that_outlives_its_client_for_long() {
        let lasts = |name: &str, config: &str| {
            let position = r#"{"consumer_seq":0,"stream_seq":0}"#;
            let text = format!(
                r#"{{"name":"{name}","created":"2026-01-01T00:00:00Z","config":{config},
                    "delivered":{position},"ack_floor":{position},"num_ack_pending":0}}"#
            );
            serde_json::from_str::<ConsumerResponse>(&text).unwrap().lasting().is_some()
        };
        assert!(lasts("a", r#"{"durable_name":"a"}"#));
        assert!(lasts("a", r#"{"name":"a","inactive_threshold":3600000000000}"#));
        assert!(!lasts("a", r#"{"name":"a","inactive_threshold":300000000000}"#));
        assert!(!lasts("a", r#"{"name":"a","durable_name":""}"#));
        assert!(!lasts("cim-tier-archive", r#"{"durable_name":"cim-tier-archive"}"#));
    }

    #[test]
    fn a_key_is_no_name_that_lasts() {
        let key = KeyPair::new_server().public_key();
        let name = |names: [&str; 3]| lasting_name(&names.map(str::to_owned));
        assert_eq!(name(["lab", "n1", "hub"]).as_deref(), Some("lab"));
        assert_eq!(name(["", "n1", "hub"]).as_deref(), Some("n1"));
        assert_eq!(name(["", &key, "hub"]).as_deref(), Some("hub"));
        assert_eq!(name(["", &key, ""]), None);
    }

    #[test]
    fn who_is_silent_is_kept_as_before_and_who_is_gone_is_not() {
        let before = [consumer("a", 1), consumer("b", 2), consumer("c", 3)];
        let unavailable = vec!["a".into(), "x".into()];
        let now =
            Consumers { reported: vec![consumer("b", 7)], unavailable, ..Consumers::default() };
        assert_eq!(now.merged_with_previous(&before), [consumer("a", 1), consumer("b", 7)]);
    }
}
