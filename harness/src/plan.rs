//! A plan: every random choice of a run, drawn up front from one seed.

use bytes::Bytes;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::scenario::{
    AwaitLoad, Between, CrashAt, Damage, DamageStream, LoseMember, Percent, Program, Replay,
    ReplayFrom, Restore, RestoreCopy, Scenario, Span, Step, Target,
};

/// A scenario with all choices made; only the machine's timing is left to chance.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The seed of every choice.
    pub seed: u64,
    /// The scenario, with the command line's changes.
    pub scenario: Scenario,
    /// Its steps: repeats written out, ranges reduced to the value that was drawn.
    pub steps: Vec<Step>,
    /// By workload, the events that are deleted again; ascending.
    pub deletes: Vec<Vec<u64>>,
    /// SHA-256 of the corpus, if there is one.
    pub corpus: Option<String>,
}

impl Plan {
    /// Draws every choice.
    pub fn draw(scenario: Scenario, seed: u64, corpus: Option<&Vec<Bytes>>) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut steps = Vec::new();
        write_out(&scenario.steps, &mut rng, &mut steps);
        let deletes = scenario.workloads.iter().map(|w| pick(w.deletes, w.events, &mut rng));
        let deletes = deletes.collect();
        let corpus = corpus.map(|lines| {
            let mut hasher = Sha256::new();
            for line in lines {
                hasher.update(line);
            }
            hex::encode(hasher.finalize())
        });
        Self { seed, scenario, steps, deletes, corpus }
    }

    /// Returns the SHA-256 of the plan: two runs with the same one do the same.
    #[expect(clippy::missing_panics_doc, reason = "it has no maps with keys that are not text")]
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("a plan is always JSON");
        hex::encode(Sha256::digest(text))
    }
}

fn write_out(steps: &[Step], rng: &mut Xoshiro256PlusPlus, out: &mut Vec<Step>) {
    for step in steps {
        let step = match step {
            Step::Repeat(repeat) => {
                for _ in 0..repeat.times {
                    write_out(&repeat.steps, rng, out);
                }
                continue;
            }
            Step::AwaitLoad(wait) => Step::AwaitLoad(AwaitLoad {
                published: wait.published.map(|range| percent(range, rng)),
                time: wait.time.map(|range| span(range, rng)),
            }),
            Step::CrashAt(crash) => {
                // Each point is a step of its own, so that the report shows its duration; the
                // storage manager is started again only after the last.
                out.extend(crash.points.iter().map(|point| {
                    let (points, reached) = (vec![point.clone()], times(crash.reached, rng));
                    Step::CrashAt(CrashAt { points, reached, ..crash.clone() })
                }));
                let (node, program) = (crash.node.clone(), Some(Program::StorageManager));
                Step::Start(Target { node, program })
            }
            Step::Restore(restore) => Step::Restore(Restore {
                reached: restore.reached.map(|range| times(range, rng)),
                ..restore.clone()
            }),
            Step::Replay(replay) => Step::Replay(Replay {
                stream: replay.stream.clone(),
                from: match replay.from {
                    ReplayFrom::Start => ReplayFrom::Start,
                    ReplayFrom::Sequence(range) => ReplayFrom::Sequence(percent(range, rng)),
                    ReplayFrom::Time(range) => ReplayFrom::Time(percent(range, rng)),
                },
            }),
            Step::Damage(damage) => Step::Damage(Damage {
                at: percent(damage.at, rng),
                draw: rng.random(),
                ..damage.clone()
            }),
            Step::RestoreCopy(copy) => Step::RestoreCopy(RestoreCopy {
                until_sequence: copy.until_sequence.map(|range| percent(range, rng)),
                until_time: copy.until_time.map(|range| percent(range, rng)),
                ..copy.clone()
            }),
            Step::LoseMember(lose) => {
                Step::LoseMember(LoseMember { draw: rng.random(), ..lose.clone() })
            }
            Step::DamageStream(damage) => {
                Step::DamageStream(DamageStream { at: percent(damage.at, rng), ..damage.clone() })
            }
            other => other.clone(),
        };
        out.push(step);
    }
}

fn percent(Between(low, high): Between<Percent>, rng: &mut Xoshiro256PlusPlus) -> Between<Percent> {
    let (low, high) = (low.as_permille(), high.as_permille());
    let drawn = Percent::permille(rng.random_range(low.min(high)..=low.max(high)));
    Between(drawn, drawn)
}

fn times(Between(low, high): Between<u32>, rng: &mut Xoshiro256PlusPlus) -> Between<u32> {
    let drawn = rng.random_range(low.min(high)..=low.max(high));
    Between(drawn, drawn)
}

fn span(Between(low, high): Between<Span>, rng: &mut Xoshiro256PlusPlus) -> Between<Span> {
    let (low, high) = (low.as_micros(), high.as_micros());
    let drawn = Span::micros(rng.random_range(low.min(high)..=low.max(high)));
    Between(drawn, drawn)
}

/// Draws `count` different numbers below `of`, ascending.
fn pick(count: u64, of: u64, rng: &mut Xoshiro256PlusPlus) -> Vec<u64> {
    let mut picked = std::collections::BTreeSet::new();
    while (picked.len() as u64) < count.min(of) {
        picked.insert(rng.random_range(0..of));
    }
    picked.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn scenario() -> Scenario {
        named("storage-manager-crash")
    }

    fn named(name: &str) -> Scenario {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../fixtures/scenarios/{name}.toml"));
        crate::scenario::parse(&path, &std::fs::read_to_string(&path).unwrap()).unwrap()
    }

    #[test]
    fn one_seed_gives_one_plan_and_another_seed_another() {
        let digest = |seed| Plan::draw(scenario(), seed, None).digest();
        assert_eq!(digest(7), digest(7));
        assert_ne!(digest(7), digest(8));
    }

    #[test]
    fn what_the_command_line_changes_is_part_of_the_plan() {
        let mut changed = scenario();
        changed.workloads[0].events += 1;
        assert_ne!(Plan::draw(changed, 7, None).digest(), Plan::draw(scenario(), 7, None).digest());
    }

    #[test]
    fn repeats_are_written_out_and_drawn_anew() {
        let plan = Plan::draw(scenario(), 7, None);
        let waits: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::AwaitLoad(wait) => wait.time.map(|t| t.0),
                _ => None,
            })
            .collect();
        assert!(waits.len() >= 20, "{waits:?}");
        assert!(waits.windows(2).any(|w| w[0] != w[1]), "{waits:?}");
        assert!(!plan.steps.iter().any(|s| matches!(s, Step::Repeat(_))));
    }

    #[test]
    fn crashes_are_written_out_and_end_with_a_start() {
        let plan = Plan::draw(named("commit-points"), 7, None);
        let crashes: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::CrashAt(crash) => Some((&crash.points[..], crash.reached)),
                _ => None,
            })
            .collect();
        assert_eq!(crashes.len(), 14);
        assert!(
            crashes.iter().all(|(points, Between(low, high))| points.len() == 1 && low == high)
        );
        let starts = plan.steps.windows(2).filter(|w| {
            matches!((&w[0], &w[1]), (Step::CrashAt(_), Step::Start(start))
                if start.program == Some(Program::StorageManager))
        });
        assert_eq!(starts.count(), 3, "once for each list of points");
    }

    #[test]
    fn deletes_are_different_events_within_the_load() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let picked = pick(50, 100, &mut rng);
        assert_eq!(picked.len(), 50);
        assert!(picked.windows(2).all(|w| w[0] < w[1]) && picked[49] < 100);
    }
}
