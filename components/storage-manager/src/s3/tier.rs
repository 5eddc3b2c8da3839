//! The two tiers that are buckets.

use std::fmt;

/// The tier that a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The secondary tier.
    Nas,
    /// The tertiary tier.
    Wasabi,
}

impl Tier {
    /// Returns the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Nas => Self::Wasabi,
            Self::Wasabi => Self::Nas,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nas => "nas",
            Self::Wasabi => "wasabi",
        })
    }
}
