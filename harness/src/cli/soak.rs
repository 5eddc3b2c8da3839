//! `cim-harness soak`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::filter::FilterArgs;
use super::lab::{LabArgs, LoadArgs, Made};
use super::runtime;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::output::print;
use crate::runner::Job;
use crate::scenario::Span;
use crate::soak::{self, Soak};
use crate::substrate::lacking;

const STATUSES: &str = "Exit status:
  0    every run passed
  1    a run failed
  2    the command line or a scenario file is wrong
  3    a lab could not be set up, and no run failed
  130  interrupted; the summary is printed, and nothing is left running

Every run that ends adds a line to `soak.ndjson` in the soak's directory; `cim-harness report DIR` shows
the summary again, also after this process was killed.";

/// The flags of `soak`.
#[derive(Debug, clap::Args)]
#[command(after_help = STATUSES)]
pub(super) struct Args {
    /// Begin no run later than this, such as 8h or 30m.
    #[arg(long = "for", value_name = "TIME", required_unless_present = "runs")]
    time: Option<Span>,
    /// At most this many runs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    runs: Option<u64>,
    #[command(flatten)]
    pick: FilterArgs,
    /// The directory of scenarios [default: fixtures/scenarios of the project].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Draw scenarios and their seeds from this number [default: a new one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The number of labs at a time. Scenarios that measure time run alone.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// End after the first run that does not pass.
    #[arg(long)]
    fail_fast: bool,
    /// Keep the directories of the first N runs that do not pass; seeds are always kept.
    #[arg(long, value_name = "N", default_value_t = 20)]
    keep_at_most: usize,
    /// Print the summary as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    loads: LoadArgs,
    #[command(flatten)]
    lab: LabArgs,
}

/// Soaks, and prints the summary.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if args.lab.substrate == Made::Driver {
        let what = "`soak` does not go with `--substrate driver`: a driver does one run";
        return Err(Error::Usage(what.into()));
    }
    let picked = args.pick.select(args.dir.as_deref())?;
    args.lab.enter(picked.scenarios.iter().map(|(_, scenario)| scenario));
    let soak = Soak {
        seed: args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>())),
        time: args.time.map(Into::into),
        runs: args.runs,
        at_once: args.jobs.into(),
        fail_fast: args.fail_fast,
        keep_at_most: args.keep_at_most,
    };
    let tally = runtime()?.block_on(async {
        let options = args.lab.options(&args.loads, Interrupt::listen()?)?;
        let (mut pool, mut not_run) = (Vec::new(), std::collections::BTreeMap::new());
        for (name, mut scenario) in picked.scenarios {
            args.loads.apply(&mut scenario)?;
            let lacking = lacking(&scenario, &options.offers());
            if lacking.is_empty() {
                let arguments = args.lab.arguments(&name, args.dir.as_deref(), &args.loads);
                pool.push(Job { name, scenario, seed: 0, arguments });
            } else {
                not_run.insert(name, lacking);
            }
        }
        if pool.is_empty() {
            let substrate = options.substrate.name();
            return Err(Error::Usage(format!(
                "the {substrate} substrate can run none of these scenarios"
            )));
        }
        let tally = soak::run(&soak, pool, &options).await?;
        Ok(soak::Summary { not_run, ..tally })
    })?;
    if args.json {
        print(&serde_json::to_string_pretty(&tally).expect("a tally is always JSON"));
    } else {
        print(tally.render().trim_end());
    }
    Ok(if tally.interrupted {
        Error::Interrupted.exit_code()
    } else {
        ExitCode::from(tally.status())
    })
}
