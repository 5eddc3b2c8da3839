//! An encrypted archive: with the key it is as any other, without it nothing is read, changed or taken for damaged.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::{
    ENTRIES, Encrypted, Host, OFTEN, STREAMS, documented, download, encryption, fake_s3, keys,
    rows, wait_until,
};

/// What a person without a key may not find in an object.
fn shows(object: &[u8]) -> Vec<&'static str> {
    let secrets = ["größe", "Nats-Msg-Id", "alpha", "subjects", "first_seq"];
    let has = |secret: &str| object.windows(secret.len()).any(|part| part == secret.as_bytes());
    secrets.into_iter().filter(|secret| has(secret)).collect()
}

fn is_encrypted(object: &[u8]) -> bool {
    object.starts_with(b"PARE") || object.starts_with(b"{\"sealed\":")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_key_all_comes_back_and_without_nothing_is_read_or_changed() {
    let lab = Encrypted::start().await;
    let key = lab.key("archive.key", None);
    let both = encryption("both", Some(&key), &[]);
    let manager = lab.with(&both);
    let daemon = manager.tier().await;
    lab.publish(&manager, 3).await;
    lab.publish_much(&manager).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let objects = lab.objects(tier).await;
        assert!(objects.len() > 5, "{tier}: {:?}", objects.keys());
        for (key, object) in objects {
            assert!(is_encrypted(&object), "{tier}: {key}");
            assert_eq!(shows(&object), Vec::<&str>::new(), "{tier}: {key}");
        }
    }
    let before = lab.messages().await;
    lab.comes_back(&both, &before).await;
    let found = manager.run(&["query", "S", "--limit", "3"]);
    assert!(String::from_utf8_lossy(&found.stdout).contains("s.b.c"), "{found:?}");
    assert!(manager.run(&["export", "T"]).status.success());

    // Another key, or none: one line, with a status of its own.
    let other = lab.key("other.key", None);
    let there = [lab.objects("nas").await, lab.objects("wasabi").await];
    let id = manager.json(&["key", "list"])[0]["key"].as_str().unwrap().to_owned();
    for encryption in [encryption("both", Some(&other), &[]), String::new()] {
        let Host { nats, manager: stranger } = lab.new_host(&encryption).await;
        for command in [
            &["restore", "--all"][..],
            &["restore", "--all", "--from", "wasabi"],
            &["restore", "S", "--before-damage"],
            &["verify"],
            &["verify", "--from", "wasabi"],
            &["streams"],
            &["status"],
            &["query", "S"],
            &["export", "S"],
            &["tier"],
        ] {
            let (status, error) = stranger.error(command);
            assert_eq!(status, 9, "{command:?}: {error}");
            assert!(error.contains(&format!("encrypted with key `{id}`")), "{command:?}: {error}");
            assert!(error.contains("`v2/") && error.contains("more_key_files"), "{error}");
        }
        let names = nats.api("STREAM.NAMES", Value::Null).await;
        assert!(names["streams"].as_array().is_none_or(Vec::is_empty), "{names}");
    }
    assert!(there == [lab.objects("nas").await, lab.objects("wasabi").await]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_archive_is_encrypted_from_now_on_and_a_key_is_changed() {
    let lab = Encrypted::start().await;
    let recovery = lab.key("recovery.key", None);
    let first = lab.key("2026.key", Some(&recovery));
    let second = lab.key("2027.key", Some(&recovery));
    let manager = lab.with("");
    let daemon = manager.tier().await;
    lab.publish(&manager, 2).await;
    daemon.stop().await;
    let clear = lab.objects("nas").await;
    assert!(clear.values().all(|object| !is_encrypted(object)));
    for written in [
        encryption("both", Some(&first), &[]),
        encryption("both", Some(&second), &[&first]),
        encryption("none", None, &[&first, &second]),
        encryption("both", Some(&second), &[&first]),
    ] {
        let manager = lab.with(&written);
        let daemon = manager.tier().await;
        let before = keys(&lab.bucket(), ENTRIES).await;
        lab.publish(&manager, 2).await;
        daemon.stop().await;
        let encrypted = !written.contains("none");
        for (key, object) in lab.objects("nas").await {
            if key.starts_with(ENTRIES) && !before.contains(&key) {
                assert_eq!(is_encrypted(&object), encrypted, "{key}");
            }
        }
    }
    let before = lab.messages().await;
    lab.comes_back(&encryption("none", None, &[&first, &second]), &before).await;
    // The recovery key alone opens all that either has written.
    let recovered = encryption("both", None, &[&recovery]);
    lab.comes_back(&recovered, &before).await;
    let manager = lab.with(&recovered);
    let last = keys(&lab.bucket(), ENTRIES).await.pop().unwrap();
    let printed = manager.run(&["key", "of", &last]);
    let text = std::fs::read_to_string(&second).unwrap();
    assert!(text.contains(String::from_utf8_lossy(&printed.stdout).trim()), "{printed:?}");
    // But it does not write.
    let (status, error) = manager.error(&["tier"]);
    assert_eq!(status, 2);
    assert!(error.contains("has no `key_file`"), "{error}");
    // A key that is not there any more is named.
    let (status, error) = lab.with(&encryption("both", Some(&second), &[])).error(&["verify"]);
    let listed = lab.with(&encryption("none", None, &[&first])).json(&["key", "list"]);
    let (id, by) = (listed[0]["key"].as_str().unwrap(), listed[0]["recovery"].as_str().unwrap());
    assert_eq!(status, 9, "{error}");
    assert!(error.contains(id) && error.contains(&format!("recovery key `{by}`")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasabi_alone_is_encrypted_and_brings_a_lost_nas_back() {
    let lab = Encrypted::start().await;
    let key = lab.key("archive.key", None);
    let encrypted = encryption("wasabi", Some(&key), &[]);
    let manager = lab.with(&encrypted);
    let daemon = manager.tier().await;
    lab.publish(&manager, 2).await;
    lab.publish_much(&manager).await;
    for (key, object) in lab.objects("nas").await {
        assert_eq!(is_encrypted(&object), key.starts_with("v2/tertiary/"), "{key}");
    }
    for (key, object) in lab.objects("wasabi").await {
        assert!(is_encrypted(&object), "{key}");
        assert_eq!(shows(&object), Vec::<&str>::new(), "{key}");
    }
    daemon.stop().await;
    let before = lab.messages().await;
    lab.comes_back(&encrypted, &before).await;
    // The NAS is lost: what comes back to it is as it was at Wasabi.
    lab.nas.replace();
    let daemon = manager.tier().await;
    lab.publish(&manager, 1).await;
    manager.becomes_whole("nas").await;
    daemon.stop().await;
    let before = lab.messages().await;
    lab.comes_back(&encrypted, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_healed_and_what_is_locked_is_left_alone() {
    let lab = Encrypted::start().await;
    let (old, new) = (lab.key("old.key", None), lab.key("new.key", None));
    let manager = lab.with(&encryption("both", Some(&old), &[]));
    let daemon = manager.tier().await;
    lab.publish(&manager, 1).await;
    let segments = lab.publish_much(&manager).await;
    daemon.stop().await;

    // Both tiers have rotted: only the stream has these messages, and encrypted again they are another file.
    let bad = &segments[0];
    let whole = lab.objects("nas").await.remove(bad).unwrap();
    assert_eq!(lab.objects("wasabi").await.get(bad), Some(&whole), "it went there as it is");
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    let at_wasabi = lab.wasabi_bucket();
    for bucket in [&lab.bucket(), &at_wasabi] {
        bucket.put_object(bad, &bytes).await.unwrap();
    }
    assert_eq!(manager.error(&["verify"]).0, 5);
    let heals = format!("{OFTEN}[heal]\nevery = \"2s\"\n");
    let healing = lab.manager_with("host", |settings| {
        (settings.more, settings.archive) = (heals, encryption("both", Some(&old), &[]));
    });
    let daemon = healing.tier().await;
    wait_until("it is healed", async || {
        let output = healing.run(&["verify"]);
        if output.status.success() { Ok(()) } else { Err(format!("{output:?} {}", daemon.log())) }
    })
    .await;
    assert!(daemon.log().contains("was written anew"), "{}", daemon.log());
    daemon.stop().await;
    at_wasabi.put_object(bad, &whole).await.unwrap();

    // A journal that the new key goes on with, and the old key is gone.
    let both = encryption("both", Some(&new), &[&old]);
    let manager = lab.with(&both);
    let daemon = manager.tier().await;
    lab.publish(&manager, 1).await;
    daemon.stop().await;
    let before = lab.messages().await;
    let there = lab.objects("nas").await;
    let without = lab.with_of("without", &lab.nats, &encryption("both", Some(&new), &[]));
    let (status, error) = without.error(&["tier"]);
    assert_eq!(status, 9, "{error}");
    assert!(there == lab.objects("nas").await);
    lab.comes_back(&both, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_what_can_be_checked_is() {
    let lab = Encrypted::start().await;
    let key = lab.key("archive.key", None);
    let manager = lab.with(&encryption("both", Some(&key), &[]));
    let daemon = manager.tier().await;
    lab.publish(&manager, 4).await;
    let segments = lab.publish_much(&manager).await;
    daemon.stop().await;
    let stranger = lab.with("");
    let (status, error) = stranger.error(&["verify"]);
    assert_eq!(status, 9);
    assert!(error.contains("`verify --without-keys`"), "{error}");
    for tier in ["nas", "wasabi"] {
        let report = stranger.json(&["verify", "--without-keys", "--from", tier]);
        assert_eq!(report["problems"], json!([]), "{report}");
        // Nothing follows the last one of each journal.
        assert!(report["unproven"].as_array().unwrap().len() <= 2, "{report}");
        assert!(report["intact"].as_u64().unwrap() > 3, "{report}");
        assert!(!report["not_checked"].as_array().unwrap().is_empty());
    }
    let said = stranger.run(&["verify", "--without-keys"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("not checked without keys: what is in encrypted objects"), "{said}");

    let nas = lab.bucket();
    let entries = keys(&nas, ENTRIES).await;
    for damaged in [&segments[0], &entries[1]] {
        let whole = nas.get_object(damaged).await.unwrap().into_bytes();
        let mut bytes = whole.to_vec();
        bytes[40] ^= 1;
        nas.put_object(damaged, &bytes).await.unwrap();
        let output = stranger.run(&["verify", "--without-keys"]);
        assert_eq!(output.status.code(), Some(5), "{damaged}: {output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("`{damaged}` is not what was written")), "{said}");
        nas.put_object(damaged, &whole).await.unwrap();
    }
    nas.delete_object(&entries[2]).await.unwrap();
    let output = stranger.run(&["verify", "--without-keys"]);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains(&format!("journal entry `{}` is missing", entries[2])), "{said}");
}

/// A copy needs no key: bytes are copied. What a hash beside them says is checked all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_moves_without_its_keys() {
    let lab = Encrypted::start().await;
    let (old, new) = (lab.key("old.key", None), lab.key("new.key", None));
    let manager = lab.with(&encryption("both", Some(&old), &[]));
    let daemon = manager.tier().await;
    lab.publish(&manager, 3).await;
    let segments = lab.publish_much(&manager).await;
    daemon.stop().await;
    // The older half with another key.
    let rotated = encryption("both", Some(&new), &[&old]);
    let manager = lab.with(&rotated);
    let daemon = manager.tier().await;
    lab.publish(&manager, 3).await;
    daemon.stop().await;
    let before = manager.json(&["verify"]);
    for (name, has) in [("none", String::new()), ("new", encryption("both", Some(&new), &[]))] {
        let nas = fake_s3(lab.dir(), name).await;
        let copied = lab.manager_with(name, |settings| {
            (settings.nas, settings.bucket) = (nas.s3_url(), "archive".into());
            settings.archive.clone_from(&rotated);
        });
        let report = lab.with(&has).json(&["copy", "--to", copied.config().to_str().unwrap()]);
        assert_eq!(report["damaged"], json!([]), "{name}: {report}");
        let after = copied.json(&["verify"]);
        assert_eq!(after["streams"], before["streams"], "{name}");
        assert_eq!(after["journals"], before["journals"], "{name}");
    }
    let bucket = lab.bucket();
    let mut bytes = bucket.get_object(&segments[0]).await.unwrap().to_vec();
    bytes[40] ^= 1;
    bucket.put_object(&segments[0], &bytes).await.unwrap();
    let nas = fake_s3(lab.dir(), "damaged").await;
    let to = lab.manager_with("damaged", |settings| {
        (settings.nas, settings.bucket) = (nas.s3_url(), "archive".into());
    });
    let (status, error) = lab.with("").error(&["copy", "--to", to.config().to_str().unwrap()]);
    assert_eq!(status, 5, "{error}");
    assert!(error.contains("1 object of what was to be copied is damaged"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_used_is_named() {
    let lab = Encrypted::start().await;
    let short = lab.path("short.key");
    std::fs::write(&short, "c2hvcnQ=\n").unwrap();
    let open = lab.key("open.key", None);
    let cases = [(short.as_path(), 0o600, "not 32"), (&open, 0o644, "`chmod 600` it")];
    for (path, mode, said) in cases {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let (status, error) = lab.with(&encryption("both", Some(path), &[])).error(&["streams"]);
        assert_eq!(status, 2, "{error}");
        assert!(error.contains(said) && error.contains(&*path.to_string_lossy()), "{error}");
    }
    let gone = lab.path("gone.key");
    let (status, error) = lab.with(&encryption("both", Some(&gone), &[])).error(&["streams"]);
    assert_eq!(status, 2);
    assert!(error.contains("cannot read archive key"), "{error}");
}

/// Asks the query behind a pragma in a copy of a bucket.
const DUCKDB: &str = "
import sys, os, json, duckdb
bucket, text, key = sys.argv[1:]
os.chdir(bucket)
pragma, query = text.replace('KEY', key).split(';')[:2]
duckdb.execute(pragma)
for row in duckdb.sql(f'select stream, seq, subject from ({query})').fetchall():
    print(json.dumps(row))
";

#[tokio::test(flavor = "multi_thread")]
async fn duckdb_and_pyarrow_read_it_with_the_key_and_not_without() {
    let lab = Encrypted::start().await;
    let key = lab.key("archive.key", None);
    let manager = lab.with(&encryption("both", Some(&key), &[]));
    let daemon = manager.tier().await;
    lab.publish(&manager, 2).await;
    lab.publish_much(&manager).await;
    daemon.stop().await;
    let mut expected = Vec::new();
    for (stream, all) in STREAMS.iter().zip(lab.messages().await) {
        let all = all.as_array().unwrap().clone().into_iter();
        expected.extend(all.map(|m| json!([stream, m["seq"], m["subject"]])));
    }
    let copy = download(&lab.bucket(), lab.dir()).await;
    let text = std::fs::read_to_string(&key).unwrap();
    let key = text.lines().find(|line| !line.starts_with('#')).unwrap();
    let other = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let of = |language| documented("Encryption", language).remove(0);
    let (sql, python) = (of("sql"), of("python"));
    let bucket = copy.to_string_lossy().into_owned();
    assert_eq!(rows(DUCKDB, &[&bucket, &sql, key]).unwrap(), expected);
    rows(DUCKDB, &[&bucket, &sql, other]).unwrap_err();

    let entries = keys(&lab.bucket(), ENTRIES).await;
    let mut found = Vec::new();
    for (number, entry) in entries.iter().enumerate() {
        let path = copy.join(entry).to_string_lossy().into_owned();
        let mut rows_of = rows(&python, &[&path, key]).unwrap();
        assert_eq!(rows_of.pop(), Some(json!([number])), "{entry}");
        found.extend(rows_of);
        rows(&python, &[&path, other]).unwrap_err();
    }
    // Others lie in segments of their own.
    let small = expected.iter().filter(|row| row[2] != "s.large").cloned();
    assert!(small.into_iter().all(|row| found.contains(&row)), "{found:?}");
}
