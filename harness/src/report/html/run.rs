//! One run.

use maud::{Markup, html};

use super::groups::groups;
use super::losses::{losses, primary};
use super::timeline::{seconds, timeline};
use crate::report::shell::command;
use crate::report::{Judgement, Report, Spread, Verdict};

/// Returns the body of a page about one run.
pub(super) fn page(report: &Report) -> Markup {
    html! {
        h1 { (report.scenario) }
        p class="muted" { (report.title) }
        (sections(report, "run"))
    }
}

/// Returns everything about a run but its name; `id` is unique in the page.
pub(super) fn sections(report: &Report, id: &str) -> Markup {
    let ran = report.verdict != Verdict::Skipped;
    html! {
        p { (verdict(report.verdict)) }
        @if let Some(reason) = &report.reason { p class="reason" { (reason) } }
        @if ran { (tiles(report)) }
        (facts(report))
        @if !report.arguments.is_empty() {
            h2 { "Run it again" }
            pre { (command(&report.arguments)) }
        }
        @if !report.timeline.is_empty() || !report.steps.is_empty() {
            h2 { "Timeline" }
            (timeline(report, id))
        }
        (losses(report))
        (primary(report))
        (groups(report))
        (times(report))
        (expectations(report))
        (judgements(report))
        (steps(report))
        (versions(report))
    }
}

/// Returns a verdict, with a sign besides the colour.
pub(super) fn verdict(verdict: Verdict) -> Markup {
    let sign = match verdict {
        Verdict::Passed => "✓",
        Verdict::Failed => "✗",
        Verdict::Skipped => "–",
    };
    html! { span class={ "verdict " (verdict) } { (sign) " " (verdict) } }
}

fn tiles(report: &Report) -> Markup {
    let o = &report.oracle;
    let counts = [
        ("published", o.published),
        ("not acked", o.unacked),
        ("acked", o.acked),
        ("deleted", o.deleted),
        ("recovered", o.recovered),
        ("tail", o.tail),
    ];
    let (rpo, rto) = report.worst();
    let worst = [("RPO", rpo), ("RTO", rto)];
    let worst = worst.into_iter().filter_map(|(name, time)| Some((name, time?)));
    let wrong = [
        ("lost", o.lost),
        ("duplicated", o.duplicated),
        ("reordered", o.reordered),
        ("changed", o.changed),
        ("phantom", o.phantom),
        ("consumers wrong", o.consumers_wrong),
        ("streams wrong", o.streams_wrong),
    ];
    html! {
        dl class="tiles" {
            @for (name, count) in counts { div { dt { (name) } dd { (count) } } }
            @for (name, time) in worst { div { dt { (name) } dd { (seconds(time)) } } }
        }
        dl class="tiles" {
            @for (name, count) in wrong {
                div class=[(count > 0).then_some("wrong")] {
                    dt { (name) } dd { @if count > 0 { "✗ " } (count) }
                }
            }
        }
    }
}

fn facts(report: &Report) -> Markup {
    html! {
        dl class="facts" {
            dt { "Seed" } dd { code { (report.seed) } }
            dt { "Plan" } dd { code { (report.plan_digest) } }
            dt { "Substrate" } dd { (report.substrate) }
            dt { "Started" } dd { (report.started_at.strftime("%F %T UTC")) }
            dt { "Took" } dd { (seconds(report.seconds)) }
            @if let Some(dir) = &report.run_dir { dt { "Logs and disks" } dd { code { (dir) } } }
        }
    }
}

fn times(report: &Report) -> Markup {
    let rows = report.rpo_seconds.iter().map(|(tier, spread)| ("RPO under load", tier, spread));
    let ages = report.age_seconds.iter().map(|(tier, spread)| ("age at arrival", tier, spread));
    let rows = rows.chain(ages);
    let rows = rows.chain(report.rto_seconds.iter().map(|(tier, spread)| ("RTO", tier, spread)));
    let rows: Vec<_> =
        rows.map(|(what, tier, spread)| (what.to_owned(), tier.to_string(), *spread)).collect();
    html! {
        @if !rows.is_empty() { h2 { "Times" } (spreads(&rows)) }
    }
}

