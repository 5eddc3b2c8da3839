//! The oracle's reading of a tier: archives of both layouts, written by hand, on a real MinIO.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::common::{Lab, lab};
use cim_core::archive::{Sha256, message_hash};
use cim_harness::lab::s3::{self, Kind, Service};
use cim_harness::oracle::tier::{Archive, holding};
use cim_harness::scenario::Tier;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

const TIME: &str = "2026-01-01T00:00:00Z";
const SEED: u64 = 7;

#[derive(Clone)]
struct Row {
    stream: &'static str,
    seq: u64,
    payload: String,
}

/// Returns consecutive messages of a stream.
fn rows(stream: &'static str, first: u64, last: u64) -> Vec<Row> {
    let payload = |seq| format!("payload {seq} of {stream}");
    (first..=last).map(|seq| Row { stream, seq, payload: payload(seq) }).collect()
}

fn time(seq: u64) -> i64 {
    i64::try_from(seq).unwrap() * 1_000_000_000
}

/// Returns a file of messages, in row groups: with their stream and timeline if it is shared.
fn parquet(shared: bool, groups: &[Vec<Row>], entry: Option<String>) -> Vec<u8> {
    let own = "required int64 seq (INTEGER(64,false)); required int64 time (TIMESTAMP(NANOS,true));
        required binary subject (STRING); required binary headers; required binary payload;";
    let of = "required binary stream (STRING); required int32 timeline (INTEGER(32,false));";
    let schema = format!("message m {{ {} {own} }}", if shared { of } else { "" });
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    for rows in groups {
        let mut group = file.next_row_group().unwrap();
        let mut at = if shared { 0 } else { 2 };
        while let Some(mut column) = group.next_column().unwrap() {
            let text = |of: fn(&Row) -> &str| -> Vec<ByteArray> {
                rows.iter().map(|row| ByteArray::from(of(row))).collect()
            };
            let number = |of: fn(&Row) -> i64| rows.iter().map(of).collect::<Vec<_>>();
            let bytes = |of| (text(of), Vec::new());
            let (texts, numbers) = match at {
                0 => bytes(|row| row.stream),
                1 => {
                    let ones = vec![1; rows.len()];
                    column.typed::<Int32Type>().write_batch(&ones, None, None).unwrap();
                    (Vec::new(), Vec::new())
                }
                2 => (Vec::new(), number(|row| row.seq.cast_signed())),
                3 => (Vec::new(), number(|row| time(row.seq))),
                4 => bytes(|_| "a.b"),
                5 => bytes(|_| ""),
                _ => bytes(|row| &row.payload),
            };
            if !texts.is_empty() {
                column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
            }
            if !numbers.is_empty() {
                column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
            }
            column.close().unwrap();
            at += 1;
        }
        group.close().unwrap();
    }
    if let Some(entry) = entry {
        file.append_key_value_metadata(KeyValue::new("cim.entry".to_owned(), entry));
    }
    file.into_inner().unwrap()
}

fn hash_of(row: &Row) -> Sha256 {
    message_hash(row.seq, time(row.seq), b"a.b", b"", row.payload.as_bytes())
}

/// Returns an entry's record of a part: rows of one stream in one row group.
fn part(group: u32, rows: &[Row]) -> Value {
    let (first, last) = (&rows[0], &rows[rows.len() - 1]);
    let hashes: Vec<u8> = rows.iter().flat_map(|row| *hash_of(row).as_bytes()).collect();
    json!({
        "timeline": 1, "first_seq": first.seq, "last_seq": last.seq,
        "first_time": time(first.seq), "last_time": time(last.seq), "messages": rows.len(),
        "bytes": rows.iter().map(|row| 3 + row.payload.len()).sum::<usize>(),
        "sha256": Sha256::of(&hashes), "last": hash_of(last), "groups": [group, 1],
    })
}

fn begin() -> Value {
    json!({ "begin": {
        "timelines": [{
            "number": 1, "fork": { "reason": "created" }, "watermark": { "seq": 0 },
            "state": { "first_seq": 1, "last_seq": 0, "messages": 0, "bytes": 0 },
        }],
        "stream": { "created": TIME, "config": {} }, "consumers": [],
        "number": 0, "committed_at": TIME,
    } })
}

