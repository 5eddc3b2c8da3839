//! The links of a lab: who connects to whom, and for what.
//!
//! Every connection between two nodes goes through a link of its own, the routes of a cluster too: each
//! server is told of the others by the addresses of links, and what a third tells it of them leads
//! nowhere. What a step does to the link between two nodes it does to all that they have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use cim_core::names::NodeName;

use crate::error::{Error, Result};
use crate::lab::link::{Broken, Conditions, Link};
use crate::scenario::{Role, Scenario};

/// What a connection is for, which says where it leads on the node that it goes to.
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
pub(super) struct Ways {
    links: BTreeMap<(NodeName, NodeName, Use), Link>,
    /// Refuses everybody.
    nowhere: Link,
}

impl Ways {
    /// Links that lead nowhere yet, in the state that the scenario gives them. `here` is the address at
    /// which nodes other than the operator find this machine.
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

    /// Where a node connects to reach another.
    pub(super) fn addr(&self, from: &NodeName, to: &NodeName, which: Use) -> SocketAddr {
        let link = self.links.get(&(from.clone(), to.clone(), which));
        link.map_or_else(|| self.nowhere(), Link::addr)
    }

    /// An address that refuses everybody.
    pub(super) fn nowhere(&self) -> SocketAddr {
        self.nowhere.addr()
    }

    /// Says where new connections to a node go from now on; `None` refuses them.
    pub(super) fn lead(&self, node: &NodeName, which: Use, target: Option<SocketAddr>) {
        for ((_, to, of), link) in &self.links {
            if to == node && *of == which {
                link.set_target(target);
            }
        }
    }

    /// Changes what is between two nodes. Between two hosts it does not matter which is named first
    /// but for delays, for either may have opened the connection.
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

    /// What the link to an S3 service broke on purpose so far; nothing where there is none.
    pub(super) fn broken(&self, from: &NodeName, to: &NodeName) -> Broken {
        let link = self.links.get(&(from.clone(), to.clone(), Use::S3));
        link.map(Link::broken).unwrap_or_default()
    }

    /// Puts a new link in one's place: whoever knows the old address gets nowhere.
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

/// The same, seen from the other end.
fn turned(conditions: Conditions) -> Conditions {
    Conditions {
        delay: conditions.delay_back.unwrap_or(conditions.delay),
        delay_back: Some(conditions.delay),
        ..conditions
    }
}
