//! The archive is open: programs that are not ours read it.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{Lab, Nats, documented, download, fingerprint, rows, wait_until};

/// The section of docs/archive.md that these programs are from.
const READING: &str = "Reading it without this project";
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
    let lab = Lab::with().layout("chains").start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 90).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 90).await;
    daemon.stop().await;
    let held = lab.manager.json(&["streams"]);
    assert_eq!(held["streams"][0]["segments"], 1);
    let bucket = download(&lab.bucket(), lab.dir()).await;
    let segments = bucket.join("v1/streams/S/segments/0001");
    let segment = std::fs::read_dir(segments).unwrap().next().unwrap().unwrap().path();
    let expected = messages(&lab.nats, "S").await;
    for program in [PYARROW, DUCKDB] {
        assert_eq!(rows(program, &[&segment.to_string_lossy()]).unwrap(), expected);
    }
}

/// The programs that docs/archive.md gives a reader, as they stand there: of a stream that began in a chain,
/// of which a journal has the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_documented_readers_find_what_a_journal_has() {
    let mut lab = Lab::with().layout("chains").start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.create("T", json!({})).await;
    lab.nats.publish("S", 90).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 90).await;
    daemon.stop().await;
    lab.configure(|settings| settings.layout = "journal".into());
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 60).await;
    lab.nats.publish("T", 20).await;
    lab.manager.reaches("S", "nas", 150).await;
    lab.manager.reaches("T", "nas", 20).await;
    let all = [("S", messages(&lab.nats, "S").await), ("T", messages(&lab.nats, "T").await)];
    lab.nats.delete("S", &[5, 120]).await;

    let [polars, read] = &documented(READING, "python")[..] else {
        panic!("there are two programs")
    };
    let there = messages(&lab.nats, "S").await;
    assert_eq!(there.len(), all[0].1.len() - 2);
    let mut bucket = PathBuf::new();
    wait_until("the reader finds the stream as it is", async || {
        bucket = download(&lab.bucket(), lab.dir()).await;
        let found = rows(read, &[&bucket.to_string_lossy(), "main", "S"])?;
        if found == there { Ok(()) } else { Err(format!("it finds {} messages", found.len())) }
    })
    .await;
    daemon.stop().await;

    let [union, clickhouse, entries] = &documented(READING, "sql")[..] else {
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
