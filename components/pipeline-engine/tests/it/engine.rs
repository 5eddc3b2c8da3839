//! Each kind of stage: what goes in, and every line that comes out.

use cim_pipeline_engine::definition::{Format, check};
use cim_pipeline_engine::engine::{Pipeline, lost_line, out_line};

/// Returns a pipeline of these lines behind the head.
pub(crate) fn pipeline(lines: &str) -> Pipeline {
    let text = format!("pipeline = \"p\"\nformat = 1\n{lines}");
    let checked = check(&text, Format::Toml);
    Pipeline::new(checked.unwrap_or_else(|problems| panic!("{text}: {problems:?}")))
}

/// Runs events in batches of this size; the lines of outputs, and those of lost events.
pub(crate) fn run(lines: &str, events: &[String], batch: usize) -> (Vec<String>, Vec<String>) {
    let mut pipeline = pipeline(lines);
    let events: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(index, json)| (index.to_string(), json.clone().into_bytes()))
        .collect();
    let (mut outs, mut lost) = (Vec::new(), Vec::new());
    let mut all: Vec<_> = events.chunks(batch).map(|chunk| pipeline.push(chunk)).collect();
    all.push(pipeline.finish());
    assert!(pipeline.is_idle(), "nothing is left open at the end");
    for (some, gone) in all {
        outs.extend(some.iter().map(|out| out_line(pipeline.definition(), out).unwrap()));
        lost.extend(gone.iter().map(lost_line));
    }
    (outs, lost)
}

fn shown(lines: &str, events: &[&str]) -> String {
    let events: Vec<_> = events.iter().map(|&event| event.to_owned()).collect();
    let (mut outs, lost) = run(lines, &events, 3);
    outs.extend(lost);
    outs.join("\n")
}

const OUT: &str = "[[output]]\nname = \"out\"\n";

