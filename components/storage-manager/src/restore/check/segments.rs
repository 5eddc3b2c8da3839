//! Is every segment there? Found out before the server hears of a restore.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::Segment;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::AT_ONCE;
use crate::restore::error::RestoreError;
use crate::restore::plan::Plan;
use crate::restore::source::Source;
use crate::s3::{S3Error, Store};

/// The objects of the folders that were listed, by key, with their sizes: streams share some folders.
type Folders = BTreeMap<String, BTreeMap<String, u64>>;

/// Returns the places of streams that lack a segment, or have one of another size, and which. What the first tier has
/// counts: a file there that is cut short is not replaced by the other's.
pub(super) async fn missing<'a>(
    source: &Source,
    plans: impl Iterator<Item = (usize, &'a Plan)>,
) -> Result<Vec<(usize, RestoreError)>, RestoreError> {
    let segments: Vec<(usize, &Segment)> = plans
        .flat_map(|(index, plan)| plan.pieces.iter().map(move |piece| (index, &piece.0)))
        .collect();
    let first = list(&source.tier, segments.iter().map(|(_, segment)| *segment)).await?;
    let missing: Vec<(usize, &Segment)> = segments
        .into_iter()
        .filter(|(_, segment)| is_there(&first, segment) != Some(true))
        .collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    // The other tier is asked only where it is needed: it may be away, and not to answer takes long.
    let other = match &source.fallback {
        Some(fallback) => {
            let asked = missing.iter().map(|(_, segment)| *segment);
            list(fallback, asked).await.unwrap_or_default()
        }
        None => Folders::default(),
    };
    let mut absent: BTreeMap<usize, RestoreError> = BTreeMap::new();
    for (index, segment) in missing {
        if is_there(&first, segment).is_some() || is_there(&other, segment) != Some(true) {
            let (key, tier) = (segment.key.clone(), source.tier.tier());
            let first_seq = segment.first_seq;
            absent.entry(index).or_insert(RestoreError::Missing { key, first_seq, tier });
        }
    }
    Ok(absent.into_iter().collect())
}

/// Lists the folders in which segments are.
async fn list(store: &Store, segments: impl Iterator<Item = &Segment>) -> Result<Folders, S3Error> {
    let folders: BTreeSet<&str> = segments.map(|segment| folder(&segment.key)).collect();
    let listed = stream::iter(folders).map(async |folder| {
        let objects = store.list(folder, false).await?;
        let sizes = objects.into_iter().map(|object| (object.key, object.size)).collect();
        Ok((folder.to_owned(), sizes))
    });
    listed.buffered(AT_ONCE).try_collect().await
}

/// Returns whether a segment's object is there, in a folder that was listed.
fn is_there(listed: &Folders, segment: &Segment) -> Option<bool> {
    let size = listed.get(folder(&segment.key))?.get(&segment.key)?;
    // The size of an object that is shared is not stated; what it lacks is found when it is read.
    Some(segment.part.is_some() || *size == segment.size)
}

fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |end| &key[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::tests::piece;

    #[test]
    fn a_segment_is_there_with_its_size_and_a_shared_object_with_any() {
        let mut segment = piece(1, 1).0;
        segment.key = "v1/streams/S/a.parquet".into();
        segment.size = 10;
        let listed = |size: u64| {
            let objects = BTreeMap::from([(segment.key.clone(), size)]);
            Folders::from([("v1/streams/S/".to_owned(), objects)])
        };
        assert_eq!(is_there(&listed(10), &segment), Some(true));
        assert_eq!(is_there(&listed(9), &segment), Some(false), "it is cut short");
        assert_eq!(is_there(&Folders::default(), &segment), None);
        let stream = "S".parse().unwrap();
        let part = cim_core::archive::Part { stream, group: 0, groups: 1 };
        let shared = Segment { part: Some(part), ..segment.clone() };
        assert_eq!(is_there(&listed(9), &shared), Some(true));
    }

    #[test]
    fn a_folder_is_all_before_the_last_slash() {
        assert_eq!((folder("a/b/c"), folder("a/"), folder("a")), ("a/b/", "a/", ""));
    }
}
