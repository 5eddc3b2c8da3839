//! `cim-harness report`: finished runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::error::{Error, Result, write_file};
use crate::outcomes::Outcomes;
use crate::output::print;
use crate::report::{self, Matrix, Report, find};
use crate::rundir::default_root;
use crate::scenario;
use crate::soak::{self, Summary};

/// The flags of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A run's directory, a soak's, a file that `--report` or `--json` wrote, or the beginning of a
    /// name under runs/ [default: the newest run there].
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// List the kept runs.
    #[arg(long, conflicts_with_all = ["runs", "all", "html", "junit"])]
    list: bool,
    /// Show reports of all scenarios as `scenario --all` does, and compare them with the expected
    /// outcomes.
    #[arg(long)]
    all: bool,
    /// With `--all`: the expected outcomes [default: fixtures/outcomes.toml of the project].
    #[arg(long, value_name = "FILE", requires = "all")]
    outcomes: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Write the report as one HTML file that needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the report as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The parent directory of run directories [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
}

/// Shows finished runs, or lists the kept ones.
pub(super) fn main(args: &Args) -> Result<ExitCode> {
    let root = args.runs_dir.clone().unwrap_or_else(default_root);
    if args.list {
        return list(args, &root);
    }
    let found = match args.runs.as_slice() {
        [] => vec![find::newest(&root)?],
        names => names.iter().map(|name| find::find(&root, name)).collect::<Result<_>>()?,
    };
    if let [one] = found.as_slice()
        && one.join(soak::FILE).is_file()
    {
        return soaked(args, one);
    }
    let mut reports = Vec::new();
    for path in &found {
        reports.extend(find::read(path)?);
    }
    if args.all {
        return all(args, reports);
    }
    files(args, &reports, &[])?;
    match (args.json, reports.as_slice()) {
        (true, [one]) => {
            print(&serde_json::to_string_pretty(one).expect("a report is always JSON"));
        }
        (true, many) => {
            for one in many {
                print(&serde_json::to_string(one).expect("a report is always JSON"));
            }
        }
        (false, [one]) => print(report::render(one).trim_end()),
        (false, many) => print(report::summary(many).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn files(args: &Args, reports: &[Report], problems: &[String]) -> Result<()> {
    if let Some(path) = &args.html {
        write_file(path, report::html(reports, problems))?;
    }
    if let Some(path) = &args.junit {
        write_file(path, report::junit(reports, problems))?;
    }
    Ok(())
}

fn all(args: &Args, reports: Vec<Report>) -> Result<ExitCode> {
    let beside = || scenario::directory(None).map(|dir| Outcomes::beside(&dir));
    let outcomes = Outcomes::read(&args.outcomes.clone().map_or_else(beside, Ok)?)?;
    let mut matrix = Matrix::default();
    if let Some(first) = reports.first() {
        (matrix.substrate, matrix.seed) = (first.substrate.clone(), first.seed);
    }
    matrix.seconds = reports.iter().map(|report| report.seconds).sum();
    matrix.problems = reports.iter().filter_map(|report| outcomes.problem(report)).collect();
    let ran = |name: &str| reports.iter().any(|report| report.scenario == name);
    for listed in scenario::list(&scenario::directory(None)?)? {
        if !ran(&listed.name) {
            matrix.problems.push(format!("`{}` has no report", listed.name));
        }
    }
    for report in reports {
        matrix.add(report);
    }
    files(args, &matrix.runs, &matrix.problems)?;
    if args.json {
        print(&serde_json::to_string_pretty(&matrix).expect("a matrix is always JSON"));
    } else {
        print(matrix.render().trim_end());
    }
    Ok(ExitCode::from(matrix.status()))
}

fn soaked(args: &Args, dir: &Path) -> Result<ExitCode> {
    if args.html.is_some() || args.junit.is_some() || args.all {
        let what = "a soak has no report of one run: name one of the runs that it has kept";
        return Err(Error::Usage(format!("`{}`: {what}", dir.display())));
    }
    let tally = Summary::of(dir, soak::read(dir)?);
    if args.json {
        print(&serde_json::to_string_pretty(&tally).expect("a tally is always JSON"));
    } else {
        print(tally.render().trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &Args, root: &Path) -> Result<ExitCode> {
    let kept = find::list(root)?;
    if args.json {
        print(&serde_json::to_string_pretty(&kept).expect("a list is always JSON"));
    } else if kept.is_empty() {
        drop(std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("no runs are kept in {}\n", root.display()).as_bytes(),
        ));
    } else {
        print(&find::table_of(&kept));
    }
    Ok(ExitCode::SUCCESS)
}
