//! The report as one HTML file that needs nothing else: no network, no script, no font.

mod canvas;
mod groups;
mod losses;
mod run;
mod runs;
mod scale;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;

const STYLE: &str = include_str!("style.css");

/// Returns a page of one run, or of many: of `--repeat` or `--all`. `problems` are those beside the
/// reports.
pub(crate) fn html(reports: &[Report], problems: &[String]) -> String {
    let (title, body) = match reports {
        [report] if problems.is_empty() => {
            let title = format!("{} {}", report.scenario, report.verdict);
            (title, run::page(report))
        }
        _ => (runs::title(reports), runs::page(reports, problems)),
    };
    document(&title, &body).into_string()
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                footer { "cim-harness " (env!("CARGO_PKG_VERSION")) ". The words are explained in docs/harness.md." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Verdict;
    use crate::report::tests::sample;

    #[test]
    fn a_page_needs_nothing_and_hides_nothing() {
        let evil = "<script>alert(\"x\")</script>";
        let report = Report {
            title: evil.into(),
            reason: Some(evil.into()),
            verdict: Verdict::Failed,
            run_dir: Some(evil.into()),
            arguments: vec![evil.into()],
            ..sample()
        };
        let mut steps = report.clone();
        steps.steps[0].what = evil.into();
        steps.judgements[1].examples = vec![evil.into()];
        steps.timeline.faults[0].how = evil.into();
        steps.groups[0].lost[0].how = evil.into();
        let one = html(std::slice::from_ref(&report), &[]);
        for page in [one, html(&[report, steps], &[evil.into()])] {
            assert!(!page.contains("<script"), "{page}");
            assert!(page.contains("&lt;script&gt;"));
            for outside in ["http://", "https://", "url(//", "@import", "<link", "src="] {
                let found = page.replace("http://www.w3.org/2000/svg", "");
                assert!(!found.contains(outside), "{outside}");
            }
        }
    }

    /// Checks that on a screen of 400 pixels, where a table of ten columns shows six, each cell
    /// names itself.
    #[test]
    fn rpo_and_rto_need_no_scrolling() {
        let one = html(&[sample()], &[]);
        let (above, below) = one.split_once("<h2>Timeline").unwrap();
        let many = html(&[sample(), sample()], &[]);
        let (overview, _) = many.split_once("<h2>Each run").unwrap();
        for name in ["RPO", "RTO"] {
            assert!(above.contains(&format!("<dt>{name}</dt>")), "{name}");
            for page in [below, overview] {
                let (_, table) = page.split_once("<table class=\"cards\">").unwrap();
                assert!(table.contains(&format!("data-of=\"{name}\">")), "{name}");
            }
        }
        // Wide tables have no heads on a narrow screen, so all of their cells have names.
        for table in many.split("<table class=\"cards\">").skip(1) {
            let (rows, _) = table.split_once("</table>").unwrap();
            for cell in rows.split("<td").skip(1) {
                let (tag, _) = cell.split_once('>').unwrap();
                assert!(tag.contains("data-of=") || tag.contains("whole"), "<td{tag}>");
            }
        }
    }

    #[test]
    fn the_page_of_a_run_is_known() {
        let page = html(&[sample()], &[]).replace(STYLE, "…").replace("><", ">\n<");
        let page = page.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(page);
    }

    #[test]
    fn the_page_of_many_is_known() {
        let failed = Report { verdict: Verdict::Failed, reason: Some("why".into()), ..sample() };
        let skipped = Report {
            verdict: Verdict::Skipped,
            reason: Some("no power".into()),
            steps: Vec::new(),
            judgements: Vec::new(),
            expectations: Vec::new(),
            timeline: crate::report::Timeline::default(),
            ..sample()
        };
        let page = html(&[failed, skipped], &["`s` was skipped".into()]);
        let (page, _) = page.split_once("<details").unwrap();
        insta::assert_snapshot!(page.replace(STYLE, "…").replace("><", ">\n<"));
    }
}
