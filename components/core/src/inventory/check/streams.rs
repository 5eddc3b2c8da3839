//! Streams and buckets: overlaps, names that the server reserves, and limits that do not fit.

use super::{Problems, pairs};
use crate::inventory::{BucketKind, Inventory, ProblemKind as Kind, Storage};
use crate::names::SubjectFilter;

pub(super) fn check(inventory: &Inventory, found: &mut Problems) {
    let all: Vec<_> = inventory
        .streams
        .iter()
        .flat_map(|(name, stream)| stream.subjects.iter().map(move |subject| (name, subject)))
        .collect();
    for ((a, x), (b, y)) in pairs(&all) {
        found.add_if(x.overlaps(y), Kind::SubjectsOverlap, || {
            format!("`{x}` of stream `{a}` and `{y}` of stream `{b}` overlap, which JetStream refuses: give each message one stream")
        });
    }
    for (name, stream) in &inventory.streams {
        found.add_if(stream.subjects.is_empty(), Kind::Missing, || {
            format!("`streams.{name}.subjects` is empty: give at least one")
        });
        let kinds = [BucketKind::Kv, BucketKind::Object];
        let taken = kinds.into_iter().any(|kind| name.as_str().starts_with(kind.prefix()));
        found.add_if(taken, Kind::Reserved, || {
            format!("`streams.{name}` has the name of a bucket's stream: declare it in `buckets`, or rename it")
        });
    }
    for (name, subject) in &all {
        found.add_if(is_the_servers(subject), Kind::Reserved, || {
            format!("`{subject}` of stream `{name}` is the server's own: use a subject of yours, or declare a bucket")
        });
    }
    for (name, bucket) in &inventory.buckets {
        let misplaced = bucket.kind == BucketKind::Object && bucket.history.get() != 1;
        found.add_if(misplaced, Kind::Misplaced, || {
            format!(
                "`buckets.{name}.history` is for key-value buckets: remove it from an object bucket"
            )
        });
    }
    let streams = inventory.streams.values().map(|s| (s.storage, s.max_bytes));
    let buckets = inventory.buckets.values().map(|b| (b.storage, b.max_bytes));
    let on_disk = streams.chain(buckets).filter(|(storage, _)| *storage == Storage::File);
    // Each is below 2^53, so not even thousands of them overflow.
    let sum: u64 = on_disk.filter_map(|(_, bytes)| Some(bytes?.get())).sum();
    for (name, host) in &inventory.hosts {
        let Some(nats) = &host.nats else { continue };
        let most = nats.max_file_store;
        found.add_if(sum > most.get(), Kind::TooLarge, || {
            format!("the `maxBytes` of all streams and buckets on disk add up to {sum}, above `hosts.{name}.nats.maxFileStore` ({most}): lower one or raise the other")
        });
    }
}

fn is_the_servers(subject: &SubjectFilter) -> bool {
    let mut tokens = subject.tokens();
    let first = tokens.next().unwrap_or_default();
    matches!(first, "$JS" | "$KV" | "$O" | "$SYS") && tokens.next().is_some()
}
