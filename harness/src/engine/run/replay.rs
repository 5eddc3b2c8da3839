//! Rebuilding a consumer's state by reading the stream again.
//!
//! The state is what a projection would keep: by subject, how many events there were, the last one,
//! and a hash over all of them in order. Every reader of all events in order gets the same digest;
//! a reader that starts later begins with the state at that point.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::Run;
use super::stream_reader::read_stream;
use crate::error::{Error, Result};
use crate::ledger::EventId;
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::wire::From;
use crate::scenario::{Replay, ReplayFrom};

/// The state of a projection.
#[derive(Debug, Clone, Default)]
struct Projection {
    subjects: BTreeMap<u64, (u64, u64, [u8; 32])>,
}

impl Projection {
    fn apply(&mut self, fingerprint: &Fingerprint) {
        let (count, last, chain) = self.subjects.entry(fingerprint.content.subject).or_default();
        *count += 1;
        *last = fingerprint.seq;
        let mut hasher = Sha256::new();
        hasher.update(&chain);
        for part in [fingerprint.seq, fingerprint.content.headers, fingerprint.content.payload] {
            hasher.update(part.to_le_bytes());
        }
        hasher.update(fingerprint.time.to_le_bytes());
        *chain = hasher.finalize().into();
    }

    fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        for (subject, (count, last, chain)) in &self.subjects {
            for part in [subject, count, last] {
                hasher.update(part.to_le_bytes());
            }
            hasher.update(chain);
        }
        hex::encode(hasher.finalize())
    }
}

impl Run<'_> {
    pub(super) async fn replay(&mut self, replay: &Replay) -> Result<()> {
        let stream = self.stream_of(&replay.stream);
        let gone: HashSet<(u64, Option<EventId>)> =
            self.deletes(stream).iter().map(|d| (d.seq, Some(d.event))).collect();
        let seen = self.streams[stream].seen.fingerprints();
        let known = seen.values().filter(|p| !gone.contains(&(p.seq, p.event)));
        let known: Vec<Fingerprint> = known.copied().collect();
        // Deleted before the recorder read it, and back because a loss has undone the delete: the
        // oracle judges it, but its content is unknown here.
        let unseen =
            |seq| self.streams[stream].undone.contains_key(&seq) && !seen.contains_key(&seq);
        let Some(last) = known.last().map(|p| p.seq) else {
            return Err(Error::step(format!("`{}` has no messages to replay", replay.stream)));
        };
        let at = |share: crate::scenario::Percent| {
            let place = share.of(known.len() as u64 - 1);
            &known[usize::try_from(place).unwrap_or_default()]
        };
        let (from, begins) = match replay.from {
            ReplayFrom::Start => (From::Start, 0),
            ReplayFrom::Sequence(share) => (From::Sequence(at(share.0).seq), at(share.0).seq),
            ReplayFrom::Time(share) => {
                let time = at(share.0).time;
                let first = known.iter().find(|p| p.time >= time).map_or(last, |p| p.seq);
                (From::Time(time), first)
            }
        };
        let mut whole = Projection::default();
        for fingerprint in &known {
            whole.apply(fingerprint);
        }
        let mut rebuilt = Projection::default();
        for fingerprint in known.iter().take_while(|fingerprint| fingerprint.seq < begins) {
            rebuilt.apply(fingerprint);
        }
        let url = self.place(stream)?;
        let name = replay.stream.as_str();
        let read = read_stream(&url, self.plan.seed, name, from, last).await?;
        for fingerprint in read.iter().filter(|fingerprint| !unseen(fingerprint.seq)) {
            rebuilt.apply(fingerprint);
        }
        let (whole, rebuilt) = (whole.digest(), rebuilt.digest());
        if whole == rebuilt {
            self.progress.line(&format!("state digest {}", &whole[..16]));
            return Ok(());
        }
        Err(Error::step(format!(
            "the state that was rebuilt from `{name}` has the digest {}, it should be {}",
            &rebuilt[..16],
            &whole[..16]
        )))
    }
}
