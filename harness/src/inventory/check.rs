//! `inventory check`: the problems of the file, and the differences between it and the servers.

use std::path::Path;
use std::process::ExitCode;

use cim_core::inventory::Problem;
use serde::Serialize;

use super::compare::{Action, Row, compare, word};
use super::kept::{Kept, kept};
use super::server::{self, Server};
use super::{Login, declared, file, pretty, print, say, table};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the file alone.
    #[arg(long, conflicts_with_all = ["nats", "nkey", "ca"])]
    offline: bool,
    #[command(flatten)]
    login: Login,
    /// Print JSON: `{problems, servers: [{host, url, reachable, version, error, drift, kept}]}`.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    problems: Vec<Problem>,
    servers: Vec<ServerReport>,
}

#[derive(Serialize)]
struct ServerReport {
    host: Option<String>,
    url: String,
    reachable: bool,
    version: Option<String>,
    error: Option<String>,
    drift: Vec<Row>,
    /// The consumers that keep messages in interest streams for the archive.
    kept: Vec<Kept>,
}

pub(super) async fn run(path: &Path, args: &Args) -> Result<ExitCode> {
    let inventory = file::load(path)?;
    let problems = inventory.problems();
    let mut servers = Vec::new();
    if !args.offline {
        let declared = declared::streams(&inventory);
        for address in server::addresses(&inventory, &args.login)? {
            let asked = async {
                let server = Server::connect(&address.url, &args.login).await?;
                let found = server.streams().await?;
                let kept = kept(&inventory, &server, &found).await?;
                Ok::<_, Error>((server.version, compare(&declared, &found), kept))
            };
            let (reachable, version, error, (rows, kept)) = match asked.await {
                Ok((version, rows, kept)) => (true, Some(version), None, (rows, kept)),
                // The key's file is wrong, not a server.
                Err(error @ Error::Usage(_)) => return Err(error),
                Err(error) => (false, None, Some(error.chain()), Default::default()),
            };
            let drift = rows.into_iter().filter(|row| row.action != Action::Unchanged).collect();
            let (host, url) = (address.host, address.url);
            servers.push(ServerReport { host, url, reachable, version, error, drift, kept });
        }
    }
    let report = Report { problems, servers };
    if args.json {
        print(&pretty(&report));
    } else {
        show(path, args.offline, &report);
    }
    let unreachable = report.servers.iter().any(|server| !server.reachable);
    let drifted = |server: &ServerReport| {
        !server.drift.is_empty() || server.kept.iter().any(|kept| kept.left_over)
    };
    let wrong = !report.problems.is_empty() || report.servers.iter().any(drifted);
    // To repair differences, one must first reach the server.
    Ok(ExitCode::from(if unreachable { 3 } else { u8::from(wrong) }))
}

fn show(path: &Path, offline: bool, report: &Report) {
    for problem in &report.problems {
        print(&format!("{}: {problem}", problem.kind));
    }
    if !report.servers.is_empty() {
        print(&servers(&report.servers).to_string());
    }
    let drift: Vec<_> =
        report.servers.iter().flat_map(|s| s.drift.iter().map(move |r| (s, r))).collect();
    if !drift.is_empty() {
        let mut table = table(&["server", "what", "name", "drift", "setting", "declared", "found"]);
        for (server, row) in &drift {
            for cells in cells(row) {
                let server = server.host.as_deref().unwrap_or(&server.url).to_owned();
                table.add_row([vec![server, row.kind.into(), row.name.clone()], cells].concat());
            }
        }
        print(&table.to_string());
        say(
            "`cim-harness inventory apply` makes the declared settings; it leaves undeclared streams and buckets alone",
        );
    }
    let left_over = keep(&report.servers);
    let path = path.display();
    let unreachable = report.servers.iter().filter(|s| !s.reachable).count();
    let wrong = [
        count(report.problems.len(), "problem", "problems", &format!("in `{path}`")),
        count(unreachable, "server", "servers", "not reached"),
        count(drift.len(), "stream or bucket", "streams and buckets", "not as declared"),
        count(left_over, "consumer", "consumers", "that keeps messages for no archive"),
    ];
    let wrong: Vec<_> = wrong.into_iter().flatten().collect();
    print(&match (wrong.is_empty(), offline) {
        (true, true) => format!("`{path}` has no problems; no server was asked"),
        (true, false) => format!("`{path}` has no problems, and the servers match it"),
        _ => wrong.join(", "),
    });
}

/// Shows the consumers that keep messages for the archive. Returns how many of them belong to no
/// storage manager.
fn keep(servers: &[ServerReport]) -> usize {
    let kept: Vec<_> = servers.iter().flat_map(|s| s.kept.iter().map(move |k| (s, k))).collect();
    if kept.is_empty() {
        return 0;
    }
    let mut table = table(&["server", "interest stream", "keeps for the archive", "waiting"]);
    for (server, kept) in &kept {
        let server = server.host.as_deref().unwrap_or(&server.url).to_owned();
        let (consumer, waiting) = match &kept.consumer {
            Some(consumer) => (consumer.as_str(), kept.waiting.to_string()),
            None => ("nothing: the storage manager has not begun with it", "-".into()),
        };
        table.add_row([server, kept.stream.clone(), consumer.into(), waiting]);
    }
    print(&table.to_string());
    let left_over: Vec<_> =
        kept.iter().map(|(_, kept)| kept).filter(|kept| kept.left_over).collect();
    for Kept { stream, consumer, .. } in &left_over {
        let consumer = consumer.as_deref().unwrap_or_default();
        say(&format!(
            "stream `{stream}` keeps every message for consumer `{consumer}`, which no storage manager of the inventory acknowledges for: `nats consumer rm {stream} {consumer}`"
        ));
    }
    left_over.len()
}

/// Returns `2 problems in …`, or `None` for 0.
fn count(n: usize, one: &str, many: &str, rest: &str) -> Option<String> {
    (n > 0).then(|| format!("{n} {} {rest}", if n == 1 { one } else { many }))
}

fn servers(servers: &[ServerReport]) -> comfy_table::Table {
    let mut table = table(&["host", "url", "nats-server"]);
    for server in servers {
        let state = server.version.clone().or_else(|| server.error.clone()).unwrap_or_default();
        let host = server.host.clone().unwrap_or_else(|| "-".into());
        table.add_row([host, server.url.clone(), state]);
    }
    table
}

/// Returns a line for each setting that differs.
fn cells(row: &Row) -> Vec<Vec<String>> {
    let line = |drift: &str, setting: &str, declared: String, found: String| {
        vec![drift.to_owned(), setting.to_owned(), declared, found]
    };
    match row.action {
        Action::Create => vec![line("missing", "", "yes".into(), "no".into())],
        Action::Undeclared => vec![line("undeclared", "", "no".into(), "yes".into())],
        _ => {
            let lines = row.differences.iter();
            lines.map(|d| line("differs", &d.setting, word(&d.declared), word(&d.found))).collect()
        }
    }
}