#[test]
fn a_map_gives_each_output_and_a_failure_is_a_dead_letter() {
    let lines =
        format!("[[stage]]\nname = \"m\"\nkind = \"map\"\nexpression = \".a[] / 2\"\n{OUT}");
    insta::assert_snapshot!(shown(&lines, &[r#"{"a":[2,4]}"#, r#"{"a":[]}"#, r#"{"a":["x"]}"#, "{", r#"{"a":[6]}"#]), @r#"
    {"output":"out","id":"0","value":1.0}
    {"output":"out","id":"0.1","value":2.0}
    {"output":"out","id":"4","value":3.0}
    {"lost":"dead","stage":"m","id":"2","why":"cannot calculate \"x\" / 2","value":{"a":["x"]}}
    {"lost":"dead","stage":"input","id":"3","why":"no JSON: EOF while parsing an object at line 1 column 1","value":"{"}
    "#);
}

#[test]
fn types_are_held_where_they_are_declared() {
    let lines = format!(
        "[input]\ngives = \"object\"\n[[stage]]\nname = \"m\"\nkind = \"map\"\ngives = \"number\"\nexpression = \".a\"\n{OUT}"
    );
    insta::assert_snapshot!(shown(&lines, &[r#"{"a":1}"#, r#"{"a":"x"}"#, "5"]), @r#"
    {"output":"out","id":"0","value":1}
    {"lost":"dead","stage":"m","id":"1","why":"gives what is string instead of number","value":"x"}
    {"lost":"dead","stage":"input","id":"2","why":"is number instead of object","value":5}
    "#);
}

#[test]
fn a_branch_goes_the_first_way_that_holds() {
    let lines = "[[stage]]\nname = \"b\"\nkind = \"branch\"\ncases = { big = \". > 10\", even = \". % 2 == 0\" }\n\
        [[output]]\nname = \"big\"\nfrom = \"b.big\"\n[[output]]\nname = \"even\"\nfrom = \"b.even\"\n";
    insta::assert_snapshot!(shown(lines, &["12", "4", "3"]), @r#"
    {"output":"big","id":"0","value":12}
    {"output":"even","id":"1","value":4}
    "#);
}

#[test]
fn an_event_that_comes_by_two_ways_has_two_ids() {
    let lines = "[[stage]]\nname = \"a\"\nkind = \"map\"\nexpression = \".\"\n\
        [[output]]\nname = \"out\"\nfrom = [\"a\", \"input\"]\n";
    insta::assert_snapshot!(shown(lines, &["1"]), @r#"
    {"output":"out","id":"0@1","value":1}
    {"output":"out","id":"0@0","value":1}
    "#);
}

#[test]
fn a_table_enriches() {
    let lines = format!(
        "[[stage]]\nname = \"e\"\nkind = \"enrich\"\nlookup = \".repo\"\nexpression = \". + {{team: $entry.team}}\"\n\
        [stage.table]\ncim = {{ team = \"core\" }}\n{OUT}"
    );
    insta::assert_snapshot!(shown(&lines, &[r#"{"repo":"cim"}"#, r#"{"repo":"other"}"#]), @r#"
    {"output":"out","id":"0","value":{"repo":"cim","team":"core"}}
    {"output":"out","id":"1","value":{"repo":"other","team":null}}
    "#);
}

const COUNT: &str = "[input]\ntime = \".t\"\nid = \".id\"\nlateness = \"2s\"\n\
    [[stage]]\nname = \"count\"\nkind = \"aggregate\"\nkey = \".k\"\nvalue = \".v\"\nwindow = \"10s\"\n";

#[test]
fn windows_close_when_the_watermark_passes_them_and_late_events_are_said() {
    let lines = format!("{COUNT}expression = \"{{key, n: (.values | length), values}}\"\n{OUT}");
    let events = [
        r#"{"id":"a","t":1,"k":"x","v":1}"#,
        r#"{"id":"b","t":11,"k":"x","v":2}"#,
        // In order enough: the watermark is at 9.
        r#"{"id":"c","t":"1970-01-01T00:00:00Z","k":"y","v":3}"#,
        r#"{"id":"d","t":12,"k":"x","v":4}"#,
        // The window to 10 is closed now.
        r#"{"id":"e","t":9.999,"k":"x","v":5}"#,
        r#"{"id":"f","t":"yesterday","k":"x","v":6}"#,
    ];
    insta::assert_snapshot!(shown(&lines, &events), @r#"
    {"output":"out","id":"count/1970-01-01T00:00:00Z/x","time":"1970-01-01T00:00:09.999Z","key":"x","value":{"key":"x","n":1,"values":[1]}}
    {"output":"out","id":"count/1970-01-01T00:00:00Z/y","time":"1970-01-01T00:00:09.999Z","key":"y","value":{"key":"y","n":1,"values":[3]}}
    {"output":"out","id":"count/1970-01-01T00:00:10Z/x","time":"1970-01-01T00:00:19.999Z","key":"x","value":{"key":"x","n":2,"values":[2,4]}}
    {"lost":"late","stage":"count","id":"e","value":{"id":"e","t":9.999,"k":"x","v":5}}
    {"lost":"dead","stage":"input","id":"5","why":"its time: `yesterday` is no time as RFC 3339 writes it","value":{"id":"f","t":"yesterday","k":"x","v":6}}
    "#);
}

#[test]
fn windows_slide() {
    let lines = format!("{COUNT}slide = \"5s\"\nexpression = \".values\"\n{OUT}");
    insta::assert_snapshot!(shown(&lines, &[r#"{"id":"a","t":7,"k":"x","v":1}"#, r#"{"id":"b","t":12,"k":"x","v":2}"#]), @r#"
    {"output":"out","id":"count/1970-01-01T00:00:00Z/x","time":"1970-01-01T00:00:09.999Z","key":"x","value":[1]}
    {"output":"out","id":"count/1970-01-01T00:00:05Z/x","time":"1970-01-01T00:00:14.999Z","key":"x","value":[1,2]}
    {"output":"out","id":"count/1970-01-01T00:00:10Z/x","time":"1970-01-01T00:00:19.999Z","key":"x","value":[2]}
    "#);
}

#[test]
fn late_events_go_where_they_are_read() {
    let lines = format!(
        "{COUNT}expression = \".values\"\n{OUT}[[output]]\nname = \"late\"\nfrom = \"count.late\"\n"
    );
    insta::assert_snapshot!(shown(&lines, &[r#"{"id":"a","t":100,"k":"x","v":1}"#, r#"{"id":"b","t":1,"k":"x","v":2}"#]), @r#"
    {"output":"late","id":"b","time":"1970-01-01T00:00:01Z","value":{"id":"b","t":1,"k":"x","v":2}}
    {"output":"out","id":"count/1970-01-01T00:01:40Z/x","time":"1970-01-01T00:01:49.999Z","key":"x","value":[1]}
    "#);
}

#[test]
fn a_join_pairs_what_is_near() {
    let lines = format!(
        "[input]\ntime = \".t\"\nlateness = \"5s\"\n[[stage]]\nname = \"b\"\nkind = \"branch\"\ncases = {{ order = \".order\", pay = \".pay\" }}\n\
        [[stage]]\nname = \"j\"\nkind = \"join\"\nfrom = [\"b.order\", \"b.pay\"]\nleft = \".order\"\nright = \".pay\"\nwithin = \"3s\"\n\
        expression = \"{{order: .left.order, after: (.right.t - .left.t)}}\"\n{OUT}"
    );
    let events = [
        r#"{"t":1,"order":"a"}"#,
        r#"{"t":2,"order":"b"}"#,
        r#"{"t":4,"pay":"a"}"#,
        r#"{"t":6,"pay":"b"}"#,
        r#"{"t":3,"pay":"b"}"#,
    ];
    insta::assert_snapshot!(shown(&lines, &events), @r#"
    {"output":"out","id":"0+2","time":"1970-01-01T00:00:04Z","key":"a","value":{"order":"a","after":3}}
    {"output":"out","id":"1+4","time":"1970-01-01T00:00:03Z","key":"b","value":{"order":"b","after":1}}
    "#);
}
