//! The inventory's command line: its tables, its refusals, and its findings on a real server.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{Lab, harness, lab, stderr, stdout};
use cim_core::inventory::Inventory;
use cim_harness::lab::nats::{Joined, Nats, Options};
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An inventory small enough to be read in a test, with everything that a table shows.
const FILE: &str = r#"{
  "version": 1,
  "name": "small",
  "networks": { "lan": { "cidr": "192.168.71.0/24" } },
  "hosts": {
    "host": {
      "role": "host", "network": "lan", "address": "192.168.71.10",
      "nats": { "maxFileStore": 1073741824, "maxMemoryStore": 67108864 },
      "containers": { "cidr": "10.71.0.0/24", "hostAddress": "10.71.0.1" }
    },
    "nas": { "role": "nas", "network": "lan", "address": "192.168.71.20", "s3": { "provider": "minio" } }
  },
  "tiers": { "secondary": { "host": "nas", "bucket": "cim-archive" } },
  "streams": {
    "EVENTS": { "subjects": ["cim.event.>"], "maxBytes": 1048576, "maxAge": "720h" },
    "JOBS": { "subjects": ["jobs.*"], "retention": "workqueue" }
  },
  "buckets": { "settings": { "kind": "kv", "history": 4 }, "media": { "kind": "object" } }
}
"#;

struct File {
    dir: tempfile::TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("inventory.json"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path("inventory.json")).unwrap()
    }

    fn inventory(&self) -> Inventory {
        serde_json::from_str(&self.text()).unwrap()
    }

    /// Runs `inventory …` beside the file.
    fn run(&self, args: &[&str]) -> Output {
        let mut command = harness(&["inventory"]);
        command.args(args).env_remove("CIM_INVENTORY").env_remove("CIM_NKEY_FILE");
        command.current_dir(self.dir.path()).output().unwrap()
    }

    /// Runs a command that must succeed and returns its stdout.
    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?}: {}{}",
            stdout(&output),
            stderr(&output)
        );
        stdout(&output)
    }

    /// Runs a command that must fail with this status and returns its one line.
    fn bad(&self, status: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}{text}", stdout(&output));
        let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{args:?}: {text}");
        errors[0].to_owned()
    }
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Checks the examples in the help on the file that it says to start from.
#[test]
fn the_examples_of_the_help_do_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let start = std::fs::read_to_string(root.join("fixtures/inventory/example.json")).unwrap();
    let file = File::new(&start);
    let help = file.good(&["--help"]);
    let adds: Vec<Vec<String>> = help
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cim-harness inventory add "))
        .map(|line| line.split(' ').map(|word| word.trim_matches('\'').to_owned()).collect())
        .collect();
    assert_eq!(adds.len(), 3, "{help}");
    for words in adds {
        let words: Vec<&str> =
            ["add"].into_iter().chain(words.iter().map(String::as_str)).collect();
        file.good(&words);
    }
    file.good(&["check", "--offline"]);
}

