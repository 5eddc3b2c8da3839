//! Restores a stream from Wasabi whose archive is in many small objects.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Scale;
use super::fill;
use super::quiet::alive;
use super::restore::{check, delete};
use super::row::Row;
use super::test_bed::{TestBed, table};
use super::tiered::STREAM;
use crate::error::{Context as _, Result};
use crate::lab::link::{Conditions, Link};
use crate::lab::s3::{self, Service};
use crate::lab::storage_manager::{run as run_manager, start_tiering};
use crate::lab::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(180);
/// The rate of events per second, so low that each object gets few.
const RATE: f64 = 4000.0;
/// The interval at which objects are made, on the NAS and on Wasabi.
const OFTEN: &str = "25ms";

#[derive(Deserialize)]
struct Status {
    streams: Vec<StreamStatus>,
}

#[derive(Deserialize)]
struct StreamStatus {
    wasabi: Option<TierStatus>,
}

#[derive(Deserialize)]
struct TierStatus {
    seq: u64,
}

#[derive(Deserialize)]
struct Report {
    streams: Vec<Restored>,
}

#[derive(Deserialize)]
struct Restored {
    segments: u64,
    s3_requests: u64,
}

pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let events = scale.pieces;
    bed.progress.line(&format!("small segments: tiering {events} events slowly to Wasabi"));
    let host = bed.host("pieces").await?;
    let client = host.client().await?;
    let options = s3::Options {
        seed: 0,
        name: "pieces-wasabi".into(),
        kind: s3::Kind::FakeWasabi,
        dir: host.dir.join("wasabi"),
        bucket: "cim-archive".into(),
        credentials: None,
    };
    let wasabi = Service::start(&bed.launcher, &bed.tools, &options).await?;
    let link = Link::open(Some(wasabi.access.addr), Conditions::default()).await?;
    let more = [
        ("segment".to_owned(), table("flush_age", OFTEN)),
        ("seal".to_owned(), table("interval", OFTEN)),
    ];
    let access = wasabi.access.via(link.addr());
    let config = host.config_with(&host.nats.url(), Some(access), &more.into_iter().collect())?;
    fill::create(&client, STREAM).await?;
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    fill::evenly(client.clone(), vec![STREAM.into()], RATE, events, Arc::default()).await?;
    wait_until("everything is at Wasabi", PATIENCE, async || {
        alive(&manager)?;
        let said = manage(bed, &["status", "--json"], &config).await.map_err(|e| e.chain())?;
        let status: Status = serde_json::from_str(&said).map_err(|e| e.to_string())?;
        let reached = status.streams.first().and_then(|s| s.wasabi.as_ref()).map_or(0, |t| t.seq);
        if reached >= events { Ok(()) } else { Err(format!("it has {reached}")) }
    })
    .await?;
    manager.stop(Duration::from_secs(30)).await;
    bed.progress.line("small segments: restoring them from Wasabi, 100 ms away");
    delete(&client).await?;
    let delay = "50ms".parse().expect("a length of time");
    link.set(Conditions { delay, ..Conditions::default() });
    let started = Instant::now();
    let said = manage(bed, &["restore", STREAM, "--from", "wasabi", "--json"], &config).await?;
    let seconds = started.elapsed().as_secs_f64();
    check(&client, events).await?;
    let report: Report = serde_json::from_str(&said).step(|| "restore printed no report".into())?;
    if let Some(Restored { segments, s3_requests }) = report.streams.first() {
        let line = format!("small segments: {segments} segments, {s3_requests} requests");
        bed.progress.line(&line);
    }
    wasabi.process.kill().await;
    host.end().await?;
    Ok(Row::seconds("restore_small_segments", seconds, "the bar", 10.0))
}

async fn manage(bed: &TestBed<'_>, args: &[&str], config: &std::path::Path) -> Result<String> {
    let name = bed.unique(args.first().copied().unwrap_or_default());
    Ok(run_manager(&bed.launcher, &bed.tools, &name, args, config).await?.stdout)
}
