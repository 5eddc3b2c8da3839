//! Restores a copy of a stream beside the live one and compares it with the ledger: an old
//! timeline, an earlier point, or a copy with dropped messages.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::stream_reader::read_stream;
use super::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::ledger::{EventId, confirmed_before};
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::judge::{Truth, judge};
use crate::oracle::tier::{Holding, holding};
use crate::oracle::wire::{From, Wire};
use crate::scenario::{Percent, RestoreCopy, Role};

/// The tier's content of a stream before a copy was restored from it.
struct Held {
    archived: Holding,
    /// All messages, with those that were purged, deleted or have expired.
    all: Vec<Fingerprint>,
    /// The messages that are still live.
    live: BTreeSet<u64>,
}

impl Run<'_> {
    pub(super) async fn restore_copy(&mut self, copy: &RestoreCopy) -> Result<()> {
        let stream = self.stream_of(&copy.stream);
        let epoch = self.epoch_of(copy, stream)?;
        let held = self.held(copy).await?;
        self.copies += 1;
        let name = format!("{}_COPY_{}", copy.stream, self.copies);
        let subjects = format!("cim.copy.{}", self.copies);
        let (tier, timeline) = (copy.from.to_string(), copy.timeline.map(|t| t.to_string()));
        let until = until(copy, &held.all);
        let mut args =
            vec!["restore", copy.stream.as_str(), "--as", &name, "--subjects", &subjects];
        args.extend(["--from", &tier, "--json"]);
        if let Some(timeline) = &timeline {
            args.extend(["--timeline", timeline]);
        }
        if copy.with_dropped {
            args.push("--with-dropped");
        }
        let limit = match &until {
            Some(Until::Sequence(seq)) => Some(("--until-seq", seq.to_string())),
            Some(Until::Time(time)) => {
                let time = jiff::Timestamp::from_nanosecond((*time).into());
                Some(("--until", time.step(|| "a message of no time".to_owned())?.to_string()))
            }
            None => None,
        };
        if let Some((flag, value)) = &limit {
            args.extend([*flag, value.as_str()]);
        }
        let host = self.plan.scenario.node_of(Role::Host).expect("a checked scenario has a host");
        self.machines.run_storage_manager(host, &args).await?.must_succeed(&args)?;
        let nats = self.machines.nats()?;
        let mut wire = Wire::connect(&nats).await.step(cannot_read)?;
        let info =
            wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await.step(cannot_read)?;
        let last = info["state"]["last_seq"].as_u64().unwrap_or_default();
        let found = read_stream(&nats, self.plan.seed, &name, From::Start, last).await?;
        wire.api(&format!("STREAM.DELETE.{name}"), &Value::Null).await.step(cannot_read)?;
        self.judge_copy(copy, stream, epoch, &held, until.as_ref(), last, &found);
        Ok(())
    }

    /// Returns the last of the host's lives that the history covers.
    fn epoch_of(&self, copy: &RestoreCopy, stream: usize) -> Result<u32> {
        let Some(timeline) = copy.timeline else { return Ok(self.ledger.epoch()) };
        let mut ended = self.ended.iter().filter(|ended| ended.stream == stream);
        let ended = ended.nth(timeline.saturating_sub(1) as usize);
        ended.map(|ended| ended.epoch).ok_or_else(|| {
            Error::step(format!("`{}` has no history {timeline} that has ended", copy.stream))
        })
    }

    async fn held(&self, copy: &RestoreCopy) -> Result<Held> {
        let bucket = self.machines.bucket(copy.from)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {} is down", copy.from)))?;
        let archived = holding(&bucket, copy.from, &copy.stream).await?;
        let none =
            || Error::step(format!("{} has no such history of `{}`", copy.from, copy.stream));
        let archived = archived.and_then(|a| a.of(copy.timeline)).ok_or_else(none)?;
        let live = archived.messages(&bucket, self.plan.seed).await?;
        let all = archived.with_dropped().messages(&bucket, self.plan.seed).await?;
        Ok(Held { live: live.iter().map(|p| p.seq).collect(), all, archived })
    }

    #[expect(clippy::too_many_arguments, reason = "it is one comparison")]
    fn judge_copy(
        &mut self,
        copy: &RestoreCopy,
        stream: usize,
        epoch: u32,
        held: &Held,
        until: Option<&Until>,
        last: u64,
        found: &[Fingerprint],
    ) {
        let mut wrong = Vec::new();
        let due = match until {
            None => held.archived.watermark,
            Some(Until::Sequence(seq)) => *seq,
            // A position in the stream, not a filter: a clock may have been set back.
            Some(Until::Time(time)) => {
                let before = held.all.iter().take_while(|p| p.time <= *time);
                before.last().map_or(0, |p| p.seq)
            }
        };
        if last < due {
            wrong.push(format!("it ends at sequence {last}, the tier had {due}"));
        }
        let content = |event| self.content(event);
        let recorded: BTreeMap<u64, Fingerprint> = held.all.iter().map(|p| (p.seq, *p)).collect();
        let late = |seq: &u64| matches!(until, Some(Until::Time(_))) && *seq > due;
        let mut expected: BTreeMap<u64, EventId> = self.history(stream, epoch, last);
        expected.retain(|seq, _| !late(seq));
        let deletes = self.deletes(stream);
        let deletes = deletes.iter().filter(|d| expected.get(&d.seq) == Some(&d.event));
        let deleted: BTreeMap<u64, EventId> = deletes.map(|d| (d.seq, d.event)).collect();
        let removals = self.ledger.removals(stream);
        let confirmed = |seq: u64, event| {
            confirmed_before(&removals, copy.from, seq, self.subject(event).as_deref())
        };
        let there = |seq: u64| seq <= held.archived.watermark && held.live.contains(&seq);
        let limited = self.limits(stream).any() && !copy.with_dropped;
        let begins = found.first().map_or(0, |fingerprint| fingerprint.seq);
        let expired: Vec<u64> =
            expected.range(..if limited { begins } else { 0 }).map(|(seq, _)| *seq).collect();
        let gone = self.gone_by_right(stream, &expected);
        let mut truth: Truth<'_> = self.truth(stream, expected, &content, &recorded);
        if copy.with_dropped {
            // Messages that the tier had confirmed before their removal must be there.
            let single: BTreeSet<u64> =
                self.ledger.deletes(stream).iter().map(|delete| delete.seq).collect();
            let unsure = |(seq, event): (u64, EventId)| {
                let unsure = !recorded.contains_key(&seq)
                    && (single.contains(&seq) || !confirmed(seq, event));
                unsure.then_some(seq)
            };
            truth.maybe_deleted = deleted.into_iter().filter_map(unsure).collect();
        } else {
            let certain = |seq: &u64| *seq <= held.archived.watermark && !there(*seq);
            (truth.deleted, truth.maybe_deleted) = deleted.into_keys().partition(certain);
            truth.maybe_deleted.extend(expired);
        }
        if !copy.with_dropped || !self.streams[stream].must_be_archived() {
            truth.maybe_deleted.extend(gone);
        }
        if !self.streams[stream].must_be_archived() {
            // Limits may drop messages before a busy host's storage manager reads them; the tier
            // then lists what it missed.
            truth.maybe_deleted.extend(held.archived.missed());
        }
        truth.maybe_deleted.extend(held.archived.erased());
        if copy.with_dropped {
            // A rule may have let go of them since.
            truth.maybe_deleted.extend(held.archived.expired());
        }
        let findings = judge(&truth, found);
        drop(truth);
        let what = match (copy.timeline, copy.with_dropped) {
            (Some(timeline), _) => format!("timeline {timeline} of `{}`", copy.stream),
            (None, true) => format!("`{}` with dropped messages,", copy.stream),
            (None, false) => format!("a copy of `{}`", copy.stream),
        };
        self.take(stream, format!("{what} from {}", copy.from), &findings);
        if let Some(judgement) = self.report.judgements.last_mut() {
            judgement.examples.extend(wrong);
        }
    }
}

/// The end of a copy.
enum Until {
    Sequence(u64),
    /// Nanoseconds since 1970.
    Time(i64),
}

fn until(copy: &RestoreCopy, all: &[Fingerprint]) -> Option<Until> {
    let at = |share: Percent| {
        let place = share.of((all.len() as u64).saturating_sub(1));
        all.get(usize::try_from(place).unwrap_or_default())
    };
    match (&copy.until_sequence, &copy.until_time) {
        (Some(share), _) => at(share.0).map(|fingerprint| Until::Sequence(fingerprint.seq)),
        (None, Some(share)) => at(share.0).map(|fingerprint| Until::Time(fingerprint.time)),
        (None, None) => None,
    }
}
