//! The two tiers that are buckets.

use std::fmt;

/// The tier that a bucket is.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The secondary tier.
    #[default]
    Nas,
    /// The tertiary tier.
    Wasabi,
}

impl Tier {
    /// Returns its name in commands, JSON and keys of objects.
    pub fn id(self) -> &'static str {
        match self {
            Self::Nas => "nas",
            Self::Wasabi => "wasabi",
        }
    }

    /// Returns the other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Nas => Self::Wasabi,
            Self::Wasabi => Self::Nas,
        }
    }
}

/// Displayed for people.
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nas => "NAS",
            Self::Wasabi => "Wasabi",
        })
    }
}
