//! The expected outcome of every scenario on every substrate: `fixtures/outcomes.toml`.
//!
//! A skipped scenario has not passed. To let none be skipped unnoticed, every expected outcome is
//! written down; any other is an error that says what to write.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::report::{Report, Verdict};

/// The outcome that a scenario must have on a substrate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Expected {
    /// It passes.
    Passed,
    /// It is skipped, because the substrate lacks exactly these capabilities; ascending.
    Skipped(Vec<String>),
}

/// A scenario's outcomes by substrate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    process: Option<Expected>,
    container: Option<Expected>,
    driver: Option<Expected>,
}

/// The file.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    path: PathBuf,
    entries: BTreeMap<String, Entry>,
    /// True if a scenario that passes needs an entry.
    complete: bool,
}

impl TryFrom<String> for Expected {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let skipped = || {
            let mut lacking: Vec<String> =
                text.strip_prefix("skipped: ")?.split(", ").map(str::to_owned).collect();
            lacking.sort();
            lacking.iter().all(|name| !name.trim().is_empty()).then_some(Self::Skipped(lacking))
        };
        match text.as_str() {
            "passed" => Ok(Self::Passed),
            _ => skipped().ok_or_else(|| {
                format!("`{text}` is not an outcome: write `passed`, or `skipped: power-loss` with the lacking capabilities")
            }),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Skipped(lacking) => write!(f, "skipped: {}", lacking.join(", ")),
        }
    }
}

impl Entry {
    fn on(&self, substrate: &str) -> Option<&Expected> {
        match substrate {
            "process" => self.process.as_ref(),
            "container" => self.container.as_ref(),
            "driver" => self.driver.as_ref(),
            _ => None,
        }
    }
}

impl Outcomes {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::Usage(format!("`{}`: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let entries =
            toml::from_str(&text).map_err(|e| wrong(e.to_string().trim().replace('\n', " ")))?;
        Ok(Self { path: path.to_owned(), entries, complete: true })
    }

    /// Makes outcomes without a file: every scenario is expected to pass.
    pub(crate) fn all_pass(path: PathBuf) -> Self {
        Self { path, entries: BTreeMap::new(), complete: false }
    }

    /// Returns the path beside the directory of scenarios.
    pub(crate) fn beside(scenarios: &Path) -> PathBuf {
        scenarios.parent().unwrap_or(Path::new(".")).join("outcomes.toml")
    }

    /// Returns the problem of a run's outcome with the line to write, or `None` if it is as
    /// expected.
    pub(crate) fn problem(&self, report: &Report) -> Option<String> {
        let (name, substrate) = (&report.scenario, &report.substrate);
        let reason = report.reason.as_deref().unwrap_or("no reason given");
        let was = match report.verdict {
            Verdict::Failed => return Some(format!("`{name}` failed: {reason}")),
            Verdict::Passed => Expected::Passed,
            // A scenario skipped for another reason than a capability has no expected outcome.
            Verdict::Skipped if report.lacking.is_empty() => {
                return Some(format!("`{name}` was skipped: {reason}"));
            }
            Verdict::Skipped => Expected::Skipped(report.lacking.clone()),
        };
        if was == Expected::Passed && !self.complete {
            return None;
        }
        let file = self.path.display();
        let Some(entry) = self.entries.get(name) else {
            return Some(format!(
                "`{name}` is not in `{file}`: add `{name} = {{ {substrate} = \"{was}\" }}`"
            ));
        };
        match entry.on(substrate) {
            Some(expected) if *expected == was => None,
            Some(expected) => Some(format!(
                "`{name}` is expected to be `{expected}` on `{substrate}` and was `{was}`: \
                 mend it, or write `{substrate} = \"{was}\"` in `{file}`"
            )),
            None => Some(format!(
                "`{name}` has no outcome for `{substrate}` in `{file}`: \
                 add `{substrate} = \"{was}\"` to it"
            )),
        }
    }

    /// Returns a problem for each entry without a scenario.
    pub(crate) fn stale<'a>(&self, there: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let there: std::collections::BTreeSet<&str> = there.into_iter().collect();
        let stale = self.entries.keys().filter(|name| !there.contains(name.as_str()));
        let file = self.path.display();
        stale.map(|name| format!("`{name}` in `{file}` is not a scenario: remove it")).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::tests::sample;
    use crate::scenario;
    use crate::scenario::Capability;
    use crate::substrate::{CONTAINER_OFFERS, lacking, process_offers};

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures")
    }

