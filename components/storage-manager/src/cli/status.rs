//! `status`

use std::sync::Arc;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::args::Show;
use super::exit::Failure;
use super::{connect, table};
use crate::archive::{Archive, ArchiveError};
use crate::config::{ArchiveConfig, Config};
use crate::jetstream::{JetStream, StreamInfo};
use crate::s3::{Store, Tier};
use crate::tier::foreign::{Foreign, Here};
use crate::tier::others;
use crate::tier::sides::Sides;

#[derive(Debug, Serialize)]
struct Status {
    streams: Vec<StreamStatus>,
}

#[derive(Debug, Serialize)]
struct StreamStatus {
    stream: StreamName,
    last_seq: u64,
    timeline: Option<u32>,
    nas: Option<TierStatus>,
    wasabi: Option<TierStatus>,
    /// Why it is not archived, where what the archive has under its name is another host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// How far a tier is.
#[derive(Debug, Serialize)]
struct TierStatus {
    seq: u64,
    /// Time of the last message that the tier holds.
    time: Option<Timestamp>,
    /// Age of the oldest message that it does not hold; 0 when it holds all.
    lag_seconds: f64,
    lag_events: u64,
    entry: u64,
    segments: usize,
    bytes: u64,
}

pub(super) async fn run(config: Config, args: Show) -> Result<(), Failure> {
    let jetstream = connect::jetstream(&config).await?;
    let sides = Sides {
        jetstream: jetstream.clone(),
        nas: connect::store(&config, Tier::Nas)?,
        wasabi: connect::optional_store(&config, Tier::Wasabi)?,
        abort: CancellationToken::new(),
    };
    let mut nas = Readable::open(Arc::clone(&sides.nas)).await?;
    let mut wasabi = match &sides.wasabi {
        Some(wasabi) => Some(Readable::open(Arc::clone(wasabi)).await?),
        None => None,
    };
    // The stores are patient enough.
    sides.abort.cancel();
    let matcher = config.streams.matcher().map_err(|error| Failure::other(&error))?;
    let mut streams = Vec::new();
    let mut names = jetstream.stream_names().await?;
    names.sort();
    for name in names.into_iter().filter(|name| matcher.matches(name)) {
        let stream = StreamName::new(name).map_err(|error| Failure::other(&error))?;
        let live = jetstream.stream_info(stream.as_str(), false).await?;
        let last_seq = live.state.last_seq;
        if let Some(foreign) =
            foreign(&config.archive, &sides, nas.journals(), &stream, &live).await?
        {
            let refused = Some(foreign.to_string());
            streams.push(StreamStatus {
                stream,
                last_seq,
                timeline: None,
                nas: None,
                wasabi: None,
                refused,
            });
            continue;
        }
        let state = nas.stream(&stream).await?;
        let timeline = state.as_ref().map(ArchiveState::timeline);
        let on_nas = tier_status(&jetstream, &stream, last_seq, state).await?;
        let on_wasabi = match &mut wasabi {
            Some(wasabi) => {
                let state = wasabi.stream(&stream).await?;
                tier_status(&jetstream, &stream, last_seq, state).await?
            }
            None => None,
        };
        streams.push(StreamStatus {
            stream,
            last_seq,
            timeline,
            nas: on_nas,
            wasabi: on_wasabi,
            refused: None,
        });
    }
    print(&Status { streams }, args.json);
    let damage: Vec<String> =
        nas.damage.into_iter().chain(wasabi.into_iter().flat_map(|tier| tier.damage)).collect();
    if damage.is_empty() {
        return Ok(());
    }
    Err(Failure::damaged(format!("{}; what is shown is what can be read", damage.join("; "))))
}

/// A tier's archive as far as it can be read.
struct Readable {
    tier: Tier,
    /// `None` where nothing can.
    archive: Option<Archive>,
    /// The parts of it that cannot.
    damage: Vec<String>,
}

impl Readable {
    async fn open(store: Arc<Store>) -> Result<Self, Failure> {
        let (tier, mut damage) = (store.tier(), Vec::new());
        let archive = match Archive::open_before_damage(store).await {
            Ok(archive) => {
                damage.extend(archive.damage().map(|error| format!("{tier}: {}", chain(error))));
                Some(archive)
            }
            Err(error) => {
                damage.push(damaged(tier, error)?);
                None
            }
        };
        Ok(Self { tier, archive, damage })
    }

