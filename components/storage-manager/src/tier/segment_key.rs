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
    use cim_core::archive::{LastMessage, Sha256};

    use super::*;

    #[test]
    fn a_name_that_is_no_key_is_an_error_with_that_name() {
        let (time, sha256) = (jiff::Timestamp::UNIX_EPOCH, Sha256::of(b""));
        let (stream, hash) = ("S".parse().unwrap(), sha256.short());
        let key = ArchiveKey::Segment { stream, timeline: 1, first_seq: 1, last_seq: 1, hash };
        let segment = Segment {
            part: None,
            key: key.to_string(),
            timeline: 1,
            first_seq: 1,
            last_seq: 1,
            first_time: time,
            last_time: time,
            messages: 1,
            bytes: 1,
            size: 1,
            sha256,
            last: LastMessage { seq: 1, time, sha256 },
            sealed: true,
        };
        assert_eq!(segment_key(&segment).unwrap(), key);
        let damaged = Segment { key: "../elsewhere".into(), ..segment };
        let error = segment_key(&damaged).unwrap_err().to_string();
        assert!(error.contains("`../elsewhere`"), "{error}");
    }
}
