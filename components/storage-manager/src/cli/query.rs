//! `query`

use std::ops::ControlFlow;

use cim_runtime::output::note;

use super::args::QueryArgs;
use super::exit::Failure;
use super::read::opened;
use super::{show, table};
use crate::config::Config;
use crate::export::{Record, headers};
use crate::restore::{RestoreError, read};
use crate::segment::Message;

/// Characters of a payload that are shown in a table.
const SHOWN: usize = 60;

/// A message, as it is shown.
enum Row {
    Json(String),
    Cells([String; 6]),
}

impl Row {
    fn of(message: &Message<'_>, json: bool) -> Self {
        if json {
            let record = serde_json::to_string(&Record(*message));
            return Self::Json(record.expect("a message is JSON"));
        }
        Self::Cells([
            message.seq.to_string(),
            message.timestamp().to_string(),
            message.subject.escape_ascii().to_string(),
            headers(message.headers).map_or(0, |headers| headers.len()).to_string(),
            message.payload.len().to_string(),
            beginning(message.payload),
        ])
    }
}

/// Returns how a payload begins, on one line that does nothing to a terminal.
fn beginning(payload: &[u8]) -> String {
    let text = String::from_utf8_lossy(&payload[..payload.len().min(4 * SHOWN)]).into_owned();
    let mut plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = plain.by_ref().take(SHOWN).collect();
    if plain.next().is_some() || payload.len() > 4 * SHOWN {
        shown.push('…');
    }
    shown
}

pub(super) async fn run(config: &Config, args: QueryArgs) -> Result<(), Failure> {
    let (source, mut plan) = opened(config, &args.read).await?;
    let (since, json, limit) = (args.read.since(), args.json, args.limit);
    since.narrow(&mut plan);
    let found = read(&source, plan, (Vec::new(), false), move |(rows, more), message| {
        if !since.takes(message) {
            return Ok::<_, RestoreError>(ControlFlow::Continue(()));
        }
        if rows.len() == limit {
            *more = true;
            return Ok(ControlFlow::Break(()));
        }
        rows.push(Row::of(message, json));
        Ok(ControlFlow::Continue(()))
    });
    let (rows, more) = found.await?;
    let mut shown = table::table(&["#seq", "time", "subject", "#headers", "#bytes", "payload"]);
    for row in rows {
        match row {
            Row::Json(line) => show(line)?,
            Row::Cells(cells) => _ = shown.add_row(cells),
        }
    }
    if !json {
        show(shown)?;
    }
    if more {
        note(format_args!("there are more than {limit}: `--limit` shows more, `export` all"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_on_one_line_and_not_whole() {
        assert_eq!(beginning(b"{\"x\":\n1}"), "{\"x\": 1}");
        assert_eq!(beginning(b"\x1b[31mred\xff"), " [31mred\u{fffd}");
        let long = "ä".repeat(SHOWN + 1);
        assert_eq!(beginning(long.as_bytes()).chars().count(), SHOWN + 1);
        assert_eq!(beginning("ä".repeat(SHOWN).as_bytes()).chars().count(), SHOWN);
    }
}
