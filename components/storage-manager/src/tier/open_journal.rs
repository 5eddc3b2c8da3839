//! An open journal with the tasks that work on it.

use std::sync::Arc;

use cim_core::archive::key::JournalOf;
use tokio::task::JoinHandle;

use super::context::Context;
use super::start_error::StartError;
use crate::journal::{self, Background, BootstrapError, Journal};

/// A journal, the task that writes it, and those beside.
pub struct Opened {
    pub(super) journal: Journal,
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
pub(super) async fn open(context: &Arc<Context>) -> Result<Opened, StartError> {
    let name = &context.config.archive.journal;
    let opened = journal::open(&context.nas, JournalOf::Secondary, name).await?;
    let room = context.config.segment.flush_size.bytes();
    let (nas, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
    let (journal, writer) = Journal::start(nas, opened, writer, room, context.abort.clone());
    if let Some(wasabi) = &context.wasabi
        && journal.with(|state| state.last.is_none())
    {
        let adopted = journal::bootstrap(context, wasabi, &journal).await;
        // A journal that was closed meanwhile is opened anew, and this is asked again.
        if let Err(error) = adopted
            && !matches!(error, BootstrapError::Journal(_))
        {
            return Err(error.into());
        }
        journal.with(|journal| {
            for (stream, state) in &journal.streams {
                context.previous_nas.bootstrapped(stream, state);
            }
        });
    }
    let background = Background::start(context, &journal);
    Ok(Opened { journal, writer, background })
}
