//! How many files of a restore may be in memory, or on their way there.

/// Bytes of files that are fetched, or were and are not sent yet.
const BYTES: u64 = 32 << 20;
/// The same where that is two files: one is fetched while another is sent, large ones too. As a rule the
/// largest have 32 MiB and a little.
const BYTES_OF_TWO: u64 = 2 * (36 << 20);
/// The least that a file counts as: one of a hundred bytes takes more than those, and so does its request.
const LEAST: u64 = 16 << 10;

/// Requests that are under way at once. With 100 ms to an answer that makes 640 files a second.
pub(super) const REQUESTS: usize = 64;

/// The files that are held.
#[derive(Debug, Default)]
pub(super) struct Held {
    files: usize,
    bytes: u64,
}

impl Held {
    /// Takes a file in, if there is room: there always is for one.
    pub(super) fn take_in(&mut self, size: u64) -> bool {
        let bytes = self.bytes.saturating_add(size.max(LEAST));
        let most = match self.files {
            0 => u64::MAX,
            1 => BYTES_OF_TWO,
            _ => BYTES,
        };
        if bytes > most {
            return false;
        }
        self.bytes = bytes;
        self.files += 1;
        true
    }

    /// Lets a file of this size go, which was taken in.
    pub(super) fn let_go(&mut self, size: u64) {
        self.bytes -= size.max(LEAST);
        self.files -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn size() -> impl Strategy<Value = u64> {
        prop_oneof![0..LEAST, 0..4 * BYTES, (1..5_u64).prop_map(|n| n * BYTES / 2)]
    }

    proptest! {
        /// Whatever the order in which files come and go: the bytes are bounded, and a restore goes on.
        #[test]
        fn files_are_held_within_bounds(files in prop::collection::vec((size(), 0..4_usize), 1..200)) {
            let (mut held, mut sizes) = (Held::default(), VecDeque::new());
            for (size, gone) in files {
                let before: u64 = sizes.iter().copied().map(|size: u64| size.max(LEAST)).sum();
                let after = before + size.max(LEAST);
                if held.take_in(size) {
                    sizes.push_back(size);
                    prop_assert!(sizes.len() == 1 || after <= BYTES_OF_TWO);
                    prop_assert!(sizes.len() < 3 || after <= BYTES);
                } else {
                    prop_assert!(after > BYTES && !sizes.is_empty());
                }
                for size in sizes.drain(..gone.min(sizes.len())) {
                    held.let_go(size);
                }
            }
            sizes.drain(..).for_each(|size| held.let_go(size));
            prop_assert_eq!((held.files, held.bytes), (0, 0));
        }
    }

    #[test]
    fn two_large_files_are_held_and_thousands_of_small_ones() {
        for (size, files) in [(33 << 20, 2), (37 << 20, 1), (1 << 20, 32), (100, 2048)] {
            let mut held = Held::default();
            assert_eq!((0..10_000).take_while(|_| held.take_in(size)).count(), files, "{size}");
        }
    }
}
