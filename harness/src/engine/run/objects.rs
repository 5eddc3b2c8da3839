//! Reading an object store as its clients do.
//!
//! The judge checks that every message of an object is exact. Here NATS's own client reassembles
//! the objects, and their bytes are compared with the original ones.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, object_store::ObjectStore};
use futures_util::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::{Run, cannot_read};
use crate::error::{Context as _, Error, Result};
use crate::ledger::EventId;
use crate::scenario::{ReadObjects, Span};
use crate::workload::{Generator, HostAt, Object, connect};

/// The number of objects read at a time.
const AT_ONCE: usize = 8;
/// The longest pause between two chunks: a client waits forever if every chunk is gone.
const STALLED: Span = Span::micros(5_000_000);
/// The number of objects that an error names.
const EXAMPLES: usize = 3;

impl Run<'_> {
    /// Reads every object all of whose messages live on.
    pub(super) async fn read_objects(&mut self, read: &ReadObjects) -> Result<()> {
        let stream = self.stream_of(&read.stream);
        let (name, epoch) = (read.stream.as_str(), self.ledger.epoch());
        let lives: HashSet<EventId> = self.history(stream, epoch, u64::MAX).into_values().collect();
        let lost: HashSet<EventId> =
            self.streams[stream].holes.iter().map(|(_, event)| *event).collect();
        let generators = self.generators.clone();
        let of_stream = |g: &&Arc<Generator>| {
            g.objects().next().is_some_and(|o| self.is_of(stream, *o.events().start()))
        };
        let objects = generators.iter().filter(of_stream).flat_map(|g| g.objects());
        let whole: Vec<_> =
            objects.filter(|o| o.events().all(|event| lives.contains(&event))).collect();
        if whole.is_empty() {
            return Err(Error::step(format!("`{name}` has no object that was put whole")));
        }
        let patience = self.patient(STALLED);
        let host = HostAt { nats: self.place(stream)?, epoch };
        let bucket = name.strip_prefix("OBJ_").unwrap_or(name);
        let client = timeout(patience, connect(&host)).await.ok().flatten();
        let client = client.ok_or_else(|| Error::step(cannot_read()))?;
        let store = jetstream::new(client).get_object_store(bucket).await.step(cannot_read)?;
        let compared = whole.iter().map(|object| compare(&store, object, patience));
        let compared: Vec<_> = stream::iter(compared).buffered(AT_ONCE).collect().await;
        let (mut wrong, mut unreadable) = (Vec::new(), 0);
        for (object, error) in whole.iter().zip(compared.into_iter().map(Result::err)) {
            let damaged = read.damaged && object.events().any(|event| lost.contains(&event));
            match error {
                Some(_) if damaged => unreadable += 1,
                Some(error) => wrong.push(format!("`{}`: {error}", object.name())),
                None if damaged => {
                    wrong.push(format!("`{}` is whole, and NATS lost a part of it", object.name()));
                }
                None => {}
            }
        }
        let (all, good) = (whole.len(), whole.len() - unreadable - wrong.len());
        let complaint = match wrong.len() {
            0 if read.damaged && unreadable == 0 => {
                Some(format!("all {all} objects of `{name}` can be read: the damage hit none"))
            }
            0 => None,
            n => {
                wrong.truncate(EXAMPLES);
                let examples = wrong.join("; ");
                Some(format!(
                    "{n} of {all} objects of `{name}` do not read as they were put: {examples}"
                ))
            }
        };
        self.note(format!("objects of `{name}`"), wrong);
        if let Some(judgement) = self.report.judgements.last_mut() {
            (judgement.read, judgement.exact) = (all as u64, good as u64);
        }
        if let Some(complaint) = complaint {
            return Err(Error::step(complaint));
        }
        self.progress.line(&format!("{good} of {all} objects of `{name}` read as they were put"));
        Ok(())
    }
}

/// Reads one object and compares its bytes.
async fn compare(
    store: &ObjectStore,
    object: &Object<'_>,
    patience: Duration,
) -> Result<(), String> {
    let stalled = |_| format!("no data came for {patience:?}");
    let reader = timeout(patience, store.get(object.name())).await.map_err(stalled)?;
    let mut reader = reader.map_err(|e| e.to_string())?;
    let (mut hasher, mut chunk) = (Sha256::new(), vec![0; 64 << 10]);
    // Not `read_to_end`: the client returns a wrong digest together with bytes, at which that
    // panics.
    loop {
        let read = timeout(patience, reader.read(&mut chunk)).await.map_err(stalled)?;
        match read.map_err(|e| e.to_string())? {
            0 => break,
            read => hasher.update(&chunk[..read]),
        }
    }
    let same = <[u8; 32]>::from(hasher.finalize()) == object.digest();
    if same { Ok(()) } else { Err("its bytes differ".to_owned()) }
}
