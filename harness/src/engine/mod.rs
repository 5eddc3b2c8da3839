//! The engine: performs a scenario's steps and lets the oracle judge the results.
//!
//! Owns the run of one scenario: its steps in order, its clock, the report's findings. Does not
//! own the lab's machines (`substrate`), the events (`workload`), and any verdict on data
//! (`oracle`).

mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lab::process::{Launcher, last_lines};
use crate::lab::s3::Kind;
use crate::lab::test_build::TestBuild;
use crate::lab::tools::{Tool, Tools, version};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Oracle, Report, Timeline, Verdict};
use crate::rundir::RunDir;
use crate::scenario::{Capability, Role, Scenario};
use crate::substrate::container::reaper::Reaper;
use crate::substrate::container::{Engine, Found};
use crate::substrate::driver::{Driver, LabFile};
use crate::substrate::{CONTAINER_OFFERS, Machines, lacking, process_offers, why_processes_lack};

/// The substrate of a lab, with its options.
#[derive(Debug, Clone)]
pub(crate) enum Substrate {
    /// Processes of this machine.
    Process {
        /// The program that serves S3 on the NAS.
        nas: Kind,
    },
    /// Containers of a Docker engine.
    Container {
        /// The file that names the images.
        images: PathBuf,
    },
    /// Machines that an outside driver owns.
    Driver {
        /// The machines and their addresses.
        lab: LabFile,
        /// The socket on which the driver asks for requests.
        socket: PathBuf,
        /// The longest that a driver may be silent while a request waits.
        patience: Duration,
    },
}

impl Substrate {
    /// Returns its name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Process { .. } => "process",
            Self::Container { .. } => "container",
            Self::Driver { .. } => "driver",
        }
    }

    /// Returns its capabilities.
    pub(crate) fn offers(&self) -> BTreeSet<Capability> {
        match self {
            Self::Process { .. } => process_offers(),
            Self::Container { .. } => CONTAINER_OFFERS.into(),
            Self::Driver { lab, .. } => lab.offers.clone(),
        }
    }

    /// Returns how many times slower than hardware it is.
    pub(crate) fn slowdown(&self) -> u32 {
        match self {
            Self::Process { .. } | Self::Container { .. } => 1,
            Self::Driver { lab, .. } => lab.slowdown,
        }
    }

    /// Returns the program that serves S3 on the NAS; MinIO if the substrate leaves no choice.
    fn nas(&self) -> Kind {
        match self {
            Self::Process { nas } => *nas,
            Self::Container { .. } | Self::Driver { .. } => Kind::Minio,
        }
    }

    fn why_it_lacks(&self, what: Capability) -> Option<String> {
        match self {
            Self::Process { .. } => why_processes_lack(what),
            Self::Container { .. } | Self::Driver { .. } => None,
        }
    }
}

/// The options of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed of all choices.
    pub seed: u64,
    /// True to keep the run directory of a run that passed too.
    pub keep: bool,
    /// The parent directory of run directories.
    pub runs_dir: PathBuf,
    /// The search for programs.
    pub tools: Tools,
    /// Payloads; without them they are random.
    pub corpus: Option<Arc<Vec<Bytes>>>,
    /// The substrate of the lab.
    pub(crate) substrate: Substrate,
    /// Variables for the programs of the lab, besides the inherited ones.
    pub(crate) env: Vec<(String, String)>,
    /// True for no progress on stderr.
    pub quiet: bool,
    /// Tells whether the harness was asked to end.
    pub interrupt: Interrupt,
    /// The arguments with which `cim-harness scenario` repeats the run, for the report.
    pub arguments: Vec<String>,
}

impl Options {
    /// Returns the lab's capabilities, with the programs that are found.
    pub(crate) fn offers(&self) -> BTreeSet<Capability> {
        let mut offers = self.substrate.offers();
        if matches!(self.substrate, Substrate::Process { .. })
            && TestBuild::find(&self.tools).is_ok()
        {
            offers.insert(Capability::FailPoints);
        }
        offers
    }

    /// Returns why the lab lacks a capability, if the reason is known.
    fn why_it_lacks(&self, what: Capability) -> Option<String> {
        match (&self.substrate, what) {
            (Substrate::Process { .. }, Capability::FailPoints) => {
                TestBuild::find(&self.tools).err().map(|error| error.chain())
            }
            _ => self.substrate.why_it_lacks(what),
        }
    }
}

