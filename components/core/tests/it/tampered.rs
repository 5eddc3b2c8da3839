//! Manifest entries, chains and inventories that were tampered with: refused, or the same in meaning.
//! Never a panic, and never an endless loop.

use std::path::Path;

use cim_core::archive::{ArchiveState, Entry, SeqRanges, Sha256};
use cim_core::inventory::Inventory;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use cim_testing::{cases, corrupted, corruptions};

fn fixtures(folder: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(folder);
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    let files = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "json"));
    files.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
}

fn entries() -> Vec<Entry> {
    let examples = fixtures("schemas/archive-entry/examples/v3").into_iter();
    examples.map(|example| serde_json::from_value(example).unwrap()).collect()
}

/// A change of a document's values.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Number(u64),
    Text(String),
    Null,
    Remove,
    Twice,
    Reverse,
}

pub(crate) fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let edge = prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::from(u32::MAX)), 0..400u64];
    let change = prop_oneof![
        6 => edge.prop_map(Change::Number),
        1 => "[ -~]{0,20}|2026-01-01T00:00:00Z|9999-12-31T23:59:59Z".prop_map(Change::Text),
        1 => Just(Change::Null),
        1 => Just(Change::Remove),
        2 => Just(Change::Twice),
        1 => Just(Change::Reverse),
    ];
    prop::collection::vec((any::<Index>(), change), 1..6)
}

/// Collects every place in a document, as a pointer to it.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, v)| places(v, &format!("{at}/{n}"), found));
        }
        Value::Object(members) => members.iter().for_each(|(name, v)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            places(v, &format!("{at}/{name}"), found);
        }),
        _ => {}
    }
}

pub(crate) fn changed(document: &Value, changes: &[(Index, Change)]) -> Value {
    let mut document = document.clone();
    for (at, change) in changes {
        let mut found = Vec::new();
        places(&document, "", &mut found);
        // Arithmetic happens to numbers alone.
        if matches!(change, Change::Number(_)) {
            found.retain(|at| document.pointer(at).is_some_and(Value::is_number));
        }
        if found.is_empty() {
            continue;
        }
        let at = at.get(&found).as_str();
        let place = document.pointer_mut(at).unwrap();
        match (change, place) {
            (Change::Number(number), place) => *place = (*number).into(),
            (Change::Text(text), place) => *place = text.as_str().into(),
            (Change::Null, place) => *place = Value::Null,
            (Change::Remove, Value::Array(items)) => drop(items.pop()),
            (Change::Remove, Value::Object(members)) => {
                let name = members.keys().next().cloned();
                name.and_then(|name| members.remove(&name));
            }
            (Change::Twice, Value::Array(items)) => items.extend(items.clone()),
            (Change::Reverse, Value::Array(items)) => items.reverse(),
            _ => {}
        }
    }
    document
}

/// Asks a state every question that a restore, a scrub and the daemon ask.
pub(crate) fn ask(state: &ArchiveState) {
    for timeline in state.timelines.keys().copied().chain([0, u32::MAX]) {
        let lineage = state.lineage(timeline);
        assert!(lineage.len() <= state.timelines.len(), "no timeline is its own ancestor");
        for until in [0, 1, u64::MAX] {
            let pieces = state.pieces(timeline, 0, until);
            assert!(pieces.iter().all(|piece| piece.first_seq <= piece.last_seq));
            let apart = pieces.windows(2).all(|pair| pair[0].last_seq < pair[1].first_seq);
            assert!(apart, "no message is given out twice: {pieces:?}");
        }
        let gone = state.removed(timeline);
        let everything =
            SeqRanges::from_iter([cim_core::archive::SeqRange { first: 0, last: u64::MAX }]);
        assert!(everything.difference(&gone).difference(&everything).is_empty());
        assert!(gone.difference(&everything).is_empty());
        gone.count();
        state.stream_of(timeline);
    }
    state.checkpoint();
    state.checkpoint_due();
    state.watermark();
}

