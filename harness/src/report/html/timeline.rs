//! The timeline as a drawing: steps, faults, load, lag and recoveries over one axis of time.
//!
//! It is drawn twice, for wide and for narrow pages; the style sheet shows one of them. Every
//! meaning of a colour is also a pattern, a dash or a word.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::canvas::Canvas;
use super::scale::{nice, short, tenth};
use crate::report::{Loss, Report};
use crate::scenario::Nature;

/// The longest time between two samples that a line connects; further apart, no values were
/// measured.
const GAP: f64 = 1.5;

/// Returns the timeline for wide and for narrow pages; `id` is unique in the page.
pub(super) fn timeline(report: &Report, id: &str) -> Markup {
    html! {
        (draw(report, "wide", 920.0, 52.0, id))
        (draw(report, "narrow", 352.0, 38.0, id))
    }
}

fn draw(report: &Report, class: &'static str, width: f64, left: f64, id: &str) -> Markup {
    let timeline = &report.timeline;
    let steps = report.steps.iter().map(|step| step.end);
    let lag = timeline.lag.values().flatten().map(|(at, _)| *at);
    let load = timeline.load.iter().map(|(at, _, _)| *at);
    let end = steps.chain(lag).chain(load).fold(0.001, f64::max);
    let mut canvas = Canvas::new(class, width, left, end, &format!("{id}-{class}"));
    steps_lane(&mut canvas, report);
    faults(&mut canvas, report);
    rate(&mut canvas, report);
    lag_lines(&mut canvas, report);
    recoveries(&mut canvas, report);
    // Faults from the start are no events.
    let shades = timeline.faults.iter().filter(|fault| fault.start > 0.0);
    let shades = shades.map(|fault| (fault.start, fault.end.unwrap_or(end)));
    let label = format!("Timeline of {}: steps, faults, load, lag and recoveries", report.scenario);
    canvas.finish(&label, &shades.collect::<Vec<_>>())
}

fn steps_lane(canvas: &mut Canvas, report: &Report) {
    let legend = [
        ("load", "load"),
        ("wait", "wait"),
        ("fault", "fault"),
        ("repair", "repair"),
        ("judge", "judge"),
    ];
    canvas.head("Steps");
    canvas.boxes(&legend);
    let top = canvas.y;
    for (number, step) in report.steps.iter().enumerate() {
        let (from, to) = (canvas.x.at(step.start), canvas.x.at(step.end));
        let wide = (to - from).max(2.0);
        let class = class_of(step.nature);
        let failed = step.outcome != "done";
        let number = number + 1;
        let digits = 6.0 * number.to_string().len() as f64;
        let fill = canvas.fill(class);
        let numbered = wide > digits + 4.0;
        let (wide, middle) = (tenth(wide), tenth(from + wide / 2.0));
        canvas.add(html! {
            rect class=(class) x=(from) y=(top) width=(wide) height="16" fill=[fill] {
                title { (number) ". " (step.what) ", " (seconds(step.end - step.start)) ": " (step.outcome) }
            }
            @if numbered {
                @if matches!(class, "fault" | "judge") {
                    rect class="inverse" x=(tenth(middle - digits / 2.0 - 1.5)) y=(top + 2.0) width=(digits + 3.0) height="12" {}
                }
                text class=(if class == "repair" { "mid onfill" } else { "mid" }) x=(middle) y=(top + 12.0) { (number) }
            }
            @if failed {
                text class="mid bad" x=(middle) y=(top + 28.0) { "✗ step " (number) }
            }
        });
    }
    canvas.y += if report.steps.iter().any(|step| step.outcome != "done") { 40.0 } else { 26.0 };
}

fn class_of(nature: Option<Nature>) -> &'static str {
    match nature {
        Some(Nature::Load) => "load",
        Some(Nature::Wait) => "wait",
        Some(Nature::Fault) => "fault",
        Some(Nature::Repair) => "repair",
        Some(Nature::Judge) => "judge",
        None => "other",
    }
}

fn faults(canvas: &mut Canvas, report: &Report) {
    let faults = &report.timeline.faults;
    if faults.is_empty() {
        return;
    }
    canvas.head("Faults");
    canvas.y += 4.0;
    let mut things: Vec<&str> = Vec::new();
    for fault in faults {
        if !things.contains(&fault.thing.as_str()) {
            things.push(&fault.thing);
        }
    }
    for thing in things {
        let of_it: Vec<_> = faults.iter().filter(|fault| fault.thing == thing).collect();
        let how: BTreeSet<&str> = of_it.iter().map(|fault| fault.how.as_str()).collect();
        let how = how.into_iter().collect::<Vec<_>>().join(", ");
        let times =
            if of_it.len() > 1 { format!(", {} times", of_it.len()) } else { String::new() };
        canvas.label(&format!("{thing}: {how}{times}"));
        let top = canvas.y;
        let hatch = canvas.fill("fault");
        for fault in of_it {
            let from = canvas.x.at(fault.start);
            let to = fault.end.map_or(canvas.right_edge(), |end| canvas.x.at(end));
            let until = match fault.end {
                Some(end) => format!("{} to {}", seconds(fault.start), seconds(end)),
                None => format!("from {} on", seconds(fault.start)),
            };
            canvas.add(html! {
                rect class="fault" x=(from) y=(top) width=(tenth((to - from).max(2.0))) height="9" fill=[hatch.clone()] {
                    title { (fault.thing) " " (fault.how) ", " (until) }
                }
            });
        }
        canvas.y += 15.0;
    }
    canvas.y += 6.0;
}

