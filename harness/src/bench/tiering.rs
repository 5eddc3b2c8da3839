//! Tiering a stream that is there already, at full speed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cim_core::names::StreamName;

use super::bed::{Bed, Host, cpu};
use super::fill::{self, Payloads};
use super::row::Row;
use super::{Scale, pull, restore};
use crate::error::{Error, Result};
use crate::lab::storage_manager::start_tiering;
use crate::lab::wait::wait_until;
use crate::oracle::tier::{Archive, Holding};
use crate::scenario::Tier;

pub(super) const STREAM: &str = "BENCH";

/// What one tiering of a stream took.
pub(super) struct Tiered {
    seconds: f64,
    requests: u64,
    peak_rss: u64,
    raw: u64,
    stored: u64,
    cpu: std::collections::BTreeMap<String, f64>,
}

/// Throughput, requests, size and memory, all from the same tiering.
pub(super) async fn measure(bed: &Bed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let events = scale.tiered;
    let host = bed.host("tiering").await?;
    bed.progress.line(&format!("tiering: publishing {events} events of 1 KiB"));
    let client = host.client().await?;
    fill::stream(&client, STREAM, events, &Payloads::Random(1024)).await?;
    bed.progress.line("tiering: pulling them, tiering them, pulling them again");
    let before = pull::measure(&client, STREAM, events).await?;
    let tiered = tier(bed, &host, events).await?;
    let after = pull::measure(&client, STREAM, events).await?;
    bed.progress.line("tiering: deleting the stream and restoring it, for its memory");
    let restoring = restore::memory(bed, &host, events).await?;
    host.end().await?;
    let (events, mib) = (events as f64, f64::from(1 << 20));
    let mut throughput = Row::rate(
        "tiering_vs_pull",
        events / tiered.seconds,
        "events/s",
        "bare JetStream pull",
        events / f64::midpoint(before, after),
    );
    throughput.cpu_seconds = tiered.cpu;
    Ok(vec![
        throughput,
        Row::rate(
            "s3_requests_per_10k",
            tiered.requests as f64 / events * 10_000.0,
            "requests",
            "the promise",
            1.0,
        ),
        Row::rate(
            "archive_ratio_random",
            tiered.stored as f64,
            "bytes",
            "subjects, headers and payloads",
            tiered.raw as f64,
        ),
        Row::rate(
            "storage_manager_rss_mib",
            tiered.peak_rss as f64 / mib,
            "MiB",
            "the promise",
            256.0,
        ),
        Row::rate("restore_rss_mib", restoring as f64 / mib, "MiB", "the promise", 256.0),
    ])
}

/// How well JSON compresses.
pub(super) async fn json(bed: &Bed<'_>, scale: &Scale) -> Result<Row> {
    let payloads = Payloads::json(scale.corpus.as_deref())?;
    let events = match &payloads {
        // Each once: what is there twice compresses twice as well, and no event is.
        Payloads::Given(documents) => documents.len() as u64,
        Payloads::Random(_) => unreachable!("JSON payloads are given"),
    };
    bed.progress.line(&format!("archive size: {events} events of JSON"));
    let host = bed.host("json").await?;
    fill::stream(&host.client().await?, STREAM, events, &payloads).await?;
    let tiered = tier(bed, &host, events).await?;
    host.end().await?;
    let (stored, raw) = (tiered.stored as f64, tiered.raw as f64);
    Ok(Row::rate("archive_ratio_json", stored, "bytes", "subjects, headers and payloads", raw))
}

pub(super) async fn tier(bed: &Bed<'_>, host: &Host, events: u64) -> Result<Tiered> {
    let config = host.config(&host.nats.url())?;
    let requests = host.nas.requests().await;
    let before = cpu([("nats-server", &host.nats.process), ("minio", &host.nas.process)]);
    let started = now();
    let manager =
        start_tiering(&bed.launcher, &bed.tools, &bed.unique("storage-manager"), &config).await?;
    // What counts is when the last entry was committed, which it says itself; asking seldom leaves
    // the processors to those who are measured.
    let mut asked = 0;
    let (archive, archived) =
        wait_until("everything is on the NAS", Duration::from_secs(300), async || {
            if let Some(end) = manager.ended() {
                return Ok(Err(Error::step(format!(
                    "tiering ended with {end}: {}",
                    manager.last_log()
                ))));
            }
            let (archive, read) = archived_of(host).await.map_err(|e| e.chain())?;
            asked += archive.asked();
            match read {
                Some(archived) if archived.watermark >= events => Ok(Ok((archive, archived))),
                other => Err(format!("it has {:?}", other.map(|a| a.watermark))),
            }
        })
        .await??;
    let finished = archived.committed_at.as_second() as f64
        + f64::from(archived.committed_at.subsec_nanosecond()) / 1e9;
    let usage = manager.usage();
    let mut cpu = cpu([
        ("nats-server", &host.nats.process),
        ("minio", &host.nas.process),
        ("storage manager", &manager),
    ]);
    for (name, seconds) in &before {
        if let Some(total) = cpu.get_mut(name) {
            *total -= seconds;
        }
    }
    let total = host.nas.requests().await.zip(requests).map(|(after, before)| after - before);
    manager.stop(Duration::from_secs(30)).await;
    Ok(Tiered {
        seconds: finished - started,
        requests: total.unwrap_or_default().saturating_sub(asked),
        peak_rss: usage.map_or(0, |u| u.peak_rss),
        raw: archived.segments.values().map(|s| s.bytes).sum(),
        stored: archive.stored(&archived).await?,
        cpu,
    })
}

async fn archived_of(host: &Host) -> Result<(Archive, Option<Holding>)> {
    let stream = StreamName::new(STREAM).expect("a valid name");
    let archive = Archive::open(&*host.nas.access.client()?, Tier::Nas).await?;
    let archived = archive.stream(&stream).await?;
    Ok((archive, archived))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
}
