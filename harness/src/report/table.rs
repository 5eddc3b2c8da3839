//! The report as tables for a terminal.

use std::fmt::Write as _;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::{Report, Spread, Verdict, repeats};

/// Returns the whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let head = format!(
        "{} · seed {} · {}\nplan {}",
        report.scenario, report.seed, report.title, report.plan_digest
    );
    let (groups, primary) = (groups(report), primary(report));
    let tables = [counts(report), times(report), losses(report), groups, primary, versions(report)];
    let tables = tables.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let problems = problems(report);
    // Writing to a string does not fail.
    let _ = write!(text, "{head}\n{tables}\n{problems}{}\n", verdict_line(report));
    text
}

/// Returns one line a run, and percentiles over all of them.
pub fn summary(reports: &[Report]) -> String {
    let mut runs = table(&[
        "seed",
        "verdict",
        "published",
        "recovered",
        "tail",
        "wrong",
        "RPO s",
        "RTO s",
        "reason",
    ]);
    for report in reports {
        let o = &report.oracle;
        let wrong = o.lost + o.duplicated + o.reordered + o.changed + o.phantom;
        let (rpo, rto) = report.worst();
        let time = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        runs.add_row([
            report.seed.to_string(),
            verdict(report.verdict).to_owned(),
            o.published.to_string(),
            o.recovered.to_string(),
            o.tail.to_string(),
            wrong.to_string(),
            time(rpo),
            time(rto),
            report.reason.clone().unwrap_or_default(),
        ]);
    }
    let repeats = repeats(reports);
    let mut times = table(&["seconds", "tier", "recoveries", "p50", "p90", "p99", "max"]);
    for (what, tier, Spread { samples, p50, p90, p99, max }) in repeats.rows() {
        let mut row = vec![what, tier, samples.to_string()];
        row.extend([p50, p90, p99, max].map(|value| format!("{value:.3}")));
        times.add_row(row);
    }
    right(&mut times, 2);
    let mut text = format!("{runs}\n");
    if !times.is_empty() {
        let _ = writeln!(text, "{times}");
    }
    let _ = writeln!(
        text,
        "{} runs: {} passed, {} failed, {} skipped",
        repeats.runs, repeats.passed, repeats.failed, repeats.skipped
    );
    text
}

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    table
}

pub(crate) fn right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn counts(report: &Report) -> Option<Table> {
    if report.verdict == Verdict::Skipped {
        return None;
    }
    let o = &report.oracle;
    let mut table = table(&[
        "published",
        "not acked",
        "acked",
        "deleted",
        "recovered",
        "tail",
        "lost",
        "duplicated",
        "reordered",
        "changed",
        "phantom",
    ]);
    let row = [
        o.published,
        o.unacked,
        o.acked,
        o.deleted,
        o.recovered,
        o.tail,
        o.lost,
        o.duplicated,
        o.reordered,
        o.changed,
        o.phantom,
    ];
    table.add_row(row.map(|count| count.to_string()));
    right(&mut table, 0);
    Some(table)
}

fn times(report: &Report) -> Option<Table> {
    let rows = report.rpo_seconds.iter().map(|(tier, spread)| ("RPO under load", tier, spread));
    let ages = report.age_seconds.iter().map(|(tier, spread)| ("age at arrival", tier, spread));
    let rtos = report.rto_seconds.iter().map(|(tier, spread)| ("RTO", tier, spread));
    let rows: Vec<_> = rows.chain(ages).chain(rtos).collect();
    let mut table = table(&["seconds", "tier", "samples", "p50", "p90", "p99", "max"]);
    for (what, tier, Spread { samples, p50, p90, p99, max }) in &rows {
        let mut row = vec![(*what).to_owned(), tier.to_string(), samples.to_string()];
        row.extend([p50, p90, p99, max].map(|value| format!("{value:.3}")));
        table.add_row(row);
    }
    right(&mut table, 2);
    (!rows.is_empty()).then_some(table)
}

