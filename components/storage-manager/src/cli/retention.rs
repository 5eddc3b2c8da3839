//! `retention`

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::{Expired, JournalState};
use cim_core::names::StreamName;
use cim_runtime::output::note;
use serde::Serialize;

use super::args::Show;
use super::exit::Failure;
use super::{connect, show, show_json, table};
use crate::archive::Archive;
use crate::clock;
use crate::config::Config;
use crate::config::retention;
use crate::journal::expire::{Bounds, Copied, Live, copied_to, decide, taken};
use crate::s3::Tier;

/// The messages that rules would take out of each tier now.
#[derive(Debug, Serialize)]
struct Preview {
    tiers: Vec<OnTier>,
}

#[derive(Debug, Serialize)]
struct OnTier {
    tier: Tier,
    streams: Vec<Leaving>,
    messages: u64,
    /// Bytes that the objects of these messages take on the tier, about.
    size: u64,
    /// Objects that nothing would need any more.
    objects: usize,
    /// Time after which they are deleted.
    deleted_after_seconds: u64,
}

#[derive(Debug, Serialize)]
struct Leaving {
    stream: StreamName,
    expired: Vec<Expired>,
    size: u64,
    /// The first sequence of the newest timeline that would be kept.
    kept_from: u64,
    /// Messages that are old enough and stay until Wasabi has them.
    waiting: u64,
}

pub(super) async fn run(config: &Config, args: &Show) -> Result<(), Failure> {
    if config.retention.is_empty() {
        return Err(Failure::usage(
            "the configuration has no `[[retention]]` table: all is kept for ever",
        ));
    }
    let wasabi = match connect::optional_store(config, Tier::Wasabi)? {
        Some(store) => Some(Archive::open(store).await?),
        None => None,
    };
    let nas = Archive::open(connect::store(config, Tier::Nas)?).await?;
    let there = wasabi.as_ref().and_then(|archive| own(config, archive));
    let mut tiers = Vec::new();
    if let Some(state) = own(config, &nas) {
        let copied = |stream: &StreamName| match wasabi {
            None => Copied::All,
            Some(_) => copied_to(there.and_then(|there| there.streams.get(stream))),
        };
        tiers.push(preview(config, Tier::Nas, state, &copied));
    }
    if let Some(state) = there {
        tiers.push(preview(config, Tier::Wasabi, state, &|_| Copied::All));
    }
    let preview = Preview { tiers };
    if args.json {
        return show_json(&preview);
    }
    print(&preview)
}

/// Returns how many bytes `[[retention]]` would let go of a tier now.
pub(super) fn leaving(config: &Config, tier: Tier, archive: &Archive) -> u64 {
    own(config, archive).map_or(0, |state| preview(config, tier, state, &|_| Copied::All).size)
}

/// Opens the journal that the storage manager of this configuration writes.
fn own<'a>(config: &Config, archive: &'a Archive) -> Option<&'a JournalState> {
    archive.journals().iter().find(|journal| journal.journal == config.archive.journal)
}

/// Returns what would leave a tier, which waits for the other one to have it.
fn preview(
    config: &Config,
    tier: Tier,
    state: &JournalState,
    copied: &dyn Fn(&StreamName) -> Copied,
) -> OnTier {
    let (now, mut streams, mut leaving) = (clock::now(), Vec::new(), BTreeSet::new());
    for (stream, archive) in &state.streams {
        let Some(rule) = retention::of(&config.retention, tier, stream) else { continue };
        let by = |copied| decide(archive, rule, &Bounds { live: Live::Unknown, copied, now });
        let count = |runs: &[Expired]| {
            runs.iter().fold(0, |sum: u64, run| sum.saturating_add(run.messages))
        };
        let all = by(Copied::All);
        let expired = by(copied(stream));
        if all.is_empty() {
            continue;
        }
        let segments = taken(archive, &expired);
        let size = segments.iter().fold(0, |sum: u64, s| sum.saturating_add(s.size));
        leaving.extend(segments.into_iter().map(|s| (stream, s.timeline, s.first_seq)));
        let gone = |place: &(u32, u64)| leaving.contains(&(stream, place.0, place.1));
        let pieces = archive.pieces(archive.timeline(), 1, u64::MAX);
        let kept = pieces.iter().find(|p| !gone(&(p.segment.timeline, p.segment.first_seq)));
        streams.push(Leaving {
            stream: stream.clone(),
            waiting: count(&all).saturating_sub(count(&expired)),
            kept_from: kept.map_or(archive.watermark().seq + 1, |piece| piece.first_seq),
            expired,
            size,
        });
    }
    // An object goes when nothing of it stays.
    let mut stays: BTreeMap<&str, bool> = BTreeMap::new();
    for (stream, archive) in &state.streams {
        for segment in archive.segments.values() {
            let stay = !leaving.contains(&(stream, segment.timeline, segment.first_seq));
            *stays.entry(&segment.key).or_default() |= stay;
        }
    }
    let after = match tier {
        Tier::Nas => config.collect.grace,
        Tier::Wasabi => config.collect.tertiary_age.max(config.collect.grace),
    };
    OnTier {
        tier,
        messages: streams.iter().flat_map(|s| &s.expired).map(|run| run.messages).sum(),
        size: streams.iter().map(|leaving| leaving.size).sum(),
        objects: stays.values().filter(|stays| !**stays).count(),
        streams,
        deleted_after_seconds: after.as_secs(),
    }
}

/// Formats a duration in days, hours or seconds.
fn in_words(seconds: u64) -> String {
    const HOUR: u64 = 3600;
    match seconds {
        days if days >= 48 * HOUR => format!("{} days", days / (24 * HOUR)),
        hours if hours >= HOUR => format!("{} h", hours / HOUR),
        seconds => format!("{seconds} s"),
    }
}

fn print(preview: &Preview) -> Result<(), Failure> {
    let headers =
        ["stream", "tier", "#timeline", "#first", "#last", "#messages", "by", "#kept from"];
    let mut shown = table::table(&headers);
    for tier in &preview.tiers {
        for stream in &tier.streams {
            for run in &stream.expired {
                shown.add_row([
                    stream.stream.to_string(),
                    tier.tier.to_string(),
                    run.timeline.to_string(),
                    run.first_seq.to_string(),
                    run.last_seq.to_string(),
                    run.messages.to_string(),
                    run.rule.clone(),
                    stream.kept_from.to_string(),
                ]);
            }
        }
    }
    show(shown)?;
    for tier in &preview.tiers {
        for stream in tier.streams.iter().filter(|stream| stream.waiting > 0) {
            note(format_args!(
                "{}: {} more messages are old enough and stay on {} until Wasabi has them",
                stream.stream, stream.waiting, tier.tier
            ));
        }
        note(format_args!(
            "{}: {} messages of {} would leave now, and with them {} objects, which are deleted {} later",
            tier.tier,
            tier.messages,
            table::size(tier.size),
            tier.objects,
            in_words(tier.deleted_after_seconds)
        ));
    }
    note("nothing was taken out: the storage manager does that while it runs");
    Ok(())
}
