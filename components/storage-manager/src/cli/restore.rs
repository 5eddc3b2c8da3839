//! `restore`

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cim_core::archive::{ArchiveState, Fork};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::shutdown;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::RestoreArgs;
use super::exit::Failure;
use super::nothing::{nothing, unknown};
use super::{connect, table};
use crate::archive::Archive;
use crate::config::Config;
use crate::restore::{self, Done, Options, Plan, Progress, RestoreError, Source};
use crate::s3::Tier;

/// Chains that are read at once.
const CHAINS: usize = 16;
const SHOWN_EVERY: Duration = Duration::from_millis(100);

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
    let archive = open(&source, &args, other).await?;
    let streams = if args.all { archive.streams().await? } else { args.streams.clone() };
    if streams.is_empty() && archive.damage().is_none() {
        return Err(nothing(config, args.from).await);
    }
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
    let mut plans = plans(&archive, &streams, &options, args.from).await?;
    // So are targets that exist and segments that do not: all or nothing, as far as it can be known.
    let again = args.all && options.subject.is_none() && !options.with_dropped;
    let there = restore::check(&jetstream, &source, &mut plans, again).await?;
    if !there.is_empty() {
        let names: Vec<_> = there.iter().map(StreamName::as_str).collect();
        tracing::warn!(
            "on the server already, up to where the archive has them, and left alone: {}",
            names.join(", ")
        );
    }
    let wanted = plans.len();
    let mut restored: Vec<Restored> = plans.iter().map(|plan| preview(plan, &args)).collect();
    let mut failed = Vec::new();
    if !args.dry_run {
        let done = shown(&restored, async |progress| {
            restore::restore_many(&jetstream, &source, plans, progress, &stop).await
        })
        .await;
        let mut there = Vec::new();
        for (mut restored, done) in restored.into_iter().zip(done) {
            match done {
                Ok(done) => {
                    restored.is_now(&done);
                    there.push(restored);
                }
                Err(error) => failed.push((restored.target, error)),
            }
        }
        restored = there;
    }
    let there = restored.len();
    if let Some(failure) = failure(failed, there, wanted) {
        // Of one stream the error says all.
        if wanted > 1 {
            print(&Report { dry_run: false, streams: restored }, args.show.json);
        }
        return Err(failure);
    }
    print(&Report { dry_run: args.dry_run, streams: restored }, args.show.json);
    match archive.damage() {
        None => Ok(()),
        Some(error) => Err(Failure::damaged(format!(
            "what was archived before the damage was restored ({there} streams), what came later was not: {}",
            chain(error)
        ))),
    }
}

/// Plans the restores of streams.
async fn plans(
    archive: &Archive,
    streams: &[StreamName],
    options: &Options,
    from: Tier,
) -> Result<Vec<Plan>, Failure> {
    let planned = stream::iter(streams).map(async |stream| {
        let state = archive.stream(stream).await?.ok_or_else(|| unknown(stream, from))?;
        let plan = restore::plan(stream, &state, options)?;
        if options.timeline.is_none() {
            warn_of_earlier(&plan, &state);
        }
        Ok(plan)
    });
    planned.buffered(CHAINS).try_collect().await
}

/// Why not all streams were restored, if so.
fn failure(
    failed: Vec<(StreamName, RestoreError)>,
    there: usize,
    wanted: usize,
) -> Option<Failure> {
    let is_interrupted = |error: &RestoreError| matches!(error, RestoreError::Interrupted(_));
    if wanted > 1 {
        for (stream, error) in failed.iter().filter(|(_, error)| !is_interrupted(error)) {
            tracing::warn!("stream `{stream}` was not restored: {}", chain(error));
        }
    }
    // What ended the others says more than that they were ended, and damage more than a refusal.
    let rank = |of: &Failure| (of.is_interrupted(), of.is_refusal(), of.is_damage());
    let failed = failed.into_iter().map(|(stream, error)| (stream, Failure::from(error)));
    let (stream, failure) = failed.min_by_key(|(_, failure)| rank(failure))?;
    if wanted == 1 {
        return Some(failure);
    }
    let message = if failure.is_interrupted() {
        format!("interrupted: {there} of {wanted} streams were restored, and nothing of the others")
    } else {
        let what = failure.message();
        format!("{there} of {wanted} streams were restored; stream `{stream}` was not: {what}")
    };
    Some(failure.with_message(message))
}

/// Reads the archive; a damaged one up to the damage, where that was asked for.
async fn open(source: &Source, args: &RestoreArgs, other: Tier) -> Result<Archive, Failure> {
    let tier = Arc::clone(&source.tier);
    if args.before_damage {
        return Ok(Archive::open_before_damage(tier).await?);
    }
    Archive::open(tier).await.map_err(|error| {
        let failure = Failure::from(error);
        if !failure.is_damage() {
            return failure;
        }
        Failure::damaged(format!(
            "{}; restore it with `--from {other}`, or what was archived before that with `--before-damage`",
            failure.message()
        ))
    })
}

/// Says what the newest history does not have and an earlier one does: whoever made the stream again
/// before restoring it has hidden what was in it, and a server that lost its newest messages gives their
/// sequences out again.
fn warn_of_earlier(plan: &Plan, state: &ArchiveState) {
    let stream = &plan.stream;
    for (number, _) in state.lineage(plan.timeline) {
        let fork = &state.timelines[&number].fork;
        if fork.reason == Fork::ANEW {
            let seq = fork.parent.as_ref().map_or(0, |parent| parent.last_seq);
            tracing::warn!(
                "stream `{stream}`: timeline {number} archives anew what the stream had behind sequence {seq}, for timeline {} is damaged there; what had been deleted or dropped before is in that one, as far as it can be read",
                number - 1
            );
            continue;
        }
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

/// Does the work, and shows how far it is.
async fn shown<T>(restored: &[Restored], work: impl AsyncFnOnce(&Arc<Progress>) -> T) -> T {
    let progress = Arc::new(Progress::default());
    let bar = bar(restored);
    let working = work(&progress);
    tokio::pin!(working);
    loop {
        tokio::select! {
            done = &mut working => return done,
            () = tokio::time::sleep(SHOWN_EVERY) => {
                bar.set_position(progress.messages.load(Ordering::Relaxed));
                if restored.len() > 1 {
                    let streams = progress.streams.load(Ordering::Relaxed);
                    bar.set_message(format!("{streams} of {} streams", restored.len()));
                }
            }
        }
    }
}

impl Restored {
    /// Says what was restored instead of what was planned.
    fn is_now(&mut self, done: &Done) {
        self.first_seq = done.outcome.first_seq;
        self.last_seq = done.outcome.last_seq;
        self.messages = done.outcome.messages;
        self.bytes = done.outcome.bytes;
        self.method = done.outcome.method;
        self.seconds = done.took.as_secs_f64();
        self.seconds_sending = done.outcome.sending.as_secs_f64();
        self.s3_requests = done.requests;
    }
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

fn bar(restored: &[Restored]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let name = match restored {
        [one] => one.stream.to_string(),
        _ => format!("{} streams", restored.len()),
    };
    let style = "{msg} {bar:30} {human_pos}/{human_len} messages, {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template above is valid");
    let messages = restored.iter().map(|restored| restored.messages).sum();
    ProgressBar::new(messages).with_style(style).with_message(name)
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
