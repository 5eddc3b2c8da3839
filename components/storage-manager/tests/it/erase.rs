//! A person asks to be forgotten: their messages are in no object of either bucket any more, the archive says so in a
//! note that is signed, and all else comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use cim_fake_wasabi::{Fault, Rule};
use parquet::basic::Type;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::ByteArrayType;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use s3::error::S3Error;
use serde_json::{Value, json};

use crate::support::{
    Builder, Lab, Manager, Minio, SECRET, USER, encryption, fingerprints, have_the_same_messages,
    keys, new_key, noise, required_tool, rows, wait_until, write_secret,
};

/// In every payload, header and subject of who is to be forgotten.
const MARKER: &str = "m4rk3r";
const STREAMS: [&str; 2] = ["USERS", "ORDERS"];
const TIERS: [&str; 2] = ["nas", "wasabi"];
const OFTEN: &str = "[segment]\nflush_age = \"20ms\"\nflush_size = \"256KiB\"\n[seal]\nsize = \"512KiB\"\ninterval = \"200ms\"\n";
const ASKED: [&str; 7] =
    ["erase", "USERS", "--subject", "users.m4rk3r.>", "--reason", "request 2026-118", "--yes"];

/// A lab whose streams have messages of a person, and the key that signs what is erased.
struct Erasing {
    lab: Lab,
    key: PathBuf,
    signer: String,
}

impl Erasing {
    async fn start() -> Self {
        Self::start_in(Lab::with().own_nas().wasabi().layout("journal").settings(OFTEN)).await
    }

    async fn start_in(lab: Builder<Minio>) -> Self {
        let lab = lab.start().await;
        for stream in STREAMS {
            lab.nats.create(stream, json!({ "duplicate_window": 0 })).await;
        }
        let user = nkeys::KeyPair::new_user();
        let key = lab.path("erasures.nk");
        write_secret(&key, user.seed().unwrap().as_bytes());
        Self { lab, key, signer: user.public_key() }
    }

