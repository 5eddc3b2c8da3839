//! `tier`

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use cim_runtime::error::chain;
use cim_runtime::nats::NatsError;
use cim_runtime::retry::Backoff;
use cim_runtime::shutdown;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::args::TierArgs;
use super::descriptors;
use super::exit::Failure;
use crate::config::Config;
use crate::s3::{Store, Tier};
use crate::tier;

/// The time that NATS may take to come up.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn run(config: Config, args: TierArgs) -> Result<(), Failure> {
    if let Some(why) = config.writes_in_the_clear() {
        return Err(Failure::usage(why));
    }
    let shortage = descriptors::shortage(descriptors::raise(), config.archive.layout);
    for warning in config.in_the_clear().into_iter().chain(config.open_secrets()).chain(shortage) {
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
        client = wait_for_nats(&config, &stop) => client?,
        () = stop.cancelled() => return Ok(()),
    };
    Ok(tier::run(config, client, nas, wasabi, args.ready_file.as_deref(), stop).await?)
}

/// Connects to NATS, and gives a server that is just starting a while to come up.
async fn wait_for_nats(
    config: &Config,
    stop: &CancellationToken,
) -> Result<async_nats::Client, NatsError> {
    let (started, mut tries) = (Instant::now(), 0);
    loop {
        let error = match config.nats.connect("cim-storage-manager").await {
            Err(error) if started.elapsed() < STARTUP_TIMEOUT && error.is_transient() => error,
            other => return other,
        };
        tries += 1;
        tracing::info!("waiting for NATS: {}", chain(&error));
        if !Backoff::default().wait(tries, stop).await {
            return Err(error);
        }
    }
}
