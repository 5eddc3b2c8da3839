//! `inventory apply`: makes a server's streams and buckets those of the file.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::compare::Action;
use super::plan::{against, plan, show};
use super::{Login, say};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    login: Login,
    /// Also make changes that delete stored messages.
    #[arg(long)]
    allow_data_loss: bool,
    /// Print the changes as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(path: &Path, args: &Args) -> Result<ExitCode> {
    let all = plan(path, &args.login).await?;
    // All or nothing, as far as can be told before: half of a change is no use.
    let reasons: Vec<_> =
        all.iter().flat_map(|planned| against(&planned.rows, args.allow_data_loss)).collect();
    if let Some(first) = reasons.first() {
        let more = match reasons.len() {
            1 => String::new(),
            n => format!(" (and {} more, see `cim-harness inventory plan`)", n - 1),
        };
        return Err(Error::step(format!("nothing was changed: {first}{more}")));
    }
    for planned in &all {
        // A changed stream may free the subject that a new one needs.
        let (updates, others): (Vec<_>, Vec<_>) =
            planned.rows.iter().partition(|row| row.action == Action::Update);
        for row in updates.into_iter().chain(others) {
            let verb = match row.action {
                Action::Create => "CREATE",
                Action::Update => "UPDATE",
                Action::Unchanged | Action::Undeclared => continue,
            };
            let name = row.config["name"].as_str().unwrap_or_default();
            let mut config = row.config.clone();
            // `null` is not a value to the server: an absent key means the default.
            config.retain(|_, value| !value.is_null());
            let subject = format!("$JS.API.STREAM.{verb}.{name}");
            planned.server.ask(&subject, &Value::Object(config)).await?;
        }
        show(&planned.address, &planned.rows, args.json);
    }
    // The server's success is verified by a second look.
    for planned in plan(path, &args.login).await? {
        let left =
            planned.rows.iter().find(|r| matches!(r.action, Action::Create | Action::Update));
        if let Some(row) = left {
            let (kind, name, details) = (row.kind, &row.name, row.details());
            return Err(Error::step(format!(
                "the server accepted {kind} `{name}`, but has other settings: {details}"
            )));
        }
    }
    say("the servers match the inventory");
    Ok(ExitCode::SUCCESS)
}
