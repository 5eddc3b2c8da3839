//! The classes of a change, as schema registries name them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The meaning of a change for readers and writers of the other version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Both schemas accept the same documents: readers and writers are upgraded in any order.
    Full,
    /// Every old document is valid under the new schema: readers are upgraded first.
    Backward,
    /// Every new document is valid under the old schema: writers are upgraded first.
    Forward,
    /// Neither is proven: it takes a new version. Registries that ask for no check call it `NONE`.
    Breaking,
}

impl Class {
    /// Returns the class of a change by what is proven of it.
    pub fn of(backward: bool, forward: bool) -> Self {
        match (backward, forward) {
            (true, true) => Self::Full,
            (true, false) => Self::Backward,
            (false, true) => Self::Forward,
            (false, false) => Self::Breaking,
        }
    }

    /// Reports whether every old document is valid under the new schema.
    pub fn is_backward(self) -> bool {
        matches!(self, Self::Full | Self::Backward)
    }

    /// Reports whether every new document is valid under the old schema.
    pub fn is_forward(self) -> bool {
        matches!(self, Self::Full | Self::Forward)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Full => "full",
            Self::Backward => "backward",
            Self::Forward => "forward",
            Self::Breaking => "breaking",
        })
    }
}
