//! Reads what lies on the NAS once in a while. Nothing else does: what was merged to its final size, and is at Wasabi, is
//! read again by a restore alone, when the live stream that could heal it is gone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::JournalState;

use super::part::{parts_of, take};
use super::text::check_text;
use crate::journal::Journal;
use crate::tier::Context;
use crate::tier::context::checked;
use crate::{clock, crypt};

/// The shortest time between two objects.
const LEAST: Duration = Duration::from_millis(100);

/// Reads one object after the other until the journal is closed, all of them in the time that the configuration says,
/// and reports those that are damaged.
pub async fn run(context: Arc<Context>, journal: Journal) {
    let (closing, every) = (journal.closing().clone(), context.config.heal.every);
    if every.is_zero() {
        return;
    }
    // Who is started again and again is not to look at the same ones again and again.
    let start = clock::now().subsec_nanosecond().unsigned_abs() as usize;
    let mut last = journal.with(|state| {
        let keys = keys(state);
        keys.iter().nth(start % keys.len().max(1)).map(|key| (*key).to_owned()).unwrap_or_default()
    });
    loop {
        let (key, count) = journal.with(|state| next(&keys(state), &last));
        let pause = every / u32::try_from(count).unwrap_or(u32::MAX).max(1);
        if closing.run_until_cancelled(tokio::time::sleep(pause.max(LEAST))).await.is_none() {
            return;
        }
        let Some(key) = key else { continue };
        if !context.damaged.has(&key) {
            let looked = closing.run_until_cancelled(is_damaged(&context, &journal, &key));
            match looked.await {
                None => return,
                Some(true) => context.damaged.report(&key),
                Some(false) => {}
            }
        }
        last = key;
    }
}

/// Returns the keys of all objects with messages.
fn keys(state: &JournalState) -> BTreeSet<&str> {
    let segments = state.streams.values().flat_map(|archive| archive.segments.values());
    segments.map(|segment| segment.key.as_str()).collect()
}

/// Returns the object after `last`, and the number of objects; behind the last comes the first.
fn next(keys: &BTreeSet<&str>, last: &str) -> (Option<String>, usize) {
    let behind = keys.iter().find(|key| **key > last);
    (behind.or_else(|| keys.first()).map(|key| (*key).to_owned()), keys.len())
}

/// Reads an object. A NAS that does not answer says nothing.
async fn is_damaged(context: &Arc<Context>, journal: &Journal, key: &str) -> bool {
    let mut patients = parts_of(journal, key);
    let Some(first) = patients.first() else { return false };
    let bytes: u64 = patients.iter().map(|patient| patient.segment.bytes).sum();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(bytes, None).await;
    let alone = first.segment.part.is_none();
    let got = if alone { context.nas.get_as_is(key).await } else { context.nas.get(key).await };
    let object = match got {
        Err(error) => {
            context.locked.note(&error);
            return context.nas.judged(error).await.kind.is_damage();
        }
        Ok(object) => object,
    };
    if alone {
        // The hash is over what lies there, whether there is a key of it or not.
        if let Err(locked) = crypt::check(&object) {
            context.locked.note_object(context.nas.tier(), key, &locked);
        }
        return checked(&first.segment, object).await.is_err();
    }
    check_text(context, journal, key, &object);
    take(&mut patients, key, object).await.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_come_one_after_the_other_and_begin_again() {
        let keys = BTreeSet::from(["a", "c", "d"]);
        let mut last = "b".to_owned();
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (key, count) = next(&keys, &last);
            assert_eq!(count, 3);
            last = key.unwrap();
            seen.push(last.clone());
        }
        assert_eq!(seen, ["c", "d", "a", "c"]);
        assert_eq!(next(&BTreeSet::new(), "a"), (None, 0));
    }
}
