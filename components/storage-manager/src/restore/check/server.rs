//! What the server is, and what it cannot take whatever the archive holds.

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use serde_json::Value;

use super::settings::{Unknown, unknown};
use crate::jetstream::{Account, AllStreams, ApiError, JetStream, StreamInfo};
use crate::restore::error::RestoreError;
use crate::restore::plan::{Piece, Plan};

/// The first version that restores streams in memory.
const MEMORY: (u64, u64, u64) = (2, 15, 0);
/// Bytes that a subject may have on most servers: segments count them, limits of messages do not.
const SUBJECT: u64 = 4096;

/// What was asked of a server.
pub(super) struct Server {
    pub(super) streams: AllStreams,
    /// `None` where this user may not ask.
    pub(super) account: Option<Account>,
    version: (u64, u64, u64),
    max_payload: u64,
    /// Whether it stands alone for sure.
    alone: bool,
}

impl Server {
    pub(super) async fn ask(jetstream: &JetStream) -> Result<Self, ApiError> {
        let (streams, account) = tokio::join!(jetstream.all_streams(), jetstream.account());
        let account = match account {
            Ok(account) => Some(account),
            Err(error @ ApiError::Silent { .. }) => {
                tracing::warn!(
                    "limits of the account and the server's level are not checked before: {}",
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
        })
    }

    /// Returns a stream that was shown.
    pub(super) fn stream(&self, name: &StreamName) -> Option<&StreamInfo> {
        self.streams.known.get(name.as_str())
    }

    /// Returns whether there is a stream of which nothing was shown.
    pub(super) fn is_silent(&self, name: &StreamName) -> bool {
        self.streams.silent.iter().any(|silent| silent == name.as_str())
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
        // A file stream's blocks come as they are, whatever the limits for messages.
        if !plan.in_memory() {
            return None;
        }
        let max_msg_size = plan.config["max_msg_size"].as_u64().filter(|most| *most > 0);
        let limits = [("max_payload", Some(self.max_payload)), ("max_msg_size", max_msg_size)];
        let too_small = |most: u64| plan.pieces.iter().any(|piece| is_larger(plan, piece, most));
        let limit = limits
            .into_iter()
            .find_map(|(limit, most)| Some((limit, most?)).filter(|l| too_small(l.1)));
        limit.map(|(limit, most)| RestoreError::TooLarge { stream, limit, most })
    }
}

/// Returns whether some message of a segment is larger than this for sure: the mean of its messages is, and all of
/// them come back.
fn is_larger(plan: &Plan, (segment, first, last): &Piece, most: u64) -> bool {
    let whole = (*first, *last) == (segment.first_seq, segment.last_seq)
        && plan.subject.is_none()
        && plan.until_time.is_none()
        && plan.gone_in(*first, *last).is_empty();
    whole && segment.bytes / segment.messages.max(1) > most.saturating_add(SUBJECT)
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
