//! What notes say of erased messages, and whether they are what was signed.

use std::fmt::{self, Display};

use cim_core::archive::ArchiveState;
use cim_runtime::error::chain;
use jiff::Timestamp;
use serde::Serialize;

use crate::erase;

/// A note whose signature is right.
#[derive(Debug, Serialize)]
pub(super) struct Erased {
    id: String,
    tier: String,
    messages: u64,
    at: Timestamp,
    by: String,
    reason: String,
    signed_by: String,
}

impl Display for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tier, messages, at, by, reason, signed_by, .. } = self;
        let at = at.strftime("%F %T UTC");
        let tier = match tier.as_str() {
            "nas" => "NAS",
            "wasabi" => "Wasabi",
            other => other,
        };
        write!(
            f,
            "{messages} messages were erased from {tier} at {at} by `{by}`, signed by `{signed_by}`: {reason}"
        )
    }
}

/// Reads a stream's notes, and what is wrong with them.
pub(super) fn erased(state: &ArchiveState, keys: &[String]) -> (Vec<Erased>, Vec<String>) {
    let (mut notes, mut wrong) = (Vec::new(), Vec::new());
    for erasure in &state.erased {
        match erase::check(erasure, keys) {
            Ok(note) => notes.push(Erased {
                id: note.id,
                tier: note.tier,
                messages: note.messages,
                at: note.at,
                by: note.by,
                reason: note.reason,
                signed_by: erasure.key.clone(),
            }),
            Err(error) => wrong.push(chain(&error)),
        }
    }
    (notes, wrong)
}
