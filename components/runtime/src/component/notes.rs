//! Notes: keys of the bucket that are no events, and the times at which the server took them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::kv::Store;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::bucket;
use crate::retry::Backoff;

/// The notes, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// The keys, without the prefix, and their times.
    pub(super) times: BTreeMap<String, Timestamp>,
    /// The time since which nothing was missed; `None` while notes are not watched.
    pub(super) since: Option<Timestamp>,
}

/// Watches the notes below `prefix` until `cancel` comes. Returns what it fills.
pub(super) fn watch(
    bucket: Store,
    prefix: &'static str,
    cancel: CancellationToken,
) -> Arc<Mutex<Notes>> {
    let notes = Arc::new(Mutex::new(Notes::default()));
    let filled = Arc::clone(&notes);
    tokio::spawn(async move {
        let mut tries = 0;
        loop {
            let watched = watch_once(&bucket, prefix, &filled);
            let why = tokio::select! {
                () = cancel.cancelled() => return,
                why = watched => why,
            };
            lock(&filled).since = None;
            tries += 1;
            tracing::warn!("heartbeats are not watched, so nothing expires: {why}; trying again");
            if !Backoff::default().wait(tries, &cancel).await {
                return;
            }
        }
    });
    notes
}

pub(super) fn lock(notes: &Mutex<Notes>) -> std::sync::MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn watch_once(bucket: &Store, prefix: &str, notes: &Mutex<Notes>) -> String {
    let (_, mut entries) = match bucket::newest(bucket, &format!("{prefix}.>")).await {
        Ok(entries) => entries,
        Err(why) => return why,
    };
    {
        let mut notes = lock(notes);
        notes.times.clear();
        notes.since = Some(Timestamp::now());
    }
    while let Some(entry) = entries.next().await {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => return crate::error::chain(&error),
        };
        let (Some(key), there) = bucket::key(bucket, &entry) else { continue };
        let Some(key) = key.strip_prefix(prefix).and_then(|key| key.strip_prefix('.')) else {
            continue;
        };
        let Ok(info) = entry.info() else { continue };
        let mut notes = lock(notes);
        if there {
            let time = Timestamp::from_nanosecond(info.published.unix_timestamp_nanos());
            notes.times.insert(key.to_owned(), time.unwrap_or(Timestamp::MIN));
        } else {
            notes.times.remove(key);
        }
    }
    "the watch ended".into()
}

/// A tick: how often due commands are looked for.
pub(super) const TICK: Duration = Duration::from_secs(1);
