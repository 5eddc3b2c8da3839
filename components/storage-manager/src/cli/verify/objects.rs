//! Checks segments: that their objects are there, and what is in them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, stream};

use crate::crypt::{self, Locked};
use crate::s3::{ErrorKind, S3Error, Store};
use crate::segment::{Rows, SegmentError};
use crate::tier::context;

/// Objects read at once.
const AT_ONCE: usize = 2;

/// A segment, and the place of its stream in the report.
pub(super) struct Of {
    pub(super) stream: usize,
    pub(super) segment: Segment,
}

/// The fault of a segment.
pub(super) struct Problem {
    pub(super) timeline: u32,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// In words.
    pub(super) what: String,
}

impl Problem {
    pub(super) fn of(segment: &Segment, what: String) -> Self {
        let Segment { timeline, first_seq, last_seq, .. } = *segment;
        Self { timeline, first_seq, last_seq, what }
    }
}

/// Findings.
#[derive(Default)]
pub(super) struct Checked {
    /// By stream, what is wrong.
    pub(super) problems: Vec<(usize, Problem)>,
    /// By stream, what there is no key of: whether it is damaged is not known.
    pub(super) locked: Vec<(usize, String)>,
    /// Segments whose objects are not there.
    pub(super) gone: Vec<Of>,
}

/// Checks segments, each object once; with `listed_only` they are not read.
pub(super) async fn check(
    store: &Store,
    segments: Vec<Of>,
    listed_only: bool,
) -> Result<Checked, S3Error> {
    let mut objects: BTreeMap<String, Vec<Of>> = BTreeMap::new();
    for of in segments {
        objects.entry(of.segment.key.clone()).or_default().push(of);
    }
    let folders: BTreeSet<&str> =
        objects.keys().map(|key| &key[..key.rfind('/').map_or(0, |end| end + 1)]).collect();
    let mut there = BTreeMap::new();
    for folder in folders {
        let listed = store.list(folder, false).await?;
        let wanted = listed.into_iter().filter(|object| objects.contains_key(&object.key));
        there.extend(wanted.map(|object| (object.key, object.size)));
    }
    let (mut checked, mut present) = (Checked::default(), Vec::new());
    for (key, mut segments) in objects {
        let Some(size) = there.get(&key) else {
            checked.gone.append(&mut segments);
            continue;
        };
        segments.retain(|Of { stream, segment }| {
            let same = segment.part.is_some() || segment.size == *size;
            if !same {
                let what = format!("segment `{key}` has {size} bytes, not {}", segment.size);
                checked.problems.push((*stream, Problem::of(segment, what)));
            }
            same
        });
        if !segments.is_empty() && !listed_only {
            present.push((key, segments));
        }
    }
    let objects = present.into_iter().map(|(key, segments)| object(store, key, segments));
    let mut objects = stream::iter(objects).buffered(AT_ONCE);
    while let Some(object) = objects.next().await {
        let Checked { mut problems, mut locked, mut gone } = object?;
        checked.problems.append(&mut problems);
        checked.locked.append(&mut locked);
        checked.gone.append(&mut gone);
    }
    Ok(checked)
}

/// Checks all segments that lie in one object.
async fn object(store: &Store, key: String, segments: Vec<Of>) -> Result<Checked, S3Error> {
    let file = match store.get_as_is(&key).await {
        Ok(file) => file,
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Ok(Checked { gone: segments, ..Checked::default() });
        }
        Err(error) => {
            let error = store.judged(error).await;
            if !error.kind.is_damage() {
                return Err(error);
            }
            let what = chain(&error);
            let problem = |Of { stream, segment }| (stream, Problem::of(&segment, what.clone()));
            let problems = segments.into_iter().map(problem).collect();
            return Ok(Checked { problems, ..Checked::default() });
        }
    };
    if let Err(locked) = crypt::check(&file) {
        return Ok(without_key(&key, segments, file, &locked).await);
    }
    let read = move || {
        let problem = |Of { stream, segment }: Of| {
            let read = Rows::read(&segment, &file, |_| Ok::<_, SegmentError>(()));
            read.err().map(|error| (stream, Problem::of(&segment, chain(&error))))
        };
        segments.into_iter().filter_map(problem).collect()
    };
    let problems = tokio::task::spawn_blocking(read).await.expect("reading does not panic");
    Ok(Checked { problems, ..Checked::default() })
}

/// Checks of an object that there is no key of what can be checked: the hash of a file of its own is over what lies there.
async fn without_key(key: &str, segments: Vec<Of>, file: Bytes, locked: &Locked) -> Checked {
    let mut checked = Checked::default();
    for Of { stream, segment } in segments {
        let hashed = match segment.part {
            None => context::checked(&segment, file.clone()).await.map(drop),
            Some(_) => Ok(()),
        };
        match hashed {
            Ok(()) => checked.locked.push((stream, format!("`{key}`: {locked}"))),
            Err(error) => checked.problems.push((stream, Problem::of(&segment, chain(&error)))),
        }
    }
    checked
}
