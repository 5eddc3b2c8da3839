//! The age of an archive's view of deletes: messages are archived before later deletes of them are known.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The last look at the live stream for its deletes. Since format 6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeletesKnown {
    /// The last message whose removals (roll-ups, schedules that fired) are all among `deleted`.
    pub seq: u64,
    /// So is what was deleted or purged before this time, by the writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}