/// Runs a scenario on this machine. `Ok` has a verdict; an error means that none was reached.
pub async fn run(name: &str, scenario: Scenario, options: &Options) -> Result<Report> {
    let Substrate::Driver { socket, patience, .. } = &options.substrate else {
        return attempt(name, scenario, options, None).await;
    };
    let driver = Arc::new(Driver::listen(socket, *patience)?);
    let outcome = attempt(name, scenario, options, Some(&driver)).await;
    let (verdict, status) = match &outcome {
        Ok(report) => (report.verdict.to_string(), report.verdict.status()),
        Err(error) => (error.chain(), error.status()),
    };
    // An interrupted run does not wait for the driver.
    let interrupted = matches!(outcome, Err(Error::Interrupted));
    let patience = if interrupted { Duration::from_secs(1) } else { *patience };
    driver.end(&verdict, status, patience).await;
    outcome
}

/// The most unacked publishes of one publisher on machines: each waits there for a sync of an
/// emulated disk, and the last of more would wait longer than its ack's time limit.
const WINDOW_ON_MACHINES: usize = 16;

/// Returns the plan that a run with these options follows.
pub(crate) fn plan(scenario: Scenario, options: &Options) -> Plan {
    let mut scenario = scenario.expanded();
    if matches!(options.substrate, Substrate::Driver { .. }) {
        for workload in &mut scenario.workloads {
            workload.window = workload.window.min(WINDOW_ON_MACHINES);
        }
    }
    Plan::draw(scenario, options.seed, options.corpus.as_deref())
}

async fn attempt(
    name: &str,
    scenario: Scenario,
    options: &Options,
    driver: Option<&Arc<Driver>>,
) -> Result<Report> {
    let plan = plan(scenario, options);
    let substrate = options.substrate.name();
    let offers = options.offers();
    let lacking = lacking(&plan.scenario, &offers);
    if !lacking.is_empty() {
        let what: Vec<_> = lacking.iter().map(|name| format!("\"{name}\"")).collect();
        let needs = plan.scenario.needs().into_iter().filter(|need| !offers.contains(need));
        let why: Vec<_> = needs.filter_map(|need| options.why_it_lacks(need)).collect();
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        let reason = format!("the {substrate} substrate does not offer {}{why}", what.join(", "));
        let report = blank(name, substrate, &plan, Verdict::Skipped, Some(reason));
        return Ok(Report { lacking, ..report });
    }
    let options = &with_fail_points(&plan.scenario, options)?;
    let docker = match docker(&plan.scenario, options).await? {
        Some(Found::Nothing(why)) => {
            let reason = format!("Docker cannot be had: {why}");
            return Ok(blank(name, substrate, &plan, Verdict::Skipped, Some(reason)));
        }
        Some(Found::Engine(engine)) => Some(engine),
        None => None,
    };
    let versions = versions(&plan.scenario, options, docker.as_ref()).await?;
    let dir = RunDir::create(&options.runs_dir, name, options.seed)?;
    let progress = Progress::new(options.quiet);
    progress.line(&format!("{name}, seed {}, in {}", options.seed, dir.path().display()));
    let launcher = Launcher::new(&options.tools, &dir.logs())?.with_env(options.env.clone());
    let mut report = blank(name, substrate, &plan, Verdict::Failed, None);
    report.versions = versions;
    report.arguments.clone_from(&options.arguments);
    let reaper = match &docker {
        Some(_) => Some(Reaper::start(launcher.harness(), &launcher.log_path("reaper"))?),
        None => None,
    };
    let work = async {
        let (launcher, of_run) = (launcher.clone(), launcher.clone());
        let machines = match (docker, &reaper) {
            (Some(engine), Some(reaper)) => {
                let (lab, disks) = (reaper.lab(), dir.disks());
                Machines::contained(&plan.scenario, engine, lab, launcher, &disks, options.seed)
                    .await?
            }
            _ => machines(&plan.scenario, options, &dir, launcher, driver).await?,
        };
        run::drive(&plan, options, &dir, machines, of_run, &progress, &mut report).await
    };
    let mut interrupt = options.interrupt.clone();
    let outcome = tokio::select! {
        outcome = work => outcome,
        () = interrupt.wait() => Err(Error::Interrupted),
    };
    // Everything of the lab has been dropped; now it must also be gone.
    if !launcher.all_ended(Duration::from_secs(10)).await {
        progress.line("a program of the lab did not end within 10 s of being killed");
    }
    if let Some(reaper) = reaper {
        let lab = reaper.lab().to_owned();
        if !reaper.finish().await {
            let log = last_lines(&launcher.log_path("reaper"));
            progress.line(&format!("objects with the label `cim.lab={lab}` are left in Docker ({log}): remove them by hand"));
        }
    }
    report.seconds = progress.elapsed().as_secs_f64();
    conclude(outcome, report, &dir, options, &progress)
}

