//! Waiting until an archive has got somewhere.

use std::collections::BTreeMap;

use cim_testing::wait_until_seldom;
use serde_json::Value;

use super::{Manager, Nats};

impl Manager {
    /// Waits until a tier's watermark has reached a sequence and the stream's positions are in.
    pub(crate) async fn reaches(&self, stream: &str, tier: &str, seq: u64) {
        wait_until_seldom(&format!("`{stream}` is on {tier} up to {seq}"), async || {
            // A tier that was just replaced may have nothing that can be read.
            let output = self.run(&["status", "--json"]);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found =
                status["streams"].as_array().unwrap().iter().find(|s| s["stream"] == stream);
            // A tier may still have another timeline, which goes further.
            let reached = found.map(|s| &s[tier]).filter(|tier| tier["diverged"].is_null());
            match reached.map(|tier| tier["seq"].as_u64().unwrap_or_default()) {
                Some(reached) if reached >= seq => Ok(()),
                _ => Err(format!("{found:?}")),
            }
        })
        .await;
    }

    /// Waits until the NAS has all that these streams have now.
    pub(crate) async fn has_all(&self, nats: &Nats, streams: &[impl AsRef<str>]) {
        self.catches_up(nats, streams, &["nas"]).await;
    }

    /// Waits until tiers have all that these streams have now.
    pub(crate) async fn catches_up(
        &self,
        nats: &Nats,
        streams: &[impl AsRef<str>],
        tiers: &[&str],
    ) {
        let mut ends = BTreeMap::new();
        for stream in streams {
            ends.insert(stream.as_ref(), nats.last_seq(stream.as_ref()).await);
        }
        wait_until_seldom(&format!("all of the streams is on {tiers:?}"), async || {
            // What is damaged is no matter here.
            let output = self.run(&["status", "--json"]);
            let said = || String::from_utf8_lossy(&output.stderr).into_owned();
            let status: Value = serde_json::from_slice(&output.stdout).map_err(|_| said())?;
            let shown = status["streams"].as_array().unwrap().iter();
            let there = shown.filter(|shown| {
                let end = shown["stream"].as_str().and_then(|stream| ends.get(stream));
                let has = |tier: &&str| {
                    let tier = &shown[*tier];
                    tier["diverged"].is_null() && tier["seq"].as_u64() >= end.copied()
                };
                end.is_some() && tiers.iter().all(has)
            });
            if there.count() == ends.len() { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }

    /// Waits until `verify` finds nothing wrong with a tier, whose objects may still be on their way.
    pub(crate) async fn becomes_whole(&self, tier: &str) {
        wait_until_seldom(&format!("{tier} is whole"), async || {
            let output = self.run(&["verify", "--from", tier]);
            if output.status.success() { Ok(()) } else { Err(format!("{output:?}")) }
        })
        .await;
    }
}
