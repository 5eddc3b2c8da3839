//! Tiers a stream that exists already, at full speed.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::archive::Archive;
use super::fill::{self, Payloads};
use super::row::{Row, median};
use super::test_bed::{TestBed, table};
use super::tiered::{STREAM, tier, tier_into};
use super::{Scale, pull, restore};
use crate::error::{Context as _, Error, Result};

/// The number of streams at full speed together.
const TOGETHER: usize = 64;
/// The most rounds with and without encryption: each takes as long as all of [`measure`].
const ROUNDS: u64 = 3;

/// Measures throughput, requests, size and memory, all in the same tiering.
pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let events = scale.tiered;
    let host = bed.host("tiering").await?;
    bed.progress.line(&format!("tiering: publishing {events} events of 1 KiB"));
    let client = host.client().await?;
    fill::stream(&client, STREAM, events, &Payloads::Random(1024)).await?;
    bed.progress.line("tiering: pulling them, tiering them, pulling them again");
    let before = pull::measure(&client, STREAM, events, 1).await?;
    let tiered = tier(bed, &host, events).await?;
    let after = pull::measure(&client, STREAM, events, 1).await?;
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

/// Measures the throughput of many streams at full speed together.
pub(super) async fn together(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let events = scale.tiered / TOGETHER as u64 * TOGETHER as u64;
    let host = bed.host("together").await?;
    bed.progress.line(&format!("tiering: {events} events of 1 KiB in {TOGETHER} streams"));
    let client = host.client().await?;
    let names = fill::streams(&client, TOGETHER).await?;
    fill::publish(&client, &names, events, &Payloads::Random(1024)).await?;
    let pull = async || {
        let each = names
            .iter()
            .map(|name| pull::measure(&client, name, events / TOGETHER as u64, TOGETHER));
        let seconds = futures_util::future::try_join_all(each).await?;
        Ok::<_, Error>(seconds.into_iter().fold(0.0, f64::max))
    };
    let before = pull().await?;
    let tiered = tier(bed, &host, events).await?;
    let after = pull().await?;
    host.end().await?;
    let (events, peer) = (events as f64, f64::midpoint(before, after));
    let ours = events / tiered.seconds;
    let mut row =
        Row::rate("tiering_vs_pull_64", ours, "events/s", "bare JetStream pulls", events / peer);
    row.cpu_seconds = tiered.cpu;
    Ok(row)
}

/// Measures how well JSON compresses.
pub(super) async fn json(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let payloads = Payloads::json(scale.corpus.as_deref())?;
    let events = match &payloads {
        // Each document once: repeated ones would compress twice as well, and no event is repeated.
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

/// Measures the cost of encryption: the same stream, tiered with and without it in turns.
pub(super) async fn encrypted(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let (events, key) = (scale.tiered, [7; 32]);
    let (mut ours, mut plain, mut used) = (Vec::new(), Vec::new(), BTreeMap::new());
    for _ in 0..scale.rounds.min(ROUNDS) {
        for encrypts in [false, true] {
            let host = bed.host("encrypted").await?;
            let how = if encrypts { "encrypted" } else { "in the clear" };
            bed.progress.line(&format!("tiering {events} events of 1 KiB {how}"));
            fill::stream(&host.client().await?, STREAM, events, &Payloads::Random(1024)).await?;
            let tiered = if encrypts {
                let path = host.dir.join("archive.key");
                crate::error::write_file(&path, hex::encode(key))?;
                std::fs::set_permissions(&path, Permissions::from_mode(0o600))
                    .setup(|| format!("cannot close `{}`", path.display()))?;
                let path = path.display().to_string();
                let more = table("encryption", table("key_file", path));
                let more = [("archive".to_owned(), more)].into_iter().collect();
                let config = host.config_with(&host.nats.url(), None, &more)?;
                tier_into(bed, &host, events, &config, Archive::encrypted(&host, &key)?).await?
            } else {
                tier(bed, &host, events).await?
            };
            host.end().await?;
            let rate = events as f64 / tiered.seconds;
            if encrypts {
                ours.push(rate);
                used = tiered.cpu;
            } else {
                plain.push(rate);
            }
        }
    }
    let (ours, plain) = (median(ours), median(plain));
    let mut row = Row::rate("tiering_encrypted", ours, "events/s", "the same in the clear", plain);
    row.cpu_seconds = used;
    Ok(row)
}
