//! `erase`

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use cim_core::archive::SeqRange;
use cim_runtime::nats::{Login, Nkey};
use serde::Serialize;

use super::args::EraseArgs;
use super::exit::Failure;
use super::not_found::unknown_stream;
use super::{connect, show, show_json, table};
use crate::archive::Archive;
use crate::config::{Config, Layout};
use crate::erase::{EraseError, Eraser, Request, RewriteError, Seen, Tiers, Wanted};
use crate::jetstream::JetStream;
use crate::journal::{self, OutboxError};
use crate::s3::Tier;

/// Runs of sequences that a table shows.
const SHOWN: usize = 4;

/// The messages that were erased, or would be.
#[derive(Debug, Serialize)]
struct Report {
    stream: String,
    dry_run: bool,
    /// The public nkey of who signed.
    signed_by: Option<String>,
    tiers: Vec<Tiers>,
}

pub(super) async fn run(config: &Config, args: EraseArgs) -> Result<(), Failure> {
    if config.archive.layout == Layout::Chains {
        return Err(Failure::usage(
            "of chains nothing can be erased: set `layout = \"journal\"` in `[archive]`, and let the storage manager run with it first",
        ));
    }
    let key = if args.dry_run { None } else { Some(key(config, &args)?) };
    let nas = connect::store(config, Tier::Nas)?;
    let wasabi = connect::optional_store(config, Tier::Wasabi)?;
    let jetstream = if args.without_nats { None } else { Some(connect::jetstream(config).await?) };
    let wanted = Arc::new(Wanted {
        stream: args.stream.clone(),
        subjects: args.subject.clone(),
        sequences: args.seq.unwrap_or(SeqRange { first: 1, last: u64::MAX }),
    });
    if let Some(jetstream) = &jetstream {
        gone_from_nats(jetstream, &wanted).await?;
    }
    let by = format!("{} erase {}", config.node.name, uuid::Uuid::now_v7());
    let eraser = Eraser {
        nas: Arc::clone(&nas),
        wasabi,
        journal: config.archive.journal.clone(),
        wanted: Arc::clone(&wanted),
        by: by.as_str().into(),
        seen: Seen::default(),
    };
    if !is_known(&eraser).await? {
        return Err(unknown_stream(config, &args.stream, Tier::Nas).await);
    }
    let stream = args.stream.to_string();
    // Objects are looked through before the storage manager is made to wait.
    let mut found = eraser.look().await?;
    let Some(key) = key else {
        eraser.add_old_versions(&mut found).await?;
        let report = Report { stream, dry_run: true, signed_by: None, tiers: found };
        report.print(args.show.json)?;
        return report.whole();
    };
    if !args.yes {
        confirm(&args, &found)?;
    }
    let lead = match &jetstream {
        Some(jetstream) => {
            let taken = journal::take(jetstream.client(), &config.archive.journal, &by).await;
            // The storage manager reads nothing any more; what it had read of NATS before is thrown away.
            let lead = taken.map_err(|error| Failure::refused(&error))?;
            gone_from_nats(jetstream, &wanted).await?;
            Some(lead)
        }
        None => None,
    };
    let request = Request { key: &key, reason: args.reason.clone().unwrap_or_default() };
    let mut tiers = eraser.erase(&request).await?;
    drop(lead);
    eraser.add_old_versions(&mut tiers).await?;
    let report = Report { stream, dry_run: false, signed_by: Some(key.public_key()), tiers };
    report.print(args.show.json)?;
    report.whole()
}

/// Reads the nkey that signs.
fn key(config: &Config, args: &EraseArgs) -> Result<Nkey, Failure> {
    if let Some(file) = &args.key {
        return Ok(Nkey::read(file)?);
    }
    match config.nats.login()? {
        Login::Nkey(nkey) | Login::Credentials { nkey, .. } => Ok(nkey),
        _ => Err(Failure::usage(
            "an erasure is signed, and NATS is logged in to without an nkey: name the file of one with `--key` (`nats auth nkey gen user` makes one)",
        )),
    }
}

