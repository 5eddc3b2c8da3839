//! Bytes that a bad disk, a bad line or a stranger has changed: a reader refuses them, or reads the same.

use proptest::prelude::*;
use proptest::sample::Index;

/// One change of some bytes.
#[derive(Debug, Clone)]
pub enum Corruption {
    /// Some bits of one byte are flipped.
    Flip(Index, u8),
    /// The end is cut off.
    Cut(Index),
    /// So many bytes are removed.
    Remove(Index, usize),
    /// So many bytes stand there twice.
    Repeat(Index, usize),
    /// So many bytes of two places have changed places.
    Swap(Index, Index, usize),
    /// Foreign bytes are inserted.
    Insert(Index, Vec<u8>),
    /// All is foreign.
    Replace(Vec<u8>),
}

/// Draws one to three changes.
pub fn corruptions() -> impl Strategy<Value = Vec<Corruption>> {
    let at = any::<Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..16);
    let one = prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Corruption::Flip(at, 1 << bit)),
        2 => at().prop_map(Corruption::Cut),
        2 => (at(), 1usize..32).prop_map(|(at, n)| Corruption::Remove(at, n)),
        2 => (at(), 1usize..64).prop_map(|(at, n)| Corruption::Repeat(at, n)),
        2 => (at(), at(), 1usize..32).prop_map(|(a, b, n)| Corruption::Swap(a, b, n)),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Corruption::Insert(at, bytes)),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Corruption::Replace),
    ];
    prop::collection::vec(one, 1..4)
}

/// Returns the bytes after all changes; they may be the same, where the changes cancel out.
pub fn corrupted(bytes: &[u8], corruptions: &[Corruption]) -> Vec<u8> {
    corruptions.iter().fold(bytes.to_vec(), |mut bytes, corruption| {
        let length = bytes.len();
        let place = |at: &Index| if length == 0 { 0 } else { at.index(length) };
        let slice = |at: &Index, n: usize| place(at)..(place(at) + n).min(length);
        match corruption {
            Corruption::Flip(at, bit) if length > 0 => bytes[place(at)] ^= bit,
            Corruption::Flip(..) => {}
            Corruption::Cut(at) => bytes.truncate(place(at)),
            Corruption::Remove(at, n) => drop(bytes.drain(slice(at, *n))),
            Corruption::Repeat(at, n) => {
                let again = bytes[slice(at, *n)].to_vec();
                bytes.splice(place(at)..place(at), again);
            }
            Corruption::Swap(a, b, n) => {
                let (a, b) = (slice(a, *n), slice(b, *n));
                for (a, b) in a.zip(b) {
                    bytes.swap(a, b);
                }
            }
            Corruption::Insert(at, more) => {
                bytes.splice(place(at)..place(at), more.iter().copied());
            }
            Corruption::Replace(others) => bytes.clone_from(others),
        }
        bytes
    })
}
