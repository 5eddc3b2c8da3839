//! Many runs: a summary first, then each run.

use maud::{Markup, html};

use super::run::{self, spreads, ticked, verdict};
use super::timeline::seconds;
use crate::report::{Report, Verdict, repeats};

/// Returns the page's title.
pub(super) fn title(reports: &[Report]) -> String {
    match (reports.first(), same_scenario(reports)) {
        (Some(first), true) => format!("{}, {} runs", first.scenario, reports.len()),
        _ => format!("{} runs", reports.len()),
    }
}

fn same_scenario(reports: &[Report]) -> bool {
    reports.windows(2).all(|pair| pair[0].scenario == pair[1].scenario)
}

/// Returns the body of a page about many runs; `problems` are those beside the reports.
pub(super) fn page(reports: &[Report], problems: &[String]) -> Markup {
    let count = |verdict| reports.iter().filter(|r| r.verdict == verdict).count();
    let counts = [Verdict::Passed, Verdict::Failed, Verdict::Skipped].map(|v| (v, count(v)));
    let times = repeats(reports).rows();
    html! {
        h1 { (title(reports)) }
        p { @for (v, count) in counts { @if count > 0 { (verdict(v)) " " (count) " " } } }
        @if !problems.is_empty() {
            h2 { "Unexpected" }
            ul class="examples" { @for problem in problems { li { (ticked(problem)) } } }
        }
        h2 { "Runs" }
        (overview(reports))
        @if !times.is_empty() {
            h2 { "Recovery over all runs" }
            (spreads(&times))
        }
        h2 { "Each run" }
        @for (at, report) in reports.iter().enumerate() {
            details id={ "run" (at) } open[report.verdict == Verdict::Failed] {
                summary { (report.scenario) ", seed " (report.seed) " · " span class=(report.verdict) { (report.verdict) } }
                p class="muted" { (report.title) }
                (run::sections(report, &format!("run{at}")))
            }
        }
    }
}

fn overview(reports: &[Report]) -> Markup {
    html! {
        div class="scroll" { table class="cards" {
            tr {
                th { "scenario" } th { "seed" } th { "verdict" }
                @for name in ["acked", "recovered", "tail", "lost", "other", "RPO", "RTO", "took"] { th class="n" { (name) } }
                th { "reason" }
            }
            @for (at, report) in reports.iter().enumerate() { (row(at, report)) }
        } }
    }
}

fn row(at: usize, report: &Report) -> Markup {
    let o = &report.oracle;
    let other =
        o.duplicated + o.reordered + o.changed + o.phantom + o.consumers_wrong + o.streams_wrong;
    let class = |count: u64| if count > 0 { "n wrong" } else { "n" };
    let time = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), seconds);
    let (rpo, rto) = report.worst();
    html! {
        tr class=[(report.verdict == Verdict::Failed).then_some("bad")] {
            td class="name whole" data-of="scenario" { a href={ "#run" (at) } { (report.scenario) } }
            td data-of="seed" { (report.seed) }
            td class={ "name " (report.verdict) } data-of="verdict" { (report.verdict) }
            td class="n" data-of="acked" { (o.acked) }
            td class="n" data-of="recovered" { (o.recovered) }
            td class="n" data-of="tail" { (o.tail) }
            td class=(class(o.lost)) data-of="lost" { (o.lost) }
            td class=(class(other)) data-of="other" { (other) }
            td class="n" data-of="RPO" { (time(rpo)) }
            td class="n" data-of="RTO" { (time(rto)) }
            td class="n" data-of="took" { (seconds(report.seconds)) }
            td class="whole" data-of="reason" { (report.reason.as_deref().unwrap_or_default()) }
        }
    }
}