    /// The command line that asks for it.
    fn asked<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let key = ["--key", self.key.to_str().unwrap()];
        [&ASKED[..], &key[..], more].concat()
    }

    /// Publishes in both streams, one message after the other, so that there are many entries; some of who is to be
    /// forgotten. Then as much at once that segments of their own come of it.
    async fn publish(&self, rounds: usize) {
        for round in 0..rounds {
            for subject in ["users.m4rk3r.name", "users.8.name", "orders.eu"] {
                let is_theirs = subject.contains(MARKER);
                let about = if is_theirs { MARKER } else { "another" };
                let payload =
                    if is_theirs { format!("{MARKER} {round}") } else { format!("{round}") };
                self.lab.nats.put_with(subject, &[("About", about)], payload).await;
            }
            // A load's pace: most of it is in entries of its own.
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    }

    async fn publish_much(&self) {
        for seed in 0..6 {
            for subject in ["users.m4rk3r.picture", "users.8.picture"] {
                let mut payload = noise(seed, 300 << 10);
                if subject.contains(MARKER) {
                    payload[..MARKER.len()].copy_from_slice(MARKER.as_bytes());
                }
                self.lab.nats.put(subject, payload).await;
            }
        }
    }

    async fn arrives(&self, manager: &Manager) {
        manager.catches_up(&self.lab.nats, &STREAMS, &TIERS).await;
    }

    async fn purge(&self) {
        let filter = json!({ "filter": "users.m4rk3r.>" });
        self.lab.nats.api("STREAM.PURGE.USERS", filter).await;
    }

    /// All objects of a tier, by key.
    async fn objects(&self, tier: &str) -> BTreeMap<String, Bytes> {
        let bucket = if tier == "nas" { self.lab.bucket() } else { self.lab.wasabi_bucket() };
        // Beside a daemon an object may go between the list and the look: its rows lie in another one then.
        'anew: for _ in 0..50 {
            let mut objects = BTreeMap::new();
            for key in keys(&bucket, "v").await {
                match bucket.get_object(&key).await {
                    Ok(object) => objects.insert(key, object.into_bytes()),
                    Err(S3Error::HttpFailWithBody(404, _)) => continue 'anew,
                    Err(error) => panic!("`{key}`: {error}"),
                };
            }
            return objects;
        }
        panic!("no list held for as long as it takes to read it")
    }

    /// The objects of a tier that hold something of who is to be forgotten.
    async fn holding(&self, tier: &str) -> Vec<String> {
        let objects = self.objects(tier).await;
        let holding = objects.iter().filter(|(key, object)| holds(key, object));
        holding.map(|(key, _)| key.clone()).collect()
    }

    /// The same of an encrypted archive, opened with its key. Checkpoints have no messages.
    async fn holding_encrypted(&self, manager: &Manager, tier: &str) -> Vec<String> {
        let folder = self.lab.path(&uuid::Uuid::now_v7().to_string());
        let mut of = String::new();
        for (key, object) in self.objects(tier).await {
            let path = folder.join(&key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, object).unwrap();
            if key.contains("/entries/") {
                of = key;
            }
        }
        let key = manager.run(&["key", "of", &of, "--from", tier]).stdout;
        let key = String::from_utf8(key).unwrap();
        let found = rows(DECRYPT, &[folder.to_str().unwrap(), key.trim()]).unwrap();
        found.iter().map(|path| path.as_str().unwrap().to_owned()).collect()
    }

    /// Nothing is left in either bucket, and both archives are whole.
    async fn is_forgotten(&self, manager: &Manager) {
        for tier in TIERS {
            assert_eq!(self.holding(tier).await, [""; 0], "{tier}");
            let verified = manager.json(&["verify", "--from", tier, "--erased-by", &self.signer]);
            for stream in verified["streams"].as_array().unwrap() {
                assert_eq!(stream["problems"], json!([]), "{tier}: {verified}");
                assert_eq!(stream["lacking"], 0, "{tier}: {verified}");
            }
            for journal in verified["journals"].as_array().unwrap() {
                assert_eq!(journal["problems"], json!([]), "{tier}: {verified}");
                // One that was killed may leave a single checkpoint until the next.
                let warnings = journal["warnings"].as_array().unwrap();
                let of_now = |warning: &&Value| {
                    !warning.as_str().is_some_and(|text| text.contains("is relied on alone"))
                };
                assert_eq!(warnings.iter().find(of_now), None, "{tier}: {verified}");
            }
        }
    }

    /// A new host gets from either tier what the live streams have, dropped messages too.
    async fn comes_back(&self) {
        let before = fingerprints(&self.lab.nats, &STREAMS).await;
        for tier in TIERS {
            for more in [&[][..], &["--with-dropped"]] {
                let (host, restored) = self.lab.restored_from(tier, more).await;
                have_the_same_messages(&host.nats, &STREAMS, &before).await;
                let of = |name: &str| {
                    let streams = restored["streams"].as_array().unwrap();
                    streams.iter().find(|stream| stream["stream"] == name).unwrap()["erased"]
                        .clone()
                };
                assert_eq!(of("ORDERS"), json!([]));
                assert_eq!(of("USERS")[0]["reason"], "request 2026-118", "{tier}: {restored}");
            }
        }
    }
}

/// Returns whether an object has the marker in what it holds, unpacked.
fn holds(key: &str, object: &Bytes) -> bool {
    let has = |bytes: &[u8]| bytes.windows(MARKER.len()).any(|part| part == MARKER.as_bytes());
    if has(key.as_bytes()) || has(object) {
        return true;
    }
    match Path::new(key).extension().and_then(|kind| kind.to_str()) {
        Some("zst") => return has(&zstd::stream::decode_all(&object[..]).unwrap()),
        Some("parquet") => {}
        _ => return false,
    }
    let reader = SerializedFileReader::new(object.clone()).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().into_iter().flatten();
    let mut pairs = pairs.filter_map(|pair| pair.value.as_ref());
    if pairs.any(|value| has(value.as_bytes())) {
        return true;
    }
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).unwrap();
        for column in 0..group.num_columns() {
            if group.metadata().column(column).column_type() != Type::BYTE_ARRAY {
                continue;
            }
            let column = group.get_column_reader(column).unwrap();
            let mut column = get_typed_column_reader::<ByteArrayType>(column);
            let rows = usize::try_from(group.metadata().num_rows()).unwrap();
            let mut values = Vec::new();
            while values.len() < rows {
                column.read_records(rows, None, None, &mut values).unwrap();
            }
            if values.iter().any(|value| has(value.data())) {
                return true;
            }
        }
    }
    false
}

