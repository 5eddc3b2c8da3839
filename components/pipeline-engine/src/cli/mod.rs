//! The command line.

mod check;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::definition::Format;

/// Exit statuses beside 0 (done) and 2 (an option or a file cannot be used).
const STATUS_PROBLEMS: u8 = 5;

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
