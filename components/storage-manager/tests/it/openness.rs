//! The archive is open: programs that are not ours read it.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Manager, Minio, Nats, Settings, fingerprint, tool};

/// Prints every row of a segment as JSON, read by one library.
const PYARROW: &str = "
import sys, json, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
assert str(table.schema.field('time').type) == 'timestamp[ns, tz=UTC]', table.schema
table = table.set_column(1, 'time', table.column('time').cast('int64'))
for row in table.to_pylist():
    print(json.dumps([row['seq'], row['time'], row['subject'], row['headers'].hex(), row['payload'].hex()]))
";
const DUCKDB: &str = "
import sys, json, duckdb
rows = duckdb.sql(f\"select seq, epoch_ns(time), subject, hex(headers), hex(payload) from '{sys.argv[1]}' order by seq\")
for row in rows.fetchall():
    print(json.dumps([row[0], row[1], row[2], row[3].lower(), row[4].lower()]))
";

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_and_duckdb_find_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    nats.publish("S", 90).await;
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 90).await;
    daemon.stop().await;
    let held = manager.json(&["streams"]);
    assert_eq!(held["streams"][0]["segments"], 1);
    let segment = download(&minio, dir.path()).await;
    let expected: Vec<Value> = fingerprint(&nats, "S").await["all"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            let time: jiff::Timestamp = m["time"].as_str().unwrap().parse().unwrap();
            json!([
                m["seq"],
                i64::try_from(time.as_nanosecond()).unwrap(),
                m["subject"],
                hex(&m["hdrs"]),
                hex(&m["data"])
            ])
        })
        .collect();
    for program in [PYARROW, DUCKDB] {
        let output = Command::new(tool("python/bin/python"))
            .args(["-c", program])
            .arg(&segment)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let rows: Vec<Value> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(rows, expected);
    }
}

fn hex(base64: &Value) -> String {
    use base64::Engine as _;
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(base64.as_str().unwrap_or_default());
    bytes.unwrap().iter().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

/// The one segment, through S3: MinIO keeps objects in a form of its own.
async fn download(minio: &Minio, dir: &std::path::Path) -> std::path::PathBuf {
    use crate::support::{SECRET, USER};
    let credentials =
        s3::creds::Credentials::new(Some(USER), Some(SECRET), None, None, None).unwrap();
    let region = s3::Region::Custom { region: "us-east-1".into(), endpoint: minio.url.clone() };
    let bucket = s3::Bucket::new("archive", region, credentials).unwrap().with_path_style();
    let pages = bucket.list("v1/streams/S/segments/".into(), None).await.unwrap();
    let object = bucket.get_object(&pages[0].contents[0].key).await.unwrap();
    let path = dir.join("segment.parquet");
    std::fs::write(&path, object.bytes()).unwrap();
    path
}
