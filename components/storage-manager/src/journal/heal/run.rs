//! Heals one object after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, ArchiveState, Segment, Sha256};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use parquet::errors::ParquetError;
use tokio::time::Instant;

use super::file::heal_file;
use super::source::{of_jetstream, of_object};
use super::stays::{Place, settle};
use super::text::{check_text, restate, says};
use super::wasabi::AtWasabi;
use crate::hooks::sabotage;
use crate::jetstream::ApiError;
use crate::journal::{Commit, Journal, NotCommitted, OpenError};
use crate::s3::{Kind, S3Error, Store, Tier};
use crate::segment::{Batch, Columns, SharedWriter};
use crate::tier::Context;

/// zstd level of what is made anew: it is merged soon.
const LEVEL: i32 = 1;
/// Looks that an object is given that the NAS does not give though it answers; each takes half a minute.
const LOOKS: u32 = 4;
/// Streams that a line names.
const NAMED: usize = 8;

/// An object that stays as it is, for now at least.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealError {
    #[error(
        "`{key}` of the nas cannot be read ({why}), and JetStream does not have exactly these messages any more: {whose}: of these streams nothing behind them gets to wasabi, all else does; put the object back from a copy of the nas, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Lost { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the nas cannot be read ({why}), and wasabi has its messages in other objects only: {whose}; `restore --from wasabi` brings them back; put the object back from a copy of the nas, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Elsewhere { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the nas cannot be read ({why}), and wasabi does not say whether it has its messages"
    )]
    Silent { key: String, why: String, source: OpenError },
    /// It stays as it is, which was said, or its streams begin anew.
    #[error("what nothing has exactly any more stays damaged")]
    Settled,
    #[error(
        "`{key}` of the nas cannot be read, and neither its messages from JetStream: {whose}; it is tried again"
    )]
    Api { key: String, whose: String, source: ApiError },
    /// The whole NAS may be away, which others say.
    #[error("nor does the nas say whether its journal is there")]
    Away,
    #[error("`{key}` of the nas cannot be read, nor written anew; it is tried again")]
    S3 { key: String, source: S3Error },
    /// Whether it is damaged cannot be told without its key.
    #[error("what is there cannot be looked at, and stays as it is")]
    Locked(#[source] S3Error),
    #[error("`{key}` of the nas cannot be read, nor encoded anew")]
    Encode { key: String, source: ParquetError },
    #[error(transparent)]
    Journal(#[from] NotCommitted),
}

/// Heals what is reported until the journal is closed.
pub async fn run(context: Arc<Context>, journal: Journal) {
    let (closing, ailing) = (journal.closing().clone(), &context.ailing);
    // The harness is to find a lie, and not what is left when it was mended.
    let lies = sabotage!(or_armed, false);
    if lies {
        return;
    }
    loop {
        let Some(key) = closing.run_until_cancelled(ailing.due()).await else { return };
        let healing = heal(&context, &journal, &key);
        let Some(healed) = closing.run_until_cancelled(healing).await else { return };
        match healed {
            Ok(()) => ailing.end(&key),
            Err(HealError::Journal(NotCommitted::Closed(_))) => return,
            Err(HealError::Locked(error)) => {
                context.unopened.note(&error);
                ailing.end(&key);
            }
            // It was merged or left meanwhile.
            Err(error @ (HealError::Journal(_) | HealError::Away | HealError::Settled)) => {
                ailing.put_off(&key, None);
                tracing::debug!("`{key}` cannot be read and is looked at again: {}", chain(&error));
            }
            Err(error) => {
                let why = chain(&error);
                ailing.put_off(&key, Some(why.clone()));
                if ailing.may_say(&why) {
                    tracing::error!("{why}");
                }
            }
        }
    }
}

/// A part of a damaged object, and its messages where they are known.
pub(super) struct Patient {
    pub(super) stream: StreamName,
    pub(super) segment: Segment,
    pub(super) columns: Option<Columns>,
}

/// Heals one object.
async fn heal(context: &Arc<Context>, journal: &Journal, key: &str) -> Result<(), HealError> {
    let mut patients = patients(journal, key);
    let Some(first) = patients.first() else { return Ok(()) };
    if first.segment.part.is_none() {
        return heal_file(context, journal, &first.stream, &first.segment).await;
    }
    let bytes: u64 = patients.iter().map(|patient| patient.segment.bytes).sum();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(bytes, None).await;

    let object = match context.nas.get(key).await {
        Err(error @ S3Error { kind: Kind::Locked(_), .. }) => return Err(HealError::Locked(error)),
        Err(error) => Err(context.nas.judged(error).await),
        got => got,
    };
    let is_entry = object.as_ref().is_ok_and(|object| says(journal, key, object).is_ok());
    let mut why = object.as_ref().err().map(|error| chain(error));
    let damaged = object.as_ref().err().is_none_or(|error| is_damage(context, key, error));
    if let Ok(object) = object {
        check_text(context, journal, key, &object);
        why = take(&mut patients, key, object).await.or(why);
    }
    if patients.iter().all(|patient| patient.columns.is_some()) {
        tracing::info!("`{key}` of the nas can be read again");
        return Ok(());
    }
    // It may have gone with the bucket: then all begins anew.
    if !journal.look().await {
        return Err(HealError::Away);
    }
    if let Some(object) = at_wasabi(context, key).await {
        take(&mut patients, key, object).await;
    }
    let mut silent = None;
    let ailing = &context.ailing;
    let ill = patients.iter_mut().filter(|patient| patient.columns.is_none());
    // What was given up is looked at in its own place only.
    for patient in ill.filter(|ill| !ailing.is_given_up(&ill.stream, &ill.segment)) {
        let Patient { stream, segment, .. } = &*patient;
        match of_jetstream(context, stream, segment).await {
            Ok(found) => patient.columns = found,
            Err(source) => {
                let whose = whose([(stream, segment)].into_iter());
                silent.get_or_insert(HealError::Api { key: key.into(), whose, source });
            }
        }
    }
    let covered = of_wasabi(context, journal, &mut patients).await;
    let (healed, lost): (Vec<_>, Vec<_>) =
        patients.into_iter().partition(|patient| patient.columns.is_some());
    let named = whose(healed.iter().map(|healed| (&healed.stream, &healed.segment)));
    if !healed.is_empty() {
        replace(context, journal, key, healed).await?;
        tracing::warn!("`{key}` of the nas could not be read: it was written anew, {named}");
    }
    if !is_entry {
        // Without its entry the journal can be opened only behind a checkpoint.
        restate(context, journal, key);
    }
    if let Some(error) = silent {
        return Err(error);
    }
    if lost.is_empty() {
        return Ok(());
    }
    let (why, lost) = (why.unwrap_or_default(), lost.into_iter());
    let lost = lost.map(|lost| (lost.stream, lost.segment)).collect();
    stays(context, journal, Stays { key, why, damaged, covered, lost }).await
}

/// Returns whether an error says that an object is damaged. What the NAS does not give, though it answers, may come a
/// little later.
pub(super) fn is_damage(context: &Context, key: &str, error: &S3Error) -> bool {
    let patient = || context.ailing.tries(key) >= LOOKS;
    error.kind == Kind::NotFound || (error.kind.is_damage() && patient())
}

/// Parts that could not be healed, and what is known of them.
pub(super) struct Stays<'a> {
    pub(super) key: &'a str,
    pub(super) why: String,
    /// The NAS answers, and does not have them.
    pub(super) damaged: bool,
    /// Those that Wasabi has, where it says so.
    pub(super) covered: Result<Vec<Place>, OpenError>,
    pub(super) lost: Vec<Place>,
}

