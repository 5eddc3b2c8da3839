//! `verify`

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cim_core::archive::key::{Chain, stream_prefix};
use cim_core::archive::{ArchiveState, Segment};
use cim_core::names::StreamName;
use cim_runtime::error::chain as error_chain;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::args::VerifyArgs;
use super::exit::Failure;
use super::{connect, table};
use crate::archive::{Archive, ArchiveError};
use crate::chain::{self, ReadError};
use crate::config::Config;
use crate::journal::OpenError;
use crate::s3::{Kind, S3Error, Store};
use crate::segment::{Rows, SegmentError};

/// Segments read at once.
const AT_ONCE: usize = 2;

#[derive(Debug, Serialize)]
struct Report {
    from: String,
    streams: Vec<Verified>,
}

#[derive(Debug, Serialize)]
struct Verified {
    stream: StreamName,
    entries: u64,
    segments: usize,
    messages: u64,
    bytes: u64,
    /// Fewer messages than the stream had; no damage yet.
    lacking: u64,
    problems: Vec<String>,
}

pub(super) async fn run(config: &Config, args: VerifyArgs) -> Result<(), Failure> {
    let store = connect::store(config, args.from)?;
    let archive = match Archive::open(Arc::clone(&store)).await {
        Ok(archive) => archive,
        Err(ArchiveError::Journal(error)) if !matches!(error, OpenError::S3(_)) => {
            // No stream of a journal that cannot be read can be told from another.
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let streams = if args.streams.is_empty() { archive.streams().await? } else { args.streams };
    let mut report = Report { from: args.from.to_string(), streams: Vec::new() };
    let mut journaled = Vec::new();
    for stream in streams {
        match archive.in_journal(&stream) {
            Some(state) => journaled.push((stream, state)),
            None => report.streams.push(verify(&store, stream, args.chain_only).await?),
        }
    }
    report.streams.extend(verify_journaled(&store, &journaled, args.chain_only).await?);
    report.streams.sort_by(|one, other| one.stream.cmp(&other.stream));
    print(&report, args.show.json);
    for Verified { stream, lacking, .. } in report.streams.iter().filter(|s| s.lacking > 0) {
        tracing::warn!(
            stream = %stream,
            "the archive has {lacking} messages fewer than the stream had when it was last seen: they may have been deleted just then; where the stream is at rest and verify says so again, the archive has a gap"
        );
    }
    let damaged = report.streams.iter().filter(|s| !s.problems.is_empty()).count();
    if damaged > 0 {
        return Err(Failure::damaged(format!(
            "{damaged} of {} streams on {} are damaged: restore them from another tier",
            report.streams.len(),
            report.from
        )));
    }
    Ok(())
}

/// Verifies streams that journals hold. The journals themselves were checked when they were opened: each entry
/// by its hash, and that it follows from the one before it.
async fn verify_journaled(
    store: &Arc<Store>,
    streams: &[(StreamName, &ArchiveState)],
    chain_only: bool,
) -> Result<Vec<Verified>, Failure> {
    let mut verified = Vec::new();
    let mut objects: BTreeMap<&str, Vec<(usize, &Segment)>> = BTreeMap::new();
    for (index, (stream, state)) in streams.iter().enumerate() {
        let segments = state.segments.values();
        segments.clone().for_each(|s| objects.entry(&s.key).or_default().push((index, s)));
        verified.push(Verified {
            stream: stream.clone(),
            entries: state.number + 1,
            segments: state.segments.len(),
            messages: segments.clone().map(|s| s.messages).sum(),
            bytes: segments.map(|s| s.size).sum(),
            lacking: state.lacking(),
            problems: Vec::new(),
        });
    }
    let folders: BTreeSet<&str> =
        objects.keys().map(|key| &key[..key.rfind('/').map_or(0, |end| end + 1)]).collect();
    let mut there = BTreeMap::new();
    for folder in folders {
        let listed = store.list(folder, false).await?;
        there.extend(listed.into_iter().map(|object| (object.key, object.size)));
    }
    let mut present = Vec::new();
    for (key, segments) in objects {
        match there.get(key) {
            None => {
                for (index, _) in segments {
                    verified[index].problems.push(format!("segment `{key}` is missing"));
                }
            }
            Some(size) => {
                for (index, segment) in &segments {
                    if segment.part.is_none() && segment.size != *size {
                        let what =
                            format!("segment `{key}` has {size} bytes, not {}", segment.size);
                        verified[*index].problems.push(what);
                    }
                }
                let segments: Vec<_> =
                    segments.into_iter().map(|(index, s)| (index, s.clone())).collect();
                present.push((key.to_owned(), segments));
            }
        }
    }
    if !chain_only {
        let checks = present.into_iter().map(|(key, segments)| check_object(store, key, segments));
        let mut checks = stream::iter(checks).buffered(AT_ONCE);
        while let Some(problems) = checks.next().await {
            for (index, problem) in problems? {
                verified[index].problems.push(problem);
            }
        }
    }
    Ok(verified)
}

/// Checks all segments that lie in one object; by stream, what is wrong.
async fn check_object(
    store: &Store,
    key: String,
    segments: Vec<(usize, Segment)>,
) -> Result<Vec<(usize, String)>, S3Error> {
    let file = match store.get(&key).await {
        Ok(file) => file,
        Err(error) if error.kind == Kind::NotFound => {
            return Ok(segments.iter().map(|(index, _)| (*index, error.to_string())).collect());
        }
        Err(error) => return Err(error),
    };
    let check = move || {
        let problem = |(index, segment): (usize, Segment)| {
            let read = Rows::read(&segment, &file, |_| Ok::<_, SegmentError>(()));
            read.err().map(|error| (index, error_chain(&error)))
        };
        segments.into_iter().filter_map(problem).collect()
    };
    Ok(tokio::task::spawn_blocking(check).await.expect("reading does not panic"))
}

async fn verify(store: &Store, stream: StreamName, chain_only: bool) -> Result<Verified, Failure> {
    let mut verified = Verified {
        stream,
        entries: 0,
        segments: 0,
        messages: 0,
        bytes: 0,
        lacking: 0,
        problems: Vec::new(),
    };
    let state = match chain::load_full(store, Chain::Manifest, &verified.stream).await {
        Ok(Some(state)) => state,
        Ok(None) => {
            verified.problems.push("there is no archive of this stream".into());
            return Ok(verified);
        }
        Err(ReadError::S3(error)) => return Err(error.into()),
        Err(damaged) => {
            verified.problems.push(error_chain(&damaged));
            return Ok(verified);
        }
    };
    verified.entries = state.number + 1;
    verified.segments = state.segments.len();
    verified.messages = state.segments.values().map(|s| s.messages).sum();
    verified.bytes = state.segments.values().map(|s| s.size).sum();
    verified.lacking = state.lacking();
    let mut present = sizes(store, &state, &mut verified).await?;
    if !chain_only {
        let mut checks =
            stream::iter(present.drain(..)).map(|segment| check(store, segment)).buffered(AT_ONCE);
        while let Some(problem) = checks.next().await {
            verified.problems.extend(problem?);
        }
    }
    Ok(verified)
}

/// The segments that are there with their sizes; the others are problems.
async fn sizes(
    store: &Store,
    state: &ArchiveState,
    verified: &mut Verified,
) -> Result<Vec<Segment>, S3Error> {
    let listed =
        store.list(&format!("{}segments/", stream_prefix(&verified.stream)), false).await?;
    let there: BTreeMap<String, u64> = listed.into_iter().map(|o| (o.key, o.size)).collect();
    let mut present = Vec::new();
    for segment in state.segments.values() {
        match there.get(&segment.key) {
            Some(size) if *size == segment.size => present.push(segment.clone()),
            Some(size) => verified
                .problems
                .push(format!("segment `{}` has {size} bytes, not {}", segment.key, segment.size)),
            None => verified.problems.push(format!("segment `{}` is missing", segment.key)),
        }
    }
    Ok(present)
}

async fn check(store: &Store, segment: Segment) -> Result<Option<String>, S3Error> {
    let file = match store.get(&segment.key).await {
        Ok(file) => file,
        Err(error) if error.kind == Kind::NotFound => return Ok(Some(error.to_string())),
        Err(error) => return Err(error),
    };
    let read = move || Rows::read(&segment, &file, |_| Ok::<_, SegmentError>(()));
    let read = tokio::task::spawn_blocking(read).await.expect("reading does not panic");
    Ok(read.err().map(|error| error_chain(&error)))
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(report).expect("plain fields are JSON"));
        return;
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
    println!("{shown}");
    for stream in &report.streams {
        for problem in &stream.problems {
            println!("{}: {problem}", stream.stream);
        }
    }
}
