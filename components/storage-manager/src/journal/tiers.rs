//! The tier of a journal, and the journal of a tier.

use cim_core::archive::key::JournalOf;

use crate::s3::Tier;

/// Which journal a tier goes by.
pub fn journal_of(tier: Tier) -> JournalOf {
    match tier {
        Tier::Nas => JournalOf::Secondary,
        Tier::Wasabi => JournalOf::Tertiary,
    }
}

/// The tier that a journal is of.
pub fn tier_of(of: JournalOf) -> Tier {
    match of {
        JournalOf::Secondary => Tier::Nas,
        JournalOf::Tertiary => Tier::Wasabi,
    }
}
