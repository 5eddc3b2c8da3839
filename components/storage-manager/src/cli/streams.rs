//! `streams`

use cim_core::archive::SeqRange;
use cim_core::archive::journal::{Expired, Served};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::output::note;
use jiff::Timestamp;
use serde::Serialize;

use super::args::StreamsArgs;
use super::exit::Failure;
use super::not_found::{no_archive, unknown_stream};
use super::{connect, show, show_json, table as tables};
use crate::archive::Archive;
use crate::config::Config;
use crate::journal::expire::in_words;
use crate::restore::{Options, plan};
use crate::s3::Tier;

#[derive(Debug, Serialize)]
struct Held {
    from: Tier,
    streams: Vec<HeldStream>,
}

#[derive(Debug, Serialize)]
struct HeldStream {
    stream: StreamName,
    committed_at: Timestamp,
    entry: u64,
    segments: usize,
    bytes: u64,
    consumers: usize,
    /// By whom it was served, where the journal says so.
    served: Option<Served>,
    /// Messages of the newest timeline that were erased for good.
    erased: u64,
    timelines: Vec<HeldTimeline>,
    /// Messages that have left the archive by rule.
    expired: Vec<Expired>,
    /// Since when JetStream does not have it, where that is known.
    absent_since: Option<Timestamp>,
    /// The objects that the newest timeline's messages are in, ascending.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<HeldFile>>,
    /// Sequences in these files that were dropped or deleted: first and last of each run.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<Vec<SeqRange>>,
}

/// A file, and which of its messages count.
#[derive(Debug, Serialize)]
struct HeldFile {
    key: String,
    first_seq: u64,
    last_seq: u64,
    /// The number that this stream's messages have in the column `timeline`, and its name in `stream`, where other
    /// streams have messages in it too.
    shared: Option<u32>,
    size: u64,
}

#[derive(Debug, Serialize)]
struct HeldTimeline {
    timeline: u32,
    reason: String,
    parent: Option<u32>,
    parent_seq: Option<u64>,
    first_seq: u64,
    last_seq: u64,
    last_time: Option<Timestamp>,
}

pub(super) async fn run(config: &Config, args: StreamsArgs) -> Result<(), Failure> {
    let store = connect::store(config, args.from)?;
    let mut streams = Vec::new();
    let archive = Archive::open_before_damage(store).await?;
    let held = archive.streams().await?;
    if let Some(missing) = args.streams.iter().find(|stream| !held.contains(stream)) {
        return Err(unknown_stream(config, missing, args.from).await);
    }
    for stream in held {
        if !args.streams.is_empty() && !args.streams.contains(&stream) {
            continue;
        }
        let Some(state) = archive.stream(&stream).await? else { continue };
        let timelines = state.timelines.iter().map(|(number, timeline)| HeldTimeline {
            timeline: *number,
            reason: timeline.fork.reason.clone(),
            parent: timeline.fork.parent.as_ref().map(|p| p.timeline),
            parent_seq: timeline.fork.parent.as_ref().map(|p| p.last_seq),
            first_seq: timeline.state.first_seq,
            last_seq: timeline.watermark.seq,
            last_time: timeline.watermark.last.as_ref().map(|last| last.time),
        });
        // Of one that has left as a whole there are no files.
        let plan = plan(&stream, &state, &Options::default()).ok();
        let files =
            plan.iter().flat_map(|plan| &plan.pieces).map(|(segment, first_seq, last_seq)| {
                HeldFile {
                    key: segment.key.clone(),
                    first_seq: *first_seq,
                    last_seq: *last_seq,
                    shared: segment.part.as_ref().map(|_| segment.timeline),
                    size: segment.size,
                }
            });
        streams.push(HeldStream {
            files: args.files.then(|| files.collect()),
            gone: plan
                .as_ref()
                .filter(|_| args.files)
                .map(|plan| plan.removed_in(plan.first_seq, plan.last_seq)),
            committed_at: state.committed_at,
            entry: state.number,
            segments: state.segments.len(),
            bytes: state.segments.values().fold(0, |sum: u64, s| sum.saturating_add(s.size)),
            consumers: state.consumers.len(),
            erased: plan
                .as_ref()
                .map_or(0, |plan| state.erased_between(state.timeline(), 1, plan.last_seq).count()),
            timelines: timelines.collect(),
            expired: state.retention.expired,
            absent_since: state.retention.absent_since,
            served: state.served,
            stream,
        });
    }
    let held = Held { from: args.from, streams };
    if args.show.json {
        show_json(&held)?;
    } else {
        show(if args.files { files(&held) } else { table(&held) })?;
        for HeldStream { stream, expired, .. } in &held.streams {
            for line in in_words(expired) {
                note(format_args!("{stream}: {line}"));
            }
        }
    }
    match archive.damage() {
        None if held.streams.is_empty() => Err(no_archive(config, args.from).await),
        None => Ok(()),
        Some(error) => {
            Err(Failure::damaged(format!("{}; what is shown was there before it", chain(error))))
        }
    }
}

fn files(held: &Held) -> comfy_table::Table {
    let mut shown = tables::table(&["stream", "#first", "#last", "#size", "shared", "file"]);
    for stream in &held.streams {
        for file in stream.files.iter().flatten() {
            shown.add_row([
                stream.stream.to_string(),
                file.first_seq.to_string(),
                file.last_seq.to_string(),
                tables::size(file.size),
                file.shared.map_or("-".into(), |timeline| format!("timeline {timeline}")),
                file.key.clone(),
            ]);
        }
    }
    shown
}

fn table(held: &Held) -> comfy_table::Table {
    let mut shown = tables::table(&[
        "stream",
        "#timeline",
        "why",
        "#first",
        "#last",
        "last message",
        "#segments",
        "#size",
        "#consumers",
        "server",
    ]);
    for stream in &held.streams {
        for timeline in &stream.timelines {
            let current = Some(timeline.timeline) == stream.timelines.last().map(|t| t.timeline);
            let of_stream = |text: String| if current { text } else { String::new() };
            shown.add_row([
                stream.stream.to_string(),
                timeline.timeline.to_string(),
                timeline.reason.clone(),
                timeline.first_seq.to_string(),
                timeline.last_seq.to_string(),
                timeline.last_time.map(|t| t.to_string()).unwrap_or_default(),
                of_stream(stream.segments.to_string()),
                of_stream(tables::size(stream.bytes)),
                of_stream(stream.consumers.to_string()),
                of_stream(stream.served.as_ref().map(|s| s.name.clone()).unwrap_or_default()),
            ]);
        }
    }
    shown
}
