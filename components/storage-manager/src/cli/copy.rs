//! `copy`

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cim_runtime::shutdown;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::args::CopyArgs;
use super::check::RACES;
use super::exit::Failure;
use super::not_found::no_archive;
use super::progress::watched;
use super::table::size;
use super::{connect, show, show_json};
use crate::archive::Archive;
use crate::check::is_same_bucket;
use crate::check::{Found, Tried};
use crate::config::Config;
use crate::copy::{Copied, Damaged, Progress, copy, work};
use crate::s3::{Store, Tier};

/// The objects that were copied, or would be.
#[derive(Debug, Serialize)]
struct Report {
    tier: Tier,
    from: String,
    to: String,
    dry_run: bool,
    /// Objects that were copied, or would be, and their bytes.
    objects: u64,
    bytes: u64,
    /// Objects that were there already.
    there: u64,
    damaged: Vec<Damaged>,
    /// Objects that were copied and could not be checked without their encryption key.
    unchecked: u64,
    /// True if what is newest may not be there yet.
    behind: bool,
}

pub(super) async fn run(config: &Config, args: CopyArgs) -> Result<(), Failure> {
    let new = Config::load(&args.to)?;
    let (from, to) = (connect::store(config, args.from)?, connect::store(&new, args.from)?);
    let stop = shutdown::on_signal().map_err(|error| Failure::other(&error))?;
    let archive = match Archive::open_before_damage(Arc::clone(&from)).await {
        Ok(archive) => Some(archive),
        // Bytes are copied, and these need no key.
        Err(error) if error.is_locked() => None,
        Err(error) => return Err(error.into()),
    };
    if let Some(archive) = &archive
        && archive.streams().await?.is_empty()
        && archive.damage().is_none()
    {
        return Err(no_archive(config, args.from).await);
    }
    let mut report = Report {
        tier: args.from,
        from: from.bucket().into(),
        to: to.bucket().into(),
        dry_run: args.dry_run,
        objects: 0,
        bytes: 0,
        there: 0,
        damaged: Vec::new(),
        unchecked: 0,
        behind: false,
    };
    if args.dry_run {
        let pass = work(&from, &to).await?;
        (report.objects, report.bytes) = pass.size();
        report.there = pass.there;
        return report.print(args.show.json);
    }
    fit(&from, &to).await?;
    let progress = Progress::default();
    let copied = shown(copy(&from, &to, &progress, &stop), &progress).await?;
    let Copied { objects, bytes, there, collected: _, damaged, unchecked, behind } = copied;
    Report { objects, bytes, there, damaged: damaged.clone(), unchecked, behind, ..report }
        .print(args.show.json)?;
    if !damaged.is_empty() {
        return Err(Failure::damaged(format!(
            "{} of what was to be copied is damaged and was left out: the storage manager heals it where the host lives (docs/recovery.md#an-object-on-the-nas-is-damaged); then run this again",
            objects_of(damaged.len() as u64)
        )));
    }
    if behind {
        return Err(Failure::behind(format!(
            "the archive was written to meanwhile: stop the storage manager, run this again, and start it with `{}`",
            args.to.display()
        )));
    }
    // It is what it is a copy of, in every respect but where it lies.
    if archive.is_some_and(|archive| archive.damage().is_none()) {
        Archive::open(to).await?;
    }
    Ok(())
}

/// Looks whether the new bucket is another one, and does what an archive stands on.
async fn fit(from: &Store, to: &Store) -> Result<(), Failure> {
    let tried = Tried::by(to, RACES).await?;
    Found { nats: Vec::new(), tiers: vec![tried] }.fit()?;
    if is_same_bucket(to, from).await? {
        return Err(Failure::usage(format!(
            "both configurations mean the same bucket, `{}`: give `--to` the one of the new service",
            to.bucket()
        )));
    }
    Ok(())
}

fn objects_of(count: u64) -> String {
    if count == 1 { "1 object".into() } else { format!("{count} objects") }
}

impl Report {
    fn print(&self, json: bool) -> Result<(), Failure> {
        if json {
            return show_json(self);
        }
        let done = if self.dry_run { "to copy" } else { "copied" };
        let mut lines = vec![format!(
            "{}, {}, {done} from bucket `{}` to bucket `{}` ({} were there already)",
            objects_of(self.objects),
            size(self.bytes),
            self.from,
            self.to,
            self.there
        )];
        let damaged = self.damaged.iter();
        lines.extend(damaged.map(|Damaged { key, what }| format!("`{key}` was left out: {what}")));
        if self.unchecked > 0 {
            lines.push(format!(
                "{} could not be checked without their encryption keys and were copied byte for byte: `verify` of the new bucket checks them where the keys are",
                objects_of(self.unchecked)
            ));
        }
        show(lines.join("\n"))
    }
}

/// Does the work and shows its progress.
async fn shown<T>(working: impl Future<Output = T>, progress: &Progress) -> T {
    let bar = bar();
    watched(working, || {
        bar.set_length(progress.bytes.load(Ordering::Relaxed));
        bar.set_position(progress.done.load(Ordering::Relaxed));
        bar.set_message(format!("pass {}", progress.pass.load(Ordering::Relaxed)));
    })
    .await
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        "{msg} {bar:30} {binary_bytes}/{binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template above is valid");
    ProgressBar::new(0).with_style(style)
}
