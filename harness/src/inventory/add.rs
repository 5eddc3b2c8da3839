//! `inventory add`: adds a member that `check` accepts, and changes nothing else.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::ExitCode;

use cim_core::inventory::{
    BucketKind, Cidr, ComponentName, Count, History, Inventory, Network, NumberError, Provider,
    Retention, Role, Storage, System,
};
use cim_core::names::{MemorySize, NodeName, Span, SshKey, StoreName, SubjectFilter};
use clap::Subcommand;
use serde::de::IntoDeserializer as _;
use serde_json::{Value, json};

use super::edit::{self, Json, object};
use super::key::{Key, KeyArgs};
use super::{file, print, say};
use crate::error::{Error, Result};
use crate::scenario::{Size, ValueError};

#[derive(Debug, Subcommand)]
pub(super) enum What {
    /// A machine.
    Host(HostArgs),
    /// A component on a host, with a key of its own.
    Component(ComponentArgs),
    /// An administrator of a host's NATS server, with a key of their own.
    Operator(OperatorArgs),
    /// A stream.
    Stream(StreamArgs),
    /// A KV or object-store bucket.
    Bucket(BucketArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct Dry {
    /// Show the change, and do not write it.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct HostArgs {
    /// Its host name.
    name: NodeName,
    /// Its role: host, nas, fake-wasabi or operator.
    #[arg(long, value_parser = word::<Role>)]
    role: Role,
    /// Its address.
    #[arg(long)]
    address: Ipv4Addr,
    /// The network that the address is in [default: the one that has it].
    #[arg(long)]
    network: Option<NodeName>,
    /// Processor and operating system [default: x86_64-linux].
    #[arg(long, value_parser = word::<System>)]
    system: Option<System>,
    /// A public key that may log in over SSH; can be given again.
    #[arg(long, value_name = "KEY", requires = "ssh_from")]
    ssh_key: Vec<SshKey>,
    /// A network that SSH is open to; can be given again.
    #[arg(long, value_name = "CIDR", requires = "ssh_key")]
    ssh_from: Vec<Cidr>,
    /// Role host: the most bytes that JetStream keeps on disk [default: 107374182400].
    #[arg(long, value_name = "BYTES")]
    max_file_store: Option<Count>,
    /// Role host: the most bytes that JetStream keeps in memory [default: 1073741824].
    #[arg(long, value_name = "BYTES")]
    max_memory_store: Option<Count>,
    /// Role host: the network of its containers; the host has the first address [default: 10.71.0.0/24].
    #[arg(long, value_name = "CIDR")]
    containers: Option<Cidr>,
    /// Role nas: the program that serves S3: minio, seaweedfs, versitygw, garage or rustfs
    /// [default: minio].
    #[arg(long, value_parser = word::<Provider>)]
    provider: Option<Provider>,
    #[command(flatten)]
    dry: Dry,
}

#[derive(Debug, clap::Args)]
pub(super) struct ComponentArgs {
    /// The host that it runs on.
    host: NodeName,
    /// The component, such as pipeline-engine.
    name: ComponentName,
    /// Its container's address [default: the next free one].
    #[arg(long)]
    address: Option<Ipv4Addr>,
    /// Add its key to NATS only, without a container.
    #[arg(long, conflicts_with = "address")]
    no_container: bool,
    /// The most memory that it gets [default: 512M].
    #[arg(long)]
    memory: Option<MemorySize>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    dry: Dry,
}

#[derive(Debug, clap::Args)]
pub(super) struct OperatorArgs {
    /// The host whose NATS server it is.
    host: NodeName,
    /// The operator's name.
    name: NodeName,
    /// The network that connections come from.
    #[arg(long, value_name = "NETWORK")]
    from: NodeName,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    dry: Dry,
}

#[derive(Debug, clap::Args)]
pub(super) struct StreamArgs {
    /// Its name.
    name: StoreName,
    /// Subjects that it stores.
    #[arg(required = true)]
    subjects: Vec<SubjectFilter>,
    /// The place of messages: file or memory [default: file].
    #[arg(long, value_parser = word::<Storage>)]
    storage: Option<Storage>,
    /// The rule by which messages go: limits, interest or workqueue [default: limits].
    #[arg(long, value_parser = word::<Retention>)]
    retention: Option<Retention>,
    /// The most bytes: a number, or with a unit as in 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_bytes: Option<Count>,
    /// The greatest age of a message, such as 720h.
    #[arg(long, value_name = "SPAN")]
    max_age: Option<Span>,
    /// Its purpose.
    #[arg(long)]
    description: Option<String>,
    #[command(flatten)]
    dry: Dry,
}

#[derive(Debug, clap::Args)]
pub(super) struct BucketArgs {
    /// Its name.
    name: StoreName,
    /// Its kind: kv or object.
    #[arg(long, value_parser = word::<BucketKind>)]
    kind: BucketKind,
    /// The number of values kept for a key, kv only [default: 1].
    #[arg(long)]
    history: Option<History>,
    /// The most bytes: a number, or with a unit as in 10GiB.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    max_bytes: Option<Count>,
    /// The greatest age of a value, such as 24h.
    #[arg(long, value_name = "SPAN")]
    ttl: Option<Span>,
    #[command(flatten)]
    dry: Dry,
}

/// Reads a number of bytes, with a unit or without.
fn bytes(text: &str) -> Result<Count, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|error: NumberError| error.to_string());
    }
    let size: Size = text.parse().map_err(|error: ValueError| error.to_string())?;
    Count::new(size.bytes()).map_err(|error| error.to_string())
}

