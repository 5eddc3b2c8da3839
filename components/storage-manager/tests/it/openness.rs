//! The archive is open: programs that are not ours read it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Manager, Minio, Nats, SECRET, Settings, USER, fingerprint, tool, wait_until};

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
/// The same of ClickHouse, which says numbers of 64 bits as text.
const CLICKHOUSE: &str = "
import sys, os, json, chdb
bucket, query, columns = sys.argv[1:]
os.chdir(bucket)
for line in str(chdb.query(f'select {columns} from ({query}) order by stream, timeline, seq', 'JSONCompactEachRow')).splitlines():
    row = json.loads(line)
    print(json.dumps([row[0], int(row[1]), int(row[2]), *row[3:]]))
";
/// Prints what a program with Polars has made of a copy of a bucket.
const POLARS: &str = "
import sys, os, json
bucket, program = sys.argv[1:]
os.chdir(bucket)
exec(program)
for row in messages.with_columns(time=polars.col('time').dt.epoch('ns')).to_dicts():
    print(json.dumps([row['stream'], row['seq'], row['time'], row['subject'], row['headers'].hex(), row['payload'].hex()]))
";
/// Asks a query in a copy of a bucket, and prints some columns of what it finds.
const QUERY: &str = "
import sys, os, json, duckdb
bucket, query, columns = sys.argv[1:]
os.chdir(bucket)
for row in duckdb.sql(f'select {columns} from ({query})').fetchall():
    print(json.dumps(row))
";

#[tokio::test(flavor = "multi_thread")]
async fn pyarrow_and_duckdb_find_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    write_to(&manager, "chains");
    nats.publish("S", 90).await;
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 90).await;
    daemon.stop().await;
    let held = manager.json(&["streams"]);
    assert_eq!(held["streams"][0]["segments"], 1);
    let bucket = download(&minio, dir.path()).await;
    let segments = bucket.join("v1/streams/S/segments/0001");
    let segment = std::fs::read_dir(segments).unwrap().next().unwrap().unwrap().path();
    let expected = messages(&nats, "S").await;
    for program in [PYARROW, DUCKDB] {
        assert_eq!(rows(program, &[&segment.to_string_lossy()]).unwrap(), expected);
    }
}

/// The programs that docs/archive.md gives a reader, as they stand there: of a stream that began in a chain,
/// of which a journal has the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_readers_find_what_a_journal_has() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    nats.create("T", json!({})).await;
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    write_to(&manager, "chains");
    nats.publish("S", 90).await;
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 90).await;
    daemon.stop().await;
    write_to(&manager, "journal");
    let daemon = manager.tier().await;
    nats.publish("S", 60).await;
    nats.publish("T", 20).await;
    manager.reaches("S", "nas", 150).await;
    manager.reaches("T", "nas", 20).await;
    let all = [("S", messages(&nats, "S").await), ("T", messages(&nats, "T").await)];
    nats.delete("S", &[5, 120]).await;

    let [polars, read] = &documented("python")[..] else { panic!("there are two programs") };
    let there = messages(&nats, "S").await;
    assert_eq!(there.len(), all[0].1.len() - 2);
    let mut bucket = PathBuf::new();
    wait_until("the reader finds the stream as it is", async || {
        bucket = download(&minio, dir.path()).await;
        let found = rows(read, &[&bucket.to_string_lossy(), "main", "S"])?;
        if found == there { Ok(()) } else { Err(format!("it finds {} messages", found.len())) }
    })
    .await;
    daemon.stop().await;

    let [union, clickhouse, entries] = &documented("sql")[..] else {
        panic!("there are three queries")
    };
    let bucket = bucket.to_string_lossy();
    let asked = |program: &str, query: &str, columns: &str| {
        let query = query.trim().trim_end_matches(';');
        rows(program, &[&bucket, query, columns]).unwrap()
    };
    let ask = |query: &str, columns: &str| asked(QUERY, query, columns);
    let columns = "stream, seq, epoch_ns(time), subject, lower(hex(headers)), lower(hex(payload))";
    let mut expected = Vec::new();
    for (stream, messages) in &all {
        for message in messages {
            let mut row = vec![json!(stream)];
            row.extend(message.as_array().unwrap().iter().cloned());
            expected.push(Value::Array(row));
        }
    }
    assert_eq!(ask(union, columns), expected);
    let columns = "stream, seq, toUnixTimestamp64Nano(time), subject, lower(hex(headers)), lower(hex(payload))";
    assert_eq!(asked(CLICKHOUSE, clickhouse, columns), expected);
    assert_eq!(rows(POLARS, &[&bucket, polars]).unwrap(), expected);
    let numbers = ask(entries, "number");
    assert!(numbers.len() > 2);
    assert!(numbers.iter().zip(0..).all(|(row, number)| row[0] == number), "{numbers:?}");
}

/// Has the storage manager write one layout, whatever all tests are run with.
fn write_to(manager: &Manager, layout: &str) {
    let text = std::fs::read_to_string(manager.config()).unwrap();
    let (rest, _) = text.split_once("[archive]").unwrap();
    let text = format!("{rest}[archive]\nlayout = \"{layout}\"\n");
    std::fs::write(manager.config(), text).unwrap();
}

/// What docs/archive.md has on reading it in blocks of a language.
pub(crate) fn documented(language: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/archive.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let (_, docs) = docs.split_once("## Reading it without this project").unwrap();
    let begin = format!("```{language}\n");
    let blocks = docs.split(&begin).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// The rows that a program prints, each as JSON.
pub(crate) fn rows(program: &str, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = Command::new(tool("python/bin/python"));
    let output = command.args(["-c", program]).args(arguments).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let lines = String::from_utf8(output.stdout).unwrap();
    Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// What a stream has: sequence, time, subject, headers and payload.
async fn messages(nats: &Nats, stream: &str) -> Vec<Value> {
    let fingerprint = fingerprint(nats, stream).await;
    let there = fingerprint["all"].as_array().unwrap().iter().filter(|m| !m.is_null());
    let messages = there.map(|m| {
        let time: jiff::Timestamp = m["time"].as_str().unwrap().parse().unwrap();
        json!([
            m["seq"],
            i64::try_from(time.as_nanosecond()).unwrap(),
            m["subject"],
            hex(&m["hdrs"]),
            hex(&m["data"])
        ])
    });
    messages.collect()
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

/// A copy of the bucket, through S3: MinIO keeps objects in a form of its own.
pub(crate) async fn download(minio: &Minio, dir: &Path) -> PathBuf {
    let credentials =
        s3::creds::Credentials::new(Some(USER), Some(SECRET), None, None, None).unwrap();
    let region = s3::Region::Custom { region: "us-east-1".into(), endpoint: minio.url.clone() };
    let bucket = s3::Bucket::new("archive", region, credentials).unwrap().with_path_style();
    let copy = dir.join("copy");
    for page in bucket.list(String::new(), None).await.unwrap() {
        for listed in page.contents {
            let object = bucket.get_object(&listed.key).await.unwrap();
            let path = copy.join(&listed.key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, object.bytes()).unwrap();
        }
    }
    copy
}
