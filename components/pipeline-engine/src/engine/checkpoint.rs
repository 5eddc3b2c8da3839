//! Checkpoints: all that a pipeline remembers, so that another process goes on where one ended.

use serde::{Deserialize, Serialize};

use super::aggregate::SavedWindow;
use super::join::SavedKey;

/// The state of a pipeline between two events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The pipeline's name.
    pub(super) pipeline: String,
    /// Events that went in.
    pub(super) input: u64,
    /// Events that nothing read.
    pub(super) unread: u64,
    pub(super) newest: Option<i64>,
    pub(super) watermark: Option<i64>,
    /// The stages that have a state, in the order of the flow.
    pub(super) stages: Vec<SavedStage>,
}

/// The state of a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedStage {
    pub(super) stage: String,
    pub(super) watermark: Option<i64>,
    #[serde(flatten)]
    pub(super) state: SavedState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SavedState {
    Windows(Vec<SavedWindow>),
    Pairs([Vec<SavedKey>; 2]),
}
