//! `verify`

mod erased;
mod journals;
mod keyless;
mod objects;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveState, Segment, SeqRange};
use cim_core::names::StreamName;
use cim_runtime::error::chain as error_chain;
use serde::Serialize;

use self::erased::{Erased, erased};
use self::journals::Audited;
use self::objects::{Checked, Of, Problem};
use super::args::VerifyArgs;
use super::exit::Failure;
use super::not_found::{no_archive, unknown_stream};
use super::{connect, show, show_json, table};
use crate::archive::Archive;
use crate::chain::{self, ReadError};
use crate::config::Config;
use crate::s3::{Store, Tier};

#[derive(Debug, Serialize)]
struct Report {
    from: Tier,
    streams: Vec<Verified>,
    journals: Vec<Audited>,
}

#[derive(Debug, Serialize)]
struct Verified {
    stream: StreamName,
    entries: u64,
    segments: usize,
    messages: u64,
    bytes: u64,
    /// Fewer messages than the stream had; no damage yet.
    #[serde(rename = "lacking")]
    missing_messages: u64,
    /// Messages that were erased for good.
    erased: Vec<Erased>,
    /// Messages that have left by rule: nothing is wrong with that.
    expired: u64,
    problems: Vec<String>,
    /// Objects whose key is missing: whether they are damaged is not known.
    locked: Vec<String>,
    /// The timelines that a restore of the newest one is made of, each with the sequences that count.
    #[serde(skip)]
    lineage: Vec<(u32, SeqRange)>,
    /// One of the problems is in what a restore brings back.
    #[serde(skip)]
    newest: bool,
}

impl Verified {
    /// Takes note of what is wrong with a segment.
    fn add(&mut self, Problem { timeline, first_seq, last_seq, what }: Problem) {
        let counts = |&(number, SeqRange { first: from, last: until }): &(u32, SeqRange)| {
            number == timeline && first_seq <= until && last_seq >= from
        };
        self.newest |= self.lineage.iter().any(counts);
        self.problems.push(what);
    }
}

pub(super) async fn run(config: &Config, args: VerifyArgs) -> Result<(), Failure> {
    if args.without_keys {
        return keyless::run(config, args.from, args.show.json).await;
    }
    with_keys(config, args).await.map_err(|failure| {
        if !failure.is_locked() {
            return failure;
        }
        let message = format!(
            "{}; `verify --without-keys` checks what can be checked without",
            failure.message()
        );
        failure.with_message(message)
    })
}

