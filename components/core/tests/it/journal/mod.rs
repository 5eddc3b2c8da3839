//! The fold of a journal's entries, compared with a plain model of the writers.

mod checkpoints;
mod draw;
mod erased;
mod expired;
mod forged;
mod model;
mod order;
mod refused;
mod stored;
mod timelines;

use cim_core::archive::Sha256;
use cim_core::archive::journal::{JournalEntry, JournalState};
use cim_core::archive::key::JournalOf;
use cim_core::names::JournalName;

use self::draw::Drawn;
use self::model::Model;

/// Returns the journal of every test.
fn journal() -> JournalName {
    JournalName::new("main").unwrap()
}

fn empty() -> JournalState {
    JournalState::empty(JournalOf::Secondary, journal())
}

/// Returns the entries of a history, with their hashes.
fn entries(history: &[Drawn]) -> Vec<(JournalEntry, Sha256)> {
    let mut model = Model::new(journal());
    history.iter().map(|drawn| model.commit(drawn)).collect()
}

/// Returns the state after some entries.
fn fold(entries: &[(JournalEntry, Sha256)]) -> JournalState {
    let mut state = empty();
    for (entry, hash) in entries {
        state.apply(entry, *hash).unwrap();
    }
    state
}
