//! Streams go from a nats-server of one version onto one of another: what the table in docs/storage-manager.md says of
//! each direction is what happens.

use std::collections::BTreeMap;
use std::path::Path;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, Version, fingerprint, login, pinned, wait_until};

const MESSAGES: usize = 12;

/// A line of the table.
struct Line {
    /// What the table calls it.
    what: &'static str,
    stream: &'static str,
    /// The first version that has it.
    since: (u64, u64),
    config: Value,
    consumers: Vec<Value>,
    /// What servers that are too old are said to lack.
    lacks: &'static [&'static str],
}

fn line(what: &'static str, stream: &'static str, since: (u64, u64), config: Value) -> Line {
    Line { what, stream, since, config, consumers: Vec::new(), lacks: &[] }
}

impl Line {
    fn with(self, consumers: impl IntoIterator<Item = Value>) -> Self {
        Self { consumers: consumers.into_iter().collect(), ..self }
    }

    fn lacks(self, lacks: &'static [&'static str]) -> Self {
        Self { lacks, ..self }
    }

    /// Returns the prefix of its subjects.
    fn prefix(&self) -> String {
        self.stream.to_lowercase()
    }
}

/// All that is compared.
fn lines() -> Vec<Line> {
    let hour = 3_600_000_000_000_u64;
    let pull = |name: &str| json!({ "durable_name": name, "ack_policy": "explicit" });
    let with = |mut config: Value, key: &str, value: Value| {
        config[key] = value;
        config
    };
    let late = with(pull("late"), "max_deliver", json!(3));
    let push = with(pull("push"), "deliver_subject", json!("deliver.here"));
    let none = json!({ "durable_name": "none", "ack_policy": "none" });
    let grouped = with(pull("grouped"), "priority_groups", json!(["a"]));
    let by_priority = with(
        with(pull("by-priority"), "priority_groups", json!(["a"])),
        "priority_policy",
        json!("prioritized"),
    );
    vec![
        line(
            "messages, headers, gaps, limits; consumers that pull and push",
            "EVENTS",
            (2, 9),
            json!({
                "description": "kept to the letter", "max_msgs": 1000, "max_bytes": 10_000_000,
                "max_age": 24 * hour, "max_msg_size": 100_000, "duplicate_window": 60_000_000_000_u64,
            }),
        )
        .with([pull("half"), with(late, "backoff", json!([hour, 2 * hour])), push, none]),
        line(
            "key-value buckets",
            "KV_B",
            (2, 9),
            json!({
                "subjects": ["$KV.B.>"], "max_msgs_per_subject": 2, "allow_rollup_hdrs": true,
                "deny_delete": true, "discard": "new", "allow_direct": true,
            }),
        ),
        line("work queues", "JOBS", (2, 9), json!({ "retention": "workqueue" }))
            .with([pull("half")]),
        line("`interest`", "NEWS", (2, 9), json!({ "retention": "interest" })).with([pull("half")]),
        line(
            "`sources`",
            "SUM",
            (2, 9),
            json!({ "subjects": [], "sources": [{ "name": "EVENTS" }] }),
        ),
        line("`mirror`", "COPY", (2, 9), json!({ "subjects": [], "mirror": { "name": "EVENTS" } })),
        line("`compression`", "SMALL", (2, 10), json!({ "compression": "s2" }))
            .lacks(&["`compression`, which servers before 2.10 do not know"]),
        line("`first_seq`", "FIRST", (2, 10), json!({ "first_seq": 1000 }))
            .lacks(&["`first_seq`, which servers before 2.10 do not know"]),
        line(
            "`subject_transform`",
            "MAPPED",
            (2, 10),
            json!({ "subject_transform": { "src": "mapped.>", "dest": "stored.>" } }),
        )
        .lacks(&["`subject_transform`, which servers before 2.10 do not know"]),
        line("`metadata`", "NOTED", (2, 10), json!({ "metadata": { "team": "one" } }))
            .lacks(&["`metadata`, which servers before 2.10 do not know"]),
        line("consumers with `filter_subjects`", "FILTERED", (2, 10), json!({}))
            .with([with(pull("two"), "filter_subjects", json!(["filtered.a", "filtered.b.c"]))])
            .lacks(&["consumer `two` with `filter_subjects`, which servers before 2.10 do not know"]),
        line(
            "messages' times to live",
            "TTL",
            (2, 11),
            json!({ "allow_msg_ttl": true, "subject_delete_marker_ttl": hour }),
        )
        .lacks(&["level 1"]),
        line("consumers with `priority_groups`, or paused", "GROUPED", (2, 11), json!({}))
            .with([
                with(grouped, "priority_policy", json!("overflow")),
                with(pull("paused"), "pause_until", json!("2090-01-01T00:00:00Z")),
            ])
            .lacks(&["level 1"]),
        line("consumers that are `prioritized`", "URGENT", (2, 12), json!({}))
            .with([by_priority])
            .lacks(&["level 1", "`prioritized`"]),
        line("counters", "COUNTS", (2, 12), json!({ "allow_msg_counter": true })).lacks(&["level 2"]),
        line(
            "schedules",
            "SCHEDULES",
            (2, 12),
            json!({ "allow_msg_schedules": true, "allow_rollup_hdrs": true }),
        )
        .lacks(&["level 2"]),
        line("atomic batches", "ATOMIC", (2, 12), json!({ "allow_atomic": true })).lacks(&["level 2"]),
        line("`persist_mode`", "ASYNC", (2, 12), json!({ "persist_mode": "async" }))
            .lacks(&["level 2"]),
        line("fast batches", "FAST", (2, 14), json!({ "allow_batched": true })).lacks(&["level 4"]),
        line("streams in memory", "MEMORY", (2, 9), json!({ "storage": "memory" }))
            .with([pull("half")])
            .lacks(&["kept in memory, which servers before 2.15 cannot restore"]),
    ]
}

