//! Steps that spoil what a tier holds or says, and what must come of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::names::NodeName;
use s3::Bucket;
use serde_json::Value;

use super::run::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::lab::wait::wait_until;
use crate::oracle::tier::{get, holding};
use crate::oracle::wire::Wire;
use crate::scenario::{Damage, FaultRule, Harm, Part, Role, Step, Tier};

/// The storage manager's exit status for an archive that is damaged.
const DAMAGED: i32 = 5;
/// Between one merge and the next commit there is nothing that waits to be merged.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// What a service with room again takes; in nobody's archive.
const ROOM: &str = "lab/room";
const ROOM_WITHIN: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) fn is_damaged(&self, tier: Tier) -> bool {
        self.damaged.iter().any(|(on, _)| *on == tier)
    }

    /// Changes an object through the service, as a silent error of its disk would.
    pub(super) async fn damage(&mut self, damage: &Damage) -> Result<()> {
        let tier = damage.tier;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        let what = format!("finding {} on {tier}", damage.part);
        let keys = wait_until(&what, FOUND_WITHIN, async || {
            match self.keys_of(&bucket, damage.part).await {
                Ok(keys) if keys.is_empty() => Err("there is none".to_owned()),
                other => other.map_err(|error| error.chain()),
            }
        });
        let keys = keys.await?;
        let last = keys.len() - 1;
        let key = &keys[usize::try_from(damage.at.0.of(last as u64)).unwrap_or(last)];
        spoil(&bucket, key, damage.harm, damage.draw).await?;
        self.progress.line(&format!("{tier}: `{key}`"));
        self.damaged.insert((tier, key.clone()));
        Ok(())
    }

    /// Every object of a kind, in the order of sequences.
    async fn keys_of(&self, bucket: &Bucket, part: Part) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        for stream in &self.plan.scenario.streams {
            let held = holding(bucket, &stream.name).await?;
            keys.extend(held.into_iter().flat_map(|held| held.keys(&stream.name, part)));
        }
        Ok(keys)
    }

    /// A restore from a damaged tier refuses, says so, and leaves nothing behind.
    pub(super) async fn restore_is_refused(&mut self, node: &NodeName, from: Tier) -> Result<()> {
        let tier = from.to_string();
        let args = ["restore", "--all", "--from", tier.as_str(), "--json"];
        let ended = self.machines.run_storage_manager(node, &args).await?;
        if ended.status != DAMAGED {
            let (status, said) = (ended.status, ended.said);
            return Err(Error::step(format!(
                "a restore from the damaged {tier} must be refused with status {DAMAGED}, \
                 it ended with {status}: {said}"
            )));
        }
        self.progress.line(&ended.said);
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot_read)?;
        let names = wire.api("STREAM.NAMES", &Value::Null).await.step(cannot_read)?;
        match names["total"].as_u64() {
            Some(0) => Ok(()),
            _ => Err(Error::step(format!("a restore that was refused left streams: {names}"))),
        }
    }

    /// `verify` names what was damaged, and finds nothing wrong with what was not.
    pub(super) async fn verify(&mut self, node: &NodeName, tier: Tier) -> Result<()> {
        let from = tier.to_string();
        let args = ["verify", "--from", from.as_str(), "--json"];
        let ended = self.machines.run_storage_manager(node, &args).await?;
        if !self.is_damaged(tier) {
            return ended.must_succeed(&args);
        }
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let streams = report["streams"].as_array().into_iter().flatten();
        let problems = streams.flat_map(|s| s["problems"].as_array().into_iter().flatten());
        let problems: Vec<&str> = problems.filter_map(Value::as_str).collect();
        let unnamed = unnamed(self.damaged.iter().filter(|(on, _)| *on == tier), &problems);
        match (ended.status, unnamed) {
            (DAMAGED, None) => Ok(()),
            (DAMAGED, Some(key)) => Err(Error::step(format!(
                "`verify` does not name the damaged `{key}`: {}",
                problems.join("; ")
            ))),
            (status, _) => Err(Error::step(format!(
                "`verify` of the damaged {tier} must end with status {DAMAGED}, \
                 it ended with {status}: {}",
                ended.said
            ))),
        }
    }

    /// Gives a disk's room back. A service that looks for room only now and then sees it later.
    pub(super) async fn free_disk(&mut self, node: &NodeName) -> Result<()> {
        self.machines.free_disk(node)?;
        let tier = match self.machines.role(node) {
            Role::Nas => Tier::Nas,
            Role::Wasabi => Tier::Wasabi,
            Role::Host | Role::Leaf | Role::Operator => return Ok(()),
        };
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        wait_until(&format!("writing to {tier} again"), ROOM_WITHIN, async || {
            bucket.put_object(ROOM, b"room").await.map_err(|error| error.to_string())?;
            bucket.delete_object(ROOM).await.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }

    /// Sets a service's faults, and counts what those before them did.
    pub(super) async fn s3_faults(&mut self, node: &NodeName, rules: &[FaultRule]) -> Result<()> {
        self.count_strikes(node).await?;
        let admin = self.machines.admin(node);
        let admin = admin.ok_or_else(|| {
            Error::step(format!("no S3 that can be told to misbehave runs on `{node}`"))
        })?;
        admin.set_faults(rules).await
    }

    /// Counts what a service's faults did so far, before it forgets.
    pub(super) async fn count_strikes(&mut self, node: &NodeName) -> Result<()> {
        if !self.has_faults(node) {
            return Ok(());
        }
        let Some(admin) = self.machines.admin(node) else { return Ok(()) };
        for (fault, struck) in admin.strikes().await? {
            *self.strikes.entry((node.clone(), fault)).or_default() += struck;
        }
        Ok(())
    }

    pub(super) async fn count_all_strikes(&mut self) -> Result<()> {
        let plan = self.plan;
        for node in plan.scenario.nodes.keys() {
            self.count_strikes(node).await?;
        }
        Ok(())
    }

    fn has_faults(&self, node: &NodeName) -> bool {
        self.plan.steps.iter().any(|step| matches!(step, Step::S3Faults(s) if s.node == *node))
    }

    /// How often each fault of the plan struck: one that never did proved nothing.
    pub(super) fn struck(&self) -> Vec<(String, u64)> {
        let mut struck = Vec::new();
        let mut planned = BTreeSet::new();
        for step in &self.plan.steps {
            if let Step::S3Faults(faults) = step {
                let of = |rule: &FaultRule| (faults.node.clone(), rule.fault);
                planned.extend(faults.rules.iter().map(of));
            }
        }
        for (node, fault) in planned {
            let times = self.strikes.get(&(node.clone(), fault)).copied().unwrap_or_default();
            struck.push((format!("requests that `{fault}` struck at {node}"), times));
        }
        if self.plan.steps.iter().any(|step| matches!(step, Step::StepClock(_))) {
            let times = self.streams.iter().map(|stream| {
                let prints = stream.seen.prints();
                let times: Vec<i64> = prints.values().map(|print| print.time).collect();
                times.windows(2).filter(|two| two[1] < two[0]).count() as u64
            });
            struck.push(("messages that are earlier than the one before".into(), times.sum()));
        }
        let from_start = self.plan.scenario.links.iter().map(|l| (&l.from, &l.to, &l.conditions));
        let later = self.plan.steps.iter().filter_map(|step| match step {
            Step::Link(l) => Some((&l.from, &l.to, &l.conditions)),
            _ => None,
        });
        let mut links = BTreeMap::new();
        for (from, to, conditions) in from_start.chain(later) {
            let (answers, requests): &mut (bool, bool) = links.entry((from, to)).or_default();
            *answers |= conditions.lose_answer_every.is_some();
            *requests |= conditions.tear_after.is_some();
        }
        for ((from, to), (answers, requests)) in links {
            let broken = self.machines.broken(from, to);
            if answers {
                let what = format!("answers that were lost from {to} to {from}");
                struck.push((what, broken.answers));
            }
            if requests {
                let what = format!("requests that were torn from {from} to {to}");
                struck.push((what, broken.requests));
            }
        }
        struck
    }
}

async fn spoil(bucket: &Bucket, key: &str, harm: Harm, draw: u64) -> Result<()> {
    let cannot = || format!("cannot damage `{key}`");
    let bytes = get(bucket, key).await?;
    let mut bytes = bytes.ok_or_else(|| Error::step(format!("{}: it is gone", cannot())))?.to_vec();
    harmed(&mut bytes, harm, draw);
    bucket.put_object(key, &bytes).await.step(cannot).map(drop)
}

/// One bit flipped, or the end missing; `draw` says where.
fn harmed(bytes: &mut Vec<u8>, harm: Harm, draw: u64) {
    let length = bytes.len().max(1) as u64;
    let at = usize::try_from((draw >> 3) % length).unwrap_or_default();
    match harm {
        Harm::Flip => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (draw % 8);
            }
        }
        Harm::Cut => bytes.truncate(at),
    }
}

