//! Consumers that keep messages in interest streams for the archive: the storage manager has a
//! durable one in each, and acknowledges the messages on the NAS. A consumer for a bucket that is
//! not a tier any more acknowledges nothing, and the stream keeps everything.

use cim_core::archive::{ANCHOR, anchor};
use cim_core::inventory::Inventory;
use serde::Serialize;

use super::server::{Found, Server};
use crate::error::Result;

/// An interest stream with a consumer that keeps its messages for an archive, or without one.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub(super) stream: String,
    /// `None` if the storage manager has not begun with the stream.
    pub(super) consumer: Option<String>,
    /// The number of messages that are not on the NAS yet.
    pub(super) waiting: u64,
    /// True if no storage manager of the inventory acknowledges for it.
    pub(super) left_over: bool,
}

/// Returns the name of the consumer of the inventory's own storage manager; `None` if nothing is
/// archived.
fn own(inventory: &Inventory) -> Option<String> {
    let bucket = &inventory.tiers.secondary.as_ref()?.bucket;
    Some(anchor(bucket.as_str()))
}

/// Asks a server which consumers keep messages of its interest streams.
pub(super) async fn kept(
    inventory: &Inventory,
    server: &Server,
    found: &[Found],
) -> Result<Vec<Kept>> {
    let own = own(inventory);
    let mut all = Vec::new();
    for stream in found.iter().filter(|found| found.config["retention"] == "interest") {
        let Some(stream) = stream.config["name"].as_str() else { continue };
        let consumers = server.consumers(stream).await?;
        let mut found = Vec::new();
        for consumer in consumers {
            let name = consumer["name"].as_str().unwrap_or_default();
            if name.starts_with(ANCHOR) {
                let count = |key: &str| consumer[key].as_u64().unwrap_or_default();
                found.push(Kept {
                    stream: stream.into(),
                    consumer: Some(name.into()),
                    waiting: count("num_pending") + count("num_ack_pending"),
                    left_over: own.as_deref() != Some(name),
                });
            }
        }
        if own.is_some() && found.iter().all(|kept| kept.left_over) {
            let none = Kept { stream: stream.into(), consumer: None, waiting: 0, left_over: false };
            found.push(none);
        }
        all.extend(found);
    }
    Ok(all)
}
