//! The substrates of a lab: processes of this machine, containers, or machines that an outside
//! driver owns.
//!
//! Owns the machines of a run: their start, links, disks and end, on each kind of material. Does
//! not own what runs on them (`lab`), and when they break (`engine`).

pub(crate) mod container;
pub(crate) mod driver;
mod process;
mod links;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::NodeName;

use crate::error::{Error, Result};
use crate::lab::admin::Admin;
use crate::lab::disk;
use crate::lab::endpoint::Endpoint;
use crate::lab::link::{Broken, Conditions};
use crate::lab::process::{Launcher, Signal};
use crate::lab::s3::Kind;
use crate::lab::storage_manager::{Armed, Ended};
use crate::lab::tools::Tools;
use crate::scenario::{Capability, DamageStream, Program, Role, Scenario, Shift, Tier};

/// Returns the capabilities of the process substrate on this machine.
pub(crate) fn process_offers() -> BTreeSet<Capability> {
    let mut offers = BTreeSet::from([
        Capability::Processes,
        Capability::Links,
        Capability::S3Faults,
        Capability::Cluster,
        Capability::LeafNodes,
        Capability::Standby,
    ]);
    if disk::why_not().is_none() {
        offers.insert(Capability::DiskFull);
    }
    offers
}

/// Returns why the process substrate lacks a capability, if this machine is the reason.
pub(crate) fn why_processes_lack(what: Capability) -> Option<String> {
    match what {
        Capability::DiskFull => disk::why_not(),
        Capability::Clock => Some("processes have this machine's clock".into()),
        _ => None,
    }
}

/// The capabilities of the container substrate.
pub(crate) const CONTAINER_OFFERS: [Capability; 3] =
    [Capability::Processes, Capability::Links, Capability::S3Faults];

/// The machines of a lab.
#[derive(Debug)]
pub(crate) enum Machines {
    /// Directories, processes and proxies on this machine.
    Process(Box<process::Lab>),
    /// Volumes, containers and proxies.
    Container(Box<container::Lab>),
    /// Machines that an outside driver starts, cuts off and unplugs.
    Driver(Box<driver::Lab>),
}

/// Calls the same method of the lab, whatever its substrate.
macro_rules! each {
    ($self:expr, $lab:ident => $call:expr) => {
        match $self {
            Machines::Process($lab) => $call,
            Machines::Container($lab) => $call,
            Machines::Driver($lab) => $call,
        }
    };
}

impl Machines {
    pub(crate) async fn processes(
        scenario: &Scenario,
        launcher: Launcher,
        tools: Tools,
        disks: &Path,
        seed: u64,
        nas: Kind,
    ) -> Result<Self> {
        let lab = process::Lab::new(scenario, launcher, tools, disks, seed, nas).await?;
        Ok(Self::Process(Box::new(lab)))
    }

    /// Makes containers of the lab `lab`, the name by which a reaper knows it.
    pub(crate) async fn contained(
        scenario: &Scenario,
        engine: container::Engine,
        lab: &str,
        launcher: Launcher,
        disks: &Path,
        seed: u64,
    ) -> Result<Self> {
        let lab = container::Lab::new(scenario, engine, lab, launcher, disks, seed).await?;
        Ok(Self::Container(Box::new(lab)))
    }

    pub(crate) async fn driven(
        scenario: &Scenario,
        lab: driver::LabFile,
        driver: Arc<driver::Driver>,
    ) -> Result<Self> {
        Ok(Self::Driver(Box::new(driver::Lab::new(scenario, lab, driver).await?)))
    }

    pub(crate) fn role(&self, node: &NodeName) -> Role {
        each!(self, lab => lab.role(node))
    }

    /// Changes a link.
    pub(crate) fn set_link(&self, from: &NodeName, to: &NodeName, now: Conditions) -> Result<()> {
        each!(self, lab => lab.set_link(from, to, now))
    }

