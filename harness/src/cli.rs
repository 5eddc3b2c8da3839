//! The command line.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::engine::{self, Options, Substrate};
use crate::error::{Error, Result, write_file};
use crate::lab::disk;
use crate::lab::tools::Tools;
use crate::report::{self, Report, Verdict};
use crate::rundir::default_root;
use crate::scenario::{self, Capability, Rate, Scenario, Size, Span};
use crate::substrate::driver::{self, LabFile};
use crate::supervise;
use crate::workload::event::read_corpus;

const STATUSES: &str = "Exit status:
  0    the oracle agrees with everything
  1    the scenario failed: the oracle disagrees, or a step did not do what it must
  2    the command line or a scenario file is wrong
  3    the lab could not be set up: a program is missing or does not start
  4    skipped: the substrate lacks what the scenario requires
  130  interrupted; nothing is left running";

/// Breaks CIM labs and proves that everything comes back.
#[derive(Debug, Parser)]
#[command(name = "cim-harness", version, after_help = STATUSES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a scenario in a lab of real processes and judges what comes of it.
    Scenario(ScenarioArgs),
    /// Measures ours against its peers, in one run on this machine.
    #[command(
        after_help = "Figures compare within one run only: machines differ, and are noisy.\nNeeds natscli besides what scenarios need: `ci/bench` brings it."
    )]
    Bench(crate::bench::Args),
    /// The other side of `scenario --substrate driver`: asks for what is to be done, and answers.
    Driver(driver::Args),
    /// Looks at the inventory, changes it, and compares it with what answers on NATS.
    Inventory(crate::inventory::Args),
    /// Prints a script that completes this command in a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    #[command(hide = true)]
    Supervise(supervise::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = STATUSES)]
struct ScenarioArgs {
    /// A scenario of the directory, or the path of a file.
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// List the scenarios.
    #[arg(long)]
    list: bool,
    /// The directory of scenarios [default: fixtures/scenarios of the project].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Write the report as JUnit XML into this file too.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report as JSON into this file too; with `--repeat`, one a line.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the run directory of a run that passed too.
    #[arg(long)]
    keep: bool,
    /// Draw every choice from this number [default: a new one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Events of each load.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// Events per second of each load, such as 10000/s.
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Payload of each event, such as 128 or 1KiB.
    #[arg(long, value_name = "BYTES")]
    size: Option<Size>,
    /// Take payloads from this file: one JSON object a line, used over and over.
    #[arg(long, value_name = "FILE.ndjson")]
    corpus: Option<PathBuf>,
    /// Run several times, with the seed and those after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// What the lab is made of.
    #[arg(long, value_enum, default_value_t = Made::Process)]
    substrate: Made,
    /// With `--substrate driver`: the machines, as JSON.
    #[arg(long, value_name = "FILE", required_if_eq("substrate", "driver"))]
    lab: Option<PathBuf>,
    /// With `--substrate driver`: the Unix socket on which the driver asks what to do.
    #[arg(
        long,
        value_name = "PATH",
        env = "CIM_DRIVER_SOCKET",
        required_if_eq("substrate", "driver")
    )]
    socket: Option<PathBuf>,
    /// With `--substrate driver`: how long the driver may be silent while something is asked of it.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    driver_patience: Span,
    /// Where run directories go [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Look for programs here first.
    #[arg(long, value_name = "DIR", env = "CIM_BIN_DIR")]
    bin_dir: Option<PathBuf>,
}

/// What a lab is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Made {
    /// Processes of this machine.
    Process,
    /// Machines that another program starts, cuts off and unplugs; `cim-harness driver` is its side.
    Driver,
}

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Supervise(args) => return supervise::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "cim-harness",
                &mut std::io::stdout(),
            );
            return ExitCode::SUCCESS;
        }
        Command::Inventory(args) => crate::inventory::main(&args),
        Command::Bench(args) => bench(&args),
        Command::Driver(args) => driver::run(args),
        Command::Scenario(args) if args.list => list(&args),
        Command::Scenario(args) => run(&args),
    };
    outcome.unwrap_or_else(|error| {
        complain(&error);
        error.exit_code()
    })
}

