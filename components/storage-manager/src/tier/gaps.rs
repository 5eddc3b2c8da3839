//! What the live stream does not have any more: deletes, which the archive follows, and damage, which
//! it must not follow.
//!
//! A server that finds a stream's files damaged when it starts goes on with what it can read. In
//! `STREAM.INFO` the messages that it could not read look like deleted ones; that something was lost
//! it says besides, sometimes without saying what, and only until it is started again. So the first look
//! that sees such a report takes every new gap for damage. A delete of the last second before the
//! damage may be among them: what is in doubt stays in the archive. The manifest remembers what was lost, for afterwards no server could tell.
//!
//! In a cluster there is more to go by: what another server still has was not deleted ([`super::replica_check`]).

use cim_core::archive::{ArchiveState, SeqRange, SeqRanges};
use cim_core::names::StreamName;

use super::survey::Survey;
use crate::chain::Draft;
use crate::jetstream::LostStreamData;

/// The gaps of one stream, each classified as deleted or lost, as far as a session knows them.
#[derive(Debug)]
pub struct GapClassifier {
    stream: StreamName,
    /// Deleted from the live stream and not in the manifest yet; some may not be archived yet.
    deleted: SeqRanges,
    /// Archived, and lost by the live stream.
    lost: SeqRanges,
    /// The stream's leader does not have it, another server does.
    elsewhere: SeqRanges,
    looked: bool,
    /// The loss that the server reported last.
    damage: Option<LostStreamData>,
}

impl GapClassifier {
    /// Begins with the losses that the manifest states.
    pub fn new(stream: StreamName, state: &ArchiveState) -> Self {
        let lost = state.current().lost.clone();
        let (deleted, elsewhere) = (SeqRanges::default(), SeqRanges::default());
        Self { stream, deleted, lost, elsewhere, looked: false, damage: None }
    }

    /// Takes a survey into account.
    pub fn classify(&mut self, survey: &Survey, state: &ArchiveState) {
        let first_look = !std::mem::replace(&mut self.looked, true);
        let news = first_look
            || survey.led_anew
            || survey.deleted.is_some()
            || survey.damage.is_some()
            || self.damage.is_some()
            || !self.elsewhere.is_empty();
        if !news {
            // What is known to be gone can be long, and is not gone through for nothing.
            return;
        }
        let gone = state.removed(state.timeline());
        if first_look || survey.led_anew {
            // A restore has brought back what is not missing any more, or a server leads that has it.
            let mut missing = survey.deleted.clone().unwrap_or_default();
            missing.insert(SeqRange { first: 1, last: survey.state.first_seq.saturating_sub(1) });
            self.lost = self.lost.difference(&self.lost.difference(&missing));
            self.elsewhere = survey.elsewhere.clone();
        }
        let first_report = self.damage != survey.damage;
        self.damage.clone_from(&survey.damage);
        if let Some(damage) = &survey.damage {
            let lost = self.damaged(damage, first_report, survey, state, &gone);
            if !lost.is_empty() {
                tracing::error!(
                    stream = %self.stream,
                    "the server has lost {} archived messages, {}: the archive keeps them, and a restore \
                     brings them back",
                    lost.count(),
                    preview(&lost)
                );
                lost.iter().for_each(|range| self.lost.insert(range));
            }
        }
        let archived = self.elsewhere.intersect(1, state.current().watermark.seq);
        let kept = archived.difference(&self.lost).difference(&gone);
        if !kept.is_empty() {
            tracing::error!(
                stream = %self.stream,
                "the stream's leader has lost {} archived messages that another server has, {}: the \
                 archive keeps them; let another server lead with `nats stream cluster step-down {}`, then \
                 remove the stream from this one, so that it copies it again",
                kept.count(),
                preview(&kept),
                self.stream
            );
            kept.iter().for_each(|range| self.lost.insert(range));
        }
        if let Some(deleted) = &survey.deleted {
            let deleted = deleted.difference(&gone).difference(&self.lost);
            self.deleted = deleted.difference(&self.elsewhere);
        }
    }

    /// Returns the archived sequences that are known to be away, deleted or lost.
    pub fn missing(&self, state: &ArchiveState) -> SeqRanges {
        let mut known = state.removed(state.timeline());
        self.lost.iter().for_each(|range| known.insert(range));
        known
    }

    /// Returns the sequences that the server reports as lost and that were not known to be. Where another server was
    /// asked, a report without sequences says nothing more.
    fn damaged(
        &self,
        damage: &LostStreamData,
        first_report: bool,
        survey: &Survey,
        state: &ArchiveState,
        gone: &SeqRanges,
    ) -> SeqRanges {
        let current = state.current();
        let archived = current.watermark.seq;
        let new = survey.deleted.clone().unwrap_or_default();
        let new = new.difference(gone).difference(&self.deleted);
        let mut lost = match &damage.named {
            Some(named) => new.difference(&new.difference(named)),
            None if first_report && !survey.replicated => new,
            None => SeqRanges::default(),
        };
        if first_report && !survey.replicated {
            let head = SeqRange {
                first: current.state.first_seq.max(1),
                last: survey.state.first_seq.saturating_sub(1),
            };
            lost.insert(head);
        }
        // What the archive does not have, it cannot keep.
        lost.intersect(1, archived).difference(&self.lost).difference(gone)
    }

