//! Damage to a host's files, and the losses of NATS itself, which are counted and blamed on no
//! tier.

use serde_json::Value;

use super::administrator::Ended;
use super::stream_reader::read_stream;
use super::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::oracle::judge::{Defect, judge};
use crate::oracle::tier::Archive;
use crate::oracle::wire::{From, Wire};
use crate::report::PrimaryLoss;
use crate::scenario::{DamageStream, Tier};

impl Run<'_> {
    /// Damages a stream's files. Publishers wait until the damage was judged, for sequences may be
    /// given out again.
    pub(super) async fn damage_stream(&mut self, damage: &DamageStream) -> Result<()> {
        if self.plan.scenario.clustered() {
            return self.damage_replica(damage).await;
        }
        self.active.send_replace(false);
        self.host.send_replace(None);
        self.recorders.clear();
        self.consumptions.clear();
        let confirmed = self.confirmed_by_nas().await?;
        let what = self.machines.damage(damage).await?;
        self.progress.line(&what);
        let what = match self.damaged_streams.take() {
            Some((before, _)) => format!("{before}; {what}"),
            None => what,
        };
        self.damaged_streams = Some((what, confirmed));
        Ok(())
    }

    /// Returns, by stream, the last sequence that the NAS has confirmed.
    pub(super) async fn confirmed_by_nas(&self) -> Result<Vec<u64>> {
        let mut confirmed = Vec::new();
        let bucket = self.machines.bucket(Tier::Nas)?;
        let bucket = bucket.ok_or_else(|| Error::step("the NAS is down"))?;
        let archive = Archive::open(&bucket, Tier::Nas).await?;
        for name in self.stream_names() {
            let archived = archive.stream(&name).await?;
            confirmed.push(archived.map_or(0, |archived| archived.watermark));
        }
        Ok(confirmed)
    }

    /// Judges the damaged server's content, which begins the host's next life.
    pub(super) async fn judge_primary(&mut self) -> Result<()> {
        if !self.damaged_replicas.is_empty() {
            return self.judge_replicas().await;
        }
        let Some((damage, confirmed)) = self.damaged_streams.take() else {
            return Err(Error::step("nothing was damaged that could be judged"));
        };
        let epoch = self.ledger.epoch();
        let nats = self.machines.nats()?;
        let mut wire = Wire::connect(&nats).await.step(cannot_read)?;
        let mut bounds = Vec::new();
        for (stream, name) in self.stream_names().iter().enumerate() {
            let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await;
            let last = info.as_ref().ok().and_then(|info| info["state"]["last_seq"].as_u64());
            let found = read_stream(
                &nats,
                self.plan.seed,
                name.as_str(),
                From::Start,
                last.unwrap_or(u64::MAX),
            )
            .await?;
            let content = |event| self.content(event);
            let seen = self.streams[stream].seen.fingerprints();
            let expected = self.history(stream, epoch, u64::MAX);
            let newest = expected.last_key_value().map_or(0, |(seq, _)| *seq);
            let acked = expected.len() as u64;
            let gone = self.gone_by_right(stream, &expected);
            let mut truth = self.truth(stream, expected, &content, &seen);
            truth.maybe_deleted = self.deletes(stream).iter().map(|d| d.seq).chain(gone).collect();
            let findings = judge(&truth, &found);
            drop(truth);
            let lost = findings.findings.iter().filter(|f| f.defect == Defect::Lost);
            let lost: Vec<_> = lost.filter_map(|f| Some((f.seq, f.event?))).collect();
            let (kept, gone): (Vec<_>, Vec<_>) =
                lost.iter().copied().partition(|(seq, _)| *seq <= confirmed[stream]);
            self.report.primary.push(PrimaryLoss {
                stream: name.to_string(),
                server: None,
                after: damage.clone(),
                there: last.is_some(),
                acked,
                read: found.len() as u64,
                lost: lost.len() as u64,
                archived: kept.len() as u64,
                elsewhere: 0,
                wrong: findings.findings.len() as u64 - lost.len() as u64,
                last_seq: last.unwrap_or_default(),
            });
            self.streams[stream].holes.extend(kept);
            self.streams[stream].perished.extend(gone);
            // A stream that is gone can come back only from the archive.
            bounds.push(last.unwrap_or(u64::MAX));
            if last.is_some_and(|last| last < newest.min(confirmed[stream])) {
                self.ended.push(Ended { stream, epoch });
            }
        }
        for (stream, bound) in bounds.iter().enumerate() {
            self.streams[stream].seen.rewind(*bound);
        }
        for (spec, log) in self.plan.scenario.consumers.iter().zip(&self.consumer_logs) {
            log.rewind(bounds[self.stream_of(&spec.stream)]);
        }
        self.bounds.push(bounds);
        self.ledger.next_epoch();
        self.machines.replace_link().await?;
        self.host_is_up().await
    }
}
