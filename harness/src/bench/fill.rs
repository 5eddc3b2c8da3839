//! Filling a stream, as fast as acks come.

use std::path::Path;

use async_nats::jetstream::{self, stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::error::{Context as _, Error, Result};
use crate::workload::event::read_corpus;

/// Publishes that wait for their acks.
const WINDOW: usize = 4096;

/// Payloads to publish, over and over.
pub(super) enum Payloads {
    /// Random bytes of this size: they compress not at all.
    Random(usize),
    /// These.
    Given(Vec<Bytes>),
}

impl Payloads {
    /// A corpus, or generated documents where there is none.
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
    let jetstream = jetstream::new(client.clone());
    let config = stream::Config {
        name: name.into(),
        subjects: vec![format!("{}.>", name.to_lowercase())],
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.setup(|| format!("cannot create stream `{name}`"))?;
    let mut random = StdRng::seed_from_u64(1);
    let mut noise = vec![0_u8; 16 << 20];
    random.fill(&mut noise[..]);
    let noise = Bytes::from(noise);
    let publishes = futures_util::stream::iter(0..events).map(|n| {
        let payload = match payloads {
            Payloads::Random(size) => {
                let at = random.random_range(0..noise.len() - size);
                noise.slice(at..at + size)
            }
            Payloads::Given(documents) => {
                documents[usize::try_from(n).unwrap_or_default() % documents.len()].clone()
            }
        };
        let subject = format!("{}.{}", name.to_lowercase(), n % 8);
        let jetstream = jetstream.clone();
        async move {
            let ack = jetstream.publish(subject, payload).await.step(|| "publish failed".into())?;
            ack.await.step(|| "a publish was not acked".into())
        }
    });
    let mut acks = publishes.buffer_unordered(WINDOW);
    let mut last = 0;
    while let Some(ack) = acks.next().await {
        last = last.max(ack?.sequence);
    }
    if last == events {
        Ok(())
    } else {
        Err(Error::step(format!("{last} events of {events} in `{name}`")))
    }
}

/// Documents as webhooks are: deep, repetitive, with ids and times that differ.
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
