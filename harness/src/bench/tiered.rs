//! One tiering of a stream, from its start until the NAS has everything.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::archive::Archive;
use super::test_bed::{Host, TestBed, cpu, since};
use crate::error::{Error, Result};
use crate::lab::storage_manager::start_tiering;
use crate::lab::wait::wait_until;

/// The name of the stream that is tiered.
pub(super) const STREAM: &str = "BENCH";

/// The cost of tiering a stream once.
pub(super) struct Tiered {
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) peak_rss: u64,
    pub(super) raw: u64,
    pub(super) stored: u64,
    pub(super) cpu: BTreeMap<String, f64>,
}

/// Tiers the stream of a host to its end.
pub(super) async fn tier(bed: &TestBed<'_>, host: &Host, events: u64) -> Result<Tiered> {
    let config = host.config(&host.nats.url())?;
    tier_into(bed, host, events, &config, Archive::new(host)?).await
}

/// Tiers it with a configuration of its own.
pub(super) async fn tier_into(
    bed: &TestBed<'_>,
    host: &Host,
    events: u64,
    config: &Path,
    mut archive: Archive,
) -> Result<Tiered> {
    let requests = host.nas.requests().await;
    let before = cpu([("nats-server", &host.nats.process), ("minio", &host.nas.process)]);
    let started = Timestamp::now();
    let manager =
        start_tiering(&bed.launcher, &bed.tools, &bed.unique("storage-manager"), config).await?;
    // The last entry's time counts, which the NAS itself records; rare requests leave the
    // processors to the measured programs.
    wait_until("everything is on the NAS", Duration::from_secs(300), async || {
        if let Some(end) = manager.ended() {
            return Ok(Err(Error::step(format!(
                "tiering ended with {end}: {}",
                manager.last_log()
            ))));
        }
        archive.advance().await.map_err(|e| e.chain())?;
        match archive.watermarks() {
            reached if reached >= events => Ok(Ok(())),
            reached => Err(format!("it has {reached}")),
        }
    })
    .await??;
    let finished = archive.arrivals.iter().map(|arrival| arrival.at).max().unwrap_or(started);
    let usage = manager.usage();
    let all = host.cpu(&manager);
    let total = host.nas.requests().await.zip(requests).map(|(after, before)| after - before);
    let asked = archive.requests;
    manager.stop(Duration::from_secs(30)).await;
    // It may have merged the measured segments.
    archive.advance().await?;
    let segments = archive.stream(STREAM).map(|held| &held.segments);
    Ok(Tiered {
        seconds: finished.duration_since(started).as_secs_f64(),
        requests: total.unwrap_or_default().saturating_sub(asked),
        peak_rss: usage.map_or(0, |u| u.peak_rss),
        raw: segments.into_iter().flatten().map(|(_, segment)| segment.bytes).sum(),
        stored: archive.stored().await?,
        cpu: since(&before, all),
    })
}
