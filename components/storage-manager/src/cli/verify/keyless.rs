//! Checks of an encrypted archive what can be checked without its keys: that objects are what was written, and that of
//! what is counted nothing is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Entry, Sha256};
use cim_core::names::JournalName;
use cim_runtime::output::note;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::super::exit::Failure;
use super::super::not_found::no_archive;
use super::super::{connect, show, show_json};
use crate::config::Config;
use crate::crypt::{self, label_of};
use crate::journal::journal_of;
use crate::journal::{read_checkpoint, read_entry};
use crate::s3::{ErrorKind, Listed, S3Error, Store, Tier};

/// Objects read at once.
const AT_ONCE: usize = 2;

/// The faults that were found.
#[derive(Debug, Default, Serialize)]
struct Report {
    from: Tier,
    /// Objects that are what was written: their name, their own line or the next entry says so.
    intact: usize,
    /// Objects that can be read without a key, and are whole.
    clear: usize,
    /// Entries that are there, and no other object says what they were.
    unproven: Vec<String>,
    problems: Vec<String>,
    /// The parts that were not checked.
    not_checked: Vec<&'static str>,
}

/// The parts that are never checked without keys.
const NOT_CHECKED: [&str; 3] = [
    "what is in encrypted objects: messages, counts, and what entries decide",
    "whether all objects are there that encrypted entries and checkpoints name",
    "whether the journal goes further than its last entry here",
];

/// The state of an object, as far as that can be told.
enum Found {
    /// The bytes that were written.
    Intact,
    /// Whole, and in the clear.
    Clear,
    /// An entry of a journal.
    Entry(Of, u64, Object),
    /// A checkpoint.
    Checkpoint { of: Of, number: u64, clear: bool },
    /// Something is wrong with it.
    Wrong(String),
    /// None of the archive's, or gone meanwhile.
    Other,
}