/// How many messages a report says were erased of a tier.
fn erased(report: &Value, tier: &str) -> u64 {
    let tiers = report["tiers"].as_array().unwrap();
    tiers.iter().find(|found| found["tier"] == tier).unwrap()["messages"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_and_all_else_comes_back() {
    let erasing = Erasing::start().await;
    let manager = &erasing.lab.manager;
    let daemon = manager.tier().await;
    // So many entries that some are merged into shared objects.
    let mut all = 0;
    while keys(&erasing.lab.bucket(), "v2/journal/main/shared/").await.is_empty() {
        assert!(all < 5000, "nothing is merged");
        erasing.publish(40).await;
        all += 40;
    }
    // So much at once that it is not in one entry after the other; on a busy machine not at the first try.
    while keys(&erasing.lab.wasabi_bucket(), "v1/streams/USERS/segments/").await.is_empty() {
        assert!(all < 5000, "no segment goes to Wasabi");
        erasing.publish_much().await;
        all += 6;
        erasing.arrives(manager).await;
    }
    erasing.publish(10).await;
    all += 10;
    erasing.arrives(manager).await;
    let kinds = |keys: &[String]| {
        let kind = |key: &String| {
            ["segments", "entries", "shared"].into_iter().find(|kind| key.contains(kind))
        };
        keys.iter().filter_map(kind).collect::<BTreeSet<_>>()
    };
    let before = erasing.holding("nas").await;
    assert_eq!(kinds(&before), ["segments", "entries", "shared"].into(), "{before:?}");
    assert_eq!(kinds(&erasing.holding("wasabi").await), ["segments", "entries"].into());

    // While the live stream has them they would be archived anew.
    let (status, error) = manager.error(&erasing.asked(&[]));
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("`nats stream purge USERS --subject 'users.m4rk3r.>'`"), "{error}");
    erasing.purge().await;
    let wanted = manager.json(&erasing.asked(&["--dry-run"]));
    assert_eq!((erased(&wanted, "nas"), erased(&wanted, "wasabi")), (all, all), "{wanted}");
    assert!(!erasing.holding("nas").await.is_empty(), "a dry run changes nothing");

    let done = manager.json(&erasing.asked(&[]));
    assert_eq!((erased(&done, "nas"), erased(&done, "wasabi")), (all, all), "{done}");
    erasing.is_forgotten(manager).await;
    // The storage manager made way, and goes on.
    for stream in STREAMS {
        let subject = format!("{}.9", stream.to_lowercase());
        erasing.lab.nats.client.publish(subject, "later".into()).await.unwrap();
    }
    erasing.lab.nats.client.flush().await.unwrap();
    erasing.arrives(manager).await;
    assert!(daemon.log().contains("has something to write to it"), "{}", daemon.log());
    daemon.stop().await;
    erasing.is_forgotten(manager).await;
    for tier in TIERS {
        let held = manager.json(&["streams", "USERS", "--from", tier]);
        let stream = &held["streams"][0];
        assert_eq!(stream["timelines"].as_array().unwrap().len(), 1, "{held}");
        assert_eq!(stream["erased"], all, "{tier}: {held}");
        let query = ["query", "USERS", "--with-dropped", "--limit", "1000", "--from", tier];
        let found = String::from_utf8(manager.run(&query).stdout).unwrap();
        assert!(found.contains("users.8.name") && !found.contains(MARKER), "{found}");
    }
    erasing.comes_back().await;

    // The note says what was erased, by whom and why; another signer is none.
    let verified = manager.json(&["verify", "USERS"]);
    let note = &verified["streams"][0]["erased"][0];
    assert_eq!(note["reason"], "request 2026-118");
    assert_eq!((&note["messages"], &note["signed_by"]), (&json!(all), &json!(erasing.signer)));
    let text = String::from_utf8(manager.run(&["verify", "USERS"]).stdout).unwrap();
    assert!(text.contains(&format!("signed by `{}`: request 2026-118", erasing.signer)), "{text}");
    let other = nkeys::KeyPair::new_user().public_key();
    let (status, error) = manager.error(&["verify", "--erased-by", &other]);
    assert_eq!(status, 5, "{error}");

    // Once more there is nothing to be done, and nothing is.
    let objects = [erasing.objects("nas").await, erasing.objects("wasabi").await];
    let again = manager.json(&erasing.asked(&[]));
    assert_eq!((erased(&again, "nas"), erased(&again, "wasabi")), (0, 0), "{again}");
    assert!(objects == [erasing.objects("nas").await, erasing.objects("wasabi").await]);
}

/// Killed again and again, a little later each time, until it has come to its end.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_is_run_again_and_finishes() {
    let erasing = Erasing::start().await;
    let manager = &erasing.lab.manager;
    let daemon = manager.tier().await;
    erasing.publish(40).await;
    erasing.publish_much().await;
    erasing.publish(5).await;
    erasing.arrives(manager).await;
    daemon.stop().await;
    erasing.purge().await;
    let arguments = erasing.asked(&["--without-nats"]);
    let mut kills = 0;
    let mut patience = Duration::from_millis(40);
    loop {
        assert!(kills < 400, "it does not come to its end");
        let mut running = manager.spawn(&arguments);
        tokio::time::sleep(patience).await;
        if running.try_wait().is_some() {
            let output = running.output();
            assert!(output.status.success(), "{output:?}");
            break;
        }
        running.kill();
        kills += 1;
        patience += Duration::from_millis(4);
        // The archive can be read, wherever it ended.
        for tier in TIERS {
            manager.json(&["streams", "--from", tier]);
        }
    }
    assert!(kills > 5, "it was never killed in the middle");
    // What the last one that was killed had done is done.
    manager.json(&arguments);
    let daemon = manager.tier().await;
    erasing.arrives(manager).await;
    // Entries before the last checkpoint went: the next one makes up for them.
    wait_until("nothing is worth a warning", async || {
        let verified = manager.json(&["verify"]);
        let warnings = &verified["journals"][0]["warnings"];
        if *warnings == json!([]) { Ok(()) } else { Err(warnings.to_string()) }
    })
    .await;
    daemon.stop().await;
    erasing.is_forgotten(manager).await;
    erasing.comes_back().await;
}