/// Returns published and acked events per second, in steps that are long enough to be smooth.
fn rates(load: &[(f64, u64, u64)], step: f64) -> Vec<(f64, f64, f64)> {
    let mut rates = Vec::new();
    let Some(mut last) = load.first().copied() else { return rates };
    for point in load {
        let took = point.0 - last.0;
        if took < step {
            continue;
        }
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / took;
        rates.push((last.0 + took / 2.0, per_second(point.1, last.1), per_second(point.2, last.2)));
        last = *point;
    }
    rates
}

fn rate(canvas: &mut Canvas, report: &Report) {
    let rates = rates(&report.timeline.load, (canvas.end() / 150.0).max(0.25));
    if rates.is_empty() {
        return;
    }
    canvas.head("Events per second");
    canvas.lines(&[("acked", "acked"), ("published", "published")]);
    let most =
        nice(rates.iter().map(|(_, published, acked)| published.max(*acked)).fold(1.0, f64::max));
    let y = canvas.chart(100.0, most, short);
    let line = |value: fn(&(f64, f64, f64)) -> f64| {
        rates.iter().map(|rate| (rate.0, value(rate))).collect::<Vec<_>>()
    };
    let (published, acked) = (line(|rate| rate.1), line(|rate| rate.2));
    let under = canvas.area(&acked, y);
    let (published, acked) =
        (canvas.path(&published, y, f64::MAX), canvas.path(&acked, y, f64::MAX));
    canvas.add(html! {
        path class="under" d=(under) {}
        path class="published" d=(published) {}
        path class="acked" d=(acked) {}
    });
}

fn lag_lines(canvas: &mut Canvas, report: &Report) {
    let lag = &report.timeline.lag;
    if lag.values().all(Vec::is_empty) {
        return;
    }
    let names: Vec<String> = lag.keys().map(ToString::to_string).collect();
    let legend: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str())).collect();
    canvas.head("Behind, in seconds");
    canvas.lines(&legend);
    let most = lag.values().flatten().map(|(_, age)| *age).fold(0.1, f64::max);
    let y = canvas.chart(90.0, nice(most), short);
    for (tier, points) in lag {
        let path = canvas.path(points, y, GAP + canvas.end() / 300.0);
        canvas.add(html! { path class=(tier.to_string()) d=(path) {} });
    }
}

fn recoveries(canvas: &mut Canvas, report: &Report) {
    let recovered = |loss: &&Loss| loss.began_seconds.is_some();
    let losses: Vec<&Loss> = report.losses.iter().filter(recovered).collect();
    if losses.is_empty() {
        return;
    }
    canvas.head("Recovery");
    canvas.boxes(&[("fault", "down"), ("restore", "restore"), ("check", "until read and acked")]);
    canvas.y += 4.0;
    for loss in losses {
        recovery(canvas, loss);
    }
    canvas.y += 4.0;
}

fn recovery(canvas: &mut Canvas, loss: &Loss) {
    let from = loss.recovered_from.map_or_else(String::new, |tier| format!(" from {tier}"));
    let rto = loss.rto_seconds.map_or_else(String::new, |rto| format!(", RTO {}", seconds(rto)));
    canvas.label(&format!("{} back{from}: RPO {}{rto}", loss.node, seconds(loss.rpo_seconds)));
    let top = canvas.y;
    let began = loss.began_seconds.unwrap_or(loss.at_seconds);
    let restored = loss.restored_seconds.unwrap_or(began);
    let done =
        [loss.read_seconds, loss.first_ack_seconds].into_iter().flatten().fold(restored, f64::max);
    let hatch = canvas.fill("fault");
    for (class, start, end, what) in [
        ("fault", loss.at_seconds, began, "down"),
        ("restore", began, restored, "restore"),
        ("check", restored, done, "until all was read and a new event acked"),
    ] {
        let (x, to) = (canvas.x.at(start), canvas.x.at(end));
        let fill = hatch.clone().filter(|_| class == "fault");
        canvas.add(html! {
            rect class=(class) x=(x) y=(top) width=(tenth((to - x).max(1.5))) height="12" fill=[fill] {
                title { (what) ": " (seconds(start)) " to " (seconds(end)) }
            }
        });
    }
    let marks = [("destroyed", Some(loss.at_seconds)), ("first ack", loss.first_ack_seconds)];
    for (what, at) in marks {
        let Some(at) = at else { continue };
        let x = canvas.x.at(at);
        canvas.add(html! {
            path class="mark" d={ "M" (x) " " (top - 3.0) "V" (top + 15.0) } { title { (what) " at " (seconds(at)) } }
        });
    }
    canvas.y += 22.0;
}

/// Returns a time for people.
pub(super) fn seconds(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0} s"),
        v if v >= 1.0 => format!("{v:.2} s"),
        v => format!("{:.0} ms", v * 1000.0),
    }
}