/// Says what becomes of parts that could not be healed.
pub(super) async fn stays(
    context: &Arc<Context>,
    journal: &Journal,
    stays: Stays<'_>,
) -> Result<(), HealError> {
    let Stays { key, why, damaged, covered, lost } = stays;
    let key = key.to_owned();
    let named = |places: &[Place]| whose(places.iter().map(|(stream, segment)| (stream, segment)));
    if !damaged {
        return Err(HealError::Lost { key, why, whose: named(&lost) });
    }
    let covered = match covered {
        Ok(covered) => covered,
        Err(source) => return Err(HealError::Silent { key, why, source }),
    };
    let (elsewhere, nowhere) = lost.into_iter().partition(|place| covered.contains(place));
    let lost = settle(context, journal, &key, nowhere).await?;
    Err(match (lost.is_empty(), elsewhere.is_empty()) {
        (false, _) => HealError::Lost { key, why, whose: named(&lost) },
        (_, false) => HealError::Elsewhere { key, why, whose: named(&elsewhere) },
        (true, true) => HealError::Settled,
    })
}

/// Takes from Wasabi what nothing else has exactly. Returns what it has and a part could not be made of.
pub(super) async fn of_wasabi(
    context: &Context,
    journal: &Journal,
    patients: &mut [Patient],
) -> Result<Vec<Place>, OpenError> {
    let ill = patients.iter_mut().filter(|patient| patient.columns.is_none());
    let mut ill = ill
        .filter(|ill| !context.ailing.is_given_up(&ill.stream, &ill.segment))
        .collect::<Vec<_>>();
    let Some(store) = context.wasabi.as_deref().filter(|_| !ill.is_empty()) else {
        return Ok(Vec::new());
    };
    let there = AtWasabi::open(store, journal).await?;
    let mut covered = Vec::new();
    for Patient { stream, segment, columns } in &mut ill {
        let missed =
            |state: &ArchiveState| Some(state.timelines.get(&segment.timeline)?.missed.clone());
        let missed = journal.stream(stream, missed).flatten().unwrap_or_default();
        let Some(from) = there.covering(stream, segment, &missed) else { continue };
        // What is damaged there too is of no help, and nothing is to wait for it.
        *columns = there.read(segment, from).await?;
        if columns.is_some() && segment.part.is_none() {
            covered.push((stream.clone(), segment.clone()));
        }
    }
    Ok(covered)
}

