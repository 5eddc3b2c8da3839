//! The machines of a lab on the process substrate: directories, processes and links between them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_core::names::NodeName;

use super::links::{LinkTable, Use};
use crate::error::{Context as _, Error, Result};
use crate::lab::admin::Admin;
use crate::lab::blocks;
use crate::lab::disk::Disk;
use crate::lab::endpoint::Endpoint;
use crate::lab::link::{Broken, Conditions};
use crate::lab::nats::{self, Joined, Nats};
use crate::lab::process::{End, Launcher, Process, Signal};
use crate::lab::s3::{self, Access, Kind, Service};
use crate::lab::storage_manager::{self, Armed, Config, Ended};
use crate::lab::tools::Tools;
use crate::scenario::{DamageStream, Program, Role, Scenario, Tier, programs};

const STOP_WITHIN: Duration = Duration::from_secs(30);
const BUCKET: &str = "cim-archive";
/// An election takes a cluster up to nine seconds, and a busy machine may need a second one.
const IN_STEP_WITHIN: Duration = Duration::from_secs(60);
/// The domain of the host's JetStream in labs with leaf nodes, which have their own names.
const DOMAIN: &str = "hub";

/// The machines and the links between them.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) launcher: Launcher,
    pub(crate) tools: Tools,
    disks: PathBuf,
    /// The seed of the services' random choices.
    seed: u64,
    /// The program that serves S3 on the NAS.
    nas: Kind,
    scenario: Scenario,
    nodes: BTreeMap<NodeName, Machine>,
    links: LinkTable,
    operator: NodeName,
    /// The number of days that the storage managers' clocks are ahead.
    days_ahead: u32,
}

#[derive(Debug)]
struct Machine {
    role: Role,
    /// The number of machines that have stood in this place, this one included.
    generation: u32,
    /// Its disk, if that has a size; without one the disk is a directory like any other.
    disk: Option<Disk>,
    nats: Option<Nats>,
    /// The port that clients know; kept when the server is started again on the same machine.
    nats_port: Option<u16>,
    s3: Option<Service>,
    /// The direct access to the service; kept while it is down.
    access: Option<Access>,
    storage_manager: Option<Process>,
    runs: u32,
}

impl Lab {
    /// Makes machines that are off, and links without a target yet.
    pub(crate) async fn new(
        scenario: &Scenario,
        launcher: Launcher,
        tools: Tools,
        disks: &Path,
        seed: u64,
        nas: Kind,
    ) -> Result<Self> {
        let operator = match scenario.node_of(Role::Operator) {
            Some(name) => name.clone(),
            None => NodeName::new("operator").setup(|| "a lab needs an operator".into())?,
        };
        let machines = scenario.nodes.iter().map(|(name, node)| {
            let machine = Machine {
                role: node.role,
                generation: 1,
                disk: None,
                nats: None,
                nats_port: None,
                s3: None,
                access: None,
                storage_manager: None,
                runs: 0,
            };
            (name.clone(), machine)
        });
        let mut lab = Self {
            launcher,
            tools,
            disks: disks.to_owned(),
            seed,
            nas,
            scenario: scenario.clone(),
            nodes: machines.collect(),
            links: LinkTable::open(scenario, &operator, Ipv4Addr::LOCALHOST.into()).await?,
            operator,
            days_ahead: 0,
        };
        for name in scenario.nodes.keys() {
            lab.insert_disk(name)?;
        }
        Ok(lab)
    }

    pub(crate) fn role(&self, node: &NodeName) -> Role {
        self.nodes[node].role
    }

    fn machine(&mut self, node: &NodeName) -> &mut Machine {
        self.nodes.get_mut(node).expect("a checked scenario names nodes that exist")
    }

    fn disk(&self, node: &NodeName) -> PathBuf {
        self.disks.join(format!("{node}-{}", self.nodes[node].generation))
    }

    /// Mounts a new disk for a machine, if the scenario gives it a size.
    fn insert_disk(&mut self, node: &NodeName) -> Result<()> {
        if let Some(size) = self.scenario.nodes[node].disk {
            let disk = Disk::mount(&self.disk(node), size.bytes())?;
            self.machine(node).disk = Some(disk);
        }
        Ok(())
    }

    /// Returns the node's disk, if it has one of a size.
    pub(crate) fn sized_disk(&self, node: &NodeName) -> Option<&Disk> {
        self.nodes[node].disk.as_ref()
    }

    /// Changes a link.
    pub(crate) fn set_link(&self, from: &NodeName, to: &NodeName, now: Conditions) -> Result<()> {
        self.links.set(from, to, now)
    }

    fn hosts(&self) -> impl Iterator<Item = &NodeName> {
        self.scenario.nodes_of(Role::Host)
    }

