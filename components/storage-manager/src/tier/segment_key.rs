//! The key of a segment, as its manifest names it.

use cim_core::archive::{ArchiveKey, Segment};

use super::error::FetchError;

/// Parses the key of a segment.
///
/// # Errors
/// When the manifest that names it is damaged.
pub(crate) fn segment_key(segment: &Segment) -> Result<ArchiveKey, FetchError> {
    ArchiveKey::parse(&segment.key).map_err(|_| FetchError::Key(segment.key.clone()))
}

#[cfg(test)]
mod tests {
    use cim_core::archive::Sha256;

    use super::*;
    use crate::chain::testing::segment;

    #[test]
    fn a_name_that_is_no_key_is_an_error_with_that_name() {
        let (stream, hash) = ("S".parse().unwrap(), Sha256::of(b"sealed").short());
        let key = ArchiveKey::Segment { stream, timeline: 1, first_seq: 1, last_seq: 1, hash };
        let segment = segment(1, 1, 1, true);
        assert_eq!(segment_key(&segment).unwrap(), key);
        let damaged = Segment { key: "../elsewhere".into(), ..segment };
        let error = segment_key(&damaged).unwrap_err().to_string();
        assert!(error.contains("`../elsewhere`"), "{error}");
    }
}
