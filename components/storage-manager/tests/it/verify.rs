//! A `verify` that takes longer than the grace period: what was replaced and deleted meanwhile is no damage, what is
//! missing is.

use std::collections::BTreeMap;
use std::process::Output;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{
    Change, JOURNAL_FORMAT, JournalEntry, JournalState, Replacement, SegmentRecord,
};
use cim_core::archive::key::{Chain, JournalOf};
use cim_core::archive::{ArchiveKey, Segment, Sha256, StreamState, Watermark};
use cim_core::names::JournalName;
use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use cim_storage_manager::chain::{Committer, Draft};
use cim_storage_manager::journal::read_entry;
use cim_storage_manager::s3::Store;
use cim_storage_manager::segment::{Columns, Message, SegmentWriter, SharedWriter};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, Manager, wait_until};

const ENTRIES: &str = "v2/journal/main/entries/";

/// Runs `verify`; `meanwhile` is when it has read what there is to verify, and nothing of it.
async fn verify(
    manager: &Manager,
    fake: &FakeWasabi,
    keys: &str,
    meanwhile: impl Future<Output = ()>,
) -> Output {
    let busy = Rule::new(Fault::SlowDown).operation("GetObject").keys(keys);
    fake.set_faults(vec![busy]).unwrap();
    let mut verify = manager.spawn(&["verify", "--json"]);
    wait_until("it reads", async || {
        let struck = fake.faults()[0].struck;
        if struck > 0 { Ok(()) } else { Err(format!("{:?}", verify.try_wait())) }
    })
    .await;
    meanwhile.await;
    fake.set_faults(Vec::new()).unwrap();
    verify.ends().await;
    verify.output()
}