/// A damaged object that no problem names. A chain is read to its first damaged entry and no further.
fn unnamed<'a>(
    damaged: impl Iterator<Item = &'a (Tier, String)>,
    problems: &[&str],
) -> Option<&'a str> {
    let named = |key: &str| problems.iter().any(|problem| problem.contains(key));
    let (entries, segments): (Vec<&str>, Vec<&str>) =
        damaged.map(|(_, key)| key.as_str()).partition(|key| key.contains("/manifest/"));
    match entries.first() {
        Some(first) => (!named(first)).then_some(*first),
        None => segments.into_iter().find(|key| !named(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_changes_one_bit_or_takes_the_end() {
        let whole: Vec<u8> = (0..200).collect();
        for draw in [0, 7, 8, 1 << 40, u64::MAX] {
            let mut flipped = whole.clone();
            harmed(&mut flipped, Harm::Flip, draw);
            let bits: u32 = whole.iter().zip(&flipped).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flipped.len(), bits), (200, 1), "{draw}");
            let mut cut = whole.clone();
            harmed(&mut cut, Harm::Cut, draw);
            assert!(cut.len() < 200 && whole.starts_with(&cut), "{draw}");
        }
    }

    #[test]
    fn every_damaged_segment_must_be_named_and_the_first_entry() {
        let key = |key: &str| (Tier::Nas, key.to_owned());
        let segments = [key("v1/streams/S/segments/a"), key("v1/streams/S/segments/b")];
        assert_eq!(
            unnamed(segments.iter(), &["`v1/streams/S/segments/a` is cut"]),
            Some("v1/streams/S/segments/b")
        );
        let all = ["`v1/streams/S/segments/a` is cut", "`v1/streams/S/segments/b` is cut"];
        assert_eq!(unnamed(segments.iter(), &all), None);
        let entries = [key("v1/streams/S/manifest/1"), segments[0].clone()];
        assert_eq!(unnamed(entries.iter(), &["damaged at `v1/streams/S/manifest/1`"]), None);
        assert_eq!(unnamed(entries.iter(), &[]), Some("v1/streams/S/manifest/1"));
    }
}
