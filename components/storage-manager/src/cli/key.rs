//! `key`

use std::path::Path;

use serde::Serialize;

use super::args::KeyCommand;
use super::exit::Failure;
use super::{connect, show, show_json, table};
use crate::config::Config;
use crate::crypt::{self, Key};
use crate::s3::{ErrorKind, Tier};

/// The parts of a key that are shown: nothing that is secret.
#[derive(Debug, Serialize)]
struct Shown {
    key: String,
    /// The tiers that it writes to.
    writes: Vec<String>,
    /// The key that recovers it.
    recovery: Option<String>,
}

/// Prints a new key.
pub(super) fn new(recovery: Option<&Path>) -> Result<(), Failure> {
    let key = match recovery {
        Some(path) => Key::random().recoverable_with(&Key::read(path)?),
        None => Key::random(),
    };
    show(key.to_text().trim_end())
}

pub(super) async fn run(config: &Config, command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::New { .. } => unreachable!("it needs no configuration and is done"),
        KeyCommand::List(shown) => list(shown.json),
        KeyCommand::Of { object, from } => of(config, &object, from).await,
    }
}

fn list(json: bool) -> Result<(), Failure> {
    let keyring = crypt::installed();
    let tiers = [Tier::Nas, Tier::Wasabi];
    let shown = keyring.keys().iter().map(|key| {
        let writes =
            |tier: &Tier| keyring.writes(*tier).is_some_and(|writes| writes.id() == key.id());
        Shown {
            key: key.id().to_string(),
            writes: tiers.iter().filter(|tier| writes(tier)).map(ToString::to_string).collect(),
            recovery: key.recovered_by().map(ToString::to_string),
        }
    });
    let shown: Vec<Shown> = shown.collect();
    if json {
        return show_json(&shown);
    }
    let mut text = table::table(&["key", "writes to", "recovery key"]);
    for Shown { key, writes, recovery } in shown {
        text.add_row([key, writes.join(", "), recovery.unwrap_or_default()]);
    }
    show(text)
}

async fn of(config: &Config, object: &str, from: Tier) -> Result<(), Failure> {
    let store = connect::store(config, from)?;
    // It fails where there is no key of it.
    let bytes = match store.get(object).await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Err(Failure::usage(format!(
                "{from} has no object `{object}`: `cim-storage-manager streams --files --from {}` lists those with messages",
                from.id()
            )));
        }
        got => got?,
    };
    match crypt::key_of(&bytes) {
        Some(key) => show(key.to_base64()),
        None => Err(Failure::usage(format!("{from}: `{object}` is not encrypted"))),
    }
}
