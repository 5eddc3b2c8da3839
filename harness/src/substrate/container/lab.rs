//! A lab of containers: it does with containers and volumes what the process substrate does with
//! processes and directories.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_core::names::NodeName;
use futures_util::future::{join_all, try_join_all};

use super::super::links::{LinkTable, Use};
use super::disk;
use super::engine::Engine;
use super::network::Network;
use super::unit::{DISK, Spec, Unit};
use crate::error::{Context as _, Error, Result, make_dir, write_file};
use crate::lab::admin::Admin;
use crate::lab::endpoint::Endpoint;
use crate::lab::link::{Broken, Conditions};
use crate::lab::nats::{self, Joined, healthy};
use crate::lab::ports;
use crate::lab::process::{End, Launcher, Signal};
use crate::lab::s3::{self, Access, Kind};
use crate::lab::storage_manager::{Config, Ended};
use crate::lab::tools::Tool;
use crate::lab::wait::wait_until;
use crate::scenario::{DamageStream, Program, Role, Scenario, Tier, programs};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(30);
const BUCKET: &str = "cim-archive";
/// Ports inside of containers.
const NATS: u16 = 4222;
const MONITOR: u16 = 8222;
const S3: u16 = 9000;
const ADMIN: u16 = 9001;
/// Inside the container only: a new one does not have it.
const READY_FILE: &str = "/tmp/ready";

/// The machines and the links between them.
#[derive(Debug)]
pub(crate) struct Lab {
    network: Network,
    launcher: Launcher,
    /// The directory in which configurations are written before containers get them.
    disks: PathBuf,
    scenario: Scenario,
    nodes: BTreeMap<NodeName, Machine>,
    links: LinkTable,
    operator: NodeName,
    /// The seed of the services' random choices.
    seed: u64,
}

#[derive(Debug)]
struct Machine {
    role: Role,
    /// The number of machines that have stood in this place, this one included.
    generation: u32,
    /// True if this machine has its volume.
    has_disk: bool,
    units: BTreeMap<Program, Unit>,
    /// The ports of this machine that lead to its containers; kept when a program is started again.
    ports: Option<[SocketAddr; 2]>,
    /// The direct access to the S3 service; kept while it is down.
    access: Option<Access>,
    /// The service's fault endpoint, while it runs and if it has one.
    admin: Option<Admin>,
    runs: u32,
}

impl Lab {
    /// Makes machines that are off, and links without a target yet.
    pub(crate) async fn new(
        scenario: &Scenario,
        engine: Engine,
        lab: &str,
        launcher: Launcher,
        disks: &Path,
        seed: u64,
    ) -> Result<Self> {
        let operator = match scenario.node_of(Role::Operator) {
            Some(name) => name.clone(),
            None => NodeName::new("operator").setup(|| "a lab needs an operator".into())?,
        };
        let machines = scenario.nodes.iter().map(|(name, node)| {
            let machine = Machine {
                role: node.role,
                generation: 1,
                has_disk: false,
                units: BTreeMap::new(),
                ports: None,
                access: None,
                admin: None,
                runs: 0,
            };
            (name.clone(), machine)
        });
        let network = Network::make(engine, lab).await?;
        Ok(Self {
            links: LinkTable::open(scenario, &operator, network.gateway).await?,
            network,
            launcher,
            disks: disks.to_owned(),
            scenario: scenario.clone(),
            nodes: machines.collect(),
            operator,
            seed,
        })
    }

    /// Returns the host. There is one: clusters are not offered.
    fn host(&self) -> NodeName {
        self.scenario.node_of(Role::Host).expect("a checked scenario has a host").clone()
    }

    pub(crate) fn role(&self, node: &NodeName) -> Role {
        self.nodes[node].role
    }

    fn machine(&mut self, node: &NodeName) -> &mut Machine {
        self.nodes.get_mut(node).expect("a checked scenario names nodes that exist")
    }

    /// Returns the name of a machine, which its replacement does not share.
    fn name(&self, node: &NodeName) -> String {
        format!("{node}-{}", self.nodes[node].generation)
    }

