//! `cim-harness scenario --all`.

use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use tokio::time::Instant;

use super::Args;
use super::dry_run;
use crate::cli::lab::Made;
use crate::cli::runtime;
use crate::engine::Options;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::outcomes::Outcomes;
use crate::output::print;
use crate::progress::Progress;
use crate::report::{Broken, Matrix};
use crate::runner::{self, Job, RunEvent};

/// Runs every scenario of the directory and compares the outcomes with the expected ones.
pub(super) fn run(args: &Args) -> Result<ExitCode> {
    if args.lab.substrate == Made::Driver {
        let what = "`--all` does not go with `--substrate driver`: a driver does one run, and \
                    `ci/scenario --all --substrate driver` starts one for each scenario";
        return Err(Error::Usage(what.into()));
    }
    let picked = args.pick.select(args.dir.as_deref())?;
    args.lab.enter(picked.scenarios.iter().map(|(_, scenario)| scenario));
    let outcomes = outcomes(args, &picked.dir)?;
    let seed = args.seed();
    let mut jobs = Vec::new();
    for (name, mut scenario) in picked.scenarios {
        args.loads.apply(&mut scenario)?;
        let arguments = args.lab.arguments(&name, args.dir.as_deref(), &args.loads);
        jobs.push(Job { name, scenario, seed, arguments });
    }
    let names: Vec<String> = jobs.iter().map(|job| job.name.clone()).collect();
    let runtime = runtime()?;
    let (mut matrix, interrupted) = runtime.block_on(async {
        let options = args.lab.options(&args.loads, Interrupt::listen()?)?;
        let options = Options { keep: args.keep, quiet: true, ..options };
        if args.dry_run {
            dry_run::run(jobs.into_iter(), &options, args.json, true);
            return Ok((Matrix::default(), false));
        }
        let matrix = all(jobs, args.jobs(), &options).await;
        Ok::<_, Error>((Matrix { seed, ..matrix }, options.interrupt.heard()))
    })?;
    if args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    matrix.problems = matrix.runs.iter().filter_map(|r| outcomes.problem(r)).collect();
    if picked.whole {
        matrix.problems.extend(outcomes.stale(names.iter().map(String::as_str)));
    }
    args.write(&matrix.runs, &matrix.problems)?;
    if args.json {
        print(&serde_json::to_string_pretty(&matrix).expect("a matrix is always JSON"));
    } else {
        print(matrix.render().trim_end());
    }
    if interrupted {
        return Err(Error::Interrupted);
    }
    Ok(ExitCode::from(matrix.status()))
}

/// Reads the named file, or the one beside the directory, which the project's own directory must
/// have.
fn outcomes(args: &Args, dir: &Path) -> Result<Outcomes> {
    let path = args.outcomes.clone().unwrap_or_else(|| Outcomes::beside(dir));
    if args.outcomes.is_none() && args.dir.is_some() && !path.exists() {
        return Ok(Outcomes::all_pass(path));
    }
    Outcomes::read(&path)
}

async fn all(mut jobs: Vec<Job>, at_once: usize, options: &Options) -> Matrix {
    let (progress, began) = (Progress::new(false), Instant::now());
    let mut matrix = Matrix { substrate: options.substrate.name().into(), ..Matrix::default() };
    let total = jobs.len();
    progress.line(&format!("{total} scenarios, {at_once} at a time"));
    // Those that measure time go alone, at the end, when no other run has to wait for them.
    jobs.sort_by_key(Job::alone);
    runner::run(jobs.into_iter(), at_once, options, |news| {
        match news {
            RunEvent::Running(names) => {
                let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
                let done = matrix.runs.len() + matrix.broken.len();
                progress.live(&format!("{done} of {total} done, running {}", names.join(", ")));
            }
            RunEvent::Ended(ended) => {
                progress.line(&ended.line());
                match ended.outcome {
                    Ok(report) => matrix.add(report),
                    // It was not run to its end, so it has no outcome.
                    Err(Error::Interrupted) => return ControlFlow::Break(()),
                    Err(error) => {
                        matrix.broken.push(Broken { scenario: ended.name, error: error.chain() });
                    }
                }
            }
        }
        ControlFlow::Continue(())
    })
    .await;
    matrix.seconds = began.elapsed().as_secs_f64();
    matrix
}