fn bench(args: &crate::bench::Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Error::Setup("cannot start the runtime".into(), Some(e.into())))?;
    runtime.block_on(crate::bench::run(args))
}

fn complain(error: &Error) {
    // A closed stderr leaves the exit status.
    drop(writeln!(std::io::stderr(), "error: {}", error.chain()));
}

/// Prints data; a reader that has gone away is not an error.
fn print(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn list(args: &ScenarioArgs) -> Result<ExitCode> {
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

fn run(args: &ScenarioArgs) -> Result<ExitCode> {
    let name = args.name.as_deref().expect("clap asks for one");
    let (name, mut scenario) = scenario::load(args.dir.as_deref(), name)?;
    apply(args, &mut scenario)?;
    if args.substrate == Made::Process && scenario.needs().contains(&Capability::DiskFull) {
        disk::enter_own_namespace();
    }
    let corpus = args.corpus.as_deref().map(read_corpus).transpose()?.map(Arc::new);
    let first = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Error::Setup("cannot start the runtime".into(), Some(e.into())))?;
    let substrate = substrate(args)?;
    let mut reports = Vec::new();
    for seed in (first..).take(usize::try_from(args.repeat).unwrap_or(usize::MAX)) {
        let options = Options {
            seed,
            keep: args.keep,
            runs_dir: args.runs_dir.clone().unwrap_or_else(default_root),
            tools: Tools::new(args.bin_dir.clone()),
            corpus: corpus.clone(),
            substrate: substrate.clone(),
            quiet: false,
        };
        let report = runtime.block_on(engine::run(&name, scenario.clone(), &options))?;
        show(args, &report);
        reports.push(report);
    }
    write_reports(args, &reports)?;
    if args.repeat > 1 && !args.json {
        print(&report::summary(&reports));
    }
    let any = |verdict| reports.iter().any(|r| r.verdict == verdict);
    Ok(ExitCode::from(match (any(Verdict::Failed), any(Verdict::Skipped)) {
        (true, _) => 1,
        (_, true) => 4,
        _ => 0,
    }))
}

fn write_reports(args: &ScenarioArgs, reports: &[Report]) -> Result<()> {
    if let Some(path) = &args.junit {
        write_file(path, report::junit(reports))?;
    }
    if let Some(path) = &args.report {
        let line = |report| serde_json::to_string(report).expect("a report is always JSON");
        let lines: Vec<String> = reports.iter().map(line).collect();
        write_file(path, lines.join("\n") + "\n")?;
    }
    Ok(())
}

fn substrate(args: &ScenarioArgs) -> Result<Substrate> {
    let (Made::Driver, Some(lab), Some(socket)) = (args.substrate, &args.lab, &args.socket) else {
        return Ok(Substrate::Process);
    };
    if args.repeat > 1 {
        let what = "`--repeat` does not go with `--substrate driver`: a driver does one run";
        return Err(Error::Usage(what.into()));
    }
    let (lab, socket) = (LabFile::read(lab)?, socket.clone());
    Ok(Substrate::Driver { lab, socket, patience: args.driver_patience.into() })
}

fn show(args: &ScenarioArgs, report: &Report) {
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

/// What the command line says about loads holds for all of them.
fn apply(args: &ScenarioArgs, scenario: &mut Scenario) -> Result<()> {
    for workload in &mut scenario.workloads {
        if let Some(events) = args.events {
            workload.events = events;
            workload.deletes = workload.deletes.min(events / 2);
        }
        if let Some(size) = args.size {
            if size.bytes() < scenario::check::SIZE_MIN {
                let least = scenario::check::SIZE_MIN;
                return Err(Error::Usage(format!(
                    "`--size {size}` is below {least}B, which an event needs to be told from others"
                )));
            }
            workload.size = size;
        }
        workload.rate = args.rate.or(workload.rate);
    }
    if args.events.is_some() {
        scenario.expect.events_at_least = 0;
        scenario.expect.recovered_at_least = 0;
    }
    Ok(())
}
