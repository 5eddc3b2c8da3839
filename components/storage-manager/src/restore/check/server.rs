//! What the server is, and what it cannot take whatever the archive holds.

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use serde_json::Value;

use super::settings::{Unknown, unknown};
use crate::jetstream::{Account, AllStreams, ApiError, JetStream, StreamInfo, Version};
use crate::restore::error::RestoreError;
use crate::restore::fence::Followers;
use crate::restore::plan::{Capabilities, Plan};

/// The first version that restores streams in memory.
const MEMORY: Version = (2, 15, 0);
/// The first version that compresses blocks.
const COMPRESSION: Version = (2, 10, 0);

/// The first version that was seen to know what is sent again of a restored stream in memory.
const DUPLICATES: Version = (2, 15, 3);

/// The questions to a server.
pub(super) struct Server {
    pub(super) streams: AllStreams,
    /// `None` where this user may not ask.
    pub(super) account: Option<Account>,
    version: Version,
    pub(super) max_payload: u64,
    /// Its JetStream's.
    domain: Option<String>,
    /// True if it stands alone for sure.
    alone: bool,
}

impl Server {
    pub(super) async fn ask(jetstream: &JetStream) -> Result<Self, ApiError> {
        let (streams, account) = tokio::join!(jetstream.all_streams(), jetstream.account());
        let account = match account {
            Ok(account) => Some(account),
            Err(error @ ApiError::NoResponse { .. }) => {
                tracing::warn!(
                    "the account's limits and the server's API level are not checked before the restore, so it may be refused later: {}",
                    chain(&error)
                );
                None
            }
            Err(error) => return Err(error),
        };
        let info = jetstream.client().server_info();
        Ok(Self {
            streams: streams?,
            account,
            version: jetstream.server_version(),
            max_payload: u64::try_from(info.max_payload).unwrap_or(u64::MAX),
            // A leaf node without JetStream answers from a cluster that it is not of.
            alone: info.jetstream && info.cluster.is_none(),
            domain: info.domain.filter(|domain| !domain.is_empty()),
        })
    }

    /// Takes note of who follows streams, as far as this server knows.
    pub(super) fn followers(&self, followers: &mut Followers) {
        for (name, info) in &self.streams.known {
            followers.see(name, &info.record.config);
        }
        if let Some(domain) = &self.domain {
            followers.reach(domain);
        }
    }

    /// Returns a stream that was shown.
    pub(super) fn stream(&self, name: &StreamName) -> Option<&StreamInfo> {
        self.streams.known.get(name.as_str())
    }

    /// Returns whether there is a stream of which nothing was shown.
    pub(super) fn is_unavailable(&self, name: &StreamName) -> bool {
        self.streams.unavailable.iter().any(|named| named == name.as_str())
    }

    /// Returns what it takes of a snapshot.
    pub(super) fn capabilities(&self) -> Capabilities {
        Capabilities {
            chunk: usize::try_from(self.max_payload).unwrap_or(usize::MAX),
            compressed: self.version >= COMPRESSION,
            duplicates: self.version >= DUPLICATES,
        }
    }

    /// Returns why it cannot take a stream.
    pub(super) fn hindrance(&self, plan: &Plan) -> Option<RestoreError> {
        let stream = plan.target.to_string();
        if plan.in_memory() && self.version < MEMORY {
            return Some(RestoreError::MemoryOnOldServer(stream));
        }
        let needs = level(plan);
        if let Some(has) = self.account.as_ref().map(Account::api_level)
            && needs > has
        {
            return Some(RestoreError::TooNew { stream, needs, has });
        }
        if let Some(Unknown { what, since }) = unknown(plan, self.version) {
            return Some(RestoreError::Unknown { stream, what, since });
        }
        if self.alone && plan.config["num_replicas"].as_u64().is_some_and(|replicas| replicas > 1) {
            return Some(RestoreError::Alone(stream));
        }
        None
    }
}

/// Returns the level of the server's API that a stream and its consumers need, as the server noted it.
fn level(plan: &Plan) -> u64 {
    let of = |config: &Value| {
        let level = config["metadata"]["_nats.req.level"].as_str()?;
        level.parse().ok()
    };
    let consumers = plan.consumers.iter().filter_map(|consumer| of(&consumer.config.value()));
    consumers.chain(of(&plan.config)).max().unwrap_or_default()
}
