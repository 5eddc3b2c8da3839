//! Compares streams' configurations and consumers' positions with those they were made with.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use cim_core::archive::{ConsumerRecord, Deliveries};
use cim_core::names::StreamName;
use serde_json::Value;

use super::stream_reader::{read_stream, stream_info};
use super::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::oracle::tier::Archive;
use crate::oracle::wire::{From, Wire};
use crate::scenario::{Span, Tier};

impl Run<'_> {
    pub(super) fn check_stream_config(&mut self, stream: usize, found: &Value, when: &str) {
        let now = self.streams[stream].configs.last().map_or(&Value::Null, |(_, config)| config);
        let differences = differences(now, found);
        if !differences.is_empty() {
            self.report.oracle.streams_wrong += 1;
            let name = &self.plan.scenario.streams[stream].name;
            self.note(format!("configuration of `{name}` {when}"), differences);
        }
    }

    /// Accepts an older configuration if the change was made shortly before the loss: it may not
    /// have been archived.
    fn forget_late_changes(&mut self, stream: usize, found: &Value) {
        let lost_at = self.losses.last().map_or(0, |lost| lost.at);
        let bound = self.expect.deletes_within.map_or(u64::MAX, Span::as_micros);
        let configs = &self.streams[stream].configs;
        let newest = configs.len().saturating_sub(1);
        let survivor = (0..newest).rev().find(|at| {
            let age = lost_at.saturating_sub(configs[at + 1].0);
            age <= bound && differences(&configs[*at].1, found).is_empty()
        });
        if let Some(at) = survivor {
            let config = configs[at].1.clone();
            self.streams[stream].configs.push((self.ledger.now(), config));
        }
    }

    /// Returns the highest ack floor that a consumer may have: messages that are gone need no
    /// acknowledgement.
    async fn acknowledged(&self, consumer: usize, wire: &mut Wire) -> Result<u64> {
        let spec = &self.plan.scenario.consumers[consumer];
        let stream = self.stream_of(&spec.stream);
        let group = spec.members.map(|_| self.acknowledged_by_members(consumer));
        let floor = if group.is_some() { 0 } else { self.consumer_logs[consumer].floor() };
        if group.is_none() && !self.limits(stream).any() && self.ledger.removals(stream).is_empty()
        {
            return Ok(floor);
        }
        let info = wire.api(&format!("STREAM.INFO.{}", spec.stream), &Value::Null).await;
        let last = info.step(cannot_read)?["state"]["last_seq"].as_u64().unwrap_or_default();
        let url = self.machines.nats()?;
        let name = spec.stream.as_str();
        let there = read_stream(&url, self.plan.seed, name, From::Start, last).await?;
        let log = &self.consumer_logs[consumer];
        let acked = |seq| group.as_ref().map_or_else(|| log.acked(seq), |g| g.contains(&seq));
        let first = there.iter().map(|fingerprint| fingerprint.seq).find(|seq| !acked(*seq));
        Ok(first.map_or(last, |seq| seq - 1).max(floor))
    }

    /// Judges configurations and consumers' positions right after a restore, before any client
    /// reads.
    pub(super) async fn check_restored(&mut self, tier: Tier) -> Result<()> {
        let url = self.machines.nats()?;
        let mut wire = Wire::connect(&url).await.step(cannot_read)?;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        let plan = self.plan;
        for (stream, spec) in plan.scenario.tiered() {
            if let Some(info) = stream_info(&url, spec.name.as_str()).await? {
                self.forget_late_changes(stream, &info["config"]);
                self.check_stream_config(stream, &info["config"], "after the restore");
            }
        }
        let archive = Archive::open(&bucket, tier).await?;
        for (at, consumer) in self.plan.scenario.consumers.iter().enumerate() {
            let archived = archive.stream(&consumer.stream).await?;
            let known = archived.as_ref().and_then(|a| a.deliveries.get(&consumer.name)).cloned();
            let record = archived.iter().flat_map(|a| &a.consumers);
            let record = record.into_iter().find(|c| c.name == consumer.name).cloned();
            let subject = format!("CONSUMER.INFO.{}.{}", consumer.stream, consumer.name);
            let info = wire.api(&subject, &Value::Null).await;
            let mut wrong = Vec::new();
            match (&record, &info) {
                (Some(record), Ok(info)) => {
                    let acked = self.acknowledged(at, &mut wire).await?;
                    wrong.extend(differences(&self.consumer_configs[at], &info["config"]));
                    let stream = self.stream_of(&consumer.stream);
                    let last = self.bounds.last().map_or(0, |bounds| bounds[stream]);
                    let held = first_seq(&mut wire, &consumer.stream).await?..=last;
                    wrong.extend(positions(record, known.as_ref(), info, acked, &held));
                    self.stands_at(at, info);
                }
                (None, _) => wrong.push(format!("{tier} has no record of it")),
                (_, Err(error)) => wrong.push(format!("it does not exist: {error}")),
            }
            if !wrong.is_empty() {
                self.report.oracle.consumers_wrong += 1;
                let of = format!("consumer `{}` of `{}`", consumer.name, consumer.stream);
                self.note(format!("{of} after the restore"), wrong);
            }
        }
        Ok(())
    }
}

