//! `check`

use super::exit::Failure;
use super::{connect, show};
use crate::check::{Found, Right, Tried, is_same_bucket, missing_rights, one_bucket};
use crate::config::Config;
use crate::jetstream::JetStream;
use crate::s3::Tier;

/// Races for one key.
pub(super) const RACES: usize = 6;

/// Tries all that tiering needs, and says in one line all that is missing.
pub(super) async fn run(config: &Config) -> Result<(), Failure> {
    for warning in config.in_the_clear().into_iter().chain(config.open_secrets()) {
        show(format_args!("note: {warning}"))?;
    }
    let (mut found, mut failures) = (Found::default(), Vec::new());
    let mut names = Vec::new();
    match rights(config).await {
        Ok((there, rights)) => (names, found.nats) = (there, rights),
        Err(failure) => failures.push(failure),
    }
    for glob in config.streams.unmatched(&names) {
        show(format_args!("note: `[streams]` has the glob `{glob}`, which no stream matches"))?;
    }
    let matcher = config.streams.matcher().map_err(|error| Failure::other(&error))?;
    if !names.is_empty() && !names.iter().any(|name| matcher.matches(name)) {
        show("note: no stream on the server matches `[streams]`: nothing would be archived")?;
    }
    for tier in [Tier::Nas, Tier::Wasabi] {
        match tried(config, tier).await {
            Ok(tried) => found.tiers.extend(tried),
            Err(failure) => failures.push(failure),
        }
    }
    failures.extend(found.fit().err().map(Failure::from));
    for note in found.notes() {
        show(format_args!("note: {note}"))?;
    }
    if failures.is_empty() {
        return show("all that tiering needs is there");
    }
    let all: Vec<_> = failures.iter().map(|failure| failure.message().to_owned()).collect();
    Err(failures.swap_remove(0).with_message(all.join("; ")))
}

/// Returns the names of the streams, and the rights that are missing.
async fn rights(config: &Config) -> Result<(Vec<String>, Vec<Right>), Failure> {
    // One that hears nothing lacks a right, as others.
    let jetstream = JetStream::new(config.nats.connect("cim-storage-manager").await?);
    let matcher = config.streams.matcher().map_err(|error| Failure::other(&error))?;
    let names = async || Ok::<_, Failure>(jetstream.stream_names().await?);
    missing_rights(config, &matcher, names).await
}

async fn tried(config: &Config, tier: Tier) -> Result<Option<Tried>, Failure> {
    let Some(store) = connect::optional_store(config, tier)? else { return Ok(None) };
    let tried = Tried::by(&store, RACES).await?;
    if tier == Tier::Wasabi {
        let nas = connect::store(config, Tier::Nas)?;
        if is_same_bucket(&nas, &store).await? {
            return Err(Failure::usage(one_bucket(&nas)));
        }
    }
    Ok(Some(tried))
}
