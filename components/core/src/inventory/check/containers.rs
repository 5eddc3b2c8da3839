//! Components and plugins in containers: addresses and names.

use super::{Problems, all_of, shared};
use crate::inventory::{Containers, Inventory, ProblemKind as Kind};
use crate::names::NodeName;

pub(super) fn check(inventory: &Inventory, found: &mut Problems) {
    for (name, host) in &inventory.hosts {
        for plugin in host.plugins.keys() {
            let taken = host.components.keys().any(|c| c.as_str() == plugin.as_str());
            found.add_if(taken, Kind::NameTaken, || {
                format!(
                    "`hosts.{name}.plugins.{plugin}` has the name of a component: give it another"
                )
            });
        }
        let components =
            host.components.iter().map(|(n, c)| (format!("components.{n}"), c.address));
        let plugins = host.plugins.iter().map(|(n, p)| (format!("plugins.{n}"), p.address));
        let inside: Vec<_> = components
            .chain(plugins)
            .filter_map(|(at, address)| Some((format!("hosts.{name}.{at}.address"), address?)))
            .collect();
        match &host.containers {
            Some(containers) => network(inventory, name, containers, found),
            None if inside.is_empty() => {}
            None => {
                let paths = all_of(inside.iter().map(|(path, _)| path), ", ");
                let lie = if inside.len() == 1 { "lies" } else { "lie" };
                found.add(
                    Kind::Missing,
                    format!("`hosts.{name}.containers` is missing, but {paths} {lie} in it: give its `cidr` and `hostAddress`"),
                );
            }
        }
        let Some(Containers { cidr, host_address, .. }) = &host.containers else { continue };
        for (path, address) in &inside {
            found.add_if(!cidr.usable(*address), Kind::AddressOutside, || {
                format!("`{path}` is `{address}`, which no container in `{cidr}` can have: give one from that network")
            });
        }
        for (address, paths) in shared(inside.iter().map(|(path, address)| (address, path))) {
            let paths = all_of(paths, " and ");
            found.add(
                Kind::AddressTaken,
                format!("address `{address}` is given to {paths}: give each container its own"),
            );
        }
        for (path, address) in &inside {
            found.add_if(address == host_address, Kind::AddressTaken, || {
                format!(
                    "`{path}` is the host's own address on the bridge: give the container another"
                )
            });
        }
    }
}

fn network(inventory: &Inventory, name: &NodeName, containers: &Containers, found: &mut Problems) {
    let Containers { cidr, host_address, .. } = containers;
    found.add_if(!cidr.usable(*host_address), Kind::AddressOutside, || {
        format!("`hosts.{name}.containers.hostAddress` is `{host_address}`, which no machine in `{cidr}` can have: give one from that network")
    });
    for (other, network) in &inventory.networks {
        found.add_if(cidr.overlaps(network.cidr), Kind::NetworksOverlap, || {
            let theirs = network.cidr;
            format!("`hosts.{name}.containers.cidr` (`{cidr}`) overlaps with `networks.{other}` (`{theirs}`): give the containers a network of their own")
        });
    }
}