fn stored(what: &str, value: &Value) -> (String, Sha256) {
    let text = value.to_string();
    let hash = Sha256::of(text.as_bytes());
    (format!("{{\"sha256\":\"{hash}\",\"{what}\":{text}}}"), hash)
}

/// Objects by key.
type Objects = BTreeMap<String, Vec<u8>>;

fn key(number: u64) -> String {
    format!("v2/journal/main/entries/{number:012}.parquet")
}

/// A journal that grows.
#[derive(Default)]
struct Log {
    objects: Objects,
    next: u64,
    previous: Option<Sha256>,
}

impl Log {
    /// Commits an entry after `spoil` has changed it.
    fn commit(&mut self, groups: &[Vec<Row>], streams: &Value, spoil: impl Fn(&mut Value)) {
        let mut entry = json!({
            "format": 4, "journal": "main", "number": self.next, "committed_at": TIME,
            "writer": "test", "streams": streams,
        });
        if let Some(previous) = &self.previous {
            entry["previous"] = previous.to_string().into();
        }
        spoil(&mut entry);
        let (text, hash) = stored("entry", &entry);
        self.objects.insert(key(self.next), parquet(true, groups, Some(text)));
        (self.next, self.previous) = (self.next + 1, Some(hash));
    }
}

/// Returns a journal of four entries: two streams begin, both grow, one grows and loses messages by deletes, and
/// its two parts are merged into one. `spoil` changes the entry with a number.
fn journal(spoil: impl Fn(u64, &mut Value)) -> Log {
    let mut log = Log::default();
    log.commit(&[], &json!({ "A": begin(), "B": begin() }), |entry| spoil(0, entry));
    let (a, b) = (rows("A", 1, 10), rows("B", 1, 5));
    let adds = json!({ "A": { "add": [part(0, &a)] }, "B": { "add": [part(0, &b)] } });
    log.commit(&[[a, b].concat()], &adds, |entry| spoil(1, entry));
    let more = rows("A", 11, 20);
    let adds = json!({ "A": { "add": [part(0, &more)], "deleted": [[5, 6]] } });
    log.commit(&[more], &adds, |entry| spoil(2, entry));
    log
}

/// Returns the journal after a merge of A's parts into `merged`.
fn merged(merged: &[Row], spoil: impl Fn(u64, &mut Value)) -> Objects {
    let mut log = journal(&spoil);
    let object = parquet(true, &[merged.to_vec()], None);
    let name =
        format!("v2/journal/main/shared/1/000000000001-{}.parquet", Sha256::of(&object).short());
    let mut by = part(0, &rows("A", 1, 20));
    by["key"] = name.clone().into();
    let replace = json!({ "timeline": 1, "first_seq": 1, "last_seq": 20, "by": [by] });
    log.commit(&[], &json!({ "A": { "replace": [replace] } }), |entry| spoil(3, entry));
    log.objects.insert(name, object);
    log.objects
}

/// Returns a chain of one entry that holds the messages up to `last`.
fn chain(stream: &'static str, last: u64) -> Objects {
    let rows = rows(stream, 1, last);
    let file = parquet(false, std::slice::from_ref(&rows), None);
    let hash = Sha256::of(&file);
    let prefix = format!("v1/streams/{stream}");
    let key = format!("{prefix}/segments/0001/{:020}-{last:020}-{}.parquet", 1, hash.short());
    let at = |seq: u64| jiff::Timestamp::from_nanosecond(time(seq).into()).unwrap();
    let segment = json!({
        "key": key, "timeline": 1, "first_seq": 1, "last_seq": last, "first_time": at(1),
        "last_time": at(last), "messages": last, "size": file.len(), "sha256": hash,
        "bytes": rows.iter().map(|row| 3 + row.payload.len()).sum::<usize>(),
        "last": { "seq": last, "time": at(last), "sha256": hash_of(&rows[rows.len() - 1]) },
    });
    let state = json!({ "first_seq": 1, "last_seq": last, "messages": last, "bytes": 1 });
    let (fork, watermark) = (json!({ "reason": "created" }), json!({ "seq": last }));
    let entry = json!({
        "format": 3, "number": 0, "committed_at": TIME, "writer": "test", "timeline": 1,
        "fork": fork, "add": [segment], "watermark": watermark, "state": state,
        "stream": { "created": TIME, "config": {} }, "consumers": [],
        "checkpoint": {
            "segments": [segment],
            "timelines": [{ "number": 1, "fork": fork, "watermark": watermark, "state": state }],
        },
    });
    let manifest = format!("{prefix}/manifest/00000000/{:012}.json", 0);
    [(key, file), (manifest, stored("entry", &entry).0.into_bytes())].into()
}