#[test]
fn hosts_are_listed_and_everything_is_shown() {
    let file = File::new(FILE);
    insta::assert_snapshot!(file.good(&["list"]), @"
    ┌──────┬──────┬───────────────┬─────────┬──────────────┬─────────────┐
    │ host ┆ role ┆ address       ┆ network ┆ system       ┆ runs        │
    ╞══════╪══════╪═══════════════╪═════════╪══════════════╪═════════════╡
    │ host ┆ host ┆ 192.168.71.10 ┆ lan     ┆ x86_64-linux ┆ nats :4222  │
    │ nas  ┆ nas  ┆ 192.168.71.20 ┆ lan     ┆ x86_64-linux ┆ minio :9000 │
    └──────┴──────┴───────────────┴─────────┴──────────────┴─────────────┘
    ");
    insta::assert_snapshot!(file.good(&["show"]), @"
    small
    ┌──────┬──────┬───────────────┬─────────┬──────────────┬─────────────┐
    │ host ┆ role ┆ address       ┆ network ┆ system       ┆ runs        │
    ╞══════╪══════╪═══════════════╪═════════╪══════════════╪═════════════╡
    │ host ┆ host ┆ 192.168.71.10 ┆ lan     ┆ x86_64-linux ┆ nats :4222  │
    │ nas  ┆ nas  ┆ 192.168.71.20 ┆ lan     ┆ x86_64-linux ┆ minio :9000 │
    └──────┴──────┴───────────────┴─────────┴──────────────┴─────────────┘
    ┌─────────┬─────────────────┐
    │ network ┆ addresses       │
    ╞═════════╪═════════════════╡
    │ lan     ┆ 192.168.71.0/24 │
    └─────────┴─────────────────┘
    ┌───────────┬──────────┬─────────────┐
    │ tier      ┆ at       ┆ bucket      │
    ╞═══════════╪══════════╪═════════════╡
    │ secondary ┆ host nas ┆ cim-archive │
    └───────────┴──────────┴─────────────┘
    ┌────────┬─────────────┬─────────┬───────────┬────────────┬────────┐
    │ stream ┆ subjects    ┆ storage ┆ retention ┆ most bytes ┆ oldest │
    ╞════════╪═════════════╪═════════╪═══════════╪════════════╪════════╡
    │ EVENTS ┆ cim.event.> ┆ file    ┆ limits    ┆ 1048576    ┆ 720h   │
    │ JOBS   ┆ jobs.*      ┆ file    ┆ workqueue ┆ any        ┆ any    │
    └────────┴─────────────┴─────────┴───────────┴────────────┴────────┘
    ┌──────────┬────────┬─────────┬─────────┬────────────┬────────┐
    │ bucket   ┆ kind   ┆ storage ┆ history ┆ most bytes ┆ oldest │
    ╞══════════╪════════╪═════════╪═════════╪════════════╪════════╡
    │ media    ┆ object ┆ file    ┆ 1       ┆ any        ┆ any    │
    │ settings ┆ kv     ┆ file    ┆ 4       ┆ any        ┆ any    │
    └──────────┴────────┴─────────┴─────────┴────────────┴────────┘
    ");
    insta::assert_snapshot!(file.good(&["show", "nas"]), @"
    nas, role nas, 192.168.71.20 in network lan, x86_64-linux
    minio :9000
    ");
    let rows = json_of(&file.good(&["list", "--json"]));
    assert_eq!(
        rows[1],
        json!({
            "name": "nas", "role": "nas", "system": "x86_64-linux", "network": "lan",
            "address": "192.168.71.20", "runs": ["minio :9000"],
        })
    );
    // Defaults are filled in, and the output is an inventory again.
    let shown = file.good(&["show", "--json"]);
    assert_eq!(serde_json::from_str::<Inventory>(&shown).unwrap(), file.inventory());
    assert_eq!(json_of(&shown)["hosts"]["host"]["nats"]["port"], 4222);
    let error = file.bad(2, &["show", "nsa"]);
    assert_eq!(error, "error: host `nsa` is not in `inventory.json`: it has `host`, `nas`");
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_way_out() {
    let file = File::new("{\n  \"version\": 99,\n  \"name\": \"a\"\n}");
    let error = file.bad(2, &["list"]);
    assert!(
        error.contains("inventory `inventory.json`:2:15: inventory version `99` is unknown"),
        "{error}"
    );
    let error = file.bad(2, &["list", "--inventory", "other.json"]);
    assert!(error.contains("cannot read inventory `other.json`: No such file"), "{error}");
    assert!(error.contains("fixtures/inventory/example.json"), "{error}");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = FILE.replace("192.168.71.20", "192.168.72.20").replace("\"jobs.*\"", "\"cim.>\"");
    let file = File::new(&text);
    let output = file.run(&["check", "--offline"]);
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(stdout(&output), @"
    address-outside: `hosts.nas.address` is `192.168.72.20`, which no machine in `networks.lan` (`192.168.71.0/24`) can have: give one from that network
    subjects-overlap: `cim.event.>` of stream `EVENTS` and `cim.>` of stream `JOBS` overlap, which JetStream refuses: give each message one stream
    2 problems in `inventory.json`
    ");
    let output = file.run(&["check", "--offline", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report = json_of(&stdout(&output));
    let kinds: Vec<_> = report["problems"].as_array().unwrap().iter().map(|p| &p["kind"]).collect();
    assert_eq!(kinds, ["address-outside", "subjects-overlap"]);
    // A file with problems is not planned.
    let error = file.bad(1, &["plan", "--nats", "nats://127.0.0.1:1"]);
    assert!(error.contains("has problems, the first is: `hosts.nas.address`"), "{error}");

    let file = File::new(FILE);
    insta::assert_snapshot!(file.good(&["check", "--offline"]), @"`inventory.json` has no problems; no server was asked");
}

#[test]
fn what_is_added_is_all_that_changes() {
    let file = File::new(FILE);
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(file.path("inventory.json"), mode).unwrap();
    let add = ["add", "host", "nas2", "--role", "nas", "--address", "192.168.71.21"];
    insta::assert_snapshot!(file.good(&[&add[..], &["--dry-run"]].concat()), @r#"
    --- inventory.json
    +++ inventory.json
    @@ -9,5 +9,11 @@
           "containers": { "cidr": "10.71.0.0/24", "hostAddress": "10.71.0.1" }
         },
    -    "nas": { "role": "nas", "network": "lan", "address": "192.168.71.20", "s3": { "provider": "minio" } }
    +    "nas": { "role": "nas", "network": "lan", "address": "192.168.71.20", "s3": { "provider": "minio" } },
    +    "nas2": {
    +      "role": "nas",
    +      "network": "lan",
    +      "address": "192.168.71.21",
    +      "s3": { "provider": "minio" }
    +    }
       },
       "tiers": { "secondary": { "host": "nas", "bucket": "cim-archive" } },
    "#);
    assert_eq!(file.text(), FILE, "a dry run writes nothing");
    file.good(&add);
    file.good(&["add", "stream", "AUDIT", "audit.>", "--max-age", "24h", "--storage", "memory"]);
    file.good(&["add", "bucket", "graph", "--kind", "kv", "--history", "8"]);
    file.good(&[
        "add",
        "component",
        "host",
        "pipeline-engine",
        "--seed-file",
        "pipeline.nk",
        "--memory",
        "1G",
    ]);
    file.good(&["add", "operator", "host", "ops", "--from", "lan", "--seed-file", "ops.nk"]);
    let text = file.text();
    let kept: Vec<_> = FILE.lines().map(|line| line.trim_end_matches(['}', ',', ' '])).collect();
    let mut lines = text.lines();
    for line in kept {
        assert!(lines.any(|l| l.starts_with(line)), "`{line}` is gone from its place in\n{text}");
    }
    let metadata = std::fs::metadata(file.path("inventory.json")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);

    let inventory = file.inventory();
    assert_eq!(inventory.problems(), []);
    let host = &inventory.hosts["host"];
    let component = host.components.values().next().unwrap();
    assert_eq!(component.address.unwrap().to_string(), "10.71.0.2", "the first that is free");
    for (path, key) in [("pipeline.nk", &component.nkey), ("ops.nk", &host.operators["ops"].nkey)] {
        let seed = std::fs::read_to_string(file.path(path)).unwrap();
        assert_eq!(KeyPair::from_seed(seed.trim()).unwrap().public_key(), key.as_str());
        let mode = std::fs::metadata(file.path(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "a seed is its owner's alone");
    }
    file.good(&["check", "--offline"]);
}

#[test]
fn what_check_would_refuse_is_not_written() {
    let file = File::new(FILE);
    let key = KeyPair::new_user().public_key();
    for (status, args, wanted) in [
        (
            1,
            &["add", "stream", "ALL", "cim.>"][..],
            "`streams.ALL` was not added: `cim.>` of stream `ALL` and `cim.event.>` of stream `EVENTS` overlap",
        ),
        (
            1,
            &["add", "host", "w", "--role", "fake-wasabi", "--address", "192.168.71.30"],
            "which is for tests alone",
        ),
        (
            1,
            &["add", "host", "b", "--role", "operator", "--address", "192.168.71.20"],
            "address `192.168.71.20` is given to `b` and `nas`",
        ),
        (
            1,
            &["add", "component", "nas", "plugin-system", "--nkey", &key],
            "given for a machine of role `nas`",
        ),
        (
            2,
            &["add", "host", "nas", "--role", "nas", "--address", "192.168.71.22"],
            "`hosts.nas` is in `inventory.json` already",
        ),
        (
            2,
            &["add", "host", "b", "--role", "operator", "--address", "10.1.1.1"],
            "no network of the inventory has the address `10.1.1.1`",
        ),
        (
            2,
            &["add", "host", "b", "--role", "router", "--address", "10.1.1.1"],
            "unknown variant `router`",
        ),
        (
            2,
            &[
                "add",
                "host",
                "b",
                "--role",
                "nas",
                "--address",
                "192.168.71.9",
                "--containers",
                "10.0.0.0/24",
            ],
            "`--containers` is for a machine of role `host`",
        ),
        (
            2,
            &["add", "component", "hots", "plugin-system", "--nkey", &key],
            "host `hots` is not in the inventory",
        ),
        (
            2,
            &["add", "component", "host", "plugins", "--nkey", &key],
            "component `plugins` is unknown",
        ),
        (2, &["add", "component", "host", "plugin-system"], "--seed-file <FILE>"),
        (
            2,
            &["add", "component", "host", "plugin-system", "--seed-file", "inventory.json"],
            "cannot write the seed to `inventory.json`: File exists",
        ),
        (2, &["add", "stream", "A", "a b"], "has ` ` at byte 1"),
    ] {
        let output = file.run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(wanted), "{args:?}: {text}");
        assert_eq!(file.text(), FILE, "{args:?}");
    }
    let files = std::fs::read_dir(file.dir.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is left beside the file");
}

#[test]
fn a_seed_is_printed_when_that_is_asked_for() {
    let file = File::new(FILE);
    let seed =
        file.good(&["add", "component", "host", "ui-framework", "--print-seed", "--no-container"]);
    let pair = KeyPair::from_seed(seed.trim()).unwrap();
    let inventory = file.inventory();
    let component = inventory.hosts["host"].components.values().next().unwrap();
    assert_eq!(component.nkey.as_str(), pair.public_key());
    assert_eq!(component.address, None);
}

async fn start(lab: &Lab, extra: &str) -> Nats {
    let (name, dir) = ("host".to_owned(), lab.dir.path().join("host"));
    let options = Options {
        server_name: name.clone(),
        name,
        dir,
        port: None,
        sync_interval: None,
        joined: Joined::default(),
        extra: extra.into(),
    };
    Nats::start(&lab.launcher, &lab.tools, &options).await.unwrap()
}

async fn ask(client: &async_nats::Client, what: &str, body: Value) -> Value {
    let subject = format!("$JS.API.{what}");
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = client.request(subject, body.into()).await.unwrap();
    let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{what}: {answer}");
    answer
}

/// Removes addresses from tables, because they differ from run to run.
fn plain(text: &str, url: &str) -> String {
    let text = text.replace(url, &format!("{:<width$}", "URL", width = url.len()));
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_server_has_no_room_for_is_refused_with_a_way_out() {
    let lab = lab();
    let nats = start(&lab, "").await;
    let text = FILE.replace("1073741824", "1125899906842624").replace("1048576", "562949953421312");
    let output = File::new(&text).run(&["apply", "--nats", &nats.url()]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("`maxBytes` is more than its `max_file_store` has left"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_declared_is_made_and_what_differs_is_found() {
    let lab = lab();
    let nats = start(&lab, "").await;
    let url = nats.url();
    let at = |command: &'static str| vec![command, "--nats", &url];
    let file = File::new(FILE);
    let client = async_nats::connect(&url).await.unwrap();

    // The server is empty: everything is missing, and planned.
    let output = file.run(&at("check"));
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert_eq!(text.matches("missing").count(), 4, "{text}");
    insta::assert_snapshot!(plain(&file.good(&at("plan")), &url), @"
    URL
    ┌────────┬───────────────┬──────────┬────────┐
    │ action ┆ what          ┆ name     ┆ change │
    ╞════════╪═══════════════╪══════════╪════════╡
    │ create ┆ stream        ┆ EVENTS   ┆        │
    │ create ┆ stream        ┆ JOBS     ┆        │
    │ create ┆ kv bucket     ┆ settings ┆        │
    │ create ┆ object bucket ┆ media    ┆        │
    └────────┴───────────────┴──────────┴────────┘
    4 to create, 0 to update, 0 unchanged, 0 undeclared and left alone
    ");
    assert_eq!(
        ask(&client, "STREAM.NAMES", Value::Null).await["total"],
        0,
        "a plan changes nothing"
    );

    file.good(&at("apply"));
    file.good(&at("check"));
    let names = ask(&client, "STREAM.NAMES", Value::Null).await;
    assert_eq!(names["streams"], json!(["EVENTS", "JOBS", "KV_settings", "OBJ_media"]));
    // A value of the bucket is stored and read as clients of NATS do it.
    let jetstream = async_nats::jetstream::new(client.clone());
    jetstream.publish("$KV.settings.a", "1".into()).await.unwrap().await.unwrap();
    let direct = "$JS.API.DIRECT.GET.KV_settings.$KV.settings.a";
    assert_eq!(client.request(direct, "".into()).await.unwrap().payload, "1");
    file.good(&at("check"));

    // The streams are changed by hand.
    ask(&client, "STREAM.DELETE.JOBS", Value::Null).await;
    let mut config = ask(&client, "STREAM.INFO.EVENTS", Value::Null).await["config"].clone();
    config["max_bytes"] = json!(4096);
    config["subjects"] = json!(["cim.event.>", "extra"]);
    ask(&client, "STREAM.UPDATE.EVENTS", config).await;
    ask(&client, "STREAM.CREATE.SCRATCH", json!({ "name": "SCRATCH", "subjects": ["scratch"] }))
        .await;
    let output = file.run(&at("check"));
    assert_eq!(output.status.code(), Some(1));
    let version = client.server_info().version;
    let text =
        stdout(&output).replace(&version, &format!("{:<width$}", "N", width = version.len()));
    insta::assert_snapshot!(plain(&text, &url), @"
    ┌──────┬────────────────────────┬─────────────┐
    │ host ┆ url                    ┆ nats-server │
    ╞══════╪════════════════════════╪═════════════╡
    │ -    ┆ URL                    ┆ N           │
    └──────┴────────────────────────┴─────────────┘
    ┌────────────────────────┬────────┬─────────┬────────────┬───────────┬───────────────┬────────────────────────┐
    │ server                 ┆ what   ┆ name    ┆ drift      ┆ setting   ┆ declared      ┆ found                  │
    ╞════════════════════════╪════════╪═════════╪════════════╪═══════════╪═══════════════╪════════════════════════╡
    │ URL                    ┆ stream ┆ EVENTS  ┆ differs    ┆ max_bytes ┆ 1048576       ┆ 4096                   │
    │ URL                    ┆ stream ┆ EVENTS  ┆ differs    ┆ subjects  ┆ `cim.event.>` ┆ `cim.event.>`, `extra` │
    │ URL                    ┆ stream ┆ JOBS    ┆ missing    ┆           ┆ yes           ┆ no                     │
    │ URL                    ┆ stream ┆ SCRATCH ┆ undeclared ┆           ┆ no            ┆ yes                    │
    └────────────────────────┴────────┴─────────┴────────────┴───────────┴───────────────┴────────────────────────┘
    3 streams and buckets not as declared
    ");
    let report = file.run(&[at("check"), vec!["--json"]].concat());
    let server = &json_of(&stdout(&report))["servers"][0];
    assert_eq!(
        (&server["reachable"], server["drift"].as_array().unwrap().len()),
        (&json!(true), 3)
    );
    assert!(server["version"].as_str().unwrap().starts_with("2."), "{server}");

    // The changes are undone, and streams that are not declared stay.
    file.good(&at("apply"));
    let names = ask(&client, "STREAM.NAMES", Value::Null).await;
    assert_eq!(names["streams"], json!(["EVENTS", "JOBS", "KV_settings", "OBJ_media", "SCRATCH"]));
    let found = ask(&client, "STREAM.INFO.EVENTS", Value::Null).await["config"].clone();
    assert_eq!(
        (&found["max_bytes"], &found["subjects"]),
        (&json!(1_048_576), &json!(["cim.event.>"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_interest_streams_keep_for_the_archive_is_seen() {
    let lab = lab();
    let nats = start(&lab, "").await;
    let url = nats.url();
    let at = |command: &'static str| vec![command, "--nats", &url];
    let jobs = r#""JOBS": { "subjects": ["jobs.*"], "retention": "workqueue" }"#;
    let file = File::new(&FILE.replace(jobs, &jobs.replace("workqueue", "interest")));
    let client = async_nats::connect(&url).await.unwrap();
    file.good(&at("apply"));
    let text = file.good(&at("check"));
    assert!(text.contains("nothing: the storage manager has not begun with it"), "{text}");
    let consumer = |name: &str| json!({ "stream_name": "JOBS", "config": { "durable_name": name, "ack_policy": "all" } });
    for name in ["cim-tier-cim-archive", "app"] {
        ask(&client, &format!("CONSUMER.DURABLE.CREATE.JOBS.{name}"), consumer(name)).await;
    }
    let jetstream = async_nats::jetstream::new(client.clone());
    for _ in 0..3 {
        jetstream.publish("jobs.a", "1".into()).await.unwrap().await.unwrap();
    }
    let kept =
        |report: &std::process::Output| json_of(&stdout(report))["servers"][0]["kept"].clone();
    let report = file.run(&[at("check"), vec!["--json"]].concat());
    let own = json!({ "stream": "JOBS", "consumer": "cim-tier-cim-archive", "waiting": 3, "left_over": false });
    assert_eq!((report.status.code(), kept(&report)), (Some(0), json!([own])));
    // The archive has moved to another bucket once.
    let name = "cim-tier-former";
    ask(&client, &format!("CONSUMER.DURABLE.CREATE.JOBS.{name}"), consumer(name)).await;
    let report = file.run(&at("check"));
    assert_eq!(report.status.code(), Some(1));
    let text = stdout(&report);
    assert!(text.contains("1 consumer that keeps messages for no archive"), "{text}");
    let said = stderr(&report);
    assert!(said.contains("`nats consumer rm JOBS cim-tier-former`"), "{said}");
    ask(&client, &format!("CONSUMER.DELETE.JOBS.{name}"), Value::Null).await;
    file.good(&at("check"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jetstream_refuses_or_what_loses_data_is_not_begun() {
    let lab = lab();
    let nats = start(&lab, "").await;
    let url = nats.url();
    let file = File::new(FILE);
    file.good(&["apply", "--nats", &url]);
    let client = async_nats::connect(&url).await.unwrap();
    let jetstream = async_nats::jetstream::new(client.clone());
    for _ in 0..64 {
        jetstream.publish("cim.event.a", vec![0; 1024].into()).await.unwrap().await.unwrap();
    }
    let write = |text: String| std::fs::write(file.path("inventory.json"), text).unwrap();
    let apply = ["apply", "--nats", &url];

    // The storage cannot be changed; and the new stream beside it is not made either.
    let new = r#""NEW": { "subjects": ["new"] }, "JOBS": { "storage": "memory","#;
    write(FILE.replace(r#""JOBS": {"#, new));
    let error = file.bad(1, &apply);
    assert!(error.starts_with("error: nothing was changed: stream `JOBS`: JetStream cannot change `storage` from `file` to `memory`"), "{error}");
    let error = file.bad(1, &["plan", "--nats", &url]);
    assert!(error.contains("`apply` would refuse this"), "{error}");
    assert_eq!(ask(&client, "STREAM.NAMES", Value::Null).await["total"], 4);
    // The server agrees that it cannot.
    let mut config = ask(&client, "STREAM.INFO.JOBS", Value::Null).await["config"].clone();
    config["storage"] = json!("memory");
    let answer = client.request("$JS.API.STREAM.UPDATE.JOBS", config.to_string().into()).await;
    let answer: Value = serde_json::from_slice(&answer.unwrap().payload).unwrap();
    assert!(
        answer["error"]["description"].as_str().is_some_and(|e| e.contains("storage")),
        "{answer}"
    );

    // A limit below the current size loses data; one above it does not.
    write(FILE.replace("1048576", "1000000"));
    file.good(&apply);
    write(FILE.replace("1048576", "8192"));
    let error = file.bad(1, &apply);
    assert!(error.contains("stream `EVENTS` would lose data, it holds "), "{error}");
    assert!(error.ends_with("raise the limit, or give `--allow-data-loss`"), "{error}");
    let messages = async || {
        let info = ask(&client, "STREAM.INFO.EVENTS", Value::Null).await;
        info["state"]["messages"].as_u64().unwrap()
    };
    assert_eq!(messages().await, 64);
    file.good(&[&apply[..], &["--allow-data-loss"]].concat());
    assert!(messages().await < 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_decides_who_may_look() {
    let lab = lab();
    let user = KeyPair::new_user();
    let users = format!("authorization {{ users = [ {{ nkey: \"{}\" }} ] }}", user.public_key());
    let nats = start(&lab, &users).await;
    let url = nats.url();
    let file = File::new(FILE);
    let write = |name: &str, text: String| std::fs::write(file.path(name), text).unwrap();
    write("right.nk", format!("{}\n", user.seed().unwrap()));
    write("wrong.nk", KeyPair::new_user().seed().unwrap());
    write("none.nk", user.public_key());
    file.good(&["apply", "--nats", &url, "--nkey", "right.nk"]);
    file.good(&["check", "--nats", &url, "--nkey", "right.nk"]);
    let error = file.bad(3, &["plan", "--nats", &url, "--nkey", "wrong.nk"]);
    assert!(error.contains("check the address and the key: authorization violation"), "{error}");
    let error = file.bad(3, &["apply", "--nats", &url]);
    assert!(error.contains("if the server asks for a key, give `--nkey`"), "{error}");
    let error = file.bad(2, &["check", "--nats", &url, "--nkey", "none.nk"]);
    assert!(error.contains("nkey `none.nk`: its first line must be the seed"), "{error}");
    // A check reports its results, and that a server did not answer.
    let output = file.run(&["check", "--nats", "nats://127.0.0.1:1", "--json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let report = json_of(&stdout(&output));
    assert_eq!(
        (&report["problems"], &report["servers"][0]["reachable"]),
        (&json!([]), &json!(false))
    );
}

/// Checks the inventories that users meet first.
#[test]
fn the_example_and_the_lab_are_fine() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/inventory");
    for name in ["example.json", "lab.json"] {
        let path = fixtures.join(name);
        let file = File::new("");
        file.good(&["check", "--offline", "--inventory", path.to_str().unwrap()]);
        file.good(&["list", "--inventory", path.to_str().unwrap()]);
    }
}

/// Checks a server whose certificate no system knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_asked_when_its_authority_is_named() {
    let lab = lab();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (lab.dir.path().join("nats.pem"), lab.dir.path().join("nats-key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (certificate.display().to_string(), key.display());
    let extra = format!("tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}");
    let nats = start(&lab, &extra).await;
    let url = format!("tls://{}", nats.addr);
    let file = File::new(FILE);

    let output = file.run(&["check", "--nats", &url]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("`--ca`"), "{}", stdout(&output));
    let output = file.run(&["check", "--nats", &url, "--ca", "nowhere.pem"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read authorities `nowhere.pem`"), "{output:?}");

    file.good(&["apply", "--nats", &url, "--ca", &certificate]);
    file.good(&["check", "--nats", &url, "--ca", &certificate]);
}
