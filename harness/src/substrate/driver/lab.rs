//! A lab of machines that a driver owns: it does with requests and `systemctl` what the process
//! substrate does with processes.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::NodeName;
use serde_json::Value;

use super::protocol::{Disk, LabFile, LabNode, Op, Outcome, S3};
use super::server::Driver;
use super::{damage, overrides};
use crate::error::{Context as _, Error, Result};
use crate::lab::endpoint::Endpoint;
use crate::lab::link::{Broken, Conditions, Link};
use crate::lab::process::Signal;
use crate::lab::storage_manager::{Ended, settings};
use crate::lab::wait::wait_until;
use crate::oracle::wire::Wire;
use crate::scenario::{DamageStream, Program, Role, Scenario, Shift, Tier, programs};

/// Emulated machines are slow, and so are their services.
const BOOT: Duration = Duration::from_secs(600);
const READY: Duration = Duration::from_secs(300);
const SWITCH: Duration = Duration::from_secs(60);
const RESTORE: Duration = Duration::from_secs(900);

/// Machines, by the names of the scenario.
#[derive(Debug)]
pub(crate) struct Lab {
    driver: Arc<Driver>,
    scenario: Scenario,
    file: LabFile,
    nodes: BTreeMap<NodeName, Machine>,
    host: NodeName,
    operator: NodeName,
    /// The link from the operator to the host.
    way: Link,
    nats: Endpoint,
}

#[derive(Debug)]
struct Machine {
    role: Role,
    /// True if it has power; it may still be booting.
    powered: bool,
    /// True if it has booted and its services answer.
    on: bool,
    /// True if it has been on before: then it has a disk to keep.
    used: bool,
}

fn unit(role: Role, program: Program, there: Option<&LabNode>) -> &str {
    match (role, program, there) {
        (_, Program::Nats, _) => "nats.service",
        (_, Program::StorageManager, _) => "cim-storage-manager.service",
        (_, Program::S3, Some(LabNode::Nas(S3 { unit: Some(own), .. }))) => own,
        (Role::Wasabi, Program::S3, _) => "cim-fake-wasabi.service",
        (_, Program::S3, _) => "minio.service",
    }
}

impl Lab {
    /// Makes machines that are off. Fails if the lab lacks a node of the scenario.
    pub(crate) async fn new(
        scenario: &Scenario,
        file: LabFile,
        driver: Arc<Driver>,
    ) -> Result<Self> {
        let mut nodes = BTreeMap::new();
        for (name, node) in &scenario.nodes {
            let there = file.nodes.get(name).map(LabNode::role);
            if node.role != Role::Operator && there != Some(node.role) {
                return Err(Error::Usage(format!(
                    "the lab has no `{name}` of the role that the scenario gives it: correct `--lab`"
                )));
            }
            nodes.insert(
                name.clone(),
                Machine { role: node.role, powered: false, on: false, used: false },
            );
        }
        let host = scenario.node_of(Role::Host).expect("a checked scenario has a host").clone();
        let operator = match scenario.node_of(Role::Operator) {
            Some(name) => name.clone(),
            None => NodeName::new("operator").setup(|| "a lab needs an operator".into())?,
        };
        let LabNode::Host { address, nats_port, nats_nkey_file } = &file.nodes[&host] else {
            unreachable!("its role was compared")
        };
        let url = format!("nats://{address}:{nats_port}");
        let nats = match nats_nkey_file {
            Some(seed) => Endpoint::with_nkey(url, seed)?,
            None => (&url).into(),
        };
        let given = scenario.links.iter().find(|l| l.from == operator && l.to == host);
        let way = Link::open(None, given.map(|l| l.conditions).unwrap_or_default()).await?;
        let scenario = scenario.clone();
        Ok(Self { driver, scenario, file, nodes, host, operator, way, nats })
    }

    pub(crate) fn role(&self, node: &NodeName) -> Role {
        self.nodes[node].role
    }

    pub(crate) fn set_link(&self, from: &NodeName, to: &NodeName, now: Conditions) -> Result<()> {
        if *from != self.operator || *to != self.host {
            let what =
                format!("the driver substrate cannot change the link from `{from}` to `{to}`");
            return Err(Error::step(what));
        }
        self.way.set(now);
        Ok(())
    }