/// Returns a checkpoint after the last entry of [`merged`].
fn checkpoint(objects: &Objects, change: impl Fn(&mut Value)) -> Vec<u8> {
    let last = objects.keys().filter(|key| key.contains("/entries/")).count() as u64 - 1;
    let shared = objects.keys().find(|key| key.contains("/shared/")).unwrap();
    let mut a = part(0, &rows("A", 1, 20));
    a["key"] = shared.clone().into();
    let mut b = part(0, &rows("B", 1, 5));
    b["key"] = key(1).into();
    let stream = |segment: Value, watermark: u64, number: u64, deleted: Value| {
        let mut stream = begin()["begin"].clone();
        stream["segments"] = json!([segment]);
        stream["timelines"][0]["watermark"]["seq"] = watermark.into();
        stream["timelines"][0]["deleted"] = deleted;
        stream["number"] = number.into();
        stream
    };
    let text = parquet_entry(&objects[&key(last)]);
    let mut checkpoint = json!({
        "format": 4, "journal": "main", "number": last, "committed_at": TIME,
        "hash": text["sha256"],
        "streams": {
            "A": stream(a, 20, last, json!([[5, 6]])), "B": stream(b, 5, 1, json!([])),
        },
    });
    change(&mut checkpoint);
    zstd::encode_all(stored("checkpoint", &checkpoint).0.as_bytes(), 1).unwrap()
}

fn parquet_entry(object: &[u8]) -> Value {
    let at = object.windows(11).position(|bytes| bytes == b"{\"sha256\":\"").unwrap();
    let mut values = serde_json::Deserializer::from_slice(&object[at..]).into_iter::<Value>();
    values.next().unwrap().unwrap()
}

struct Nas {
    _lab: Lab,
    service: Service,
}

impl Nas {
    async fn start() -> Self {
        let lab = lab();
        let options = s3::Options {
            name: "nas".into(),
            kind: Kind::Minio,
            dir: lab.dir.path().join("nas"),
            bucket: "lab".into(),
            credentials: None,
            seed: 0,
        };
        let service = Service::start(&lab.launcher, &lab.tools, &options).await.unwrap();
        Self { _lab: lab, service }
    }

    /// Makes the bucket hold these objects and nothing else.
    async fn holds(&self, objects: &Objects) -> Box<::s3::Bucket> {
        let bucket = self.service.access.client().unwrap();
        for page in bucket.list(String::new(), None).await.unwrap() {
            for object in page.contents {
                bucket.delete_object(&object.key).await.unwrap();
            }
        }
        for (key, bytes) in objects {
            bucket.put_object(key, bytes).await.unwrap();
        }
        bucket
    }

    /// Returns the sequences of a stream that the oracle reads from these objects on the NAS, or its error.
    async fn read(&self, objects: &Objects, stream: &str) -> Result<Vec<u64>, String> {
        self.read_as(Tier::Nas, objects, stream).await
    }

    /// Does the same as if the objects were this tier's.
    async fn read_as(
        &self,
        tier: Tier,
        objects: &Objects,
        stream: &str,
    ) -> Result<Vec<u64>, String> {
        let bucket = self.holds(objects).await;
        let name = stream.parse().unwrap();
        let archived = holding(&bucket, tier, &name).await.map_err(|e| e.chain())?;
        let Some(archived) = archived else { return Ok(Vec::new()) };
        let fingerprints = archived.messages(&bucket, SEED).await.map_err(|e| e.chain())?;
        Ok(fingerprints.iter().map(|fingerprint| fingerprint.seq).collect())
    }

    async fn refuses(&self, objects: &Objects, what: &str) {
        let refused = self.read(objects, "A").await.unwrap_err();
        assert!(refused.contains(what), "`{what}` is not what is said: {refused}");
    }
}