/// Reads a word of one of the inventory's lists; the error names the whole list.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(text.into_deserializer())
        .map_err(|error: serde::de::value::Error| error.to_string())
}

pub(super) fn run(path: &Path, what: &What) -> Result<ExitCode> {
    let text = file::text(path)?;
    let inventory = file::parse(path, &text)?;
    match what {
        What::Host(args) => {
            let change = Change {
                path,
                text: &text,
                before: &inventory,
                at: &["hosts"],
                key: args.name.as_str(),
            };
            change.make(host(&inventory, args)?, None, args.dry.dry_run)
        }
        What::Component(args) => {
            known(&inventory, &args.host)?;
            let key = Key::of(&args.key)?;
            let address = if args.no_container {
                None
            } else {
                args.address.or_else(|| free(&inventory, &args.host))
            };
            let value = object(vec![
                ("nkey", some(&key.public)),
                ("address", given(address.as_ref())),
                ("memory", given(args.memory.as_ref())),
            ]);
            let at = ["hosts", args.host.as_str(), "components"];
            let change =
                Change { path, text: &text, before: &inventory, at: &at, key: args.name.as_str() };
            change.make(value, Some((&key, &args.key)), args.dry.dry_run)
        }
        What::Operator(args) => {
            known(&inventory, &args.host)?;
            let key = Key::of(&args.key)?;
            let value = object(vec![("nkey", some(&key.public)), ("from", some(&args.from))]);
            let at = ["hosts", args.host.as_str(), "operators"];
            let change =
                Change { path, text: &text, before: &inventory, at: &at, key: args.name.as_str() };
            change.make(value, Some((&key, &args.key)), args.dry.dry_run)
        }
        What::Stream(args) => {
            let value = object(vec![
                ("description", given(args.description.as_ref())),
                ("subjects", some(&args.subjects)),
                ("storage", given(args.storage.as_ref())),
                ("retention", given(args.retention.as_ref())),
                ("maxBytes", given(args.max_bytes.as_ref())),
                ("maxAge", given(args.max_age.as_ref())),
            ]);
            let change = Change {
                path,
                text: &text,
                before: &inventory,
                at: &["streams"],
                key: args.name.as_str(),
            };
            change.make(value, None, args.dry.dry_run)
        }
        What::Bucket(args) => {
            let value = object(vec![
                ("kind", some(&args.kind)),
                ("history", given(args.history.as_ref())),
                ("maxBytes", given(args.max_bytes.as_ref())),
                ("ttl", given(args.ttl.as_ref())),
            ]);
            let change = Change {
                path,
                text: &text,
                before: &inventory,
                at: &["buckets"],
                key: args.name.as_str(),
            };
            change.make(value, None, args.dry.dry_run)
        }
    }
}

/// Returns a member with a value.
fn some(value: &impl serde::Serialize) -> Option<Json> {
    given(Some(value))
}

/// Returns a member if it has a value.
fn given(value: Option<&impl serde::Serialize>) -> Option<Json> {
    let json =
        |value| -> Value { serde_json::to_value(value).expect("names and numbers are JSON") };
    value.map(|value| json(value).into())
}

fn known(inventory: &Inventory, host: &NodeName) -> Result<()> {
    if inventory.hosts.contains_key(host) {
        return Ok(());
    }
    let hosts: Vec<_> = inventory.hosts.keys().map(|name| format!("`{name}`")).collect();
    Err(Error::Usage(format!(
        "host `{host}` is not in the inventory, which has {}: add it with `inventory add host`",
        hosts.join(", ")
    )))
}

