//! Restores everything, ours from the NAS against natscli, which restores one stream after the
//! other from disk.

use std::time::{Duration, Instant};

use super::Scale;
use super::archive::Archive;
use super::fill::{self, Payloads};
use super::quiet::alive;
use super::restore::{messages, natscli};
use super::row::Row;
use super::test_bed::TestBed;
use crate::error::{Context as _, Error, Result};
use crate::lab::storage_manager::{run as run_manager, start_tiering};
use crate::lab::wait::wait_until;

const STREAMS: usize = 200;
const SIZE: usize = 128;
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) async fn measure(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let events = scale.all;
    bed.progress.line(&format!("everything: archiving {events} events of {STREAMS} streams"));
    let host = bed.host("all").await?;
    let client = host.client().await?;
    let names = fill::streams(&client, STREAMS).await?;
    fill::publish(&client, &names, events, &Payloads::Random(SIZE)).await?;
    let config = host.config(&host.nats.url())?;
    let name = bed.unique("storage-manager");
    let manager = start_tiering(&bed.launcher, &bed.tools, &name, &config).await?;
    let mut archive = Archive::new(&host)?;
    wait_until("everything is on the NAS", PATIENCE, async || {
        alive(&manager)?;
        archive.advance().await.map_err(|e| e.chain())?;
        let reached = archive.watermarks();
        if reached >= events { Ok(()) } else { Err(format!("it has {reached}")) }
    })
    .await?;
    manager.stop(Duration::from_secs(30)).await;
    let backup = host.dir.join("backup");
    let url = host.nats.url();
    natscli(bed, &url, &["backup", "account", "--force"], &backup).await?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 1..=scale.rounds {
        bed.progress.line(&format!("everything: round {round} of {}", scale.rounds));
        delete(&client, &names).await?;
        let started = Instant::now();
        let name = bed.unique("restore");
        run_manager(&bed.launcher, &bed.tools, &name, &["restore", "--all"], &config).await?;
        ours.push(started.elapsed().as_secs_f64());
        check(&client, &names, events).await?;
        delete(&client, &names).await?;
        let started = Instant::now();
        natscli(bed, &url, &["backup", "restore", "account"], &backup).await?;
        theirs.push(started.elapsed().as_secs_f64());
        check(&client, &names, events).await?;
    }
    host.end().await?;
    let (ours, theirs) = (super::row::median(ours), super::row::median(theirs));
    Ok(Row::seconds("restore_all", ours, "natscli 0.5.1, one by one from disk", theirs))
}

async fn delete(client: &async_nats::Client, names: &[String]) -> Result<()> {
    for name in names {
        let subject = format!("$JS.API.STREAM.DELETE.{name}");
        client.request(subject, "".into()).await.step(|| format!("cannot delete `{name}`"))?;
    }
    Ok(())
}

async fn check(client: &async_nats::Client, names: &[String], events: u64) -> Result<()> {
    let mut found = 0;
    for name in names {
        found += messages(client, name).await?.unwrap_or_default();
    }
    if found == events {
        return Ok(());
    }
    Err(Error::step(format!("{found} events were restored, not {events}")))
}
