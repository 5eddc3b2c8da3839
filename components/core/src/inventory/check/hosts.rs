//! Hosts, their networks and their roles.

use super::{Problems, all_of, pairs, shared};
use crate::inventory::{Host, Inventory, ProblemKind as Kind, Provider, Role};
use crate::names::NodeName;

pub(super) fn check(inventory: &Inventory, found: &mut Problems) {
    let networks: Vec<_> = inventory.networks.iter().collect();
    for ((a, x), (b, y)) in pairs(&networks) {
        found.add_if(x.cidr.overlaps(y.cidr), Kind::NetworksOverlap, || {
            let (x, y) = (x.cidr, y.cidr);
            format!("networks `{a}` (`{x}`) and `{b}` (`{y}`) overlap: give each its own addresses")
        });
    }
    for (address, names) in shared(inventory.hosts.iter().map(|(n, h)| (h.address, n))) {
        let names = all_of(names, " and ");
        found.add(
            Kind::AddressTaken,
            format!("address `{address}` is given to {names}: give each machine its own"),
        );
    }
    for (name, host) in &inventory.hosts {
        place(inventory, name, host, found);
        role(inventory.lab, name, host, found);
        ssh(name, host, found);
        version(inventory, name, host, found);
        for network in host.s3.iter().flat_map(|s3| &s3.from) {
            found.add_if(!inventory.networks.contains_key(network), Kind::UnknownNetwork, || {
                format!("`hosts.{name}.s3.from` names network `{network}`, which is not there: add it to `networks`, or remove it")
            });
        }
        for (key, given, wanted) in [
            ("nats", host.nats.is_some(), [Role::Host, Role::Host]),
            ("components", !host.components.is_empty(), [Role::Host, Role::Host]),
            ("plugins", !host.plugins.is_empty(), [Role::Host, Role::Host]),
            ("operators", !host.operators.is_empty(), [Role::Host, Role::Host]),
            ("containers", host.containers.is_some(), [Role::Host, Role::Host]),
            ("s3", host.s3.is_some(), [Role::Nas, Role::FakeWasabi]),
        ] {
            found.add_if(given && !wanted.contains(&host.role), Kind::Misplaced, || {
                let (role, wanted) = (host.role, wanted[0]);
                format!("`hosts.{name}.{key}` is given for a machine of role `{role}`: remove it, or change the role to `{wanted}`")
            });
        }
    }
}

fn place(inventory: &Inventory, name: &NodeName, host: &Host, found: &mut Problems) {
    let (network, address) = (&host.network, host.address);
    let Some(known) = inventory.networks.get(network) else {
        let known = all_of(inventory.networks.keys(), ", ");
        return found.add(
            Kind::UnknownNetwork,
            format!("`hosts.{name}.network` is `{network}`, which is not there: add it to `networks`, or use another (known are {known})"),
        );
    };
    found.add_if(!known.cidr.usable(address), Kind::AddressOutside, || {
        let cidr = known.cidr;
        format!("`hosts.{name}.address` is `{address}`, which no machine in `networks.{network}` (`{cidr}`) can have: give one from that network")
    });
}

fn role(lab: bool, name: &NodeName, host: &Host, found: &mut Problems) {
    let provider = host.s3.as_ref().map(|s3| s3.provider);
    match host.role {
        Role::Host => found.add_if(host.nats.is_none(), Kind::Missing, || {
            format!("`hosts.{name}.nats` is missing: a machine of role `host` runs NATS, so give its `maxFileStore` and `maxMemoryStore`")
        }),
        Role::Nas => {
            s3_is_missing(name, host, found);
            found.add_if(provider == Some(Provider::FakeWasabi), Kind::Misplaced, || {
                format!("`hosts.{name}.s3.provider` is `fake-wasabi`, which keeps nothing safe: use `minio`, or give the machine the role `fake-wasabi` in a lab")
            });
        }
        Role::FakeWasabi => {
            s3_is_missing(name, host, found);
            found.add_if(!lab, Kind::LabOnly, || {
                format!("`hosts.{name}.role` is `fake-wasabi`, which is for tests alone: set `lab` to true, or remove the machine and give `tiers.tertiary.endpoint`")
            });
            if let Some(provider) = provider.filter(|p| *p != Provider::FakeWasabi) {
                found.add(
                    Kind::Misplaced,
                    format!("`hosts.{name}.s3.provider` is `{provider}` on a machine of role `fake-wasabi`: use `fake-wasabi`"),
                );
            }
        }
        Role::Operator => {}
    }
}

fn version(inventory: &Inventory, name: &NodeName, host: &Host, found: &mut Problems) {
    let version = u32::from(inventory.version);
    let new = host.s3.as_ref().map(|s3| s3.provider);
    let new = new.filter(|p| matches!(p, Provider::Seaweedfs | Provider::Versitygw));
    if let Some(provider) = new.filter(|_| version < 2) {
        found.add(
            Kind::NeedsVersion,
            format!("`hosts.{name}.s3.provider` is `{provider}`, which version `{version}` of the inventory does not have: set `version` to 2"),
        );
    }
}

fn s3_is_missing(name: &NodeName, host: &Host, found: &mut Problems) {
    found.add_if(host.s3.is_none(), Kind::Missing, || {
        let role = host.role;
        format!("`hosts.{name}.s3` is missing: a machine of role `{role}` serves S3, so give its `provider`")
    });
}

fn ssh(name: &NodeName, host: &Host, found: &mut Problems) {
    let Some(ssh) = &host.ssh else { return };
    found.add_if(ssh.keys.is_empty(), Kind::Missing, || {
        format!("`hosts.{name}.ssh.keys` is empty, so no login is possible; add a public key, or remove `ssh`")
    });
    found.add_if(ssh.from.is_empty(), Kind::Missing, || {
        format!("`hosts.{name}.ssh.from` is empty: SSH could be reached from nowhere; add a network, or remove `ssh`")
    });
}
