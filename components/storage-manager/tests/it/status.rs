//! `status`: a tier lags by what it does not hold of the live stream, whatever it holds of another one of that name.
//! Of a damaged archive what can be read is shown, the damage is named, the exit status is 5.

use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use serde_json::{Value, json};

use crate::support::{Lab, Manager, NOWHERE, keys, wait_until};

/// Returns what is shown, how far each tier is of `A`, and what is named.
fn damaged(manager: &Manager, named: &[&str]) -> (Value, [Option<u64>; 2]) {
    let output = manager.run(&["status", "--json"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{error}");
    for name in named {
        assert!(error.contains(name), "{name}: {error}");
    }
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_a = shown["streams"].as_array().unwrap().iter().find(|s| s["stream"] == "A").unwrap();
    // Where nothing can be read of it there is no timeline.
    let seq = |tier: &str| of_a[tier]["timeline"].as_u64().and(of_a[tier]["seq"].as_u64());
    let reached = [seq("nas"), seq("wasabi")];
    (shown, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_damaged_tiers_what_can_be_read() {
    let lab = Lab::with()
        .wasabi()
        .layout("journal")
        .settings("[seal]\ninterval = \"200ms\"\n")
        .start()
        .await;
    let daemon = lab.manager.tier().await;
    lab.nats.create("A", json!({})).await;
    for round in 1..=3 {
        lab.nats.publish("A", 10).await;
        lab.manager.reaches("A", "wasabi", 10 * round).await;
    }
    daemon.stop().await;
    let (nas, wasabi) = (lab.bucket(), lab.wasabi_bucket());
    let on_nas = keys(&nas, "v2/journal/main/entries/").await;
    let at_wasabi = keys(&wasabi, "v2/tertiary/main/entries/").await;
    let whole = wasabi.get_object(&at_wasabi[0]).await.unwrap().into_bytes();

    let newest = at_wasabi.last().unwrap();
    wasabi.put_object(newest, b"?").await.unwrap();
    let (_, [at_nas, reached]) = damaged(&lab.manager, &["Wasabi: ", newest]);
    assert_eq!(at_nas, Some(30));
    assert!(reached.is_some_and(|seq| (10..=30).contains(&seq)), "{reached:?}");

    // Nothing is before the damage.
    wasabi.put_object(&at_wasabi[0], b"?").await.unwrap();
    assert_eq!(damaged(&lab.manager, &["Wasabi: ", &at_wasabi[0]]).1, [Some(30), None]);

    let later = on_nas.last().unwrap();
    nas.put_object(later, b"?").await.unwrap();
    let (_, [at_nas, reached]) =
        damaged(&lab.manager, &["NAS: ", later, "Wasabi: ", &at_wasabi[0]]);
    assert!(at_nas.is_some_and(|seq| seq >= 20) && reached.is_none(), "{at_nas:?} {reached:?}");
    nas.put_object(&on_nas[0], b"?").await.unwrap();
    wasabi.put_object(&at_wasabi[0], &whole).await.unwrap();
    let (_, [at_nas, reached]) = damaged(&lab.manager, &["NAS: ", &on_nas[0], newest]);
    assert!(at_nas.is_none() && reached >= Some(10), "{at_nas:?} {reached:?}");
}

/// A chain is of one stream: the others are shown.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_chain_the_other_streams() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    lab.nats.create("A", json!({})).await;
    lab.nats.publish("A", 10).await;
    lab.manager.reaches("A", "nas", 10).await;
    daemon.stop().await;
    lab.nats.create("B", json!({})).await;
    lab.nats.publish("B", 5).await;
    let key = Chain::Manifest.key(&StreamName::new("B").unwrap(), 0).to_string();
    lab.bucket().put_object(&key, b"?").await.unwrap();
    let (shown, [at_nas, _]) = damaged(&lab.manager, &["NAS: ", &key]);
    assert_eq!(at_nas, Some(10));
    let of_b = &shown["streams"][1]["nas"];
    assert_eq!((&of_b["timeline"], &of_b["lag_events"]), (&Value::Null, &json!(5)), "{shown}");
}

/// A host with both tiers. With chains a fork is at Wasabi before its messages are.
struct Host {
    lab: Lab,
}

impl Host {
    async fn start(layout: &str) -> Self {
        Self { lab: Lab::with().wasabi().layout(layout).start().await }
    }

    /// A manager whose Wasabi goes along with the NAS, or stays behind.
    fn manager(&self, interval: &str) -> Manager {
        let seal = format!("[seal]\ninterval = \"{interval}\"\n");
        self.lab.manager_with("host", |settings| settings.more = seal)
    }

    /// Archives 20 messages of `S` on both tiers, and ends the manager.
    async fn archived(&self) {
        let manager = self.manager("200ms");
        let daemon = manager.tier().await;
        self.lab.nats.create("S", json!({})).await;
        self.lab.nats.publish("S", 20).await;
        manager.reaches("S", "nas", 20).await;
        manager.reaches("S", "wasabi", 20).await;
        daemon.stop().await;
    }

    async fn made_again(&self, messages: usize) {
        self.lab.nats.delete_stream("S").await;
        self.lab.nats.create("S", json!({})).await;
        self.lab.nats.publish("S", messages).await;
    }
}

/// What a tier is said to have of the first stream: timeline, how far it goes, lag, and why it is not the live one, if so.
fn of(manager: &Manager, tier: &str) -> (Option<u64>, u64, u64, String) {
    let shown = manager.json(&["status"]);
    let of = &shown["streams"][0][tier];
    let lag = of["lag_events"].as_u64().unwrap();
    assert_eq!(of["lag_seconds"].as_f64().unwrap() > 0.0, lag > 0, "{shown}");
    let diverged = of["diverged"].as_str().unwrap_or_default().to_owned();
    (of["timeline"].as_u64(), of["seq"].as_u64().unwrap(), lag, diverged)
}

/// The cells of a tier's row in the table, and the lines on stderr.
fn table(manager: &Manager, tier: &str) -> (Vec<String>, String) {
    let output = manager.run(&["status"]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let cells = |line: &str| {
        let cells = line.trim_matches(|c: char| !c.is_ascii()).split("  ");
        cells.map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    let mut rows = shown
        .lines()
        .map(cells)
        .filter(|row: &Vec<String>| row.iter().any(|cell| cell.eq_ignore_ascii_case(tier)));
    (rows.next().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_was_made_again_while_the_manager_was_away() {
    let host = Host::start("journal").await;
    host.archived().await;
    let slow = host.manager("1h");
    // Fewer messages than the archive has of the other one, as many, more.
    for messages in [10, 20, 30] {
        host.made_again(messages).await;
        for tier in ["nas", "wasabi"] {
            let expected = (Some(1), 20, messages as u64, "recreated".into());
            assert_eq!(of(&slow, tier), expected, "{messages} on {tier}");
            let (row, said) = table(&slow, tier);
            assert_eq!((&*row[3], &*row[5]), ("1, diverged", &*messages.to_string()), "{row:?}");
            let line = format!("stream `S`: {tier} has timeline 1 of it, which the live stream is");
            assert!(said.to_lowercase().contains(&line.to_lowercase()), "{said}");
        }
    }

    let daemon = slow.tier().await;
    wait_until("the NAS has it", async || {
        let found = of(&slow, "nas");
        if found == (Some(2), 30, 0, String::new()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(of(&slow, "wasabi"), (Some(1), 20, 30, "recreated".into()), "one behind");
    daemon.stop().await;

    let fast = host.manager("200ms");
    let daemon = fast.tier().await;
    wait_until("Wasabi has it", async || {
        let found = of(&fast, "wasabi");
        if found == (Some(2), 30, 0, String::new()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(table(&fast, "wasabi").1, "");
    daemon.stop().await;

    host.made_again(0).await;
    assert_eq!(of(&fast, "nas"), (Some(2), 30, 0, "recreated".into()), "there is nothing to hold");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_was_restored_to_an_earlier_point() {
    let host = Host::start("journal").await;
    host.archived().await;
    host.lab.nats.delete_stream("S").await;
    let manager = host.manager("1h");
    manager.json(&["restore", "S", "--until-seq", "15"]);
    host.lab.nats.publish("S", 25).await;
    let expected = (Some(1), 20, 25, "goes on from an earlier point".into());
    for tier in ["nas", "wasabi"] {
        assert_eq!(of(&manager, tier), expected, "{tier}");
    }
    let daemon = manager.tier().await;
    wait_until("the NAS has it", async || {
        let found = of(&manager, "nas");
        if found == (Some(2), 40, 0, String::new()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
    assert_eq!(of(&manager, "wasabi"), expected);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_no_tier_has() {
    let host = Host::start("journal").await;
    host.lab.nats.create("S", json!({ "max_msgs": 12 })).await;
    let manager = host.manager("200ms");
    for (messages, lag) in [(0, 0), (10, 10), (10, 12)] {
        host.lab.nats.publish("S", messages).await;
        for tier in ["nas", "wasabi"] {
            assert_eq!(of(&manager, tier), (None, 0, lag, String::new()), "{tier}");
            let (row, said) = table(&manager, tier);
            let expected = ["-", "-", &lag.to_string()].map(str::to_owned);
            assert_eq!((&row[3..6], &*said), (&expected[..], ""), "{row:?}");
        }
    }
}

/// What cannot be compared is not relied on.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_stream_that_was_made_again_where_the_other_ones_messages_are_gone() {
    let host = Host::start("chains").await;
    host.archived().await;
    host.made_again(30).await;
    let store = host.lab.bucket();
    for key in keys(&store, "v1/streams/S/segments/").await {
        store.delete_object(&key).await.unwrap();
    }
    let manager = host.lab.manager_with("alone", |settings| settings.wasabi = None);
    let output = manager.run(&["status", "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    let named = "stream `S` cannot be compared with what NAS has of it: NAS: get `v1/streams/S/";
    assert!(said.contains(named), "{said}");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = &shown["streams"][0];
    assert_eq!((&of["nas"]["lag_events"], &of["wasabi"]), (&json!(30), &Value::Null), "{shown}");
}

/// One line and a status for monitoring; what the configuration leaves out is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_fails_where_a_stream_is_further_behind_than_it_may_be() {
    let lab = Lab::with()
        .faulty_nas()
        .settings("[streams]\ninclude = [\"S*\", \"ORDERZ\"]\n[segment]\nflush_age = \"50ms\"\n")
        .start()
        .await;
    let (status, error) = lab.manager.error(&["status", "--check"]);
    assert_eq!((status, error.contains("nothing is archived")), (8, true), "{error}");
    let daemon = lab.manager.tier().await;
    for stream in ["S1", "S2", "ORDERS"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 3).await;
    }
    lab.manager.reaches("S1", "nas", 3).await;
    lab.manager.reaches("S2", "nas", 3).await;
    let output = lab.manager.run(&["status", "--check"]);
    let (line, said) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    assert_eq!(line.unwrap(), "2 streams archived, at most 0.0 s on NAS behind\n");
    assert!(said.unwrap().contains(
        "the glob `ORDERZ`, which matches no stream on the server: correct or remove it"
    ));
    assert_eq!(lab.manager.json(&["status"])["left_out"], json!(["ORDERS"]));
    daemon.stop().await;
    lab.nats.publish("S2", 1).await;
    lab.manager
        .run(&["status", "--check"])
        .status
        .success()
        .then_some(())
        .expect("it is not late yet");
    let line = wait_until("it is late", async || {
        let output = lab.manager.run(&["status", "--check", "--max-lag", "1s"]);
        let said = String::from_utf8(output.stderr).unwrap();
        if output.status.code() == Some(8) { Ok(said) } else { Err(said) }
    })
    .await;
    assert!(line.contains("error: 1 of 2 streams behind: `S2` "), "{line}");
    assert!(line.contains(" s on NAS; the limit is 1.0 s on NAS"), "{line}");
}

/// Of a tier that is away nothing is known: that is no lag of 0, and the other one is shown.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_tier_that_is_away_nothing_is_known() {
    let lab = Lab::with().wasabi().settings("[seal]\ninterval = \"200ms\"\n").start().await;
    lab.nats.create("A", json!({})).await;
    lab.nats.publish("A", 10).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("A", "wasabi", 10).await;
    daemon.stop().await;
    let fine = lab.manager.run(&["status", "--check"]);
    assert!(fine.status.success(), "{fine:?}");
    for (away, here) in [("nas", "wasabi"), ("wasabi", "nas")] {
        // Nothing listens there.
        let (nas, wasabi) = match away {
            "nas" => (NOWHERE.to_owned(), lab.wasabi().s3_url()),
            _ => (lab.nas.url.clone(), NOWHERE.to_owned()),
        };
        let manager = lab.manager_with(away, |settings| {
            (settings.nas, settings.wasabi) = (nas, Some(wasabi));
        });
        let output = manager.run(&["status", "--json"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{error}");
        assert!(
            error.to_lowercase().contains(&format!("{away}: ")) && error.contains("cannot reach"),
            "{error}"
        );
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of = &shown["streams"][0];
        assert_eq!((&of[here]["seq"], &of[here]["lag_events"]), (&json!(10), &json!(0)), "{shown}");
        assert_eq!(
            (&of[away]["unreachable"], &of[away]["lag_events"]),
            (&json!(true), &Value::Null)
        );
        let (status, error) = manager.error(&["status", "--check"]);
        assert!(
            status == 4 && error.to_lowercase().contains(&format!("0.0 s on {here} behind")),
            "{error}"
        );
    }
}
