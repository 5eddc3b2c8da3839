//! The events of a load: each one different, each one recognisable, none of them kept.
//!
//! An event is a function of the seed and its number, so the oracle needs no copy to compare with.

mod object;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng as _, SeedableRng as _};

pub use object::Object;
pub(super) use object::together;

use crate::error::{Error, Result};
use crate::ledger::EventId;
use crate::scenario::WorkloadSpec;

/// The beginning of every payload, before the run's seed, `-`, the event's number and `"`.
const MARK: &[u8] = b"{\"lab\":\"";
const SEED_DIGITS: usize = 16;
const EVENT_DIGITS: usize = 12;

/// The content of an event; no other content must ever be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The subject.
    pub subject: String,
    /// Headers, in the order in which they were set.
    pub headers: Vec<(&'static str, String)>,
    /// The payload.
    pub payload: Bytes,
}

/// A generator of one load's events.
#[derive(Debug, Clone)]
pub struct Generator {
    seed: u64,
    base: EventId,
    spec: WorkloadSpec,
    corpus: Option<Arc<Vec<Bytes>>>,
}

/// Reads a corpus: one JSON object a line.
pub fn read_corpus(path: &Path) -> Result<Vec<Bytes>> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::Usage(format!("cannot read the corpus `{shown}`: {e}")))?;
    let mut events = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, l)| !l.trim().is_empty()) {
        let object: Result<serde_json::Map<_, _>, _> = serde_json::from_str(line);
        let wrong = |why: String| Error::Usage(format!("`{shown}`:{number}: {why}"));
        let object = object.map_err(|e| wrong(format!("not a JSON object: {e}")))?;
        if object.is_empty() {
            return Err(wrong("an empty object is no event".into()));
        }
        events.push(Bytes::copy_from_slice(line.trim().as_bytes()));
    }
    if events.is_empty() {
        return Err(Error::Usage(format!("the corpus `{shown}` has no events")));
    }
    Ok(events)
}

impl Generator {
    /// Makes a generator of the events of `spec`, numbered from `base`.
    pub fn new(
        seed: u64,
        base: EventId,
        spec: WorkloadSpec,
        corpus: Option<Arc<Vec<Bytes>>>,
    ) -> Self {
        Self { seed, base, spec, corpus }
    }

    /// Reports whether the event is one of this load.
    pub fn owns(&self, event: EventId) -> bool {
        (self.base..self.base + self.spec.events).contains(&event)
    }

    /// Returns the event's subject.
    pub fn subject(&self, event: EventId) -> String {
        if let Some(part) = self.part(event) {
            return part.subject();
        }
        format!("{}.{}", self.spec.subject, event % u64::from(self.spec.subjects))
    }

    /// Returns the event's content.
    pub fn content(&self, event: EventId) -> Content {
        if let Some(part) = self.part(event) {
            return part.content();
        }
        let (payload, mut rng) = self.payload(event, self.corpus.as_deref());
        let (subject, headers) = (self.subject(event), self.headers(event, &mut rng));
        Content { subject, headers, payload: payload.into() }
    }

    /// Returns a payload with the event's number, and the random generator after it.
    fn payload(
        &self,
        event: EventId,
        corpus: Option<&Vec<Bytes>>,
    ) -> (Vec<u8>, Xoshiro256PlusPlus) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(
            self.seed.rotate_left(32) ^ event.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        );
        let mut payload = MARK.to_vec();
        payload.extend(format!("{}\"", self.identity(event)).bytes());
        if let Some(corpus) = corpus {
            let line = &corpus[usize::try_from(event).unwrap_or_default() % corpus.len()];
            payload.push(b',');
            payload.extend_from_slice(&line[1..]);
        } else {
            let size = usize::try_from(self.spec.size.bytes()).unwrap_or(usize::MAX);
            let written = payload.len();
            payload.resize(size.max(written), 0);
            rng.fill_bytes(&mut payload[written..]);
        }
        (payload, rng)
    }

    fn identity(&self, event: EventId) -> String {
        format!("{:016x}-{event:012}", self.seed)
    }

    fn headers(&self, event: EventId, rng: &mut Xoshiro256PlusPlus) -> Vec<(&'static str, String)> {
        let every = self.spec.headers_every;
        let chosen = every > 0 && event.is_multiple_of(every);
        let mut headers = Vec::new();
        if chosen || self.spec.republish {
            headers.push(("Nats-Msg-Id", format!("{:016x}-{event}", self.seed)));
        }
        if chosen {
            headers.push(("Lab-Trace", format!("{:016x}", rng.next_u64())));
            headers.push(("Lab-Trace", format!("second of event {event}")));
            headers.push(("Lab-Note", "größer als „gedacht“, ✓".to_owned()));
            headers.push(("Lab-Empty", String::new()));
        }
        headers
    }
}

/// Returns the number of the event in a payload, if it is one of the seed's.
pub fn identity(seed: u64, payload: &[u8]) -> Option<EventId> {
    let rest = payload.strip_prefix(MARK)?;
    let (said, rest) = rest.split_at_checked(SEED_DIGITS)?;
    let said = std::str::from_utf8(said).ok()?;
    let (number, rest) = rest.strip_prefix(b"-")?.split_at_checked(EVENT_DIGITS)?;
    let number = std::str::from_utf8(number).ok()?;
    let ours = u64::from_str_radix(said, 16) == Ok(seed) && rest.first() == Some(&b'"');
    ours.then(|| number.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(spec: &str, corpus: Option<Vec<Bytes>>) -> Generator {
        let spec: WorkloadSpec = toml::from_str(spec).unwrap();
        Generator::new(0xabc, 5, spec, corpus.map(Arc::new))
    }

    const SPEC: &str = "name = 'l'\nstream = 'S'\nsubject = 'lab.e'\nevents = 100\nsize = '128B'\n";

    #[test]
    fn events_differ_and_come_out_the_same_again() {
        let generator = generator(SPEC, None);
        let all: Vec<_> = (5..105).map(|e| generator.content(e)).collect();
        let payloads: std::collections::BTreeSet<_> = all.iter().map(|c| &c.payload).collect();
        assert_eq!(payloads.len(), 100);
        assert!(all.iter().all(|c| c.payload.len() == 128));
        assert_eq!(generator.content(17), all[12]);
        assert!(all.iter().any(|c| !c.headers.is_empty()));
        assert!(generator.owns(104) && !generator.owns(105) && !generator.owns(4));
    }

    #[test]
    fn an_event_is_known_by_its_payload() {
        let generator = generator(SPEC, None);
        let payload = generator.content(42).payload;
        assert_eq!(identity(0xabc, &payload), Some(42));
        assert_eq!(identity(0xabd, &payload), None);
        assert_eq!(identity(0xabc, &payload[..30]), None);
        assert_eq!(identity(0xabc, b"something else"), None);
    }

    #[test]
    fn a_corpus_stays_json() {
        let corpus = vec![Bytes::from_static(b"{\"type\":\"a.b\",\"source\":\"s\",\"data\":{}}")];
        let payload = generator(SPEC, Some(corpus)).content(9).payload;
        let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(value["type"], "a.b");
        assert_eq!(identity(0xabc, &payload), Some(9));
    }

    #[test]
    fn a_broken_corpus_is_refused_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.ndjson");
        std::fs::write(&path, "{\"type\":1}\n[]\n").unwrap();
        let error = read_corpus(&path).unwrap_err().to_string();
        assert!(error.contains("c.ndjson`:2: not a JSON object"), "{error}");
    }
}