    fn volume(&self, node: &NodeName) -> String {
        self.network.name_of(&self.name(node))
    }

    /// Returns the name of a program's container, which stays when the program is started again.
    fn container(&self, node: &NodeName, program: &str) -> String {
        self.network.name_of(&format!("{}-{program}", self.name(node)))
    }

    fn spec(&self, node: &NodeName, program: Tool, what: &str) -> Spec {
        Spec {
            name: self.container(node, what),
            program,
            args: Vec::new(),
            env: Vec::new(),
            volume: self.volume(node),
            ports: Vec::new(),
            files: Vec::new(),
            log: self.launcher.log_path(&format!("{}-{what}", self.name(node))),
            out: None,
        }
    }

    pub(crate) fn set_link(&self, from: &NodeName, to: &NodeName, now: Conditions) -> Result<()> {
        self.links.set(from, to, now)
    }

    pub(crate) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        self.links.broken(from, to)
    }

    pub(crate) fn admin(&self, node: &NodeName) -> Option<&Admin> {
        self.nodes[node].admin.as_ref()
    }

    pub(crate) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        let role = self.role(node);
        let wanted = programs(role).iter().filter(|p| program.is_none_or(|only| only == **p));
        for program in wanted {
            if self.nodes[node].units.contains_key(program) {
                continue;
            }
            if !self.nodes[node].has_disk {
                self.network.make_volume(&self.volume(node)).await?;
                self.machine(node).has_disk = true;
            }
            match program {
                Program::Nats => self.start_nats(node).await?,
                Program::S3 => self.start_s3(node).await?,
                Program::StorageManager => self.start_storage_manager(node).await?,
            }
        }
        Ok(())
    }

    /// Starts a container whose ports are `inside`, at the machine's ports or at new ones.
    async fn start_with_ports(
        &mut self,
        node: &NodeName,
        inside: [u16; 2],
        spec: impl Fn(&Self) -> Spec,
    ) -> Result<(Unit, [SocketAddr; 2])> {
        let mut last = Error::setup("nothing was tried");
        for _ in 0..ports::ATTEMPTS {
            let (kept, outside) = match self.nodes[node].ports {
                Some(ports) => (true, ports),
                None => (false, ports::free()?),
            };
            let mut spec = spec(self);
            spec.ports = outside.into_iter().zip(inside).collect();
            match Unit::start(&self.network, spec).await {
                Ok(unit) => {
                    self.machine(node).ports = Some(outside);
                    return Ok((unit, outside));
                }
                // Another program may have taken the port first.
                Err(error) if !kept && error.chain().contains("already") => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    async fn start_nats(&mut self, node: &NodeName) -> Result<()> {
        let options = nats::Options {
            name: format!("{}-nats", self.name(node)),
            server_name: node.to_string(),
            dir: self.disks.join(self.name(node)).join("nats"),
            port: None,
            sync_interval: self.scenario.nodes[node].sync_interval.clone(),
            joined: Joined::default(),
            extra: self.scenario.nodes[node].nats.clone(),
        };
        make_dir(&options.dir)?;
        let config = options.dir.join("nats.conf");
        let listen = format!("host: \"0.0.0.0\"\nport: {NATS}\nhttp: \"0.0.0.0:{MONITOR}\"");
        let store = Path::new(DISK).join("nats/jetstream");
        write_file(&config, options.config(&listen, &store))?;
        let (unit, [addr, monitor]) = self
            .start_with_ports(node, [NATS, MONITOR], |lab| {
                let mut spec = lab.spec(node, Tool::NatsServer, "nats");
                spec.args = vec!["--config".into(), config.display().to_string()];
                spec.files = vec![config.clone()];
                spec
            })
            .await?;
        // A server that could not recover a stream is unhealthy, but it has started.
        ready(&unit, async || healthy(monitor, "?js-server-only=true").await).await?;
        self.links.lead(node, Use::Client, Some(addr));
        self.machine(node).units.insert(Program::Nats, unit);
        Ok(())
    }

    async fn start_s3(&mut self, node: &NodeName) -> Result<()> {
        let machine = &self.nodes[node];
        let keys = machine.access.as_ref().map(|a| (a.access_key.clone(), a.secret_key.clone()));
        let kind = if machine.role == Role::Wasabi { Kind::FakeWasabi } else { Kind::Minio };
        let options = s3::Options {
            name: self.name(node),
            kind,
            dir: Path::new(DISK).join("s3"),
            bucket: BUCKET.into(),
            credentials: keys,
            seed: self.seed,
        };
        let mut access = options.access(SocketAddr::from(([127, 0, 0, 1], S3)));
        let (args, files) = match kind {
            Kind::FakeWasabi => {
                make_dir(&self.disks)?;
                let keys = self.disks.join(format!("{}.keys", self.name(node)));
                access.write_client_key(&keys)?;
                (fake_wasabi_args(&options, &keys), vec![keys])
            }
            // `ci/images` makes no other.
            _ => (minio_args(&options), Vec::new()),
        };
        let (unit, [addr, admin]) = self
            .start_with_ports(node, [S3, ADMIN], |lab| {
                let mut spec = lab.spec(node, kind.tool(), "s3");
                spec.args.clone_from(&args);
                spec.env = kind.env(&access);
                spec.files.clone_from(&files);
                spec
            })
            .await?;
        let access = access.via(addr);
        ready(&unit, async || access.make_bucket().await).await?;
        self.links.lead(node, Use::S3, Some(addr));
        let (name, client_key) = (unit.name().to_owned(), access.client_key.clone());
        let admin = Admin { name, addr: admin, client_key };
        let machine = self.machine(node);
        machine.admin = Some(admin).filter(|_| kind == Kind::FakeWasabi);
        machine.access = Some(access);
        machine.units.insert(Program::S3, unit);
        Ok(())
    }

    /// Writes the configuration of the storage manager on a host, with the current addresses.
    /// Returns all files, the configuration first.
    fn write_config(&self, node: &NodeName) -> Result<Vec<PathBuf>> {
        let tier = |role| {
            let to = self.scenario.node_of(role)?;
            let access = self.nodes[to].access.as_ref()?;
            Some(access.of_client().via(self.links.addr(node, to, Use::S3)))
        };
        let secondary = tier(Role::Nas)
            .ok_or_else(|| Error::step("the NAS has never been started".to_owned()))?;
        let config = Config {
            node: node.to_string(),
            nats_url: format!("nats://{}:{NATS}", self.container(node, "nats")),
            secondary,
            tertiary: tier(Role::Wasabi),
            overrides: self.scenario.storage_manager.clone(),
        };
        let dir = self.disks.join(self.name(node)).join("storage-manager");
        let mut files = vec![config.write(&dir)?];
        let keys = ["nas.env", "wasabi.env"].map(|name| dir.join(name));
        files.extend(keys.into_iter().filter(|path| path.exists()));
        Ok(files)
    }

    async fn start_storage_manager(&mut self, node: &NodeName) -> Result<()> {
        let files = self.write_config(node)?;
        let mut spec = self.spec(node, Tool::StorageManager, "storage-manager");
        let config = files[0].display().to_string();
        spec.args =
            ["tier", "--config", &config, "--ready-file", READY_FILE].map(Into::into).into();
        spec.files = files;
        let unit = Unit::start(&self.network, spec).await?;
        ready(&unit, async || {
            if unit.has(READY_FILE).await { Ok(()) } else { Err("it has no ready file".into()) }
        })
        .await?;
        self.machine(node).units.insert(Program::StorageManager, unit);
        Ok(())
    }

    /// Runs a command of the storage manager in a container of its own.
    pub(crate) async fn run_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
    ) -> Result<Ended> {
        let files = self.write_config(node)?;
        let machine = self.machine(node);
        machine.runs += 1;
        let command = args.first().copied().unwrap_or_default();
        let what = format!("{command}-{}", machine.runs);
        let mut spec = self.spec(node, Tool::StorageManager, &what);
        let out = spec.log.with_extension("out");
        spec.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        spec.args.extend(["--config".into(), files[0].display().to_string()]);
        spec.files = files;
        spec.out = Some(out.clone());
        // A command that prints nothing leaves an empty file.
        write_file(&out, "")?;
        let unit = Unit::start(&self.network, spec).await?;
        let (end, said) = (unit.wait().await, unit.last_log());
        let End::Exit(status) = end else {
            return Err(Error::step(format!(
                "`cim-storage-manager {command}` ended with {end}: {said}"
            )));
        };
        unit.remove().await?;
        let stdout = std::fs::read_to_string(&out);
        let stdout = stdout.step(|| format!("cannot read `{}`", out.display()))?;
        Ok(Ended { status, stdout, said, peak_rss: 0 })
    }

    /// Damages a file of a stream on a host's disk.
    pub(crate) async fn damage(&self, damage: &DamageStream) -> Result<String> {
        let node = &damage.node;
        if self.nodes[node].units.contains_key(&Program::Nats) {
            return Err(Error::step(format!("NATS runs on `{node}`: stop or kill it first")));
        }
        let streams = Path::new(DISK).join("nats/jetstream/jetstream/$G/streams");
        let work = self.disks.join("files");
        disk::damage(&self.network, &self.volume(node), &streams, damage, &work).await
    }

    /// Returns the running programs of a node, or one of them, in the order in which they start.
    fn running(&self, node: &NodeName, program: Option<Program>) -> Vec<&Unit> {
        let machine = &self.nodes[node];
        let wanted = programs(machine.role).iter();
        let wanted = wanted.filter(|p| program.is_none_or(|only| only == **p));
        wanted.filter_map(|p| machine.units.get(p)).collect()
    }

    pub(crate) async fn signal(
        &self,
        node: &NodeName,
        program: Option<Program>,
        signal: Signal,
    ) -> Result<()> {
        let units = self.running(node, program);
        for unit in &units {
            if let Some(end) = unit.ended() {
                let name = unit.name();
                return Err(Error::step(format!("`{name}` has ended by itself ({end})")));
            }
        }
        try_join_all(units.into_iter().map(|unit| unit.signal(signal))).await.map(drop)
    }

    pub(crate) async fn kill(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        self.signal(node, program, Signal::Kill).await?;
        join_all(self.running(node, program).into_iter().map(Unit::wait)).await;
        self.forget(node, program).await
    }

    pub(crate) async fn stop(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        for unit in self.running(node, program).into_iter().rev() {
            unit.signal(Signal::Term).await?;
            let name = unit.name();
            let ended = tokio::time::timeout(STOP_WITHIN, unit.wait()).await;
            match ended {
                // nats-server ends with 1 on SIGTERM.
                Ok(End::Exit(0 | 1) | End::Signal(15)) => {}
                Ok(end) => {
                    return Err(Error::step(format!("`{name}` ended with {end} on SIGTERM")));
                }
                Err(_) => {
                    let what = format!("`{name}` did not end within {STOP_WITHIN:?} of SIGTERM");
                    return Err(Error::step(what));
                }
            }
        }
        self.forget(node, program).await
    }

    /// Removes the containers of programs that have ended.
    async fn forget(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        let units = std::mem::take(&mut self.machine(node).units);
        let (ended, kept) =
            units.into_iter().partition(|(which, _)| program.is_none_or(|only| only == *which));
        self.machine(node).units = kept;
        let ended: BTreeMap<Program, Unit> = ended;
        if ended.contains_key(&Program::S3) {
            self.machine(node).admin = None;
        }
        try_join_all(ended.into_values().map(Unit::remove)).await.map(drop)
    }

    pub(crate) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        self.kill(node, None).await?;
        for which in [Use::Client, Use::S3] {
            self.links.lead(node, which, None);
        }
        if self.role(node) == Role::Host {
            self.replace_link().await?;
        }
        self.machine(node).has_disk = false;
        self.network.remove_volume(&self.volume(node)).await
    }

    /// Gives publishers and consumers another address for the same host; see the process substrate.
    pub(crate) async fn replace_link(&mut self) -> Result<()> {
        let host = self.host();
        let machine = &self.nodes[&host];
        let nats = machine.ports.filter(|_| machine.units.contains_key(&Program::Nats));
        self.links.renew(&self.operator, &host, Use::Client, nats.map(|[addr, _]| addr)).await
    }

    /// Makes a new machine: empty, with NATS or S3 running, but no storage manager yet.
    pub(crate) async fn replace(&mut self, node: &NodeName) -> Result<()> {
        let machine = self.machine(node);
        machine.generation += 1;
        machine.ports = None;
        match machine.role {
            Role::Host => self.start(node, Some(Program::Nats)).await,
            Role::Nas | Role::Wasabi => self.start(node, Some(Program::S3)).await,
            Role::Leaf | Role::Standby | Role::Operator => Ok(()),
        }
    }

    pub(crate) fn all_alive(&self) -> Result<()> {
        for unit in self.nodes.values().flat_map(|machine| machine.units.values()) {
            if let Some(end) = unit.ended() {
                let (name, log) = (unit.name(), unit.last_log());
                return Err(Error::step(format!("`{name}` has ended by itself ({end}): {log}")));
            }
        }
        Ok(())
    }

    pub(crate) fn nats(&self) -> Result<Endpoint> {
        let host = &self.nodes[&self.host()];
        match (host.units.contains_key(&Program::Nats), host.ports) {
            (true, Some([addr, _])) => Ok((&format!("nats://{addr}")).into()),
            _ => Err(Error::step("NATS does not run on the host")),
        }
    }

    pub(crate) fn nats_through_link(&self) -> Endpoint {
        let addr = self.links.addr(&self.operator, &self.host(), Use::Client);
        (&format!("nats://{addr}")).into()
    }

    pub(crate) fn bucket(&self, tier: Tier) -> Result<Option<Box<::s3::Bucket>>> {
        let role = if tier == Tier::Nas { Role::Nas } else { Role::Wasabi };
        let machine = self.scenario.node_of(role).map(|node| &self.nodes[node]);
        let machine = machine.filter(|machine| machine.units.contains_key(&Program::S3));
        machine.and_then(|machine| machine.access.as_ref()).map(Access::client).transpose()
    }
}

