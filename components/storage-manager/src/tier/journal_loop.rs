//! Tiering into a journal: waits until no other manager leads, opens it, and begins anew where it was closed.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::key::JournalOf;
use cim_runtime::error::chain;
use cim_runtime::retry::Backoff;
use tokio::time::Instant;

use super::open_journal::open;
use super::start_error::StartError;
use super::systemd::notify;
use super::tasks::Tasks;
use crate::journal;

/// A journal that is open for this long and is closed then did not fail again and again.
const HELD: Duration = Duration::from_secs(30);

/// Tiers until everything is to end. `ready` tells that this process does what it can, be it that it stands by.
pub async fn run(
    mut tasks: Tasks,
    ready: impl FnOnce() -> Result<(), StartError>,
) -> Result<(), StartError> {
    let context = Arc::clone(&tasks.context);
    let (stop, name) = (context.stop.clone(), context.config.archive.journal.clone());
    // What cannot be opened at all is said at once, not after the other manager is lost.
    journal::open(&context.nas, JournalOf::Secondary, &name).await?;
    ready()?;
    tracing::info!(node = %context.config.node.name, "tiering into journal `{name}`");
    let mut tries = 0;
    let client = context.jetstream.client();
    while journal::stand_by(client, &name, &context.writer, &stop).await {
        let started = Instant::now();
        let opened = match open(&context).await {
            Ok(opened) => opened,
            Err(error) => {
                tries += 1;
                let out = error.way_out().map(|out| format!("; {out}")).unwrap_or_default();
                let error = chain(&error);
                tracing::warn!("cannot open the archive, trying again: {error}{out}");
                if Backoff::default().wait(tries, &stop).await {
                    continue;
                }
                break;
            }
        };
        let closing = opened.journal.closing().clone();
        tasks.journal = Some(opened.journal.clone());
        closing.run_until_cancelled(tasks.discover(&stop)).await;
        if stop.is_cancelled() {
            notify(&[sd_notify::NotifyState::Stopping]);
            tasks.finish(Some(opened)).await;
            return Ok(());
        }
        tasks.abort().await;
        opened.journal.with(|state| context.previous_nas.confirmed(state));
        tracing::warn!("starting again from the archive: {}", opened.journal.closed().await);
        opened.end().await;
        tries = if started.elapsed() > HELD { 1 } else { tries + 1 };
        if !Backoff::default().wait(tries, &stop).await {
            break;
        }
    }
    Ok(())
}
