//! Messages of an archive in other formats.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Lab, documented, required_tool};

fn printed(folder: &Path, program: &str) -> String {
    let mut command = Command::new(required_tool("python/bin/python"));
    let output = command.args(["-c", program]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_programs_find_each_message_once() {
    let lab = Lab::start().await;
    lab.nats.create("ORDERS", json!({ "subjects": ["orders.>"] })).await;
    lab.nats.create("OTHER", json!({ "subjects": ["other.>"] })).await;
    let daemon = lab.manager.tier().await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    for n in 0..50 {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Total", n.to_string());
        let payload = format!("{{\"total\": {n},\n \"text\": \"a, \\\"b\\\"\"}}");
        let subject = format!("orders.{}", if n % 2 == 0 { "eu" } else { "us" });
        let sent = jetstream.publish_with_headers(subject, headers, payload.into()).await.unwrap();
        sent.await.unwrap();
        jetstream.publish("other.x", "x".into()).await.unwrap().await.unwrap();
    }
    jetstream.publish("orders.raw", vec![0, 0xff].into()).await.unwrap().await.unwrap();
    lab.manager.reaches("ORDERS", "nas", 51).await;
    lab.nats.delete("ORDERS", &[3]).await;
    daemon.stop().await;

    let lines = |arguments: &[&str]| {
        let output = lab.manager.run(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let all = lines(&["export", "ORDERS"]);
    let seqs =
        |rows: &[Value]| rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    let expected: Vec<u64> = (1..=51).filter(|seq| *seq != 3).collect();
    assert_eq!(seqs(&all), expected);
    assert_eq!(all[0]["headers"], json!({ "Total": ["0"] }));
    assert_eq!(all[0]["payload"], "{\"total\": 0,\n \"text\": \"a, \\\"b\\\"\"}");
    assert_eq!(all[49]["payload_base64"], "AP8=");

    // What is asked for, and no more.
    let some = ["query", "ORDERS", "--json", "--subject", "orders.eu", "--since-seq", "4"];
    assert_eq!(seqs(&lines(&[&some[..], &["--limit", "2"]].concat())), [5, 7]);
    let from = all[40]["time"].as_str().unwrap();
    assert_eq!(seqs(&lines(&["query", "ORDERS", "--json", "--since", from])), expected[40..]);
    let dropped = ["query", "ORDERS", "--json", "--with-dropped", "--until-seq", "3"];
    assert_eq!(seqs(&lines(&dropped)), [1, 2, 3]);

    // A target is whole, and what is there stays.
    let target = |name: &str| lab.path(name).display().to_string();
    for (format, name) in [("ndjson", "a.ndjson"), ("csv", "a.csv"), ("parquet", "orders")] {
        let export = ["export", "ORDERS", "--format", format, "--output", &target(name)];
        assert!(lab.manager.run(&export).status.success());
        let (status, error) = lab.manager.error(&export);
        assert!(status == 6 && error.contains("is there already"), "{error}");
    }
    let left = std::fs::read_dir(lab.dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(left.is_empty(), "{left:?}");
    let ndjson = std::fs::read_to_string(lab.path("a.ndjson")).unwrap();
    assert_eq!(ndjson.lines().count(), 50);

    // As docs/archive.md has it.
    let [duckdb, clickhouse] = &documented("Exports", "sql")[..] else {
        panic!("there are two queries")
    };
    let sql = format!("import duckdb\nprint(duckdb.sql('''{duckdb}''').fetchall())");
    assert_eq!(printed(lab.dir(), &sql).trim(), "[('orders.eu', 24, 598), ('orders.us', 25, 625)]");
    let sql = format!("import chdb\nprint(chdb.query(r'''{clickhouse}''', 'CSV'), end='')");
    assert_eq!(printed(lab.dir(), &sql), "\"orders.eu\",24,598\n\"orders.us\",25,625\n");
    let [pyarrow, polars] = &documented("Exports", "python")[..] else {
        panic!("there are two programs")
    };
    assert_eq!(printed(lab.dir(), pyarrow).trim(), "50");
    assert_eq!(
        printed(lab.dir(), polars).trim(),
        "[('orders.eu', 24, 598), ('orders.us', 25, 625)]"
    );
    let csv = "import csv\nprint([row['payload'] for row in csv.DictReader(open('a.csv', newline=''))][0])";
    assert_eq!(printed(lab.dir(), csv).trim(), all[0]["payload"].as_str().unwrap());

    // Which files these messages are in.
    let files = lab.manager.json(&["streams", "ORDERS", "--files"]);
    let [stream] = &files["streams"].as_array().unwrap()[..] else { panic!("{files}") };
    assert_eq!(stream["gone"], json!([[3, 3]]));
    let files = stream["files"].as_array().unwrap();
    assert_eq!(
        (&files[0]["first_seq"], &files[files.len() - 1]["last_seq"]),
        (&json!(1), &json!(51))
    );
    let (status, _) = lab.manager.error(&["streams", "NOPE"]);
    assert_eq!(status, 2);
}
