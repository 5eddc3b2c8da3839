//! Objects of a tier that there is no key of.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, stream};

use crate::s3::{ErrorKind, S3Error, Store};

/// Objects that are looked at at once.
const AT_ONCE: usize = 64;
/// Streams that a line names.
const NAMED: usize = 8;

/// The objects of one key that is missing.
struct Found<'a> {
    /// The first object.
    first: S3Error,
    objects: usize,
    streams: BTreeSet<&'a StreamName>,
}

/// Looks at the ends of all objects in which messages lie; returns a line for each key that is not there.
///
/// # Errors
/// When the tier does not answer.
pub(super) async fn look(store: &Store, journals: &[JournalState]) -> Result<Vec<String>, S3Error> {
    let mut objects: BTreeMap<&str, BTreeSet<&StreamName>> = BTreeMap::new();
    for (stream, archive) in journals.iter().flat_map(|journal| &journal.streams) {
        for segment in archive.segments.values() {
            objects.entry(&segment.key).or_default().insert(stream);
        }
    }
    let looks = stream::iter(objects).map(async |(key, of)| (of, store.look(key).await));
    let mut looks = std::pin::pin!(looks.buffered(AT_ONCE));
    let mut found: BTreeMap<String, Found<'_>> = BTreeMap::new();
    while let Some((streams, looked)) = looks.next().await {
        let Err(error) = looked else { continue };
        match &error.kind {
            ErrorKind::Locked(locked) => {
                let key = locked.key.to_string();
                let none = || Found { first: error, objects: 0, streams: BTreeSet::new() };
                let found = found.entry(key).or_insert_with(none);
                found.objects += 1;
                found.streams.extend(streams);
            }
            // What is damaged is for `verify`.
            kind if kind.is_damage() => {}
            _ => return Err(error),
        }
    }
    Ok(found.into_values().map(|found| found.in_words()).collect())
}

impl Found<'_> {
    fn in_words(&self) -> String {
        let named = self.streams.iter().take(NAMED).map(|stream| format!("`{stream}`"));
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match self.streams.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let S3Error { tier, key, kind, .. } = &self.first;
        format!(
            "{tier}: {} objects of the streams {named}{more} cannot be read, the first of them `{key}`: {kind}",
            self.objects
        )
    }
}
