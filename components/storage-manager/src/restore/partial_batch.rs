//! A batch of which the end is not there.
//!
//! The messages of an atomic batch are in a stream all at once or not at all, one behind the other, each with the
//! batch's name and its own number in it, and the last one says that it is the last. An archive ends where it was when
//! the host was lost, and a restore where the user wants it to: in a batch, maybe. Of such a batch nothing comes back.
//! Its sequences are as if its messages had been deleted.

use cim_core::archive::SeqRange;

use super::rolled_up::header;
use crate::segment::Message;

/// A batch that is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartialBatch {
    /// Its name.
    pub id: String,
    /// Its messages that are there.
    pub messages: SeqRange,
}

impl PartialBatch {
    /// Returns the batch that a stream ends in whose last message this is; `None` where it ends behind one.
    pub(super) fn ending_with(message: &Message<'_>) -> Option<Self> {
        let id = header(message.headers, b"Nats-Batch-Id")?;
        if header(message.headers, b"Nats-Batch-Commit").is_some() {
            return None;
        }
        let number = header(message.headers, b"Nats-Batch-Sequence")?;
        let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        let first = message.seq.checked_sub(number.checked_sub(1)?).filter(|first| *first > 0)?;
        let id = String::from_utf8_lossy(id).into_owned();
        Some(Self { id, messages: SeqRange { first, last: message.seq } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(seq: u64, headers: &str) -> Option<(String, u64, u64)> {
        let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
        let (headers, subject, payload) = (headers.as_bytes(), &b"s"[..], &b""[..]);
        let message = Message { seq, time: 0, subject, headers, payload };
        let half = PartialBatch::ending_with(&message)?;
        Some((half.id, half.messages.first, half.messages.last))
    }

    #[test]
    fn a_batch_ends_with_a_message_that_says_so() {
        let of = |number: &str| format!("Nats-Batch-Id: b1\r\nNats-Batch-Sequence: {number}");
        assert_eq!(ending(40, &of("1")), Some(("b1".into(), 40, 40)));
        assert_eq!(ending(40, &of("7")), Some(("b1".into(), 34, 40)));
        assert_eq!(ending(40, &format!("{}\r\nNats-Batch-Commit: 1", of("7"))), None);
        for none in ["", "Nats-Batch-Id: b1", &of("0"), &of("41"), &of("x"), "Nats-Msg-Id: b1"] {
            assert_eq!(ending(40, none), None, "{none}");
        }
    }
}
