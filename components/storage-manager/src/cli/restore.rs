//! `restore`

mod earlier;
mod followers;
mod report;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::output::note;
use cim_runtime::shutdown;
use futures_util::{StreamExt as _, stream};

use self::earlier::warn_of_earlier;
use self::followers::followers;
use self::report::Report;
use super::args::RestoreArgs;
use super::connect;
use super::exit::Failure;
use super::not_found::{no_archive, unknown_stream};
use super::progress::shown;
use crate::archive::Archive;
use crate::config::Config;
use crate::journal::expire::in_words;
use crate::restore::{self, Fences, Followers, Found, Looks, Options, Plan, RestoreError, Source};
use crate::s3::Tier;

/// Chains that are read at once.
const CHAINS: usize = 16;
/// The time before a loss of which the NAS may lack what was acknowledged: it is half a second as a rule, and more where
/// the NAS was busy.
const NAS_MAY_LAG: Duration = Duration::from_secs(10);

pub(super) async fn run(config: &Config, args: RestoreArgs) -> Result<(), Failure> {
    let (source, retry) = connect::source(config, args.from, args.no_fallback)?;
    let jetstream = connect::jetstream(config).await?;
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    if args.rename.is_some() && args.streams.len() > 1 {
        return Err(Failure::usage("`--as` takes one stream: it is one name"));
    }
    let archive = open(&source, &args).await?;
    let mut streams = if args.all { staying(&archive).await? } else { args.streams.clone() };
    let mut named = BTreeSet::new();
    streams.retain(|stream| named.insert(stream.clone()));
    let nothing_at_all = streams.is_empty() && archive.streams().await?.is_empty();
    if nothing_at_all && archive.damage().is_none() {
        return Err(no_archive(config, args.from).await);
    }
    let options = Options {
        rename: args.rename.clone(),
        subjects: args.subjects.clone(),
        replicas: args.replicas,
        until_seq: args.until_seq,
        until_time: args.until_time,
        subject: args.subject.clone(),
        timeline: args.timeline,
        keep_links: args.keep_links,
        with_dropped: args.with_dropped,
        staged: args.staged,
    };
    let mut report = Report::new(&streams, &args, retry);
    // All that can be known of each stream is known before the first one is touched.
    let planned = plans(config, &archive, &streams, &options, args.from).await?;
    let (mut places, mut plans) = (Vec::new(), Vec::new());
    for (place, plan) in planned.into_iter().enumerate() {
        match plan {
            Ok(plan) => {
                places.push(place);
                plans.push(plan);
            }
            Err(error) => report.failed(place, error),
        }
    }
    let again = args.all && options.subject.is_none() && !options.with_dropped;
    let fences = Fences {
        asked: args.fence,
        window: match args.from {
            Tier::Nas => NAS_MAY_LAG,
            Tier::Wasabi => config.wasabi_may_lag(),
        },
        // A copy has a name that no stream follows.
        followers: match args.rename {
            Some(_) => Followers::default(),
            None => followers(&archive).await?,
        },
    };
    let looks = Looks { again, locked: args.dry_run };
    let check = restore::check(&jetstream, &source, &mut plans, fences, looks);
    let Some(found) = stop.run_until_cancelled(check).await else {
        let of =
            if let [one] = &streams[..] { format!(" of stream `{one}`") } else { String::new() };
        return Err(Failure::interrupted(format!("interrupted: nothing was restored{of}")));
    };
    let mut found = found?.into_iter();
    let mut at = places.iter();
    let free = plans.extract_if(.., |plan| {
        let place = *at.next().expect("each plan has a place");
        match found.next().expect("each plan was looked at") {
            Found::Free => {
                report.ready(place, plan);
                return true;
            }
            Found::There(why) => report.unchanged(place, plan, why),
            Found::Hindered(error) => report.failed(place, error),
        }
        false
    });
    let free: Vec<Plan> = free.collect();
    if !args.dry_run {
        let done = shown(free, async |plans, progress| {
            restore::restore_many(&jetstream, &source, plans, progress, &stop).await
        });
        report.done(done.await);
    }
    let failure = report.failure(stop.is_cancelled());
    // Of one stream the error says all.
    if args.show.json || failure.is_none() || streams.len() > 1 {
        report.print(args.show.json)?;
    }
    match (failure, archive.damage()) {
        (Some(failure), _) => Err(failure),
        (None, Some(error)) => Err(Failure::damaged(format!(
            "what was archived before the damage was restored ({} streams), what came later was not: {}",
            streams.len(),
            chain(error)
        ))),
        (None, None) => Ok(()),
    }
}

/// Returns every stream of which something is kept; the others are named, and hold nothing up.
async fn staying(archive: &Archive) -> Result<Vec<StreamName>, Failure> {
    let mut streams = archive.streams().await?;
    streams.retain(|stream| {
        let Some(state) = archive.in_journal(stream) else { return true };
        let left = state.has_left(state.timeline());
        if left {
            let lines = in_words(state.expired_in(state.timeline()));
            for line in lines {
                note(format_args!("{stream} is left out: {line}"));
            }
        }
        !left
    });
    Ok(streams)
}

/// Plans the restores of streams. What cannot be read of one keeps it from coming back, not the others.
async fn plans(
    config: &Config,
    archive: &Archive,
    streams: &[StreamName],
    options: &Options,
    from: Tier,
) -> Result<Vec<Result<Plan, RestoreError>>, Failure> {
    let planned = stream::iter(streams).map(async |stream| {
        let state = match archive.stream(stream).await.map_err(RestoreError::from) {
            Ok(Some(state)) => state,
            Ok(None) => return Err(unknown_stream(config, stream, from).await),
            Err(error) if error.is_of_one_stream() => return Ok(Err(error)),
            Err(error) => return Err(error.into()),
        };
        let plan = restore::plan(stream, &state, options)?;
        if options.timeline.is_none() {
            warn_of_earlier(&plan, &state);
        }
        Ok(Ok(plan))
    });
    let planned: Vec<Result<_, Failure>> = planned.buffered(CHAINS).collect().await;
    planned.into_iter().collect()
}

/// Reads the archive; a damaged one up to the damage, where that was asked for.
async fn open(source: &Source, args: &RestoreArgs) -> Result<Archive, Failure> {
    let tier = Arc::clone(&source.tier);
    if args.before_damage {
        return Ok(Archive::open_before_damage(tier).await?);
    }
    Archive::open(tier).await.map_err(|error| {
        let failure = Failure::from(error);
        if !failure.is_damage() {
            return failure;
        }
        Failure::damaged(format!(
            "{}; restore it with `--from {}`, or what was archived before that with `--before-damage`",
            failure.message(),
            args.from.other().id()
        ))
    })
}
