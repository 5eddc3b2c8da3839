//! The fold of a journal's entries: the archive of every stream.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::checkpoint::{JournalCheckpoint, StreamCheckpoint};
use super::entry::{Change, JournalEntry};
use super::fold::{self, Checked, Origin};
use crate::archive::format::JOURNAL_FORMAT;
use crate::archive::key::JournalOf;
use crate::archive::{ArchiveKey, ArchiveState, Segment, Sha256, Superseded};
use crate::names::{JournalName, StreamName};

/// The content of a journal after some entry; empty before the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalState {
    /// The tier that the journal belongs to.
    pub of: JournalOf,
    /// The journal's name.
    pub journal: JournalName,
    /// The last entry: its number, its hash, and the time of its commit.
    pub last: Option<(u64, Sha256, Timestamp)>,
    /// Every stream's archive.
    pub streams: BTreeMap<StreamName, ArchiveState>,
    /// Replaced objects that still exist, except journal objects: those are deleted by number, behind a checkpoint.
    pub superseded: Vec<Superseded>,
    /// The number of segments in each shared object.
    shared: BTreeMap<String, usize>,
}

/// An entry that follows from a state, resolved.
struct Follows<'a> {
    begun: Vec<(&'a StreamName, ArchiveState)>,
    changed: Vec<(&'a StreamName, &'a Change, Checked)>,
}

/// One stream's share of an entry that follows from a state.
enum Followed {
    Begun(Box<ArchiveState>),
    Changed(Checked),
}

/// Entries that contradict each other. Restore from another tier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// An entry is not the one after its predecessor.
    #[error("journal `{journal}` is broken: entry {found} stands where {expected} should be")]
    Number {
        /// The journal.
        journal: JournalName,
        /// The number that should come.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// An entry does not continue its predecessor.
    #[error(
        "journal `{journal}` is broken at entry {number}: it does not continue the one before it"
    )]
    Previous {
        /// The journal.
        journal: JournalName,
        /// The entry.
        number: u64,
    },
    /// An entry, or a checkpoint, is of another journal.
    #[error("entry {number} of journal `{journal}` says that it is of journal `{found}`")]
    Foreign {
        /// The journal.
        journal: JournalName,
        /// The entry.
        number: u64,
        /// The journal that it names.
        found: JournalName,
    },
    /// An entry contradicts what was committed before.
    #[error(
        "entry {number} of journal `{journal}` contradicts the archive of stream `{stream}`: {what}"
    )]
    Inconsistent {
        /// The journal.
        journal: JournalName,
        /// The entry.
        number: u64,
        /// The stream.
        stream: StreamName,
        /// The contradiction.
        what: String,
    },
}

impl JournalState {
    /// Returns a journal without entries.
    pub fn empty(of: JournalOf, journal: JournalName) -> Self {
        let (streams, superseded, shared) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { of, journal, last: None, streams, superseded, shared }
    }

    /// Returns the number of the next entry.
    pub fn next(&self) -> u64 {
        self.last.map_or(0, |(number, ..)| number.saturating_add(1))
    }

    /// Returns the hash of the last entry.
    pub fn hash(&self) -> Option<Sha256> {
        self.last.map(|(_, hash, _)| hash)
    }

    /// Starts from a checkpoint.
    ///
    /// # Errors
    /// It contradicts itself.
    pub fn open(of: JournalOf, checkpoint: &JournalCheckpoint) -> Result<Self, JournalError> {
        let (journal, number) = (checkpoint.journal.clone(), checkpoint.number);
        let mut state = Self::empty(of, journal.clone());
        for (stream, restated) in &checkpoint.streams {
            // A checkpoint's segments name all their objects.
            let opened = restated.open(stream, "").map_err(|what| JournalError::Inconsistent {
                journal: journal.clone(),
                number,
                stream: stream.clone(),
                what,
            })?;
            state.begin(stream, opened);
        }
        // An object in use is not deleted, even if the checkpoint lists it as replaced.
        let free = checkpoint.superseded.iter().filter(|s| !state.uses(&s.key));
        state.superseded = free.cloned().collect();
        state.last = Some((number, checkpoint.hash, checkpoint.committed_at));
        Ok(state)
    }

    /// Returns the state as a checkpoint, or `None` before the first entry.
    pub fn checkpoint(&self) -> Option<JournalCheckpoint> {
        let (number, hash, committed_at) = self.last?;
        let streams = self.streams.iter();
        Some(JournalCheckpoint {
            format: JOURNAL_FORMAT,
            journal: self.journal.clone(),
            number,
            hash,
            committed_at,
            streams: streams
                .map(|(name, state)| (name.clone(), StreamCheckpoint::of(state)))
                .collect(),
            superseded: self.superseded.clone(),
        })
    }

    /// Reports whether a segment of some stream lies in the shared object with this key.
    pub fn shares(&self, key: &str) -> bool {
        self.shared.contains_key(key)
    }

    /// Returns the objects that hold segments of several streams, and how many segments each.
    pub fn shared(&self) -> impl Iterator<Item = (&str, usize)> {
        self.shared.iter().map(|(key, count)| (key.as_str(), *count))
    }

    /// Folds an entry in. After an error the state is as it was before.
    ///
    /// # Errors
    /// The entry is not the next one, does not continue the last one, or contradicts it.
    pub fn apply(&mut self, entry: &JournalEntry, hash: Sha256) -> Result<(), JournalError> {
        let follows = self.follow(entry)?;
        self.take(entry, hash, follows);
        Ok(())
    }

