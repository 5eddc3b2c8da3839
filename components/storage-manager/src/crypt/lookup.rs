//! The key that an object takes, and whether this process has it.

use std::ops::Range;

use super::end::{End, end, label_at};
use super::key::Key;
use super::keyring::open_label;
use super::label::{Label, Locked};
use super::sealed;

/// More bytes than a label has, with what stands before it.
const LABEL: u64 = 4 << 10;

/// Returns the label of an object, of which these bytes are at least the end; `None` if it is not encrypted, or is
/// damaged there.
pub fn label_of(object: &[u8]) -> Option<Label> {
    match end(object) {
        End::Encrypted { label, .. } => Label::parse(label),
        _ => sealed::label(object),
    }
}

/// Returns the key of an object, of which these bytes are at least the end; `None` if it is not encrypted, is damaged
/// there, or its key is unknown.
pub fn key_of(object: &[u8]) -> Option<Key> {
    open_label(&label_of(object)?).ok()?
}

/// Returns where an encrypted object of some size says which key it takes, where these bytes of its end do not reach so
/// far.
pub fn label_range(tail: &[u8], size: u64) -> Option<Range<u64>> {
    let End::More(needed) = end(tail) else { return None };
    let begin = size.checked_sub(needed)?;
    Some(begin..size.min(begin + LABEL))
}

/// Looks whether there is a key of an object that has these bytes [there](label_range).
///
/// # Errors
/// When there is none.
pub fn check_range(bytes: &[u8]) -> Result<(), Locked> {
    let label = label_at(bytes).and_then(Label::parse);
    label.map_or(Ok(()), |label| open_label(&label).map(drop))
}

/// Looks whether what was fetched of an object opens with a key of this configuration, or needs none. What is damaged
/// is not this one's to say.
///
/// # Errors
/// When it does not.
pub fn check(object: &[u8]) -> Result<(), Locked> {
    label_of(object).map_or(Ok(()), |label| open_label(&label).map(drop))
}