    /// Starts to boot machines that take a while, all at once.
    pub(crate) async fn switch_on(&mut self) -> Result<()> {
        match self {
            Self::Process(_) | Self::Container(_) => Ok(()),
            Self::Driver(lab) => lab.switch_on().await,
        }
    }

    /// Starts a program, or all of a node's that are not running.
    pub(crate) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        each!(self, lab => lab.start(node, program).await)
    }

    /// Sends a signal to programs that go on existing.
    pub(crate) async fn signal(
        &mut self,
        node: &NodeName,
        program: Option<Program>,
        signal: Signal,
    ) -> Result<()> {
        each!(self, lab => lab.signal(node, program, signal).await)
    }

    /// Kills programs, all at the same moment, and waits until they are gone.
    pub(crate) async fn kill(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        each!(self, lab => lab.kill(node, program).await)
    }

    /// Stops programs in an orderly way; the storage manager first, while NATS still answers it.
    pub(crate) async fn stop(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        each!(self, lab => lab.stop(node, program).await)
    }

    /// Cuts the power: data that was not synced to the disk is lost, the rest stays.
    pub(crate) async fn power_cut(&mut self, node: &NodeName) -> Result<()> {
        match self {
            // A scenario that needs it is skipped before anything starts.
            Self::Process(_) | Self::Container(_) => {
                Err(Error::step("processes and containers have no power to cut"))
            }
            Self::Driver(lab) => lab.power_cut(node).await,
        }
    }

    /// Sets a machine's clock.
    pub(crate) async fn step_clock(&mut self, node: &NodeName, by: Shift) -> Result<()> {
        match self {
            // A scenario that needs it is skipped before anything starts.
            Self::Process(_) | Self::Container(_) => {
                Err(Error::step("processes and containers have this machine's clock"))
            }
            Self::Driver(lab) => lab.step_clock(node, by).await,
        }
    }

    /// Damages a file of a stream and returns a description.
    pub(crate) async fn damage(&mut self, damage: &DamageStream) -> Result<String> {
        match self {
            Self::Process(lab) => lab.damage(damage),
            Self::Container(lab) => lab.damage(damage).await,
            Self::Driver(lab) => lab.damage(damage).await,
        }
    }

    /// Replaces the link from the operator to the host: what clients of the old one still have in
    /// their buffers never arrives.
    pub(crate) async fn replace_link(&mut self) -> Result<()> {
        each!(self, lab => lab.replace_link().await)
    }

    /// Kills everything on a node and deletes its disk.
    pub(crate) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        each!(self, lab => lab.destroy(node).await)
    }

    /// Makes a new machine: empty, with NATS or S3 running, but no storage manager yet.
    pub(crate) async fn replace(&mut self, node: &NodeName) -> Result<()> {
        each!(self, lab => lab.replace(node).await)
    }

    /// Runs a command of the storage manager on a host to its end, good or bad.
    pub(crate) async fn run_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
    ) -> Result<Ended> {
        each!(self, lab => lab.run_storage_manager(node, args).await)
    }

    /// Returns what a link broke on purpose so far.
    pub(crate) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        match self {
            Self::Process(lab) => lab.broken(from, to),
            Self::Container(lab) => lab.broken(from, to),
            Self::Driver(lab) => lab.broken(from, to),
        }
    }

    /// Returns the fault endpoint of a node's S3 service, if it runs and has one.
    pub(crate) fn admin(&self, node: &NodeName) -> Option<&Admin> {
        match self {
            Self::Process(lab) => lab.admin(node),
            Self::Container(lab) => lab.admin(node),
            // A scenario that needs it is skipped before anything starts.
            Self::Driver(_) => None,
        }
    }

    /// Fills a node's disk, but for `leave` bytes.
    pub(crate) fn fill_disk(&self, node: &NodeName, leave: u64) -> Result<()> {
        self.disk(node)?.fill(leave)
    }

    /// Frees the space again.
    pub(crate) fn free_disk(&self, node: &NodeName) -> Result<()> {
        self.disk(node)?.free()
    }

    fn disk(&self, node: &NodeName) -> Result<&disk::Disk> {
        let disk = match self {
            Self::Process(lab) => lab.sized_disk(node),
            // A scenario that needs it is skipped before anything starts.
            Self::Container(_) | Self::Driver(_) => None,
        };
        disk.ok_or_else(|| Error::step(format!("the disk of `{node}` has no size of its own")))
    }

    /// Kills the daemon of a host, and starts it to die at a fail point.
    pub(crate) async fn crash_at(
        &mut self,
        node: &NodeName,
        armed: Armed<'_>,
        within: Duration,
    ) -> Result<()> {
        match self {
            Self::Process(lab) => lab.crash_at(node, armed, within).await,
            Self::Container(_) | Self::Driver(_) => Err(no_fail_points()),
        }
    }

    /// Starts the storage manager of a host with its clock `days` further ahead.
    pub(crate) async fn age(&mut self, node: &NodeName, days: u32) -> Result<()> {
        match self {
            Self::Process(lab) => lab.age(node, days).await,
            Self::Container(_) | Self::Driver(_) => Err(no_fail_points()),
        }
    }

    /// Runs a command of the storage manager on a host, to die at a fail point.
    pub(crate) async fn crash_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
        armed: Armed<'_>,
        within: Duration,
    ) -> Result<()> {
        match self {
            Self::Process(lab) => lab.crash_storage_manager(node, args, armed, within).await,
            Self::Container(_) | Self::Driver(_) => Err(no_fail_points()),
        }
    }

    /// Fails if a program has ended by itself, as far as that can be seen from here.
    pub(crate) fn all_alive(&self) -> Result<()> {
        match self {
            Self::Process(lab) => lab.all_alive(),
            Self::Container(lab) => lab.all_alive(),
            Self::Driver(_) => Ok(()),
        }
    }

    /// Returns the direct address of NATS on the host, or on all running hosts of a cluster; for
    /// the oracle.
    pub(crate) fn nats(&self) -> Result<Endpoint> {
        each!(self, lab => lab.nats())
    }

    /// Returns the address of NATS on the host, or on all hosts of a cluster, through the
    /// operator's links.
    pub(crate) fn nats_through_link(&self) -> Endpoint {
        each!(self, lab => lab.nats_through_link())
    }

    /// Returns the direct address of NATS on a leaf node; for the oracle.
    pub(crate) fn leaf(&self, node: &NodeName) -> Result<Endpoint> {
        match self {
            Self::Process(lab) => lab.leaf(node),
            // A scenario that has one is skipped before anything starts.
            Self::Container(_) | Self::Driver(_) => Err(no_leaf_nodes()),
        }
    }

    /// Returns the address of NATS on a leaf node, through the operator's link.
    pub(crate) fn leaf_through_link(&self, node: &NodeName) -> Result<Endpoint> {
        match self {
            Self::Process(lab) => Ok(lab.leaf_through_link(node)),
            Self::Container(_) | Self::Driver(_) => Err(no_leaf_nodes()),
        }
    }

    /// Returns a tier's bucket, directly, or `None` if its service does not run.
    pub(crate) fn bucket(&self, tier: Tier) -> Result<Option<Box<::s3::Bucket>>> {
        each!(self, lab => lab.bucket(tier))
    }
}

/// Returns the names of the capabilities that a scenario needs and the substrate lacks; ascending.
pub(crate) fn lacking(scenario: &Scenario, offers: &BTreeSet<Capability>) -> Vec<String> {
    let lacking = scenario.needs().into_iter().filter(|need| !offers.contains(need));
    let mut names: Vec<_> = lacking.map(|need| need.to_string()).collect();
    names.sort();
    names
}

/// Returns the error of a step that needs fail points; such a scenario is skipped before anything
/// starts.
fn no_fail_points() -> Error {
    Error::step("the storage manager on machines and in containers has no fail points")
}

/// Returns the error of a step that needs leaf nodes, likewise.
fn no_leaf_nodes() -> Error {
    Error::step("there are no leaf nodes among machines and containers")
}
