//! Many streams with one small event a second each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Scale;
use super::archive::Archive;
use super::fill;
use super::row::Row;
use super::test_bed::{Host, TestBed, layout, since, table};
use crate::error::{Context as _, Error, Result};
use crate::lab::process::Process;
use crate::lab::storage_manager::start_tiering;
use crate::lab::wait::wait_until;

const FEW: usize = 100;
const MANY: usize = 1000;
/// MinIO's name of the request that puts an object.
const PUT: &str = "PutObject";
const PATIENCE: Duration = Duration::from_secs(120);

/// The use of resources while events came evenly.
struct Used {
    puts_a_second: f64,
    peak_rss: u64,
    cpu: BTreeMap<String, f64>,
}

impl Used {
    fn processor(&self) -> f64 {
        self.cpu.values().sum()
    }
}

/// A load that goes on until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<u64>>,
}

impl Load {
    fn start(client: async_nats::Client, streams: Vec<String>, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(fill::evenly(client, streams, rate, u64::MAX, Arc::clone(&stop)));
        Self { stop, task }
    }

    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.step(|| "the load ended".into())?
    }
}

/// Measures requests and processor time, with few streams in both layouts and with many.
pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let journal = used(bed, "journal", FEW, scale.quiet).await?;
    let chains = used(bed, "chains", FEW, scale.quiet).await?;
    let many = used(bed, &layout(), MANY, scale.quiet).await?;
    let few = if layout() == "journal" { &journal } else { &chains };
    let row = |name: &str, used: &Used| {
        let mut row = Row::rate(name, used.puts_a_second, "PUTs/s", "the bar", 3.0);
        row.cpu_seconds.clone_from(&used.cpu);
        row
    };
    let (ours, theirs) = (journal.processor(), chains.processor());
    let mut processor =
        Row::rate("quiet_streams_cpu", ours, "CPU s", "layout `chains`, same build", theirs);
    processor.cpu_seconds = journal.cpu.clone();
    let resident = many.peak_rss as f64 / f64::from(1 << 20);
    Ok(vec![
        row("quiet_streams_puts_100", few),
        row("quiet_streams_puts_1000", &many),
        processor,
        Row::rate("storage_manager_rss_mib_1000", resident, "MiB", "the bar", 128.0),
    ])
}

async fn used(bed: &TestBed<'_>, layout: &str, streams: usize, time: Duration) -> Result<Used> {
    bed.progress.line(&format!("quiet streams: {streams} in layout `{layout}`"));
    let host = bed.host(&bed.unique("quiet")).await?;
    let client = host.client().await?;
    let names = fill::streams(&client, streams).await?;
    let more = toml::Table::from_iter([("archive".to_owned(), table("layout", layout))]);
    let config = host.config_with(&host.nats.url(), None, &more)?;
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    let load = Load::start(client, names, streams as f64);
    let mut archive = Archive::new(&host)?;
    // The first objects of each stream are not part of its running cost.
    wait_until("every stream's beginning", PATIENCE, async || {
        alive(&manager)?;
        let (there, _) = archive.reached().await.map_err(|e| e.chain())?;
        if there >= streams { Ok(()) } else { Err(format!("{there} are there")) }
    })
    .await?;
    let puts = requests(&host, PUT).await?;
    let (before, started) = (host.cpu(&manager), Instant::now());
    tokio::time::sleep(time).await;
    let cpu = since(&before, host.cpu(&manager));
    let seconds = started.elapsed().as_secs_f64();
    let puts = requests(&host, PUT).await?.saturating_sub(puts);
    let sent = load.stop().await?;
    // A storage manager that archived nothing would need nothing.
    wait_until("every event is on the NAS", PATIENCE, async || {
        alive(&manager)?;
        let (_, reached) = archive.reached().await.map_err(|e| e.chain())?;
        if reached >= sent { Ok(()) } else { Err(format!("{reached} of {sent}")) }
    })
    .await?;
    let peak_rss = manager.usage().map_or(0, |usage| usage.peak_rss);
    manager.stop(Duration::from_secs(30)).await;
    host.end().await?;
    Ok(Used { puts_a_second: puts as f64 / seconds, cpu, peak_rss })
}

/// Returns the number of requests to the NAS so far; of one kind, or in all.
pub(super) async fn requests(host: &Host, kind: &str) -> Result<u64> {
    let asked = host.nas.requests_of(kind).await;
    asked.ok_or_else(|| Error::step("MinIO does not report its number of requests"))
}

/// Fails if the program has ended.
pub(super) fn alive(manager: &Process) -> Result<(), String> {
    match manager.ended() {
        Some(end) => Err(format!("it ended with {end}: {}", manager.last_log())),
        None => Ok(()),
    }
}

/// Measures the bytes of an event after it has been merged.
pub(super) async fn bytes(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    bed.progress.line(&format!("quiet streams: {} merged events", scale.merged));
    let host = bed.host("quiet-bytes").await?;
    let client = host.client().await?;
    let names = fill::streams(&client, FEW).await?;
    // Ten times as fast as life in every respect: as many events to an object as at one a second.
    let (rate, flush) = if layout() == "journal" { (10, "50ms") } else { (1, "500ms") };
    let more = [
        ("segment".to_owned(), table("flush_age", flush)),
        ("seal".to_owned(), table("interval", "3s")),
    ];
    let config = host.config_with(&host.nats.url(), None, &more.into_iter().collect())?;
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    let load = Load::start(client, names, (FEW * rate) as f64);
    let mut archive = Archive::new(&host)?;
    let settled = wait_until("events are merged", PATIENCE, async || {
        alive(&manager)?;
        archive.advance().await.map_err(|e| e.chain())?;
        let settled = archive.settled().await.map_err(|e| e.chain())?;
        let enough = settled.messages >= scale.merged && settled.index > 0;
        if enough { Ok(settled) } else { Err(format!("{settled:?}")) }
    })
    .await?;
    load.stop().await?;
    manager.stop(Duration::from_secs(30)).await;
    host.end().await?;
    bed.progress.line(&format!("quiet streams: {settled:?}"));
    let each = (settled.data + settled.index) as f64 / settled.messages as f64;
    Ok(Row::rate("quiet_streams_bytes", each, "bytes/event", "the bar", 100.0))
}