/// Returns a table of percentiles.
pub(super) fn spreads(rows: &[(String, String, Spread)]) -> Markup {
    html! {
        div class="scroll" { table class="cards" {
            tr {
                th { "" } th { "tier" }
                @for name in ["samples", "p50", "p90", "p99", "max"] { th class="n" { (name) } }
            }
            @for (what, tier, spread) in rows {
                tr {
                    td class="name whole" { (what) }
                    td data-of="tier" { (tier) }
                    td class="n" data-of="samples" { (spread.samples) }
                    @for (name, value) in [("p50", spread.p50), ("p90", spread.p90), ("p99", spread.p99), ("max", spread.max)] {
                        td class="n" data-of=(name) { (seconds(value)) }
                    }
                }
            }
        } }
    }
}

fn expectations(report: &Report) -> Markup {
    html! {
        @if !report.expectations.is_empty() {
            h2 { "Expectations" }
            @if let Some(times) = report.slowdown {
                p { "The machines are slow: bounds of time are " (times) " times the scenario's." }
            }
            div class="scroll" { table {
                tr { th { "" } th { "expected" } th class="n" { "bound" } th class="n" { "measured" } }
                @for e in &report.expectations {
                    tr class=[(!e.met).then_some("bad")] {
                        td class="name" { @if e.met { "✓ met" } @else { "✗ missed" } }
                        td { (e.what) }
                        td class="n" { (e.bound()) }
                        td class="n" { (e.measured()) }
                    }
                }
            } }
        }
    }
}

fn judgements(report: &Report) -> Markup {
    let count =
        |count: u64| html! { td class=(if count > 0 { "n wrong" } else { "n" }) { (count) } };
    html! {
        @if !report.judgements.is_empty() {
            h2 { "Comparisons by the oracle" }
            div class="scroll" { table {
                tr {
                    th { "" } th { "of" }
                    @for name in ["read", "exact", "lost before", "between", "after", "duplicated", "reordered", "changed", "phantom"] {
                        th class="n" { (name) }
                    }
                }
                @for j in &report.judgements {
                    tr {
                        td {
                            @if !j.clean() { "✗" } @else if j.read == 0 { "nothing" } @else { "✓" }
                        }
                        td class="of" { (ticked(&j.of)) (examples(j)) }
                        td class="n" { (j.read) } td class="n" { (j.exact) }
                        @for lost in j.lost { (count(lost)) }
                        (count(j.duplicated)) (count(j.reordered)) (count(j.changed)) (count(j.phantom))
                    }
                }
            } }
        }
    }
}

fn examples(judgement: &Judgement) -> Markup {
    html! {
        @if !judgement.examples.is_empty() {
            ul class="examples" { @for example in &judgement.examples { li { (ticked(example)) } } }
        }
    }
}

/// Marks text between backticks as code.
pub(super) fn ticked(text: &str) -> Markup {
    html! {
        @for (at, part) in text.split('`').enumerate() {
            @if at % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn steps(report: &Report) -> Markup {
    html! {
        @if !report.steps.is_empty() {
            h2 { "Steps" }
            div class="scroll" { table {
                tr { th class="n" { "#" } th { "step" } th class="n" { "from" } th class="n" { "took" } th { "outcome" } }
                @for (at, step) in report.steps.iter().enumerate() {
                    tr class=[(step.outcome != "done").then_some("bad")] {
                        td class="n" { (at + 1) }
                        td { (step.what) }
                        td class="n" { (seconds(step.start)) }
                        td class="n" { (seconds(step.end - step.start)) }
                        td { @if step.outcome != "done" { "✗ " } (ticked(&step.outcome)) }
                    }
                }
            } }
        }
    }
}

fn versions(report: &Report) -> Markup {
    html! {
        @if !report.versions.is_empty() {
            h2 { "Versions" }
            dl class="facts" {
                @for (program, version) in &report.versions { dt { (program) } dd { code { (version) } } }
            }
        }
    }
}
