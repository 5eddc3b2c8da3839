//! The losses: with a host, and by NATS itself.

use maud::{Markup, html};

use super::timeline::seconds;
use crate::report::Report;

/// Returns a table of lost hosts and their recovered streams.
pub(super) fn losses(report: &Report) -> Markup {
    let rows = report.losses.iter().flat_map(|loss| loss.streams.iter().map(move |s| (loss, s)));
    html! {
        @if !report.losses.is_empty() {
            h2 { "Losses and recoveries" }
            div class="scroll" { table class="cards" {
                tr {
                    th { "lost" } th { "at" } th { "back from" } th { "stream" }
                    @for name in ["acked", "confirmed", "back", "tail", "RPO", "RTO"] { th class="n" { (name) } }
                }
                @for (loss, stream) in rows {
                    tr {
                        td class="name" data-of="lost" { (loss.node) }
                        td class="name" data-of="at" { (seconds(loss.at_seconds)) }
                        td data-of="back from" { @if let Some(tier) = loss.recovered_from { (tier) } @else { "–" } }
                        td class="name" data-of="stream" { (stream.stream) }
                        td class="n" data-of="acked" { (stream.acked_seq) }
                        td class="n" data-of="confirmed" { (stream.confirmed_seq) }
                        td class="n" data-of="back" { (stream.recovered_seq) }
                        td class="n" data-of="tail" { (stream.tail_events) }
                        td class="n" data-of="RPO" { (seconds(loss.rpo_seconds)) }
                        td class="n" data-of="RTO" { @if let Some(rto) = loss.rto_seconds { (seconds(rto)) } @else { "–" } }
                    }
                }
            } }
        }
    }
}

/// Returns a table of the losses of NATS itself when its files were damaged; no tier is blamed for
/// them.
pub(super) fn primary(report: &Report) -> Markup {
    html! {
        @if !report.primary.is_empty() {
            h2 { "Lost by NATS itself" }
            div class="scroll" { table {
                tr {
                    th { "stream" } th { "after" }
                    @for name in ["of acked", "lost", "the NAS has", "other servers have", "gone for good", "changed"] {
                        th class="n" { (name) }
                    }
                }
                @for loss in &report.primary {
                    tr {
                        td class="name" {
                            (loss.stream)
                            @if let Some(server) = &loss.server { " on " (server) }
                            @if !loss.there { " (gone)" }
                        }
                        td { (loss.after) }
                        @for count in [loss.acked, loss.lost, loss.archived, loss.elsewhere, loss.gone(), loss.wrong] {
                            td class="n" { (count) }
                        }
                    }
                }
            } }
        }
    }
}
