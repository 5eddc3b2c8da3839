//! Checks before tiering begins: names of the streams, rights, and what the tiers honour.

use std::time::Duration;

use cim_runtime::error::chain;
use cim_runtime::retry::Backoff;
use tokio_util::sync::CancellationToken;

use super::start_error::StartError;
use crate::check::{self, Found, Tried};
use crate::config::{Config, StreamMatcher};
use crate::jetstream::{ApiError, JetStream};
use crate::s3::{S3Error, Store};

/// The time that a service may take to come up.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Races for one key at start; `check` takes its time.
const RACES: usize = 2;
/// The time that a cluster may take to elect who leads it; nine seconds at most, and again when votes are split.
const ELECTION: Duration = Duration::from_secs(20);

/// Lists the streams, and gives a cluster time to elect: until it has, it answers no request.
pub(super) async fn wait_for_jetstream(
    jetstream: &JetStream,
    stop: &CancellationToken,
) -> Result<Vec<String>, ApiError> {
    let started = tokio::time::Instant::now();
    loop {
        let listed = tokio::select! {
            listed = jetstream.stream_names() => listed,
            () = stop.cancelled() => return Ok(Vec::new()),
        };
        match listed {
            Err(error @ ApiError::NoResponse { .. }) if started.elapsed() < ELECTION => {
                tracing::info!("waiting for JetStream: {}", chain(&error));
            }
            other => return other,
        }
    }
}

/// Looks whether all that tiering needs is there, and returns the streams' names.
pub(super) async fn check_requirements(
    config: &Config,
    matcher: &StreamMatcher,
    jetstream: &JetStream,
    nas: &Store,
    stop: &CancellationToken,
) -> Result<Vec<String>, StartError> {
    let names = async || Ok(wait_for_jetstream(jetstream, stop).await?);
    let (names, nats) = check::missing_rights::<StartError>(config, matcher, names).await?;
    let found = Found { nats, tiers: vec![wait_for_store(nas, stop).await?] };
    found.fit()?;
    for note in found.notes() {
        tracing::warn!("{note}");
    }
    Ok(names)
}

/// Tries a service out, and gives one that is just starting a while to come up.
pub(super) async fn wait_for_store(
    store: &Store,
    stop: &CancellationToken,
) -> Result<Tried, S3Error> {
    let started = tokio::time::Instant::now();
    let mut tries = 0;
    loop {
        let error = match Tried::by(store, RACES).await {
            Err(error) if started.elapsed() < STARTUP_TIMEOUT && error.kind.is_transient() => error,
            other => return other,
        };
        tries += 1;
        tracing::info!("waiting for {}: {}", store.tier(), chain(&error));
        if !Backoff::default().wait(tries, stop).await {
            return Err(error);
        }
    }
}

/// Finds out what Wasabi does, which nothing depends on.
pub(super) async fn probe_wasabi(nas: &Store, wasabi: &Store) {
    let found = match Tried::by(wasabi, 1).await {
        Ok(tried) => Found { nats: Vec::new(), tiers: vec![tried] },
        Err(error) if error.kind.is_transient() => {
            tracing::warn!(
                "Wasabi does not answer, so nothing is copied there yet; it is tried again: {}",
                chain(&error)
            );
            return;
        }
        Err(error) => {
            tracing::error!(
                "Wasabi refuses, so nothing is copied there until that is corrected: {}",
                chain(&error)
            );
            return;
        }
    };
    if let Err(unfit) = found.fit() {
        tracing::error!(
            "Wasabi does not fit, so nothing is copied there until that is corrected: {unfit}"
        );
    }
    for note in found.notes() {
        tracing::info!("{note}");
    }
    if check::is_same_bucket(nas, wasabi).await.is_ok_and(|same| same) {
        tracing::error!("{}", check::one_bucket(nas));
    }
}