/// Returns the objects of a chain that grows by a segment with each entry.
fn chain(length: u64) -> Vec<Vec<u8>> {
    let entries = entries();
    let is_first = |entry: &&Entry| entry.number == 0 && entry.checkpoint.is_some();
    let first = entries.iter().find(is_first).unwrap().clone();
    let segment = entries.iter().find_map(|entry| entry.add.first()).unwrap().clone();
    let (object, hash) = first.to_object();
    let mut objects = vec![object];
    let mut state = ArchiveState::open(&first, hash).unwrap();
    for number in 1..=length {
        let mut segment = segment.clone();
        let last = state.watermark().seq;
        (segment.first_seq, segment.last_seq) = (last + 1, last + 10);
        segment.timeline = state.timeline();
        let mut entry = Entry { number, previous: Some(state.hash), ..first.clone() };
        entry.watermark.seq = segment.last_seq;
        (entry.checkpoint, entry.fork, entry.timeline) = (None, None, state.timeline());
        entry.add = vec![segment];
        let (object, hash) = entry.to_object();
        state.apply(&entry, hash).unwrap();
        objects.push(object);
    }
    objects
}

/// Reads a chain as every reader does.
fn fold(objects: &[Vec<u8>]) -> Option<ArchiveState> {
    let mut state: Option<ArchiveState> = None;
    for object in objects {
        let (entry, hash) = Entry::from_object(object).ok()?;
        match &mut state {
            Some(state) => state.apply(&entry, hash).ok()?,
            None => state = Some(ArchiveState::open(&entry, hash).ok()?),
        }
    }
    state
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn a_changed_entry_is_refused_or_the_same(at in any::<Index>(), corruptions in corruptions()) {
        let entries = entries();
        let entry = at.get(&entries);
        let (object, hash) = entry.to_object();
        if let Ok((read, its_hash)) = Entry::from_object(&corrupted(&object, &corruptions)) {
            prop_assert_eq!(&read, entry);
            prop_assert_eq!(its_hash, hash);
        }
    }

    /// Checks forged entries: a forger can forge the hash as well.
    #[test]
    fn a_forged_entry_is_refused_or_makes_a_state_that_answers(
        at in any::<Index>(), changes in changes(), then in any::<Index>(), later in changes(),
    ) {
        let entries = entries();
        let forge = |entry: &Entry, changes: &[(Index, Change)]| {
            let value = changed(&serde_json::to_value(entry).unwrap(), changes).to_string();
            let hash = Sha256::of(value.as_bytes());
            Entry::from_object(format!("{{\"sha256\":\"{hash}\",\"entry\":{value}}}").as_bytes())
        };
        let Ok((entry, hash)) = forge(at.get(&entries), &changes) else { return Ok(()) };
        let Ok(mut state) = ArchiveState::open(&entry, hash) else { return Ok(()) };
        ask(&state);
        let mut next = then.get(&entries).clone();
        (next.number, next.previous) = (state.number.wrapping_add(1), Some(hash));
        next.timeline = state.timeline();
        let Ok((next, hash)) = forge(&next, &later) else { return Ok(()) };
        if state.apply(&next, hash).is_ok() {
            ask(&state);
        }
    }

    /// Checks that every change is found, except a chain that lacks its newest entries: that is an older
    /// archive, which only a watermark from elsewhere tells.
    #[test]
    fn a_changed_chain_is_refused_or_cut_at_its_end(
        at in any::<Index>(), to in any::<Index>(), how in 0..5, corruptions in corruptions(),
    ) {
        let whole = chain(8);
        let mut objects = whole.clone();
        let (at, to) = (at.index(objects.len()), to.index(objects.len()));
        match how {
            0 => drop(objects.remove(at)),
            1 => objects.insert(to, whole[at].clone()),
            2 => objects.swap(at, to),
            3 => objects.truncate(at),
            _ => objects[at] = corrupted(&whole[at], &corruptions),
        }
        if let Some(state) = fold(&objects) {
            let same = usize::try_from(state.number).unwrap() + 1;
            prop_assert_eq!(objects.len(), same);
            prop_assert_eq!(state, fold(&whole[..same]).unwrap());
        }
    }

    #[test]
    fn a_changed_inventory_is_refused_or_told_what_is_wrong(
        at in any::<Index>(), changes in changes(), corruptions in corruptions(),
    ) {
        let inventories = fixtures("inventory");
        let inventory = at.get(&inventories);
        let values = changed(inventory, &changes).to_string();
        let bytes = corrupted(inventory.to_string().as_bytes(), &corruptions);
        for text in [values.as_bytes(), &bytes] {
            let Ok(read) = serde_json::from_slice::<Inventory>(text) else { continue };
            prop_assert!(read.problems().iter().all(|p| !p.message.contains('\n')));
            let again = serde_json::from_value::<Inventory>(serde_json::to_value(&read)?)?;
            prop_assert_eq!(again, read);
        }
    }
}
