//! `cim-harness scenario --dry-run`: the plan, and nothing else.

use std::fmt::Write as _;

use crate::engine::{self, Options};
use crate::output::print;
use crate::plan::Plan;
use crate::runner::Job;
use crate::substrate::lacking;

/// Prints each job's plan. The digest is the one that a run's report will have.
pub(super) fn run(jobs: impl Iterator<Item = Job>, options: &Options, json: bool, brief: bool) {
    for job in jobs {
        let options = Options { seed: job.seed, ..options.clone() };
        let plan = engine::plan(job.scenario, &options);
        let lacking = lacking(&plan.scenario, &options.offers());
        if json {
            let value = serde_json::json!({
                "scenario": job.name,
                "substrate": options.substrate.name(),
                "seed": plan.seed,
                "plan_digest": plan.digest(),
                "lacking": lacking,
                "plan": plan,
            });
            print(&value.to_string());
        } else if brief {
            let skipped = if lacking.is_empty() {
                String::new()
            } else {
                format!("  would be skipped: lacks {}", lacking.join(", "))
            };
            print(&format!("{:<28} {}{skipped}", job.name, plan.digest()));
        } else {
            print(text(&job.name, &plan, &lacking).trim_end());
        }
    }
}

fn text(name: &str, plan: &Plan, lacking: &[String]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name} · seed {} · {}", plan.seed, plan.scenario.title);
    let _ = writeln!(text, "plan {}", plan.digest());
    if !lacking.is_empty() {
        let _ = writeln!(text, "would be skipped: the substrate lacks {}", lacking.join(", "));
    }
    for (load, deletes) in plan.scenario.workloads.iter().zip(&plan.deletes) {
        let rate = load.rate.map_or_else(|| "as fast as it goes".to_owned(), |r| r.to_string());
        let _ = writeln!(
            text,
            "load {}: {} events of {} to {}, {rate}, {} publishers, {} deletes",
            load.name,
            load.events,
            load.size,
            load.stream,
            load.publishers,
            deletes.len()
        );
    }
    for (at, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(text, "{:>4}. {step}", at + 1);
    }
    text
}
