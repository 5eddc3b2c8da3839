//! Looks for what is to be erased in every object that a tier's archive uses of the stream, or in which it shares.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cim_core::archive::journal::JournalState;
use cim_core::archive::{Segment, SeqRange};
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, stream};

use super::plan::{Found, Wanted};
use crate::s3::{ErrorKind, S3Error, Store, Tier};
use crate::segment::{self, SegmentError, raw_rows};

/// Shared objects that are read at once. Segments with a file of their own are large, and come one after the other.
const FETCHES: usize = 8;

/// An object that could not be looked through.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Unread {
    /// Its key.
    pub key: String,
    /// Why.
    pub why: String,
    /// True if the object is missing.
    #[serde(skip)]
    pub gone: bool,
}

/// The rows of an object that are to be erased, by timeline; what has a file of its own and is in no use has timeline 0.
type Rows = BTreeMap<u32, BTreeSet<u64>>;

/// The rows found in objects of a tier that were looked through before: none is written twice with other bytes, so none is
/// read twice.
#[derive(Debug, Default)]
pub struct Seen(Mutex<HashMap<(Tier, String), Rows>>);

impl Seen {
    fn get(&self, tier: Tier, key: &str) -> Option<Rows> {
        self.lock().get(&(tier, key.to_owned())).cloned()
    }

    fn put(&self, tier: Tier, key: &str, rows: &Rows) {
        self.lock().insert((tier, key.to_owned()), rows.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Tier, String), Rows>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The findings.
#[derive(Debug, Default)]
pub struct Scanned {
    /// The places of the messages.
    pub found: Found,
    /// Objects that may hold some, and cannot be read.
    pub unread: Vec<Unread>,
}

/// Looks through a tier's journal.
///
/// # Errors
/// When S3 does not answer, or an object is encrypted with a key that is not here.
pub async fn scan(
    store: &Store,
    state: &JournalState,
    wanted: &Arc<Wanted>,
    seen: &Seen,
) -> Result<Scanned, S3Error> {
    let mut scanned = Scanned::default();
    let segments = state.streams.get(&wanted.stream).map(|state| &state.segments);
    let own = segments.into_iter().flatten().filter(|(_, segment)| segment.part.is_none());
    for (_, segment) in own {
        let of = segment.clone();
        let look = move |file: &Bytes, wanted: &Wanted| in_segment(&of, file, wanted);
        match looked(store, &segment.key, wanted, seen, look).await? {
            Ok(rows) => rows.into_iter().for_each(|(timeline, seqs)| scanned.add(timeline, seqs)),
            Err(unread) => scanned.unread.push(unread),
        }
    }
    let keys: Vec<String> = state.shared().map(|(key, _)| key.to_owned()).collect();
    let mut objects = stream::iter(keys)
        .map(|key| async move {
            let found = raw(store, &key, wanted, seen).await?;
            Ok::<_, S3Error>((key, found))
        })
        .buffered(FETCHES);
    while let Some(looked) = objects.next().await {
        let (key, rows) = match looked? {
            (_, Err(unread)) => {
                scanned.unread.push(unread);
                continue;
            }
            (key, Ok(rows)) => (key, rows),
        };
        if rows.is_empty() {
            continue;
        }
        for (timeline, seqs) in rows {
            let counts = |seq: &u64| {
                let range = (timeline, 0)..=(timeline, *seq);
                let part = segments.and_then(|segments| segments.range(range).next_back());
                part.is_some_and(|(_, part)| part.key == key && part.last_seq >= *seq)
            };
            scanned.add(timeline, seqs.into_iter().filter(counts).collect());
        }
        scanned.found.dirty.insert(key);
    }
    Ok(scanned)
}

/// Returns whether an object that nothing uses has rows that are to be erased, or cannot be read, so that it may have; not
/// where it is gone.
///
/// # Errors
/// When S3 does not answer, or it is encrypted with a key that is not here.
pub async fn may_hold(
    store: &Store,
    key: &str,
    wanted: &Arc<Wanted>,
    seen: &Seen,
) -> Result<bool, S3Error> {
    Ok(match raw(store, key, wanted, seen).await? {
        Ok(rows) => !rows.is_empty(),
        Err(unread) => !unread.gone,
    })
}

/// Returns whether bytes of an object have rows that are to be erased, or cannot be read.
pub fn may_have(key: &str, file: &Bytes, wanted: &Wanted) -> bool {
    in_object(key, file, wanted).map_or(true, |rows| !rows.is_empty())
}

/// Finds the rows of an object that are to be erased, by its content.
async fn raw(
    store: &Store,
    key: &str,
    wanted: &Arc<Wanted>,
    seen: &Seen,
) -> Result<Result<Rows, Unread>, S3Error> {
    let of = key.to_owned();
    looked(store, key, wanted, seen, move |file, wanted| in_object(&of, file, wanted)).await
}

/// Reads an object, unless it was before, and looks through it.
async fn looked(
    store: &Store,
    key: &str,
    wanted: &Arc<Wanted>,
    seen: &Seen,
    look: impl FnOnce(&Bytes, &Wanted) -> Result<Rows, SegmentError> + Send + 'static,
) -> Result<Result<Rows, Unread>, S3Error> {
    if let Some(rows) = seen.get(store.tier(), key) {
        return Ok(Ok(rows));
    }
    let unread = |why: String, gone| Unread { key: key.to_owned(), why, gone };
    let file = match store.get(key).await {
        Ok(file) => file,
        Err(error) => {
            let error = store.judged(error).await;
            if !error.kind.is_damage() {
                return Err(error);
            }
            return Ok(Err(unread(chain(&error), error.kind == ErrorKind::NotFound)));
        }
    };
    let wanted = Arc::clone(wanted);
    let read = tokio::task::spawn_blocking(move || look(&file, &wanted));
    let rows = read.await.expect("reading does not panic");
    if let Ok(rows) = &rows {
        seen.put(store.tier(), key, rows);
    }
    Ok(rows.map_err(|error| unread(chain(&error), false)))
}

impl Scanned {
    fn add(&mut self, timeline: u32, seqs: BTreeSet<u64>) {
        if !seqs.is_empty() {
            let hits = self.found.hits.entry(timeline).or_default();
            for seq in seqs {
                hits.insert(SeqRange { first: seq, last: seq });
            }
        }
    }
}

fn in_segment(segment: &Segment, file: &Bytes, wanted: &Wanted) -> Result<Rows, SegmentError> {
    let mut found = BTreeSet::new();
    segment::Rows::read(segment, file, |rows| {
        let messages = rows.messages().filter(|message| wanted.is(message.seq, message.subject));
        found.extend(messages.map(|message| message.seq));
        Ok::<_, SegmentError>(())
    })?;
    Ok((!found.is_empty()).then_some((segment.timeline, found)).into_iter().collect())
}

fn in_object(key: &str, file: &Bytes, wanted: &Wanted) -> Result<Rows, SegmentError> {
    let mut found = Rows::new();
    raw_rows(key, file, |row| {
        let its = row.of.is_none_or(|(stream, _)| stream == wanted.stream.as_str().as_bytes());
        if its && wanted.is(row.seq, row.subject) {
            let timeline = row.of.map_or(0, |(_, timeline)| timeline);
            found.entry(timeline).or_default().insert(row.seq);
        }
    })?;
    Ok(found)
}
