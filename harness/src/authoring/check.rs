//! `cim-harness scenario check`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;

use crate::error::{Error, Result};
use crate::output::{print, remark};
use crate::scenario::{self, Diagnostic, Scenario};

/// The flags.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit status: 0 when nothing is wrong, 2 when something is.")]
pub(crate) struct Args {
    /// Scenarios, by name or by path [default: all of the directory].
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// The directory of scenarios [default: fixtures/scenarios of the project].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the problems as JSON.
    #[arg(long)]
    json: bool,
}

struct Examined {
    path: PathBuf,
    outcome: Result<Scenario, Vec<Diagnostic>>,
}

pub(super) fn main(args: &Args) -> Result<ExitCode> {
    let examined: Vec<_> = paths(args)?.into_iter().map(examine).collect();
    let problems: Vec<_> = examined.iter().filter_map(|e| e.outcome.as_ref().err()).collect();
    let (wrong, count) = (problems.len(), problems.iter().map(|p| p.len()).sum::<usize>());
    if args.json {
        let files: Vec<_> = examined.iter().map(row).collect();
        let found = json!({ "checked": examined.len(), "problems": count, "files": files });
        print(&format!("{found:#}"));
    } else {
        problems.into_iter().flatten().for_each(|problem| remark(&format!("error: {problem}")));
        let checked = plural(examined.len(), "scenario");
        remark(&match count {
            0 => format!("{checked}: nothing is wrong"),
            _ => format!("{checked}: {} in {wrong} of them", plural(count, "problem")),
        });
    }
    Ok(ExitCode::from(if count == 0 { 0 } else { 2 }))
}

fn paths(args: &Args) -> Result<Vec<PathBuf>> {
    if !args.files.is_empty() {
        return args
            .files
            .iter()
            .map(|name| scenario::path_of(args.dir.as_deref(), name))
            .collect();
    }
    let dir = scenario::directory(args.dir.as_deref())?;
    let paths = scenario::files(&dir)?;
    if paths.is_empty() {
        let dir = dir.display();
        return Err(Error::Usage(format!(
            "no scenario in `{dir}`: `cim-harness scenario new NAME --dir {dir}` writes one"
        )));
    }
    Ok(paths)
}

fn examine(path: PathBuf) -> Examined {
    let outcome = scenario::examine_file(&path);
    Examined { path, outcome }
}

fn row(examined: &Examined) -> serde_json::Value {
    let none = Vec::new();
    json!({
        "file": examined.path,
        "name": Path::file_stem(&examined.path).map(|stem| stem.to_string_lossy()),
        "title": examined.outcome.as_ref().ok().map(|scenario| &scenario.title),
        "problems": examined.outcome.as_ref().err().unwrap_or(&none),
    })
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
