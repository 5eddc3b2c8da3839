//! A drawing that grows downwards, panel by panel, over one axis of time.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::scale::{Scale, short, tenth};

const RIGHT: f64 = 18.0;
/// The approximate width of a letter in a label.
const LETTER: f64 = 6.1;

/// The drawing so far.
#[derive(Debug)]
pub(super) struct Canvas {
    class: &'static str,
    width: f64,
    left: f64,
    end: f64,
    id: String,
    /// The scale from seconds to places.
    pub(super) x: Scale,
    /// The top of the next element.
    pub(super) y: f64,
    body: Vec<Markup>,
    /// The place of the next entry of a legend.
    legend: f64,
}

impl Canvas {
    /// Makes an empty drawing of `end` seconds; `id` is unique in the page.
    pub(super) fn new(class: &'static str, width: f64, left: f64, end: f64, id: &str) -> Self {
        let x = Scale::new(end, left, width - RIGHT);
        Self {
            class,
            width,
            left,
            end,
            id: id.to_owned(),
            x,
            y: 0.0,
            body: Vec::new(),
            legend: 0.0,
        }
    }

    /// Returns the last moment that is drawn.
    pub(super) fn end(&self) -> f64 {
        self.end
    }

    /// Returns its right edge.
    pub(super) fn right_edge(&self) -> f64 {
        self.width - RIGHT
    }

    /// Adds an element.
    pub(super) fn add(&mut self, markup: Markup) {
        self.body.push(markup);
    }

    /// Draws the heading of a panel.
    pub(super) fn head(&mut self, text: &str) {
        self.y += 14.0;
        self.add(html! { text class="head" x="0" y=(self.y) { (text) } });
        self.legend = text.len() as f64 * 7.2 + 14.0;
        self.y += 6.0;
    }

    /// Draws a line of text above the thing that it names.
    pub(super) fn label(&mut self, text: &str) {
        self.y += 10.0;
        self.add(html! { text x=(self.left) y=(self.y) { (text) } });
        self.y += 4.0;
    }

    /// Draws a legend of boxes beside the heading: classes and names.
    pub(super) fn boxes(&mut self, entries: &[(&str, &str)]) {
        for (class, name) in entries {
            let (x, y) = self.place(name, 13.0);
            let fill = self.fill(class);
            self.add(html! {
                rect class=(class) x=(x) y=(y - 9.0) width="10" height="10" fill=[fill] {}
                text class="soft" x=(x + 14.0) y=(y) { (name) }
            });
        }
    }

    /// Draws a legend of lines beside the heading: classes and names.
    pub(super) fn lines(&mut self, entries: &[(&str, &str)]) {
        for (class, name) in entries {
            let (x, y) = self.place(name, 25.0);
            self.add(html! {
                path class=(class) d={ "M" (x) " " (y - 4.0) "h22" } {}
                text class="soft" x=(x + 26.0) y=(y) { (name) }
            });
        }
    }

    /// Returns the place of a legend's next entry; on a new line if there is no room.
    fn place(&mut self, name: &str, sample: f64) -> (f64, f64) {
        let wide = name.chars().count() as f64 * LETTER + sample + 14.0;
        if self.legend + wide > self.width {
            self.legend = 0.0;
            self.y += 15.0;
        }
        let x = self.legend;
        self.legend += wide;
        (tenth(x), self.y - 6.0)
    }

    /// Returns the pattern of a class, if it has one.
    pub(super) fn fill(&self, class: &str) -> Option<String> {
        matches!(class, "fault" | "judge").then(|| format!("url(#{}-{class})", self.id))
    }

    /// Draws the frame of a chart; returns its vertical scale.
    pub(super) fn chart(&mut self, height: f64, most: f64, show: fn(f64) -> String) -> Scale {
        let (top, bottom) = (self.y + 4.0, self.y + 4.0 + height);
        let y = Scale::new(most, bottom, top);
        let right = self.right_edge();
        for value in [0.0, most / 2.0, most] {
            let at = y.at(value);
            self.add(html! {
                path class=(if value == 0.0 { "axis" } else { "grid" }) d={ "M" (self.left) " " (at) "H" (right) } {}
                text class="soft end" x=(self.left - 5.0) y=(at + 4.0) { (show(value)) }
            });
        }
        self.y = bottom + 10.0;
        y
    }

    /// Returns a line through points; points further apart than `gap` seconds are not connected.
    pub(super) fn path(&self, points: &[(f64, f64)], y: Scale, gap: f64) -> String {
        let mut path = String::new();
        let mut before: Option<f64> = None;
        for (at, value) in points {
            let letter = if before.is_some_and(|before| at - before <= gap) { 'L' } else { 'M' };
            // Writing to a string does not fail.
            let _ = write!(path, "{letter}{} {}", self.x.at(*at), y.at(*value));
            before = Some(*at);
        }
        path
    }

    /// Returns the area under a line.
    pub(super) fn area(&self, points: &[(f64, f64)], y: Scale) -> String {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return String::new();
        };
        let (bottom, from, to) = (y.at(0.0), self.x.at(first.0), self.x.at(last.0));
        let line = self.path(points, y, f64::MAX).replacen('M', "L", 1);
        format!("M{from} {bottom}{line}L{to} {bottom}Z")
    }

    /// Returns the whole drawing, with the axis of time below and `shades` behind.
    pub(super) fn finish(mut self, label: &str, shades: &[(f64, f64)]) -> Markup {
        let (top, bottom) = (20.0, self.y);
        let ticks = self.x.ticks((self.width - self.left) / 70.0);
        let height = bottom + 22.0;
        let body = std::mem::take(&mut self.body);
        html! {
            svg class=(self.class) viewBox={ "0 0 " (self.width) " " (height) } role="img" aria-label=(label)
                xmlns="http://www.w3.org/2000/svg" {
                defs {
                    pattern id={ (self.id) "-fault" } width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                        path class="hatch" d="M0 0V5" {}
                    }
                    pattern id={ (self.id) "-judge" } width="5" height="5" patternUnits="userSpaceOnUse" {
                        circle class="dots" cx="2.5" cy="2.5" r="1.2" {}
                    }
                }
                @for (from, to) in shades {
                    @let x = self.x.at(*from);
                    rect class="shade" x=(x) y=(top) width=(tenth((self.x.at(*to) - x).max(1.0))) height=(bottom - top) {}
                }
                @for tick in &ticks {
                    path class="grid" d={ "M" (self.x.at(*tick)) " " (top) "V" (bottom) } {}
                    text class="soft mid" x=(self.x.at(*tick)) y=(bottom + 15.0) { (short(*tick)) " s" }
                }
                @for part in body { (part) }
            }
        }
    }
}
