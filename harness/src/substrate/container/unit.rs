//! A program in a container.

use std::io::Write as _;
use std::mem::ManuallyDrop;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error as DockerError;
use testcontainers::bollard::models::PortBinding;
use testcontainers::bollard::query_parameters::{
    ContainerArchiveInfoOptionsBuilder, InspectContainerOptions, KillContainerOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions,
};
use testcontainers::core::{IntoContainerPort as _, Mount};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, CopyTargetOptions, GenericImage, ImageExt as _};
use tokio::sync::watch;

use super::network::Network;
use crate::error::{Context as _, Error, Result};
use crate::lab::process::{End, Signal, last_lines};
use crate::lab::tools::Tool;

/// The path of a machine's disk in its containers.
pub(super) const DISK: &str = "/disk";
const STARTED_WITHIN: Duration = Duration::from_secs(60);
/// The last output of a program may arrive a little after its end.
const LOG_WITHIN: Duration = Duration::from_secs(2);

/// A container to start.
#[derive(Debug)]
pub(super) struct Spec {
    /// The name of the container and in the network's DNS.
    pub(super) name: String,
    pub(super) program: Tool,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// The volume that is the machine's disk.
    pub(super) volume: String,
    /// Ports on this machine, and the container's ports that they lead to.
    pub(super) ports: Vec<(SocketAddr, u16)>,
    /// Files of this machine that the container has at the same path.
    pub(super) files: Vec<PathBuf>,
    /// The path of its log.
    pub(super) log: PathBuf,
    /// A file of its own for stdout; without it stdout goes to the log.
    pub(super) out: Option<PathBuf>,
}

/// A started program.
#[derive(Debug)]
pub(super) struct Unit {
    name: String,
    /// Never dropped: testcontainers would remove the containers one after the other, and the
    /// reaper is faster.
    container: ManuallyDrop<ContainerAsync<GenericImage>>,
    docker: Docker,
    log: PathBuf,
    end: watch::Receiver<Option<End>>,
}

