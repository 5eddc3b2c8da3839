//! A pipeline that another process goes on with: as if there had been one.

use cim_pipeline_engine::definition::{Format, check};
use cim_pipeline_engine::engine::{Checkpoint, Pipeline, out_line};
use proptest::prelude::*;
use serde_json::json;

const DEFINITION: &str = r#"
pipeline = "p"
format = 1
[input]
time = ".t"
key = ".k"
lateness = "5s"
[[stage]]
name = "side"
kind = "branch"
cases = { left = ".v < 5", right = ".v >= 5" }
[[stage]]
name = "pair"
kind = "join"
from = ["side.left", "side.right"]
left = ".k"
right = ".k"
within = "4s"
expression = "[.left.v, .right.v, nan, 0.1]"
[[stage]]
name = "sum"
kind = "aggregate"
window = "6s"
slide = "2s"
expression = "[.key, .start, (.values | map(.[0] * .[1]) | add), (.values | tostring)]"
[[output]]
name = "sums"
"#;

fn pipeline(checkpoint: Option<&str>) -> Pipeline {
    let definition = check(DEFINITION, Format::Toml).unwrap();
    match checkpoint {
        None => Pipeline::new(definition),
        Some(text) => Pipeline::restore(definition, serde_json::from_str(text).unwrap()).unwrap(),
    }
}

fn text(checkpoint: &Checkpoint) -> String {
    serde_json::to_string(checkpoint).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_pipeline_goes_on_behind_its_checkpoint(
        events in prop::collection::vec((0_i64..40, 0_u8..2, 0_i64..10), 1..40),
        cut in 0_usize..40,
    ) {
        let events: Vec<_> = events.into_iter().enumerate()
            .map(|(id, (t, k, v))| (id.to_string(), json!({"t": t, "k": k, "v": v}).to_string().into_bytes()))
            .collect();
        let (before, behind) = events.split_at(cut.min(events.len()));

        let mut whole = pipeline(None);
        let mut expected = whole.push(before);
        let saved = text(&whole.checkpoint());
        for (outs, lost) in [whole.push(behind), whole.finish()] {
            expected.0.extend(outs);
            expected.1.extend(lost);
        }

        let mut first = pipeline(None);
        let mut found = first.push(before);
        prop_assert_eq!(text(&first.checkpoint()), saved.clone());
        drop(first);
        let mut second = pipeline(Some(&saved));
        prop_assert_eq!(text(&second.checkpoint()), saved);
        for (outs, lost) in [second.push(behind), second.finish()] {
            found.0.extend(outs);
            found.1.extend(lost);
        }
        // As lines: NaN is not equal to itself.
        let lines = |pipeline: &Pipeline, outs: &[_]| {
            outs.iter().map(|out| out_line(pipeline.definition(), out).unwrap()).collect::<Vec<_>>()
        };
        prop_assert_eq!(lines(&whole, &expected.0), lines(&second, &found.0));
        prop_assert_eq!(format!("{:?}", expected.1), format!("{:?}", found.1));
        prop_assert_eq!(whole.counts(), second.counts());
    }
}

#[test]
fn a_checkpoint_of_another_definition_is_refused() {
    let saved = pipeline(None).checkpoint();
    let others = [
        DEFINITION.replace("\"p\"", "\"q\""),
        DEFINITION.replace("name = \"sum\"", "name = \"total\""),
        DEFINITION.split("[[stage]]\nname = \"sum\"").next().unwrap().to_owned()
            + "[[output]]\nname = \"o\"",
    ];
    for other in others {
        let other = check(&other, Format::Toml).unwrap();
        let refused = Pipeline::restore(other, saved.clone()).err();
        assert_eq!(
            refused.as_deref(),
            Some("the checkpoint of `p` is not that of this definition: start anew, and replay")
        );
    }
}
