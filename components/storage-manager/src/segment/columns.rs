//! Messages on their way into a segment: copied once, out of the socket's buffer into columns.

use jiff::Timestamp;

/// One message, borrowed from wherever it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// Stream sequence.
    pub seq: u64,
    /// Nanoseconds since 1970.
    pub time: i64,
    /// Subject, as bytes: servers do not insist on UTF-8.
    pub subject: &'a [u8],
    /// Raw header block; empty for none.
    pub headers: &'a [u8],
    /// Raw payload.
    pub payload: &'a [u8],
}

/// Returns nanoseconds since 1970 as a point in time.
pub(super) fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("i64 nanoseconds are in range")
}

impl Message<'_> {
    /// Returns its time.
    pub fn timestamp(&self) -> Timestamp {
        timestamp(self.time)
    }

    /// Returns what the message counts as in segment sizes and budgets: its three byte strings.
    pub fn bytes(&self) -> usize {
        self.subject.len() + self.headers.len() + self.payload.len()
    }

    /// Returns its hash: see [`cim_core::archive::message_hash`].
    pub fn hash(&self) -> cim_core::archive::Sha256 {
        cim_core::archive::message_hash(
            self.seq,
            self.time,
            self.subject,
            self.headers,
            self.payload,
        )
    }
}

/// A batch of messages, column by column.
#[derive(Debug, Default)]
pub struct Columns {
    pub(super) seq: Vec<i64>,
    pub(super) time: Vec<i64>,
    pub(super) subject: Strings,
    pub(super) headers: Strings,
    pub(super) payload: Strings,
}

/// Byte strings end to end.
#[derive(Debug, Default)]
pub(super) struct Strings {
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Strings {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
    }

    fn reserve(&mut self, count: usize, bytes: usize) {
        self.ends.reserve_exact(count);
        self.bytes.reserve_exact(bytes);
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl Columns {
    /// Appends a message.
    pub fn push(&mut self, message: Message<'_>) {
        self.seq.push(message.seq.cast_signed());
        self.time.push(message.time);
        self.subject.push(message.subject);
        self.headers.push(message.headers);
        self.payload.push(message.payload);
    }

    /// Makes room for messages, and no more than they take.
    pub(super) fn reserve<'a>(&mut self, messages: impl Iterator<Item = Message<'a>>) {
        let (mut count, mut subject, mut headers, mut payload) = (0, 0, 0, 0);
        for message in messages {
            count += 1;
            subject += message.subject.len();
            headers += message.headers.len();
            payload += message.payload.len();
        }
        self.seq.reserve_exact(count);
        self.time.reserve_exact(count);
        self.subject.reserve(count, subject);
        self.headers.reserve(count, headers);
        self.payload.reserve(count, payload);
    }

    /// Returns the number of messages.
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// Returns true if there are no messages.
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// Returns the bytes of the messages.
    pub fn bytes(&self) -> usize {
        self.subject.bytes.len() + self.headers.bytes.len() + self.payload.bytes.len()
    }

    /// Returns the messages, in the order in which they were added.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).map(|index| self.message(index))
    }

    /// Returns one of the messages.
    pub fn message(&self, index: usize) -> Message<'_> {
        Message {
            seq: self.seq[index].cast_unsigned(),
            time: self.time[index],
            subject: self.subject.get(index),
            headers: self.headers.get(index),
            payload: self.payload.get(index),
        }
    }
}