fn problems(output: &Output) -> Vec<String> {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = report["streams"].as_array().unwrap().iter();
    let problems = streams.flat_map(|stream| stream["problems"].as_array().unwrap());
    problems.map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

/// The journal on a NAS, as a second writer might go on with it.
struct Journal {
    nas: Arc<Store>,
    state: JournalState,
    /// The entries' objects.
    objects: BTreeMap<String, Bytes>,
}

impl Journal {
    async fn read(nas: Arc<Store>) -> Self {
        let journal = JournalName::new("main").unwrap();
        let mut state = JournalState::empty(JournalOf::Secondary, journal);
        let mut objects = BTreeMap::new();
        for listed in nas.list(ENTRIES, false).await.unwrap() {
            let object = nas.get(&listed.key).await.unwrap();
            let (entry, hash) = read_entry(&object).unwrap();
            state.apply(&entry, hash).unwrap();
            objects.insert(listed.key, object);
        }
        Self { nas, state, objects }
    }

    /// A reader of the journal opens this, and no entry.
    async fn checkpoint(&self) {
        let (journal, number) = (self.state.journal.clone(), self.state.last.unwrap().0);
        let key = ArchiveKey::Checkpoint { of: JournalOf::Secondary, journal, number };
        let text = self.state.checkpoint().unwrap().to_bytes();
        let packed = zstd::stream::encode_all(&text[..], 3).unwrap();
        self.nas.put(&key, packed.into()).await.unwrap();
    }

    /// Puts other objects in the place of all entries, and deletes those.
    async fn replace_all(&mut self) -> Vec<String> {
        let number = self.state.next();
        let mut streams = BTreeMap::new();
        let mut shared = Vec::new();
        for (stream, archive) in &self.state.streams {
            let mut change = Change::default();
            for segment in archive.segments.values() {
                let object = &self.objects[&segment.key];
                let key = ArchiveKey::Shared {
                    of: JournalOf::Secondary,
                    journal: self.state.journal.clone(),
                    level: 1,
                    number,
                    hash: Sha256::of(object).short(),
                };
                self.nas.put(&key, object.clone()).await.unwrap();
                shared.push(key.to_string());
                let record = SegmentRecord::of(segment, None);
                let by = vec![SegmentRecord { key: Some(key.to_string()), ..record }];
                let Segment { timeline, first_seq, last_seq, .. } = *segment;
                change.replace.push(Replacement { timeline, first_seq, last_seq, by });
            }
            streams.insert(stream.clone(), change);
        }
        let entry = JournalEntry {
            format: JOURNAL_FORMAT,
            journal: self.state.journal.clone(),
            number,
            previous: self.state.hash(),
            committed_at: self.state.last.unwrap().2,
            writer: "t".into(),
            streams,
            collected: Vec::new(),
        };
        let (text, hash) = entry.to_text();
        let key = ArchiveKey::Journal {
            of: JournalOf::Secondary,
            journal: self.state.journal.clone(),
            number,
        };
        let object = SharedWriter::new(1).finish(Some(text)).unwrap();
        self.nas.put(&key, object).await.unwrap();
        self.state.apply(&entry, hash).unwrap();
        self.checkpoint().await;
        for old in self.objects.keys() {
            self.nas.delete(old).await.unwrap();
        }
        shared
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_journal_that_merges_meanwhile() {
    let lab = Lab::with().faulty_nas().layout("journal").start().await;
    let daemon = lab.manager.tier().await;
    for stream in ["A", "B"] {
        lab.nats.create(stream, json!({})).await;
    }
    for round in 1..=3 {
        for stream in ["A", "B"] {
            lab.nats.publish(stream, 10).await;
            lab.manager.reaches(stream, "nas", 10 * round).await;
        }
    }
    daemon.stop().await;
    let mut journal = Journal::read(lab.store()).await;
    journal.checkpoint().await;
    let nas = Arc::clone(&journal.nas);
    let mut shared = Vec::new();
    let output = verify(&lab.manager, &lab.nas, &format!("{ENTRIES}*"), async {
        shared = journal.replace_all().await;
    })
    .await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(problems(&output), Vec::<String>::new());

    // One of what took their place is gone before it is read: that is damage.
    let output = verify(&lab.manager, &lab.nas, "v2/journal/main/shared/*", async {
        nas.delete(&shared[0]).await.unwrap();
    })
    .await;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(problems(&output).contains(&format!("segment `{}` is missing", shared[0])));
}

/// A segment of some messages of `S`, on the NAS.
async fn segment(nas: &Store, first: u64, last: u64) -> Segment {
    let mut columns = Columns::default();
    for seq in first..=last {
        columns.push(Message { seq, time: 1, subject: b"s", headers: b"", payload: b"p" });
    }
    let mut writer = SegmentWriter::new(1);
    writer.append(columns).unwrap();
    let finished = writer.finish(&"S".parse().unwrap(), 1, false).unwrap();
    let key = ArchiveKey::parse(&finished.segment.key).unwrap();
    nas.put(&key, finished.file).await.unwrap();
    finished.segment
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_chain_that_merges_meanwhile() {
    let lab = Lab::with().faulty_nas().start().await;
    let nas = lab.store();
    let stream = "S".parse().unwrap();
    let mut chain = Committer::new(Arc::clone(&nas), Chain::Manifest, stream, "t".into(), None);
    let never = CancellationToken::new();
    let record = r#"{"created": "2026-01-01T00:00:00Z", "config": {"name": "S"}}"#;
    let record = serde_json::from_str(record).unwrap();
    let counts = StreamState { first_seq: 1, last_seq: 20, messages: 20, bytes: 40 };
    chain.commit(Draft::first(record, counts, Vec::new()), &never).await.unwrap();
    let small = [segment(&nas, 1, 10).await, segment(&nas, 11, 20).await];
    let mut draft = Draft::from_state(chain.state().unwrap());
    draft.add = small.to_vec();
    draft.watermark = Watermark { seq: 20, last: Some(small[1].last.clone()) };
    chain.commit(draft, &never).await.unwrap();

    let output = verify(&lab.manager, &lab.nas, "v1/streams/S/segments/*", async {
        let mut draft = Draft::from_state(chain.state().unwrap());
        draft.add = vec![segment(&nas, 1, 20).await];
        draft.remove = small.iter().map(|segment| segment.key.clone()).collect();
        chain.commit(draft, &never).await.unwrap();
        for segment in &small {
            nas.delete(&segment.key).await.unwrap();
        }
    })
    .await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(problems(&output), Vec::<String>::new());

    let merged = chain.state().unwrap().segments.values().next().unwrap().key.clone();
    let output = verify(&lab.manager, &lab.nas, "v1/streams/S/segments/*", async {
        nas.delete(&merged).await.unwrap();
    })
    .await;
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert_eq!(problems(&output), [format!("segment `{merged}` is missing")]);
}
