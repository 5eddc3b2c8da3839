//! Snapshots: a copy of the fold in the component's bucket, so that a start need not read the whole log.
//!
//! A snapshot is believed only when the code that made it is this one, and the log still has its last event at its
//! place: after a restore to an earlier point it is thrown away.

use async_nats::jetstream::kv::Store;
use schemars::schema_for;
use serde::{Deserialize, Serialize};

use super::aggregate::Aggregate;
use super::digest::digest;
use super::folded::Folded;

/// The key of the snapshot.
pub(super) const KEY: &str = "snapshot";
/// Left free in a message for its headers.
const HEADERS: usize = 4096;

/// A snapshot as it is read.
#[derive(Deserialize)]
#[serde(bound = "A: Aggregate")]
struct Snapshot<A: Aggregate> {
    code: String,
    folded: Folded<A>,
}

/// A snapshot as it is written, without a copy of the state.
#[derive(Serialize)]
#[serde(bound = "A: Aggregate")]
struct Written<'a, A: Aggregate> {
    code: String,
    folded: &'a Folded<A>,
}

/// Returns the digest of what a snapshot depends on: the program's version and every schema, the state's included.
pub(super) fn code<A: Aggregate>() -> String {
    digest(&(A::NAME, A::VERSION, A::schemas(), schema_for!(A), super::folded::ANSWERS))
}

/// Returns the snapshot, if there is one that this program made.
pub(super) async fn load<A: Aggregate>(bucket: &Store) -> Option<Folded<A>> {
    let text = match bucket.get(KEY).await {
        Ok(text) => text?,
        Err(error) => {
            tracing::warn!("the snapshot cannot be read, so all events are: {error}");
            return None;
        }
    };
    match serde_json::from_slice::<Snapshot<A>>(&text) {
        Ok(snapshot) if snapshot.code == code::<A>() => Some(snapshot.folded),
        Ok(_) => {
            tracing::info!("the snapshot is another version's: all events are read");
            None
        }
        Err(error) => {
            tracing::info!("the snapshot has another form, so all events are read: {error}");
            None
        }
    }
}

/// Writes a snapshot. It is left out, and a later start takes longer, when it fits into no message of this server.
pub(super) async fn save<A: Aggregate>(
    bucket: &Store,
    folded: &Folded<A>,
    max_payload: usize,
) -> Result<bool, String> {
    let snapshot = Written { code: code::<A>(), folded };
    let text = serde_json::to_vec(&snapshot).expect("a state is JSON");
    if text.len() + HEADERS > max_payload {
        tracing::debug!("a snapshot of {} bytes fits into no message", text.len());
        return Ok(false);
    }
    bucket.put(KEY, text.into()).await.map_err(|error| error.to_string())?;
    Ok(true)
}
