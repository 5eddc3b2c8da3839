//! Histories: the entries that the writer of a journal is made to write.

use cim_core::archive::journal::{DeletesKnown, Served};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

/// The streams that histories are about. The last one is close to the last sequence of all.
pub(super) const STREAMS: [&str; 3] = ["A", "B", "end"];

/// One entry.
#[derive(Debug, Clone)]
pub(super) struct Drawn {
    /// The change to each of [`STREAMS`], if any. For a stream that does not exist yet, it begins.
    pub(super) acts: [Option<Act>; 3],
    /// Whether objects that were replaced before are deleted.
    pub(super) collects: bool,
}

/// The change of one stream in an entry.
#[derive(Debug, Clone)]
pub(super) struct Act {
    pub(super) fork: Option<Parent>,
    pub(super) writes: Vec<Write>,
    /// Empty sequences after the last message.
    pub(super) tail: u64,
    pub(super) replaces: Vec<Replace>,
    /// How many of the oldest segments of the current timeline leave by rule.
    pub(super) expires: Option<usize>,
    /// Messages that are deleted, and such that are lost.
    pub(super) deleted: Option<(Index, u64)>,
    pub(super) lost: Option<(Index, u64)>,
    pub(super) consumers: Option<usize>,
    pub(super) served: Option<Served>,
    pub(super) deletes_known: Option<DeletesKnown>,
    pub(super) deliveries: Option<u64>,
}

/// The point that a new timeline continues from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parent {
    Nothing,
    /// An existing timeline, up to one of its messages.
    Timeline(Index, Index),
}

/// Messages that become one segment.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// Whether it has an object of its own.
    pub(super) own: bool,
    pub(super) gap: u64,
    pub(super) stride: u64,
    pub(super) count: u64,
}

/// Some segments that others replace.
#[derive(Debug, Clone)]
pub(super) struct Replace {
    pub(super) first: Index,
    pub(super) length: usize,
    pub(super) by: By,
    /// Messages in each new segment.
    pub(super) chunk: usize,
}

/// The place that merged messages go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// To segments of their own that are final.
    Sealed,
    /// To segments of their own.
    Own,
    /// To the object that all streams merged in the same entry share.
    Shared,
    /// Into the entry itself.
    Entry,
}

fn write() -> impl Strategy<Value = Write> {
    (any::<bool>(), 0..3u64, 1..3u64, 1..5u64).prop_map(|(own, gap, stride, count)| Write {
        own,
        gap,
        stride,
        count,
    })
}

fn replace() -> impl Strategy<Value = Replace> {
    let by = prop_oneof![
        1 => Just(By::Sealed),
        1 => Just(By::Own),
        3 => Just(By::Shared),
        1 => Just(By::Entry),
    ];
    (any::<Index>(), 1..5usize, by, 1..9usize).prop_map(|(first, length, by, chunk)| Replace {
        first,
        length,
        by,
        chunk,
    })
}

fn served() -> impl Strategy<Value = Served> {
    let account = prop::option::of(Just("$G".to_owned()));
    (prop::sample::select(vec!["a", "b"]), account)
        .prop_map(|(name, account)| Served { name: name.into(), account })
}

fn deletes_known() -> impl Strategy<Value = DeletesKnown> {
    let at = (0..1_000_000_000i64).prop_map(|at| Timestamp::from_second(at).unwrap());
    (any::<u64>(), at).prop_map(|(seq, at)| DeletesKnown { seq, at })
}

fn act() -> impl Strategy<Value = Act> {
    let at = || (any::<Index>(), 1..4u64);
    let parent = prop_oneof![
        1 => Just(Parent::Nothing),
        4 => any::<(Index, Index)>().prop_map(|(timeline, at)| Parent::Timeline(timeline, at)),
    ];
    (
        prop::option::weighted(0.15, parent),
        prop::collection::vec(write(), 0..4),
        prop_oneof![3 => Just(0), 1 => 1..4u64],
        prop::collection::vec(replace(), 0..3),
        prop::option::weighted(0.2, at()),
        prop::option::weighted(0.1, at()),
        prop::option::weighted(0.2, 0..3usize),
        prop::option::weighted(0.2, served()),
        prop::option::weighted(0.3, deletes_known()),
        (prop::option::weighted(0.3, 1..9u64), prop::option::weighted(0.2, 1..4usize)),
    )
        .prop_map(
            |(
                fork,
                writes,
                tail,
                replaces,
                deleted,
                lost,
                consumers,
                served,
                known,
                (delivered, expires),
            )| {
                Act {
                    fork,
                    writes,
                    tail,
                    replaces,
                    expires,
                    deleted,
                    lost,
                    consumers,
                    served,
                    deletes_known: known,
                    deliveries: delivered,
                }
            },
        )
}

/// Draws a history of some entries.
pub(super) fn history() -> impl Strategy<Value = Vec<Drawn>> {
    let act = || prop::option::weighted(0.7, act());
    let entry = (act(), act(), act(), prop::bool::weighted(0.3))
        .prop_map(|(a, b, end, collects)| Drawn { acts: [a, b, end], collects });
    prop::collection::vec(entry, 1..16)
}
