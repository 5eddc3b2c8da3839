//! The end of the report: counts, percentiles, expectations, the verdict.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use super::{Run, seconds};
use crate::oracle::judge::Defect;
use crate::oracle::lag::{self, Measured};
use crate::report::{Expectation, Judgement, Spread, Verdict};
use crate::scenario::Tier;

impl Run<'_> {
    /// Fills in counts, percentiles and expectations, and the verdict if every step was done.
    pub(super) fn conclude(&mut self) {
        let counts = self.ledger.counts();
        let deletes = (0..self.streams.len()).map(|s| self.removed(s)).sum();
        let oracle = &mut self.report.oracle;
        (oracle.published, oracle.acked) = (counts.published, counts.acked);
        oracle.unacked = counts.published - counts.acked;
        oracle.deleted = deletes;
        for (defect, count) in [
            (Defect::Lost, &mut oracle.lost),
            (Defect::Duplicated, &mut oracle.duplicated),
            (Defect::Reordered, &mut oracle.reordered),
            (Defect::Changed, &mut oracle.changed),
            (Defect::Phantom, &mut oracle.phantom),
        ] {
            *count = self.wrong.iter().filter(|(d, _, _)| *d == defect).count() as u64;
        }
        let mut recoveries: BTreeMap<Tier, Vec<f64>> = BTreeMap::new();
        for lost in &mut self.losses {
            let epoch = lost.epoch + 1;
            let Some(mut loss) = lost.loss.take() else { continue };
            let first_ack = self.ledger.first_ack(epoch);
            let done = lost.read_at.zip(first_ack).map(|(r, a)| r.max(a));
            loss.began_seconds = lost.recovery_began.map(seconds);
            loss.restored_seconds = lost.restored_at.map(seconds);
            loss.read_seconds = lost.read_at.map(seconds);
            loss.first_ack_seconds = first_ack.map(seconds);
            loss.rto_seconds =
                done.zip(lost.recovery_began).map(|(done, began)| seconds(done - began));
            if let (Some(tier), Some(rto)) = (loss.recovered_from, loss.rto_seconds) {
                recoveries.entry(tier).or_default().push(rto);
            }
            self.report.oracle.tail += loss.tail_events;
            self.report.losses.push(loss);
        }
        let spreads = recoveries.into_iter().filter_map(|(t, v)| Some((t, Spread::of(v)?)));
        self.report.rto_seconds = spreads.collect();
        self.report.timeline.load = self.pace.points();
        let measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        for (tier, Measured { samples, ages }) in &*measured {
            self.report.timeline.lag.insert(*tier, lag::line(samples));
            let behind = samples.iter().map(|sample| seconds(sample.age)).collect();
            self.report.rpo_seconds.extend(Spread::of(behind).map(|spread| (*tier, spread)));
            let ages = ages.iter().map(|age| seconds(*age)).collect();
            self.report.age_seconds.extend(Spread::of(ages).map(|spread| (*tier, spread)));
        }
        drop(measured);
        self.expectations();
        let must_lose = self.expect.lost_at_least > 0;
        let clean =
            |judgement: &Judgement| judgement.clean() || (must_lose && judgement.only_lost());
        let clean = self.report.judgements.iter().all(clean);
        let wrong = self.report.oracle.consumers_wrong + self.report.oracle.streams_wrong;
        let missed: Vec<_> = self.report.expectations.iter().filter(|e| !e.met).collect();
        let reason = match (clean && wrong == 0, missed.as_slice()) {
            (true, []) => None,
            (true, [missed]) => Some(format!("an expectation was not met: {missed}")),
            (true, missed) => Some(format!("{} expectations were not met", missed.len())),
            (false, _) => Some("the oracle found defects".to_owned()),
        };
        self.report.verdict = if reason.is_none() { Verdict::Passed } else { Verdict::Failed };
        self.report.reason = reason;
    }

    fn expectations(&mut self) {
        let expect = &self.expect;
        let mut met = Vec::new();
        let mut at_most = |what: String, bound: f64, measured: Option<f64>| {
            let holds = measured.is_some_and(|measured| measured <= bound);
            met.push(Expectation { what, bound, measured, met: holds });
        };
        let lags = expect
            .lag
            .iter()
            .map(|(tier, bounds)| ("lag at", tier, bounds, self.report.rpo_seconds.get(tier)));
        let ages = expect.age.iter().map(|(tier, bounds)| {
            ("age of a message at", tier, bounds, self.report.age_seconds.get(tier))
        });
        for (of, tier, bounds, spread) in lags.chain(ages) {
            for (name, bound, value) in [
                ("p50", bounds.p50, spread.map(|s| s.p50)),
                ("p99", bounds.p99, spread.map(|s| s.p99)),
                ("max", bounds.max, spread.map(|s| s.max)),
            ] {
                if let Some(bound) = bound {
                    at_most(format!("{of} {tier}, {name}"), seconds(bound.as_micros()), value);
                }
            }
        }
        for loss in &self.report.losses {
            let Some(tier) = loss.recovered_from else { continue };
            if let Some(bound) = expect.rpo.get(&tier) {
                let what = format!("RPO of the recovery from {tier}");
                at_most(what, seconds(bound.as_micros()), Some(loss.rpo_seconds));
            }
            if let Some(bound) = expect.rto.get(&tier) {
                let what = format!("RTO of the recovery from {tier}");
                at_most(what, seconds(bound.as_micros()), loss.rto_seconds);
            }
        }
        let mut at_least = |what: &str, bound: u64, measured: u64| {
            let (what, met_it) = (format!("{what}, at least"), measured >= bound);
            let (bound, measured) = (bound as f64, measured as f64);
            met.push(Expectation { what, bound, measured: Some(measured), met: met_it });
        };
        for loss in self.report.losses.iter().filter(|l| l.recovered_from.is_some()) {
            let bound = expect.recovered_at_least.max(1);
            at_least("messages that a recovery brought back", bound, loss.recovered);
        }
        if expect.lost_at_least > 0 {
            let lost = self.report.oracle.lost;
            at_least("acked events that were lost", expect.lost_at_least, lost);
        }
        if expect.primary_lost_at_least > 0 {
            let lost = self.report.primary.iter().map(|loss| loss.lost).sum();
            let what = "acked messages that NATS itself lost";
            at_least(what, expect.primary_lost_at_least, lost);
        }
        let exact = self.report.judgements.iter().map(|j| j.exact).max().unwrap_or_default();
        at_least("messages in the largest comparison", expect.events_at_least.max(1), exact);
        for (what, struck) in self.struck() {
            at_least(&what, 1, struck);
        }
        self.report.expectations = met;
    }
}
