//! `inventory plan`: shows what `apply` would do.

use std::path::Path;
use std::process::ExitCode;

use super::compare::{Action, Row, compare};
use super::server::{self, Address, Server};
use super::{Login, declared, file, pretty, print, table};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    login: Login,
    /// Accept changes that lose data, as `apply` with this flag does.
    #[arg(long)]
    allow_data_loss: bool,
    /// Print JSON, an object a stream or bucket.
    #[arg(long)]
    json: bool,
}

/// The comparison with one server.
pub(super) struct Planned {
    pub(super) server: Server,
    pub(super) address: Address,
    pub(super) rows: Vec<Row>,
}

/// Asks every server. Fails if the inventory has problems.
pub(super) async fn plan(path: &Path, login: &Login) -> Result<Vec<Planned>> {
    let inventory = file::load(path)?;
    if let Some(problem) = inventory.problems().first() {
        let path = path.display();
        return Err(Error::step(format!(
            "inventory `{path}` has problems, the first is: {problem}; `cim-harness inventory check --offline` shows all"
        )));
    }
    let declared = declared::streams(&inventory);
    let mut all = Vec::new();
    for address in server::addresses(&inventory, login)? {
        let server = Server::connect(&address.url, login).await?;
        let rows = compare(&declared, &server.streams().await?);
        all.push(Planned { server, address, rows });
    }
    Ok(all)
}

/// Returns the reasons against the changes that must not be made.
pub(super) fn against(rows: &[Row], allow_data_loss: bool) -> Vec<String> {
    let reasons = rows.iter().filter_map(|row| {
        let (kind, name) = (row.kind, &row.name);
        let refused = row.refused.as_ref().map(|why| format!("{kind} `{name}`: {why}"));
        let loses = row.loses.as_ref().filter(|_| !allow_data_loss);
        refused.or_else(|| {
            let what = loses?;
            Some(format!(
                "{kind} `{name}` would lose data, {what}: raise the limit, or give `--allow-data-loss`"
            ))
        })
    });
    reasons.collect()
}

/// Shows the rows of a server, for people or for programs.
pub(super) fn show(address: &Address, rows: &[Row], json: bool) {
    if json {
        print(&pretty(
            &serde_json::json!({ "host": address.host, "url": address.url, "rows": rows }),
        ));
        return;
    }
    let mut table = table(&["action", "what", "name", "change"]);
    for row in rows {
        table.add_row([
            row.action.as_str().into(),
            row.kind.into(),
            row.name.clone(),
            row.details(),
        ]);
    }
    let count = |action| rows.iter().filter(|row| row.action == action).count();
    print(&format!(
        "{}\n{table}\n{} to create, {} to update, {} unchanged, {} undeclared and left alone",
        address.host.as_deref().unwrap_or(&address.url),
        count(Action::Create),
        count(Action::Update),
        count(Action::Unchanged),
        count(Action::Undeclared),
    ));
}

pub(super) async fn run(path: &Path, args: &Args) -> Result<ExitCode> {
    let mut reasons = Vec::new();
    for planned in plan(path, &args.login).await? {
        show(&planned.address, &planned.rows, args.json);
        reasons.extend(against(&planned.rows, args.allow_data_loss));
    }
    match reasons.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Error::step(format!(
            "`apply` would refuse this, {} of the changes cannot be made: {first}",
            reasons.len()
        ))),
    }
}