async fn with_keys(config: &Config, args: VerifyArgs) -> Result<(), Failure> {
    let store = connect::store(config, args.from)?;
    let mut journals = journals::check(&store, !args.chain_only).await?;
    let archive = Archive::open_before_damage(Arc::clone(&store)).await?;
    journals::opened(&mut journals, &archive);
    let mut streams = archive.streams().await?;
    if streams.is_empty() && archive.damage().is_none() {
        return Err(no_archive(config, args.from).await);
    }
    if !args.streams.is_empty() {
        if let Some(stream) = args.streams.iter().find(|stream| !streams.contains(stream)) {
            return Err(unknown_stream(config, stream, args.from).await);
        }
        streams = args.streams;
    }
    streams.sort();
    let mut report = Report { from: args.from, streams: Vec::new(), journals };
    let mut journaled = Vec::new();
    for stream in streams {
        let index = report.streams.len();
        let all = |state: ArchiveState| {
            state.segments.into_values().map(move |segment| Of { stream: index, segment })
        };
        // A journal was checked when it was opened: each entry by its hash, and that it follows from the one before.
        if let Some(state) = archive.in_journal(&stream) {
            let (notes, wrong) = erased(state, &args.erased_by);
            let mut verified = Verified { erased: notes, ..summary(stream, state) };
            // A restore goes by what the note says.
            verified.newest = !wrong.is_empty();
            verified.problems.extend(wrong);
            report.streams.push(verified);
            journaled.extend(all(state.clone()));
            continue;
        }
        let (verified, state) = chain(&store, stream).await?;
        report.streams.push(verified);
        let segments = state.into_iter().flat_map(all).collect();
        verify(&store, &mut report.streams, segments, args.chain_only).await?;
    }
    // Streams share objects, and each is read once.
    verify(&store, &mut report.streams, journaled, args.chain_only).await?;
    print(&report, args.show.json)?;
    for Verified { stream, missing_messages, .. } in
        report.streams.iter().filter(|s| s.missing_messages > 0)
    {
        tracing::warn!(
            stream = %stream,
            "the archive has {missing_messages} fewer messages than the stream had when it was last observed. Recent deletes can explain this; if the stream is idle and this warning repeats, the archive has a gap"
        );
    }
    for Audited { journal, warnings, .. } in &report.journals {
        for warning in warnings {
            tracing::warn!("journal `{journal}`: {warning}");
        }
    }
    let damaged = report.streams.iter().filter(|s| !s.problems.is_empty()).count();
    if let Some(error) = archive.damage() {
        return Err(Failure::damaged(format!(
            "{}; of what was there before it, {damaged} of {} streams are damaged",
            error_chain(error),
            report.streams.len()
        )));
    }
    let (whole, from) = (report.streams.len() - damaged, &report.from);
    let second_way = journals::summary(&report.journals).map(|wrong| {
        let which = if damaged == 0 { "all".into() } else { format!("the other {whole}") };
        format!("{wrong}; {which} streams on {from} can be read nevertheless")
    });
    let streams = (damaged > 0).then(|| {
        let count = report.streams.len();
        let newest = report.streams.iter().filter(|s| s.newest).count();
        // What only an old chain says is not healed.
        let restore = if args.from == Tier::Nas && !report.journals.is_empty() {
            "where the host lives the storage manager heals them (docs/recovery.md#an-object-on-the-nas-is-damaged), else restore them from another tier"
        } else {
            "restore them from another tier"
        };
        let way = match damaged - newest {
            0 => format!(": {restore}"),
            left if newest == 0 => format!(
                " in timelines that {} left: the newest timeline of each is whole, and `restore` brings that back",
                if left == 1 { "it has" } else { "they have" }
            ),
            left => format!(
                ": {restore}; of {left} of them the newest timeline is whole, and `restore` brings that back"
            ),
        };
        format!("{damaged} of {count} streams on {from} are damaged{way}")
    });
    let locked = locked(&report);
    let wrong: Vec<String> = streams.into_iter().chain(second_way).collect();
    match (wrong.is_empty(), locked) {
        (true, None) => Ok(()),
        (true, Some(locked)) => Err(Failure::locked(locked)),
        (false, locked) => {
            let all: Vec<String> = wrong.into_iter().chain(locked).collect();
            Err(Failure::damaged(all.join("; ")))
        }
    }
}

/// Returns how much there is no key of, in one line; `None` where that is nothing.
fn locked(report: &Report) -> Option<String> {
    let of_streams = report.streams.iter().filter(|stream| !stream.locked.is_empty());
    let of_journals = report.journals.iter().flat_map(|journal| &journal.locked);
    let (streams, entries) = (of_streams.count(), of_journals.count());
    let what = match (streams, entries) {
        (0, 0) => return None,
        (0, entries) => format!("{entries} entries and checkpoints that no stream needs"),
        (streams, _) => format!("{streams} of {} streams", report.streams.len()),
    };
    let from = &report.from;
    Some(format!(
        "{what} on {from} cannot be looked at, for they are encrypted with a key that the configuration does not have, as is said above; all else was"
    ))
}

/// Checks all segments. One that is not there is missing if the archive still names it; one that was replaced while
/// it was waited for is not, and what took its place is checked instead.
async fn verify(
    store: &Arc<Store>,
    streams: &mut [Verified],
    segments: Vec<Of>,
    chain_only: bool,
) -> Result<(), Failure> {
    let mut wanted = segments;
    while !wanted.is_empty() {
        let Checked { problems, locked, gone } = objects::check(store, wanted, chain_only).await?;
        for (stream, what) in locked {
            streams[stream].locked.push(what);
        }
        for (stream, problem) in problems {
            streams[stream].add(problem);
        }
        wanted = Vec::new();
        if gone.is_empty() {
            break;
        }
        let now = Archive::open_before_damage(Arc::clone(store)).await?;
        let mut of_stream: BTreeMap<usize, Vec<Segment>> = BTreeMap::new();
        for Of { stream, segment } in gone {
            of_stream.entry(stream).or_default().push(segment);
        }
        for (index, gone) in of_stream {
            let state = now.stream(&streams[index].stream).await?;
            let Missing { missing, instead } = Missing::of(state.as_ref(), gone);
            for problem in missing {
                streams[index].add(problem);
            }
            wanted.extend(instead.into_iter().map(|segment| Of { stream: index, segment }));
        }
    }
    Ok(())
}

