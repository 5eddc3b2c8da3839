//! What is laid before the judge, and what becomes of the judgement.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::names::StreamName;
use serde_json::Value;

use super::run::{Run, cannot_read, seconds};
use crate::error::{Context as _, Error, Result};
use crate::lab::endpoint::Endpoint;
use crate::lab::wait::wait_until;
use crate::ledger::EventId;
use crate::oracle::archive::{Archived, read_chain};
use crate::oracle::judge::{Defect, Findings, Truth, judge};
use crate::oracle::print::{ContentPrint, Print};
use crate::oracle::wire::{From, Wire};
use crate::oracle::witness::print_of;
use crate::report::{Judgement, Loss, StreamLoss};
use crate::scenario::Tier;
use crate::workload;

/// Examples that are shown of each kind of defect.
const EXAMPLES: usize = 3;
/// A reader that gets nothing for this long has come to an end that it does not see.
const STALLED: Duration = Duration::from_secs(20);
/// A delete is archived with the next commit, which may follow the last message's.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

/// Reads a stream from a message on, up to `last`.
pub(super) async fn read_stream(
    nats: &Endpoint,
    seed: u64,
    stream: &str,
    from: From,
    last: u64,
) -> Result<Vec<Print>> {
    let mut wire = Wire::connect(nats).await.step(cannot_read)?;
    let info = wire.api(&format!("STREAM.INFO.{stream}"), &Value::Null).await;
    // A stream that is not there has no messages; the judge finds them all lost.
    let Ok(info) = info else { return Ok(Vec::new()) };
    if info["state"]["messages"].as_u64() == Some(0) {
        return Ok(Vec::new());
    }
    let mut reader = wire.read(stream, from).await.step(cannot_read)?;
    let mut prints = Vec::new();
    loop {
        let message = tokio::time::timeout(STALLED, reader.next()).await;
        let message = message.step(|| format!("`{stream}` gives no more messages"))?;
        let message = message.step(cannot_read)?;
        if message.seq <= last {
            prints.push(print_of(seed, &message));
        }
        if message.seq >= last || message.pending == 0 {
            return Ok(prints);
        }
    }
}