/// What the journal has in an object, in the order in which it stands there.
pub(super) fn patients(journal: &Journal, key: &str) -> Vec<Patient> {
    journal.with(|state| {
        let all = state.streams.iter().flat_map(|(stream, archive)| {
            let here = archive.segments.values().filter(|segment| segment.key == key);
            here.map(|segment| (stream.clone(), segment.clone()))
        });
        all.map(|(stream, segment)| Patient { stream, segment, columns: None }).collect()
    })
}

/// Takes what is whole of an object. Returns what is wrong with the first that is not.
pub(super) async fn take(patients: &mut [Patient], key: &str, object: Bytes) -> Option<String> {
    let segments = patients.iter().map(|patient| patient.segment.clone()).collect();
    let mut why = None;
    for (patient, read) in patients.iter_mut().zip(of_object(key, object, segments).await) {
        match read {
            Ok(columns) => patient.columns = Some(columns),
            Err(error) => why = why.or_else(|| Some(chain(&error))),
        }
    }
    why
}

/// The same object at Wasabi, where the NAS has it from there.
async fn at_wasabi(context: &Context, key: &str) -> Option<Bytes> {
    let wasabi: &Store = context.wasabi.as_ref()?;
    if !key.starts_with(JournalOf::Tertiary.prefix()) {
        return None;
    }
    wasabi.get(key).await.ok()
}

/// Writes parts into a new object, which takes the place of the one with this key.
async fn replace(
    context: &Arc<Context>,
    journal: &Journal,
    key: &str,
    healed: Vec<Patient>,
) -> Result<(), HealError> {
    let level = match ArchiveKey::parse(key) {
        Ok(ArchiveKey::Shared { level, .. }) => level,
        _ => 1,
    };
    let places: Vec<(StreamName, Segment)> =
        healed.iter().map(|healed| (healed.stream.clone(), healed.segment.clone())).collect();
    let made = tokio::task::spawn_blocking(move || {
        let mut writer = SharedWriter::to(Tier::Nas, LEVEL);
        for Patient { stream, segment, columns } in healed {
            let columns = columns.unwrap_or_default();
            writer.append(Batch { stream, timeline: segment.timeline, columns })?;
        }
        let parts = writer.parts()?;
        Ok((parts, writer.finish(None)?))
    });
    let made = made.await.expect("encoding does not panic");
    let (parts, object) = made.map_err(|source| HealError::Encode { key: key.into(), source })?;
    let (journal_name, number) = journal.with(|state| (state.journal.clone(), state.next()));
    let new = ArchiveKey::Shared {
        of: JournalOf::Secondary,
        journal: journal_name,
        level,
        number,
        hash: Sha256::of(&object).short(),
    };
    let put = context.nas.put(&new, object).await;
    put.map_err(|source| HealError::S3 { key: key.into(), source })?;
    let mut commits: BTreeMap<StreamName, Commit> = BTreeMap::new();
    for ((stream, old), part) in places.into_iter().zip(parts) {
        let part = Segment { key: new.to_string(), ..part };
        commits.entry(stream).or_default().change.replace.push(Replacement {
            timeline: old.timeline,
            first_seq: old.first_seq,
            last_seq: old.last_seq,
            by: vec![SegmentRecord::of(&part, None)],
        });
    }
    Ok(journal.commit(commits.into_iter().collect(), Vec::new(), Instant::now()).await?)
}

/// Names streams and their sequences.
pub(super) fn whose<'a>(parts: impl Iterator<Item = (&'a StreamName, &'a Segment)>) -> String {
    let parts: Vec<String> = parts
        .map(|(stream, segment)| {
            format!("stream `{stream}`, sequences {} to {}", segment.first_seq, segment.last_seq)
        })
        .collect();
    let named = parts.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    match parts.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