/// Segments that are not there, and what that means.
struct Missing {
    /// The problems: those that the archive names.
    missing: Vec<Problem>,
    /// Those that took the place of the others.
    instead: Vec<Segment>,
}

impl Missing {
    fn of(now: Option<&ArchiveState>, gone: Vec<Segment>) -> Self {
        let (mut missing, mut instead) = (Vec::new(), BTreeMap::new());
        for segment in gone {
            let named = |state: &ArchiveState| {
                let there = state.segments.get(&(segment.timeline, segment.first_seq));
                there.is_some_and(|there| there.key == segment.key)
            };
            match now.filter(|state| !named(state)) {
                None => {
                    let what = format!("segment `{}` is missing", segment.key);
                    missing.push(Problem::of(&segment, what));
                }
                Some(state) => {
                    let last = (segment.timeline, segment.last_seq);
                    let later = state.segments.range((segment.timeline, 0)..=last);
                    let there = later.filter(|(_, other)| other.last_seq >= segment.first_seq);
                    instead.extend(there.map(|(at, other)| (*at, other.clone())));
                }
            }
        }
        Self { missing, instead: instead.into_values().collect() }
    }
}

/// Returns what is said of a stream's archive before its segments are looked at.
fn summary(stream: StreamName, state: &ArchiveState) -> Verified {
    let (segments, newest) = (state.segments.values(), state.timeline());
    let lineage = state.lineage(newest).into_iter();
    let lineage = lineage.map(|(number, until)| (number, SeqRange { first: 1, last: until }));
    Verified {
        stream,
        entries: state.number.saturating_add(1),
        segments: state.segments.len(),
        messages: segments.clone().fold(0, |sum: u64, s| sum.saturating_add(s.messages)),
        bytes: segments.fold(0, |sum: u64, s| sum.saturating_add(s.size)),
        missing_messages: state.missing_messages(),
        erased: Vec::new(),
        expired: state
            .retention
            .expired
            .iter()
            .fold(0, |sum: u64, run| sum.saturating_add(run.messages)),
        problems: Vec::new(),
        locked: Vec::new(),
        lineage: lineage.chain(state.stand_ins(newest)).collect(),
        newest: false,
    }
}

/// Reads a stream's chain from its beginning. `None` for the state where it cannot be read.
async fn chain(
    store: &Store,
    stream: StreamName,
) -> Result<(Verified, Option<ArchiveState>), Failure> {
    let problem = match chain::load_full(store, Chain::Manifest, &stream).await {
        Ok(Some(state)) => return Ok((summary(stream, &state), Some(state))),
        Ok(None) => "there is no archive of this stream".into(),
        Err(ReadError::S3(error)) => return Err(error.into()),
        Err(damaged) => error_chain(&damaged),
    };
    let (entries, segments, messages, bytes, missing_messages, expired) = (0, 0, 0, 0, 0, 0);
    let (problems, lineage, newest) = (vec![problem], Vec::new(), true);
    let erased = Vec::new();
    let locked = Vec::new();
    let verified = Verified {
        stream,
        entries,
        segments,
        messages,
        bytes,
        missing_messages,
        erased,
        expired,
        problems,
        locked,
        lineage,
        newest,
    };
    Ok((verified, None))
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        return show_json(report);
    }
    let mut shown =
        table::table(&["stream", "#entries", "#segments", "#messages", "#size", "#problems"]);
    for stream in &report.streams {
        shown.add_row([
            stream.stream.to_string(),
            stream.entries.to_string(),
            stream.segments.to_string(),
            stream.messages.to_string(),
            table::size(stream.bytes),
            stream.problems.len().to_string(),
        ]);
    }
    let mut text = shown.to_string();
    for Verified { stream, expired, .. } in report.streams.iter().filter(|s| s.expired > 0) {
        write!(
            text,
            "\n{stream}: {expired} messages left the archive by rule (`streams` says which)"
        )
        .expect("memory takes it");
    }
    for Audited { journal, problems, locked, .. } in &report.journals {
        for problem in problems.iter().chain(locked) {
            write!(text, "\njournal `{journal}`: {problem}").expect("memory takes it");
        }
    }
    for stream in &report.streams {
        for erased in &stream.erased {
            write!(text, "\n{}: {erased}", stream.stream).expect("memory takes it");
        }
        for problem in stream.problems.iter().chain(&stream.locked) {
            write!(text, "\n{}: {problem}", stream.stream).expect("memory takes it");
        }
    }
    show(text)
}