    /// Returns the deleted sequences up to `watermark`.
    pub fn deleted(&self, watermark: u64) -> SeqRanges {
        self.deleted.intersect(1, watermark)
    }

    /// Takes out the deleted sequences up to `watermark`, which are about to be committed.
    pub fn take_deleted(&mut self, watermark: u64) -> Vec<SeqRange> {
        let archived = self.deleted(watermark);
        self.deleted = self.deleted.intersect(watermark + 1, u64::MAX);
        archived.iter().collect()
    }

    /// Puts into a draft what was lost, and where the stream would begin without the loss.
    pub fn apply_to(&self, draft: &mut Draft, state: &ArchiveState) {
        draft.lost = self.lost.clone();
        let first = draft.state.first_seq;
        if first > 1 && self.lost.contains(first - 1) {
            let mut away = state.removed(state.timeline());
            self.lost.iter().for_each(|range| away.insert(range));
            let before = away.iter().find(|range| range.first < first && range.last >= first - 1);
            draft.state.first_seq = before.map_or(first, |range| range.first);
        }
    }
}

#[cfg(test)]
impl GapClassifier {
    /// Returns the classifier of a stream of which these sequences were deleted.
    pub(super) fn of_deleted(deleted: &[SeqRange]) -> Self {
        let (lost, elsewhere) = (SeqRanges::default(), SeqRanges::default());
        let deleted = deleted.iter().copied().collect();
        let stream = "S".parse().unwrap();
        Self { stream, deleted, lost, elsewhere, looked: true, damage: None }
    }
}

