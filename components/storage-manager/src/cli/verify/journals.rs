//! Checks of journals what no stream needs today: a second way to the same state.

use cim_core::names::JournalName;
use cim_runtime::error::chain;
use serde::Serialize;

use super::super::exit::Failure;
use crate::archive::Archive;
use crate::journal::journal_of;
use crate::journal::{self, Audit, OpenError, Problem};
use crate::s3::Store;

/// The faults of a journal whose streams can be read.
#[derive(Debug, Serialize)]
pub(super) struct Audited {
    pub(super) journal: JournalName,
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// The objects whose key is missing.
    pub(super) locked: Vec<String>,
    /// A checkpoint that is to be deleted.
    #[serde(skip)]
    delete: Option<String>,
}

/// Checks every journal of a tier; with `all` what is of no use any more too.
pub(super) async fn check(store: &Store, all: bool) -> Result<Vec<Audited>, Failure> {
    let of = journal_of(store.tier());
    let mut audited = Vec::new();
    for journal in journal::names(store, of).await? {
        let Audit { problems, warnings, locked } = journal::audit(store, of, &journal, all).await?;
        let delete = problems.iter().find_map(|problem| problem.delete.clone());
        let problems = problems.into_iter().map(|Problem { what, .. }| what).collect();
        audited.push(Audited { journal, problems, warnings, locked, delete });
    }
    Ok(audited)
}

/// Adds what was found only when the journals were opened.
pub(super) fn opened(audited: &mut [Audited], archive: &Archive) {
    for (journal, error) in archive.without() {
        let what = chain(error);
        let found = audited.iter_mut().find(|audited| audited.journal == *journal);
        if let Some(found) = found.filter(|found| !found.problems.contains(&what)) {
            found.problems.push(what);
            if let OpenError::Checkpoint { key, .. } = error {
                found.delete.get_or_insert_with(|| key.clone());
            }
        }
    }
}

/// Returns what is wrong with journals whose streams can be read, in one line, and the way out; `None` where nothing is.
pub(super) fn summary(audited: &[Audited]) -> Option<String> {
    let wrong = audited.iter().filter(|audited| !audited.problems.is_empty());
    let of = |Audited { journal, problems, delete, .. }: &Audited| {
        let more = match problems.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let way_out = match delete {
            Some(key) => format!(
                "delete `{key}`: the checkpoint before it and the entries say the same, and the storage manager writes the next one"
            ),
            None => "let the storage manager run, its next checkpoint makes up for it: until then the newest one is relied on alone".into(),
        };
        format!("journal `{journal}`: {}{more}; {way_out}", problems[0])
    };
    let lines: Vec<String> = wrong.map(of).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
