//! Steps that damage a tier's objects or answers, and their required consequences.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use cim_core::names::NodeName;
use s3::Bucket;
use serde_json::Value;

use super::{Damaged, Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::lab::wait::wait_until;
use crate::oracle::tier::{Archive, Place, ends_reading, get};
use crate::oracle::wire::Wire;
use crate::scenario::{Damage, FaultRule, Harm, Role, Step, Tier};

/// The storage manager's exit status for an archive that is damaged.
const DAMAGED: i32 = 5;
/// Between a merge and the next commit there may be no object of the kind.
const FOUND_WITHIN: Duration = Duration::from_secs(30);
/// The number of bits to draw until one changes the object's meaning.
const DRAWS: u32 = 1000;
/// The object that is written to see that a service has room again; outside of every archive.
const ROOM: &str = "lab/room";
const ROOM_WITHIN: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) fn is_damaged(&self, tier: Tier) -> bool {
        self.damaged.iter().any(|damaged| damaged.tier == tier)
    }

    /// Changes an object through the service, as a silent error of its disk would.
    pub(super) async fn damage(&mut self, damage: &Damage) -> Result<()> {
        let tier = damage.tier;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        let what = format!("finding {} on {tier}", damage.part);
        let places =
            wait_until(&what, FOUND_WITHIN, async || match self.places_of(&bucket, damage).await {
                Ok(places) if places.is_empty() => Err("there is none".to_owned()),
                other => other.map_err(|error| error.chain()),
            });
        let places = places.await?;
        let last = places.len() - 1;
        let place = &places[usize::try_from(damage.at.0.of(last as u64)).unwrap_or(last)];
        let object = spoil(&bucket, place, damage.harm, damage.draw).await?;
        let key = place.key.clone();
        self.progress.line(&format!("{tier}: `{key}`"));
        let ends = ends_reading(&key, &object);
        self.damaged.insert(Damaged { tier, key, ends });
        Ok(())
    }

    /// Returns every object of a kind.
    async fn places_of(&self, bucket: &Bucket, damage: &Damage) -> Result<Vec<Place>> {
        let archive = Archive::open(bucket, damage.tier).await?;
        let streams = self.plan.scenario.streams.iter().map(|stream| &stream.name);
        archive.places(streams, damage.part).await
    }

    /// Restores from a damaged tier, which must be refused. The streams that are there afterwards
    /// must be those that the report names, with nothing left of the damaged ones.
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
        // An archive that cannot be opened gives no report.
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let restored = report["streams"].as_array().into_iter().flatten();
        let restored = restored.filter(|stream| stream["outcome"] == "restored");
        let mut said: Vec<_> = restored.map(|stream| stream["restored_as"].clone()).collect();
        let mut there = names["streams"].as_array().cloned().unwrap_or_default();
        said.sort_by_key(Value::to_string);
        there.sort_by_key(Value::to_string);
        if there == said {
            return Ok(());
        }
        Err(Error::step(format!(
            "a restore of a damaged archive left streams that it did not name: {names}"
        )))
    }

    /// Checks that `verify` names the damaged objects, and that it finds no problem in a healthy
    /// tier.
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
        let mut problems: Vec<&str> = problems.filter_map(Value::as_str).collect();
        // A journal that cannot be read is not a problem of one stream.
        problems.push(&ended.said);
        let unnamed = unnamed(self.damaged.iter().filter(|d| d.tier == tier), &problems);
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

    /// Frees a disk's space, and waits until the service notices: some check only now and then.
    pub(super) async fn free_disk(&mut self, node: &NodeName) -> Result<()> {
        self.machines.free_disk(node)?;
        let tier = match self.machines.role(node) {
            Role::Nas => Tier::Nas,
            Role::Wasabi => Tier::Wasabi,
            Role::Host | Role::Leaf | Role::Standby | Role::Operator => return Ok(()),
        };
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        wait_until(&format!("writing to {tier} again"), ROOM_WITHIN, async || {
            bucket.put_object(ROOM, b"room").await.map_err(|error| error.to_string())?;
            bucket.delete_object(ROOM).await.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }

    /// Sets a service's faults, and counts the strikes of the earlier ones.
    pub(super) async fn s3_faults(&mut self, node: &NodeName, rules: &[FaultRule]) -> Result<()> {
        self.count_strikes(node).await?;
        let admin = self.machines.admin(node);
        let admin = admin.ok_or_else(|| {
            Error::step(format!("no S3 service with injectable faults runs on `{node}`"))
        })?;
        admin.set_faults(rules).await
    }

    /// Counts a service's strikes so far, before it forgets them.
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

    /// Returns how often each fault of the plan struck: one that never did proved nothing.
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
                let fingerprints = stream.seen.fingerprints();
                let times: Vec<i64> =
                    fingerprints.values().map(|fingerprint| fingerprint.time).collect();
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

/// Damages an object so that its meaning changes; returns its new content.
async fn spoil(bucket: &Bucket, place: &Place, harm: Harm, mut draw: u64) -> Result<Vec<u8>> {
    let cannot = || format!("cannot damage `{}`", place.key);
    let whole = get(bucket, &place.key).await?;
    let whole = whole.ok_or_else(|| Error::step(format!("{}: it is gone", cannot())))?;
    let range = place.range(&whole);
    for _ in 0..DRAWS {
        let mut object = whole.to_vec();
        harmed(&mut object, harm, draw, &range);
        if place.is_damaged(&object) {
            bucket.put_object(&place.key, &object).await.step(cannot)?;
            return Ok(object);
        }
        // No reader depends on this bit.
        draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1).rotate_left(17);
    }
    Err(Error::step(format!("{}: no bit of it matters to a reader", cannot())))
}

/// Flips one bit in a range, or cuts the end from there; `draw` decides the place.
fn harmed(bytes: &mut Vec<u8>, harm: Harm, draw: u64, range: &Range<usize>) {
    let length = range.len().max(1) as u64;
    let at = range.start + usize::try_from((draw >> 3) % length).unwrap_or_default();
    match harm {
        Harm::Flip => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (draw % 8);
            }
        }
        Harm::Cut => bytes.truncate(at),
    }
}

