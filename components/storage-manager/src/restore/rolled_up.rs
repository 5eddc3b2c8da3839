//! Messages that took others away, as they say themselves: roll-ups, such as the purge of a key, and what a schedule
//! has sent that fires once.
//!
//! The server takes the others away when it stores such a message, and not when it is restored. The archive has the
//! message within half a second, and learns of what it took away a second or two later. A host that is lost between
//! the two would come back with what was purged, and with a schedule that fires a second time. So what the archive
//! had not looked at yet is read once before it is restored, for what it says.

use std::collections::HashMap;

use cim_core::archive::Segment;

use crate::segment::Message;

/// Where an archive does not say up to where it knows deletes: what is that much older than its last message was looked
/// at.
pub(super) const UNKNOWN: jiff::SignedDuration = jiff::SignedDuration::from_secs(30);

/// The end of a stream that may have messages which took others away that are still archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Behind this sequence.
    Behind(u64),
    /// In segments that end at this time or later.
    Since(jiff::Timestamp),
}

impl Tail {
    /// Returns true if a piece may have such messages.
    pub(super) fn has(self, (segment, _, last): &(Segment, u64, u64)) -> bool {
        match self {
            Self::Behind(seq) => *last > seq,
            Self::Since(time) => segment.last_time >= time,
        }
    }
}

/// The messages that were taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RolledUp {
    /// Everything before this sequence.
    before: u64,
    /// By subject, what is before a sequence.
    subjects: HashMap<Box<[u8]>, u64>,
}

impl RolledUp {
    /// Notes what a message takes away.
    pub(super) fn note(&mut self, message: &Message<'_>) {
        let headers = message.headers;
        let rollup = header(headers, b"Nats-Rollup").unwrap_or_default();
        if rollup.eq_ignore_ascii_case(b"all") {
            self.before = self.before.max(message.seq);
        } else if rollup.eq_ignore_ascii_case(b"sub") {
            self.note_subject(message.subject, message.seq);
        }
        if header(headers, b"Nats-Schedule-Next") == Some(b"purge")
            && let Some(schedule) = header(headers, b"Nats-Scheduler")
        {
            self.note_subject(schedule, message.seq);
        }
    }

    fn note_subject(&mut self, subject: &[u8], seq: u64) {
        match self.subjects.get_mut(subject) {
            Some(before) => *before = seq.max(*before),
            None => drop(self.subjects.insert(subject.into(), seq)),
        }
    }

    /// Returns whether a message was taken away.
    pub(super) fn has(&self, message: &Message<'_>) -> bool {
        message.seq < self.before
            || self.subjects.get(message.subject).is_some_and(|before| message.seq < *before)
    }
}

/// Returns the first value of a header, as the server reads it.
pub(super) fn header<'a>(headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // The first line is a version.
    let mut lines = headers.split(|byte| *byte == b'\n').skip(1);
    lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(b":")?.trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<'a>(seq: u64, subject: &'a str, headers: &'a str) -> Message<'a> {
        let (subject, headers) = (subject.as_bytes(), headers.as_bytes());
        Message { seq, time: 0, subject, headers, payload: b"" }
    }

    /// Returns which of some messages before sequence 10 are removed by messages with such headers on `k.a`.
    fn taken(headers: &[&str]) -> Vec<(u64, &'static str)> {
        let mut found = RolledUp::default();
        for (more, headers) in headers.iter().enumerate() {
            let headers = format!("NATS/1.0\r\n{headers}\r\n");
            found.note(&message(10 + more as u64, "k.a", &headers));
        }
        let all = [(1, "k.a"), (2, "k.b"), (3, "sch.pay"), (4, "k.a"), (10, "k.a"), (11, "k.b")];
        all.into_iter().filter(|(seq, subject)| found.has(&message(*seq, subject, ""))).collect()
    }

    #[test]
    fn a_message_says_what_it_took_away() {
        let purge = "KV-Operation: PURGE\r\nNats-Rollup: sub\r\n";
        assert_eq!(taken(&[purge]), [(1, "k.a"), (4, "k.a")]);
        assert_eq!(taken(&[purge, purge]), [(1, "k.a"), (4, "k.a"), (10, "k.a")]);
        assert_eq!(taken(&["Nats-Rollup: ALL\r\n"]).len(), 4);
        let fired = "Nats-Scheduler: sch.pay\r\nNats-Schedule-Next: purge\r\n";
        assert_eq!(taken(&[fired]), [(3, "sch.pay")]);
    }

    #[test]
    fn all_else_takes_nothing_away() {
        for headers in [
            "",
            "KV-Operation: DEL\r\n",
            "Nats-Rollup: none\r\n",
            "X-Nats-Rollup: all\r\n",
            "nats-rollup: all\r\n",
            // One that repeats stays.
            "Nats-Scheduler: sch.pay\r\nNats-Schedule-Next: 2026-01-01T00:00:00Z\r\n",
            "Nats-Schedule-Next: purge\r\n",
            "Nats-Schedule-Rollup: sub\r\n",
        ] {
            assert_eq!(taken(&[headers]), [], "{headers}");
        }
    }
}