/// Returns a version without its patch.
fn minor(version: Version) -> (u64, u64) {
    let mut numbers = version.number().split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The table of the documentation: by what is compared and version, whether it comes back.
fn documented() -> BTreeMap<(String, String), bool> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/storage-manager.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut rows =
        page.lines().skip_while(|line| !line.starts_with("| restored onto nats-server |"));
    let cells = |row: &str| -> Vec<String> {
        let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = cells(rows.next().expect("the page has the table"));
    assert_eq!(head[1..], *pinned(), "its columns are the versions of ci/versions.sh");
    let mut table = BTreeMap::new();
    for row in rows.skip(1).take_while(|row| row.starts_with('|')).map(cells) {
        for (version, cell) in head.iter().zip(&row).skip(1) {
            let kept = match &cell[..] {
                "exact" => true,
                "refused" => false,
                other => panic!("`{other}` of {row:?} is no word of the table"),
            };
            table.insert((row[0].clone(), version.clone()), kept);
        }
    }
    assert_eq!(table.len(), lines().len() * pinned().len(), "{:?}", table.keys());
    table
}

async fn publish(nats: &Nats, line: &Line) {
    let headers = |of: &[(&str, &str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in of {
            headers.insert(*name, *value);
        }
        headers
    };
    let prefix = line.prefix();
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let send = async |subject: String, of: &[(&str, &str)], payload: &'static str| {
        let sent = jetstream.publish_with_headers(subject.clone(), headers(of), payload.into());
        sent.await.unwrap().await.unwrap_or_else(|error| panic!("{subject}: {error}"));
    };
    match line.stream {
        // They get what they have from another one.
        "SUM" | "COPY" => {}
        "KV_B" => {
            for n in 0..4 {
                send(format!("$KV.B.often.{}", n % 2), &[], "value").await;
                send("$KV.B.purged".into(), &[], "value").await;
            }
            send("$KV.B.deleted".into(), &[], "value").await;
            send("$KV.B.deleted".into(), &[("KV-Operation", "DEL")], "").await;
            let purge = [("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")];
            send("$KV.B.purged".into(), &purge, "").await;
        }
        "COUNTS" => {
            for n in 0..MESSAGES {
                send(format!("{prefix}.{}", n % 3), &[("Nats-Incr", "+2")], "").await;
            }
        }
        "SCHEDULES" => {
            let target = format!("{prefix}.out");
            let of = [
                ("Nats-Schedule", "@at 2090-01-01T00:00:00Z"),
                ("Nats-Schedule-Target", target.as_str()),
            ];
            send(format!("{prefix}.job"), &of, "job").await;
            send(format!("{prefix}.plain"), &[], "no job").await;
        }
        "TTL" => {
            for n in 0..MESSAGES {
                send(format!("{prefix}.{n}"), &[("Nats-TTL", "24h")], "for a day").await;
            }
        }
        "ATOMIC" => {
            let of = |sequence| [("Nats-Batch-Id", "one"), ("Nats-Batch-Sequence", sequence)];
            for sequence in ["1", "2"] {
                let subject = format!("{prefix}.{sequence}");
                let sent =
                    nats.client.publish_with_headers(subject, headers(&of(sequence)), "".into());
                sent.await.unwrap();
            }
            let end = [of("3").as_slice(), &[("Nats-Batch-Commit", "1")]].concat();
            send(format!("{prefix}.3"), &end, "").await;
        }
        stream => nats.publish(stream, MESSAGES).await,
    }
}

/// Has a consumer get some messages, of which it acknowledges the first few.
async fn consume(nats: &Nats, stream: &str, consumer: &str) {
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    // What an old server says of a stream this client does not read.
    let consumer: PullConsumer =
        jetstream.get_consumer_from_stream(consumer, stream).await.unwrap();
    let mut done = 0;
    while done < 5 {
        let mut messages = consumer.fetch().max_messages(5 - done).messages().await.unwrap();
        while let Some(message) = messages.next().await {
            message.unwrap().double_ack().await.unwrap();
            done += 1;
        }
    }
}

/// A host with all that its version can hold.
async fn fill(nats: &Nats, lines: &[Line]) {
    for line in lines {
        nats.create(line.stream, line.config.clone()).await;
        for config in &line.consumers {
            let name = config["durable_name"].as_str().unwrap();
            let body = json!({ "stream_name": line.stream, "config": config });
            let what = format!("CONSUMER.DURABLE.CREATE.{}.{name}", line.stream);
            nats.api(&what, body).await;
        }
    }
    for line in lines {
        publish(nats, line).await;
        if line.consumers.iter().any(|config| config["durable_name"] == "half") {
            consume(nats, line.stream, "half").await;
        }
    }
}

/// The duplicate window of every stream on servers before 2.14, which newer ones do not give to one without subjects.
const WINDOW: u64 = 120_000_000_000;

/// Takes out of a configuration what says nothing, and what a server notes for itself.
fn plain(config: &Value) -> Value {
    let mut config = config.clone();
    let of = config.as_object_mut().unwrap();
    if let Some(metadata) = of.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !key.starts_with("_nats."));
    }
    of.retain(|key, value| match value {
        Value::Number(number) if key == "duplicate_window" => number.as_u64() != Some(WINDOW),
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty() && text != "none",
        Value::Number(number) => number.as_i64() != Some(0),
        other => *other == true,
    });
    config
}

