//! Problems of definitions: each is named with its line and key.

use cim_pipeline_engine::definition::{Format, check};

fn problems(text: &str, format: Format) -> String {
    let problems = check(text, format).expect_err("the definition has a problem");
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A definition with these lines behind its head.
fn toml(lines: &str) -> String {
    problems(&format!("pipeline = \"p\"\nformat = 1\n{lines}"), Format::Toml)
}

#[test]
fn a_key_that_does_not_exist_is_named_with_its_line() {
    insta::assert_snapshot!(toml("[[stage]]\nname = \"a\"\nkind = \"map\"\nexpressions = \".\"\n"), @"6:1: unknown field `expressions`, expected one of `name`, `kind`, `from`, `takes`, `gives`, `parallel`, `expression`, `cases`, `lookup`, `table`, `key`, `value`, `window`, `slide`, `left`, `right`, `within`");
    insta::assert_snapshot!(toml("[input]\ntime = 5\n"), @"4:8: invalid type: integer `5`, expected a string");
    let json = "{\"pipeline\": \"p\", \"format\": 1,\n \"stages\": []}";
    insta::assert_snapshot!(problems(json, Format::Json), @"2:9: unknown field `stages`, expected one of `pipeline`, `format`, `input`, `stage`, `output`");
}

#[test]
fn all_problems_are_named_at_once_in_the_order_of_the_document() {
    let lines = r#"
[input]
lateness = "soon"
time = ".time |"

[[stage]]
name = "Shout"
kind = "maps"

[[stage]]
name = "count"
kind = "aggregate"
expression = ".values | nope"
window = "0s"
cases = { a = "." }

[[stage]]
name = "twice"
kind = "map"
from = "kount"
expression = """
  .a
  | $b"""

[[output]]
name = "out"
subject = "a..b"
"#;
    insta::assert_snapshot!(toml(lines), @r"
    5:12: `input.lateness`: `soon` is no duration of at most a year: write `500ms`, `30s` or `1h`
    6:16: `input.time`: no jq: expected term, found the end
    9:8: `stage.name`: `Shout` is no name: 1 to 64 of a-z, 0-9, `-` and `_`, and not `input`
    10:8: `stage.Shout.kind`: `maps` is no kind of stage (`map`?): there are map, filter, branch, enrich, aggregate, join
    15:25: `stage.count.expression`: there is no filter `nope`
    16:10: `stage.count.window`: `0s` is no duration above zero and of at most a year: write `500ms`, `30s` or `1h`
    17:9: `stage.count.cases`: a stage of kind `aggregate` has no `cases`: remove it
    25:5: `stage.twice.expression`: there is no variable `$b`
    29:11: `output.out.subject`: no subject to publish to: words between single dots, without `*`, `>` and blanks
    ");
}

#[test]
fn stages_that_do_not_fit_are_named() {
    let map = |name: &str, rest: &str| {
        format!("[[stage]]\nname = \"{name}\"\nkind = \"map\"\nexpression = \".\"\n{rest}\n")
    };
    let out = "[[output]]\nname = \"out\"\n";
    let circle = [map("a", "from = \"c\""), map("b", ""), map("c", ""), out.into()].concat();
    insta::assert_snapshot!(toml(&circle), @"7:8: `stage.a.from`: the stages go in a circle: a → b → c → a");
    let own = [map("a", "from = \"a\""), out.into()].concat();
    insta::assert_snapshot!(toml(&own), @"7:8: `stage.a.from`: the stages go in a circle: a → a");
    let types =
        [map("a", "gives = \"number\""), map("b", "takes = \"object\""), out.into()].concat();
    insta::assert_snapshot!(toml(&types), @"12:9: `stage.b.takes`: takes object, and `a` gives number");
    let unread = [map("a", ""), map("b", "from = \"input\""), out.into()].concat();
    insta::assert_snapshot!(toml(&unread), @"4:8: `stage.a`: nothing reads `a`: name it in a `from`, or remove it");
    let twice = [map("a", ""), map("a", ""), out.into()].concat();
    insta::assert_snapshot!(toml(&twice), @"9:8: `stage.name`: `a` is there already: give each stage its own name");
    let branch = "[[stage]]\nname = \"b\"\nkind = \"branch\"\ncases = { x = \".x\", y = \".y\" }\n";
    insta::assert_snapshot!(toml(&format!("{branch}{out}from = [\"b.z\", \"b\"]\n")), @r"
    4:8: `stage.b`: nothing reads `b.x`: name it in a `from`, or remove it
    4:8: `stage.b`: nothing reads `b.y`: name it in a `from`, or remove it
    9:8: `output.out.from`: `b.z` is no way out of `b`: there are `b.x`, `b.y`, `b.else`
    9:8: `output.out.from`: say which way out of `b`: `b.x`, `b.y`, `b.else`
    ");
    let join = "[[stage]]\nname = \"j\"\nkind = \"join\"\nleft = \".\"\nright = \".\"\nwithin = \"1s\"\nexpression = \".\"\n";
    insta::assert_snapshot!(toml(&format!("{join}{out}")), @r#"
    1:1: `input.time`: `j` goes by the time of events: add `time = "…"` to `[input]`
    4:8: `stage.j.from`: a join has two sources: `from = ["left", "right"]`
    "#);
    insta::assert_snapshot!(toml(&map("a", "")), @r"
    1:12: `output`: there is no `[[output]]`: add one, so that something comes out
    4:8: `stage.a`: nothing reads `a`: name it in a `from`, or remove it
    ");
}

#[test]
fn json_problems_have_lines_and_keys_too() {
    let json = r#"{
  "pipeline": "p",
  "format": 1,
  "stage": [
    { "name": "a", "kind": "filter", "expression": ".x",
      "parallel": 0 },
    { "name": "b", "kind": "map",
      "expression": ".a | foo(1)", "window": "1m" }
  ],
  "output": [{ "name": "out", "from": "b" }]
}"#;
    insta::assert_snapshot!(problems(json, Format::Json), @r"
    6:19: `stage.a.parallel`: the number of threads is 1 to 64
    8:27: `stage.b.expression`: there is no filter `foo`
    8:46: `stage.b.window`: a stage of kind `map` has no `window`: remove it
    ");
}
