//! Fills a stream, as fast as acks come.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::error::{Context as _, Error, Result};
use crate::workload::event::read_corpus;

/// The publishes that may wait for their acks.
const WINDOW: usize = 4096;

/// Payloads to publish, over and over.
pub(super) enum Payloads {
    /// Random bytes of this size, which do not compress.
    Random(usize),
    /// These payloads.
    Given(Vec<Bytes>),
}

impl Payloads {
    /// Reads a corpus, or generates documents without one.
    pub(super) fn json(corpus: Option<&Path>) -> Result<Self> {
        match corpus {
            Some(path) => Ok(Self::Given(read_corpus(path)?)),
            None => Ok(Self::Given(generated())),
        }
    }
}

pub(super) async fn stream(
    client: &async_nats::Client,
    name: &str,
    events: u64,
    payloads: &Payloads,
) -> Result<()> {
    create(client, name).await?;
    publish(client, &[name.to_owned()], events, payloads).await
}

/// Makes this many streams; returns their names.
pub(super) async fn streams(client: &async_nats::Client, number: usize) -> Result<Vec<String>> {
    const AT_ONCE: usize = 16;
    let names: Vec<String> = (0..number).map(|n| format!("BENCH{n:04}")).collect();
    let made = futures_util::stream::iter(&names).map(|name| create(client, name));
    made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(names)
}

/// Makes a stream.
pub(super) async fn create(client: &async_nats::Client, name: &str) -> Result<()> {
    let config = stream::Config {
        name: name.into(),
        subjects: vec![format!("{}.>", name.to_lowercase())],
        ..stream::Config::default()
    };
    let made = jetstream::new(client.clone()).create_stream(config).await;
    made.map(drop).setup(|| format!("cannot create stream `{name}`"))
}

/// Publishes events into streams, one after the other in turn.
pub(super) async fn publish(
    client: &async_nats::Client,
    streams: &[String],
    events: u64,
    payloads: &Payloads,
) -> Result<()> {
    let jetstream = jetstream::new(client.clone());
    let mut random = StdRng::seed_from_u64(1);
    let mut noise = vec![0_u8; 16 << 20];
    random.fill(&mut noise[..]);
    let noise = Bytes::from(noise);
    let prefixes: Vec<String> = streams.iter().map(|name| name.to_lowercase()).collect();
    let publishes = futures_util::stream::iter(0..events).map(|n| {
        let place = usize::try_from(n).unwrap_or_default();
        let payload = match payloads {
            Payloads::Random(size) => {
                let at = random.random_range(0..noise.len() - size);
                noise.slice(at..at + size)
            }
            Payloads::Given(documents) => documents[place % documents.len()].clone(),
        };
        let turn = place / prefixes.len();
        let subject = format!("{}.{}", prefixes[place % prefixes.len()], turn % 8);
        let jetstream = jetstream.clone();
        async move {
            let ack = jetstream.publish(subject, payload).await.step(|| "publish failed".into())?;
            ack.await.step(|| "a publish was not acked".into())
        }
    });
    let mut acks = publishes.buffer_unordered(WINDOW);
    let mut acked = 0;
    while let Some(ack) = acks.next().await {
        acked += u64::from(!ack?.duplicate);
    }
    if acked == events {
        Ok(())
    } else {
        Err(Error::step(format!("{acked} events of {events} were acked")))
    }
}

/// Publishes small documents into streams in turn, evenly in time, until there are enough or it is
/// told to stop; returns how many. It does not wait for acks, which would take processor time from
/// the measured programs.
pub(super) async fn evenly(
    client: async_nats::Client,
    streams: Vec<String>,
    rate: f64,
    events: u64,
    stop: Arc<AtomicBool>,
) -> Result<u64> {
    const TICK: Duration = Duration::from_millis(5);
    let started = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut random = StdRng::seed_from_u64(3);
    let mut sent = 0;
    while sent < events && !stop.load(Ordering::Relaxed) {
        tick.tick().await;
        let due = started.elapsed().as_secs_f64() * rate;
        while sent < events && (sent as f64) < due {
            let name = &streams[usize::try_from(sent).unwrap_or_default() % streams.len()];
            let subject = format!("{}.push", name.to_lowercase());
            let published = client.publish(subject, small(sent, &mut random)).await;
            published.step(|| "publish failed".into())?;
            sent += 1;
        }
    }
    client.flush().await.step(|| "publish failed".into())?;
    Ok(sent)
}

/// Returns a document of 200 bytes, like a small webhook. All differ: repeated documents would
/// compress twice as well.
fn small(n: u64, random: &mut StdRng) -> Bytes {
    const SIZE: usize = 200;
    let mut id = |most: u64| random.random_range(0..most);
    let document = format!(
        r#"{{"type":"push","id":{},"repository":"user-{}/repository-{}","sender":"user-{}","ref":"refs/heads/main","head":"{:016x}{:016x}{:08x}","number":{n},"note":""#,
        10_000_000 + id(90_000_000),
        id(50),
        id(20),
        id(50),
        id(u64::MAX),
        id(u64::MAX),
        id(1 << 32),
    );
    let room = SIZE.saturating_sub(document.len() + 2);
    let note: String =
        "keeps what must not be lost and brings it back".chars().take(room).collect();
    Bytes::from(format!("{document}{note}\"}}"))
}

/// Returns documents like webhooks: deep, repetitive, with ids and times that differ.
fn generated() -> Vec<Bytes> {
    let mut random = StdRng::seed_from_u64(2);
    let document = |n: u64, random: &mut StdRng| {
        let mut id = || random.random_range(1_000_000..9_999_999_u64);
        let user = json!({
            "id": id(), "login": format!("user-{}", id() % 50), "type": "User", "site_admin": false,
            "url": format!("https://api.example.org/users/{}", id()),
            "followers_url": format!("https://api.example.org/users/{}/followers", id()),
        });
        let repository = json!({
            "id": id(), "name": format!("repository-{}", id() % 20), "private": id() % 2 == 0,
            "description": "keeps what must not be lost, and brings it back", "owner": user.clone(),
            "created_at": "2026-01-01T00:00:00Z", "pushed_at": format!("2026-02-{:02}T00:00:00Z", 1 + id() % 28),
            "stargazers_count": id() % 1000, "default_branch": "main", "topics": ["events", "streams"],
        });
        json!({ "type": "push", "number": n, "ref": "refs/heads/main", "sender": user, "repository": repository,
                "head": format!("{:016x}{:016x}", id(), id()) })
    };
    (0..2000).map(|n| Bytes::from(document(n, &mut random).to_string())).collect()
}
