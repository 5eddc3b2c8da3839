//! The command line.
//!
//! Owns flags, help, completion, and which status a result has. Does not own all work: each
//! command calls the part that does it.

mod complete;
mod filter;
mod lab;
mod report;
mod scenario;
mod schema;
mod soak;

use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use tokio::runtime::Runtime;

use crate::error::{Context as _, Error, Result};
use crate::output::{print, remark};
use crate::substrate::container::reaper;
use crate::substrate::driver;
use crate::supervise;
use crate::workload::member;

const STATUSES: &str = "Exit status:
  0    the oracle agrees with everything
  1    the scenario failed: the oracle disagrees, or a step did not do what it must
  2    the command line or a scenario file is wrong
  3    the lab could not be set up: a program is missing or does not start
  4    skipped: the substrate lacks what the scenario requires
  130  interrupted; nothing is left running";

/// Breaks CIM labs and proves that everything comes back.
#[derive(Debug, Parser)]
#[command(name = "cim-harness", after_help = STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario in a lab of real programs and judges the result.
    Scenario(scenario::Args),
    /// Runs scenario after scenario, unattended, and keeps the runs that did not pass.
    Soak(soak::Args),
    /// Shows finished runs: as tables, JSON, JUnit XML or one HTML file.
    Report(report::Args),
    /// Proves that the tests can fail: the storage manager is sabotaged, and every defect must be
    /// found.
    Selftest(crate::selftest::Args),
    /// Measures the storage manager against its peers, in one run on this machine.
    #[command(
        after_help = "Figures compare within one run only: machines differ, and are noisy.\nNeeds natscli besides the scenarios' programs: `ci/bench` installs it."
    )]
    Bench(crate::bench::Args),
    /// Speaks for the driver of `scenario --substrate driver`: takes requests, and answers them.
    Driver(driver::Args),
    /// Shows schemas, judges their changes, and holds events against them.
    Schema(schema::Args),
    /// Checks the inventory, changes it, and compares it with the answers on NATS.
    Inventory(crate::inventory::Args),
    /// Prints a script that completes this command in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Member(member::Args),
    #[command(hide = true)]
    Supervise(supervise::Args),
    #[command(hide = true)]
    Reap(reaper::Args),
}

/// Parses the command line and does what it says. `commit` is what the program was built from, where the build was told.
pub fn main(commit: Option<&str>) -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let matches = Cli::command().version(version(commit)).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => match way_out(&error) {
            None => error.exit(),
            Some(way_out) => {
                complain(&Error::Usage(way_out.into()));
                return ExitCode::from(2);
            }
        },
    };
    let outcome = match cli.command {
        Command::Supervise(args) => return supervise::run(&args),
        Command::Reap(args) => return reaper::run(&args),
        Command::Completions { shell } => {
            print(&complete::script(shell));
            return ExitCode::SUCCESS;
        }
        Command::Member(args) => member::run(&args),
        Command::Inventory(args) => crate::inventory::main(&args),
        Command::Selftest(args) => crate::selftest::main(&args),
        Command::Bench(args) => {
            runtime().and_then(|runtime| runtime.block_on(crate::bench::run(&args)))
        }
        Command::Driver(args) => driver::run(args),
        Command::Schema(args) => schema::main(&args),
        Command::Scenario(args) => scenario::main(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Report(args) => report::main(&args),
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        error.exit_code()
    })
}

/// Returns what `--version` says behind the name.
fn version(commit: Option<&str>) -> &'static str {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    commit.map_or(VERSION, |commit| format!("{VERSION} ({commit})").leak())
}

/// Returns a hint for arguments that clap's own message misreads: it takes a second scenario for a
/// command.
fn way_out(error: &clap::Error) -> Option<&'static str> {
    let is = |kind, text: &str| {
        let said = error.get(kind).map(ToString::to_string);
        said.is_some_and(|said| said.contains(text))
    };
    let words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let words: Vec<_> = words.collect();
    let of_scenario = words.first().is_some_and(|first| first == "scenario");
    match error.kind() {
        ErrorKind::ArgumentConflict if of_scenario && is(ContextKind::PriorArg, "NAME") => Some(
            "`scenario` takes one name: `--all --only A --only B` runs several, and `new` and the other commands come first",
        ),
        ErrorKind::MissingRequiredArgument if words == ["scenario"] => {
            Some("name a scenario: `--list` shows them, `--all` runs every one")
        }
        _ => None,
    }
}

fn runtime() -> Result<Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.setup(|| "cannot start the runtime".into())
}

fn complain(error: &Error) {
    remark(&format!("error: {}", error.chain()));
}
