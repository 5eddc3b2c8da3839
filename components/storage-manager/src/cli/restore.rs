//! `restore`

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cim_core::archive::ArchiveState;
use cim_core::names::StreamName;
use cim_runtime::shutdown;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::RestoreArgs;
use super::exit::Failure;
use super::{connect, table};
use crate::archive::Archive;
use crate::config::Config;
use crate::jetstream::JetStream;
use crate::restore::{self, Options, Plan, Progress, Source};
use crate::s3::Tier;

#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    streams: Vec<Restored>,
}

#[derive(Debug, Serialize)]
struct Restored {
    stream: StreamName,
    #[serde(rename = "restored_as")]
    target: StreamName,
    from: String,
    timeline: u32,
    first_seq: u64,
    last_seq: u64,
    messages: u64,
    bytes: u64,
    consumers: usize,
    method: &'static str,
    seconds: f64,
    /// Of those, from the server's first answer to its last.
    seconds_sending: f64,
    segments: usize,
    s3_requests: u64,
}

pub(super) async fn run(config: &Config, args: RestoreArgs) -> Result<(), Failure> {
    let tier = connect::store(config, args.from)?;
    let other = if args.from == Tier::Nas { Tier::Wasabi } else { Tier::Nas };
    let fallback = if args.no_fallback { None } else { connect::optional_store(config, other)? };
    let source = Source::new(tier, fallback);
    let jetstream = connect::jetstream(config).await?;
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    if args.rename.is_some() && args.streams.len() > 1 {
        return Err(Failure::usage("`--as` takes one stream: it is one name"));
    }
    let archive = Archive::open(Arc::clone(&source.tier)).await?;
    let streams = if args.all { archive.streams().await? } else { args.streams.clone() };
    let options = Options {
        rename: args.rename.clone(),
        subjects: args.subjects.clone(),
        replicas: args.replicas,
        until_seq: args.until_seq,
        until_time: args.until_time,
        subject: args.subject.clone(),
        timeline: args.timeline,
        with_dropped: args.with_dropped,
        staged: args.staged,
    };
    // All chains are read before the first stream is touched: a broken one is known in time.
    let mut plans = Vec::new();
    for stream in &streams {
        let state = archive.stream(stream).await?;
        let state = state.ok_or_else(|| {
            Failure::usage(format!(
                "{} has no archive of stream `{stream}`: `cim-storage-manager streams --from {}` lists what it has",
                args.from, args.from
            ))
        })?;
        let plan = restore::plan(stream, &state, &options)?;
        if options.timeline.is_none() {
            warn_of_earlier(&plan, &state);
        }
        plans.push(plan);
    }
    // So are targets that exist and segments that do not: all or nothing, as far as it can be known.
    let mut listings = restore::Listings::default();
    for plan in &plans {
        restore::check(&jetstream, &source, plan, &mut listings).await?;
    }
    let mut report = Report { dry_run: args.dry_run, streams: Vec::new() };
    for plan in plans {
        let restored = if args.dry_run {
            preview(&plan, &args)
        } else {
            one(&jetstream, &source, plan, &args, &stop).await?
        };
        report.streams.push(restored);
    }
    print(&report, args.show.json);
    Ok(())
}

/// Says what the newest history does not have and an earlier one does: whoever made the stream again
/// before restoring it has hidden what was in it, and a server that lost its newest messages gives their
/// sequences out again.
fn warn_of_earlier(plan: &Plan, state: &ArchiveState) {
    let stream = &plan.stream;
    for (number, _) in state.lineage(plan.timeline) {
        let fork = &state.timelines[&number].fork;
        if let Some(parent) = &fork.parent {
            if let Some(left) = state.beyond(parent) {
                tracing::warn!(
                    "stream `{stream}`: timeline {number} goes on from sequence {} of timeline {}, and leaves out its sequences {} to {}; `--timeline {} --as NAME` brings those back too",
                    parent.last_seq,
                    parent.timeline,
                    left.0,
                    left.1,
                    parent.timeline
                );
            }
            continue;
        }
        let earlier = state.timelines.range(..number).rev();
        let mut earlier = earlier.filter_map(|(n, t)| Some((n, t.watermark.last.as_ref()?)));
        if let Some((before, last)) = earlier.next() {
            tracing::warn!(
                "stream `{stream}` was deleted and made again: this is timeline {}, up to sequence {}; `--timeline {before}` brings back the one before, up to sequence {} of {}",
                plan.timeline,
                plan.last_seq,
                last.seq,
                last.time.strftime("%F %T UTC")
            );
        }
    }
}

async fn one(
    jetstream: &JetStream,
    source: &Source,
    plan: Plan,
    args: &RestoreArgs,
    stop: &CancellationToken,
) -> Result<Restored, Failure> {
    let before = source.tier.requests();
    let started = Instant::now();
    let mut restored = preview(&plan, args);
    let progress = Arc::new(Progress::default());
    let outcome = {
        let restoring = restore::restore(jetstream, source, plan, Arc::clone(&progress), stop);
        let bar = bar(&restored);
        tokio::pin!(restoring);
        loop {
            tokio::select! {
                outcome = &mut restoring => break outcome,
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    bar.set_position(progress.messages.load(Ordering::Relaxed));
                }
            }
        }
    }?;
    restored.first_seq = outcome.first_seq;
    restored.last_seq = outcome.last_seq;
    restored.messages = outcome.messages;
    restored.bytes = outcome.bytes;
    restored.method = outcome.method;
    restored.seconds = started.elapsed().as_secs_f64();
    restored.seconds_sending = outcome.sending.as_secs_f64();
    restored.s3_requests = source.tier.requests() - before;
    Ok(restored)
}

/// What a plan says; exact but for messages that are filtered out.
fn preview(plan: &Plan, args: &RestoreArgs) -> Restored {
    Restored {
        stream: plan.stream.clone(),
        target: plan.target.clone(),
        from: args.from.to_string(),
        timeline: plan.timeline,
        first_seq: plan.first_seq,
        last_seq: plan.last_seq,
        messages: plan.messages(),
        bytes: plan.bytes(),
        consumers: plan.consumers.len(),
        method: if plan.in_memory() { "snapshot v2" } else { "snapshot v1" },
        seconds: 0.0,
        seconds_sending: 0.0,
        segments: plan.pieces.len(),
        s3_requests: 0,
    }
}

fn bar(restored: &Restored) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = "{msg} {bar:30} {human_pos}/{human_len} messages, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template above is valid");
    ProgressBar::new(restored.messages).with_style(style).with_message(restored.stream.to_string())
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(report).expect("plain fields are JSON"));
        return;
    }
    let mut shown = table::table(&[
        "stream",
        "restored as",
        "#timeline",
        "#first",
        "#last",
        "#messages",
        "#size",
        "#consumers",
        "method",
        "#seconds",
    ]);
    for stream in &report.streams {
        shown.add_row([
            stream.stream.to_string(),
            stream.target.to_string(),
            stream.timeline.to_string(),
            stream.first_seq.to_string(),
            stream.last_seq.to_string(),
            stream.messages.to_string(),
            table::size(stream.bytes),
            stream.consumers.to_string(),
            stream.method.into(),
            format!("{:.2}", stream.seconds),
        ]);
    }
    println!("{shown}");
    if report.dry_run {
        eprintln!("dry run: nothing was restored; messages are at most as many as shown");
    }
}
