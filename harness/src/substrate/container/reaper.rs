//! Removes a lab's containers, networks and volumes when the harness is gone.
//!
//! Objects in a Docker engine outlive the process that made them. So a process of its own holds the
//! read end of a pipe whose write end only the harness has: at the pipe's end the harness is done,
//! interrupted or killed with SIGKILL, and the reaper removes everything that carries the lab's
//! label. The harness itself waits for it, so that every end of every run cleans up in this way. It
//! sits in a process group of its own, so that Ctrl-C reaches the harness alone.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use rand::RngExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error as DockerError;
use testcontainers::bollard::query_parameters::{
    ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveVolumeOptions,
};
use testcontainers::core::client::docker_client_instance;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep};

use crate::error::{Context as _, Error, Result};

/// The label of everything that belongs to a lab; its value is the lab's id.
pub(super) const LABEL: &str = "cim.lab";
const GONE_WITHIN: Duration = Duration::from_secs(60);
/// The pause for a request that the harness had sent when it was killed and that may still be under
/// way.
const STRAGGLERS: Duration = Duration::from_millis(300);

/// The hidden `reap` command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The lab's id.
    #[arg(long)]
    lab: String,
}

/// Waits for the end of stdin, then removes everything of the lab.
pub fn run(args: &Args) -> ExitCode {
    // Nothing is ever written; an error is an end as well.
    drop(std::io::stdin().read_to_end(&mut Vec::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(remove(&args.lab)),
        Err(error) => Err(error.to_string()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // After the harness's end the log is the only place for the error.
            drop(writeln!(std::io::stderr(), "lab {}: {error}", args.lab));
            ExitCode::FAILURE
        }
    }
}

/// Removes the lab's objects until two sweeps in a row find none.
async fn remove(lab: &str) -> Result<(), String> {
    let docker = docker_client_instance().await.map_err(|e| e.to_string())?;
    let deadline = Instant::now() + GONE_WITHIN;
    let mut clean = 0;
    loop {
        let left = match sweep(&docker, lab).await {
            Ok(0) => {
                clean += 1;
                0
            }
            Ok(left) => {
                clean = 0;
                left
            }
            Err(error) => return Err(error.to_string()),
        };
        if clean == 2 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("{left} of its things cannot be removed"));
        }
        sleep(STRAGGLERS).await;
    }
}

/// Tries to remove everything; returns how many objects there were.
async fn sweep(docker: &Docker, lab: &str) -> Result<usize, DockerError> {
    let filters = HashMap::from([("label", vec![format!("{LABEL}={lab}")])]);
    let list = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
    let ids = docker.list_containers(Some(list)).await?.into_iter().filter_map(|c| c.id);
    let ids: Vec<String> = ids.collect();
    let options = || RemoveContainerOptionsBuilder::new().force(true).v(true).build();
    // The next sweep finds those that could not be removed.
    join_all(ids.iter().map(|id| docker.remove_container(id, Some(options())))).await;
    let list = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = docker.list_networks(Some(list)).await?.into_iter().filter_map(|n| n.id);
    let networks: Vec<String> = networks.collect();
    join_all(networks.iter().map(|id| docker.remove_network(id))).await;
    let list = ListVolumesOptionsBuilder::new().filters(&filters).build();
    let volumes = docker.list_volumes(Some(list)).await?.volumes.unwrap_or_default();
    join_all(volumes.iter().map(|v| docker.remove_volume(&v.name, None::<RemoveVolumeOptions>)))
        .await;
    Ok(ids.len() + networks.len() + volumes.len())
}

/// The harness's end of a reaper. Dropping it makes the reaper begin.
#[derive(Debug)]
pub(crate) struct Reaper {
    lab: String,
    child: Child,
    pipe: ChildStdin,
}

impl Reaper {
    /// Starts a reaper for a new lab. `harness` is the program that has the `reap` command.
    pub(crate) fn start(harness: &Path, log: &Path) -> Result<Self> {
        let lab = format!("{:08x}", rand::rng().random::<u32>());
        let cannot = || format!("cannot start `{} reap`", harness.display());
        let log = OpenOptions::new().create(true).append(true).open(log).setup(cannot)?;
        let mut command = Command::new(harness);
        command.args(["reap", "--lab", &lab]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0);
        let mut child = command.spawn().setup(cannot)?;
        let pipe = child.stdin.take();
        let pipe = pipe.ok_or_else(|| Error::setup(format!("{}: it has no pipe", cannot())))?;
        Ok(Self { lab, child, pipe })
    }

    /// Returns the id of the lab.
    pub(crate) fn lab(&self) -> &str {
        &self.lab
    }

    /// Lets the reaper remove everything; reports whether all is gone.
    pub(crate) async fn finish(mut self) -> bool {
        drop(self.pipe);
        let limit = GONE_WITHIN + Duration::from_secs(10);
        let ended = tokio::time::timeout(limit, self.child.wait()).await;
        ended.is_ok_and(|status| status.is_ok_and(|status| status.success()))
    }
}
