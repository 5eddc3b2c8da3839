//! Checks that loads of objects make an object store that clients can read.

use super::{Found, wrong};
use crate::scenario::{Judge, Judged, ReadObjects, Scenario, Step, WorkloadSpec};

/// The prefixes of an object store's stream and of its subjects.
const STREAM: &str = "OBJ_";
const SUBJECT: &str = "$O.";

/// Checks that a load's stream and subject are those of a bucket, and that its objects stay whole.
pub(super) fn workload(scenario: &Scenario, load: &WorkloadSpec) -> Result<(), Found> {
    let Some(chunks) = load.object_chunks else { return Ok(()) };
    let (name, stream) = (&load.name, load.stream.as_str());
    if chunks == 0 {
        return wrong("object-chunks", format!("`object-chunks` of `{name}` is at least 1"));
    }
    let Some(bucket) = stream.strip_prefix(STREAM) else {
        let what = format!("load `{name}` puts objects, so `stream` is `{STREAM}<bucket>`");
        return wrong(format!("stream = \"{stream}\""), what);
    };
    if load.subject.as_str() != format!("{SUBJECT}{bucket}") {
        let what = format!("load `{name}` puts objects, so `subject` is `{SUBJECT}{bucket}`");
        return wrong("subject", what);
    }
    if load.deletes > 0 || load.republish {
        let what = format!(
            "load `{name}` puts objects: with `deletes` or `republish` they would not stay whole"
        );
        return wrong(if load.deletes > 0 { "deletes" } else { "republish" }, what);
    }
    let Some(spec) = scenario.streams.iter().find(|s| s.name == load.stream) else { return Ok(()) };
    if spec.config.get("allow_rollup_hdrs").and_then(toml::Value::as_bool) != Some(true) {
        let what = format!(
            "stream `{stream}` refuses the description of an object: write `config = {{ allow_rollup_hdrs = true }}`"
        );
        return wrong(format!("stream = \"{stream}\""), what);
    }
    Ok(())
}

/// Checks that there are objects to read.
pub(super) fn read(scenario: &Scenario, read: &ReadObjects, before: &[Step]) -> Result<(), Found> {
    let name = read.stream.as_str();
    let put = |w: &&WorkloadSpec| w.stream == read.stream && w.object_chunks.is_some();
    if !scenario.workloads.iter().any(|w| put(&w)) {
        let what = format!("no load with `object-chunks` puts objects into `{name}`");
        return wrong(format!("stream = \"{name}\""), what);
    }
    let judged = |s: &Step| matches!(s, Step::Judge(Judge { what: Judged::Primary }));
    if read.damaged && !before.iter().any(judged) {
        return wrong(
            "damaged",
            "`damaged = true` without `judge` with `what = \"primary\"` before it: the losses are not known",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::scenario::parse;

    const GOOD: &str = r#"
title = "t"
[nodes]
host = { role = "host" }
nas = { role = "nas" }
[[streams]]
name = "OBJ_media"
subjects = ["$O.media.C.>", "$O.media.M.>"]
config = { allow_rollup_hdrs = true }
[[workloads]]
name = "load"
stream = "OBJ_media"
subject = "$O.media"
events = 10
object-chunks = 4
[[steps]]
do = "load"
[[steps]]
do = "read-objects"
stream = "OBJ_media"
[[steps]]
do = "judge"
what = "everything"
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        parse(Path::new("x.toml"), &GOOD.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_load_of_objects_wants_a_bucket() {
        parse(Path::new("x.toml"), GOOD).unwrap();
        insta::assert_snapshot!(
            refused("object-chunks = 4", "object-chunks = 0"),
            @"`x.toml`:15:1: `object-chunks` of `load` is at least 1"
        );
        insta::assert_snapshot!(
            refused("OBJ_media", "MEDIA"),
            @"`x.toml`:12:1: load `load` puts objects, so `stream` is `OBJ_<bucket>`"
        );
        insta::assert_snapshot!(
            refused("\"$O.media\"", "\"$O.files\""),
            @"`x.toml`:13:1: load `load` puts objects, so `subject` is `$O.media`"
        );
        insta::assert_snapshot!(
            refused("object-chunks = 4", "object-chunks = 4\ndeletes = 2"),
            @"`x.toml`:16:1: load `load` puts objects: with `deletes` or `republish` they would not stay whole"
        );
        insta::assert_snapshot!(
            refused("config = { allow_rollup_hdrs = true }", ""),
            @"`x.toml`:12:1: key `stream`: stream `OBJ_media` refuses the description of an object: write `config = { allow_rollup_hdrs = true }`"
        );
    }

    #[test]
    fn reading_objects_wants_objects() {
        insta::assert_snapshot!(
            refused("object-chunks = 4", ""),
            @"`x.toml`:20:1: key `stream`: no load with `object-chunks` puts objects into `OBJ_media`"
        );
        let damaged = "do = \"read-objects\"\ndamaged = true";
        insta::assert_snapshot!(
            refused("do = \"read-objects\"", damaged),
            @r#"`x.toml`:20:1: key `damaged`: `damaged = true` without `judge` with `what = "primary"` before it: the losses are not known"#
        );
    }
}
