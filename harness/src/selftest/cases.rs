//! The cases: each sabotage with its scenario, and the defect as which the oracle must find it.

use std::path::Path;

use crate::error::Result;
use crate::report::{Report, Verdict};
use crate::scenario::{Scenario, parse};

/// A sabotage and its required finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    /// The storage manager's name for it.
    pub(super) sabotage: &'static str,
    /// The scenario that must fail.
    pub(super) scenario: Small,
    /// The required finding.
    pub(super) found: Found,
}

/// The scenarios, of fixtures/selftest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Small {
    Tiering,
    Deletes,
    Recovery,
}

/// A finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// One of the oracle's counts is above 0.
    Counted(Count),
    /// The reason of the failure names a segment of the manifest and this defect.
    Segment(&'static str),
}

/// One of the oracle's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Lost,
    Duplicated,
    Reordered,
    Changed,
    Phantom,
    ConsumersWrong,
}

/// Every sabotage of the storage manager, in the order of issue and code.
pub(super) const CASES: [Case; 12] = [
    case("drop-event", Small::Tiering, Found::Counted(Count::Lost)),
    case("duplicate-event", Small::Tiering, Found::Counted(Count::Duplicated)),
    case("reorder-events", Small::Tiering, Found::Counted(Count::Reordered)),
    case("truncate-segment", Small::Tiering, Found::Segment("is damaged")),
    case("flip-bit", Small::Tiering, Found::Counted(Count::Changed)),
    case("shift-timestamp", Small::Tiering, Found::Counted(Count::Changed)),
    case("skip-consumer-position", Small::Recovery, Found::Counted(Count::ConsumersWrong)),
    case("advance-watermark", Small::Tiering, Found::Segment("is missing")),
    case("forget-delete", Small::Deletes, Found::Counted(Count::Phantom)),
    case("stale-manifest", Small::Recovery, Found::Counted(Count::Lost)),
    case("swallow-s3-error", Small::Tiering, Found::Segment("is missing")),
    case("restore-one-too-few", Small::Recovery, Found::Counted(Count::Lost)),
];

const fn case(sabotage: &'static str, scenario: Small, found: Found) -> Case {
    Case { sabotage, scenario, found }
}

impl Small {
    pub(super) const ALL: [Self; 3] = [Self::Tiering, Self::Deletes, Self::Recovery];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tiering => "tiering",
            Self::Deletes => "deletes",
            Self::Recovery => "recovery",
        }
    }

    /// Parses the scenario; it is part of this program, which so needs no project around it.
    pub(super) fn scenario(self) -> Result<Scenario> {
        let text = match self {
            Self::Tiering => include_str!("../../../fixtures/selftest/tiering.toml"),
            Self::Deletes => include_str!("../../../fixtures/selftest/deletes.toml"),
            Self::Recovery => include_str!("../../../fixtures/selftest/recovery.toml"),
        };
        parse(Path::new(&format!("fixtures/selftest/{}.toml", self.name())), text)
    }
}

impl Found {
    /// Returns the report's words for the finding; `None` if it is not in the report.
    pub(super) fn in_report(self, report: &Report) -> Option<String> {
        if report.verdict != Verdict::Failed {
            return None;
        }
        match self {
            Self::Counted(count) => {
                let (name, number) = count.of(report);
                (number > 0).then(|| format!("{name} {number}"))
            }
            Self::Segment(what) => {
                let reason = report.reason.as_deref()?;
                // Other programs that complain about a segment (the storage manager does) are not
                // the oracle.
                let said = reason.starts_with("segment `") && reason.contains(what);
                said.then(|| format!("a segment {what}"))
            }
        }
    }
}

impl Count {
    fn of(self, report: &Report) -> (&'static str, u64) {
        let oracle = &report.oracle;
        match self {
            Self::Lost => ("lost", oracle.lost),
            Self::Duplicated => ("duplicated", oracle.duplicated),
            Self::Reordered => ("reordered", oracle.reordered),
            Self::Changed => ("changed", oracle.changed),
            Self::Phantom => ("phantom", oracle.phantom),
            Self::ConsumersWrong => ("consumers wrong", oracle.consumers_wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn every_scenario_can_be_read_and_is_used() {
        for small in Small::ALL {
            small.scenario().unwrap();
            assert!(CASES.iter().any(|case| case.scenario == small), "{small:?}");
        }
    }

    #[test]
    fn only_a_failure_of_the_right_kind_counts() {
        let mut report = sample();
        report.oracle.changed = 2;
        let changed = Found::Counted(Count::Changed);
        assert_eq!(changed.in_report(&report), None, "it passed");
        report.verdict = Verdict::Failed;
        assert_eq!(changed.in_report(&report).as_deref(), Some("changed 2"));
        assert_eq!(Found::Counted(Count::Lost).in_report(&report), None);
        let damaged = Found::Segment("is damaged");
        report.reason = Some("the storage manager did not start: segment `x` is damaged".into());
        assert_eq!(damaged.in_report(&report), None, "the oracle did not say it");
        report.reason = Some("segment `x` is damaged: its SHA-256 is y".into());
        assert_eq!(damaged.in_report(&report).as_deref(), Some("a segment is damaged"));
        assert_eq!(Found::Segment("is missing").in_report(&report), None);
    }
}
