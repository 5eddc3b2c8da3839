//! `inventory list` and `inventory show`.

use std::path::Path;
use std::process::ExitCode;

use cim_core::inventory::{ArchiveRetention, Host, Inventory, Place, Tier};
use cim_core::names::NodeName;
use comfy_table::Table;

use super::{file, pretty, print, table};
use crate::error::{Error, Result};

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Print JSON, an object a host.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Show this host only.
    host: Option<NodeName>,
    /// Print JSON, with every default filled in.
    #[arg(long)]
    json: bool,
}

pub(super) fn list(path: &Path, args: &ListArgs) -> Result<ExitCode> {
    let inventory = file::load(path)?;
    if args.json {
        let rows = inventory.hosts.iter().map(|(name, host)| {
            serde_json::json!({
                "name": name,
                "role": host.role,
                "system": host.system,
                "network": host.network,
                "address": host.address,
                "runs": runs(host),
            })
        });
        print(&pretty(&rows.collect::<Vec<_>>()));
    } else {
        print(&hosts(&inventory).to_string());
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn show(path: &Path, args: &ShowArgs) -> Result<ExitCode> {
    let inventory = file::load(path)?;
    let Some(name) = &args.host else {
        print(&if args.json { pretty(&inventory) } else { whole(&inventory) });
        return Ok(ExitCode::SUCCESS);
    };
    let host = inventory.hosts.get(name).ok_or_else(|| {
        let known: Vec<_> = inventory.hosts.keys().map(|name| format!("`{name}`")).collect();
        let (path, known) = (path.display(), known.join(", "));
        Error::Usage(format!("host `{name}` is not in `{path}`: it has {known}"))
    })?;
    print(&if args.json { pretty(host) } else { one(name, host) });
    Ok(ExitCode::SUCCESS)
}

/// Returns what a host runs, in words.
fn runs(host: &Host) -> Vec<String> {
    let mut runs = Vec::new();
    runs.extend(host.nats.iter().map(|nats| format!("nats :{}", nats.port)));
    runs.extend(host.s3.iter().map(|s3| format!("{} :{}", s3.provider, s3.port)));
    runs.extend(host.components.keys().map(ToString::to_string));
    runs.extend(host.plugins.keys().map(|name| format!("plugin {name}")));
    runs
}

fn hosts(inventory: &Inventory) -> Table {
    let mut table = table(&["host", "role", "address", "network", "system", "runs"]);
    for (name, host) in &inventory.hosts {
        table.add_row([
            name.to_string(),
            host.role.to_string(),
            host.address.to_string(),
            host.network.to_string(),
            host.system.to_string(),
            runs(host).join("\n"),
        ]);
    }
    table
}

fn whole(inventory: &Inventory) -> String {
    let lab = if inventory.lab { ", a lab" } else { "" };
    let mut text = format!("{}{lab}\n{}", inventory.name, hosts(inventory));
    let mut add = |shown: Table, rows: usize| {
        if rows > 0 {
            text.push('\n');
            text.push_str(&shown.to_string());
        }
    };
    let mut networks = table(&["network", "addresses"]);
    for (name, network) in &inventory.networks {
        networks.add_row([name.to_string(), network.cidr.to_string()]);
    }
    add(networks, inventory.networks.len());
    let of_tiers =
        [("secondary", &inventory.tiers.secondary), ("tertiary", &inventory.tiers.tertiary)];
    let of_tiers: Vec<_> =
        of_tiers.iter().filter_map(|(key, tier)| Some((key, tier.as_ref()?))).collect();
    let mut tiers = table(&["tier", "at", "bucket"]);
    for (key, tier) in &of_tiers {
        tiers.add_row([(**key).to_owned(), place(tier), tier.bucket.to_string()]);
    }
    add(tiers, of_tiers.len());
    let mut encryption = table(&["encrypted", "key", "more keys"]);
    if let Some(of) = &inventory.tiers.encryption {
        let more: Vec<_> = of.more_keys.iter().map(ToString::to_string).collect();
        let key = of.key.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        encryption.add_row([of.tiers.to_string(), key, more.join("\n")]);
    }
    add(encryption, usize::from(inventory.tiers.encryption.is_some()));
    let mut kept = table(&["archive of", "tier", "is kept"]);
    for entry in &inventory.tiers.retention {
        let globs: Vec<_> = entry.streams.iter().map(ToString::to_string).collect();
        let tier = entry.tier.map_or_else(|| "both".into(), |tier| tier.to_string());
        kept.add_row([globs.join("\n"), tier, limits(entry)]);
    }
    add(kept, inventory.tiers.retention.len());
    let mut streams =
        table(&["stream", "subjects", "storage", "retention", "most bytes", "oldest"]);
    for (name, stream) in &inventory.streams {
        streams.add_row([
            name.to_string(),
            stream.subjects.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            stream.storage.to_string(),
            stream.retention.to_string(),
            or_any(stream.max_bytes),
            or_any(stream.max_age.as_ref()),
        ]);
    }
    add(streams, inventory.streams.len());
    let mut buckets = table(&["bucket", "kind", "storage", "history", "most bytes", "oldest"]);
    for (name, bucket) in &inventory.buckets {
        buckets.add_row([
            name.to_string(),
            bucket.kind.to_string(),
            bucket.storage.to_string(),
            bucket.history.to_string(),
            or_any(bucket.max_bytes),
            or_any(bucket.ttl.as_ref()),
        ]);
    }
    add(buckets, inventory.buckets.len());
    text
}

fn one(name: &NodeName, host: &Host) -> String {
    let mut users = table(&["user", "nkey", "address", "memory"]);
    let dash = || "-".to_owned();
    for (component, c) in &host.components {
        let address = c.address.map_or_else(dash, |a| a.to_string());
        users.add_row([component.to_string(), c.nkey.to_string(), address, c.memory.to_string()]);
    }
    for (plugin, p) in &host.plugins {
        let address = p.address.map_or_else(dash, |a| a.to_string());
        users.add_row([plugin.to_string(), p.nkey.to_string(), address, p.memory.to_string()]);
    }
    for (operator, o) in &host.operators {
        users.add_row([
            operator.to_string(),
            o.nkey.to_string(),
            format!("from {}", o.from),
            dash(),
        ]);
    }
    let mut text = format!(
        "{name}, role {}, {} in network {}, {}\n{}",
        host.role,
        host.address,
        host.network,
        host.system,
        runs(host).join(", "),
    );
    if !users.is_empty() {
        text = format!("{text}\n{users}");
    }
    text
}

fn place(tier: &Tier) -> String {
    match tier.place() {
        Some(Place::Host(host)) => format!("host {host}"),
        Some(Place::Endpoint(endpoint, region)) => format!("{endpoint} ({region})"),
        None => "nowhere".into(),
    }
}

fn or_any(limit: Option<impl std::fmt::Display>) -> String {
    limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string())
}

/// Returns the limits of an archive, a line each.
fn limits(of: &ArchiveRetention) -> String {
    let times = [
        ("for", &of.max_age),
        ("after the stream was dropped for", &of.dropped),
        ("after its timeline was left for", &of.left_timelines),
    ];
    let times =
        times.into_iter().filter_map(|(what, time)| Some(format!("{what} {}", time.as_ref()?)));
    let counts = [("messages", of.max_messages), ("bytes", of.max_bytes)];
    let counts = counts.into_iter().filter_map(|(what, count)| Some(format!("{} {what}", count?)));
    counts.chain(times).collect::<Vec<_>>().join("\n")
}
