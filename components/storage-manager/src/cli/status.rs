//! `status`

mod check;
mod locked;
mod reach;

use std::sync::Arc;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::output::note;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::check::{Limits, check};
use self::reach::{TierStatus, reach};
use super::args::StatusArgs;
use super::exit::Failure;
use super::{connect, show, show_json, table};
use crate::archive::Archive;
use crate::config::{ArchiveConfig, Config, Layout};
use crate::jetstream::StreamInfo;
use crate::journal;
use crate::s3::{Store, Tier};
use crate::tier::foreign::{Foreign, Here};
use crate::tier::other_journals;
use crate::tier::sides::{Sides, Unread};

#[derive(Debug, Serialize)]
struct Status {
    streams: Vec<StreamStatus>,
    /// Streams of the server that the configuration leaves out.
    left_out: Vec<String>,
    /// The objects on the NAS that the running storage manager can neither read nor heal.
    damage: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StreamStatus {
    stream: StreamName,
    last_seq: u64,
    nas: TierStatus,
    /// `None` where there is no such tier.
    wasabi: Option<TierStatus>,
    /// Why it is not archived, where what the archive has under its name is another host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

pub(super) async fn run(config: Config, args: StatusArgs) -> Result<(), Failure> {
    let jetstream = connect::jetstream(&config).await?;
    let sides = Sides {
        jetstream: jetstream.clone(),
        nas: connect::store(&config, Tier::Nas)?,
        wasabi: connect::optional_store(&config, Tier::Wasabi)?,
        abort: CancellationToken::new(),
        unread: Unread::default(),
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
    for glob in config.streams.unmatched(&names) {
        tracing::warn!(
            "`[streams]` has the glob `{glob}`, which matches no stream on the server: correct or remove it"
        );
    }
    let (names, left_out): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| matcher.matches(name));
    for name in names {
        let stream = StreamName::new(name).map_err(|error| Failure::other(&error))?;
        // The archive first: it is never ahead of the stream that way.
        let mut on_nas = nas.stream(&stream).await?;
        let mut at_wasabi = match &mut wasabi {
            Some(wasabi) => wasabi.stream(&stream).await?,
            None => None,
        };
        let live = match jetstream.stream_info(stream.as_str(), false).await {
            Err(error) if error.not_found() => continue,
            other => other?,
        };
        let foreign = foreign(&config.archive, &sides, nas.journals(), &stream, &live).await?;
        if foreign.is_some() {
            (on_nas, at_wasabi) = (None, None);
        }
        streams.push(StreamStatus {
            last_seq: live.state.last_seq,
            nas: nas.reach(&sides, &stream, &live, on_nas).await?,
            wasabi: match &mut wasabi {
                Some(wasabi) => Some(wasabi.reach(&sides, &stream, &live, at_wasabi).await?),
                None => None,
            },
            refused: foreign.map(|foreign| foreign.to_string()),
            stream,
        });
    }
    let damage = match config.archive.layout {
        Layout::Journal => journal::damage(jetstream.client(), &config.archive.journal).await,
        Layout::Chains => Vec::new(),
    };
    let status = Status { streams, left_out, damage };
    let checked = args.check.then(|| check(&status.streams, limits(&config, &args)));
    // Each minute is too often to look at each object.
    if config.archive.encryption.is_some() && !args.check {
        nas.look(&sides.nas).await;
        if let (Some(readable), Some(store)) = (&mut wasabi, &sides.wasabi) {
            readable.look(store).await;
        }
    }
    let tiers: Vec<Readable> = std::iter::once(nas).chain(wasabi).collect();
    let (mut away, mut wrong, mut locked) = (None, Vec::new(), Vec::new());
    // All is shown that can be read: it is monitoring that is to be told.
    wrong.extend(status.damage.iter().filter(|_| args.check).cloned());
    for tier in tiers {
        locked.extend(tier.locked);
        wrong.extend(tier.damage);
        wrong.extend(tier.away.as_ref().map(|failure| failure.message().to_owned()));
        away = away.or(tier.away);
    }
    let shown = match &checked {
        Some(_) if args.show.json => print(&status, true),
        // What is known of one tier would pass for all.
        Some(Ok(line)) if wrong.is_empty() => show(line),
        Some(_) => Ok(()),
        None => print(&status, args.show.json),
    };
    shown?;
    verdict(away, checked, wrong, locked)
}

/// Returns the command's end: `away` is the first tier that was not reached, `wrong` and `locked` are all
/// lines about what could not be read, `checked` is the line of `--check`.
fn verdict(
    away: Option<Failure>,
    checked: Option<Result<String, String>>,
    mut wrong: Vec<String>,
    locked: Vec<String>,
) -> Result<(), Failure> {
    let shown = match &checked {
        Some(Ok(line) | Err(line)) => format!("of what can be read: {line}"),
        None => "what is shown is what can be read".to_owned(),
    };
    match (away, checked) {
        (None, Some(Err(line))) if wrong.is_empty() => Err(Failure::behind(line)),
        (None, _) if wrong.is_empty() && locked.is_empty() => Ok(()),
        (None, _) if wrong.is_empty() => {
            Err(Failure::locked(format!("{}; {shown}", locked.join("; "))))
        }
        (None, _) => {
            wrong.extend(locked);
            Err(Failure::damaged(format!("{}; {shown}", wrong.join("; "))))
        }
        (Some(failure), _) => Err(failure.with_message(format!("{}; {shown}", wrong.join("; ")))),
    }
}

/// Returns how far behind streams may be.
fn limits(config: &Config, args: &StatusArgs) -> Limits {
    let wasabi = || config.wasabi_may_lag();
    Limits { nas: args.max_lag, wasabi: args.max_lag_wasabi.unwrap_or_else(wasabi) }
}

/// A tier's archive as far as it can be read.
struct Readable {
    tier: Tier,
    /// `None` where nothing can.
    archive: Option<Archive>,
    /// The parts of it that cannot.
    damage: Vec<String>,
    /// Those that there is no key of.
    locked: Vec<String>,
    /// Why it cannot be reached.
    away: Option<Failure>,
}

impl Readable {
    async fn open(store: Arc<Store>) -> Result<Self, Failure> {
        let (tier, mut damage, locked) = (store.tier(), Vec::new(), Vec::new());
        let archive = match Archive::open_before_damage(store).await {
            Ok(archive) => {
                damage.extend(archive.damage().map(|error| format!("{tier}: {}", chain(error))));
                Some(archive)
            }
            Err(error) => match Failure::from(error) {
                failure if failure.is_s3() => {
                    let away = Some(failure);
                    return Ok(Self { tier, archive: None, damage, locked, away });
                }
                failure => {
                    damage.push(damaged(tier, failure)?);
                    None
                }
            },
        };
        Ok(Self { tier, archive, damage, locked, away: None })
    }

    /// Returns a tier's journals.
    fn journals(&self) -> &[JournalState] {
        self.archive.as_ref().map_or(&[], Archive::journals)
    }

    /// Returns a stream's archive on the tier; `None` where it has none, or none that can be read.
    async fn stream(&mut self, stream: &StreamName) -> Result<Option<ArchiveState>, Failure> {
        let Some(archive) = &self.archive else { return Ok(None) };
        if self.away.is_some() {
            return Ok(None);
        }
        match archive.stream(stream).await.map_err(Failure::from) {
            Ok(state) => Ok(state),
            Err(failure) if failure.is_s3() => {
                self.away = Some(failure);
                Ok(None)
            }
            Err(failure) => {
                self.damage.push(damaged(self.tier, failure)?);
                Ok(None)
            }
        }
    }

    /// Returns how far the tier is; what cannot be compared with the live stream is damage, and holds nothing of it.
    async fn reach(
        &mut self,
        sides: &Sides,
        stream: &StreamName,
        live: &StreamInfo,
        state: Option<ArchiveState>,
    ) -> Result<TierStatus, Failure> {
        if self.away.is_some() {
            return Ok(TierStatus::unreachable());
        }
        let (status, incomparable) = match reach(sides, stream, live, state).await {
            Err(failure) if failure.is_s3() => {
                self.away = Some(failure);
                return Ok(TierStatus::unreachable());
            }
            reached => reached?,
        };
        if let Some(error) = incomparable {
            let tier = self.tier;
            let what = format!("stream `{stream}` cannot be compared with what {tier} has of it");
            let what = format!("{what}: {}", chain(&error));
            if error.is_locked() {
                self.locked.push(what);
            } else {
                self.damage.push(what);
            }
        }
        Ok(status)
    }

    /// Looks whether there is a key of all that it has.
    async fn look(&mut self, store: &Store) {
        let Some(archive) = self.archive.as_ref().filter(|_| self.away.is_none()) else { return };
        match locked::look(store, archive.journals()).await {
            Ok(locked) => self.locked.extend(locked),
            Err(error) => self.away = Some(error.into()),
        }
    }
}

/// Returns what is damaged; fails with anything else.
fn damaged(tier: Tier, failure: Failure) -> Result<String, Failure> {
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
    let other = other_journals::latest(others, stream);
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

fn print(status: &Status, json: bool) -> Result<(), Failure> {
    if json {
        return show_json(status);
    }
    let mut shown = table::table(&[
        "stream",
        "#last",
        "tier",
        "#timeline",
        "#watermark",
        "#lag (events)",
        "#lag (s)",
        "#segments",
        "#size",
    ]);
    for stream in &status.streams {
        for (name, tier) in stream.tiers() {
            let held = |text: String| if tier.timeline.is_some() { text } else { "-".into() };
            let timeline = tier.timeline.map(|timeline| match tier.diverged {
                None => timeline.to_string(),
                Some(_) => format!("{timeline}, diverged"),
            });
            let timeline = if tier.unreachable { Some("unreachable".into()) } else { timeline };
            shown.add_row([
                stream.stream.to_string(),
                stream.last_seq.to_string(),
                name.to_string(),
                timeline.unwrap_or_else(|| "-".into()),
                held(tier.seq.to_string()),
                tier.lag_events.map_or("?".into(), |events| events.to_string()),
                tier.lag_seconds.map_or("?".into(), |lag| format!("{lag:.1}")),
                held(tier.segments.to_string()),
                held(table::size(tier.bytes)),
            ]);
        }
    }
    show(shown)?;
    if !status.left_out.is_empty() {
        note(format_args!("`[streams]` leaves out: {}", status.left_out.join(", ")));
    }
    for damage in &status.damage {
        note(damage);
    }
    for stream in &status.streams {
        for (name, tier) in stream.tiers() {
            if let (Some(timeline), Some(diverged)) = (tier.timeline, &tier.diverged) {
                note(format_args!(
                    "stream `{}`: {name} has timeline {timeline} of it, which the live stream is not ({diverged}): lag counts what {name} does not hold of the live one",
                    stream.stream
                ));
            }
        }
        if let Some(refused) = &stream.refused {
            note(refused);
        }
    }
    Ok(())
}

impl StreamStatus {
    fn tiers(&self) -> impl Iterator<Item = (Tier, &TierStatus)> {
        let wasabi = self.wasabi.iter().map(|wasabi| (Tier::Wasabi, wasabi));
        std::iter::once((Tier::Nas, &self.nas)).chain(wasabi)
    }
}
