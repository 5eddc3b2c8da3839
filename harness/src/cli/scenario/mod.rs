//! `cim-harness scenario`.

mod all;
mod dry_run;

use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap_complete::ArgValueCandidates;

use crate::authoring;
use crate::cli::filter::FilterArgs;
use crate::cli::lab::{LabArgs, LoadArgs, Made};
use crate::cli::{STATUSES, complete, runtime};
use crate::engine::Options;
use crate::error::{Error, Result, write_file};
use crate::interrupt::Interrupt;
use crate::output::print;
use crate::report::{self, Report, Verdict};
use crate::runner::{self, Job, RunEvent};
use crate::scenario;

/// The flags of `scenario`.
#[derive(Debug, clap::Args)]
#[command(after_help = STATUSES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    authoring: Option<authoring::Command>,
    /// A scenario of the directory, or the path of a file.
    #[arg(required_unless_present_any = ["list", "all"], add = ArgValueCandidates::new(complete::scenarios))]
    name: Option<String>,
    /// List the scenarios.
    #[arg(long, conflicts_with = "all")]
    list: bool,
    /// Run every scenario of the directory, and compare the outcomes with the expected ones.
    #[arg(long, conflicts_with_all = ["name", "repeat"])]
    all: bool,
    #[command(flatten)]
    pub(super) pick: FilterArgs,
    /// With `--all`: the expected outcome of each scenario [default: outcomes.toml beside the
    /// directory].
    #[arg(long, value_name = "FILE")]
    pub(super) outcomes: Option<PathBuf>,
    /// The directory of scenarios [default: fixtures/scenarios of the project].
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Write the report as JUnit XML into this file too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as JSON into this file too; with `--repeat` and `--all`, one a line.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the report as one HTML file, which needs no network, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the plan that the seed draws, and its digest; run nothing.
    #[arg(long, conflicts_with_all = ["junit", "report", "html", "list"])]
    pub(super) dry_run: bool,
    /// Keep the run directory of a run that passed too.
    #[arg(long)]
    pub(super) keep: bool,
    /// Draw every choice from this number [default: a new one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run several times, with the seed and those after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// With `--all` or `--repeat`: the number of labs at a time. Scenarios that measure time run
    /// alone.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    #[command(flatten)]
    pub(super) loads: LoadArgs,
    #[command(flatten)]
    pub(super) lab: LabArgs,
}

impl Args {
    /// Returns the given seed, or a new one.
    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()))
    }

    /// Returns the number of labs at a time.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.into()
    }

    /// Writes the files that were asked for; `problems` are those beside the reports.
    pub(super) fn write(&self, reports: &[Report], problems: &[String]) -> Result<()> {
        if let Some(path) = &self.junit {
            write_file(path, report::junit(reports, problems))?;
        }
        if let Some(path) = &self.html {
            write_file(path, report::html(reports, problems))?;
        }
        if let Some(path) = &self.report {
            let line = |report| serde_json::to_string(report).expect("a report is always JSON");
            let lines: Vec<String> = reports.iter().map(line).collect();
            write_file(path, lines.join("\n") + "\n")?;
        }
        Ok(())
    }
}

/// Lists the scenarios, or runs one or all; or runs an authoring command.
pub(super) fn main(args: &Args) -> Result<ExitCode> {
    if let Some(command) = &args.authoring {
        return authoring::main(command);
    }
    // clap drops a flag's requirement if that conflicts with another given flag.
    if !args.all && (args.outcomes.is_some() || !args.pick.is_empty()) {
        let what = "`--only`, `--except` and `--outcomes` go with `--all`";
        return Err(Error::Usage(what.into()));
    }
    match (args.list, args.all) {
        (true, _) => list(args),
        (_, true) => all::run(args),
        _ => run(args),
    }
}

fn list(args: &Args) -> Result<ExitCode> {
    let dir = scenario::directory(args.dir.as_deref())?;
    let listed = scenario::list(&dir)?;
    if args.json {
        let rows: Vec<_> = listed
            .iter()
            .map(|l| {
                serde_json::json!({
                    "name": l.name,
                    "path": l.path,
                    "title": l.scenario.as_ref().ok().map(|s| &s.title),
                    "requires": l.scenario.as_ref().ok().map(|s| &s.requires),
                    "error": l.scenario.as_ref().err().map(Error::chain),
                })
            })
            .collect();
        print(&serde_json::to_string_pretty(&rows).expect("rows are JSON"));
    } else {
        for l in &listed {
            match &l.scenario {
                Ok(scenario) => print(&format!("{:<24} {}", l.name, scenario.title)),
                Err(error) => print(&format!("{:<24} error: {}", l.name, error.chain())),
            }
        }
    }
    let broken = listed.iter().any(|l| l.scenario.is_err());
    Ok(ExitCode::from(if broken { 2 } else { 0 }))
}

fn run(args: &Args) -> Result<ExitCode> {
    if args.repeat > 1 && args.lab.substrate == Made::Driver {
        let what = "`--repeat` does not go with `--substrate driver`: a driver does one run";
        return Err(Error::Usage(what.into()));
    }
    let given = args.name.as_deref().expect("clap asks for one");
    let arguments = args.lab.arguments(given, args.dir.as_deref(), &args.loads);
    let (name, mut scenario) = scenario::load(args.dir.as_deref(), given)?;
    args.loads.apply(&mut scenario)?;
    args.lab.enter([&scenario]);
    let seeds = (args.seed()..).take(usize::try_from(args.repeat).unwrap_or(usize::MAX));
    let jobs = seeds.map(|seed| Job {
        name: name.clone(),
        scenario: scenario.clone(),
        seed,
        arguments: arguments.clone(),
    });
    let mut reports = Vec::new();
    let mut stopped = None;
    runtime()?.block_on(async {
        let options = args.lab.options(&args.loads, Interrupt::listen()?)?;
        let options = Options { keep: args.keep, quiet: args.jobs > 1, ..options };
        if args.dry_run {
            dry_run::run(jobs, &options, args.json, false);
            return Ok(());
        }
        runner::run(jobs, args.jobs(), &options, |news| {
            let RunEvent::Ended(ended) = news else { return ControlFlow::Continue(()) };
            match ended.outcome {
                Ok(report) => {
                    show(args, &report);
                    reports.push(report);
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    stopped = Some(error);
                    ControlFlow::Break(())
                }
            }
        })
        .await;
        Ok::<_, Error>(())
    })?;
    if let Some(error) = stopped {
        return Err(error);
    }
    args.write(&reports, &[])?;
    if args.repeat > 1 && !args.dry_run {
        if args.json {
            let repeat = serde_json::json!({ "repeat": report::repeats(&reports) });
            print(&repeat.to_string());
        } else {
            print(report::summary(&reports).trim_end());
        }
    }
    let any = |verdict| reports.iter().any(|r| r.verdict == verdict);
    Ok(ExitCode::from(match (any(Verdict::Failed), any(Verdict::Skipped)) {
        (true, _) => 1,
        (_, true) => 4,
        _ => 0,
    }))
}

fn show(args: &Args, report: &Report) {
    let text = match (args.json, args.repeat > 1) {
        // One report a line, so that many can be read as they come.
        (true, true) => serde_json::to_string(report).expect("a report is always JSON"),
        (true, false) => serde_json::to_string_pretty(report).expect("a report is always JSON"),
        (false, _) => report::render(report),
    };
    print(text.trim_end());
    if args.json && !std::io::stdout().is_terminal() && report.verdict != Verdict::Passed {
        drop(writeln!(std::io::stderr(), "{}", report.reason.as_deref().unwrap_or("not passed")));
    }
}
