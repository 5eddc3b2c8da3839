//! Heals one object after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Segment, Sha256};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use tokio::time::Instant;

use super::error::HealError;
use super::file::heal_file;
use super::part::{DamagedPart, is_damage, parts_of, take, whose};
use super::source::of_jetstream;
use super::text::{check_text, restate, says};
use super::unhealed::{Unhealed, report_unhealed};
use super::wasabi::of_wasabi;
use crate::hooks::sabotage;
use crate::journal::{Commit, Journal, NotCommitted};
use crate::s3::{ErrorKind, S3Error, Store, Tier};
use crate::segment::{Batch, SharedWriter};
use crate::tier::Context;

/// zstd level of what is made anew: it is merged soon.
const LEVEL: i32 = 1;

/// Heals what is reported until the journal is closed.
pub async fn run(context: Arc<Context>, journal: Journal) {
    let (closing, damaged_objects) = (journal.closing().clone(), &context.damaged);
    // The harness is to find the mutation, and not what is left after healing.
    let sabotaged = sabotage!(or_armed, false);
    if sabotaged {
        return;
    }
    loop {
        let Some(key) = closing.run_until_cancelled(damaged_objects.due()).await else { return };
        let healing = heal(&context, &journal, &key);
        let Some(healed) = closing.run_until_cancelled(healing).await else { return };
        match healed {
            Ok(()) => damaged_objects.end(&key),
            Err(HealError::Journal(NotCommitted::Closed(_))) => return,
            Err(HealError::Locked(error)) => {
                context.locked.note(&error);
                damaged_objects.end(&key);
            }
            // It was merged or left meanwhile.
            Err(error @ (HealError::Journal(_) | HealError::Away | HealError::Settled)) => {
                damaged_objects.put_off(&key, None);
                tracing::debug!("`{key}` cannot be read and is looked at again: {}", chain(&error));
            }
            Err(error) => {
                let why = chain(&error);
                damaged_objects.put_off(&key, Some(why.clone()));
                if damaged_objects.allows(&why) {
                    tracing::error!("{why}");
                }
            }
        }
    }
}

/// Heals one object.
async fn heal(context: &Arc<Context>, journal: &Journal, key: &str) -> Result<(), HealError> {
    let mut patients = parts_of(journal, key);
    let Some(first) = patients.first() else { return Ok(()) };
    if first.segment.part.is_none() {
        return heal_file(context, journal, &first.stream, &first.segment).await;
    }
    let bytes: u64 = patients.iter().map(|patient| patient.segment.bytes).sum();
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(bytes, None).await;

    let object = match context.nas.get(key).await {
        Err(error @ S3Error { kind: ErrorKind::Locked(_), .. }) => {
            return Err(HealError::Locked(error));
        }
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
        tracing::info!("`{key}` of the NAS can be read again");
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
    let damaged_objects = &context.damaged;
    let ill = patients.iter_mut().filter(|patient| patient.columns.is_none());
    // What was given up is looked at in its own place only.
    for patient in ill.filter(|ill| !damaged_objects.is_given_up(&ill.stream, &ill.segment)) {
        let DamagedPart { stream, segment, .. } = &*patient;
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
        tracing::warn!("`{key}` of the NAS could not be read: it was written anew, {named}");
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
    report_unhealed(context, journal, Unhealed { key, why, damaged, covered, lost }).await
}

/// Fetches the same object from Wasabi, where the NAS has it from there.
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
    healed: Vec<DamagedPart>,
) -> Result<(), HealError> {
    let level = match ArchiveKey::parse(key) {
        Ok(ArchiveKey::Shared { level, .. }) => level,
        _ => 1,
    };
    let places: Vec<(StreamName, Segment)> =
        healed.iter().map(|healed| (healed.stream.clone(), healed.segment.clone())).collect();
    let made = tokio::task::spawn_blocking(move || {
        let mut writer = SharedWriter::to(Tier::Nas, LEVEL);
        for DamagedPart { stream, segment, columns } in healed {
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