    fn outcomes(text: &str) -> Result<Outcomes> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outcomes.toml");
        std::fs::write(&path, text).unwrap();
        let outcomes = Outcomes::read(&path);
        outcomes.map(|outcomes| Outcomes { path: "outcomes.toml".into(), ..outcomes })
    }

    #[test]
    fn the_file_and_the_directory_agree() {
        let outcomes = Outcomes::read(&fixtures().join("outcomes.toml")).unwrap();
        let listed = scenario::list(&fixtures().join("scenarios")).unwrap();
        // Some machines that run this test cannot give a lab disks of a size.
        let mut offers = process_offers();
        offers.insert(Capability::DiskFull);
        // Present if the storage manager has been built with fail points.
        offers.insert(Capability::FailPoints);
        let mut wrong = outcomes.stale(listed.iter().map(|l| l.name.as_str()));
        for l in &listed {
            let lacking = lacking(l.scenario.as_ref().unwrap(), &offers);
            let report = Report {
                scenario: l.name.clone(),
                verdict: if lacking.is_empty() { Verdict::Passed } else { Verdict::Skipped },
                lacking,
                ..sample()
            };
            wrong.extend(outcomes.problem(&report));
        }
        assert_eq!(wrong, Vec::<String>::new());
    }

    /// Compares the outcomes of other substrates with their capabilities; outcomes that were never
    /// run are left out.
    #[test]
    fn the_other_substrates_outcomes_follow_from_what_they_offer() {
        let outcomes = Outcomes::read(&fixtures().join("outcomes.toml")).unwrap();
        let python = std::fs::read_to_string(fixtures().join("../ci/vm/cimvm/lab.py")).unwrap();
        let offers = python.lines().find_map(|line| line.strip_prefix("OFFERS = ")).unwrap();
        let machines: BTreeSet<Capability> = serde_json::from_str(offers).unwrap();
        let mut wrong = Vec::new();
        for l in scenario::list(&fixtures().join("scenarios")).unwrap() {
            for (substrate, offers) in
                [("container", &CONTAINER_OFFERS.into()), ("driver", &machines)]
            {
                let lacking = lacking(l.scenario.as_ref().unwrap(), offers);
                let verdict = if lacking.is_empty() { Verdict::Passed } else { Verdict::Skipped };
                let (scenario, substrate) = (l.name.clone(), substrate.to_owned());
                let report = Report { scenario, substrate, verdict, lacking, ..sample() };
                wrong.extend(
                    outcomes.problem(&report).filter(|said| !said.contains("has no outcome")),
                );
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
    }

    #[test]
    fn what_is_unexpected_says_what_to_write() {
        let outcomes = outcomes(
            "s = { process = \"passed\" }\nt = { process = \"skipped: clock, power-loss\" }\n",
        );
        let outcomes = outcomes.unwrap();
        let passed = sample();
        assert_eq!(outcomes.problem(&passed), None);
        let lacking = vec!["clock".to_owned(), "power-loss".to_owned()];
        let skipped = Report { verdict: Verdict::Skipped, lacking, ..sample() };
        insta::assert_snapshot!(outcomes.problem(&skipped).unwrap(), @r#"`s` is expected to be `passed` on `process` and was `skipped: clock, power-loss`: mend it, or write `process = "skipped: clock, power-loss"` in `outcomes.toml`"#);
        let of_t = |report: Report| outcomes.problem(&Report { scenario: "t".into(), ..report });
        assert_eq!(of_t(skipped.clone()), None);
        insta::assert_snapshot!(of_t(passed.clone()).unwrap(), @r#"`t` is expected to be `skipped: clock, power-loss` on `process` and was `passed`: mend it, or write `process = "passed"` in `outcomes.toml`"#);
        let less = Report { lacking: vec!["clock".into()], ..skipped.clone() };
        insta::assert_snapshot!(of_t(less).unwrap(), @r#"`t` is expected to be `skipped: clock, power-loss` on `process` and was `skipped: clock`: mend it, or write `process = "skipped: clock"` in `outcomes.toml`"#);
        let without = Report {
            lacking: Vec::new(),
            reason: Some("no Docker engine answers".into()),
            ..skipped
        };
        insta::assert_snapshot!(of_t(without).unwrap(), @"`t` was skipped: no Docker engine answers");
        let new = Report { scenario: "new".into(), ..passed.clone() };
        insta::assert_snapshot!(outcomes.problem(&new).unwrap(), @r#"`new` is not in `outcomes.toml`: add `new = { process = "passed" }`"#);
        let elsewhere = Report { substrate: "driver".into(), ..passed };
        insta::assert_snapshot!(outcomes.problem(&elsewhere).unwrap(), @r#"`s` has no outcome for `driver` in `outcomes.toml`: add `driver = "passed"` to it"#);
        insta::assert_snapshot!(outcomes.stale(["s"]).join("\n"), @"`t` in `outcomes.toml` is not a scenario: remove it");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "s = { process = \"skipped\" }",
            "s = { process = \"failed\" }",
            "s = { proces = \"passed\" }",
        ] {
            assert!(outcomes(text).is_err(), "{text}");
        }
    }
}
