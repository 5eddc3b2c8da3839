//! `tier`

use std::io::IsTerminal as _;

use cim_runtime::shutdown;
use tokio::signal::unix::{SignalKind, signal};

use super::args::TierArgs;
use super::descriptors;
use super::exit::Failure;
use crate::config::Config;
use crate::s3::{Store, Tier};
use crate::tier;

pub(super) async fn run(config: Config, args: TierArgs) -> Result<(), Failure> {
    if let Some(why) = config.writes_in_the_clear() {
        return Err(Failure::usage(why));
    }
    descriptors::raise();
    for warning in config.in_the_clear() {
        tracing::warn!("{warning}");
    }
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    // Other daemons read their files again at that; here nothing is to be done. A terminal that is closed ends it.
    if !std::io::stdin().is_terminal() {
        let mut hangup = signal(SignalKind::hangup()).map_err(|error| Failure::other(&error))?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::info!(
                    "SIGHUP: keys, passwords and certificates are read again as they change, the configuration at the next start"
                );
            }
        });
    }
    let open = |tier, settings| {
        Store::open(tier, settings).map_err(|error| Failure::usage(format!("{tier}: {error:#}")))
    };
    let nas = open(Tier::Nas, &config.secondary)?;
    let wasabi =
        config.tertiary.as_ref().map(|settings| open(Tier::Wasabi, settings)).transpose()?;
    let client = tokio::select! {
        client = config.nats.connect("cim-storage-manager") => client?,
        () = stop.cancelled() => return Ok(()),
    };
    Ok(tier::run(config, client, nas, wasabi, args.ready_file.as_deref(), stop).await?)
}
