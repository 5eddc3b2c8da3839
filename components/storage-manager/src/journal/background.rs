//! What goes on beside a journal that is written.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Journal, checkpoint, gc, heal, leadership, merge, ship};
use crate::tier::Context;

/// The tasks beside a journal; they end when this is dropped.
#[derive(Debug)]
pub struct Background(JoinSet<()>);

impl Background {
    /// Starts them.
    pub fn start(context: &Arc<Context>, journal: &Journal) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(leadership::serve(Arc::clone(context), journal.clone()));
        tasks.spawn(checkpoint::run(Arc::clone(&context.nas), journal.clone(), None));
        tasks.spawn(merge::run(Arc::clone(context), journal.clone()));
        tasks.spawn(gc::run(Arc::clone(context), journal.clone()));
        tasks.spawn(heal::run(Arc::clone(context), journal.clone()));
        tasks.spawn(heal::scrub(Arc::clone(context), journal.clone()));
        if let Some(wasabi) = &context.wasabi {
            tasks.spawn(ship::run(Arc::clone(context), Arc::clone(wasabi), journal.clone()));
            tasks.spawn(ship::backfill(Arc::clone(context), Arc::clone(wasabi), journal.clone()));
        }
        Self(tasks)
    }

    /// Ends them. What was under way is done again by the next ones.
    pub async fn end(mut self) {
        self.0.shutdown().await;
    }
}
