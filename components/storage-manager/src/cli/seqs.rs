//! A range of sequences, as an argument.

use cim_core::archive::SeqRange;

/// Reads a filter of sequences, such as `17`, `17..40` or `17..`.
pub(super) fn seqs(text: &str) -> Result<SeqRange, String> {
    let number = |text: &str| text.parse().map_err(|_| "sequences are like 17, 17..40 or 17..");
    let range = match text.split_once("..") {
        None => SeqRange { first: number(text)?, last: number(text)? },
        Some((from, "")) => SeqRange { first: number(from)?, last: u64::MAX },
        Some((from, to)) => {
            SeqRange { first: number(from)?, last: number(to.trim_start_matches('='))? }
        }
    };
    if range.first == 0 || range.first > range.last {
        return Err("sequences begin at 1, and the first is not behind the last".into());
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_read_as_they_are_meant() {
        assert_eq!(seqs("17"), Ok(SeqRange { first: 17, last: 17 }));
        assert_eq!(seqs("17..40"), Ok(SeqRange { first: 17, last: 40 }));
        assert_eq!(seqs("17..=40"), Ok(SeqRange { first: 17, last: 40 }));
        assert_eq!(seqs("17.."), Ok(SeqRange { first: 17, last: u64::MAX }));
        for wrong in ["", "..", "..4", "0", "5..4", "a", "1..b", "-1"] {
            assert!(seqs(wrong).is_err(), "{wrong}");
        }
    }
}