/// Formats the first few ranges, for a line of the log.
pub(super) fn preview(ranges: &SeqRanges) -> String {
    const FEW: usize = 5;
    let mut text: Vec<_> =
        ranges.iter().take(FEW).map(|r| format!("{} to {}", r.first, r.last)).collect();
    if ranges.iter().nth(FEW).is_some() {
        text.push("…".to_owned());
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Entry, Sha256, StreamState};
    use serde_json::{Value, json};

    use super::*;
    use crate::jetstream::Consumers;

    /// An archive of sequences 1 to 100, of which the live stream is known to have lost some.
    fn archive(lost: &Value) -> ArchiveState {
        let time = "2026-01-01T00:00:00Z";
        let state = json!({ "first_seq": 1, "last_seq": 100, "messages": 100, "bytes": 1 });
        let (fork, watermark) = (json!({ "reason": "created" }), json!({ "seq": 100 }));
        let entry = json!({
            "format": 2, "number": 0, "committed_at": time, "writer": "t", "timeline": 1,
            "fork": fork, "watermark": watermark, "state": state, "consumers": [],
            "stream": { "created": time, "config": {} },
            "checkpoint": {
                "segments": [],
                "timelines": [{
                    "number": 1, "fork": fork, "watermark": watermark, "state": state, "lost": lost,
                }],
            },
        });
        let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
        ArchiveState::open(&entry, Sha256::of(b"")).unwrap()
    }

    fn survey(first_seq: u64, deleted: &[SeqRange], damage: Option<LostStreamData>) -> Survey {
        let state = archive(&json!([]));
        Survey {
            record: state.stream.clone(),
            state: StreamState { first_seq, last_seq: 120, messages: 1, bytes: 1 },
            consumers: Consumers::default(),
            deliveries: None,
            deleted: Some(deleted.iter().copied().collect()),
            deletes_known: None,
            damage,
            replicated: false,
            led_anew: false,
            elsewhere: SeqRanges::default(),
            tail: None,
        }
    }

    const UNNAMED: Option<LostStreamData> = Some(LostStreamData { named: None, bytes: 1 });

    fn gaps(state: &ArchiveState) -> GapClassifier {
        GapClassifier::new("S".parse().unwrap(), state)
    }

    fn list(ranges: &SeqRanges) -> Vec<(u64, u64)> {
        ranges.iter().map(|range| (range.first, range.last)).collect()
    }

    #[test]
    fn a_delete_is_a_delete() {
        let state = archive(&json!([]));
        let mut gaps = gaps(&state);
        gaps.classify(&survey(1, &[SeqRange { first: 40, last: 60 }], None), &state);
        assert_eq!(list(&gaps.deleted(100)), [(40, 60)]);
        assert_eq!(list(&gaps.lost), []);
    }

    #[test]
    fn what_a_server_lost_is_no_delete_and_what_is_deleted_later_is_one() {
        let state = archive(&json!([]));
        let mut gaps = gaps(&state);
        // What was not archived yet, 101 to 110, the archive cannot keep.
        let lost = [SeqRange { first: 40, last: 60 }, SeqRange { first: 95, last: 110 }];
        gaps.classify(&survey(1, &lost, UNNAMED), &state);
        assert_eq!(list(&gaps.deleted(100)), []);
        assert_eq!(list(&gaps.lost), [(40, 60), (95, 100)]);
        // The server goes on saying that it lost something.
        let later = [
            SeqRange { first: 40, last: 60 },
            SeqRange { first: 70, last: 70 },
            SeqRange { first: 95, last: 110 },
        ];
        gaps.classify(&survey(1, &later, UNNAMED), &state);
        assert_eq!(list(&gaps.deleted(100)), [(70, 70)]);
        assert_eq!(list(&gaps.lost), [(40, 60), (95, 100)]);
    }

    #[test]
    fn a_server_that_starts_damaged_within_a_session_is_seen_too() {
        let state = archive(&json!([]));
        let mut gaps = gaps(&state);
        gaps.classify(&survey(1, &[SeqRange { first: 20, last: 20 }], None), &state);
        gaps.classify(
            &survey(
                1,
                &[SeqRange { first: 20, last: 20 }, SeqRange { first: 40, last: 60 }],
                UNNAMED,
            ),
            &state,
        );
        assert_eq!(list(&gaps.lost), [(40, 60)]);
        assert_eq!(list(&gaps.deleted(100)), [(20, 20)]);
        let more = Some(LostStreamData { named: None, bytes: 2 });
        let worse = [
            SeqRange { first: 20, last: 20 },
            SeqRange { first: 40, last: 60 },
            SeqRange { first: 80, last: 90 },
        ];
        gaps.classify(&survey(1, &worse, more), &state);
        assert_eq!(list(&gaps.lost), [(40, 60), (80, 90)]);
    }

    #[test]
    fn a_loss_that_the_server_names_is_told_from_a_delete() {
        let state = archive(&json!([]));
        let mut gaps = gaps(&state);
        let named = [SeqRange { first: 40, last: 60 }].into_iter().collect();
        let both = [SeqRange { first: 20, last: 20 }, SeqRange { first: 40, last: 60 }];
        gaps.classify(
            &survey(1, &both, Some(LostStreamData { named: Some(named), bytes: 1 })),
            &state,
        );
        assert_eq!(list(&gaps.deleted(100)), [(20, 20)]);
        assert_eq!(list(&gaps.lost), [(40, 60)]);
    }

    #[test]
    fn the_manifest_remembers_what_the_server_does_not_say_any_more() {
        let state = archive(&json!([[40, 60]]));
        let mut gaps = gaps(&state);
        gaps.classify(
            &survey(1, &[SeqRange { first: 40, last: 60 }, SeqRange { first: 70, last: 70 }], None),
            &state,
        );
        assert_eq!(list(&gaps.deleted(100)), [(70, 70)]);
        assert_eq!(list(&gaps.lost), [(40, 60)]);
    }

    #[test]
    fn what_another_server_has_is_no_delete_until_a_server_leads_that_has_it() {
        let state = archive(&json!([]));
        let mut gaps = gaps(&state);
        let gone = [
            SeqRange { first: 20, last: 20 },
            SeqRange { first: 40, last: 60 },
            SeqRange { first: 95, last: 110 },
        ];
        let elsewhere = [SeqRange { first: 40, last: 60 }, SeqRange { first: 95, last: 110 }]
            .into_iter()
            .collect();
        let damaged =
            Survey { replicated: true, led_anew: true, elsewhere, ..survey(1, &gone, UNNAMED) };
        gaps.classify(&damaged, &state);
        assert_eq!(list(&gaps.deleted(120)), [(20, 20)]);
        // What was not archived yet will be, and is no delete then either.
        assert_eq!(list(&gaps.lost), [(40, 60), (95, 100)]);
        gaps.classify(&survey(1, &gone, None), &state);
        assert_eq!(list(&gaps.deleted(120)), [(20, 20)]);
        let whole =
            Survey { led_anew: true, ..survey(1, &[SeqRange { first: 20, last: 20 }], None) };
        gaps.classify(&whole, &state);
        assert_eq!(list(&gaps.lost), []);
        gaps.classify(
            &survey(1, &[SeqRange { first: 20, last: 20 }, SeqRange { first: 50, last: 50 }], None),
            &state,
        );
        assert_eq!(list(&gaps.deleted(120)), [(20, 20), (50, 50)]);
    }

    #[test]
    fn what_a_restore_brought_back_is_lost_no_more() {
        let state = archive(&json!([[40, 60]]));
        let mut gaps = gaps(&state);
        gaps.classify(&survey(1, &[SeqRange { first: 50, last: 50 }], None), &state);
        assert_eq!(list(&gaps.lost), [(50, 50)]);
    }

    #[test]
    fn a_stream_that_lost_its_front_begins_where_it_began() {
        let state = archive(&json!([]));
        let first_seq = |survey: &Survey| {
            let mut gaps = gaps(&state);
            gaps.classify(survey, &state);
            let mut draft = Draft::from_state(&state);
            survey.apply_to(&mut draft);
            gaps.apply_to(&mut draft, &state);
            draft.state.first_seq
        };
        assert_eq!(first_seq(&survey(31, &[], UNNAMED)), 1);
        // Without damage it was limits or a purge.
        assert_eq!(first_seq(&survey(31, &[], None)), 31);
    }
}