/// A stream as it is to come back, whichever version shows it.
async fn seen(nats: &Nats, stream: &str) -> Value {
    let mut seen = fingerprint(nats, stream).await;
    seen["config"] = plain(&seen["config"]);
    let consumers = seen["consumers"].as_array_mut().unwrap();
    // The storage manager's own is none of the stream's.
    consumers.retain(|consumer| {
        let name = consumer["config"]["durable_name"].as_str();
        !name.is_some_and(|name| name.starts_with("cim-tier-"))
    });
    for consumer in consumers {
        consumer["config"] = plain(&consumer["config"]);
        // The same as the durable name, which is all that old servers show.
        consumer["config"].as_object_mut().unwrap().remove("name");
    }
    seen
}

/// What a test has of one version: an archive, and what was in it.
struct Archive<'a> {
    lab: &'a Lab,
    lines: &'a [Line],
    before: BTreeMap<&'static str, Value>,
}

impl Archive<'_> {
    /// Restores onto an empty server of a version.
    async fn onto(
        &self,
        version: Version,
        table: &BTreeMap<(String, String), bool>,
    ) -> Option<(String, Nats)> {
        let host = format!("onto-{}", version.number());
        let Host { mut nats, manager } = self.lab.host_of(&host, version).await?;
        let kept = |line: &Line| table[&(line.what.to_owned(), version.number().to_owned())];
        let (kept, refused): (Vec<_>, Vec<_>) = self.lines.iter().partition(|line| kept(line));
        for dry in [&["--dry-run"][..], &[]] {
            // Some of the streams take from others.
            let all = ["restore", "--all", "--fence", "0", "--json"];
            let output = manager.run(&[&all, dry].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            let report: Value = serde_json::from_slice(&output.stdout).expect(&said);
            let status = if refused.is_empty() { 0 } else { 6 };
            assert_eq!(output.status.code(), Some(status), "{host}: {said}{report}");
            let outcomes = report["streams"].as_array().unwrap().iter();
            let outcomes: BTreeMap<&str, &Value> =
                outcomes.map(|of| (of["stream"].as_str().unwrap(), of)).collect();
            for line in &kept {
                let outcome = if dry.is_empty() { "restored" } else { "ready" };
                assert_eq!(outcomes[line.stream]["outcome"], outcome, "{host}: {report}");
            }
            for line in &refused {
                let of = outcomes[line.stream];
                let why = of["why"].as_str().unwrap_or_default();
                assert_eq!(of["outcome"], "refused", "{host}: {of}");
                let named = line.lacks.iter().any(|lacks| why.contains(lacks));
                assert!(named, "{host}: {of}");
                assert!(of["way_out"].is_string(), "{host}: {of}");
            }
        }
        let mut differs = self.compare(&nats, &kept).await;
        let names = nats.api("STREAM.NAMES", Value::Null).await;
        assert_eq!(names["total"], kept.len(), "{host}: {names}");
        let kept: Vec<_> = kept.into_iter().filter(|line| line.stream != "MEMORY").collect();
        // What the server has in memory must be what it has on disk.
        nats.crash_and_start().await;
        differs.extend(self.compare(&nats, &kept).await);
        assert!(differs.is_empty(), "{host}: {}", differs.join("\n"));
        Some((host, nats))
    }

    /// Returns what is not as it was.
    async fn compare(&self, nats: &Nats, lines: &[&Line]) -> Vec<String> {
        let mut differs = Vec::new();
        for line in lines {
            let (before, after) = (&self.before[line.stream], seen(nats, line.stream).await);
            for (part, before) in before.as_object().unwrap() {
                if *before != after[part] {
                    let stream = line.stream;
                    differs.push(format!("{part} of {stream}: {before}, now {}", after[part]));
                }
            }
        }
        differs
    }

    /// A message more, which the streams that copy this one get once and nothing else, and the archive goes on.
    async fn goes_on(&self, host: &str, nats: &Nats) {
        let ends = async || {
            let mut ends = BTreeMap::new();
            for stream in ["EVENTS", "SUM", "COPY"] {
                ends.insert(stream, nats.last_seq(stream).await);
            }
            ends
        };
        let before = ends().await;
        let manager = self.lab.manager_of(host, nats);
        let daemon = manager.tier().await;
        nats.publish("EVENTS", 1).await;
        wait_until("copies get it", async || {
            let now = ends().await;
            let all = now.iter().all(|(stream, end)| *end > before[stream]);
            if all { Ok(()) } else { Err(format!("{host}: {now:?}")) }
        })
        .await;
        let after: Vec<_> =
            ends().await.into_iter().map(|(name, end)| end - before[name]).collect();
        assert_eq!(after, [1, 1, 1], "{host}");
        manager.has_all(nats, &["EVENTS", "SUM", "COPY"]).await;
        daemon.stop().await;
        let held = manager.json(&["streams"]);
        let held = held["streams"].as_array().unwrap().iter();
        for stream in held.filter(|held| held["stream"] == "EVENTS") {
            assert_eq!(stream["timelines"].as_array().unwrap().len(), 1, "{host}: {stream}");
        }
    }
}

