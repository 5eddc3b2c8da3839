//! The addresses of streams, and how the oracle reads them.
//!
//! A stream is on the host, on a cluster of hosts, or on a leaf node. In a cluster it has replicas:
//! a reader is given the messages on its own server's disk, so the oracle names the server. Clients
//! are given the leader's.

use std::collections::HashSet;
use std::time::Duration;

use cim_core::names::StreamName;
use serde_json::Value;

use super::{Run, cannot_read};
use crate::error::{Context as _, Result};
use crate::lab::endpoint::Endpoint;
use crate::lab::wait::wait_until;
use crate::ledger::EventId;
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::recorder::fingerprint_of;
use crate::oracle::retention::Retention;
use crate::oracle::wire::{From, Wire};

/// During an election a cluster does not answer, for up to nine seconds at a time.
const ANSWERED_WITHIN: Duration = Duration::from_secs(40);
/// The number of attempts to read a cluster's stream, for an election may interrupt one.
const READINGS: usize = 3;
/// A reader without a message for this long has missed the stream's end.
const STALLED: Duration = Duration::from_secs(20);

/// Returns the server's description of a stream; `None` if it does not exist.
pub(super) async fn stream_info(nats: &Endpoint, stream: &str) -> Result<Option<Value>> {
    wait_until(&format!("an answer about `{stream}`"), ANSWERED_WITHIN, async || {
        let mut wire = Wire::connect(nats).await.map_err(|e| e.to_string())?;
        match wire.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await {
            Ok(info) => Ok(Some(info)),
            Err(error) if error.to_string().ends_with("stream not found") => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
}

/// Returns the last sequence in a stream's description.
pub(super) fn last_seq(info: &Value) -> u64 {
    info["state"]["last_seq"].as_u64().unwrap_or_default()
}

/// Returns the servers with a replica of a stream, the leader first; empty for an unreplicated
/// stream.
pub(super) fn replicas(info: &Value) -> Vec<String> {
    // A single server names itself as leader, too.
    let Some(others) = info["cluster"]["replicas"].as_array() else { return Vec::new() };
    let names =
        std::iter::once(&info["cluster"]["leader"]).chain(others.iter().map(|r| &r["name"]));
    names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

/// Reads a stream from a message on, up to `last`; in a cluster from the leader.
pub(super) async fn read_stream(
    nats: &Endpoint,
    seed: u64,
    stream: &str,
    from: From,
    last: u64,
) -> Result<Vec<Fingerprint>> {
    let mut outcome = Ok(Vec::new());
    for _ in 0..READINGS {
        // A stream that does not exist has no messages; the judge finds them all lost.
        let Some(info) = stream_info(nats, stream).await? else { return Ok(Vec::new()) };
        if info["state"]["messages"].as_u64() == Some(0) {
            return Ok(Vec::new());
        }
        if Retention::of(&info["config"]).is_work_queue() {
            return read_queue(nats, seed, stream, from, last).await;
        }
        let leader = replicas(&info).into_iter().next();
        outcome = read_replica(nats, seed, stream, leader.as_deref(), from, last).await;
        if outcome.is_ok() || leader.is_none() {
            break;
        }
    }
    outcome
}

/// Reads a work queue, message by message.
async fn read_queue(
    nats: &Endpoint,
    seed: u64,
    stream: &str,
    from: From,
    last: u64,
) -> Result<Vec<Fingerprint>> {
    let mut wire = Wire::connect(nats).await.step(cannot_read)?;
    let mut fingerprints = Vec::new();
    let (mut next, since) = match from {
        From::Start => (1, i64::MIN),
        From::Sequence(seq) => (seq, i64::MIN),
        From::Time(time) => (1, time),
    };
    while let Some(message) = wire.message_from(stream, next).await.step(cannot_read)? {
        if message.seq > last {
            break;
        }
        next = message.seq + 1;
        if message.time >= since {
            fingerprints.push(fingerprint_of(seed, &message));
        }
    }
    Ok(fingerprints)
}

/// Reads one server's copy of a stream.
pub(super) async fn read_replica(
    nats: &Endpoint,
    seed: u64,
    stream: &str,
    server: Option<&str>,
    from: From,
    last: u64,
) -> Result<Vec<Fingerprint>> {
    let wire = Wire::connect(nats).await.step(cannot_read)?;
    let reader = match server {
        Some(server) => wire.read_replica(stream, server, from).await,
        None => wire.read(stream, from).await,
    };
    let mut reader = reader.step(cannot_read)?;
    let mut fingerprints = Vec::new();
    loop {
        let message = tokio::time::timeout(STALLED, reader.next()).await;
        let message = message.step(|| format!("`{stream}` gives no more messages"))?;
        let message = message.step(cannot_read)?;
        if message.seq <= last {
            fingerprints.push(fingerprint_of(seed, &message));
        }
        if message.seq >= last || message.pending == 0 {
            break;
        }
    }
    if server.is_none() {
        reader.end().await.step(cannot_read)?;
    }
    Ok(fingerprints)
}

impl Run<'_> {
    /// Returns the address at which the oracle reads a stream.
    pub(super) fn place(&self, stream: usize) -> Result<Endpoint> {
        match &self.plan.scenario.streams[stream].node {
            Some(leaf) => self.machines.leaf(leaf),
            None => self.machines.nats(),
        }
    }

    /// Returns the places in the scenario of the streams that one copies from.
    pub(super) fn origins(&self, stream: usize) -> Vec<usize> {
        let sources = &self.plan.scenario.streams[stream].sources;
        sources.iter().map(|name| self.stream_of(name)).collect()
    }

    /// Reports whether a stream copies its messages from others.
    pub(super) fn takes(&self, stream: usize) -> bool {
        !self.plan.scenario.streams[stream].sources.is_empty()
    }

    /// Returns the events of a stream's loads that may be stored without an ack.
    pub(super) fn unacked_of(&self, stream: usize, unacked: &HashSet<EventId>) -> HashSet<EventId> {
        unacked.iter().filter(|event| self.is_of(stream, **event)).copied().collect()
    }

    /// Waits until every replica of every stream of the cluster is complete.
    pub(super) async fn await_all_replicas(&mut self, within: Duration) -> Result<()> {
        for (_, stream) in self.plan.scenario.tiered() {
            self.await_replicas(&stream.name, within).await?;
        }
        self.machines.all_alive()
    }

    /// Waits until every replica of one stream is complete.
    pub(super) async fn await_replicas(&self, stream: &StreamName, within: Duration) -> Result<()> {
        let nats = self.machines.nats()?;
        let what = format!("every replica of `{stream}` catching up");
        wait_until(&what, within, async || {
            let info = stream_info(&nats, stream.as_str()).await.map_err(|e| e.to_string())?;
            let info = info.ok_or_else(|| "the stream does not exist".to_owned())?;
            behind(&info).map_or(Ok(()), Err)
        })
        .await
    }
}

/// Returns a description of the replicas that are not complete, or `None`.
pub(super) fn behind(info: &Value) -> Option<String> {
    let wanted = info["config"]["num_replicas"].as_u64().unwrap_or(1);
    let there = replicas(info).len() as u64;
    if there < wanted && wanted > 1 {
        return Some(format!("{there} of {wanted} replicas are there"));
    }
    let others = info["cluster"]["replicas"].as_array().into_iter().flatten();
    let current = |r: &&Value| r["current"] == true && r["offline"] != true && r["lag"].is_null();
    let late = others.filter(|r| !current(r)).map(|r| r["name"].as_str().unwrap_or_default());
    let late: Vec<_> = late.collect();
    (!late.is_empty()).then(|| format!("not yet: {}", late.join(", ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replica_that_is_behind_is_named() {
        let info = |replicas: Value| {
            let cluster = json!({ "name": "lab", "leader": "host-1", "replicas": replicas });
            json!({ "config": { "num_replicas": 3 }, "cluster": cluster })
        };
        let good =
            json!([{ "name": "host-2", "current": true }, { "name": "host-3", "current": true }]);
        assert_eq!(behind(&info(good.clone())), None);
        assert_eq!(replicas(&info(good)), ["host-1", "host-2", "host-3"]);
        let late = json!([
            { "name": "host-2", "current": true, "offline": true },
            { "name": "host-3", "current": true, "lag": 7 },
        ]);
        assert_eq!(behind(&info(late)).unwrap(), "not yet: host-2, host-3");
        let one = json!([{ "name": "host-2", "current": true }]);
        assert_eq!(behind(&info(one)).unwrap(), "2 of 3 replicas are there");
        let alone = json!({ "config": { "num_replicas": 1 }, "cluster": { "leader": "host" } });
        assert_eq!(behind(&alone), None);
        assert_eq!(replicas(&alone), Vec::<String>::new());
    }
}
