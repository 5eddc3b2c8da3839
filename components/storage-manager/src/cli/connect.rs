//! From the configuration to connections.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use crate::check::heard;
use crate::config::Config;
use crate::jetstream::JetStream;
use crate::restore::{RetryCommand, Source};
use crate::s3::{Store, Tier};

/// Reads the configuration.
pub(super) fn config(file: &Path) -> Result<Config, Failure> {
    Ok(Config::load(file)?)
}

/// Connects a user that hears what it is answered.
pub(super) async fn jetstream(config: &Config) -> Result<JetStream, Failure> {
    let client = config.nats.connect("cim-storage-manager").await?;
    heard(config).await?;
    Ok(JetStream::new(client))
}

/// Opens a tier's bucket for reading. Its absence from the configuration is an error of the user's.
pub(super) fn store(config: &Config, tier: Tier) -> Result<Arc<Store>, Failure> {
    optional_store(config, tier)?.ok_or_else(|| {
        Failure::usage(format!(
            "the configuration has no `[tertiary]` table: there is no {tier} to use"
        ))
    })
}

/// Opens the tier that messages are read from, and the other one for what the first has lost, unless that is excluded.
/// Also returns the ingredients of the command that a failed restore suggests.
pub(super) fn source(
    config: &Config,
    from: Tier,
    no_fallback: bool,
) -> Result<(Source, RetryCommand), Failure> {
    let tier = store(config, from)?;
    let second = optional_store(config, from.other())?;
    let retry = RetryCommand { from, other: second.is_some().then_some(from.other()) };
    Ok((Source::new(tier, second.filter(|_| !no_fallback)), retry))
}

pub(super) fn optional_store(config: &Config, tier: Tier) -> Result<Option<Arc<Store>>, Failure> {
    let settings = match tier {
        Tier::Nas => Some(&config.secondary),
        Tier::Wasabi => config.tertiary.as_ref(),
    };
    let open = |settings| {
        Store::open(tier, settings)
            .map(|store| Arc::new(store.with_retries(CancellationToken::new())))
    };
    settings.map(open).transpose().map_err(|error| Failure::usage(format!("{tier}: {error:#}")))
}
