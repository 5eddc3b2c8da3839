//! The position of a pipeline in its input, with its checkpoint, in a bucket.

use std::collections::BTreeMap;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{self, Store};
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::engine::Checkpoint;

#[derive(Serialize, Deserialize)]
struct Saved {
    /// The last event that is in the checkpoint.
    sequence: u64,
    /// The last sequence of each output that is known to be published.
    published: BTreeMap<String, u64>,
    checkpoint: Checkpoint,
}

pub(super) struct Position {
    store: Store,
    key: String,
    revision: u64,
    saved: Option<Saved>,
}

impl Position {
    pub(super) async fn open(
        context: &Context,
        settings: &Settings,
        pipeline: &str,
    ) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| {
            format!(
                "bucket `{}` cannot be used: {error}: declare it, or start with `--create`",
                settings.bucket
            )
        };
        if settings.create {
            let config =
                kv::Config { bucket: settings.bucket.clone(), history: 1, ..Default::default() };
            context.create_or_update_key_value(config).await.map_err(|error| failed(&error))?;
        }
        let store =
            context.get_key_value(&settings.bucket).await.map_err(|error| failed(&error))?;
        let key = format!("checkpoint.{pipeline}");
        let entry = store.entry(&key).await.map_err(|error| failed(&error))?;
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        let saved = entry.filter(|entry| entry.operation == kv::Operation::Put);
        let saved = saved.map(|entry| serde_json::from_slice(&entry.value)).transpose();
        let saved = saved.map_err(|error| {
            format!("`{key}` is no position: {error}: delete it, and the pipeline starts anew")
        })?;
        Ok(Self { store, key, revision, saved })
    }

    /// Returns the sequence to go on with.
    pub(super) fn next(&self) -> u64 {
        self.saved.as_ref().map_or(1, |saved| saved.sequence + 1)
    }

    /// Returns the last sequence of each subject that is known to be published.
    pub(super) fn published(&self) -> BTreeMap<String, u64> {
        self.saved.as_ref().map(|saved| saved.published.clone()).unwrap_or_default()
    }

    /// Returns the checkpoint.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.saved.as_ref().map(|saved| saved.checkpoint.clone())
    }

    /// Replaces the position that was read or written last; another process that did so is an error.
    pub(super) async fn save(
        &mut self,
        sequence: u64,
        published: &BTreeMap<String, u64>,
        checkpoint: Checkpoint,
    ) -> Result<(), String> {
        let saved = Saved { sequence, published: published.clone(), checkpoint };
        let value = serde_json::to_vec(&saved).expect("plain fields are JSON");
        let done = self.store.update(&self.key, value.into(), self.revision).await;
        self.revision = done.map_err(|error| {
            format!(
                "`{}` was not written: {error}: does another process run this pipeline?",
                self.key
            )
        })?;
        self.saved = Some(saved);
        Ok(())
    }
}