/// Returns the problems of a restored consumer's position. The archive's record holds up to the
/// stream's end, and a message that was never acknowledged must not count as acknowledged.
fn positions(
    record: &ConsumerRecord,
    known: Option<&Deliveries>,
    info: &Value,
    acked: u64,
    held: &RangeInclusive<u64>,
) -> Vec<String> {
    let last = *held.end();
    let place = |name: &str| info[name]["stream_seq"].as_u64().unwrap_or_default();
    let (floor, delivered) = (place("ack_floor"), place("delivered"));
    let mut wrong = Vec::new();
    if floor > acked {
        wrong.push(format!("it has acknowledged up to {floor}, the lab only up to {acked}"));
    }
    let farthest = known.map_or(0, |known| known.ack_floor.stream_seq);
    let due = record.ack_floor.stream_seq.max(farthest).min(last);
    // The server knows nothing of a message that it has given up.
    let given_up = known.is_some_and(|known| known.redelivered(due).any(|of| of.stream_seq == due));
    // The server does not wait for an ack of a message that the restored stream does not begin with: a message
    // that a worker has acknowledged is deleted, and may be known as deleted before the ack is known.
    let raised = due.max(held.start().saturating_sub(1));
    if floor != due && floor != raised && !(given_up && floor + 1 == due) {
        wrong.push(format!("its ack floor is {floor}, by the archive it should be {due}"));
    }
    // If the archive does not list the pending messages one by one, all of them are delivered
    // again.
    let newer = known.is_some_and(|k| k.delivered.consumer_seq > record.delivered.consumer_seq);
    let due = match known {
        _ if record.ack_pending == 0 && !newer => record.delivered.stream_seq.min(last),
        Some(known) => known.delivered.stream_seq.min(last).max(due),
        None => due,
    };
    if delivered != due && delivered != due.max(raised) {
        wrong.push(format!("it has been delivered up to {delivered}, it should be {due}"));
    }
    wrong
}

/// Returns the first sequence of a stream on the server.
async fn first_seq(wire: &mut Wire, stream: &StreamName) -> Result<u64> {
    let info = wire.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
    Ok(info.step(cannot_read)?["state"]["first_seq"].as_u64().unwrap_or_default())
}

/// Returns the fields in which two configurations differ.
fn differences(was: &Value, is: &Value) -> Vec<String> {
    let (Some(was), Some(is)) = (was.as_object(), is.as_object()) else {
        return vec!["it has no configuration".to_owned()];
    };
    let keys: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let differing = keys.into_iter().filter(|key| was.get(*key) != is.get(*key));
    let show = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
    differing
        .map(|key| format!("`{key}` is {}, it was {}", show(is.get(key)), show(was.get(key))))
        .collect()
}

#[cfg(test)]
mod tests {
    use cim_core::archive::Position;
    use serde_json::json;

    use super::*;

    #[test]
    fn configurations_differ_by_field() {
        let was = json!({ "name": "A", "max_age": 5, "metadata": { "x": "1" } });
        assert_eq!(differences(&was, &was), Vec::<String>::new());
        let is = json!({ "name": "A", "metadata": { "x": "2" }, "mirror": null });
        assert_eq!(
            differences(&was, &is),
            [
                "`max_age` is absent, it was 5",
                "`metadata` is {\"x\":\"2\"}, it was {\"x\":\"1\"}",
                "`mirror` is null, it was absent",
            ]
        );
    }

    #[test]
    fn a_position_ahead_of_what_was_acked_is_found() {
        let record = json!({
            "name": "c", "created": "2026-01-01T00:00:00Z", "config": {},
            "delivered": { "consumer_seq": 9, "stream_seq": 9 },
            "ack_floor": { "consumer_seq": 7, "stream_seq": 7 }, "ack_pending": 2,
        });
        let record = serde_json::from_str(&record.to_string()).unwrap();
        let at = |floor: u64, delivered: u64| {
            json!({
                "ack_floor": { "consumer_seq": floor, "stream_seq": floor },
                "delivered": { "consumer_seq": delivered, "stream_seq": delivered },
            })
        };
        assert_eq!(positions(&record, None, &at(7, 7), 7, &(1..=20)), Vec::<String>::new());
        assert_eq!(positions(&record, None, &at(8, 8), 7, &(1..=20)).len(), 3);
        assert_eq!(positions(&record, None, &at(7, 7), 6, &(1..=20)).len(), 1);
        assert_eq!(positions(&record, None, &at(7, 9), 8, &(1..=20)).len(), 1);
        // The restored stream begins behind the position that was recorded.
        assert_eq!(positions(&record, None, &at(8, 8), 8, &(9..=20)), Vec::<String>::new());
        assert_eq!(positions(&record, None, &at(8, 8), 7, &(9..=20)).len(), 1);
        // The tier's copy of the stream ends before the position that was recorded.
        assert_eq!(positions(&record, None, &at(5, 5), 7, &(1..=5)), Vec::<String>::new());
        // It is known one by one what was pending.
        let position = |seq| Position { consumer_seq: seq, stream_seq: seq };
        let known = Deliveries::of(position(8), position(6), Vec::new(), Vec::new());
        assert_eq!(positions(&record, Some(&known), &at(7, 8), 7, &(1..=20)), Vec::<String>::new());
        assert_eq!(positions(&record, Some(&known), &at(7, 7), 7, &(1..=20)).len(), 1);
    }
}
