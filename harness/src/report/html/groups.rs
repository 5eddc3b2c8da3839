//! Consumers with several members: their deliveries and lost members.

use maud::{Markup, html};

use super::timeline::seconds;
use crate::report::{GroupReport, Report};

/// Returns a table with a row for each consumer.
pub(super) fn groups(report: &Report) -> Markup {
    html! {
        @if !report.groups.is_empty() {
            h2 { "Consumers with several members" }
            div class="scroll" { table {
                tr {
                    th { "consumer" } th { "stream" } th class="n" { "members" } th { "lost" }
                    @for name in ["received", "redelivered", "taken over", "late", "again after a restore"] {
                        th class="n" { (name) }
                    }
                }
                @for group in &report.groups {
                    tr {
                        td class="name" { (group.consumer) }
                        td class="name" { (group.stream) }
                        td class="n" { (group.members) }
                        td class="name" { (lost(group)) }
                        @for count in [group.received, group.redelivered, group.taken_over, group.late, group.again] {
                            td class="n" { (count) }
                        }
                    }
                }
            } }
        }
    }
}

fn lost(group: &GroupReport) -> Markup {
    html! {
        @if group.lost.is_empty() { "–" }
        @for loss in &group.lost {
            div { "member " (loss.member) " " (loss.how) " at " (seconds(loss.at_seconds)) ", " (loss.in_hand) " in hand" }
        }
    }
}