/// Archives what a version has, and restores it onto others.
async fn from(version: Version, onto: &[Version]) {
    let table = documented();
    let Some(mut lab) = Lab::with().version(version).start_if_there().await else { return };
    assert_eq!(lab.nats.client.server_info().version, version.number(), "run `ci/setup --test`");
    let mut lines = lines();
    lines.retain(|line| line.since <= minor(version));
    let daemon = lab.manager.tier().await;
    fill(&lab.nats, &lines).await;
    wait_until("what is copied is there", async || {
        let (all, sum, copy) = (
            lab.nats.last_seq("EVENTS").await,
            lab.nats.last_seq("SUM").await,
            lab.nats.last_seq("COPY").await,
        );
        if (sum, copy) == (all, all) { Ok(()) } else { Err(format!("{sum} and {copy} of {all}")) }
    })
    .await;
    let streams: Vec<_> = lines.iter().map(|line| line.stream).collect();
    lab.manager.has_all(&lab.nats, &streams).await;
    lab.nats.delete("EVENTS", &[2, 3, 9]).await;
    daemon.stop().await;
    let mut before = BTreeMap::new();
    for line in &lines {
        before.insert(line.stream, seen(&lab.nats, line.stream).await);
    }
    lab.nats.kill();
    let archive = Archive { lab: &lab, lines: &lines, before };
    let mut last = None;
    for version in onto {
        last = archive.onto(*version, &table).await;
    }
    if let Some((host, nats)) = last {
        archive.goes_on(&host, &nats).await;
    }
}