#[tokio::test]
async fn a_tier_is_read_whatever_its_layout() {
    let nas = Nas::start().await;
    let good = |_, _: &mut Value| ();
    let left: Vec<u64> = (1..=20).filter(|seq| ![5, 6].contains(seq)).collect();
    let mut objects = journal(good).objects;
    assert_eq!(nas.read(&objects, "A").await.unwrap(), left);
    assert_eq!(nas.read(&objects, "B").await.unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(nas.read(&objects, "C").await.unwrap(), [0; 0]);
    // A stream that no journal has; and one whose chain a journal has taken over.
    objects.extend(chain("C", 4));
    objects.extend(chain("A", 3));
    assert_eq!(nas.read(&objects, "C").await.unwrap(), [1, 2, 3, 4]);
    assert_eq!(nas.read(&objects, "A").await.unwrap(), left);
    let mut objects = merged(&rows("A", 1, 20), good);
    assert_eq!(nas.read(&objects, "A").await.unwrap(), left);
    // With a checkpoint, and without the entries that are needed no more.
    let at = "v2/journal/main/checkpoints/000000000003.json.zst".to_owned();
    let checkpoint = checkpoint(&objects, |_| ());
    objects.insert(at, checkpoint);
    assert_eq!(nas.read(&objects, "A").await.unwrap(), left);
    for collected in [0, 2] {
        objects.remove(&key(collected));
    }
    assert_eq!(nas.read(&objects, "A").await.unwrap(), left);
    assert_eq!(nas.read(&objects, "B").await.unwrap(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn each_tier_goes_by_its_own_journal() {
    let nas = Nas::start().await;
    let of_wasabi =
        |(key, object): (String, Vec<u8>)| (key.replace("v2/journal/", "v2/tertiary/"), object);
    let mut objects: Objects = journal(|_, _| ()).objects.into_iter().map(of_wasabi).collect();
    // They lie on the NAS too, where they are decided, and change nothing there.
    assert_eq!(nas.read(&objects, "B").await.unwrap(), [0; 0]);
    assert_eq!(nas.read_as(Tier::Wasabi, &objects, "B").await.unwrap(), [1, 2, 3, 4, 5]);
    objects.extend(chain("B", 2));
    assert_eq!(nas.read(&objects, "B").await.unwrap(), [1, 2]);
    assert_eq!(nas.read_as(Tier::Wasabi, &objects, "B").await.unwrap(), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn messages_far_from_an_objects_end_are_read() {
    let nas = Nas::start().await;
    let large = |stream, first, last| -> Vec<Row> {
        let payload = |seq: u64| format!("{seq}").repeat(9_000);
        (first..=last).map(|seq| Row { stream, seq, payload: payload(seq) }).collect()
    };
    let mut log = Log::default();
    log.commit(&[], &json!({ "A": begin(), "B": begin() }), |_| ());
    let groups = [large("A", 10, 30), large("B", 10, 30)];
    let add = |at: usize| json!({ "add": [part(u32::try_from(at).unwrap(), &groups[at])] });
    log.commit(&groups, &json!({ "A": add(0), "B": add(1) }), |_| ());
    assert!(log.objects[&key(1)].len() > 200 << 10);
    let all: Vec<u64> = (10..=30).collect();
    assert_eq!(nas.read(&log.objects, "A").await.unwrap(), all);
    assert_eq!(nas.read(&log.objects, "B").await.unwrap(), all);
}

#[tokio::test]
async fn each_damage_of_a_journal_is_found() {
    let nas = Nas::start().await;
    let flipped = |mut objects: Objects, number: u64, text: &str| {
        let object = objects.get_mut(&key(number)).unwrap();
        let at = object.windows(text.len()).position(|bytes| bytes == text.as_bytes()).unwrap();
        object[at + text.len() - 1] ^= 1;
        objects
    };
    let good = || journal(|_, _| ()).objects;
    let rotten = flipped(good(), 1, "payload 4 of A");
    nas.refuses(&rotten, "000000000001.parquet` is damaged: `A` from 1 to 10: ").await;
    nas.refuses(&rotten, "the hash of its messages is").await;
    // The rows of another stream in the same object are intact.
    assert_eq!(nas.read(&rotten, "B").await.unwrap(), [1, 2, 3, 4, 5]);
    nas.refuses(&flipped(good(), 2, "\"writer\":\"test"), "000000000002.parquet` has the hash")
        .await;
    let mut missing = good();
    missing.remove(&key(1));
    nas.refuses(&missing, "`v2/journal/main/entries/000000000001.parquet` is missing").await;
    let mut cut = good();
    cut.get_mut(&key(2)).unwrap().truncate(300);
    nas.refuses(&cut, "is cut short, or no Parquet file").await;

    let spoilt = |number: u64, spoil: fn(&mut Value)| {
        journal(move |at, entry| {
            if at == number {
                spoil(entry);
            }
        })
        .objects
    };
    let hash = || Value::from("0".repeat(64));
    nas.refuses(&spoilt(2, |e| e["previous"] = "0".repeat(64).into()), "does not continue").await;
    nas.refuses(&spoilt(2, |e| e["number"] = 3.into()), "says that it is entry 3").await;
    nas.refuses(&spoilt(2, |e| e["journal"] = "other".into()), "of journal `other`").await;
    let changed = |number: u64, field: &'static str, value: Value| {
        let spoil = move |at, entry: &mut Value| {
            if at == number {
                entry["streams"]["A"]["add"][0][field] = value.clone();
            }
        };
        journal(spoil).objects
    };
    nas.refuses(&changed(2, "sha256", hash()), "the hash of its messages is").await;
    nas.refuses(&changed(2, "last", hash()), "its last message is not the one").await;
    nas.refuses(&changed(2, "messages", 9.into()), "it has 10 messages").await;
    nas.refuses(&changed(2, "groups", json!([1, 1])), "it has 1 row groups").await;
    nas.refuses(&changed(2, "groups", Value::Null), "where they cannot").await;
    nas.refuses(&changed(2, "first_seq", 10.into()), "the tier was at 10 already").await;
    nas.refuses(&changed(2, "timeline", 2.into()), "adds to timeline 2").await;
    nas.refuses(&spoilt(2, |e| e["streams"]["A"]["watermark"] = json!({ "seq": 19 })), "back")
        .await;
    nas.refuses(
        &spoilt(2, |e| e["streams"]["Z"] = json!({})),
        "continues a stream that does not exist",
    )
    .await;
    nas.refuses(&spoilt(2, |e| e["streams"]["A"] = begin()), "begins a stream that exists already")
        .await;
    let more = spoilt(0, |e| e["streams"]["A"]["deleted"] = json!([[1, 1]]));
    nas.refuses(&more, "begins a stream and changes it at once").await;
}

#[tokio::test]
async fn a_replacement_that_is_not_the_same_is_found() {
    let nas = Nas::start().await;
    let whole = rows("A", 1, 20);
    let changed = |field: &'static str, value: u64| {
        let spoil = move |at, entry: &mut Value| {
            if at == 3 {
                entry["streams"]["A"]["replace"][0][field] = value.into();
            }
        };
        merged(&rows("A", 1, 20), spoil)
    };
    nas.refuses(&changed("first_seq", 2), "which are no whole segments").await;
    nas.refuses(&changed("last_seq", 19), "which are no whole segments").await;
    let fewer = merged(&whole, |at, entry| {
        if at == 3 {
            entry["streams"]["A"]["replace"][0]["by"][0]["messages"] = 19.into();
        }
    });
    nas.refuses(&fewer, "20 messages, by 19").await;
    let sealed = merged(&whole, |at, entry| {
        if at == 1 {
            entry["streams"]["A"]["add"][0]["sealed"] = true.into();
        }
    });
    nas.refuses(&sealed, "is sealed").await;
    // The entry is right, but its object lacks a message.
    let lacking: Vec<Row> = whole.iter().filter(|row| row.seq != 7).cloned().collect();
    nas.refuses(&merged(&lacking, |_, _| ()), "the hash of its messages is").await;
}

/// Returns a journal in which message 7 of stream A was erased; `spoil` changes the entry.
fn erased(spoil: impl Fn(&mut Value)) -> Objects {
    let mut log = journal(|_, _| ());
    let left: Vec<Row> = rows("A", 1, 10).into_iter().filter(|row| row.seq != 7).collect();
    let note = json!({
        "id": "1", "stream": "A", "journal": "main", "tier": "nas", "at": TIME, "by": "test",
        "reason": "asked", "messages": 1, "timelines": [{ "timeline": 1, "sequences": [[7, 7]] }],
        "segments": [],
    });
    let cut = json!({ "timeline": 1, "first_seq": 1, "last_seq": 10, "by": [part(0, &left)] });
    let erased = json!([{ "note": note, "key": "U", "signature": "" }]);
    let said = json!({ "A": { "erased": erased, "cut": [cut] } });
    log.commit(&[left], &said, spoil);
    log.objects
}

#[tokio::test]
async fn what_was_erased_is_what_a_note_says() {
    let nas = Nas::start().await;
    let left: Vec<u64> = (1..=20).filter(|seq| ![5, 6, 7].contains(seq)).collect();
    assert_eq!(nas.read(&erased(|_| ()), "A").await.unwrap(), left);
    assert_eq!(nas.read(&erased(|_| ()), "B").await.unwrap(), [1, 2, 3, 4, 5]);
    let unnoted = erased(|entry| entry["streams"]["A"]["erased"] = json!([]));
    nas.refuses(&unnoted, "10 messages, by 9, with 0 erased").await;
    let same = |entry: &mut Value| {
        let a = &mut entry["streams"]["A"];
        a["replace"] = a["cut"].take();
        a["cut"] = json!([]);
    };
    nas.refuses(&erased(same), "10 messages, by 9").await;
}

#[tokio::test]
async fn a_checkpoint_that_disagrees_with_the_entries_is_found() {
    let nas = Nas::start().await;
    let objects = merged(&rows("A", 1, 20), |_, _| ());
    let with = |change: fn(&mut Value)| {
        let mut objects = objects.clone();
        let checkpoint = checkpoint(&objects, change);
        objects.insert("v2/journal/main/checkpoints/000000000003.json.zst".into(), checkpoint);
        objects
    };
    assert_eq!(nas.read(&with(|_| ()), "A").await.unwrap().len(), 18);
    let of_a = "about the ends of its timelines (stream `A`)";
    nas.refuses(&with(|c| c["streams"]["A"]["timelines"][0]["watermark"]["seq"] = 19.into()), of_a)
        .await;
    nas.refuses(
        &with(|c| c["streams"]["B"]["segments"] = json!([])),
        "about the segment from 1 (stream `B`)",
    )
    .await;
    nas.refuses(
        &with(|c| c["streams"]["A"]["timelines"][0]["deleted"] = json!([])),
        "about the deleted sequences (stream `A`)",
    )
    .await;
    nas.refuses(&with(|c| c["hash"] = "0".repeat(64).into()), "about its last entry").await;
    nas.refuses(
        &with(|c| drop(c["streams"].as_object_mut().unwrap().remove("B"))),
        "whether there is a stream `B`",
    )
    .await;
    let mut cut = with(|_| ());
    cut.get_mut("v2/journal/main/checkpoints/000000000003.json.zst").unwrap().truncate(40);
    nas.refuses(&cut, "000000000003.json.zst` cannot be unpacked").await;
}

#[tokio::test]
async fn reading_on_asks_once_for_all_streams() {
    let nas = Nas::start().await;
    let mut log = journal(|_, _| ());
    let bucket = nas.holds(&log.objects).await;
    let mut archive = Archive::open(&bucket, Tier::Nas).await.unwrap();
    let watermark = async |archive: &Archive, stream: &str| {
        archive.stream(&stream.parse().unwrap()).await.unwrap().map(|a| a.watermark)
    };
    let asked = archive.asked();
    assert_eq!(watermark(&archive, "A").await, Some(20));
    archive.advance().await.unwrap();
    assert_eq!(watermark(&archive, "B").await, Some(5));
    let (a, b) = (rows("A", 21, 22), rows("B", 6, 6));
    let adds = json!({ "A": { "add": [part(0, &a)] }, "B": { "add": [part(0, &b)] } });
    log.commit(&[[a, b].concat()], &adds, |_| ());
    bucket.put_object(key(3), &log.objects[&key(3)]).await.unwrap();
    archive.advance().await.unwrap();
    assert_eq!(watermark(&archive, "A").await, Some(22));
    assert_eq!(watermark(&archive, "B").await, Some(6));
    // Two look-ups that find nothing, the new entry's length and its end, and perhaps a look for checkpoints.
    assert!(archive.asked() - asked <= 4 + 2 * 2, "{}", archive.asked() - asked);
}
