//! Objects as clients of NATS's object store put them, each one different and recognisable.
//!
//! The format is ADR-20 of nats-io/nats-architecture-and-design: the chunks of an object are messages
//! on `$O.<bucket>.C.<nuid>`, one after the other, and then comes a message on `$O.<bucket>.M.<name>`, the
//! name in base64, that says how many there are, how long and with which SHA-256.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{Content, Generator};
use crate::ledger::EventId;
use crate::scenario::WorkloadSpec;

/// Returns how many consecutive events belong together: an object's chunks and its description.
pub(in crate::workload) fn together(spec: &WorkloadSpec) -> u64 {
    spec.object_chunks.map_or(1, |chunks| u64::from(chunks) + 1)
}

/// An object of a load.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    of: &'a Generator,
    number: u64,
    chunks: u64,
}

/// One message of an object.
pub(super) struct Part<'a> {
    object: Object<'a>,
    event: EventId,
}

/// The description of an object. Its first key is the beginning of every payload of a lab; clients
/// ignore it.
#[derive(Serialize)]
struct Meta<'a> {
    lab: String,
    name: String,
    options: Options,
    bucket: &'a str,
    nuid: String,
    size: u64,
    chunks: u64,
    digest: String,
}

#[derive(Serialize)]
struct Options {
    max_chunk_size: u64,
}

impl Generator {
    /// Returns the objects of this load that have all their messages; none if it puts no objects.
    pub fn objects(&self) -> impl Iterator<Item = Object<'_>> {
        let chunks = u64::from(self.spec.object_chunks.unwrap_or_default());
        let whole = if chunks == 0 { 0 } else { self.spec.events / together(&self.spec) };
        (0..whole).map(move |number| Object { of: self, number, chunks })
    }

    /// Returns the part of an object that an event is, if the load puts objects.
    pub(super) fn part(&self, event: EventId) -> Option<Part<'_>> {
        let chunks = u64::from(self.spec.object_chunks?);
        let number = (event - self.base) / together(&self.spec);
        Some(Part { object: Object { of: self, number, chunks }, event })
    }
}

impl<'a> Object<'a> {
    /// Returns the name under which clients ask for it.
    pub fn name(&self) -> String {
        format!("object {}", self.number)
    }

    /// Returns its messages, the description last.
    pub fn events(&self) -> std::ops::RangeInclusive<EventId> {
        let first = self.of.base + self.number * (self.chunks + 1);
        first..=first + self.chunks
    }

    /// Returns the SHA-256 of its bytes.
    pub fn digest(&self) -> [u8; 32] {
        self.hashed().0
    }

    fn hashed(&self) -> ([u8; 32], u64) {
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let events = self.events();
        for event in *events.start()..*events.end() {
            let (payload, _) = self.of.payload(event, None);
            hasher.update(&payload);
            size += payload.len() as u64;
        }
        (hasher.finalize().into(), size)
    }

    fn bucket(&self) -> &'a str {
        let subject = self.of.spec.subject.as_str();
        subject.split_once('.').map_or(subject, |(_, bucket)| bucket)
    }

    /// Returns an id as long and as opaque as a client's.
    fn nuid(&self) -> String {
        format!("{:016x}{:06}", self.of.seed, self.of.base + self.number)
    }
}

impl Part<'_> {
    fn describes(&self) -> bool {
        self.event == *self.object.events().end()
    }

    pub(super) fn subject(&self) -> String {
        let (object, prefix) = (&self.object, &self.object.of.spec.subject);
        if self.describes() {
            format!("{prefix}.M.{}", URL_SAFE.encode(object.name()))
        } else {
            format!("{prefix}.C.{}", object.nuid())
        }
    }

    pub(super) fn content(&self) -> Content {
        let (subject, object) = (self.subject(), &self.object);
        if !self.describes() {
            let (payload, _) = object.of.payload(self.event, None);
            return Content { subject, headers: Vec::new(), payload: payload.into() };
        }
        let (digest, size) = object.hashed();
        let meta = Meta {
            lab: object.of.identity(self.event),
            name: object.name(),
            options: Options { max_chunk_size: object.of.spec.size.bytes() },
            bucket: object.bucket(),
            nuid: object.nuid(),
            size,
            chunks: object.chunks,
            digest: format!("SHA-256={}", URL_SAFE.encode(digest)),
        };
        let payload = serde_json::to_vec(&meta).expect("it is always JSON");
        let headers = vec![("Nats-Rollup", "sub".to_owned())];
        Content { subject, headers, payload: payload.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity;
    use super::*;

    const SPEC: &str = "name = 'l'\nstream = 'OBJ_media'\nsubject = '$O.media'\nevents = 11\n\
                        size = '64B'\nobject-chunks = 3\n";

    fn generator() -> Generator {
        Generator::new(0xabc, 100, toml::from_str(SPEC).unwrap(), None)
    }

    #[test]
    fn an_object_is_its_chunks_and_what_describes_them() {
        let generator = generator();
        let objects: Vec<_> = generator.objects().collect();
        assert_eq!(objects.len(), 2, "the third has only three of its four messages");
        assert_eq!(objects[1].events(), 104..=107);
        let parts: Vec<_> = objects[1].events().map(|event| generator.content(event)).collect();
        let chunks = "$O.media.C.0000000000000abc000101";
        assert!(parts[..3].iter().all(|p| p.subject == chunks && p.payload.len() == 64));
        assert_eq!(parts[3].subject, "$O.media.M.b2JqZWN0IDE=");
        insta::assert_snapshot!(
            std::str::from_utf8(&parts[3].payload).unwrap(),
            @r#"{"lab":"0000000000000abc-000000000107","name":"object 1","options":{"max_chunk_size":64},"bucket":"media","nuid":"0000000000000abc000101","size":192,"chunks":3,"digest":"SHA-256=klQVPTADC2p7a2DK_tUqu6SAB2LCwcfAPyrXOFNEO1Y="}"#
        );
        let bytes = parts[..3].iter().map(|p| p.payload.as_ref()).collect::<Vec<_>>().concat();
        assert_eq!(objects[1].digest(), <[u8; 32]>::from(Sha256::digest(bytes)));
    }

    #[test]
    fn each_message_of_an_object_is_known_by_its_payload() {
        let generator = generator();
        for event in 100..111 {
            assert_eq!(identity(0xabc, &generator.content(event).payload), Some(event));
            assert_eq!(generator.content(event).subject, generator.subject(event));
        }
    }
}
