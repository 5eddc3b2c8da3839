//! Collects the facts for the judge, and reports its judgement.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::time::Duration;

use cim_core::names::StreamName;
use s3::Bucket;

use super::Run;
use super::stream_reader::{last_seq, read_replica, read_stream, replicas, stream_info};
use crate::error::{Error, Result};
use crate::lab::endpoint::Endpoint;
use crate::lab::wait::wait_until;
use crate::ledger::EventId;
use crate::oracle::fingerprint::{ContentHash, Fingerprint};
use crate::oracle::judge::{Defect, Findings, Truth, judge};
use crate::oracle::limits::{Dropped, Held, Limits};
use crate::oracle::tier::{Archive, Holding};
use crate::oracle::wire::From;
use crate::report::Judgement;
use crate::scenario::Tier;
use crate::workload;

/// The number of examples shown of each kind of defect.
const EXAMPLES: usize = 3;
/// A delete is archived with the next commit, which may follow the last message's.
const SETTLED_WITHIN: Duration = Duration::from_secs(15);

impl Run<'_> {
    pub(super) fn stream_names(&self) -> Vec<StreamName> {
        self.plan.scenario.streams.iter().map(|s| s.name.clone()).collect()
    }

    /// Returns what every reachable tier holds of every stream.
    pub(super) async fn read_tiers(&self) -> Result<BTreeMap<Tier, Vec<Option<Holding>>>> {
        let mut tiers = BTreeMap::new();
        for tier in self.plan.scenario.tiers() {
            let Some(bucket) = self.machines.bucket(tier)? else { continue };
            match self.read_tier(&bucket, tier).await {
                Ok(streams) => drop(tiers.insert(tier, streams)),
                // A tier that the scenario damaged confirms nothing any more.
                Err(_) if self.is_damaged(tier) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tiers)
    }

    async fn read_tier(&self, bucket: &Bucket, tier: Tier) -> Result<Vec<Option<Holding>>> {
        let archive = Archive::open(bucket, tier).await?;
        let mut streams = Vec::new();
        for stream in self.stream_names() {
            streams.push(archive.stream(&stream).await?);
        }
        Ok(streams)
    }

    pub(super) fn content(&self, event: EventId) -> Option<ContentHash> {
        let generator = self.generators.iter().find(|g| g.owns(event))?;
        Some(ContentHash::of(&generator.content(event)))
    }

    /// Returns the acked events that live on, with `last` as the bound of the last life in
    /// question.
    pub(super) fn history(&self, stream: usize, epoch: u32, last: u64) -> BTreeMap<u64, EventId> {
        let mut history = BTreeMap::new();
        if self.takes(stream) {
            // A stream that copies from others gets no acks with its sequences: the recorder has
            // them.
            let seen = self.streams[stream]
                .seen
                .fingerprints()
                .into_iter()
                .take_while(|(seq, _)| *seq <= last);
            return seen.filter_map(|(seq, fingerprint)| Some((seq, fingerprint.event?))).collect();
        }
        for life in 0..=epoch {
            let bound = if life == epoch { last } else { self.bounds[life as usize][stream] };
            history.extend(self.ledger.acks(stream, life));
            // The end of a life also cuts the lives before it.
            drop(history.split_off(&bound.saturating_add(1)));
        }
        history.retain(|seq, event| !self.streams[stream].perished.contains(&(*seq, *event)));
        history
    }

    pub(super) fn truth<'a>(
        &'a self,
        stream: usize,
        expected: BTreeMap<u64, EventId>,
        content: &'a dyn Fn(EventId) -> Option<ContentHash>,
        recorded: &'a BTreeMap<u64, Fingerprint>,
    ) -> Truth<'a> {
        let (deleted, maybe_deleted) = (BTreeSet::new(), BTreeSet::new());
        // Only the tier knows whether it got the messages that the primary lost.
        let perished = self.streams.iter().flat_map(|one| &one.perished).map(|(_, event)| *event);
        let mut unacked: HashSet<EventId> =
            self.ledger.unacked().into_iter().chain(perished).collect();
        let taken = self.takes(stream);
        if taken {
            // The recorder may not have read them yet: events acked at the leaf node may be there
            // already.
            let acked = self.origins(stream).into_iter().flat_map(|from| self.acked_at(from));
            unacked.extend(acked.map(|(_, event)| event));
            unacked
                .retain(|event| self.origins(stream).iter().any(|from| self.is_of(*from, *event)));
            for event in expected.values() {
                unacked.remove(event);
            }
        }
        Truth { expected, deleted, maybe_deleted, unacked, content, recorded, taken }
    }

    /// Judges streams and tiers against everything that lives on.
    pub(super) async fn judge_everything(&mut self) -> Result<()> {
        let plan = self.plan;
        let mut archives = BTreeMap::new();
        for (stream, spec) in plan.scenario.streams.iter().enumerate() {
            let (name, nats) = (&spec.name, self.place(stream)?);
            let info = stream_info(&nats, name.as_str()).await?;
            let info =
                info.ok_or_else(|| Error::step(format!("stream `{name}` does not exist")))?;
            let last = last_seq(&info);
            self.check_stream_config(stream, &info["config"], "at the end");
            let seen = self.streams[stream].seen.clone();
            let newest = info["state"]["messages"].as_u64().unwrap_or_default();
            wait_until("the recorder's end of the stream", SETTLED_WITHIN, async || {
                let at = seen.last();
                // The last sequences may have been deleted before the recorder read them.
                if at >= last || seen.fingerprints().len() as u64 >= newest {
                    Ok(())
                } else {
                    Err(format!("it is at {at} of {last}"))
                }
            })
            .await?;
            let found = read_stream(&nats, plan.seed, name.as_str(), From::Start, last).await?;
            let dropped = self.dropped_by_limits(stream, &nats, &seen.fingerprints()).await?;
            let servers = replicas(&info);
            // In a cluster this is the leader's copy.
            let leader = servers.first().map(String::as_str);
            let of = format!("`{name}` at the end");
            self.judge_stream(stream, leader, of, &found, dropped);
            let live: BTreeMap<u64, Fingerprint> = found.iter().map(|p| (p.seq, *p)).collect();
            for server in servers {
                let of = format!("`{name}` on {server} at the end");
                let (from, server) = (From::Start, Some(server.as_str()));
                let found =
                    read_replica(&nats, plan.seed, name.as_str(), server, from, last).await?;
                self.judge_stream(stream, server, of, &found, dropped);
            }
            if spec.node.is_some() {
                continue;
            }
            for tier in plan.scenario.tiers() {
                self.judge_tier(stream, &nats, tier, &mut archives, &live).await?;
            }
        }
        self.judge_groups().await
    }

    fn judge_stream(
        &mut self,
        stream: usize,
        server: Option<&str>,
        of: String,
        found: &[Fingerprint],
        dropped: u64,
    ) {
        let seen = self.streams[stream].seen.fingerprints();
        let findings = if self.takes(stream) {
            self.judge_taken(stream, &seen, found)
        } else {
            let excused = |seq, event| {
                let one = (seq, event);
                let own = self.replica_holes.excuse(stream, server, one);
                seq < dropped || own || self.streams[stream].holes.contains(&one)
            };
            self.judge_now(stream, u64::MAX, &seen, found, &excused)
        };
        self.take(stream, of, &findings);
    }

    /// Judges a tier's copy of a stream. It may need a while: for a delete that comes with the next
    /// commit, or for segments that a new NAS names already and still fetches from Wasabi.
    async fn judge_tier(
        &mut self,
        stream: usize,
        nats: &Endpoint,
        tier: Tier,
        archives: &mut BTreeMap<Tier, Archive>,
        live: &BTreeMap<u64, Fingerprint>,
    ) -> Result<()> {
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        let archive = match archives.entry(tier) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(none) => none.insert(Archive::open(&bucket, tier).await?),
        };
        let name = self.plan.scenario.streams[stream].name.clone();
        let deadline = tokio::time::Instant::now() + SETTLED_WITHIN;
        let of = format!("`{name}` at {tier}");
        loop {
            let late = tokio::time::Instant::now() > deadline;
            archive.advance().await?;
            let archived = archive.stream(&name).await?;
            let watermark = archived.as_ref().map_or(0, |archived| archived.watermark);
            let found = match &archived {
                Some(archived) => archived.messages(&bucket, self.plan.seed).await,
                None => Ok(Vec::new()),
            };
            match found {
                Err(error) if late => return Err(error),
                Err(_) => {}
                Ok(found) => {
                    // Messages go on expiring; the tier has followed up to now.
                    let seen = self.streams[stream].seen.fingerprints();
                    let dropped = self.dropped_by_limits(stream, nats, &seen).await?;
                    let excused = |seq, _| seq < dropped;
                    let findings = self.judge_now(stream, watermark, live, &found, &excused);
                    let waiting = !findings.findings.is_empty()
                        && findings.findings.iter().all(|f| f.what == crate::oracle::judge::BACK);
                    if !waiting || late {
                        self.take(stream, of, &findings);
                        let Some(archived) = archived else { return Ok(()) };
                        let epoch = self.ledger.epoch();
                        return self.judge_kept(stream, tier, &archived, epoch).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Judges whether a tier still has messages that the stream's consumers are done with, if it
    /// must.
    pub(super) async fn judge_kept(
        &mut self,
        stream: usize,
        tier: Tier,
        archived: &Holding,
        epoch: u32,
    ) -> Result<()> {
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        if !self.streams[stream].must_be_archived() {
            return Ok(());
        }
        let found = archived.with_dropped().messages(&bucket, self.plan.seed).await?;
        let (content, seen) =
            (|event| self.content(event), self.streams[stream].seen.fingerprints());
        let expected = self.history(stream, epoch, archived.watermark);
        let mut truth = self.truth(stream, expected, &content, &seen);
        truth.unacked.extend(self.ledger.acked_later(epoch));
        truth.maybe_deleted = self.deletes(stream).iter().map(|d| d.seq).collect();
        truth.maybe_deleted.extend(archived.erased());
        let findings = judge(&truth, &found);
        drop(truth);
        let name = &self.plan.scenario.streams[stream].name;
        self.take(stream, format!("`{name}` at {tier}, with dropped messages"), &findings);
        Ok(())
    }

    fn judge_now(
        &self,
        stream: usize,
        bound: u64,
        recorded: &BTreeMap<u64, Fingerprint>,
        found: &[Fingerprint],
        excused: &dyn Fn(u64, EventId) -> bool,
    ) -> Findings {
        let content = |event| self.content(event);
        let mut expected = if self.takes(stream) {
            // At a tier: the stream's own content, which was judged before.
            recorded
                .iter()
                .filter_map(|(seq, fingerprint)| Some((*seq, fingerprint.event?)))
                .collect()
        } else {
            self.history(stream, self.ledger.epoch(), u64::MAX)
        };
        let deletes = self.deletes(stream).into_iter();
        let deletes = deletes.filter(|d| expected.get(&d.seq) == Some(&d.event));
        let (done, unknown): (Vec<_>, Vec<_>) = deletes.partition(|d| d.done_at.is_some());
        drop(expected.split_off(&bound.saturating_add(1)));
        let one_by_one = expected.iter().filter(|(seq, event)| excused(**seq, **event));
        let mut excused: BTreeSet<u64> = one_by_one.map(|(seq, _)| *seq).collect();
        excused.extend(self.gone_by_right(stream, &expected));
        let mut truth = self.truth(stream, expected, &content, recorded);
        truth.deleted = done.iter().map(|d| d.seq).filter(|seq| !excused.contains(seq)).collect();
        truth.maybe_deleted = unknown.iter().map(|d| d.seq).chain(excused).collect();
        judge(&truth, found)
    }

    /// Returns the first sequence of a stream whose limits drop messages, or 0 without limits.
    /// Reports a defect if the newest dropped message should still be there.
    async fn dropped_by_limits(
        &mut self,
        stream: usize,
        nats: &Endpoint,
        seen: &BTreeMap<u64, Fingerprint>,
    ) -> Result<u64> {
        let limits = self.limits(stream);
        if !limits.any() {
            return Ok(0);
        }
        let name = self.plan.scenario.streams[stream].name.clone();
        let info = stream_info(nats, name.as_str()).await?;
        let info = info.ok_or_else(|| Error::step(format!("stream `{name}` does not exist")))?;
        let first = info["state"]["first_seq"].as_u64().unwrap_or_default();
        let now = jiff::Timestamp::now();
        let held = Held::live(&info);
        let judged = self.streams[stream].dropped_earlier..first;
        self.check_dropped(stream, seen, judged, &[limits], held, now, &format!("`{name}` live"));
        Ok(first)
    }

    /// Returns the limits that a stream has now.
    pub(super) fn limits(&self, stream: usize) -> Limits {
        self.streams[stream].limits()
    }

    /// Checks that a limit asked for the messages dropped from this range; its end is the stream's
    /// first sequence.
    #[expect(clippy::too_many_arguments, reason = "all of them are the question")]
    pub(super) fn check_dropped(
        &mut self,
        stream: usize,
        known: &BTreeMap<u64, Fingerprint>,
        dropped: Range<u64>,
        limits: &[Limits],
        held: Held,
        now: jiff::Timestamp,
        of: &str,
    ) {
        let removed = self.deletes(stream).iter().map(|d| d.seq).collect();
        let now = now.as_nanosecond();
        let dropped = Dropped { known, removed: &removed, gone: dropped, held, now };
        if let Some(seq) = dropped.early(limits) {
            let what = format!("sequence {seq} was dropped, and no limit asked for it");
            self.report.oracle.streams_wrong += 1;
            self.note(format!("limits of {of}"), vec![what]);
        }
    }

    /// Puts a judgement into the report.
    pub(super) fn take(&mut self, stream: usize, of: String, found: &Findings) {
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
            recorded: found.recorded,
            lost: [place.prefix, place.middle, place.postfix],
            duplicated: found.count(Defect::Duplicated),
            reordered: found.count(Defect::Reordered),
            changed: found.count(Defect::Changed),
            phantom: found.count(Defect::Phantom),
            examples,
        });
    }

    /// Puts a judgement about something other than messages into the report.
    pub(super) fn note(&mut self, of: String, examples: Vec<String>) {
        self.report.judgements.push(Judgement {
            of,
            read: 0,
            exact: 0,
            recorded: 0,
            lost: [0; 3],
            duplicated: 0,
            reordered: 0,
            changed: 0,
            phantom: 0,
            examples,
        });
    }

    /// Returns a stream's place in the scenario.
    pub(super) fn stream_of(&self, name: &StreamName) -> usize {
        workload::stream_index(&self.plan.scenario, name.as_str())
    }
}