/// Returns a damaged object that no problem names. A log is read up to its first damaged entry
/// only.
fn unnamed<'a>(damaged: impl Iterator<Item = &'a Damaged>, problems: &[&str]) -> Option<&'a str> {
    let named = |damaged: &&Damaged| problems.iter().any(|problem| problem.contains(&damaged.key));
    let (entries, others): (Vec<_>, Vec<_>) = damaged.partition(|damaged| damaged.ends);
    let unnamed = match entries.first() {
        Some(first) => (!named(first)).then_some(*first),
        None => others.into_iter().find(|damaged| !named(damaged)),
    };
    unnamed.map(|damaged| damaged.key.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harm_changes_one_bit_or_takes_the_end() {
        let whole: Vec<u8> = (0..200).collect();
        let mut end = whole.clone();
        harmed(&mut end, Harm::Flip, 8 * 7, &(190..200));
        assert_eq!((&end[..197], end[197]), (&whole[..197], whole[197] ^ 1));
        for draw in [0, 7, 8, 1 << 40, u64::MAX] {
            let mut flipped = whole.clone();
            harmed(&mut flipped, Harm::Flip, draw, &(0..200));
            let bits: u32 = whole.iter().zip(&flipped).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((flipped.len(), bits), (200, 1), "{draw}");
            let mut cut = whole.clone();
            harmed(&mut cut, Harm::Cut, draw, &(0..200));
            assert!(cut.len() < 200 && whole.starts_with(&cut), "{draw}");
        }
    }

    #[test]
    fn every_damaged_segment_must_be_named_and_the_first_entry() {
        let damaged = |key: &str, ends| Damaged { tier: Tier::Nas, key: key.to_owned(), ends };
        let key = |key: &str| damaged(key, key.contains("/manifest/"));
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
        // A journal's entry whose messages are damaged is read, and others with it.
        let object = "v2/journal/main/entries/000000000001.parquet";
        let rows = [damaged(object, false), segments[0].clone()];
        assert_eq!(unnamed(rows.iter(), &[object]), Some("v1/streams/S/segments/a"));
        let entry = [damaged(object, true), segments[0].clone()];
        assert_eq!(unnamed(entry.iter(), &[object]), None);
    }
}
