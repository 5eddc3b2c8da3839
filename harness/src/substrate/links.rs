//! The links of a lab, one for each use of a connection between two nodes.
//!
//! Every connection between two nodes goes through a link of its own, the routes of a cluster too:
//! each server is given the links' addresses for the others, and the addresses that gossip brings
//! it lead nowhere. A step that changes the link between two nodes changes all links that they
//! have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cim_core::names::NodeName;

use crate::error::{Error, Result};
use crate::lab::link::{Broken, Conditions, Link};
use crate::scenario::{Role, Scenario};

/// The use of a connection, which decides the port that it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// A client of NATS.
    Client,
    /// Another server of the cluster.
    Route,
    /// A leaf node.
    LeafNode,
    /// A client of S3.
    S3,
}

/// The links.
#[derive(Debug)]
pub(super) struct LinkTable {
    links: BTreeMap<(NodeName, NodeName, Use), Link>,
    /// A link that refuses all connections.
    nowhere: Link,
}

impl LinkTable {
    /// Opens links without a target yet, in the state that the scenario gives them. `here` is the
    /// address at which nodes other than the operator find this machine.
    pub(super) async fn open(
        scenario: &Scenario,
        operator: &NodeName,
        here: IpAddr,
    ) -> Result<Self> {
        let hosts = || scenario.nodes_of(Role::Host);
        let standbys = || scenario.nodes_of(Role::Standby);
        let mut wanted = Vec::new();
        for (name, node) in &scenario.nodes {
            match node.role {
                Role::Host | Role::Leaf => {
                    wanted.push((operator, name, Use::Client));
                    let standbys = standbys().filter(|_| node.role == Role::Host);
                    wanted.extend(standbys.map(|from| (from, name, Use::Client)));
                }
                Role::Nas | Role::Wasabi => {
                    wanted.extend(hosts().chain(standbys()).map(|from| (from, name, Use::S3)));
                }
                Role::Standby | Role::Operator => {}
            }
            match node.role {
                Role::Host if scenario.clustered() => {
                    wanted.extend(hosts().map(|from| (from, name, Use::Route)));
                    let others = hosts().filter(|from| *from != name);
                    wanted.extend(others.map(|from| (from, name, Use::Client)));
                }
                Role::Leaf => wanted.extend(hosts().map(|hub| (name, hub, Use::LeafNode))),
                _ => {}
            }
        }
        let nowhere = Link::open_on(here, None, Conditions::default()).await?;
        let mut links = BTreeMap::new();
        for (from, to, which) in wanted {
            let here = if from == operator { Ipv4Addr::LOCALHOST.into() } else { here };
            let link = Link::open_on(here, None, Conditions::default()).await?;
            links.insert((from.clone(), to.clone(), which), link);
        }
        let ways = Self { links, nowhere };
        for spec in &scenario.links {
            ways.set(&spec.from, &spec.to, spec.conditions)?;
        }
        Ok(ways)
    }

    /// Returns the address that a node connects to in order to reach another.
    pub(super) fn addr(&self, from: &NodeName, to: &NodeName, which: Use) -> SocketAddr {
        let link = self.links.get(&(from.clone(), to.clone(), which));
        link.map_or_else(|| self.nowhere(), Link::addr)
    }

    /// Returns an address that refuses all connections.
    pub(super) fn nowhere(&self) -> SocketAddr {
        self.nowhere.addr()
    }

    /// Sets the target of new connections to a node; `None` refuses them.
    pub(super) fn lead(&self, node: &NodeName, which: Use, target: Option<SocketAddr>) {
        for ((_, to, of), link) in &self.links {
            if to == node && *of == which {
                link.set_target(target);
            }
        }
    }

    /// Changes the links between two nodes. Between two hosts the order of the names matters for
    /// delays only, for either may have opened the connection.
    pub(super) fn set(&self, from: &NodeName, to: &NodeName, now: Conditions) -> Result<()> {
        let mut found = false;
        for ((a, b, which), link) in &self.links {
            if a == from && b == to {
                link.set(now);
            } else if b == from && a == to && matches!(which, Use::Route | Use::Client) {
                link.set(turned(now));
            } else {
                continue;
            }
            found = true;
        }
        if found {
            return Ok(());
        }
        Err(Error::step(format!(
            "no link leads from `{from}` to `{to}`: nothing connects that way"
        )))
    }

    /// Returns what the link to an S3 service broke on purpose so far; zeros if there is none.
    pub(super) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        let link = self.links.get(&(from.clone(), to.clone(), Use::S3));
        link.map(Link::broken).unwrap_or_default()
    }

    /// Replaces a link: connections to the old address are refused.
    pub(super) async fn renew(
        &mut self,
        from: &NodeName,
        to: &NodeName,
        which: Use,
        target: Option<SocketAddr>,
    ) -> Result<()> {
        if let Some(link) = self.links.get_mut(&(from.clone(), to.clone(), which)) {
            *link = Link::open_on(link.addr().ip(), target, link.conditions()).await?;
        }
        Ok(())
    }
}

/// Returns the conditions as seen from the other end.
fn turned(conditions: Conditions) -> Conditions {
    Conditions {
        delay: conditions.delay_back.unwrap_or(conditions.delay),
        delay_back: Some(conditions.delay),
        ..conditions
    }
}
