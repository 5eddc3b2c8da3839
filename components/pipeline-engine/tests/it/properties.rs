//! What no batch, no number of threads and no order of arrival may change.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::engine::run;

/// Four stages with a window, a branch and threads.
fn four(threads: usize) -> String {
    format!(
        "[input]\ntime = \".t\"\nid = \".id\"\nkey = \".k\"\nlateness = \"20s\"\n\
        [[stage]]\nname = \"some\"\nkind = \"filter\"\nexpression = \".v > 1\"\nparallel = {threads}\n\
        [[stage]]\nname = \"more\"\nkind = \"map\"\nexpression = \"., (select(.v > 7) | .v = -1)\"\nparallel = {threads}\n\
        [[stage]]\nname = \"sum\"\nkind = \"aggregate\"\nwindow = \"10s\"\nslide = \"5s\"\nexpression = \"{{key, start, vs: [.values[].v]}}\"\n\
        [[stage]]\nname = \"sizes\"\nkind = \"aggregate\"\nwindow = \"30s\"\nkey = \"\\\"all\\\"\"\nexpression = \"[.values[].vs | length]\"\n\
        [[output]]\nname = \"each\"\nfrom = \"more\"\n[[output]]\nname = \"sums\"\nfrom = \"sum\"\n[[output]]\nname = \"sizes\"\n"
    )
}

fn events() -> impl Strategy<Value = Vec<Value>> {
    prop::collection::vec((0_i64..100, 0_u8..3, 0_i64..10), 0..40).prop_map(|drawn| {
        let event = |(id, (t, k, v)): (usize, (i64, u8, i64))| json!({"id": format!("e{id}"), "t": t, "k": k.to_string(), "v": v});
        drawn.into_iter().enumerate().map(event).collect()
    })
}

fn texts(events: &[Value]) -> Vec<String> {
    events.iter().map(ToString::to_string).collect()
}

/// The lines of an output.
fn of<'a>(lines: &'a [String], output: &str) -> Vec<&'a String> {
    let begin = format!("{{\"output\":\"{output}\",");
    lines.iter().filter(|line| line.starts_with(&begin)).collect()
}

proptest! {
    // Each case compiles jq and its library a dozen times.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_and_threads_change_nothing(events in events(), batch in 1_usize..12, threads in 1_usize..5) {
        let events = texts(&events);
        prop_assert_eq!(run(&four(1), &events, 1), run(&four(threads), &events, batch));
    }

    /// Events are moved by less than the lateness that is allowed: none is late, and every window is the same.
    #[test]
    fn the_order_of_arrival_changes_no_window(events in events(), moved in prop::collection::vec(0_i64..20, 40)) {
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| event["t"].as_i64());
        let mut arrived: Vec<_> = events.iter().zip(moved).collect();
        arrived.sort_by_key(|(event, moved)| event["t"].as_i64().unwrap() + moved);
        let arrived: Vec<_> = arrived.into_iter().map(|(event, _)| event.clone()).collect();
        let (sorted, none) = run(&four(1), &texts(&sorted), 4);
        let (arrived, late) = run(&four(2), &texts(&arrived), 5);
        prop_assert_eq!((none.len(), late.len()), (0, 0));
        prop_assert_eq!(of(&sorted, "sums"), of(&arrived, "sums"));
        prop_assert_eq!(of(&sorted, "sizes"), of(&arrived, "sizes"));
    }

    #[test]
    fn the_order_within_a_key_is_that_of_the_input(events in events(), threads in 1_usize..5) {
        let (outs, _) = run(&four(threads), &texts(&events), 16);
        let ids: Vec<Value> = of(&outs, "each").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for key in ["0", "1", "2"] {
            let numbers: Vec<usize> = ids.iter().filter(|out| out["key"] == key)
                .map(|out| out["id"].as_str().unwrap().trim_start_matches('e').split('.').next().unwrap().parse().unwrap())
                .collect();
            prop_assert!(numbers.is_sorted(), "{numbers:?}");
        }
    }

    /// The windows by another way: every event is counted into those that hold its time.
    #[test]
    fn windows_hold_all_that_is_theirs(events in events()) {
        let mut expected = std::collections::BTreeMap::<(i64, String), usize>::new();
        for event in &events {
            let (t, v) = (event["t"].as_i64().unwrap(), event["v"].as_i64().unwrap());
            for start in (-10..100).step_by(5).filter(|start| (*start..start + 10).contains(&t) && v > 1) {
                *expected.entry((start, event["k"].as_str().unwrap().into())).or_default() += if v > 7 { 2 } else { 1 };
            }
        }
        let mut sorted = events.clone();
        sorted.sort_by_key(|event| event["t"].as_i64());
        let (outs, _) = run(&four(1), &texts(&sorted), 7);
        let found: std::collections::BTreeMap<_, _> = of(&outs, "sums").iter().map(|line| {
            let value = &serde_json::from_str::<Value>(line).unwrap()["value"];
            let start: jiff::Timestamp = value["start"].as_str().unwrap().parse().unwrap();
            ((start.as_second(), value["key"].as_str().unwrap().to_owned()), value["vs"].as_array().unwrap().len())
        }).collect();
        prop_assert_eq!(found, expected);
    }
}