fn losses(report: &Report) -> Option<Table> {
    let mut table = table(&[
        "lost at s",
        "node",
        "back from",
        "stream",
        "acked",
        "confirmed",
        "recovered",
        "tail",
        "RPO s",
        "RTO s",
    ]);
    for loss in &report.losses {
        for stream in &loss.streams {
            table.add_row([
                format!("{:.2}", loss.at_seconds),
                loss.node.clone(),
                loss.recovered_from.map_or_else(|| "-".to_owned(), |tier| tier.to_string()),
                stream.stream.clone(),
                stream.acked_seq.to_string(),
                stream.confirmed_seq.to_string(),
                stream.recovered_seq.to_string(),
                stream.tail_events.to_string(),
                format!("{:.3}", loss.rpo_seconds),
                loss.rto_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.3}")),
            ]);
        }
    }
    right(&mut table, 4);
    (!report.losses.is_empty()).then_some(table)
}

fn groups(report: &Report) -> Option<Table> {
    let mut table = table(&[
        "consumer",
        "stream",
        "members",
        "lost with in hand",
        "received",
        "redelivered",
        "taken over",
        "late",
        "again after a restore",
    ]);
    for group in &report.groups {
        let lost = group.lost.iter().map(|l| format!("{} {} {}", l.member, l.how, l.in_hand));
        table.add_row([
            group.consumer.clone(),
            group.stream.clone(),
            group.members.to_string(),
            lost.collect::<Vec<_>>().join(", "),
            group.received.to_string(),
            group.redelivered.to_string(),
            group.taken_over.to_string(),
            group.late.to_string(),
            group.again.to_string(),
        ]);
    }
    right(&mut table, 4);
    (!report.groups.is_empty()).then_some(table)
}

fn primary(report: &Report) -> Option<Table> {
    let mut table = table(&[
        "lost by NATS itself",
        "of acked",
        "the NAS has",
        "other servers have",
        "gone for good",
        "changed",
        "stream",
        "after",
    ]);
    for loss in &report.primary {
        let on = loss.server.as_ref().map_or_else(String::new, |server| format!(" on {server}"));
        let known = if loss.there { "" } else { " (gone)" };
        table.add_row([
            loss.lost.to_string(),
            loss.acked.to_string(),
            loss.archived.to_string(),
            loss.elsewhere.to_string(),
            loss.gone().to_string(),
            loss.wrong.to_string(),
            format!("{}{on}{known}", loss.stream),
            loss.after.clone(),
        ]);
    }
    (!report.primary.is_empty()).then_some(table)
}

fn versions(report: &Report) -> Option<Table> {
    let mut table = table(&["program", "version"]);
    for (program, version) in &report.versions {
        table.add_row([program, version]);
    }
    (!report.versions.is_empty()).then_some(table)
}

fn problems(report: &Report) -> String {
    let mut text = String::new();
    for judgement in report.judgements.iter().filter(|j| !j.clean()) {
        let [prefix, middle, postfix] = judgement.lost;
        let _ = writeln!(
            text,
            "{}: lost {} ({prefix} prefix, {middle} middle, {postfix} postfix), duplicated {}, \
             reordered {}, changed {}, phantom {}",
            judgement.of,
            prefix + middle + postfix,
            judgement.duplicated,
            judgement.reordered,
            judgement.changed,
            judgement.phantom
        );
        for example in &judgement.examples {
            let _ = writeln!(text, "  {example}");
        }
    }
    for missed in report.expectations.iter().filter(|e| !e.met) {
        let _ = writeln!(text, "{missed}");
    }
    text
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "FAILED",
        Verdict::Skipped => "skipped",
    }
}

fn verdict_line(report: &Report) -> String {
    let mut line = format!("{} in {:.1} s", verdict(report.verdict), report.seconds);
    if let Some(reason) = &report.reason {
        let _ = write!(line, ": {reason}");
    }
    if let Some(times) = report.slowdown {
        let _ = write!(
            line,
            "\nthe machines are slow: bounds of time are {times} times the scenario's"
        );
    }
    if let Some(dir) = &report.run_dir {
        let _ = write!(line, "\nlogs and disks are kept in {dir}");
    }
    line
}