/// The version at a place of the table.
fn at(place: usize) -> Version {
    Version::Release(&pinned()[place])
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_newest_onto_itself() {
    from(Version::Current, &[Version::Current]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_newest_onto_those_before() {
    from(Version::Current, &[at(4), at(3), at(2)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_newest_onto_the_oldest() {
    from(Version::Current, &[at(1), Version::Old]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2_9() {
    from(Version::Old, &[Version::Old, Version::Current]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2_10() {
    from(at(1), &[at(1), Version::Current]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2_11() {
    from(at(2), &[at(2), Version::Current]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2_12() {
    from(at(3), &[at(3), Version::Current]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_2_14() {
    from(at(4), &[at(4), Version::Current]).await;
}

/// A user that is not told the level may restore, and is told the setting.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_would_drop_without_a_word_is_refused_without_its_level() {
    let lab = Lab::start().await;
    for (stream, config) in [("COUNTS", json!({ "allow_msg_counter": true })), ("S", json!({}))] {
        lab.nats.create(stream, config).await;
    }
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 3).await;
    for line in lines().iter().filter(|line| line.stream == "COUNTS") {
        publish(&lab.nats, line).await;
    }
    lab.manager.has_all(&lab.nats, &["COUNTS", "S"]).await;
    daemon.stop().await;
    let modest =
        "{ user: modest, password: modest, permissions: { publish: { deny: \"$JS.API.INFO\" } } }";
    let more = format!(
        "accounts {{ A: {{ jetstream: enabled, users: [{{ user: a, password: a }}, {modest}] }} }}\n\
         no_auth_user: a\n"
    );
    let Some(nats) = Nats::start_version(&lab.path("new"), at(2), &more).await else { return };
    let login = login(lab.dir(), "modest", "modest");
    let manager = lab.manager_with("new", |settings| {
        (settings.nats, settings.login) = (nats.url.clone(), login);
    });
    let output = manager.run(&["restore", "--all", "--json"]);
    assert_eq!(output.status.code(), Some(6), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (counts, other) = (&report["streams"][0], &report["streams"][1]);
    assert_eq!((&counts["outcome"], &other["outcome"]), (&json!("refused"), &json!("restored")));
    assert_eq!(
        counts["why"],
        "stream `COUNTS` has `allow_msg_counter`, which servers before 2.12 do not know"
    );
    let names = nats.api("STREAM.NAMES", Value::Null).await;
    assert_eq!(names["streams"], json!(["S"]));
}
