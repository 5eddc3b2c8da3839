//! Graphs that are drawn: those without a cycle are accepted in an order that runs, the others are not.

use std::fmt::Write as _;

use cim_pipeline_engine::definition::{Format, check};
use proptest::prelude::*;

/// A definition of stages with these sources; every stage is read by an output.
fn definition(sources: &[Vec<usize>]) -> String {
    let mut text = "pipeline = \"p\"\nformat = 1\n".to_owned();
    for (index, from) in sources.iter().enumerate() {
        let from: Vec<_> = from.iter().map(|from| format!("\"s{from}\"")).collect();
        let from = if from.is_empty() { "\"input\"".into() } else { from.join(", ") };
        write!(
            text,
            "[[stage]]\nname = \"s{index}\"\nkind = \"map\"\nexpression = \".\"\nfrom = [{from}]\n"
        )
        .unwrap();
    }
    let all: Vec<_> = (0..sources.len()).map(|index| format!("\"s{index}\"")).collect();
    write!(text, "[[output]]\nname = \"out\"\nfrom = [{}]\n", all.join(", ")).unwrap();
    text
}

/// The judgement by another way: repeated removal of stages without sources.
fn has_circle(sources: &[Vec<usize>]) -> bool {
    let mut left: Vec<usize> = (0..sources.len()).collect();
    loop {
        let before = left.len();
        let kept: Vec<_> = left
            .iter()
            .copied()
            .filter(|s| sources[*s].iter().any(|from| left.contains(from)))
            .collect();
        left = kept;
        if left.len() == before {
            return !left.is_empty();
        }
    }
}

proptest! {
    #[test]
    fn circles_are_refused_and_nothing_else(
        sources in (1_usize..8).prop_flat_map(|n| {
            prop::collection::vec(prop::collection::btree_set(0..n, 0..2), n)
        })
    ) {
        let sources: Vec<Vec<usize>> = sources.into_iter().map(|set| set.into_iter().collect()).collect();
        let text = definition(&sources);
        match check(&text, Format::Toml) {
            Ok(definition) => {
                prop_assert!(!has_circle(&sources));
                for (index, stage) in definition.stages.iter().enumerate() {
                    prop_assert!(stage.from.iter().all(|port| port.stage.is_none_or(|from| from < index)));
                }
            }
            Err(problems) => {
                prop_assert!(has_circle(&sources), "{problems:?}");
                prop_assert!(problems[0].message.starts_with("the stages go in a circle: "), "{problems:?}");
            }
        }
    }

    #[test]
    fn a_document_that_is_damaged_has_problems_within_it(cut in 0_usize..400, by in "[a-z\"\\]\\[=.\n]{0,3}") {
        let mut text = definition(&[vec![], vec![0], vec![0, 1]]);
        let cut = cut.min(text.len());
        text.replace_range(cut..(cut + 2).min(text.len()), &by);
        if let Err(problems) = check(&text, Format::Toml) {
            let lines = text.matches('\n').count() + 1;
            prop_assert!(!problems.is_empty());
            prop_assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        }
    }
}