    /// Checks whether an entry can be folded in, and leaves the state as it is.
    ///
    /// # Errors
    /// See [`JournalState::apply`].
    pub fn check(&self, entry: &JournalEntry) -> Result<(), JournalError> {
        self.follow(entry).map(drop)
    }

    fn follow<'a>(&self, entry: &'a JournalEntry) -> Result<Follows<'a>, JournalError> {
        let (journal, number) = (self.journal.clone(), entry.number);
        if entry.journal != journal {
            return Err(JournalError::Foreign { journal, number, found: entry.journal.clone() });
        }
        let expected = self.next();
        if number != expected || number == u64::MAX {
            return Err(JournalError::Number { journal, expected, found: number });
        }
        if entry.previous != self.hash() {
            return Err(JournalError::Previous { journal, number });
        }
        let key = self.next_key();
        let mut begun = Vec::new();
        let mut changed = Vec::new();
        for (stream, change) in &entry.streams {
            match self.follow_one(stream, change, &key)? {
                Followed::Begun(state) => {
                    let committed_at = entry.committed_at;
                    begun.push((stream, ArchiveState { number, committed_at, ..*state }));
                }
                Followed::Changed(checked) => changed.push((stream, change, checked)),
            }
        }
        Ok(Follows { begun, changed })
    }

    /// Checks whether one stream's share of the next entry can be folded in. The other streams' shares do not
    /// matter to it.
    ///
    /// # Errors
    /// It contradicts the stream's archive.
    pub fn check_change(&self, stream: &StreamName, change: &Change) -> Result<(), JournalError> {
        self.follow_one(stream, change, &self.next_key()).map(drop)
    }

    fn follow_one(
        &self,
        stream: &StreamName,
        change: &Change,
        key: &str,
    ) -> Result<Followed, JournalError> {
        let followed = match (&change.begin, self.streams.get(stream)) {
            (Some(_), None) if change.says_more() => {
                Err("it begins the stream and says more of it".into())
            }
            (Some(restated), None) => {
                restated.open(stream, key).map(|state| Followed::Begun(Box::new(state)))
            }
            (Some(_), Some(_)) => Err("it begins a stream that is there".into()),
            (None, None) => Err("it is not there".into()),
            (None, Some(state)) => {
                fold::check(state, change, &Origin { stream, key }).map(Followed::Changed)
            }
        };
        followed.map_err(|what| {
            let (journal, stream) = (self.journal.clone(), stream.clone());
            JournalError::Inconsistent { journal, number: self.next(), stream, what }
        })
    }

    /// Returns the key of the next entry's object.
    fn next_key(&self) -> String {
        let (journal, number) = (self.journal.clone(), self.next());
        ArchiveKey::Journal { of: self.of, journal, number }.to_string()
    }

    fn take(&mut self, entry: &JournalEntry, hash: Sha256, follows: Follows<'_>) {
        let (number, committed_at) = (entry.number, entry.committed_at);
        let Follows { begun, changed } = follows;
        let mut collected: BTreeSet<&str> = entry.collected.iter().map(String::as_str).collect();
        let mut used = BTreeSet::new();
        // Additions are counted before removals: one stream may add an object that another one drops.
        for (stream, state) in begun {
            used.extend(state.segments.values().map(|segment| segment.key.clone()));
            self.begin(stream, state);
        }
        let mut removed = Vec::new();
        for (stream, change, checked) in changed {
            for segment in checked.new_segments() {
                count(&mut self.shared, segment);
                used.insert(segment.key.clone());
            }
            let state = self.streams.get_mut(stream).expect("it was there when it was checked");
            removed.append(&mut fold::take(state, change, checked, number, committed_at));
        }
        self.let_go(removed, committed_at);
        // Of the replaced objects, only those that this entry adds can be in use again. There may be thousands of
        // replaced ones for months, and every entry of the journal passes here.
        collected.extend(used.iter().map(String::as_str));
        if !collected.is_empty() {
            self.superseded.retain(|s| !collected.contains(s.key.as_str()));
        }
        self.last = Some((number, hash, committed_at));
    }

    fn begin(&mut self, stream: &StreamName, state: ArchiveState) {
        state.segments.values().for_each(|segment| count(&mut self.shared, segment));
        self.streams.insert(stream.clone(), state);
    }

    /// Notes the objects that no segment uses any more, after `removed` were taken out.
    fn let_go(&mut self, removed: Vec<Segment>, since: Timestamp) {
        for Segment { key, part, .. } in removed {
            if part.is_some() {
                let left = self.shared.get_mut(&key).expect("it was counted when it came");
                *left -= 1;
                if *left > 0 {
                    continue;
                }
                self.shared.remove(&key);
                let parsed = ArchiveKey::parse(&key);
                if matches!(parsed, Ok(ArchiveKey::Journal { of, .. }) if of == self.of) {
                    continue;
                }
            }
            self.superseded.push(Superseded { key, since });
        }
    }

    /// Reports whether a segment lies in the object with this key, its own or a shared one.
    pub fn uses(&self, key: &str) -> bool {
        if self.shares(key) {
            return true;
        }
        let Ok(ArchiveKey::Segment { stream, timeline, first_seq, .. }) = ArchiveKey::parse(key)
        else {
            return false;
        };
        let there = self.streams.get(&stream).and_then(|s| s.segments.get(&(timeline, first_seq)));
        there.is_some_and(|there| there.key == key)
    }
}

/// Counts a segment that shares its object.
fn count(shared: &mut BTreeMap<String, usize>, segment: &Segment) {
    if segment.part.is_some() {
        *shared.entry(segment.key.clone()).or_default() += 1;
    }
}
