//! The command line.

mod check;
mod run;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::definition::Format;

/// Exit statuses beside 0 (done) and 2 (an option or a file cannot be used).
const STATUS_PROBLEMS: u8 = 5;
const STATUS_DIFFERENT: u8 = 6;

/// Pipelines over events: definitions that are checked, stages in jq, windows by event time.
#[derive(Debug, Parser)]
#[command(name = "cim-pipeline-engine", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check a definition: keys, types, sources, cycles, expressions
    #[command(after_help = "Exit status: 0 no problem, 2 the file cannot be read, 5 problems")]
    Check {
        /// Definition: `*.json`, otherwise TOML
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a definition over a file of events, without a server
    #[command(
        after_help = "Each line of output is `{output, id, time, key, value}`; behind them come `{lost, stage, id, why, value}` of dead and late events. Equal input gives equal output.\nExit status: 0 done, 2 a file cannot be read, 5 the definition has problems, 6 the output is not the expected one"
    )]
    Run {
        /// Definition: `*.json`, otherwise TOML
        definition: PathBuf,
        /// Events, one JSON a line; `-` for stdin
        #[arg(long, value_name = "NDJSON")]
        file: PathBuf,
        /// File with the output that is expected
        #[arg(long, value_name = "FILE")]
        expect: Option<PathBuf>,
        /// Write the output to the file of `--expect` instead
        #[arg(long, requires = "expect")]
        accept: bool,
        /// Events that go through the stages at once; changes nothing in the output
        #[arg(long, default_value_t = 256, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=65536))]
        batch: usize,
    },
}

/// Runs the program.
pub(crate) fn main(commit: Option<&str>) -> ExitCode {
    let version: &'static str = match commit {
        // Once a process, and clap wants it for as long.
        Some(commit) => String::leak(format!("{} ({commit})", env!("CARGO_PKG_VERSION"))),
        None => env!("CARGO_PKG_VERSION"),
    };
    let matches = Cli::command().version(version).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match cli.command {
        Command::Check { file, json } => check::run(&file, json),
        Command::Run { definition, file, expect, accept, batch } => run::run(&run::Run {
            definition: &definition,
            file: &file,
            batch,
            expect: expect.as_deref(),
            accept,
        }),
    };
    done.unwrap_or_else(|message| {
        eprintln!("error: {message}");
        ExitCode::from(2)
    })
}

/// Reads a definition and says its language.
fn definition(file: &Path) -> Result<(String, Format), String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read `{}`: {error}", file.display()))?;
    let json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    Ok((text, if json { Format::Json } else { Format::Toml }))
}
