//! Restores a stream, ours from the NAS against natscli's from a local file.

use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use serde_json::Value;

use super::Scale;
use super::fill::{self, Payloads};
use super::row::{Row, median};
use super::test_bed::{Host, TestBed};
use super::tiered::{self, STREAM};
use crate::error::{Context as _, Error, Result};
use crate::lab::link::{Conditions, Link};
use crate::lab::process::{End, Spec};
use crate::lab::storage_manager::run as run_manager;
use crate::lab::tools::Tool;
use crate::scenario::Span;

const PEER: &str = "natscli 0.5.1, from a local file";

/// Medians in seconds.
struct Times {
    ours: f64,
    protocol: f64,
    natscli: f64,
}

pub(super) async fn kibibyte(bed: &TestBed<'_>, scale: &Scale) -> Result<Vec<Row>> {
    let times = measure(bed, "restore-1k", scale.restored_1k, 1024, scale.rounds, None).await?;
    Ok(vec![
        Row::seconds("restore_vs_natscli_1k", times.ours, PEER, times.natscli),
        Row::seconds("restore_protocol_vs_natscli_1k", times.protocol, PEER, times.natscli),
    ])
}

pub(super) async fn small(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let times = measure(bed, "restore-128b", scale.restored_128b, 128, scale.rounds, None).await?;
    Ok(Row::seconds("restore_vs_natscli_128b", times.ours, PEER, times.natscli))
}

pub(super) async fn over_a_slow_link(bed: &TestBed<'_>, scale: &Scale) -> Result<Row> {
    let half: Span = "10ms".parse().expect("a length of time");
    let times = measure(bed, "restore-20ms", scale.restored_slow, 1024, 1, Some(half)).await?;
    Ok(Row::seconds("restore_vs_natscli_20ms", times.ours, PEER, times.natscli))
}

async fn measure(
    bed: &TestBed<'_>,
    name: &str,
    events: u64,
    size: usize,
    rounds: u64,
    delay: Option<Span>,
) -> Result<Times> {
    bed.progress.line(&format!("{name}: publishing and archiving {events} events of {size} bytes"));
    let host = bed.host(name).await?;
    let client = host.client().await?;
    fill::stream(&client, STREAM, events, &Payloads::Random(size)).await?;
    tiered::tier(bed, &host, events).await?;
    let backup = host.dir.join("backup");
    natscli(bed, &host.nats.url(), &["backup", "stream", STREAM], &backup).await?;
    let link = match delay {
        Some(delay) => {
            let conditions = Conditions { delay, ..Conditions::default() };
            Some(Link::open(Some(host.nats.addr), conditions).await?)
        }
        None => None,
    };
    let url =
        link.as_ref().map_or_else(|| host.nats.url(), |link| format!("nats://{}", link.addr()));
    let config = host.config(&url)?;
    let (mut ours, mut protocol, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        bed.progress.line(&format!("{name}: round {round} of {rounds}"));
        let (whole, _) = restore(bed, &config, &client, events, &[]).await?;
        ours.push(whole);
        let (_, sending) = restore(bed, &config, &client, events, &["--staged"]).await?;
        protocol.push(sending);
        delete(&client).await?;
        let started = Instant::now();
        natscli(bed, &url, &["backup", "restore", "stream"], &backup).await?;
        theirs.push(started.elapsed().as_secs_f64());
        check(&client, events).await?;
    }
    host.end().await?;
    Ok(Times { ours: median(ours), protocol: median(protocol), natscli: median(theirs) })
}

/// Returns the peak memory, in bytes, of a restore of a stream that the archive has completely.
pub(super) async fn memory(bed: &TestBed<'_>, host: &Host, events: u64) -> Result<u64> {
    let client = host.client().await?;
    delete(&client).await?;
    let config = host.config(&host.nats.url())?;
    let (name, args) = (bed.unique("restore"), ["restore", STREAM]);
    let ran = run_manager(&bed.launcher, &bed.tools, &name, &args, &config).await?;
    check(&client, events).await?;
    Ok(ran.peak_rss)
}

/// Returns the seconds of the whole program, and of its part that talks to NATS.
async fn restore(
    bed: &TestBed<'_>,
    config: &Path,
    client: &async_nats::Client,
    events: u64,
    more: &[&str],
) -> Result<(f64, f64)> {
    #[derive(Deserialize)]
    struct Report {
        streams: Vec<Restored>,
    }
    #[derive(Deserialize)]
    struct Restored {
        seconds_sending: f64,
    }
    delete(client).await?;
    let args = [&["restore", STREAM, "--json"][..], more].concat();
    let started = Instant::now();
    let said =
        run_manager(&bed.launcher, &bed.tools, &bed.unique("restore"), &args, config).await?;
    let whole = started.elapsed().as_secs_f64();
    let report: Report =
        serde_json::from_str(&said.stdout).step(|| "restore printed no report".into())?;
    check(client, events).await?;
    let sending = report.streams.first().map_or(f64::NAN, |s| s.seconds_sending);
    Ok((whole, sending))
}

pub(super) async fn natscli(
    bed: &TestBed<'_>,
    url: &str,
    command: &[&str],
    dir: &Path,
) -> Result<()> {
    let mut spec = Spec::new("natscli", bed.tools.find(Tool::Natscli)?);
    // A configuration of natscli's own could point it to another server.
    spec = spec.env("XDG_CONFIG_HOME", dir.with_extension("config").display().to_string());
    spec = spec.arg("--server").arg(url).arg("--no-context");
    spec.args.extend(command.iter().map(Into::into));
    spec = spec.arg(dir);
    let process = bed.launcher.start(spec).await?;
    match process.wait().await {
        End::Exit(0) => Ok(()),
        end => {
            Err(Error::step(format!("`nats {}`: {end}: {}", command.join(" "), process.last_log())))
        }
    }
}

pub(super) async fn delete(client: &async_nats::Client) -> Result<()> {
    let subject = format!("$JS.API.STREAM.DELETE.{STREAM}");
    client.request(subject, "".into()).await.step(|| format!("cannot delete `{STREAM}`"))?;
    Ok(())
}

pub(super) async fn check(client: &async_nats::Client, events: u64) -> Result<()> {
    match messages(client, STREAM).await? {
        Some(found) if found == events => Ok(()),
        found => Err(Error::step(format!("{found:?} events were restored, not {events}"))),
    }
}

/// Returns how many messages a stream has; `None` if it does not exist.
pub(super) async fn messages(client: &async_nats::Client, name: &str) -> Result<Option<u64>> {
    let subject = format!("$JS.API.STREAM.INFO.{name}");
    let answer = client.request(subject, "".into()).await.step(|| format!("no `{name}`"))?;
    let info: Value = serde_json::from_slice(&answer.payload).step(|| "no stream info".into())?;
    Ok(info["state"]["messages"].as_u64())
}
