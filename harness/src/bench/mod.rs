//! Benchmarks: every figure a ratio, measured in one run against a peer on the same data.
//!
//! Owns the measurements, their peers and bars. Does not own scenarios and verdicts: a benchmark
//! proves no data.
//!
//! Machines differ and are noisy; a peer's figure from the same machine in the same minute varies
//! with them. Where rounds are repeated, ours and the peer's take turns and medians are compared.

mod all;
mod archive;
mod fill;
mod group;
mod idle;
mod pieces;
mod print;
mod pull;
mod quiet;
mod restore;
mod row;
mod test_bed;
mod tiered;
mod tiering;
mod year;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lab::tools::Tools;
use crate::progress::Progress;
use crate::rundir::{RunDir, default_root};

use group::Group;
pub use row::Row;

/// `cim-harness bench`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure every row at a small scale: a few seconds each, and rougher.
    #[arg(long)]
    quick: bool,
    /// Print the rows as JSON.
    #[arg(long)]
    json: bool,
    /// Write the rows as JSON into this file too [default: bench.json in the runs directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The number of events of 1 KiB to tier.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    events: Option<u64>,
    /// The number of rounds of each restore; the medians are compared.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// JSON payloads for `archive_ratio_json`: one object a line [default: generated ones].
    #[arg(long, value_name = "FILE.ndjson")]
    corpus: Option<PathBuf>,
    /// Measure only these rows, comma-separated.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    only: Vec<String>,
    /// Keep the run directory.
    #[arg(long)]
    keep: bool,
    /// The parent directory of run directories [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Look for programs here first.
    #[arg(long, value_name = "DIR", env = "CIM_BIN_DIR")]
    bin_dir: Option<PathBuf>,
}

/// The sizes of the measurements.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) tiered: u64,
    pub(crate) restored_1k: u64,
    pub(crate) restored_128b: u64,
    pub(crate) restored_slow: u64,
    /// The time for which many quiet streams, or idle ones, are observed.
    pub(crate) quiet: Duration,
    /// The number of events of quiet streams to merge.
    pub(crate) merged: u64,
    /// The number of streams at rest.
    pub(crate) idle: usize,
    /// The number of events that are tiered slowly, into many small objects.
    pub(crate) pieces: u64,
    /// The number of events of many streams that are restored together.
    pub(crate) all: u64,
    /// The number of days of the aged archive.
    pub(crate) days: u64,
    pub(crate) rounds: u64,
    pub(crate) corpus: Option<PathBuf>,
}

/// Runs the benchmarks; prints a table or JSON, and writes JSON.
pub async fn run(args: &Args) -> Result<ExitCode> {
    let known: Vec<&str> = Group::ALL.iter().flat_map(|group| group.rows()).copied().collect();
    if let Some(unknown) = args.only.iter().find(|name| !known.contains(&name.as_str())) {
        let known = known.join(", ");
        return Err(Error::Usage(format!("`{unknown}` is not a row of the benchmark: {known}")));
    }
    let scale = Scale {
        tiered: args.events.unwrap_or(if args.quick { 100_000 } else { 1_000_000 }),
        restored_1k: if args.quick { 50_000 } else { 200_000 },
        restored_128b: if args.quick { 200_000 } else { 1_000_000 },
        restored_slow: if args.quick { 20_000 } else { 100_000 },
        quiet: Duration::from_secs(if args.quick { 4 } else { 20 }),
        merged: if args.quick { 3_000 } else { 30_000 },
        idle: if args.quick { 200 } else { 1_000 },
        pieces: if args.quick { 10_000 } else { 100_000 },
        all: if args.quick { 100_000 } else { 1_000_000 },
        days: if args.quick { 20 } else { 365 },
        rounds: args.rounds.unwrap_or(if args.quick { 1 } else { 5 }),
        corpus: args.corpus.clone(),
    };
    let mut interrupt = Interrupt::listen()?;
    let root = args.runs_dir.clone().unwrap_or_else(default_root);
    let dir = RunDir::create(&root, "bench", 0)?;
    let progress = Progress::new(false);
    // Rows measured before a failure are shown, too.
    let mut rows = Vec::new();
    let outcome = tokio::select! {
        measured = measure(args, &scale, &dir, &progress, &mut rows) => measured,
        () = interrupt.wait() => Err(Error::Interrupted),
    };
    if !args.keep {
        dir.remove()?;
    }
    let json = serde_json::to_string_pretty(&rows).expect("rows are plain data");
    let out = args.out.clone().unwrap_or_else(|| root.join("bench.json"));
    crate::error::write_file(&out, &json)?;
    print::print(&rows, args.json.then_some(json.as_str()));
    progress.line(&format!("rows are in `{}`", out.display()));
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn measure(
    args: &Args,
    scale: &Scale,
    dir: &RunDir,
    progress: &Progress,
    rows: &mut Vec<Row>,
) -> Result<()> {
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let tools = Tools::new(args.bin_dir.clone());
    let bed = test_bed::TestBed::new(tools, dir, progress)?;
    for group in Group::ALL {
        if group.rows().iter().any(|name| wanted(name)) {
            let measured = group.measure(&bed, scale).await?;
            rows.extend(measured.into_iter().filter(|row| wanted(&row.name)));
        }
    }
    Ok(())
}