impl Unit {
    pub(super) async fn start(network: &Network, spec: Spec) -> Result<Self> {
        let docker = &network.engine.docker;
        let image = network.engine.image(spec.program)?;
        let mut image = GenericImage::new(image.name.clone(), image.tag.clone());
        for (_, port) in &spec.ports {
            image = image.with_exposed_port(port.tcp());
        }
        // On loopback alone: testcontainers would publish on all addresses.
        let bindings = spec.ports.iter().map(|(addr, port)| {
            let (host_ip, host_port) = (addr.ip().to_string(), addr.port().to_string());
            let binding = PortBinding { host_ip: Some(host_ip), host_port: Some(host_port) };
            (format!("{port}/tcp"), Some(vec![binding]))
        });
        let bindings: std::collections::HashMap<_, _> = bindings.collect();
        let mut request = image
            .with_container_name(&spec.name)
            .with_network(network.name())
            .with_labels(network.labels())
            .with_mount(Mount::volume_mount(&spec.volume, DISK))
            .with_cmd(&spec.args)
            .with_startup_timeout(STARTED_WITHIN)
            .with_host_config_modifier(move |host| {
                host.publish_all_ports = Some(false);
                host.port_bindings = Some(bindings.clone());
                // By default a query for the name of a container that is down waits five seconds,
                // and as long after the container is up again.
                host.dns_options = Some(vec!["timeout:1".to_owned(), "attempts:1".to_owned()]);
            });
        for (name, value) in &spec.env {
            request = request.with_env_var(name, value);
        }
        for path in &spec.files {
            // Keys are among them.
            let target = CopyTargetOptions::new(path.display().to_string()).with_mode(0o600);
            request = request.with_copy_to(target, path.as_path());
        }
        let container = match request.start().await {
            Ok(container) => container,
            Err(error) => {
                // The container may exist already, and its name is needed again.
                let force = RemoveContainerOptionsBuilder::new().force(true).build();
                drop(docker.remove_container(&spec.name, Some(force)).await);
                return Err(error).setup(|| format!("cannot start `{}`", spec.name));
            }
        };
        let (sender, end) = watch::channel(None);
        let (id, log) = (container.id().to_owned(), spec.log.clone());
        let engine = docker.clone();
        tokio::spawn(async move {
            let follow = follow(&engine, &id, &spec.log, spec.out.as_deref());
            let mut follow = std::pin::pin!(follow);
            let mut followed = false;
            let ended = end_of(&engine, &id);
            let mut ended = std::pin::pin!(ended);
            let end = loop {
                tokio::select! {
                    end = &mut ended => break end,
                    () = &mut follow, if !followed => followed = true,
                }
            };
            if !followed {
                drop(tokio::time::timeout(LOG_WITHIN, follow).await);
            }
            sender.send_replace(Some(end));
        });
        let container = ManuallyDrop::new(container);
        Ok(Self { name: spec.name, container, docker: docker.clone(), log, end })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ended(&self) -> Option<End> {
        self.end.borrow().clone()
    }

    pub(super) async fn wait(&self) -> End {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        ended.ok().and_then(|end| end.clone()).unwrap_or(End::Lost)
    }

    /// Sends a signal; instead of SIGSTOP the kernel's freezer pauses the container.
    pub(super) async fn signal(&self, signal: Signal) -> Result<()> {
        let name = &self.name;
        let kill = async |signal| {
            let options = KillContainerOptionsBuilder::new().signal(signal).build();
            self.docker.kill_container(self.container.id(), Some(options)).await
        };
        match signal {
            Signal::Kill => kill("KILL").await.step(|| format!("cannot kill `{name}`")),
            Signal::Term => kill("TERM").await.step(|| format!("cannot stop `{name}`")),
            Signal::Stop => self.container.pause().await.step(|| format!("cannot pause `{name}`")),
            Signal::Continue => {
                self.container.unpause().await.step(|| format!("cannot continue `{name}`"))
            }
        }
    }

    /// Removes the container of a program that has ended.
    pub(super) async fn remove(self) -> Result<()> {
        let name = self.name;
        ManuallyDrop::into_inner(self.container)
            .rm()
            .await
            .step(|| format!("cannot remove `{name}`"))
    }

    /// Reports whether the container has a file at `path`.
    pub(super) async fn has(&self, path: &str) -> bool {
        let options = ContainerArchiveInfoOptionsBuilder::new().path(path).build();
        self.docker.get_container_archive_info(self.container.id(), Some(options)).await.is_ok()
    }

    /// Returns the log's last two lines, joined on one line, for an error message.
    pub(super) fn last_log(&self) -> String {
        last_lines(&self.log)
    }

    /// Returns an error with its end and the last lines of its log.
    pub(super) fn failed(&self, end: &End) -> Error {
        Error::setup(format!("`{}` ended at once ({end}): {}", self.name, self.last_log()))
    }
}

/// Writes a container's output into files until it has ended.
async fn follow(docker: &Docker, id: &str, log: &Path, out: Option<&Path>) {
    let options = LogsOptionsBuilder::new().follow(true).stdout(true).stderr(true).build();
    let mut said = std::pin::pin!(docker.logs(id, Some(options)));
    while let Some(Ok(piece)) = said.next().await {
        let path = match &piece {
            LogOutput::StdOut { .. } => out.unwrap_or(log),
            _ => log,
        };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        // A log that cannot be written is no reason to end the run.
        drop(file.and_then(|mut file| file.write_all(&piece.into_bytes())));
    }
}

/// Waits for a container's end.
async fn end_of(docker: &Docker, id: &str) -> End {
    let mut ends = std::pin::pin!(docker.wait_container(id, None::<WaitContainerOptions>));
    match ends.next().await {
        Some(Ok(answer)) => return end(answer.status_code),
        Some(Err(DockerError::DockerContainerWaitError { code, .. })) => return end(code),
        _ => {}
    }
    // The engine sends no more, or does not answer any more.
    let inspected = docker.inspect_container(id, None::<InspectContainerOptions>).await;
    let state = inspected.ok().and_then(|c| c.state).filter(|s| s.running != Some(true));
    state.and_then(|s| s.exit_code).map_or(End::Lost, end)
}

/// Converts an exit status as a shell does: a status above 128 is a signal.
fn end(code: i64) -> End {
    let code = i32::try_from(code).unwrap_or(-1);
    if code > 128 { End::Signal(code - 128) } else { End::Exit(code) }
}