impl Run<'_> {
    fn stream_names(&self) -> Vec<StreamName> {
        self.plan.scenario.streams.iter().map(|s| s.name.clone()).collect()
    }

    /// What every tier that can be reached says of every stream.
    pub(super) async fn read_tiers(&self) -> Result<BTreeMap<Tier, Vec<Option<Archived>>>> {
        let mut tiers = BTreeMap::new();
        for tier in self.plan.scenario.tiers() {
            let Some(bucket) = self.machines.bucket(tier)? else { continue };
            let mut streams = Vec::new();
            for stream in self.stream_names() {
                streams.push(read_chain(&bucket, &stream).await);
            }
            // What the scenario broke confirms nothing any more.
            if streams.iter().any(Result::is_err) && self.is_damaged(tier) {
                continue;
            }
            tiers.insert(tier, streams.into_iter().collect::<Result<_>>()?);
        }
        Ok(tiers)
    }

    fn content(&self, event: EventId) -> Option<ContentPrint> {
        let generator = self.generators.iter().find(|g| g.owns(event))?;
        Some(ContentPrint::of(&generator.content(event)))
    }

    /// The acked events that live on, with `last` as the bound of the last life in question.
    fn history(&self, stream: usize, epoch: u32, last: u64) -> BTreeMap<u64, EventId> {
        let mut history = BTreeMap::new();
        for life in 0..=epoch {
            let bound = if life == epoch { last } else { self.bounds[life as usize][stream] };
            let acks = self.ledger.acks(stream, life);
            history.extend(acks.into_iter().take_while(|(seq, _)| *seq <= bound));
        }
        history
    }

    fn truth<'a>(
        &'a self,
        expected: BTreeMap<u64, EventId>,
        content: &'a dyn Fn(EventId) -> Option<ContentPrint>,
        witnessed: &'a BTreeMap<u64, Print>,
    ) -> Truth<'a> {
        let (deleted, maybe_deleted) = (BTreeSet::new(), BTreeSet::new());
        let unacked = self.ledger.unacked();
        Truth { expected, deleted, maybe_deleted, unacked, content, witnessed }
    }

    /// The streams that were just restored, against what the tier had confirmed at the loss.
    pub(super) async fn judge_recovery(&mut self) -> Result<()> {
        let latest = self.losses.last();
        let Some((at, epoch, tier)) = latest.and_then(|l| Some((l.at, l.epoch, l.from?))) else {
            return Err(Error::step("there was no recovery that could be judged"));
        };
        let number = self.losses.len() - 1;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        let url = self.machines.nats()?;
        let mut loss = Loss {
            node: self.losses[number].node.to_string(),
            at_seconds: seconds(at),
            recovered_from: Some(tier),
            ..Loss::default()
        };
        for (stream, name) in self.stream_names().iter().enumerate() {
            let confirmed = self.losses[number].tiers.get(&tier);
            let confirmed = confirmed.and_then(|streams| streams[stream].clone());
            let watermark = confirmed.as_ref().map_or(0, |archived| archived.watermark);
            let recovered = self.bounds[epoch as usize][stream];
            let goal = watermark.max(recovered);
            // The stream first: the recovery is over when it has been read.
            let found =
                read_stream(&url, self.plan.seed, name.as_str(), From::Start, recovered).await?;
            self.losses[number].read_at = Some(self.ledger.now());
            let archive = match &confirmed {
                Some(archived) => archived.messages(&bucket, self.plan.seed).await?,
                None => Vec::new(),
            };
            let before = self.report.oracle.recovered;
            let late = self.judge_one_recovery(stream, epoch, watermark, goal, &archive, &found);
            loss.recovered += self.report.oracle.recovered - before;
            for delete in &late {
                let age = at.saturating_sub(delete.1);
                let bound = self.plan.scenario.expect.deletes_within;
                if bound.is_some_and(|bound| age > bound.as_micros()) {
                    let what = format!(
                        "delete of sequence {} was {:.1} s old and did not survive",
                        delete.0,
                        seconds(age)
                    );
                    self.report.judgements.last_mut().expect("just made").examples.push(what);
                }
            }
            loss.deletes_undone += late.len() as u64;
            self.undone[stream].extend(late.iter().map(|(seq, _)| *seq));
            let acks = self.ledger.acks(stream, epoch);
            let tail: Vec<_> = acks.iter().filter(|(seq, _)| *seq > goal).collect();
            let acked_at = |event| self.ledger.record(event).and_then(|r| r.ack).map(|a| a.at);
            let oldest = tail.iter().filter_map(|(_, event)| acked_at(*event)).min();
            let age = oldest.map_or(0.0, |acked| seconds(at.saturating_sub(acked)));
            loss.rpo_seconds = loss.rpo_seconds.max(age);
            loss.tail_events += tail.len() as u64;
            loss.streams.push(StreamLoss {
                stream: name.to_string(),
                acked_seq: acks.last().map_or(0, |(seq, _)| *seq),
                confirmed_seq: watermark,
                recovered_seq: recovered,
                tail_events: tail.len() as u64,
            });
        }
        self.losses[number].loss = Some(loss);
        Ok(())
    }

    /// The streams of a host that came back from a power cut: everything that it had acked is there.
    pub(super) async fn judge_survival(&mut self) -> Result<()> {
        let Some(epoch) = self.ledger.epoch().checked_sub(1) else {
            return Err(Error::step("there was no power cut whose survivors could be judged"));
        };
        let nats = self.machines.nats()?;
        for (stream, name) in self.stream_names().iter().enumerate() {
            let last = self.bounds[epoch as usize][stream];
            let found =
                read_stream(&nats, self.plan.seed, name.as_str(), From::Start, last).await?;
            let content = |event| self.content(event);
            let seen = self.seen[stream].prints();
            let expected = self.history(stream, epoch, u64::MAX);
            let mut truth = self.truth(expected, &content, &seen);
            // JetStream promises to sync messages, not deletes: either is right.
            let deletes = self.ledger.deletes(stream);
            truth.maybe_deleted = deletes.iter().map(|d| d.seq).collect();
            let findings = judge(&truth, &found);
            drop(truth);
            let there: BTreeSet<u64> = found.iter().map(|print| print.seq).collect();
            let undone = deletes.iter().map(|d| d.seq).filter(|seq| there.contains(seq));
            self.undone[stream].extend(undone);
            self.take(stream, format!("`{name}` after the power cut"), &findings);
        }
        Ok(())
    }

    /// Judges the tier's copy and the restored stream; answers the deletes that did not survive.
    fn judge_one_recovery(
        &mut self,
        stream: usize,
        epoch: u32,
        watermark: u64,
        last: u64,
        archive: &[Print],
        found: &[Print],
    ) -> Vec<(u64, u64)> {
        let content = |event| self.content(event);
        let seen = self.seen[stream].prints();
        let mut expected = self.history(stream, epoch, last);
        let held: BTreeSet<u64> = archive.iter().map(|p| p.seq).collect();
        let there: BTreeSet<u64> = found.iter().map(|p| p.seq).collect();
        let deletes: Vec<_> = self
            .ledger
            .deletes(stream)
            .into_iter()
            .filter(|d| {
                expected.get(&d.seq) == Some(&d.event) && !self.undone[stream].contains(&d.seq)
            })
            .collect();

        let confirmed = expected.range(..=watermark).map(|(seq, event)| (*seq, *event)).collect();
        let mut truth = self.truth(confirmed, &content, &seen);
        truth.maybe_deleted = deletes.iter().map(|d| d.seq).collect();
        let of_archive = judge(&truth, archive);

        // What was confirmed without ever being acked must be back as well.
        for print in archive {
            if let Some(event) = print.event.filter(|e| truth.unacked.contains(e)) {
                expected.insert(print.seq, event);
            }
        }
        let mut witnessed: BTreeMap<u64, Print> = archive.iter().map(|p| (p.seq, *p)).collect();
        witnessed.extend(seen.iter().map(|(seq, print)| (*seq, *print)));
        let mut truth = self.truth(expected, &content, &witnessed);
        let certain = |seq: u64| seq <= watermark && !held.contains(&seq);
        truth.deleted = deletes.iter().map(|d| d.seq).filter(|seq| certain(*seq)).collect();
        truth.maybe_deleted = deletes.iter().map(|d| d.seq).filter(|seq| !certain(*seq)).collect();
        let of_stream = judge(&truth, found);

        let late = deletes.iter().filter(|d| truth.maybe_deleted.contains(&d.seq));
        let late = late.filter(|d| there.contains(&d.seq));
        let late = late.filter_map(|d| Some((d.seq, d.done_at?))).collect();
        drop(truth);
        let name = self.plan.scenario.streams[stream].name.clone();
        let from = self.losses.last().and_then(|lost| lost.from);
        let from = from.map_or_else(String::new, |tier| tier.to_string());
        let number = self.losses.len();
        self.report.oracle.recovered += of_stream.exact;
        self.take(stream, format!("`{name}` at {from}, as of loss {number}"), &of_archive);
        self.take(stream, format!("`{name}` after recovery {number} from {from}"), &of_stream);
        late
    }

    /// Streams and tiers against everything that lives on.
    pub(super) async fn judge_everything(&mut self) -> Result<()> {
        let url = self.machines.nats()?;
        for (stream, name) in self.stream_names().iter().enumerate() {
            let mut wire = Wire::connect(&url).await.step(cannot_read)?;
            let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await;
            let info = info.step(cannot_read)?;
            let last = info["state"]["last_seq"].as_u64().unwrap_or_default();
            self.check_stream_config(stream, &info["config"], "at the end");
            let seen = self.seen[stream].clone();
            let newest = info["state"]["messages"].as_u64().unwrap_or_default();
            wait_until("the witness's end of the stream", SETTLED_WITHIN, async || {
                let at = seen.last();
                // The last sequences may have been deleted before the witness came by.
                if at >= last || seen.prints().len() as u64 >= newest {
                    Ok(())
                } else {
                    Err(format!("it is at {at} of {last}"))
                }
            })
            .await?;
            let found = read_stream(&url, self.plan.seed, name.as_str(), From::Start, last).await?;
            let findings = self.judge_now(stream, u64::MAX, &seen.prints(), &found);
            self.take(stream, format!("`{name}` at the end"), &findings);
            let live: BTreeMap<u64, Print> = found.iter().map(|p| (p.seq, *p)).collect();
            for tier in self.plan.scenario.tiers() {
                self.judge_tier(stream, name, tier, &live).await?;
            }
        }
        Ok(())
    }

    async fn judge_tier(
        &mut self,
        stream: usize,
        name: &StreamName,
        tier: Tier,
        live: &BTreeMap<u64, Print>,
    ) -> Result<()> {
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + SETTLED_WITHIN;
        let of = format!("`{name}` at {tier}");
        loop {
            let (found, watermark) = match read_chain(&bucket, name).await? {
                Some(archived) => {
                    (archived.messages(&bucket, self.plan.seed).await?, archived.watermark)
                }
                None => (Vec::new(), 0),
            };
            let findings = self.judge_now(stream, watermark, live, &found);
            let waiting = !findings.findings.is_empty()
                && findings.findings.iter().all(|f| f.what == crate::oracle::judge::BACK);
            if !waiting || tokio::time::Instant::now() > deadline {
                self.take(stream, of, &findings);
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn judge_now(
        &self,
        stream: usize,
        bound: u64,
        witnessed: &BTreeMap<u64, Print>,
        found: &[Print],
    ) -> Findings {
        let content = |event| self.content(event);
        let mut expected = self.history(stream, self.ledger.epoch(), u64::MAX);
        let deletes = self.ledger.deletes(stream).into_iter().filter(|d| {
            expected.get(&d.seq) == Some(&d.event) && !self.undone[stream].contains(&d.seq)
        });
        let (done, unknown): (Vec<_>, Vec<_>) = deletes.partition(|d| d.done_at.is_some());
        drop(expected.split_off(&bound.saturating_add(1)));
        let mut truth = self.truth(expected, &content, witnessed);
        truth.deleted = done.iter().map(|d| d.seq).collect();
        truth.maybe_deleted = unknown.iter().map(|d| d.seq).collect();
        judge(&truth, found)
    }

    /// Puts a judgement into the report.
    fn take(&mut self, stream: usize, of: String, found: &Findings) {
        let mut examples = Vec::new();
        for defect in
            [Defect::Lost, Defect::Duplicated, Defect::Reordered, Defect::Changed, Defect::Phantom]
        {
            let of_kind = found.findings.iter().filter(|f| f.defect == defect);
            examples.extend(of_kind.take(EXAMPLES).map(|f| {
                let event = f.event.map(|e| format!(" (event {e})")).unwrap_or_default();
                format!("sequence {}{event}: {}", f.seq, f.what)
            }));
        }
        for finding in &found.findings {
            let key = finding.event.unwrap_or(finding.seq | 1 << 63);
            self.wrong.insert((finding.defect, stream, key));
        }
        let place = found.lost_where;
        self.report.judgements.push(Judgement {
            of,
            read: found.read,
            exact: found.exact,
            witnessed: found.witnessed,
            lost: [place.prefix, place.middle, place.postfix],
            duplicated: found.count(Defect::Duplicated),
            reordered: found.count(Defect::Reordered),
            changed: found.count(Defect::Changed),
            phantom: found.count(Defect::Phantom),
            examples,
        });
    }

    /// Puts a judgement of something that is no message into the report.
    fn note(&mut self, of: String, examples: Vec<String>) {
        self.report.judgements.push(Judgement {
            of,
            read: 0,
            exact: 0,
            witnessed: 0,
            lost: [0; 3],
            duplicated: 0,
            reordered: 0,
            changed: 0,
            phantom: 0,
            examples,
        });
    }

    fn check_stream_config(&mut self, stream: usize, found: &Value, when: &str) {
        let differences = differences(&self.stream_configs[stream], found);
        if !differences.is_empty() {
            self.report.oracle.streams_wrong += 1;
            let name = &self.plan.scenario.streams[stream].name;
            self.note(format!("configuration of `{name}` {when}"), differences);
        }
    }

    /// Configurations and consumers' positions right after a restore, before anybody reads.
    pub(super) async fn check_restored(&mut self, tier: Tier) -> Result<()> {
        let url = self.machines.nats()?;
        let mut wire = Wire::connect(&url).await.step(cannot_read)?;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        for (stream, name) in self.stream_names().iter().enumerate() {
            let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await;
            if let Ok(info) = info {
                self.check_stream_config(stream, &info["config"], "after the restore");
            }
        }
        for (at, consumer) in self.plan.scenario.consumers.iter().enumerate() {
            let archived = read_chain(&bucket, &consumer.stream).await?;
            let record = archived.iter().flat_map(|a| &a.consumers);
            let record = record.into_iter().find(|c| c.name == consumer.name).cloned();
            let subject = format!("CONSUMER.INFO.{}.{}", consumer.stream, consumer.name);
            let info = wire.api(&subject, &Value::Null).await;
            let mut wrong = Vec::new();
            match (&record, &info) {
                (Some(record), Ok(info)) => {
                    let acked = self.consumer_logs[at].floor();
                    wrong.extend(differences(&self.consumer_configs[at], &info["config"]));
                    let stream = self.stream_of(&consumer.stream);
                    let last = self.bounds.last().map_or(0, |bounds| bounds[stream]);
                    wrong.extend(positions(record, info, acked, last));
                }
                (None, _) => wrong.push(format!("{tier} knows nothing of it")),
                (_, Err(error)) => wrong.push(format!("it is not there: {error}")),
            }
            if !wrong.is_empty() {
                self.report.oracle.consumers_wrong += 1;
                let of = format!("consumer `{}` of `{}`", consumer.name, consumer.stream);
                self.note(format!("{of} after the restore"), wrong);
            }
        }
        Ok(())
    }

    /// The sequences of a stream that live on, as the witness saw them.
    pub(super) fn stream_of(&self, name: &StreamName) -> usize {
        workload::stream_index(&self.plan.scenario, name.as_str())
    }
}

/// What is wrong with a restored consumer's position: the archive's record holds as far as the stream
/// goes, and nothing may ever count as acknowledged that was not.
fn positions(
    record: &cim_core::archive::ConsumerRecord,
    info: &Value,
    acked: u64,
    last: u64,
) -> Vec<String> {
    let place = |name: &str| info[name]["stream_seq"].as_u64().unwrap_or_default();
    let (floor, delivered) = (place("ack_floor"), place("delivered"));
    let mut wrong = Vec::new();
    if floor > acked {
        wrong.push(format!("it has acknowledged up to {floor}, the lab only up to {acked}"));
    }
    let due = record.ack_floor.stream_seq.min(last);
    if floor != due {
        wrong.push(format!("its ack floor is {floor}, by the archive it should be {due}"));
    }
    // What was pending is not known one by one, so all of it is delivered again.
    let due = if record.ack_pending == 0 { record.delivered.stream_seq.min(last) } else { due };
    if delivered != due {
        wrong.push(format!("it has been delivered up to {delivered}, it should be {due}"));
    }
    wrong
}

/// The fields in which two configurations differ.
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
        assert_eq!(positions(&record, &at(7, 7), 7, 20), Vec::<String>::new());
        assert_eq!(positions(&record, &at(8, 8), 7, 20).len(), 3);
        assert_eq!(positions(&record, &at(7, 7), 6, 20).len(), 1);
        assert_eq!(positions(&record, &at(7, 9), 8, 20).len(), 1);
        // The tier's copy of the stream ends before the position that was recorded.
        assert_eq!(positions(&record, &at(5, 5), 7, 5), Vec::<String>::new());
    }
}
