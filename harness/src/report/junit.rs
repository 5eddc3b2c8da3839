//! A report as JUnit XML, which CI systems show.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Xml, TestCase, TestCaseStatus, TestSuite};

use super::{Report, Verdict};

/// Returns a test case for the verdict, each step, each comparison and each expectation. Several
/// reports, of `--repeat` or `--all`, are several suites; `problems` are one more.
pub(crate) fn junit(reports: &[Report], problems: &[String]) -> String {
    let mut xml = Xml::new("cim-harness");
    for report in reports {
        xml.add_test_suite(suite(report));
    }
    if !problems.is_empty() {
        let mut suite = TestSuite::new("expected outcomes");
        for problem in problems {
            suite.add_test_case(TestCase::new(problem.clone(), failure(problem)));
        }
        xml.add_test_suite(suite);
    }
    xml.to_string().expect("what is written to memory is written")
}

fn suite(report: &Report) -> TestSuite {
    let name = format!("{} on {}, seed {}", report.scenario, report.substrate, report.seed);
    let mut suite = TestSuite::new(name);
    let mut add = |name: String, seconds: f64, status: TestCaseStatus| {
        let mut case = TestCase::new(name, status);
        case.set_classname(report.scenario.clone());
        case.set_time(Duration::try_from_secs_f64(seconds).unwrap_or_default());
        suite.add_test_case(case);
    };
    let verdict = match report.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Failed => failure(report.reason.as_deref().unwrap_or("failed")),
        Verdict::Skipped => {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message(report.reason.clone().unwrap_or_default());
            skipped
        }
    };
    add("verdict".into(), report.seconds, verdict);
    for step in &report.steps {
        add(
            step.what.clone(),
            step.end - step.start,
            unless(step.outcome == "done", &step.outcome),
        );
    }
    // A scenario that must lose messages passes with losses.
    let passed = report.verdict == Verdict::Passed;
    for judgement in &report.judgements {
        let [prefix, middle, postfix] = judgement.lost;
        let mut wrong = judgement.examples.join("; ");
        if prefix + middle + postfix > 0 {
            wrong = format!("lost {prefix} prefix, {middle} middle, {postfix} postfix; {wrong}");
        }
        add(format!("oracle: {}", judgement.of), 0.0, unless(passed || judgement.clean(), &wrong));
    }
    for expected in &report.expectations {
        let wrong = expected.to_string();
        add(format!("expected: {}", expected.what), 0.0, unless(expected.met, &wrong));
    }
    suite.set_time(Duration::try_from_secs_f64(report.seconds).unwrap_or_default());
    suite
}

fn unless(good: bool, message: &str) -> TestCaseStatus {
    if good { TestCaseStatus::success() } else { failure(message) }
}

fn failure(message: &str) -> TestCaseStatus {
    let mut failure = TestCaseStatus::non_success(NonSuccessKind::Failure);
    failure.set_message(message);
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn every_verdict_has_a_form() {
        let passed = sample();
        let failed = Report {
            verdict: Verdict::Failed,
            reason: Some("the oracle found <what> should not be".into()),
            ..sample()
        };
        let skipped = Report {
            verdict: Verdict::Skipped,
            reason: Some("no power".into()),
            steps: Vec::new(),
            judgements: Vec::new(),
            slowdown: None,
            expectations: Vec::new(),
            ..sample()
        };
        insta::assert_snapshot!(junit(&[passed, failed, skipped], &["`s` was skipped".into()]));
    }
}
