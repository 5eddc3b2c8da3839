//! A stream's share of the next entry, which grows until the entry is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::object::{Commit, Item};
use crate::segment::Columns;

/// Bytes of messages that one stream has in an entry at most, about. What comes behind them becomes a segment
/// of its own.
const MOST: usize = 4 << 20;

/// A stream's share of an entry, until that is made.
#[derive(Debug, Clone)]
pub struct Share(Arc<Mutex<Option<Commit>>>);

impl Share {
    /// Begins with what there is to say now.
    pub fn new(commit: Commit) -> Self {
        Self(Arc::new(Mutex::new(Some(commit))))
    }

    /// Returns the bytes of its messages.
    pub(super) fn bytes(&self) -> usize {
        self.lock().as_ref().map_or(0, Commit::bytes)
    }

    /// Takes all of it into an entry; `None` when that was done already.
    pub(super) fn take(&self) -> Option<Commit> {
        self.lock().take()
    }

    /// Lets `add` put messages behind those that it has, unless its entry is being made or it has enough.
    /// Returns how many bytes of messages were added.
    pub fn grow(&self, add: impl FnOnce(&mut Commit)) -> Option<usize> {
        let mut share = self.lock();
        let commit = share.as_mut()?;
        let before = commit.bytes();
        if before >= MOST {
            return None;
        }
        add(commit);
        Some(commit.bytes() - before)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Commit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Commit {
    /// Returns the bytes of messages that are to go into the entry's object.
    fn bytes(&self) -> usize {
        self.items.iter().map(bytes).sum()
    }

    /// Puts an item behind the others; messages behind messages are one item.
    pub fn push(&mut self, item: Item) {
        match (self.items.last_mut(), item) {
            (Some(Item::Rows(before)), Item::Rows(rows)) => append(before, &rows),
            (_, item) => self.items.push(item),
        }
    }
}

fn append(before: &mut Columns, rows: &Columns) {
    (0..rows.len()).for_each(|index| before.push(rows.message(index)));
}

fn bytes(item: &Item) -> usize {
    match item {
        Item::Segment(_) => 0,
        Item::Rows(columns) => columns.bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Message;

    fn rows(seq: u64, size: usize) -> Item {
        let mut columns = Columns::default();
        let payload = vec![0; size];
        columns.push(Message { seq, time: 1, subject: b"s", headers: b"", payload: &payload });
        Item::Rows(columns)
    }

    #[test]
    fn a_share_grows_until_it_is_taken_or_has_enough() {
        let share = Share::new(Commit { items: vec![rows(1, 10)], ..Commit::default() });
        let grown = share.grow(|commit| commit.push(rows(2, MOST)));
        assert_eq!(grown, Some(share.bytes() - bytes(&rows(1, 10))));
        assert_eq!(share.grow(|_| panic!("it has enough")), None);
        let taken = share.take().unwrap();
        assert!(matches!(&taken.items[..], [Item::Rows(rows)] if rows.len() == 2));
        assert_eq!(share.grow(|_| panic!("it is in an entry")), None);
        assert!(share.take().is_none());
    }
}