/// A journal, by its prefix and its name.
type Of = (&'static str, JournalName);

pub(super) async fn run(config: &Config, from: Tier, json: bool) -> Result<(), Failure> {
    let store = connect::store(config, from)?;
    let report = check(&store).await?;
    if report.intact + report.clear + report.unproven.len() + report.problems.len() == 0 {
        return Err(no_archive(config, from).await);
    }
    print(&report, json)?;
    match report.problems.len() {
        0 => Ok(()),
        count => Err(Failure::damaged(format!(
            "{count} objects on {from} are damaged or missing, as far as that can be told without keys"
        ))),
    }
}

async fn check(store: &Arc<Store>) -> Result<Report, S3Error> {
    let mut listed = Vec::new();
    for prefix in ["v1/", "v2/"] {
        listed.extend(store.list(prefix, false).await?);
    }
    let mut report =
        Report { from: store.tier(), not_checked: NOT_CHECKED.into(), ..Report::default() };
    let mut journals: BTreeMap<_, Journal> = BTreeMap::new();
    let looks = listed.into_iter().map(|Listed { key, .. }| look(store, key));
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    while let Some(found) = looks.next().await {
        match found? {
            Found::Intact => report.intact += 1,
            Found::Clear => report.clear += 1,
            Found::Entry(of, number, object) => {
                journals.entry(of).or_default().entries.insert(number, object);
            }
            Found::Checkpoint { of, number, clear } => {
                let count = if clear { &mut report.clear } else { &mut report.intact };
                *count += 1;
                journals.entry(of).or_default().checkpoints.push(number);
            }
            Found::Wrong(what) => report.problems.push(what),
            Found::Other => {}
        }
    }
    // Of the other tier's journal some entries lie here, and not all.
    let own = journal_of(store.tier());
    for ((prefix, name), mut journal) in journals {
        let of = if prefix == own.prefix() { own } else { journal_of(store.tier().other()) };
        let key = |number| ArchiveKey::Journal { of, journal: name.clone(), number }.to_string();
        if of == own {
            let missing = journal.missing().into_iter().map(|(first, last)| match last - first {
                0 => format!("journal entry `{}` is missing", key(first)),
                more => format!("journal entry `{}` is missing, with {more} behind it", key(first)),
            });
            report.problems.extend(missing);
        }
        journal.prove(key, &mut report);
    }
    Ok(report)
}

/// Fetches an object and looks what can be told of it.
async fn look(store: &Store, key: String) -> Result<Found, S3Error> {
    let Ok(parsed) = ArchiveKey::parse(&key) else { return Ok(Found::Other) };
    let object = match store.get_as_is(&key).await {
        Ok(object) => object,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(Found::Other),
        Err(error) => {
            let error = store.judged(error).await;
            return if error.kind.is_damage() {
                Ok(Found::Wrong(error.to_string()))
            } else {
                Err(error)
            };
        }
    };
    let read = tokio::task::spawn_blocking(move || judge(&key, parsed, &object));
    Ok(read.await.expect("reading does not panic"))
}

fn judge(key: &str, parsed: ArchiveKey, object: &Bytes) -> Found {
    let wrong = || Found::Wrong(format!("`{key}` is not what was written"));
    let named = |hash: &str| {
        if Sha256::of(object).to_string().starts_with(hash) { Found::Intact } else { wrong() }
    };
    match parsed {
        ArchiveKey::Segment { hash, .. } | ArchiveKey::Shared { hash, .. } => named(&hash),
        ArchiveKey::Journal { of, journal, number } => {
            let (of, hash) = ((of.prefix(), journal), Sha256::of(object));
            let entry =
                |previous, clear| Found::Entry(of, number, Object { hash, previous, clear });
            match label_of(object) {
                Some(label) => entry(label.previous(), false),
                None if crypt::is_encrypted(object) || read_entry(object).is_err() => wrong(),
                None => entry(None, true),
            }
        }
        ArchiveKey::Checkpoint { of, journal, number } => {
            let checkpoint =
                |clear| Found::Checkpoint { of: (of.prefix(), journal), number, clear };
            match crypt::is_intact(object) {
                Some(true) => checkpoint(false),
                None if read_checkpoint(of, object).is_ok() => checkpoint(true),
                _ => wrong(),
            }
        }
        ArchiveKey::Manifest { .. } | ArchiveKey::Tertiary { .. } => {
            match Entry::from_object(object) {
                Ok(_) => Found::Clear,
                Err(_) => wrong(),
            }
        }
        ArchiveKey::Probe { .. } => Found::Other,
    }
}

/// The objects of a journal.
#[derive(Default)]
struct Journal {
    entries: BTreeMap<u64, Object>,
    /// The numbers of its checkpoints that are whole.
    checkpoints: Vec<u64>,
}

/// An entry's object.
struct Object {
    hash: Sha256,
    previous: Option<Sha256>,
    clear: bool,
}

impl Journal {
    /// Returns the ranges of entries that must exist and do not: those between the last two checkpoints (two ways to
    /// the same state), and those behind.
    fn missing(&mut self) -> Vec<(u64, u64)> {
        self.checkpoints.sort_unstable();
        let before_last = self.checkpoints.len().saturating_sub(2);
        let mut next = self.checkpoints.get(before_last).map_or(0, |number| number + 1);
        let end = self.checkpoints.last().map(|last| last + 1);
        let there = self.entries.range(next..).map(|(number, _)| *number);
        let mut missing = Vec::new();
        for number in there.chain(end.filter(|end| !self.entries.contains_key(end))) {
            if number > next {
                missing.push((next, number - 1));
            }
            next = next.max(number + 1);
        }
        missing
    }

    /// Looks whether each entry is the one that the next one follows.
    fn prove(&self, key: impl Fn(u64) -> String, report: &mut Report) {
        for (number, entry) in &self.entries {
            let next = number.checked_add(1).and_then(|next| self.entries.get(&next)?.previous);
            match next {
                Some(hash) if hash != entry.hash => {
                    report.problems.push(format!("`{}` is not what was written", key(*number)));
                }
                Some(_) => report.intact += 1,
                None if entry.clear => report.clear += 1,
                None => report.unproven.push(key(*number)),
            }
        }
    }
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    if json {
        return show_json(report);
    }
    let Report { from, intact, clear, unproven, problems, not_checked } = report;
    let mut lines = vec![format!(
        "{from}: {intact} objects are what was written, {clear} in the clear are whole, {} entries are there and nothing says what they were",
        unproven.len()
    )];
    lines.extend(problems.iter().cloned());
    show(lines.join("\n"))?;
    for what in not_checked {
        note(format_args!("not checked without keys: {what}"));
    }
    Ok(())
}
