//! Whatever is wrong, one line says what and the way out, and nothing is half done.

use std::fs;
use std::path::Path;

use cim_core::archive::key::Chain;
use cim_core::archive::{Entry, Fork, Segment};
use cim_core::names::StreamName;
use cim_storage_manager::segment::{Columns, Message, SegmentWriter};
use serde_json::{Value, json};

use crate::support::{Lab, Manager, Settings, credentials_file};

/// Paths and ports differ from run to run.
fn plain(text: &str, dir: &Path) -> String {
    let text = text.replace(&dir.display().to_string(), "DIR");
    let digits = |word: &str| word.trim_matches(['`', ';', ':', ',']).to_owned();
    text.split(' ')
        .map(|word| match digits(word) {
            word if word.contains("127.0.0.1") => "ADDRESS",
            word if word.starts_with("v1/probe/") => "PROBE",
            _ => word,
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_and_services_that_are_wrong() {
    let lab = Lab::with().own_nas().start().await;
    let mut errors = Vec::new();
    let mut see = |what: &str, (status, error): (i32, String)| {
        errors.push(format!("{what} ({status})\n  {}", plain(&error, lab.dir())));
    };
    let manager = |name: &str, settings: &Settings| Manager::new(lab.dir(), name, settings);

    let mut settings = Settings::new(&lab.nats.url, &lab.nas.url);
    settings.more = "[segment]\nflush_age = 5\n".into();
    see("a value of the wrong kind", manager("a", &settings).error(&["tier"]));
    settings.more = "[segment]\nflsh_age = \"5s\"\n".into();
    see("an unknown key", manager("b", &settings).error(&["tier"]));
    settings.more = "[segment]\nflush_age = \"0s\"\n".into();
    see("an age of nothing", manager("c", &settings).error(&["tier"]));
    settings.more = "[segment]\nflush_size = \"0\"\n".into();
    see("a size of nothing", manager("c", &settings).error(&["tier"]));
    settings.more = "[streams]\ninclude = [\"[abc\"]\n".into();
    see("a glob that is none", manager("c", &settings).error(&["tier"]));
    settings.more = "[streams]\ninclude = []\n".into();
    see("no stream at all", manager("c", &settings).error(&["tier"]));
    settings.more = "[memory]\nbudget = \"1MiB\"\n".into();
    see("a budget that is too small", manager("c", &settings).error(&["tier"]));
    let mut settings = Settings::new(&lab.nats.url, &lab.nas.url);
    settings.bucket = "CIM_archive".into();
    see("a bucket's name that S3 refuses", manager("h", &settings).error(&["tier"]));
    settings.bucket = "10.0.0.1".into();
    see("a bucket's name that is an address", manager("h", &settings).error(&["restore", "--all"]));

    let away = Settings::new("nats://127.0.0.1:1", &lab.nas.url);
    see("no NATS", manager("d", &away).error(&["tier"]));
    see("no NATS, restore", manager("d", &away).error(&["restore", "--all"]));
    let away = Settings::new(&lab.nats.url, "127.0.0.1:9000");
    see("an endpoint without a scheme", manager("e", &away).error(&["tier"]));
    let away = Settings::new(&lab.nats.url, "http://127.0.0.1:1");
    see("no S3", manager("e", &away).error(&["tier"]));
    see("no S3, verify", manager("e", &away).error(&["verify"]));

    let secure = Settings::new(&lab.nats.url, &lab.nas.url.replace("http:", "https:"));
    see("S3 without TLS", manager("e", &secure).error(&["verify"]));
    let secure = Settings::new(&lab.nats.url.replace("nats:", "tls:"), &lab.nas.url);
    see("NATS without TLS", manager("e", &secure).error(&["status"]));
    let other = Settings::new("http://127.0.0.1:8222", &lab.nas.url);
    see("a server that is none of NATS", manager("e", &other).error(&["status"]));

    let settings = Settings::new(&lab.nats.url, &lab.nas.url);
    let wrong = manager("f", &settings);
    credentials_file(lab.dir(), "f.env", "nobody", "nothing-at-all");
    see("wrong credentials", wrong.error(&["tier"]));
    fs::write(lab.path("f.env"), "AWS_ACCESS_KEY_ID=x\n").unwrap();
    see("half a credentials file", wrong.error(&["tier"]));
    fs::remove_file(lab.path("f.env")).unwrap();
    see("no credentials file", wrong.error(&["tier"]));

    let right = manager("g", &settings);
    see("no such stream", right.error(&["restore", "NOPE"]));
    see("no third tier", right.error(&["restore", "--all", "--from", "wasabi"]));
    lab.nats.create("S", json!({})).await;
    let daemon = right.tier().await;
    lab.nats.publish("S", 1).await;
    right.reaches("S", "nas", 1).await;
    daemon.stop().await;
    see("the stream exists", right.error(&["restore", "S"]));
    see("no such timeline", right.error(&["restore", "S", "--timeline", "9"]));
    see("no such object", right.error(&["key", "of", "nope"]));
    let nowhere = lab.path("nowhere/there").display().to_string();
    see("no such directory", right.error(&["export", "S", "--output", &nowhere]));
    see("no place for a ready file", right.error(&["tier", "--ready-file", &nowhere]));
    // As editors of other systems write it.
    let bytes = fs::read_to_string(lab.path("g.env")).unwrap();
    fs::write(lab.path("g.env"), format!("\u{feff}{}", bytes.replace('\n', "\r\n"))).unwrap();
    let output = right.run(&["check"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut settings = Settings::new(&lab.nats.url, &lab.nas.url);
    settings.more = "[streams]\ninclude = [\">\"]\n".into();
    let output = manager("i", &settings).run(&["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("has the glob `>`, which no stream matches"), "{said}");
    assert!(said.contains("no stream on the server matches `[streams]`"), "{said}");
    lab.nats.delete_stream("S").await;
    // Named twice it is one.
    right.json(&["restore", "S", "S"]);
    insta::assert_snapshot!(errors.join("\n"));
}

/// A lab with a chain of three segments of a stream, which NATS has no more.
async fn lost_stream() -> Lab {
    let lab = Lab::with().layout("chains").start().await;
    lab.lose_three_segments("S").await;
    lab
}

/// Damage of every kind, at the object that holds it: refused, and the server has no stream.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_damaged() {
    // Of a chain's files; of a journal's: journal_damage.rs.
    let lab = lost_stream().await;
    let bucket = lab.bucket();
    let keys = |prefix: &'static str| {
        let bucket = bucket.clone();
        async move {
            let pages = bucket.list(prefix.into(), None).await.unwrap();
            let keys: Vec<String> =
                pages.into_iter().flat_map(|p| p.contents).map(|o| o.key).collect();
            keys
        }
    };
    let segments = keys("v1/streams/S/segments/").await;
    let entries = keys("v1/streams/S/manifest/").await;
    assert!(segments.len() >= 3 && entries.len() >= 4, "{segments:?} {entries:?}");
    let (segment, entry, head) = (&segments[1], &entries[1], &entries[entries.len() - 1]);
    for (key, kinds) in [
        (segment, &["flipped", "cut", "empty", "missing"][..]),
        (entry, &["flipped", "cut", "empty", "missing"]),
        // The newest entry that is missing is an archive that is one commit younger, and whole.
        (head, &["flipped", "cut", "empty"]),
        (&entries[0], &["flipped", "missing"]),
    ] {
        let whole = bucket.get_object(key).await.unwrap().to_vec();
        for kind in kinds {
            let mut bytes = whole.clone();
            match *kind {
                "flipped" => bytes[whole.len() / 2] ^= 0x10,
                "cut" => bytes.truncate(whole.len() / 2),
                "empty" => bytes.clear(),
                _ => {}
            }
            if *kind == "missing" {
                bucket.delete_object(key).await.unwrap();
            } else {
                bucket.put_object(key, &bytes).await.unwrap();
            }
            let (status, error) = lab.manager.error(&["restore", "S"]);
            assert_eq!(status, 5, "{key} {kind}: {error}");
            let (status, error) = lab.manager.error(&["verify"]);
            assert_eq!(status, 5, "{key} {kind}: {error}");
            let names = lab.nats.api("STREAM.NAMES", Value::Null).await;
            assert_eq!(names["total"], 0, "{key} {kind} left a stream behind: {names}");
        }
        bucket.put_object(key, &whole).await.unwrap();
    }
    // With everything back in its place the archive is whole.
    lab.manager.json(&["verify"]);
    lab.manager.json(&["restore", "S"]);
    assert_eq!(lab.nats.last_seq("S").await, 60);
}

/// Two segments that both hold the sequences 25 to 30, each as whole as any.
async fn twice(bucket: &s3::Bucket, timeline: u32) -> Vec<Segment> {
    let mut segments = Vec::new();
    for first in [21, 25] {
        let (mut writer, mut columns) = (SegmentWriter::new(1), Columns::default());
        for seq in first..first + 10 {
            columns.push(Message { seq, time: 1, subject: b"s.a", headers: b"", payload: b"" });
        }
        writer.append(columns).unwrap();
        let finished = writer.finish(&StreamName::new("S").unwrap(), timeline, false).unwrap();
        bucket.put_object(&finished.segment.key, &finished.file).await.unwrap();
        segments.push(finished.segment);
    }
    segments
}

/// Segments that overlap, in an entry of the right number and with the right hashes.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_forged() {
    // Of a chain's files; of a journal's: journal_forged.rs.
    let lab = lost_stream().await;
    let bucket = lab.bucket();
    let pages = bucket.list("v1/streams/S/manifest/".into(), None).await.unwrap();
    let (mut segments, mut head) = (Vec::new(), None);
    for object in pages.iter().flat_map(|page| &page.contents) {
        let bytes = bucket.get_object(&object.key).await.unwrap();
        let (entry, hash) = Entry::from_object(bytes.as_slice()).unwrap();
        segments.extend(entry.add.clone());
        head = Some((entry, hash));
    }
    let ((head, hash), segment) = (head.unwrap(), &segments[1]);
    assert_eq!((segment.first_seq, segment.last_seq), (21, 40));
    let base = Entry {
        number: head.number + 1,
        previous: Some(hash),
        add: Vec::new(),
        stream: None,
        consumers: None,
        checkpoint: None,
        ..head
    };
    let remove = vec![segment.key.clone()];
    let merged = Entry { remove, add: twice(&bucket, 1).await, ..base.clone() };
    let fork = Some(Fork { parent: None, reason: "recreated".into() });
    let forked = Entry { timeline: 2, fork, add: twice(&bucket, 2).await, ..base };
    let key = Chain::Manifest.key(&StreamName::new("S").unwrap(), merged.number).to_string();
    for forged in [merged, forked] {
        bucket.put_object(&key, &forged.to_object().0).await.unwrap();
        for command in [&["restore", "S"][..], &["restore", "S", "--dry-run"], &["verify"]] {
            let output = lab.manager.run(command);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(5), "{command:?}: {said}");
            assert!(said.contains("overlaps another one"), "{command:?}: {said}");
        }
        let names = lab.nats.api("STREAM.NAMES", Value::Null).await;
        assert_eq!(names["total"], 0, "it left a stream behind: {names}");
    }
    bucket.delete_object(&key).await.unwrap();
    lab.manager.json(&["restore", "S"]);
    assert_eq!(lab.nats.last_seq("S").await, 60);
}

/// MinIO lists the folder of an object that it is just about to store.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_an_entry_that_is_not_there_yet_is_no_damage() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let group = lab.nas.bucket_dir().join("v1/streams/S/manifest/00000000/x");
    std::fs::create_dir_all(&group).unwrap();
    let prefix = "v1/streams/S/manifest/".to_owned();
    let pages = lab.bucket().list(prefix, Some("/".into())).await.unwrap();
    let listed = pages.iter().any(|page| page.common_prefixes.is_some());
    assert!(listed, "it is not listed: this test proves nothing");
    lab.manager.json(&["status"]);
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "nas", 20).await;
    daemon.stop().await;
}