    /// Returns what the operator's link broke on purpose so far.
    pub(crate) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        let known = *from == self.operator && *to == self.host;
        if known { self.way.broken() } else { Broken::default() }
    }

    /// Runs a command in a root shell; the caller judges its status.
    async fn shell(&self, node: &NodeName, command: &str, limit: Duration) -> Result<Outcome> {
        let (node, command) = (node.clone(), command.to_owned());
        self.driver.ask(Op::Exec { node, command, timeout_seconds: limit.as_secs() }, limit).await
    }

    /// Runs a command that must succeed.
    async fn succeed(&self, node: &NodeName, command: &str, limit: Duration) -> Result<String> {
        let outcome = self.shell(node, command, limit).await?;
        if outcome.status == 0 {
            return Ok(outcome.stdout);
        }
        let said = if outcome.stderr.trim().is_empty() { &outcome.stdout } else { &outcome.stderr };
        let last: Vec<_> = said.lines().rev().take(3).collect();
        let last = last.into_iter().rev().collect::<Vec<_>>().join(" | ");
        let status = outcome.status;
        Err(Error::step(format!("`{command}` on `{node}` ended with status {status}: {last}")))
    }

    /// Gives new machines power, so that they boot side by side; `start` waits for each.
    pub(crate) async fn switch_on(&mut self) -> Result<()> {
        let machines = self.nodes.iter().filter(|(_, m)| m.role != Role::Operator && !m.powered);
        for node in machines.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.power(&node, Disk::New, false).await?;
        }
        Ok(())
    }

    async fn power(&mut self, node: &NodeName, disk: Disk, wait: bool) -> Result<()> {
        self.driver.ask(Op::Start { node: node.clone(), disk, wait }, BOOT).await?;
        let machine = self.machine(node);
        (machine.powered, machine.used) = (true, true);
        Ok(())
    }

    async fn boot(&mut self, node: &NodeName, disk: Disk) -> Result<()> {
        if self.nodes[node].powered {
            self.succeed(node, "true", BOOT).await?;
        } else {
            self.power(node, disk, true).await?;
        }
        self.machine(node).on = true;
        if self.role(node) == Role::Host {
            self.configure(node).await?;
        }
        self.ready(node).await
    }

    /// Waits until a machine's services answer.
    async fn ready(&mut self, node: &NodeName) -> Result<()> {
        match self.role(node) {
            Role::Host => self.nats_is_ready().await,
            Role::Nas => self.s3_is_ready(Tier::Nas).await,
            Role::Wasabi => self.s3_is_ready(Tier::Wasabi).await,
            Role::Operator | Role::Leaf | Role::Standby => Ok(()),
        }
    }

    /// Gives NATS and the storage manager the scenario's settings.
    async fn configure(&self, node: &NodeName) -> Result<()> {
        if let Some(interval) = &self.scenario.nodes[node].sync_interval {
            self.succeed(node, &overrides::sync_interval(interval), READY).await?;
        }
        let settings = settings(&self.scenario.storage_manager)?;
        if settings.is_empty() || self.file.storage_manager_configured {
            return Ok(());
        }
        let installed = self.succeed(node, overrides::READ, SWITCH).await?;
        self.succeed(node, &overrides::command(&installed, &settings)?, SWITCH).await?;
        Ok(())
    }

    async fn nats_is_ready(&mut self) -> Result<()> {
        wait_until("NATS with JetStream on the host", READY, async || {
            let attempt = async {
                let mut wire = Wire::connect(&self.nats).await?;
                wire.api("INFO", &Value::Null).await
            };
            match tokio::time::timeout(Duration::from_secs(10), attempt).await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("it does not answer".into()),
            }
        })
        .await?;
        let addr = address(&self.nats.url)?;
        self.way.set_target(Some(addr));
        Ok(())
    }

    async fn s3_is_ready(&self, tier: Tier) -> Result<()> {
        let bucket = self.service(tier)?.client()?;
        wait_until(&format!("the bucket on {tier}"), READY, async || {
            match bucket.list_page(String::new(), None, None, None, Some(1)).await {
                Ok((_, 200)) => Ok(()),
                Ok((_, status)) => Err(format!("HTTP {status}")),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    fn machine(&mut self, node: &NodeName) -> &mut Machine {
        self.nodes.get_mut(node).expect("a checked scenario names nodes that exist")
    }

    /// Returns the units of a node's programs, or of one of them, in the order in which they start.
    fn units(&self, node: &NodeName, program: Option<Program>) -> Vec<&str> {
        let (role, there) = (self.role(node), self.file.nodes.get(node));
        let wanted = programs(role).iter().filter(|p| program.is_none_or(|only| only == **p));
        wanted.map(|p| unit(role, *p, there)).collect()
    }

    pub(crate) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        if !self.nodes[node].on {
            let disk = if self.nodes[node].used { Disk::Kept } else { Disk::New };
            self.boot(node, disk).await?;
        }
        // Services that start with the machine run already; the daemon is always started here.
        let units = self.units(node, program).join(" ");
        self.succeed(node, &format!("systemctl start {units}"), READY).await?;
        self.ready(node).await
    }

    pub(crate) async fn signal(
        &mut self,
        node: &NodeName,
        program: Option<Program>,
        signal: Signal,
    ) -> Result<()> {
        let name = match signal {
            Signal::Kill => "KILL",
            Signal::Term => "TERM",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        let units = self.units(node, program).join(" ");
        self.succeed(node, &format!("systemctl kill --signal={name} {units}"), SWITCH).await?;
        Ok(())
    }

    pub(crate) async fn kill(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        self.signal(node, program, Signal::Kill).await?;
        // Otherwise systemd would start the killed programs again.
        let units = self.units(node, program).join(" ");
        let command = format!("systemctl stop {units}; systemctl reset-failed {units}; true");
        self.succeed(node, &command, SWITCH).await?;
        Ok(())
    }

    pub(crate) async fn stop(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        for unit in self.units(node, program).into_iter().rev() {
            self.succeed(node, &format!("systemctl stop {unit}"), READY).await?;
        }
        Ok(())
    }

    pub(crate) async fn power_cut(&mut self, node: &NodeName) -> Result<()> {
        self.driver.ask(Op::Crash { node: node.clone() }, SWITCH).await?;
        let machine = self.machine(node);
        (machine.powered, machine.on) = (false, false);
        if *node == self.host {
            // A machine without power resets no connections, and its clients would wait long. Their
            // buffers must not reach the machine's next life either.
            self.way = Link::open(None, self.way.conditions()).await?;
        }
        Ok(())
    }

    /// Sets a machine's clock. Fails if a time service runs, which would correct it.
    pub(crate) async fn step_clock(&mut self, node: &NodeName, by: Shift) -> Result<()> {
        let seconds = by.as_seconds();
        let command = format!(
            "for unit in systemd-timesyncd chronyd ntpd; do \
               ! systemctl -q is-active $unit || {{ echo \"$unit keeps the clock\" >&2; exit 1; }}; \
             done; before=$(date +%s); date -s \"@$((before + {seconds}))\" >/dev/null; \
             after=$(($(date +%s) - before - {seconds})); test $after -ge 0 -a $after -lt 60"
        );
        self.succeed(node, &command, SWITCH).await.map(drop)
    }

    /// Damages a file of a stream, with programs that every machine has.
    pub(crate) async fn damage(&mut self, damage: &DamageStream) -> Result<String> {
        self.succeed(&damage.node, &damage::command(damage), SWITCH)
            .await
            .map(|said| said.trim().to_owned())
    }

    /// Gives publishers and consumers another address for the same host.
    pub(crate) async fn replace_link(&mut self) -> Result<()> {
        self.way = Link::open(None, self.way.conditions()).await?;
        self.way.set_target(Some(address(&self.nats.url)?));
        Ok(())
    }

    /// Cuts the power for good: a destroyed machine never gets its old disk back.
    pub(crate) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        self.power_cut(node).await
    }

    pub(crate) async fn replace(&mut self, node: &NodeName) -> Result<()> {
        self.boot(node, Disk::New).await
    }

    pub(crate) async fn run_storage_manager(
        &mut self,
        node: &NodeName,
        args: &[&str],
    ) -> Result<Ended> {
        let command = format!("cim-run-storage-manager {}", args.join(" "));
        let Outcome { status, stdout, stderr, .. } = self.shell(node, &command, RESTORE).await?;
        let said: Vec<_> = stderr.lines().rev().take(2).collect();
        let said = said.into_iter().rev().collect::<Vec<_>>().join(" | ");
        Ok(Ended { status, stdout, said, peak_rss: 0 })
    }

    pub(crate) fn nats(&self) -> Result<Endpoint> {
        if !self.nodes[&self.host].on {
            return Err(Error::step("the host is off"));
        }
        Ok(self.nats.clone())
    }

    pub(crate) fn nats_through_link(&self) -> Endpoint {
        self.nats.at(format!("nats://{}", self.way.addr()))
    }

    fn service(&self, tier: Tier) -> Result<&S3> {
        let found = self.file.nodes.values().find_map(|node| match (tier, node) {
            (Tier::Nas, LabNode::Nas(s3)) | (Tier::Wasabi, LabNode::Wasabi(s3)) => Some(s3),
            _ => None,
        });
        found.ok_or_else(|| Error::step(format!("the lab has no tier {tier}")))
    }

    pub(crate) fn bucket(&self, tier: Tier) -> Result<Option<Box<::s3::Bucket>>> {
        let role = if tier == Tier::Nas { Role::Nas } else { Role::Wasabi };
        let on = self.scenario.node_of(role).is_some_and(|node| self.nodes[node].on);
        if on { self.service(tier)?.client().map(Some) } else { Ok(None) }
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let host = url.trim_start_matches("nats://");
    let found = host.to_socket_addrs().setup(|| format!("`{host}` is no address"))?.next();
    found.ok_or_else(|| Error::setup(format!("`{host}` has no address")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nas_is_started_by_the_unit_that_it_has() {
        let node = |rest: &str| -> LabNode {
            let text = format!(
                r#"{{"role": "nas", "endpoint": "http://h", "bucket": "b", "region": "r", "credentials_file": "f"{rest}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let of = |there: LabNode| unit(Role::Nas, Program::S3, Some(&there)).to_owned();
        assert_eq!(of(node("")), "minio.service");
        assert_eq!(of(node(r#", "unit": "seaweedfs.service""#)), "seaweedfs.service");
    }
}
