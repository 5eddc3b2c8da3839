//! Tiering into a journal: waits until no other manager leads, opens it, and begins anew where it was closed.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::key::JournalOf;
use cim_runtime::error::chain;
use cim_runtime::retry::Backoff;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::context::Context;
use super::daemon::{StartError, Tasks, notify};
use crate::journal::{self, AdoptError, Background, Journal};

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
                tracing::warn!("the archive cannot be opened, trying again: {error}{out}");
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
        opened.journal.with(|state| context.former.confirmed(state));
        tracing::warn!("starting again from the archive: {}", opened.journal.closed().await);
        opened.end().await;
        tries = if started.elapsed() > HELD { 1 } else { tries + 1 };
        if !Backoff::default().wait(tries, &stop).await {
            break;
        }
    }
    Ok(())
}

/// A journal, the task that writes it, and those beside.
pub struct Opened {
    journal: Journal,
    writer: JoinHandle<()>,
    background: Background,
}

impl Opened {
    /// Waits until all is committed that was handed over.
    pub async fn end(self) {
        self.background.end().await;
        drop(self.journal);
        self.writer.await.expect("writing the journal does not panic");
    }
}

/// Reads the journal and goes on with it; with Wasabi's, where the NAS has none.
async fn open(context: &Arc<Context>) -> Result<Opened, StartError> {
    let name = &context.config.archive.journal;
    let opened = journal::open(&context.nas, JournalOf::Secondary, name).await?;
    let room = context.config.segment.flush_size.bytes();
    let (nas, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
    let (journal, writer) = Journal::start(nas, opened, writer, room, context.abort.clone());
    if let Some(wasabi) = &context.wasabi
        && journal.with(|state| state.last.is_none())
    {
        let adopted = journal::adopt(context, wasabi, &journal).await;
        // A journal that was closed meanwhile is opened anew, and this is asked again.
        if let Err(error) = adopted
            && !matches!(error, AdoptError::Journal(_))
        {
            return Err(error.into());
        }
        journal.with(|journal| {
            for (stream, state) in &journal.streams {
                context.former.adopted(stream, state);
            }
        });
    }
    let background = Background::start(context, &journal);
    Ok(Opened { journal, writer, background })
}
