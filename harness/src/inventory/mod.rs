//! `cim-harness inventory`: the file that describes an installation, and the check of the servers
//! against it.
//!
//! Owns edits of the file, and the comparison with a server. Does not own the format and its
//! rules (`cim_core::inventory`), and the machines made of it (nixos/).
//!
//! Invariants: a command changes only the named part of the file, and keeps its order and spaces;
//! the file is replaced as a whole; a change that `check` would refuse is not written. Servers are
//! only queried, except by `apply`, and `apply` deletes nothing.

mod add;
mod apply;
mod check;
mod compare;
mod declared;
mod edit;
mod file;
mod kept;
mod key;
mod plan;
mod server;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::error::{Context as _, Result};

const STATUSES: &str = "Exit status:
  0    done, and nothing is wrong
  1    the inventory has problems, or the servers differ from it
  2    the command line is wrong, or the file cannot be read as an inventory
  3    NATS cannot be reached, or refuses the key
  130  interrupted";

const EXAMPLES: &str = "Examples:
  cim-harness inventory list
  cim-harness inventory check --offline
  cim-harness inventory check --nkey ops.nk                      asks every host's NATS server
  cim-harness inventory add host nas2 --role nas --address 192.168.71.21 --dry-run
  cim-harness inventory add operator host ada --from lan --seed-file ada.nk
  cim-harness inventory add stream ORDERS 'orders.>' --max-bytes 10GiB
  cim-harness inventory plan --nkey ops.nk && cim-harness inventory apply --nkey ops.nk";

/// Checks the inventory, changes it, and compares it with the servers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{STATUSES}"))]
pub(crate) struct Args {
    /// The inventory; fixtures/inventory/example.json is one to start from.
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "CIM_INVENTORY",
        default_value = "inventory.json",
        global = true
    )]
    inventory: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists the hosts, one a row.
    List(show::ListArgs),
    /// Shows everything, or one host.
    Show(show::ShowArgs),
    /// Reports all problems of the file, and all differences between it and the servers.
    #[command(after_help = STATUSES)]
    Check(check::Args),
    /// Adds a member to the file, if `check` accepts it.
    #[command(subcommand)]
    Add(add::What),
    /// Shows what `apply` would do, a row for each stream and bucket.
    #[command(after_help = STATUSES)]
    Plan(plan::Args),
    /// Makes a server's streams and buckets those of the file. Deletes none.
    #[command(after_help = STATUSES)]
    Apply(apply::Args),
}

/// The server to ask, and the login.
#[derive(Debug, Clone, clap::Args)]
struct Login {
    /// Ask this server alone [default: the server of every host of role `host`].
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Log in with the seed in the first line of this file.
    #[arg(long, value_name = "FILE", env = "CIM_NKEY_FILE")]
    nkey: Option<PathBuf>,
    /// Trust the authorities in this PEM file instead of the system's, where a server has TLS.
    #[arg(long, value_name = "FILE", env = "CIM_NATS_CA")]
    ca: Option<PathBuf>,
}

pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let file = &args.inventory;
    match &args.command {
        Command::List(list) => show::list(file, list),
        Command::Show(show) => show::show(file, show),
        Command::Check(check) => block_on(check::run(file, check)),
        Command::Add(what) => add::run(file, what),
        Command::Plan(plan) => block_on(plan::run(file, plan)),
        Command::Apply(apply) => block_on(apply::run(file, apply)),
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.setup(|| "cannot start the runtime".into())?.block_on(work)
}

/// Prints data; a reader that has gone away is not an error.
fn print(text: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stdout(), "{}", text.trim_end()));
}

/// Prints a remark for people on stderr.
fn say(text: &str) {
    use std::io::Write as _;
    drop(writeln!(std::io::stderr(), "{text}"));
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("what is shown is always JSON")
}

fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table
        .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(comfy_table::ContentArrangement::Dynamic)
        .set_header(header.iter().copied());
    table
}
