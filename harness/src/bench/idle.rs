//! Many streams at rest: their cost, and the delay until the first message of each is safe.

use std::time::{Duration, Instant};

use super::Scale;
use super::archive::{Archive, quantile};
use super::fill::{self, Payloads};
use super::quiet::{alive, requests};
use super::row::Row;
use super::test_bed::{TestBed, since};
use crate::error::Result;
use crate::lab::storage_manager::start_tiering;
use crate::lab::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(180);
/// The size of a message, in bytes.
const SIZE: usize = 200;
/// The pause after the last message until the streams count as resting.
const AT_REST: Duration = Duration::from_secs(6);

pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let streams = scale.idle;
    bed.progress.line(&format!("idle streams: making {streams}, archiving a message of each"));
    let host = bed.host_with("idle", "max_payload: 8388608\n").await?;
    let client = host.client().await?;
    let names = fill::streams(&client, streams).await?;
    let config = host.config(&host.nats.url())?;
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    let events = streams as u64;
    fill::publish(&client, &names, events, &Payloads::Random(SIZE)).await?;
    let mut archive = Archive::new(&host)?;
    let reach = async |archive: &mut Archive, events: u64| {
        wait_until("every stream is on the NAS", PATIENCE, async || {
            alive(&manager)?;
            archive.advance().await.map_err(|e| e.chain())?;
            let reached = archive.watermarks();
            if reached >= events { Ok(()) } else { Err(format!("{reached} of {events}")) }
        })
        .await
    };
    reach(&mut archive, events).await?;
    bed.progress.line("idle streams: nothing happens");
    tokio::time::sleep(AT_REST).await;
    let (sent, asked) = (host.sent().await?, requests(&host, "").await?);
    let (before, started) = (host.cpu(&manager), Instant::now());
    tokio::time::sleep(scale.quiet).await;
    let cpu = since(&before, host.cpu(&manager));
    let seconds = started.elapsed().as_secs_f64();
    let sent = host.sent().await?.saturating_sub(sent) as f64 / seconds;
    let asked = requests(&host, "").await?.saturating_sub(asked);
    bed.progress.line("idle streams: a message each");
    fill::publish(&client, &names, events, &Payloads::Random(SIZE)).await?;
    reach(&mut archive, 2 * events).await?;
    manager.stop(Duration::from_secs(30)).await;
    host.end().await?;
    let second = archive.arrivals.iter().filter(|arrival| arrival.last_seq == 2);
    let ages = second.map(|arrival| arrival.at.duration_since(arrival.first_time).as_secs_f64());
    let share = cpu.values().sum::<f64>() / seconds * 100.0;
    let mut processor = Row::rate("idle_cost_cpu", share, "% of one", "the bar", 3.0);
    processor.cpu_seconds = cpu;
    Ok(vec![
        Row::seconds("idle_rpo", quantile(ages.collect(), 0.99), "the bar", 1.0),
        Row::rate("idle_cost_nats", sent, "requests/s", "the bar", 20.0),
        Row::rate("idle_cost_nas", asked as f64 / seconds, "requests/s", "the bar", 0.2),
        processor,
    ])
}