    /// Its journals.
    fn journals(&self) -> &[JournalState] {
        self.archive.as_ref().map_or(&[], Archive::journals)
    }

    /// Returns a stream's archive on the tier; `None` where it has none, or none that can be read.
    async fn stream(&mut self, stream: &StreamName) -> Result<Option<ArchiveState>, Failure> {
        let Some(archive) = &self.archive else { return Ok(None) };
        match archive.stream(stream).await {
            Ok(state) => Ok(state),
            Err(error) => {
                self.damage.push(damaged(self.tier, error)?);
                Ok(None)
            }
        }
    }
}

/// Returns what is damaged; fails with anything else.
fn damaged(tier: Tier, error: ArchiveError) -> Result<String, Failure> {
    let failure = Failure::from(error);
    if failure.is_damage() { Ok(format!("{tier}: {}", failure.message())) } else { Err(failure) }
}

/// Returns why a stream is refused, as the daemon finds it.
async fn foreign(
    config: &ArchiveConfig,
    sides: &Sides,
    journals: &[JournalState],
    stream: &StreamName,
    live: &StreamInfo,
) -> Result<Option<Foreign>, Failure> {
    let (own, others): (Vec<_>, Vec<_>) =
        journals.iter().partition(|journal| journal.journal == config.journal);
    let own = own.iter().find_map(|journal| journal.streams.get(stream));
    let other = others::latest(others, stream);
    let other =
        other.filter(|(_, other)| own.is_none_or(|own| own.committed_at < other.committed_at));
    let archived = own.into_iter().chain(other.map(|(_, other)| other));
    if archived.filter_map(|state| state.served.as_ref()).count() == 0 {
        return Ok(None);
    }
    let served = sides.jetstream.served(live).await;
    let here = Here { stream, live, served: served.as_ref(), succeeds: &config.succeeds };
    if let Some((journal, other)) = other
        && let Some(foreign) = here.in_other(sides, journal, other).await?
    {
        return Ok(Some(foreign));
    }
    match own {
        Some(own) if live.state.last_seq > 0 => Ok(here.in_own(sides, own).await?),
        _ => Ok(None),
    }
}

async fn tier_status(
    jetstream: &JetStream,
    stream: &StreamName,
    last_seq: u64,
    state: Option<ArchiveState>,
) -> Result<Option<TierStatus>, Failure> {
    let Some(state) = state else { return Ok(None) };
    let watermark = state.watermark();
    let oldest = if last_seq > watermark.seq {
        jetstream.next_message(stream.as_str(), watermark.seq + 1).await?
    } else {
        None
    };
    let now = Timestamp::now().as_nanosecond();
    Ok(Some(TierStatus {
        seq: watermark.seq,
        time: watermark.last.as_ref().map(|last| last.time),
        lag_seconds: oldest.map_or(0.0, |m| (now - i128::from(m.time)).max(0) as f64 / 1e9),
        lag_events: last_seq.saturating_sub(watermark.seq),
        entry: state.number,
        segments: state.segments.len(),
        bytes: state.segments.values().fold(0, |sum: u64, s| sum.saturating_add(s.size)),
    }))
}

fn print(status: &Status, json: bool) {
    if json {
        println!("{}", serde_json::to_string_pretty(status).expect("plain fields are JSON"));
        return;
    }
    let mut shown = table::table(&[
        "stream",
        "#last",
        "tier",
        "#watermark",
        "#lag (events)",
        "#lag (s)",
        "#timeline",
        "#segments",
        "#size",
    ]);
    for stream in &status.streams {
        for (name, tier) in [("nas", &stream.nas), ("wasabi", &stream.wasabi)] {
            let Some(tier) = tier else { continue };
            shown.add_row([
                stream.stream.to_string(),
                stream.last_seq.to_string(),
                name.into(),
                tier.seq.to_string(),
                tier.lag_events.to_string(),
                format!("{:.1}", tier.lag_seconds),
                stream.timeline.map(|t| t.to_string()).unwrap_or_default(),
                tier.segments.to_string(),
                table::size(tier.bytes),
            ]);
        }
    }
    println!("{shown}");
    for refused in status.streams.iter().filter_map(|stream| stream.refused.as_ref()) {
        eprintln!("{refused}");
    }
}
