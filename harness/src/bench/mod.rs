//! Benchmarks: every figure a ratio, measured in one run against a peer on the same data.
//!
//! Machines differ and are noisy; what a peer does on the same machine in the same minute does not
//! move with them. Where rounds are repeated, ours and the peer's take turns and medians are compared.

mod all;
mod archive;
mod bed;
mod fill;
mod idle;
mod pieces;
mod print;
mod pull;
mod quiet;
mod restore;
mod row;
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

pub use row::Row;

/// The rows, in the order in which they are measured.
pub const ROWS: [&str; 26] = [
    "tiering_vs_pull",
    "s3_requests_per_10k",
    "archive_ratio_random",
    "storage_manager_rss_mib",
    "restore_rss_mib",
    "restore_vs_natscli_1k",
    "restore_protocol_vs_natscli_1k",
    "restore_vs_natscli_20ms",
    "restore_vs_natscli_128b",
    "archive_ratio_json",
    "quiet_streams_puts_100",
    "quiet_streams_puts_1000",
    "quiet_streams_cpu",
    "quiet_streams_bytes",
    "idle_rpo",
    "idle_cost_nats",
    "idle_cost_nas",
    "idle_cost_cpu",
    "restore_small_segments",
    "restore_all",
    "tiering_vs_pull_64",
    "storage_manager_rss_mib_1000",
    "year_objects_nas",
    "year_objects_wasabi",
    "year_open",
    "year_open_rss_mib",
];

/// `cim-harness bench`
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Every row, small: a few seconds each, and rougher.
    #[arg(long)]
    quick: bool,
    /// Print the rows as JSON.
    #[arg(long)]
    json: bool,
    /// Write the rows as JSON into this file too [default: bench.json in the runs directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Events of 1 KiB that are tiered.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    events: Option<u64>,
    /// Rounds of each restore; the medians are compared.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rounds: Option<u64>,
    /// JSON payloads for `archive_ratio_json`: one object a line [default: generated ones].
    #[arg(long, value_name = "FILE.ndjson")]
    corpus: Option<PathBuf>,
    /// Only these rows, comma-separated.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    only: Vec<String>,
    /// Keep the run directory.
    #[arg(long)]
    keep: bool,
    /// Where run directories go [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Look for programs here first.
    #[arg(long, value_name = "DIR", env = "CIM_BIN_DIR")]
    bin_dir: Option<PathBuf>,
}

/// How much of everything is measured.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) tiered: u64,
    pub(crate) restored_1k: u64,
    pub(crate) restored_128b: u64,
    pub(crate) restored_slow: u64,
    /// How long many quiet streams, or idle ones, are looked at.
    pub(crate) quiet: Duration,
    /// Events of quiet streams that are to be merged.
    pub(crate) merged: u64,
    /// Streams at rest.
    pub(crate) idle: usize,
    /// Events that are tiered slowly, into many small objects.
    pub(crate) pieces: u64,
    /// Events of many streams that are restored together.
    pub(crate) all: u64,
    /// Days of an archive that gets old.
    pub(crate) days: u64,
    pub(crate) rounds: u64,
    pub(crate) corpus: Option<PathBuf>,
}

/// Runs the benchmarks; prints a table or JSON, and writes JSON.
pub async fn run(args: &Args) -> Result<ExitCode> {
    if let Some(unknown) = args.only.iter().find(|name| !ROWS.contains(&name.as_str())) {
        let known = ROWS.join(", ");
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
    let outcome = tokio::select! {
        rows = measure(args, &scale, &dir, &progress) => rows,
        () = interrupt.wait() => Err(Error::Interrupted),
    };
    if !args.keep {
        dir.remove()?;
    }
    let rows = outcome?;
    let json = serde_json::to_string_pretty(&rows).expect("rows are plain data");
    let out = args.out.clone().unwrap_or_else(|| root.join("bench.json"));
    crate::error::write_file(&out, &json)?;
    print::print(&rows, args.json.then_some(json.as_str()));
    progress.line(&format!("rows are in `{}`", out.display()));
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    args: &Args,
    scale: &Scale,
    dir: &RunDir,
    progress: &Progress,
) -> Result<Vec<Row>> {
    let wanted = |names: &[&str]| {
        args.only.is_empty() || names.iter().any(|name| args.only.iter().any(|o| o == name))
    };
    let tools = Tools::new(args.bin_dir.clone());
    let bed = bed::Bed::new(tools, dir, progress)?;
    let mut rows = Vec::new();
    if wanted(&ROWS[..5]) {
        rows.extend(tiering::measure(&bed, scale).await?);
    }
    if wanted(&ROWS[5..7]) {
        rows.extend(restore::kibibyte(&bed, scale).await?);
    }
    if wanted(&ROWS[7..8]) {
        rows.push(restore::over_a_slow_link(&bed, scale).await?);
    }
    if wanted(&ROWS[8..9]) {
        rows.push(restore::small(&bed, scale).await?);
    }
    if wanted(&ROWS[9..10]) {
        rows.push(tiering::json(&bed, scale).await?);
    }
    if wanted(&ROWS[10..13]) || wanted(&ROWS[21..22]) {
        rows.extend(quiet::measure(&bed, scale).await?);
    }
    if wanted(&ROWS[13..14]) {
        rows.push(quiet::bytes(&bed, scale).await?);
    }
    if wanted(&ROWS[14..18]) {
        rows.extend(idle::measure(&bed, scale).await?);
    }
    if wanted(&ROWS[18..19]) {
        rows.push(pieces::measure(&bed, scale).await?);
    }
    if wanted(&ROWS[19..20]) {
        rows.push(all::measure(&bed, scale).await?);
    }
    if wanted(&ROWS[20..21]) {
        rows.push(tiering::together(&bed, scale).await?);
    }
    if wanted(&ROWS[22..26]) {
        rows.extend(year::measure(&bed, scale).await?);
    }
    rows.retain(|row| wanted(&[row.name.as_str()]));
    Ok(rows)
}