/// Returns the first free address of a host's containers.
fn free(inventory: &Inventory, host: &NodeName) -> Option<Ipv4Addr> {
    let host = inventory.hosts.get(host)?;
    let containers = host.containers.as_ref()?;
    let components = host.components.values().filter_map(|c| c.address);
    let plugins = host.plugins.values().filter_map(|p| p.address);
    let taken: Vec<_> = components.chain(plugins).chain([containers.host_address]).collect();
    let first = containers.cidr.first().to_bits();
    // A full network is for the check to refuse.
    (first..first.saturating_add(1 << 16))
        .map(Ipv4Addr::from_bits)
        .find(|a| containers.cidr.usable(*a) && !taken.contains(a))
}

fn host(inventory: &Inventory, args: &HostArgs) -> Result<Json> {
    let has = |(_, n): &(_, &Network)| n.cidr.contains(args.address);
    let with_it = || inventory.networks.iter().find(has).map(|(name, _)| name);
    let network = args.network.as_ref().or_else(with_it).ok_or_else(|| {
        let address = args.address;
        Error::Usage(format!("no network of the inventory has the address `{address}`: add one to `networks`, or name one with `--network`"))
    })?;
    let is_host = args.role == Role::Host;
    let only = |flag: &str, given: bool, role: Role| {
        if given && args.role != role {
            return Err(Error::Usage(format!(
                "`{flag}` is for a machine of role `{role}`: leave it out"
            )));
        }
        Ok(())
    };
    only("--max-file-store", args.max_file_store.is_some(), Role::Host)?;
    only("--max-memory-store", args.max_memory_store.is_some(), Role::Host)?;
    only("--containers", args.containers.is_some(), Role::Host)?;
    only("--provider", args.provider.is_some(), Role::Nas)?;
    let ssh = (!args.ssh_key.is_empty())
        .then(|| object(vec![("keys", some(&args.ssh_key)), ("from", some(&args.ssh_from))]));
    let nats = is_host.then(|| {
        let file = args.max_file_store.map_or(json!(107_374_182_400_u64), |n| json!(n));
        let memory = args.max_memory_store.map_or(json!(1_073_741_824), |n| json!(n));
        object(vec![("maxFileStore", Some(file.into())), ("maxMemoryStore", Some(memory.into()))])
    });
    let containers = is_host.then(|| {
        let cidr =
            args.containers.unwrap_or_else(|| "10.71.0.0/24".parse().expect("it is a network"));
        let first = Ipv4Addr::from_bits(cidr.first().to_bits().saturating_add(1));
        object(vec![("cidr", some(&cidr)), ("hostAddress", some(&first))])
    });
    let provider = match args.role {
        Role::Nas => Some(args.provider.unwrap_or(Provider::Minio)),
        Role::FakeWasabi => Some(Provider::FakeWasabi),
        Role::Host | Role::Operator => None,
    };
    Ok(object(vec![
        ("role", some(&args.role)),
        ("system", given(args.system.as_ref())),
        ("network", some(network)),
        ("address", some(&args.address)),
        ("ssh", ssh),
        ("nats", nats),
        ("containers", containers),
        ("s3", provider.map(|p| object(vec![("provider", some(&p))]))),
    ]))
}

/// A member to add to an object of the file.
struct Change<'a> {
    path: &'a Path,
    text: &'a str,
    before: &'a Inventory,
    at: &'a [&'a str],
    key: &'a str,
}

impl Change<'_> {
    /// Checks the file with the change, hands over the key's seed, and writes the file.
    fn make(&self, value: Json, key: Option<(&Key, &KeyArgs)>, dry_run: bool) -> Result<ExitCode> {
        let Self { path, text, before, at, key: name } = self;
        let place = format!("{}.{name}", at.join("."));
        let new = edit::insert(text, at, name, value).ok_or_else(|| {
            Error::Usage(format!(
                "`{place}` is in `{}` already: change it there, or choose another name",
                path.display()
            ))
        })?;
        // Earlier problems do not come from this change.
        let known = before.problems();
        let after = file::parse(path, &new)?.problems();
        let mut problems = after.iter().filter(|problem| !known.contains(problem));
        if let Some(problem) = problems.next() {
            return Err(Error::step(format!("`{place}` was not added: {problem}")));
        }
        if dry_run {
            print(&edit::difference(&path.display().to_string(), text, &new));
            say("nothing was written, because of `--dry-run`");
            return Ok(ExitCode::SUCCESS);
        }
        if let Some((key, args)) = key {
            key.hand_over(args)?;
        }
        file::replace(path, &new)?;
        say(&format!("added `{place}` to `{}`", path.display()));
        Ok(ExitCode::SUCCESS)
    }
}
