//! NATS: users, ports, and the messages that a power cut would cost.

use super::{Problems, all_of, shared};
use crate::inventory::{
    ComponentName, Host, Inventory, LAB_KEYS, LeafNodes, ProblemKind as Kind, SyncInterval,
};
use crate::names::{NodeName, UserKey};

pub(super) fn check(inventory: &Inventory, found: &mut Problems) {
    let users: Vec<_> = inventory
        .hosts
        .iter()
        .flat_map(|(name, host)| {
            host.users().into_iter().map(move |(at, nkey)| (nkey, format!("hosts.{name}.{at}")))
        })
        .collect();
    for (nkey, paths) in shared(users.iter().map(|(nkey, path)| (*nkey, path))) {
        let paths = all_of(paths, " and ");
        found.add(
            Kind::NkeyTaken,
            format!("nkey `{nkey}` belongs to {paths}: make a key for each (`nk -gen user`), so that each has its own permissions"),
        );
    }
    for (nkey, path) in users {
        found.add_if(!inventory.lab && LAB_KEYS.contains(&nkey.as_str()), Kind::LabKey, || {
            format!("`{path}` has the nkey `{nkey}`, whose seed is public: make one of your own with `nk -gen user`")
        });
    }
    for (name, host) in &inventory.hosts {
        for (operator, settings) in &host.operators {
            let path = format!("hosts.{name}.operators.{operator}.from");
            network(inventory, &path, &settings.from, found);
        }
        server(inventory, name, host, found);
    }
}

impl Host {
    /// Returns all users of its NATS server: the place in the inventory, and the key.
    pub fn users(&self) -> Vec<(String, &UserKey)> {
        let mut users = Vec::new();
        users
            .extend(self.components.iter().map(|(n, c)| (format!("components.{n}.nkey"), &c.nkey)));
        users.extend(self.plugins.iter().map(|(n, p)| (format!("plugins.{n}.nkey"), &p.nkey)));
        users.extend(self.operators.iter().map(|(n, o)| (format!("operators.{n}.nkey"), &o.nkey)));
        let nats = self.nats.iter();
        let listen = nats.clone().filter_map(|n| n.leaf_nodes.as_ref()?.listen.as_ref());
        users.extend(
            listen
                .flat_map(|listen| &listen.users)
                .map(|(n, user)| (format!("nats.leafNodes.listen.users.{n}.nkey"), &user.nkey)),
        );
        let monitor = nats.filter_map(|n| n.monitor_key.as_ref());
        users.extend(monitor.map(|nkey| ("nats.monitorKey".to_owned(), nkey)));
        users
    }
}

fn network(inventory: &Inventory, path: &str, network: &NodeName, found: &mut Problems) {
    found.add_if(!inventory.networks.contains_key(network), Kind::UnknownNetwork, || {
        format!("`{path}` is `{network}`, which is not there: add it to `networks`")
    });
}

fn server(inventory: &Inventory, name: &NodeName, host: &Host, found: &mut Problems) {
    let Some(nats) = &host.nats else { return };
    let at = format!("hosts.{name}.nats");
    if let (SyncInterval::Every(span), false) = (&nats.sync_interval, inventory.lab) {
        found.add(
            Kind::LosesAcked,
            format!("`{at}.syncInterval` is `{span}`: a power cut would lose what was acked within that time; use `always`"),
        );
    }
    let verify = nats.tls.as_ref().is_some_and(|tls| tls.verify);
    let manager = host.components.contains_key(&ComponentName::StorageManager);
    found.add_if(verify && manager, Kind::Missing, || {
        format!("`{at}.tls.verify` is true, and the storage manager has no certificate to show: set it to false; users log in with their nkeys")
    });
    let Some(leaf) = &nats.leaf_nodes else { return };
    found.add_if(
        leaf.listen.as_ref().is_some_and(|l| l.port == nats.port),
        Kind::PortTaken,
        || {
            let port = nats.port;
            format!("`{at}` listens twice on port `{port}`: give `leafNodes.listen.port` another")
        },
    );
    leaf_nodes(inventory, &at, leaf, found);
}

fn leaf_nodes(inventory: &Inventory, at: &str, leaf: &LeafNodes, found: &mut Problems) {
    found.add_if(leaf.listen.is_none() && leaf.remotes.is_empty(), Kind::Missing, || {
        format!("`{at}.leafNodes` has neither `listen` nor `remotes`: give one, or set it to null")
    });
    if let Some(listen) = &leaf.listen {
        network(inventory, &format!("{at}.leafNodes.listen.from"), &listen.from, found);
        found.add_if(listen.users.is_empty(), Kind::Missing, || {
            format!("`{at}.leafNodes.listen.users` is empty: no leaf node could log in; add one with its nkey")
        });
    }
    for (name, remote) in &leaf.remotes {
        let at = format!("{at}.leafNodes.remotes.{name}");
        found.add_if(remote.urls.is_empty(), Kind::Missing, || {
            format!("`{at}.urls` is empty: give where to connect to")
        });
        for url in &remote.urls {
            let open = !inventory.lab && !url.as_str().starts_with("tls://");
            found.add_if(open, Kind::NotEncrypted, || {
                format!("`{at}.urls` has `{url}`, which is not encrypted: use `tls://`")
            });
        }
        found.add_if(remote.export.is_empty() && remote.import.is_empty(), Kind::Missing, || {
            format!(
                "`{at}` lets nothing cross: give subjects in `export` or `import`, or remove it"
            )
        });
    }
}
