//! The parts of a damaged object.

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_core::names::StreamName;
use cim_runtime::error::chain;

use super::source::of_object;
use crate::journal::Journal;
use crate::s3::{ErrorKind, S3Error};
use crate::segment::Columns;
use crate::tier::Context;

/// Looks that an object is given that the NAS does not give though it answers; each takes half a minute.
const LOOKS: u32 = 4;
/// Streams that a line names.
const NAMED: usize = 8;

/// A part of a damaged object, and its messages where they are known.
pub(super) struct DamagedPart {
    pub(super) stream: StreamName,
    pub(super) segment: Segment,
    pub(super) columns: Option<Columns>,
}

/// Returns whether an error says that an object is damaged. What the NAS does not give, though it answers, may come a
/// little later.
pub(super) fn is_damage(context: &Context, key: &str, error: &S3Error) -> bool {
    let patient = || context.damaged.tries(key) >= LOOKS;
    error.kind == ErrorKind::NotFound || (error.kind.is_damage() && patient())
}

/// Returns the segments that the journal has in an object, in the order in which they stand there.
pub(super) fn parts_of(journal: &Journal, key: &str) -> Vec<DamagedPart> {
    journal.with(|state| {
        let all = state.streams.iter().flat_map(|(stream, archive)| {
            let here = archive.segments.values().filter(|segment| segment.key == key);
            here.map(|segment| (stream.clone(), segment.clone()))
        });
        all.map(|(stream, segment)| DamagedPart { stream, segment, columns: None }).collect()
    })
}

/// Takes what is whole of an object. Returns what is wrong with the first that is not.
pub(super) async fn take(patients: &mut [DamagedPart], key: &str, object: Bytes) -> Option<String> {
    let segments = patients.iter().map(|patient| patient.segment.clone()).collect();
    let mut why = None;
    for (patient, read) in patients.iter_mut().zip(of_object(key, object, segments).await) {
        match read {
            Ok(columns) => patient.columns = Some(columns),
            Err(error) => why = why.or_else(|| Some(chain(&error))),
        }
    }
    why
}

/// Names streams and their sequences.
pub(super) fn whose<'a>(parts: impl Iterator<Item = (&'a StreamName, &'a Segment)>) -> String {
    let parts: Vec<String> = parts
        .map(|(stream, segment)| {
            format!("stream `{stream}`, sequences {} to {}", segment.first_seq, segment.last_seq)
        })
        .collect();
    let named = parts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match parts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

/// A part of an object that stays damaged.
pub(super) type Place = (StreamName, Segment);
