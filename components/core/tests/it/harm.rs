//! Damage to bytes by a bad disk, a bad line or a stranger. Tests of other crates include this file.

use proptest::prelude::*;
use proptest::sample::Index;

/// Returns as many cases as `PROPTEST_CASES` says, for long runs; otherwise `few`, which take little time.
pub(crate) fn cases(few: u32) -> ProptestConfig {
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default(),
        None => ProptestConfig::with_cases(few),
    }
}

/// One change.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    Flip(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Swap(Index, Index, usize),
    Insert(Index, Vec<u8>),
    Replace(Vec<u8>),
}

/// Draws some changes, one after the other.
pub(crate) fn harms() -> impl Strategy<Value = Vec<Harm>> {
    let at = any::<Index>;
    let bytes = || prop::collection::vec(any::<u8>(), 1..16);
    let one = prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(at, bit)| Harm::Flip(at, 1 << bit)),
        2 => at().prop_map(Harm::Cut),
        2 => (at(), 1usize..32).prop_map(|(at, n)| Harm::Remove(at, n)),
        2 => (at(), 1usize..64).prop_map(|(at, n)| Harm::Repeat(at, n)),
        2 => (at(), at(), 1usize..32).prop_map(|(a, b, n)| Harm::Swap(a, b, n)),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Harm::Insert(at, bytes)),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Harm::Replace),
    ];
    prop::collection::vec(one, 1..4)
}

/// Returns the bytes after the changes; the changes may have cancelled out.
pub(crate) fn harmed(bytes: &[u8], harms: &[Harm]) -> Vec<u8> {
    harms.iter().fold(bytes.to_vec(), |mut bytes, harm| {
        let length = bytes.len();
        let place = |at: &Index| if length == 0 { 0 } else { at.index(length) };
        let slice = |at: &Index, n: usize| place(at)..(place(at) + n).min(length);
        match harm {
            Harm::Flip(at, bit) if length > 0 => bytes[place(at)] ^= bit,
            Harm::Flip(..) => {}
            Harm::Cut(at) => bytes.truncate(place(at)),
            Harm::Remove(at, n) => drop(bytes.drain(slice(at, *n))),
            Harm::Repeat(at, n) => {
                let again = bytes[slice(at, *n)].to_vec();
                bytes.splice(place(at)..place(at), again);
            }
            Harm::Swap(a, b, n) => {
                let (a, b) = (slice(a, *n), slice(b, *n));
                for (a, b) in a.zip(b) {
                    bytes.swap(a, b);
                }
            }
            Harm::Insert(at, more) => {
                bytes.splice(place(at)..place(at), more.iter().copied());
            }
            Harm::Replace(others) => bytes.clone_from(others),
        }
        bytes
    })
}