/// Returns whether a tier has the stream.
async fn is_known(eraser: &Eraser) -> Result<bool, Failure> {
    for store in [Some(&eraser.nas), eraser.wasabi.as_ref()].into_iter().flatten() {
        let archive = Archive::open(Arc::clone(store)).await?;
        if archive.streams().await?.contains(&eraser.wanted.stream) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses where the live stream still has one of the messages: it would be archived anew.
async fn gone_from_nats(jetstream: &JetStream, wanted: &Wanted) -> Result<(), Failure> {
    let (stream, SeqRange { first, last }) = (&wanted.stream, wanted.sequences);
    for filter in &wanted.subjects {
        let next = jetstream.next_message_on(stream.as_str(), first, filter).await?;
        let Some(there) = next.filter(|message| message.seq <= last) else { continue };
        let way = if (first, last) == (1, u64::MAX) {
            format!("`nats stream purge {stream} --subject '{filter}'`")
        } else {
            format!("`nats stream rmm {stream} {}` for each of them", there.seq)
        };
        return Err(Failure::refusal(format!(
            "stream `{stream}` still has message {} on `{filter}`, which would be archived again: {way}, then run this again",
            there.seq
        )));
    }
    Ok(())
}

/// Asks whether it is meant, where there is someone to be asked.
fn confirm(args: &EraseArgs, found: &[Tiers]) -> Result<(), Failure> {
    let messages: Vec<String> =
        found.iter().map(|tier| format!("{} on {}", tier.messages, tier.tier)).collect();
    let what = format!("{} messages of stream `{}`", messages.join(" and "), args.stream);
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "{what} would be erased for good: say `--yes` where it is meant, or `--dry-run`"
        )));
    }
    let mut out = std::io::stderr();
    write!(out, "Erase {what} for good? Nothing brings them back. [y/N] ")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::other(&error))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::other(&error))?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failure::interrupted("nothing was erased"))
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return show_json(self);
        }
        let headers = ["tier", "#messages", "#written anew", "#deleted", "sequences"];
        let mut shown = table::table(&headers);
        for tier in &self.tiers {
            shown.add_row([
                tier.tier.to_string(),
                tier.messages.to_string(),
                tier.rewritten.to_string(),
                tier.deleted.to_string(),
                sequences(tier),
            ]);
        }
        show(shown)
    }

    /// Returns an error where something is left that may hold what was to be erased.
    fn whole(&self) -> Result<(), Failure> {
        let mut left = Vec::new();
        for Tiers { tier, kept, old_versions, .. } in &self.tiers {
            if let Some(key) = kept.first() {
                left.push(format!(
                    "{tier}: {} objects stay, for the key may not delete (`s3:DeleteObject`), the first is `{key}`: run this again with a key that may",
                    kept.len()
                ));
            }
            if let Some(version) = old_versions.first() {
                let until = old_versions.iter().filter_map(|old| old.locked_until.as_ref()).max();
                let locked =
                    until.map(|until| format!(", locked until {until}")).unwrap_or_default();
                left.push(format!(
                    "{tier}: the bucket keeps {} old versions that hold them{locked}: delete each, as in `mc rm --version-id {} ALIAS/BUCKET/{}` (`--json` lists them)",
                    old_versions.len(),
                    version.version,
                    version.key
                ));
            }
        }
        let unread: Vec<String> = self
            .tiers
            .iter()
            .flat_map(|tier| {
                tier.unread.iter().map(move |unread| format!("{}: {}", tier.tier, unread.why))
            })
            .collect();
        if !unread.is_empty() {
            left.push(format!(
                "{} objects could not be looked through, and may hold some: {}; heal them (docs/recovery.md#an-object-on-the-nas-is-damaged) or delete them, and run this again",
                unread.len(),
                unread[0]
            ));
        }
        let done = if self.dry_run { "would not be all" } else { "erased, but not all" };
        match (left.is_empty(), unread.is_empty()) {
            (true, _) => Ok(()),
            (false, true) => Err(Failure::refusal(format!("{done}: {}", left.join("; ")))),
            (false, false) => Err(Failure::damaged(format!("{done}: {}", left.join("; ")))),
        }
    }
}

/// Says which sequences, of each timeline the first ones.
fn sequences(tier: &Tiers) -> String {
    let many = tier.timelines.len() > 1;
    let of = tier.timelines.iter().map(|erased| {
        let runs = erased.sequences.iter().take(SHOWN).map(|SeqRange { first: from, last: to }| {
            if from == to { from.to_string() } else { format!("{from} to {to}") }
        });
        let mut text = runs.collect::<Vec<_>>().join(", ");
        if erased.sequences.len() > SHOWN {
            text.push_str(", …");
        }
        if many { format!("timeline {}: {text}", erased.timeline) } else { text }
    });
    of.collect::<Vec<_>>().join("; ")
}

impl From<EraseError> for Failure {
    fn from(error: EraseError) -> Self {
        match error {
            EraseError::S3(error)
            | EraseError::Rewrite(RewriteError::S3(error))
            | EraseError::Decide(OutboxError::S3(error)) => error.into(),
            EraseError::Open(error) | EraseError::Decide(OutboxError::Open(error)) => error.into(),
            EraseError::Rewrite(RewriteError::Segment(error)) => error.into(),
            EraseError::Chain(error) => error.into(),
            EraseError::InChain { .. } | EraseError::InTwo { .. } => Self::refused(&error),
            EraseError::Unseen
            | EraseError::Journal(_)
            | EraseError::Decide(_)
            | EraseError::Rewrite(_)
            | EraseError::Encode(_)
            | EraseError::Refused(_) => Self::other(&error),
        }
    }
}