/// Returns the options with the test build of the storage manager if the scenario needs fail
/// points.
fn with_fail_points(scenario: &Scenario, options: &Options) -> Result<Options> {
    let mut options = options.clone();
    if !scenario.needs().contains(&Capability::FailPoints) {
        return Ok(options);
    }
    let build = TestBuild::find(&options.tools)?;
    let (points, known) = (scenario.fail_points(), &build.hooks.fail_points);
    if let Some(unknown) = points.iter().find(|point| !known.iter().any(|k| k == *point)) {
        let known = known.join(", ");
        return Err(Error::Usage(format!(
            "the storage manager has no fail point `{unknown}`: it has {known}"
        )));
    }
    options.tools = options.tools.with(Tool::StorageManager, build.program);
    Ok(options)
}

async fn machines(
    scenario: &Scenario,
    options: &Options,
    dir: &RunDir,
    launcher: Launcher,
    driver: Option<&Arc<Driver>>,
) -> Result<Machines> {
    if let (Substrate::Driver { lab, .. }, Some(driver)) = (&options.substrate, driver) {
        return Machines::driven(scenario, lab.clone(), Arc::clone(driver)).await;
    }
    let (tools, disks) = (options.tools.clone(), dir.disks());
    let nas = options.substrate.nas();
    Machines::processes(scenario, launcher, tools, &disks, options.seed, nas).await
}

fn conclude(
    outcome: Result<()>,
    mut report: Report,
    dir: &RunDir,
    options: &Options,
    progress: &Progress,
) -> Result<Report> {
    let path = dir.path().display();
    match outcome {
        Ok(()) => {}
        Err(error @ Error::Step(..)) => {
            report.verdict = Verdict::Failed;
            report.reason = Some(error.chain());
        }
        Err(error @ Error::Interrupted) => {
            if options.keep {
                progress.line(&format!("interrupted; {path} is kept"));
            } else {
                dir.remove()?;
            }
            return Err(error);
        }
        Err(error) => {
            progress.line(&format!("logs are kept in {path}"));
            return Err(error);
        }
    }
    if report.verdict == Verdict::Passed && !options.keep {
        dir.remove()?;
    } else {
        report.run_dir = Some(path.to_string());
        let text = serde_json::to_vec_pretty(&report).expect("a report is always JSON");
        crate::error::write_file(&dir.path().join("report.json"), text)?;
        let page = crate::report::html(std::slice::from_ref(&report), &[]);
        crate::error::write_file(&dir.path().join("report.html"), page)?;
    }
    Ok(report)
}

fn blank(
    name: &str,
    substrate: &str,
    plan: &Plan,
    verdict: Verdict,
    reason: Option<String>,
) -> Report {
    Report {
        scenario: name.to_owned(),
        title: plan.scenario.title.clone(),
        substrate: substrate.to_owned(),
        seed: plan.seed,
        plan_digest: plan.digest(),
        verdict,
        reason,
        lacking: Vec::new(),
        started_at: jiff::Timestamp::now(),
        seconds: 0.0,
        oracle: Oracle::default(),
        rpo_seconds: BTreeMap::new(),
        age_seconds: BTreeMap::new(),
        rto_seconds: BTreeMap::new(),
        losses: Vec::new(),
        primary: Vec::new(),
        groups: Vec::new(),
        judgements: Vec::new(),
        slowdown: None,
        expectations: Vec::new(),
        versions: BTreeMap::new(),
        steps: Vec::new(),
        timeline: Timeline::default(),
        arguments: Vec::new(),
        run_dir: None,
    }
}

/// Returns the programs that a lab needs.
fn needed(scenario: &Scenario, options: &Options) -> Vec<Tool> {
    let mut needed = vec![Tool::NatsServer, options.substrate.nas().tool(), Tool::StorageManager];
    if scenario.node_of(Role::Wasabi).is_some() {
        needed.push(Tool::FakeWasabi);
    }
    needed
}

/// Looks for the Docker engine of a lab of containers; returns `None` for other labs.
async fn docker(scenario: &Scenario, options: &Options) -> Result<Option<Found>> {
    let Substrate::Container { images } = &options.substrate else { return Ok(None) };
    Engine::find(images, &needed(scenario, options)).await.map(Some)
}

/// Returns the version of every program that the lab needs. Fails if one is missing, before
/// anything starts.
async fn versions(
    scenario: &Scenario,
    options: &Options,
    docker: Option<&Engine>,
) -> Result<BTreeMap<String, String>> {
    let harness = (Tool::Harness.name().to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    if let Substrate::Driver { lab, .. } = &options.substrate {
        return Ok(lab.versions.clone().into_iter().chain([harness]).collect());
    }
    if let Some(engine) = docker {
        return Ok(engine.versions().chain([harness]).collect());
    }
    let mut versions = BTreeMap::from([harness]);
    for tool in needed(scenario, options) {
        let path = options.tools.find(tool)?;
        versions.insert(tool.name().to_owned(), version(tool, &path).await);
    }
    Ok(versions)
}
