//! The state that the admin endpoint and the handle share.

use std::sync::Arc;

use crate::faults::Plan;
use crate::stats::Counters;
use crate::store::Store;

/// The state that the admin endpoint and the handle share.
pub(crate) struct State {
    pub(crate) store: Arc<Store>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) counters: Arc<Counters>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("dir", &self.store.root()).finish_non_exhaustive()
    }
}
