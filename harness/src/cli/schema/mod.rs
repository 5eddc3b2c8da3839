//! `cim-harness schema`: the schemas of stored and published documents.

mod show;
mod verdicts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use clap_complete::ArgValueCandidates;

use super::complete;
use crate::error::Result;
use crate::schema::{Catalogue, Name};

const STATUSES: &str = "Exit status:
  0  nothing is wrong
  1  `check`: a change needs a new version; `validate`: a line is not valid
  2  the command line, or a file or schema that it names, is wrong";

/// The flags.
#[derive(Debug, clap::Args)]
#[command(after_help = STATUSES)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
    /// The directory of schemas [default: fixtures/schemas of the project].
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists all schemas and their versions.
    List,
    /// Prints a schema.
    Show {
        /// The schema, such as `inventory` or `inventory@3`.
        #[arg(add = ArgValueCandidates::new(complete::schemas))]
        name: Name,
    },
    /// Classifies the change from one schema to another as full, backward, forward or breaking.
    #[command(
        after_help = "Backward: every old document is valid under the new schema. Forward: every new one under the old. Full: both. Breaking: neither is proven.\nA single NAME compares its two newest versions.\n\nExamples:\n  cim-harness schema diff journal-entry\n  cim-harness schema diff inventory@1 inventory@4"
    )]
    Diff {
        /// The old schema.
        #[arg(add = ArgValueCandidates::new(complete::schemas))]
        old: Name,
        /// The new schema.
        #[arg(add = ArgValueCandidates::new(complete::schemas))]
        new: Option<Name>,
    },
    /// Compares all schemas with those of the last release.
    ///
    /// A released schema may change in its place only if every old document stays valid under it. Any other change
    /// needs a new version.
    Check,
    /// Prints the catalogue of events, requests and stored documents as Markdown.
    Docs {
        /// Write it as one HTML page to this file instead.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Holds each line of a file, an event in its envelope, against the schemas of its type and version.
    Validate {
        /// The file, NDJSON; `-` reads stdin.
        file: PathBuf,
    },
}

/// Runs the command.
pub(super) fn main(args: &Args) -> Result<ExitCode> {
    let catalogue = Catalogue::load(args.dir.as_deref())?;
    match &args.command {
        Command::List => show::list(&catalogue, args.json),
        Command::Show { name } => show::schema(&catalogue, name),
        Command::Docs { html } => show::docs(&catalogue, html.as_deref(), args.json),
        Command::Diff { old, new } => verdicts::diff(&catalogue, old, new.as_ref(), args.json),
        Command::Check => verdicts::check(&catalogue, args.json),
        Command::Validate { file } => verdicts::validate(&catalogue, file, args.json),
    }
}
