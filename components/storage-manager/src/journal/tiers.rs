//! The tier of a journal, and the journal of a tier.

use cim_core::archive::key::JournalOf;

use crate::s3::Tier;

/// Returns the journal that a tier has.
pub fn journal_of(tier: Tier) -> JournalOf {
    match tier {
        Tier::Nas => JournalOf::Secondary,
        Tier::Wasabi => JournalOf::Tertiary,
    }
}

/// Returns the tier that has a journal.
pub fn tier_of(of: JournalOf) -> Tier {
    match of {
        JournalOf::Secondary => Tier::Nas,
        JournalOf::Tertiary => Tier::Wasabi,
    }
}
