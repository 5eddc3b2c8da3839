//! An archive after a year of 100 streams with an event of 200 bytes a second each: the number of
//! its objects, and the cost of opening it.
//!
//! Three billion events cannot be published here. The storage manager's test build makes the
//! archive of that time, with the ordinary writer on a clock that is set back (`journal/aged.rs`
//! there): as many segments, entries, parts and checkpoints as the levels leave, with the sequences
//! and times of a year, but with 16 events in a segment and one in a part; and on Wasabi three days
//! more than is kept. Then the ordinary storage manager merges and collects everything due, and
//! objects are counted. So their number, and the part of the journals that opening reads, are those
//! of the year; the bytes of messages are not, and no measurement here reads those.

use std::path::Path;
use std::time::{Duration, Instant};

use super::Scale;
use super::fill;
use super::quiet::alive;
use super::row::Row;
use super::test_bed::{TestBed, table};
use crate::error::{Context as _, Result};
use crate::lab::s3::{self, Access, Service};
use crate::lab::storage_manager::{run as run_manager, start_tiering};
use crate::lab::test_build::TestBuild;
use crate::lab::tools::Tool;
use crate::lab::wait::wait_until;

const STREAMS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(300);
/// The days for which Wasabi keeps replaced objects, and some more.
const KEPT: u64 = 93;
/// The time for which the number of objects must stay the same to count as done.
const STILL: Duration = Duration::from_secs(5);

/// The time and memory that a program took to open the archive.
struct Opened {
    seconds: f64,
    peak_rss: u64,
}

pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let days = scale.days;
    bed.progress.line(&format!("years: making the archive of {days} days of {STREAMS} streams"));
    let host = bed.host("year").await?;
    let options = s3::Options {
        seed: 0,
        name: "year-wasabi".into(),
        kind: s3::Kind::Minio,
        dir: host.dir.join("wasabi"),
        bucket: "cim-archive".into(),
        credentials: None,
    };
    let wasabi = Service::start(&bed.launcher, &bed.tools, &options).await?;
    let more = toml::Table::from_iter([("archive".to_owned(), table("layout", "journal"))]);
    let config = host.config_with(&host.nats.url(), Some(wasabi.access.clone()), &more)?;
    let test_build = TestBuild::find(&bed.tools)?.program;
    let makers = bed.tools.clone().with(Tool::StorageManager, test_build);
    let (streams, days_text) = (STREAMS.to_string(), days.to_string());
    let args = ["aged", "--streams", &streams, "--days", &days_text];
    run_manager(&bed.launcher, &makers, &bed.unique("aged"), &args, &config).await?;
    bed.progress.line("years: opening it");
    let mut opened = Vec::new();
    for from in ["nas", "wasabi"] {
        let args = ["restore", "--all", "--dry-run", "--from", from];
        opened.push(open(bed, &args, &config).await?);
    }
    fill::streams(&host.client().await?, STREAMS).await?;
    opened.push(open(bed, &["status"], &config).await?);
    for from in ["nas", "wasabi"] {
        opened.push(open(bed, &["streams", "--from", from], &config).await?);
        opened.push(open(bed, &["verify", "--chain-only", "--from", from], &config).await?);
    }
    let before = keys(&wasabi.access, "v2/tertiary/main/entries/").await?;
    let started = Instant::now();
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    let seconds = started.elapsed().as_secs_f64();
    bed.progress.line("years: merging and collecting everything due");
    let mut last = (0, Instant::now());
    let objects = wait_until("merging and collecting everything due", PATIENCE, async || {
        alive(&manager)?;
        let count = async |access| keys(access, "").await.map_err(|error| error.chain());
        let found = (count(&host.nas.access).await?.len(), count(&wasabi.access).await?);
        let collected = days < KEPT || !before.first().is_some_and(|key| found.1.contains(key));
        let sum = found.0 + found.1.len();
        if last.0 != sum || !collected {
            last = (sum, Instant::now());
        }
        let still = last.1.elapsed() > STILL;
        if still { Ok((found.0, found.1.len())) } else { Err(format!("{sum} objects")) }
    })
    .await?;
    let peak_rss = manager.usage().map_or(0, |usage| usage.peak_rss);
    opened.push(Opened { seconds, peak_rss });
    manager.stop(Duration::from_secs(30)).await;
    wasabi.process.kill().await;
    host.end().await?;
    let seconds = opened.iter().map(|opened| opened.seconds).fold(0.0, f64::max);
    let memory = opened.iter().map(|opened| opened.peak_rss).max().unwrap_or_default();
    let count = |name, count: usize, bar| Row::rate(name, count as f64, "objects", "the bar", bar);
    Ok(vec![
        count("year_objects_nas", objects.0, 50_000.0),
        count("year_objects_wasabi", objects.1, 40_000.0),
        Row::seconds("year_open", seconds, "the bar", 3.0),
        Row::rate("year_open_rss_mib", memory as f64 / f64::from(1 << 20), "MiB", "the bar", 128.0),
    ])
}

/// Runs a command to its end.
async fn open(bed: &TestBed<'_>, args: &[&str], config: &Path) -> Result<Opened> {
    let started = Instant::now();
    let name = bed.unique(args.first().copied().unwrap_or_default());
    let ran = run_manager(&bed.launcher, &bed.tools, &name, args, config).await?;
    let seconds = started.elapsed().as_secs_f64();
    let (what, mib) = (args.join(" "), ran.peak_rss >> 20);
    bed.progress.line(&format!("years: `{what}` took {seconds:.2} s and {mib} MiB"));
    Ok(Opened { seconds, peak_rss: ran.peak_rss })
}

/// Lists a bucket's keys below a prefix, ascending.
async fn keys(access: &Access, prefix: &str) -> Result<Vec<String>> {
    let pages = access.client()?.list(prefix.to_owned(), None).await;
    let pages = pages.step(|| "cannot list a bucket".into())?;
    let objects = pages.into_iter().flat_map(|page| page.contents);
    let mut keys: Vec<String> = objects.map(|object| object.key).collect();
    keys.sort();
    Ok(keys)
}