/// A chain that the journal has taken over: its segments, those that it had replaced, its entries.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_chain_left_is_erased_too() {
    let erasing = Erasing::start().await;
    let chains = erasing.lab.manager_with("chains", |settings| settings.layout = "chains".into());
    let daemon = chains.tier().await;
    erasing.publish(20).await;
    erasing.publish_much().await;
    erasing.arrives(&chains).await;
    daemon.stop().await;
    let (status, error) = chains.error(&erasing.asked(&[]));
    assert_eq!(status, 2, "{error}");
    let manager = &erasing.lab.manager;
    // It does not say that it has erased what it cannot.
    erasing.purge().await;
    let (status, error) = manager.error(&erasing.asked(&[]));
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("as a chain, from which messages cannot be erased"), "{error}");
    let daemon = manager.tier().await;
    erasing.publish(1).await;
    erasing.arrives(manager).await;
    erasing.purge().await;
    let done = manager.json(&erasing.asked(&[]));
    assert_eq!(erased(&done, "nas"), 27, "{done}");
    daemon.stop().await;
    erasing.is_forgotten(manager).await;
    erasing.comes_back().await;
}

/// A bucket that keeps old versions has them still, and a key that may not delete leaves them: both are said.
#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_said() {
    let erasing = Erasing::start().await;
    let mc = |arguments: &[&str]| {
        let url = erasing.lab.nas.url.replace("://", &format!("://{USER}:{SECRET}@"));
        let mut command = Command::new(required_tool("bin/mc"));
        command.env("MC_HOST_nas", url).arg("--config-dir").arg(erasing.lab.path("mc"));
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    };
    mc(&["version", "enable", "nas/archive"]);
    let rule = Rule::new(Fault::ReadOnly).operation("DeleteObject*");
    let manager = &erasing.lab.manager;
    let daemon = manager.tier().await;
    erasing.publish(10).await;
    erasing.arrives(manager).await;
    // The entry that the erasure goes on behind is one of those that go.
    erasing.lab.nats.client.publish("users.m4rk3r.last", MARKER.into()).await.unwrap();
    erasing.lab.nats.client.flush().await.unwrap();
    erasing.arrives(manager).await;
    daemon.stop().await;
    erasing.purge().await;
    erasing.lab.wasabi().set_faults(vec![rule]).unwrap();
    let (status, error) = manager.error(&erasing.asked(&[]));
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("the key may not delete (`s3:DeleteObject`)"), "{error}");
    assert!(error.contains("old versions that hold them: delete each, as in `mc rm"), "{error}");
    // With the right to delete, and the versions gone, the same command ends well.
    erasing.lab.wasabi().set_faults(Vec::new()).unwrap();
    let (status, error) = manager.error(&erasing.asked(&[]));
    assert_eq!(status, 6, "{error}");
    assert!(!error.contains("wasabi"), "{error}");
    mc(&["rm", "--recursive", "--force", "--versions", "--non-current", "nas/archive"]);
    let done = manager.json(&erasing.asked(&[]));
    assert_eq!(erased(&done, "nas"), 0, "{done}");
    erasing.is_forgotten(manager).await;
    erasing.comes_back().await;
}