    /// Reports whether a majority of the hosts runs NATS.
    fn majority(&self) -> bool {
        let running = self.hosts().filter(|host| self.nodes[*host].nats.is_some()).count();
        running * 2 > self.hosts().count()
    }

    /// Returns what a link broke on purpose so far; zeros if there is no such link.
    pub(crate) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        self.links.broken(from, to)
    }

    /// Returns the fault endpoint of a node's S3 service, if it runs and has one.
    pub(crate) fn admin(&self, node: &NodeName) -> Option<&Admin> {
        self.nodes[node].s3.as_ref()?.admin.as_ref()
    }

    /// Starts a program, or all of a node's that are not running.
    pub(crate) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        let role = self.role(node);
        let wanted = programs(role).iter().filter(|p| program.is_none_or(|only| only == **p));
        for program in wanted {
            match program {
                Program::Nats => self.start_nats(node).await?,
                Program::S3 => self.start_s3(node).await?,
                Program::StorageManager => self.start_storage_manager(node).await?,
            }
        }
        Ok(())
    }

    async fn start_nats(&mut self, node: &NodeName) -> Result<()> {
        let machine = &self.nodes[node];
        let options = nats::Options {
            name: format!("{node}-{}-nats", machine.generation),
            server_name: node.to_string(),
            dir: self.disk(node).join("nats"),
            port: machine.nats_port,
            sync_interval: self.scenario.nodes[node].sync_interval.clone(),
            joined: self.joined(node),
            extra: self.scenario.nodes[node].nats.clone(),
        };
        let nats = Nats::start(&self.launcher, &self.tools, &options).await?;
        self.links.lead(node, Use::Client, Some(nats.addr));
        self.links.lead(node, Use::Route, nats.routes);
        self.links.lead(node, Use::LeafNode, nats.leaf_nodes);
        let machine = self.machine(node);
        machine.nats_port = Some(nats.addr.port());
        machine.nats = Some(nats);
        // Servers with empty disks elect a leader only when all of them run.
        let whole = self.hosts().all(|host| self.nodes[host].nats.is_some());
        if self.scenario.clustered() && self.role(node) == Role::Host && whole {
            for host in self.hosts() {
                if let Some(nats) = &self.nodes[host].nats {
                    nats.in_step(IN_STEP_WITHIN).await?;
                }
            }
        }
        Ok(())
    }

    fn joined(&self, node: &NodeName) -> Joined {
        let to_hosts = |which| self.hosts().map(|to| self.links.addr(node, to, which)).collect();
        let with_leaves = self.scenario.node_of(Role::Leaf).is_some();
        match self.role(node) {
            Role::Host if self.scenario.clustered() => Joined {
                routes: to_hosts(Use::Route),
                hearsay: Some(self.links.nowhere()),
                domain: with_leaves.then(|| DOMAIN.into()),
                hub: with_leaves,
                ..Joined::default()
            },
            Role::Host => Joined {
                domain: with_leaves.then(|| DOMAIN.into()),
                hub: with_leaves,
                ..Joined::default()
            },
            Role::Leaf => Joined {
                domain: Some(node.to_string()),
                remotes: to_hosts(Use::LeafNode),
                ..Joined::default()
            },
            _ => Joined::default(),
        }
    }

    async fn start_s3(&mut self, node: &NodeName) -> Result<()> {
        let machine = &self.nodes[node];
        let keys = machine.access.as_ref().map(|a| (a.access_key.clone(), a.secret_key.clone()));
        let options = s3::Options {
            name: format!("{node}-{}-s3", machine.generation),
            kind: if machine.role == Role::Wasabi { Kind::FakeWasabi } else { self.nas },
            dir: self.disk(node).join("s3"),
            bucket: BUCKET.into(),
            credentials: keys,
            seed: self.seed,
        };
        let service = Service::start(&self.launcher, &self.tools, &options).await?;
        self.links.lead(node, Use::S3, Some(service.access.addr));
        let machine = self.machine(node);
        machine.access = Some(service.access.clone());
        machine.s3 = Some(service);
        Ok(())
    }

    /// Writes the configuration of the storage manager on a host, with the current addresses.
    pub(crate) fn write_config(&self, node: &NodeName) -> Result<PathBuf> {
        // Its own server first, then the others of the cluster.
        let own = self.nodes[node].nats.as_ref().map(Nats::url);
        let others = self.hosts().filter(|host| *host != node);
        let others =
            others.map(|host| format!("nats://{}", self.links.addr(node, host, Use::Client)));
        let servers: Vec<_> = own.into_iter().chain(others).collect();
        if servers.is_empty() {
            return Err(Error::step(format!("NATS does not run on `{node}`")));
        }
        let tier = |role| {
            let to = self.scenario.node_of(role)?;
            let access = self.nodes[to].access.as_ref()?;
            Some(access.of_client().via(self.links.addr(node, to, Use::S3)))
        };
        let secondary = tier(Role::Nas)
            .ok_or_else(|| Error::step("the NAS has never been started".to_owned()))?;
        let config = Config {
            node: node.to_string(),
            nats_url: servers.join(","),
            secondary,
            tertiary: tier(Role::Wasabi),
            overrides: self.scenario.storage_manager.clone(),
        };
        config.write(&self.disk(node).join("storage-manager"))
    }

    async fn start_storage_manager(&mut self, node: &NodeName) -> Result<()> {
        let config = self.write_config(node)?;
        let name = format!("{node}-{}-storage-manager", self.nodes[node].generation);
        let ahead = self.days_ahead;
        let process =
            storage_manager::start_ahead(&self.launcher, &self.tools, &name, &config, ahead)
                .await?;
        self.machine(node).storage_manager = Some(process);
        Ok(())
    }

    /// Runs a command of the storage manager on a host.
    pub(crate) async fn run_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
    ) -> Result<Ended> {
        let config = self.write_config(node)?;
        let name = self.name_of_run(node, args);
        storage_manager::attempt(&self.launcher, &self.tools, &name, args, &config).await
    }

    /// Stops the daemon of a host in an orderly way, and starts it with its clock `days` further
    /// ahead.
    pub(crate) async fn age(&mut self, node: &NodeName, days: u32) -> Result<()> {
        self.stop(node, Some(Program::StorageManager)).await?;
        self.days_ahead += days;
        self.start_storage_manager(node).await
    }

    /// Kills the daemon of a host, and starts it to die at a fail point.
    pub(crate) async fn crash_at(
        &mut self,
        node: &NodeName,
        armed: Armed<'_>,
        within: Duration,
    ) -> Result<()> {
        self.kill(node, Some(Program::StorageManager)).await?;
        let name = format!("{node}-{}-storage-manager", self.nodes[node].generation);
        let config = self.write_config(node)?;
        let command = (&["tier"][..], config.as_path());
        storage_manager::crash(&self.launcher, &self.tools, &name, command, armed, within).await
    }

    /// Runs a command of the storage manager on a host, to die at a fail point.
    pub(crate) async fn crash_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
        armed: Armed<'_>,
        within: Duration,
    ) -> Result<()> {
        let name = self.name_of_run(node, args);
        let config = self.write_config(node)?;
        let command = (args, config.as_path());
        storage_manager::crash(&self.launcher, &self.tools, &name, command, armed, within).await
    }

    /// Returns a unique name for a command that is run on a host.
    fn name_of_run(&mut self, node: &NodeName, args: &[&str]) -> String {
        let machine = self.machine(node);
        machine.runs += 1;
        let command = args.first().copied().unwrap_or_default();
        format!("{node}-{}-{command}-{}", machine.generation, machine.runs)
    }

    /// Returns the running programs of a node, or one of them.
    fn running(&self, node: &NodeName, program: Option<Program>) -> Vec<&Process> {
        let machine = &self.nodes[node];
        let all = [
            (Program::Nats, machine.nats.as_ref().map(|n| &n.process)),
            (Program::S3, machine.s3.as_ref().map(|s| &s.process)),
            (Program::StorageManager, machine.storage_manager.as_ref()),
        ];
        let wanted = all.into_iter().filter(|(p, _)| program.is_none_or(|only| only == *p));
        wanted.filter_map(|(_, process)| process).collect()
    }

    /// Sends a signal to programs that go on existing.
    pub(crate) async fn signal(
        &self,
        node: &NodeName,
        program: Option<Program>,
        signal: Signal,
    ) -> Result<()> {
        for process in self.running(node, program) {
            if let Some(end) = process.ended() {
                let name = process.name();
                return Err(Error::step(format!("`{name}` has ended by itself ({end})")));
            }
            process.signal(signal).await;
        }
        Ok(())
    }

    /// Kills programs, all at the same moment, and waits until they are gone.
    pub(crate) async fn kill(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        self.signal(node, program, Signal::Kill).await?;
        for process in self.running(node, program) {
            process.wait().await;
        }
        self.forget(node, program);
        Ok(())
    }

    /// Stops programs in an orderly way; the storage manager first, while NATS still answers it.
    pub(crate) async fn stop(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        for process in self.running(node, program).into_iter().rev() {
            match process.stop(STOP_WITHIN).await {
                // nats-server ends with 1 on SIGTERM.
                End::Exit(0 | 1) | End::Signal(15) => {}
                end => {
                    let name = process.name();
                    return Err(Error::step(format!("`{name}` ended with {end} on SIGTERM")));
                }
            }
        }
        self.forget(node, program);
        Ok(())
    }

    fn forget(&mut self, node: &NodeName, program: Option<Program>) {
        let is = |which| program.is_none_or(|only| only == which);
        let (nats, s3, storage_manager) =
            (is(Program::Nats), is(Program::S3), is(Program::StorageManager));
        let machine = self.machine(node);
        if nats {
            machine.nats = None;
        }
        if s3 {
            machine.s3 = None;
        }
        if storage_manager {
            machine.storage_manager = None;
        }
    }

    /// Kills everything on a node and deletes its disk.
    pub(crate) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        self.kill(node, None).await?;
        for which in [Use::Client, Use::Route, Use::LeafNode, Use::S3] {
            self.links.lead(node, which, None);
        }
        if self.role(node) == Role::Host && !self.majority() {
            self.new_ways_to_hosts().await?;
        }
        self.machine(node).disk = None;
        let disk = self.disk(node);
        std::fs::remove_dir_all(&disk).step(|| format!("cannot delete `{}`", disk.display()))
    }

    /// Damages a file of a stream on a host's disk.
    pub(crate) fn damage(&self, damage: &DamageStream) -> Result<String> {
        let node = &damage.node;
        if self.nodes[node].nats.is_some() {
            return Err(Error::step(format!("NATS runs on `{node}`: stop or kill it first")));
        }
        let streams = self.disk(node).join("nats/jetstream/jetstream/$G/streams");
        blocks::damage(&streams.join(damage.stream.as_str()), damage)
    }

    /// Gives publishers and consumers another address for the same host.
    pub(crate) async fn replace_link(&mut self) -> Result<()> {
        self.new_ways_to_hosts().await
    }

    /// Replaces the links from the operator to the hosts. Otherwise a client of the old hosts that
    /// still has publishes in its buffer would reconnect and flush them into the stream that is
    /// restored.
    async fn new_ways_to_hosts(&mut self) -> Result<()> {
        let hosts: Vec<_> = self.hosts().cloned().collect();
        for host in hosts {
            let target = self.nodes[&host].nats.as_ref().map(|nats| nats.addr);
            self.links.renew(&self.operator, &host, Use::Client, target).await?;
        }
        Ok(())
    }

    /// Makes a new machine: empty, with NATS or S3 running, but no storage manager yet.
    pub(crate) async fn replace(&mut self, node: &NodeName) -> Result<()> {
        let machine = self.machine(node);
        machine.generation += 1;
        machine.nats_port = None;
        let role = machine.role;
        self.insert_disk(node)?;
        match role {
            Role::Host | Role::Leaf => self.start_nats(node).await,
            Role::Nas | Role::Wasabi => self.start_s3(node).await,
            Role::Standby | Role::Operator => Ok(()),
        }
    }

    /// Fails if a program has ended by itself.
    pub(crate) fn all_alive(&self) -> Result<()> {
        for node in self.nodes.keys() {
            for process in self.running(node, None) {
                if let Some(end) = process.ended() {
                    let (name, log) = (process.name(), process.last_log());
                    return Err(Error::step(format!(
                        "`{name}` has ended by itself ({end}): {log}"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Returns the direct address of NATS on the host, or on all running hosts of a cluster; for
    /// the oracle.
    pub(crate) fn nats(&self) -> Result<Endpoint> {
        let running = self.hosts().filter_map(|host| self.nodes[host].nats.as_ref());
        let urls: Vec<_> = running.map(Nats::url).collect();
        if urls.is_empty() {
            return Err(Error::step("NATS does not run on the host"));
        }
        Ok((&urls.join(",")).into())
    }

    /// Returns the address of NATS on the host, or on all hosts of a cluster, through the
    /// operator's links.
    pub(crate) fn nats_through_link(&self) -> Endpoint {
        let ways = self.hosts().map(|host| self.links.addr(&self.operator, host, Use::Client));
        let urls: Vec<_> = ways.map(|addr| format!("nats://{addr}")).collect();
        (&urls.join(",")).into()
    }

    /// Returns the direct address of NATS on a leaf node; for the oracle.
    pub(crate) fn leaf(&self, node: &NodeName) -> Result<Endpoint> {
        let nats = self.nodes[node].nats.as_ref();
        let nats = nats.ok_or_else(|| Error::step(format!("NATS does not run on `{node}`")))?;
        Ok((&nats.url()).into())
    }

    /// Returns the address of NATS on a leaf node, through the operator's link.
    pub(crate) fn leaf_through_link(&self, node: &NodeName) -> Endpoint {
        (&format!("nats://{}", self.links.addr(&self.operator, node, Use::Client))).into()
    }

    /// Returns a tier's bucket, directly, or `None` if its service does not run.
    pub(crate) fn bucket(&self, tier: Tier) -> Result<Option<Box<::s3::Bucket>>> {
        let role = if tier == Tier::Nas { Role::Nas } else { Role::Wasabi };
        let service = self.scenario.node_of(role).and_then(|n| self.nodes[n].s3.as_ref());
        service.map(|service| service.access.client()).transpose()
    }
}
