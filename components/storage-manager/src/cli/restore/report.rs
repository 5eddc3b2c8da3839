//! What came of each stream, as a table or JSON, and what the program ends with.

mod figures;
mod notes;

use std::fmt::Write as _;

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::output::note;
use serde::Serialize;

use figures::Numbers;

use crate::cli::args::RestoreArgs;
use crate::cli::exit::Failure;
use crate::cli::{show, show_json, table};
use crate::restore::{Done, Plan, RestoreError, RetryCommand};
use crate::s3::Tier;

/// Every stream that was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    streams: Vec<Restored>,
    #[serde(skip)]
    retry: RetryCommand,
}

#[derive(Debug, Serialize)]
struct Restored {
    stream: StreamName,
    #[serde(rename = "restored_as")]
    target: StreamName,
    from: Tier,
    outcome: Outcome,
    /// Why it was not restored.
    why: Option<String>,
    #[serde(rename = "way_out")]
    remedy: Option<String>,
    /// Figures of the stream that exists now, or can be restored.
    #[serde(flatten)]
    numbers: Option<Numbers>,
    #[serde(skip)]
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// It can be restored, as far as that is known before.
    Ready,
    Restored,
    /// It was there already, and the same.
    Unchanged,
    Refused,
    Damaged,
    /// There is no key of it.
    Locked,
    Interrupted,
    /// Something else went wrong with it.
    Failed,
}

impl Outcome {
    fn in_words(self) -> &'static str {
        match self {
            Self::Ready => "can be restored",
            Self::Restored => "restored",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
            Self::Damaged => "damaged",
            Self::Locked => "locked",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }

    fn of(failure: &Failure) -> Self {
        match failure {
            failure if failure.is_refusal() => Self::Refused,
            failure if failure.is_damage() => Self::Damaged,
            failure if failure.is_locked() => Self::Locked,
            failure if failure.is_interrupted() => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

impl Report {
    /// Starts a report of streams of which nothing is known yet.
    pub(super) fn new(streams: &[StreamName], args: &RestoreArgs, retry: RetryCommand) -> Self {
        let unknown = |stream: &StreamName| Restored {
            stream: stream.clone(),
            target: args.rename.clone().unwrap_or_else(|| stream.clone()),
            from: args.from,
            outcome: Outcome::Interrupted,
            why: None,
            remedy: None,
            numbers: None,
            failure: None,
        };
        Self { dry_run: args.dry_run, streams: streams.iter().map(unknown).collect(), retry }
    }

    /// Records that nothing known prevents the restore of a stream.
    pub(super) fn ready(&mut self, place: usize, plan: &Plan) {
        self.streams[place].outcome = Outcome::Ready;
        self.streams[place].numbers = Some(Numbers::of(plan));
    }

    /// Records that a stream exists already and is the same.
    pub(super) fn unchanged(&mut self, place: usize, plan: &Plan, why: String) {
        self.ready(place, plan);
        let restored = &mut self.streams[place];
        restored.outcome = Outcome::Unchanged;
        restored.why = Some(why);
        restored.numbers.iter_mut().for_each(Numbers::nothing_is_done);
    }

    /// Records that a stream was not restored.
    pub(super) fn failed(&mut self, place: usize, error: RestoreError) {
        let restored = &mut self.streams[place];
        restored.remedy = error.remedy(&restored.stream, &restored.target, self.retry);
        restored.why = Some(chain(&error));
        let failure = Failure::from(error);
        restored.outcome = Outcome::of(&failure);
        restored.failure = Some(failure);
        restored.numbers = None;
    }

    /// Records the results of the streams that were [ready](Self::ready), in their order.
    pub(super) fn done(&mut self, done: Vec<Result<Done, RestoreError>>) {
        let ready = self.streams.iter().enumerate();
        let ready = ready.filter(|(_, restored)| restored.outcome == Outcome::Ready);
        let places: Vec<usize> = ready.map(|(place, _)| place).collect();
        for (place, done) in places.into_iter().zip(done) {
            match done {
                Ok(done) => {
                    let restored = &mut self.streams[place];
                    restored.outcome = Outcome::Restored;
                    restored.numbers.iter_mut().for_each(|numbers| numbers.are_now(&done));
                }
                Err(error) => self.failed(place, error),
            }
        }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.streams.iter().filter(|restored| restored.outcome == outcome).count()
    }

    /// Returns why not all streams are there, if so. What would have ended the others too says more than that they
    /// were ended, damage more than a missing key, and that more than a refusal; that it was interrupted says most.
    pub(super) fn failure(&mut self, stopped: bool) -> Option<Failure> {
        let wanted = self.streams.len();
        let failed = self.streams.iter().filter(|restored| restored.failure.is_some()).count();
        let of_one = |of: &Failure| {
            let all = [of.is_damage(), of.is_locked(), of.is_refusal()];
            all.iter().position(|is_it| *is_it)
        };
        let rank = |of: &Failure| (of.is_interrupted() != stopped, of_one(of));
        let worst = self.streams.iter_mut().filter_map(|restored| {
            let failure = restored.failure.take()?;
            Some((failure, restored.remedy.as_deref()))
        });
        let (failure, remedy) = worst.min_by_key(|(failure, _)| rank(failure))?;
        if wanted == 1 {
            // That a key is missing says what to do itself.
            let says_it_all = failure.is_interrupted() || failure.is_locked();
            let out = remedy.filter(|_| !says_it_all);
            let Some(out) = out else { return Some(failure) };
            let message = format!("{}: {out}", failure.message());
            return Some(failure.with_message(message));
        }
        let there = self.count(Outcome::Restored);
        let message = if failure.is_interrupted() {
            format!(
                "interrupted: {there} of {wanted} streams were restored, and nothing of the others"
            )
        } else {
            let cause =
                if of_one(&failure).is_some() { "see the table" } else { failure.message() };
            format!("{}, {}: {cause}", self.there(), self.missing(failed))
        };
        Some(failure.with_message(message))
    }

    /// Says how many streams are there, or can be.
    fn there(&self) -> String {
        let wanted = self.streams.len();
        let (new, can) = if self.dry_run {
            (self.count(Outcome::Ready), "can be restored")
        } else {
            (self.count(Outcome::Restored), "were restored")
        };
        match self.count(Outcome::Unchanged) {
            0 => format!("{new} of {wanted} streams {can}"),
            same => format!("{new} of {wanted} streams {can}, {same} were there already"),
        }
    }

    fn missing(&self, failed: usize) -> String {
        match (self.dry_run, failed) {
            (true, _) => format!("{failed} cannot"),
            (false, 1) => "1 was not".into(),
            (false, _) => format!("{failed} were not"),
        }
    }

    /// Prints what came of every stream.
    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return show_json(self);
        }
        let renamed = self.streams.iter().any(|restored| restored.stream != restored.target);
        let mut headers = vec!["stream", "outcome"];
        headers.extend(renamed.then_some("restored as"));
        headers.extend(["#timeline", "#first", "#last", "#messages", "#size", "#consumers"]);
        headers.extend(["method", "#seconds"]);
        let mut shown = table::table(&headers);
        for restored in &self.streams {
            let mut row = vec![restored.stream.to_string(), restored.outcome.in_words().into()];
            row.extend(renamed.then(|| restored.target.to_string()));
            row.extend(match &restored.numbers {
                Some(numbers) => [
                    numbers.timeline.to_string(),
                    numbers.first_seq.to_string(),
                    numbers.last_seq.to_string(),
                    numbers.messages.to_string(),
                    table::size(numbers.bytes),
                    numbers.consumers.to_string(),
                    numbers.method.into(),
                    format!("{:.2}", numbers.seconds),
                ],
                None => [const { String::new() }; 8].map(|_| "-".into()),
            });
            shown.add_row(row);
        }
        let mut text = shown.to_string();
        // Not in the table: what is to be typed must be whole.
        for restored in self.streams.iter().filter(|r| r.outcome != Outcome::Unchanged) {
            let Some(why) = &restored.why else { continue };
            write!(text, "\n{}: {why}", restored.stream).expect("memory takes it");
            if let Some(out) = &restored.remedy {
                write!(text, "\n    {out}").expect("memory takes it");
            }
        }
        for note in self.streams.iter().flat_map(Restored::notes) {
            write!(text, "\n{note}").expect("memory takes it");
        }
        show(text)?;
        if self.dry_run {
            note("dry run: nothing was restored; messages are at most as many as shown");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cim_core::archive::DeletesKnown;
    use clap::Parser as _;
    use jiff::Timestamp;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::crypt::{Key, Locked};
    use crate::restore::SendError;
    use crate::s3::Tier;

    /// Returns the status and the last line when the first streams of three were not restored.
    fn ends(errors: Vec<RestoreError>, stopped: bool) -> (u8, String) {
        let cli = Cli::try_parse_from(["cim-storage-manager", "restore", "--all"]).unwrap();
        let Command::Restore(args) = cli.command else { panic!("it is another command") };
        let streams = ["A", "B", "C"].map(|name| name.parse().unwrap());
        let mut report =
            Report::new(&streams, &args, RetryCommand { from: Tier::Nas, other: None });
        report.streams.iter_mut().for_each(|restored| restored.outcome = Outcome::Restored);
        for (place, error) in errors.into_iter().enumerate() {
            report.failed(place, error);
        }
        let failure = report.failure(stopped).unwrap();
        (failure.status(), failure.message().to_owned())
    }

    #[test]
    fn what_is_other_than_in_the_archive_is_said() {
        let at = |time: &str| time.parse::<Timestamp>().unwrap();
        let notes = |target: &str, change: &dyn Fn(&mut Numbers)| {
            let mut numbers = Numbers {
                timeline: 1,
                first_seq: 1,
                last_seq: 40,
                messages: 40,
                bytes: 1,
                consumers: 0,
                method: "",
                seconds: 0.0,
                seconds_sending: 0.0,
                segments: 1,
                s3_requests: 0,
                fence: 0,
                fence_for: Vec::new(),
                added: 0,
                dropped: 0,
                partial_batch: None,
                expired: Vec::new(),
                deletes_known: None,
                archived_at: at("2026-01-01T00:00:10Z"),
                erased: Vec::new(),
                left_out: Vec::new(),
                unsupported_in_memory: Vec::new(),
                leaves_no_markers: false,
            };
            change(&mut numbers);
            let restored = Restored {
                stream: "S".parse().unwrap(),
                target: target.parse().unwrap(),
                from: Tier::Nas,
                outcome: Outcome::Restored,
                why: None,
                remedy: None,
                numbers: Some(numbers),
                failure: None,
            };
            restored.notes().join("|")
        };
        let known = |time: &str| Some(DeletesKnown { seq: 1, at: at(time) });
        assert_eq!(notes("S", &|n| n.deletes_known = known("2026-01-01T00:00:08Z")), "");
        let stale = notes("S", &|n| n.deletes_known = known("2026-01-01T00:00:03Z"));
        let says = "S: deletes are known up to 2026-01-01 00:00:03 UTC, its messages up to 2026-01-01 00:00:10 UTC: ";
        assert!(stale.starts_with(says), "{stale}");
        assert!(notes("S", &|n| n.added = 2).starts_with("S: goes on to sequence 42 since ("));
        assert!(notes("S", &|n| n.dropped = 3).starts_with("S: has let go of 3 messages since ("));
        let fenced = notes("S", &|n| n.fence = 10);
        assert_eq!(fenced, "S: sequences 41 to 50 stay unused, and the next message gets 51");
        let fenced = notes("S", &|n| (n.fence, n.fence_for) = (10, vec!["mirror `M`".into()]));
        let says = ": of what was lost behind 40 some may have reached mirror `M` (`--fence 0` ";
        assert!(fenced.contains(says), "{fenced}");
        let copy = notes("COPY", &|n| n.left_out = vec!["source `A`".into()]);
        assert!(copy.starts_with("S: left out of `COPY` (in a copy "), "{copy}");
        assert!(copy.contains("`--keep-links`") && copy.ends_with(":|    source `A`"), "{copy}");
        assert!(!notes("S", &|n| n.left_out = vec!["schedules".into()]).contains("--keep-links"));
    }

    #[test]
    fn what_ended_it_says_more_than_damage_and_damage_more_than_a_refusal() {
        let refused = || RestoreError::Alone("A".into());
        let damaged = || RestoreError::Missing { key: "k".into(), first_seq: 1, tier: Tier::Nas };
        let locked = || {
            let locked = Locked { key: Key::random().id().clone(), recovery: None };
            RestoreError::Locked { tier: Tier::Nas, key: "k".into(), locked: Box::new(locked) }
        };
        let interrupted = || RestoreError::Interrupted("B".into());
        let silent = || {
            let after = Duration::from_secs(30);
            RestoreError::Send(SendError::NoResponse { stream: "A".into(), after })
        };
        let (status, last) = ends(vec![refused()], false);
        assert_eq!(
            (status, &last[..]),
            (6, "2 of 3 streams were restored, 1 was not: see the table")
        );
        assert_eq!(ends(vec![refused(), damaged()], false).0, 5);
        assert_eq!(ends(vec![refused(), locked(), damaged()], false).0, 5);
        let (status, last) = ends(vec![refused(), locked()], false);
        assert_eq!(
            (status, &last[..]),
            (9, "1 of 3 streams were restored, 2 were not: see the table")
        );
        let (status, last) = ends(vec![refused(), damaged(), interrupted()], true);
        assert_eq!(status, 130);
        assert_eq!(last, "interrupted: 0 of 3 streams were restored, and nothing of the others");
        let (status, last) = ends(vec![refused(), silent(), interrupted()], false);
        assert_eq!(status, 3);
        let says = "0 of 3 streams were restored, 3 were not: NATS did not answer within 30 s";
        assert!(last.starts_with(says), "{last}");
    }
}