/// Prints which files below a folder hold the marker; the key is in Base64.
const DECRYPT: &str = r#"
import base64, json, pathlib, sys
import pyarrow.parquet as pq
from pyarrow.parquet.encryption import create_decryption_properties

root, key = sys.argv[1:]
properties = create_decryption_properties(footer_key=base64.b64decode(key))
for path in pathlib.Path(root).rglob("*.parquet"):
    file = pq.ParquetFile(path, decryption_properties=properties)
    said = [str(file.metadata.metadata)]
    names = [name for name in file.schema_arrow.names if name != "time"]
    said += [str(batch.to_pylist()) for batch in file.iter_batches(columns=names)]
    if any("m4rk3r" in text for text in said):
        print(json.dumps(str(path)))
"#;

/// Encrypted as in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_archive_forgets_too() {
    let erasing = Erasing::start().await;
    let key = new_key(erasing.lab.dir(), "archive.key", None);
    let manager = erasing.lab.manager_with("host", |settings| {
        settings.archive = encryption("both", Some(&key), &[]);
    });
    let daemon = manager.tier().await;
    erasing.publish(30).await;
    erasing.publish_much().await;
    erasing.arrives(&manager).await;
    assert!(erasing.holding_encrypted(&manager, "nas").await.len() > 3);
    erasing.purge().await;
    let done = manager.json(&erasing.asked(&[]));
    assert_eq!((erased(&done, "nas"), erased(&done, "wasabi")), (36, 36), "{done}");
    daemon.stop().await;
    let again = manager.json(&erasing.asked(&[]));
    assert_eq!((erased(&again, "nas"), erased(&again, "wasabi")), (0, 0), "{again}");
    for tier in TIERS {
        assert_eq!(erasing.holding_encrypted(&manager, tier).await, [""; 0], "{tier}");
        let verified = manager.json(&["verify", "--from", tier]);
        assert_eq!(verified["streams"][1]["messages"], 36, "{tier}: {verified}");
    }
}
