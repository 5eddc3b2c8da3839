//! Judges the recovered streams: after a restore, and after a power cut.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::stream_reader::read_stream;
use super::{Run, cannot_read, seconds};
use crate::error::{Context as _, Error, Result};
use crate::lab::endpoint::Endpoint;
use crate::ledger::EventId;
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::judge::judge;
use crate::oracle::limits::Held;
use crate::oracle::tier::Holding;
use crate::oracle::wire::{From, Wire};
use crate::report::{Loss, StreamLoss};

impl Run<'_> {
    /// Judges the streams that were just restored, against what the tier had confirmed at the loss.
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
        let plan = self.plan;
        for (stream, spec) in plan.scenario.tiered() {
            let name = &spec.name;
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
            let first =
                self.first_sequences(stream, epoch, confirmed.as_ref(), &archive, &url).await?;
            let before = self.report.oracle.recovered;
            let late =
                self.judge_one_recovery(stream, epoch, watermark, goal, first, &archive, &found);
            loss.recovered += self.report.oracle.recovered - before;
            for delete in &late {
                let age = at.saturating_sub(delete.1);
                let bound = self.expect.deletes_within;
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
            self.streams[stream].undone.extend(late.iter().map(|(seq, _)| (*seq, epoch)));
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
            if let Some(confirmed) = &confirmed {
                self.judge_kept(stream, tier, confirmed, epoch).await?;
            }
        }
        self.losses[number].loss = Some(loss);
        Ok(())
    }

    /// Returns the first sequences of the tier's copy and of the restored stream, and checks that
    /// limits asked for them.
    async fn first_sequences(
        &mut self,
        stream: usize,
        epoch: u32,
        confirmed: Option<&Holding>,
        archive: &[Fingerprint],
        nats: &Endpoint,
    ) -> Result<(u64, u64)> {
        let name = self.plan.scenario.streams[stream].name.clone();
        let limits = [self.limits(stream)];
        if !limits[0].any() {
            return Ok((0, 0));
        }
        let mut wire = Wire::connect(nats).await.step(cannot_read)?;
        let info =
            wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await.step(cannot_read)?;
        let restored = info["state"]["first_seq"].as_u64().unwrap_or_default();
        let archive = archive.iter().map(|fingerprint| (fingerprint.seq, *fingerprint)).collect();
        let now = jiff::Timestamp::now();
        let held = Held::live(&info);
        let of = format!("`{name}` restored");
        self.check_dropped(stream, &archive, 0..restored, &limits, held, now, &of);
        // A restored stream may hold less than its limits allow: it begins where the lost one did,
        // and ends where the tier did.
        self.streams[stream].dropped_earlier = restored;
        let Some(confirmed) = confirmed else { return Ok((0, restored)) };
        let (first, at) = (confirmed.first_seq, confirmed.committed_at);
        let seen = self.streams[stream].seen.fingerprints();
        // The host may have held more messages than any client had read, and more than came back.
        let acked = self.history(stream, epoch, u64::MAX);
        let stored: BTreeSet<u64> = seen.keys().chain(acked.keys()).copied().collect();
        let held = Held::of(stored.range(first..).copied(), &seen);
        let of = format!("`{name}` in the archive");
        self.check_dropped(stream, &seen, 0..first, &limits, held, at, &of);
        Ok((first, restored))
    }

    /// Judges a host's streams after a power cut: every acked message must be there.
    pub(super) async fn judge_survival(&mut self) -> Result<()> {
        let Some(epoch) = self.ledger.epoch().checked_sub(1) else {
            return Err(Error::step("there was no power cut whose survivors could be judged"));
        };
        let nats = self.machines.nats()?;
        let plan = self.plan;
        for (stream, spec) in plan.scenario.tiered() {
            let name = &spec.name;
            let last = self.bounds[epoch as usize][stream];
            let found =
                read_stream(&nats, self.plan.seed, name.as_str(), From::Start, last).await?;
            let content = |event| self.content(event);
            let seen = self.streams[stream].seen.fingerprints();
            let expected = self.history(stream, epoch, u64::MAX);
            let gone = self.gone_by_right(stream, &expected);
            let mut truth = self.truth(stream, expected, &content, &seen);
            truth.unacked.extend(self.ledger.acked_later(epoch));
            // JetStream promises to sync messages, not deletes: either is right.
            let deletes = self.deletes(stream);
            truth.maybe_deleted = deletes.iter().map(|d| d.seq).chain(gone).collect();
            let findings = judge(&truth, &found);
            drop(truth);
            let there: BTreeSet<u64> = found.iter().map(|fingerprint| fingerprint.seq).collect();
            let undone = deletes.iter().map(|d| d.seq).filter(|seq| there.contains(seq));
            self.streams[stream].undone.extend(undone.map(|seq| (seq, epoch)));
            self.take(stream, format!("`{name}` after the power cut"), &findings);
        }
        Ok(())
    }

    /// Judges the tier's copy and the restored stream; returns the deletes that did not survive.
    #[expect(clippy::too_many_arguments, reason = "it is one comparison")]
    fn judge_one_recovery(
        &mut self,
        stream: usize,
        epoch: u32,
        watermark: u64,
        last: u64,
        first: (u64, u64),
        archive: &[Fingerprint],
        found: &[Fingerprint],
    ) -> Vec<(u64, u64)> {
        let content = |event| self.content(event);
        let seen = self.streams[stream].seen.fingerprints();
        let mut expected = self.history(stream, epoch, last);
        let held: BTreeSet<u64> = archive.iter().map(|p| p.seq).collect();
        let there: BTreeSet<u64> = found.iter().map(|p| p.seq).collect();
        let deletes = self.deletes(stream).into_iter();
        let deletes: Vec<_> = deletes.filter(|d| expected.get(&d.seq) == Some(&d.event)).collect();

        let confirmed: BTreeMap<u64, EventId> =
            expected.range(..=watermark).map(|(seq, event)| (*seq, *event)).collect();
        let limited = self.limits(stream).any();
        let before = |first: u64| {
            let first = if limited { first } else { 0 };
            confirmed.range(..first).map(|(seq, _)| *seq).collect::<Vec<_>>()
        };
        let gone = self.gone_by_right(stream, &expected);
        // The new host may have acked by now what the lost one had stored without an answer.
        let later = self.ledger.acked_later(epoch);
        let mut truth = self.truth(stream, confirmed.clone(), &content, &seen);
        truth.unacked.extend(&later);
        truth.maybe_deleted = deletes.iter().map(|d| d.seq).collect();
        truth.maybe_deleted.extend(before(first.0));
        truth.maybe_deleted.extend(&gone);
        let of_archive = judge(&truth, archive);

        // Messages that were confirmed without ever being acked must be back as well.
        for fingerprint in archive {
            if let Some(event) = fingerprint.event.filter(|e| truth.unacked.contains(e)) {
                expected.insert(fingerprint.seq, event);
            }
        }
        let gone = self.gone_by_right(stream, &expected);
        let mut recorded: BTreeMap<u64, Fingerprint> =
            archive.iter().map(|p| (p.seq, *p)).collect();
        recorded.extend(seen.iter().map(|(seq, fingerprint)| (*seq, *fingerprint)));
        let mut truth = self.truth(stream, expected, &content, &recorded);
        truth.unacked.extend(later);
        let certain = |seq: u64| seq <= watermark && !held.contains(&seq);
        truth.deleted = deletes.iter().map(|d| d.seq).filter(|seq| certain(*seq)).collect();
        truth.maybe_deleted = deletes.iter().map(|d| d.seq).filter(|seq| !certain(*seq)).collect();
        truth.maybe_deleted.extend(before(first.1));
        truth.maybe_deleted.extend(&gone);
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
}