/// Waits until a program answers; if it ends instead, returns the reason.
async fn ready(unit: &Unit, mut answers: impl AsyncFnMut() -> Result<(), String>) -> Result<()> {
    let what = format!("the start of `{}`", unit.name());
    let ready = wait_until(&what, READY_WITHIN, async || match unit.ended() {
        Some(end) => Ok(Err(end)),
        None => answers().await.map(Ok),
    });
    match ready.await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(end)) => Err(unit.failed(&end)),
        Err(error) => Err(Error::setup(format!("{error}: {}", unit.last_log()))),
    }
}

fn minio_args(options: &s3::Options) -> Vec<String> {
    let dir = options.dir.display().to_string();
    let [address, console] = [S3, ADMIN].map(|port| format!(":{port}"));
    ["server", "--address", &address, "--console-address", &console, &dir].map(Into::into).into()
}

fn fake_wasabi_args(options: &s3::Options, keys: &Path) -> Vec<String> {
    let (dir, keys) = (options.dir.display().to_string(), keys.display().to_string());
    let [listen, admin] = [S3, ADMIN].map(|port| format!("0.0.0.0:{port}"));
    // Without the flag it refuses to serve on addresses other than loopback.
    let mut args: Vec<String> = vec!["serve".into(), "--i-know-this-is-a-fake".into()];
    for (flag, value) in [
        ("--dir", dir.as_str()),
        ("--listen", &listen),
        ("--admin-listen", &admin),
        ("--region", options.kind.region()),
        ("--create-bucket", &options.bucket),
        ("--seed", &options.seed.to_string()),
        ("--credentials-file", &keys),
    ] {
        args.extend([flag.into(), value.into()]);
    }
    args
}
