//! Scenarios of one's own: writes a file to begin with, and checks files.
//!
//! Owns the text of a new scenario, and the listing of a file's problems. Does not own the checks
//! themselves (`scenario`).

mod check;
mod new;

use std::process::ExitCode;

use clap::Subcommand;

use crate::error::Result;
use crate::scenario;

/// The subcommands of `scenario`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Writes a scenario to begin with: commented, and green without changes.
    New(new::Args),
    /// Reports all problems of scenario files, by file, line and key; starts nothing.
    Check(check::Args),
    /// Prints the JSON Schema of scenario files, for editors.
    #[command(
        after_help = "Editors with a TOML extension complete and check a scenario whose first line is\n  #:schema PATH-OR-URL-OF-THE-SCHEMA"
    )]
    Schema,
}

/// Runs the subcommand.
pub(crate) fn main(command: &Command) -> Result<ExitCode> {
    match command {
        Command::New(args) => new::main(args),
        Command::Check(args) => check::main(args),
        Command::Schema => {
            crate::output::print(&format!("{:#}", scenario::schema()));
            Ok(ExitCode::SUCCESS)
        }
    }
}
