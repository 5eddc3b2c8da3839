//! `inventory apply`: makes the streams and buckets of a server those of the file.

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
    /// Also make changes that throw away messages that are there.
    #[arg(long)]
    allow_data_loss: bool,
    /// Print what was done as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(path: &Path, args: &Args) -> Result<ExitCode> {
    let all = plan(path, &args.login).await?;
    // All or nothing, as far as can be told before: half of a change helps nobody.
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
        // A stream that is changed may free the subject that a new one asks for.
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
            // `null` is no value to the server: what is left out is the default.
            config.retain(|_, value| !value.is_null());
            let subject = format!("$JS.API.STREAM.{verb}.{name}");
            planned.server.ask(&subject, &Value::Object(config)).await?;
        }
        show(&planned.address, &planned.rows, args.json);
    }
    // The server's word that it did it is not the proof.
    for planned in plan(path, &args.login).await? {
        let left =
            planned.rows.iter().find(|r| matches!(r.action, Action::Create | Action::Update));
        if let Some(row) = left {
            let (kind, name, details) = (row.kind, &row.name, row.details());
            return Err(Error::step(format!(
                "the server took {kind} `{name}` and has it otherwise: {details}"
            )));
        }
    }
    say("the servers have what the inventory declares");
    Ok(ExitCode::SUCCESS)
}
