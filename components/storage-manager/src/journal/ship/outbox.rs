//! Wasabi's journal: what it says, and how an entry gets there.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Sha256};
use cim_core::names::JournalName;
use tokio_util::sync::CancellationToken;

use super::error::OutboxError;
use super::repair::{Followed, follow, open_mended};
use crate::chain::{EntryRef, Log};
use crate::crypt::is_encrypted;
use crate::journal::closed::Committed;
use crate::journal::object::{Made, read_entry};
use crate::journal::open::OpenError;
use crate::journal::{Journal, checkpoint};
use crate::s3::{PutOutcome, S3Error, Store};

/// Wasabi's journal, while entries are put into it.
pub struct Outbox {
    nas: Arc<Store>,
    wasabi: Arc<Store>,
    /// The state of the journal.
    pub state: JournalState,
    log: Log,
    behind: Committed,
    checkpoint: u64,
    /// The number and the hash of the last entry's object, where that is of use.
    pub last: Option<(u64, Sha256)>,
}

const OF: JournalOf = JournalOf::Tertiary;

impl Outbox {
    /// Reads Wasabi's journal, and brings there what was decided and did not get there. `used` says which objects the
    /// NAS's journal has messages in.
    pub async fn open(
        nas: Arc<Store>,
        wasabi: Arc<Store>,
        name: &JournalName,
        used: impl Fn(&str) -> bool,
    ) -> Result<Self, OutboxError> {
        let (mut state, behind) = open_mended(&nas, &wasabi, name).await?;
        let decided = nas.list(&OF.entries(name), false).await?;
        let mut decided: Vec<String> = decided.into_iter().map(|object| object.key).collect();
        decided.sort();
        if state.last.is_none()
            && let Some(last) = decided.last()
        {
            // Its bucket was lost or emptied. It goes on with the next number, for the NAS has had the others.
            let object = nas.get(last).await?;
            state = restarted(&wasabi, &state, last, &object).await?;
        }
        let log = Log::default();
        let mut this = Self { nas, wasabi, state, log, behind, checkpoint: 0, last: None };
        for (index, key) in decided.iter().enumerate() {
            let Ok(parsed @ ArchiveKey::Journal { number, .. }) = &ArchiveKey::parse(key) else {
                continue;
            };
            if *number != this.state.next() {
                continue;
            }
            let mut object = this.nas.get(key).await?;
            let mut followed = match follow(&this.state, parsed, &object).await {
                // Another bucket was Wasabi's when it was decided.
                Err(OutboxError::Journal(_)) => break,
                followed => followed?,
            };
            if let Followed::Damaged(_) = followed {
                // It may have been harmed on its way here.
                object = this.nas.get(key).await?;
                followed = follow(&this.state, parsed, &object).await?;
            }
            match followed {
                Followed::Whole(state) => {
                    this.state = *state;
                    this.copy(key, object).await?;
                }
                Followed::Damaged(why) if used(key) => {
                    return Err(OutboxError::Undecided { key: key.clone(), why });
                }
                Followed::Damaged(why) => {
                    this.withdraw(&decided[index..], &why).await?;
                    return Ok(this);
                }
            }
        }
        let numbered = decided.iter().rev().find_map(|key| match ArchiveKey::parse(key) {
            Ok(ArchiveKey::Journal { number, .. }) => Some((number, key)),
            _ => None,
        });
        if let Some((number, key)) = numbered
            && this.state.last.is_some_and(|(last, ..)| last < number)
        {
            let object = this.nas.get(key).await?;
            this.state = restarted(&this.wasabi, &this.state, key, &object).await?;
            (this.behind, this.checkpoint) = (Committed::default(), 0);
        }
        Ok(this)
    }

    /// Takes decisions back that only the NAS has, and the first of them damaged: they are made anew.
    async fn withdraw(&self, keys: &[String], why: &str) -> Result<(), S3Error> {
        tracing::warn!(
            "`{}` was decided for Wasabi and is damaged on the NAS before it got there ({why}): it is decided again, and no message is lost",
            keys[0]
        );
        // Where this ends midway, the rest follows from the entries before it.
        for key in keys.iter().rev() {
            self.nas.delete(key).await?;
        }
        Ok(())
    }

    /// Returns whether Wasabi has the last entry, or the checkpoint of it where a journal begins anew: an entry behind one
    /// that was lost with its bucket could not be read.
    pub async fn is_there(&self) -> Result<bool, S3Error> {
        let Some((number, ..)) = self.state.last else { return Ok(true) };
        let journal = self.state.journal.clone();
        let entry = ArchiveKey::Journal { of: OF, journal: journal.clone(), number };
        let checkpoint = ArchiveKey::Checkpoint { of: OF, journal, number };
        for key in [entry, checkpoint] {
            if !self.wasabi.list(&key.to_string(), false).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Decides an entry on the NAS and copies it to Wasabi.
    pub async fn put(
        &mut self,
        made: Made,
        nas: &Journal,
        stop: &CancellationToken,
    ) -> Result<(), OutboxError> {
        let Made { entry, hash, object } = made;
        let (journal, number) = (entry.journal.clone(), entry.number);
        self.state.check(&entry)?;
        let key = ArchiveKey::Journal { of: OF, journal: journal.clone(), number };
        let link = EntryRef {
            store: Arc::clone(&self.nas),
            log: format!("Wasabi's journal `{journal}`").into(),
            key: key.clone(),
            folder: OF.entries(&journal),
            number,
            hash,
        };
        // What the NAS forgets of it Wasabi knows, so nothing is looked for there.
        self.log = Log::default();
        self.log.put(link, &object, stop).await?;
        crate::hooks::fail_point!(ShipDecided);
        let size = object.len() as u64;
        self.last = is_encrypted(&object).then(|| (number, Sha256::of(&object)));
        self.state.apply(&entry, hash)?;
        self.copy(&key.to_string(), object).await?;
        crate::hooks::fail_point!(ShipCopied);
        self.behind.entries += 1;
        self.behind.bytes += size;
        self.tidy(nas, &journal, number).await?;
        if checkpoint::due(self.behind, self.checkpoint)
            && let Some(size) = checkpoint::write(&self.wasabi, self.state.clone(), stop).await?
        {
            (self.behind, self.checkpoint) = (Committed::default(), size);
        }
        Ok(())
    }

    async fn copy(&self, key: &str, object: Bytes) -> Result<(), OutboxError> {
        let parsed = ArchiveKey::parse(key).expect("it is one of the archive's");
        if self.wasabi.put_if_absent(&parsed, object.clone()).await? == PutOutcome::AlreadyExists
            && self.wasabi.get_as_is(key).await? != object
        {
            return Err(OutboxError::Diverged(key.to_owned()));
        }
        Ok(())
    }

    /// Deletes on the NAS what Wasabi has had for a while, unless the NAS took it over from there and has its
    /// messages nowhere else. The last ones stay: they keep a second writer from deciding their numbers.
    async fn tidy(&self, nas: &Journal, journal: &JournalName, number: u64) -> Result<(), S3Error> {
        const KEPT: u64 = 16;
        let Some(number) = number.checked_sub(KEPT) else { return Ok(()) };
        let key = ArchiveKey::Journal { of: OF, journal: journal.clone(), number };
        let key = key.to_string();
        if nas.with(|state| state.shares(&key)) {
            return Ok(());
        }
        self.nas.delete(&key).await
    }
}

/// Returns Wasabi's journal as it is, to be gone on with behind an entry which only the NAS has: it was decided for
/// another bucket, or for what this one had before it was lost or emptied.
async fn restarted(
    wasabi: &Store,
    there: &JournalState,
    key: &str,
    object: &Bytes,
) -> Result<JournalState, OutboxError> {
    let (entry, hash) =
        read_entry(object).map_err(|source| OpenError::Entry { key: key.to_owned(), source })?;
    let (journal, number) = (&entry.journal, entry.number);
    match there.last {
        None => tracing::warn!(
            "Wasabi has no journal `{journal}`, although the NAS had decided its entries up to {number}: everything is copied again"
        ),
        Some((last, ..)) => tracing::warn!(
            "Wasabi has journal `{journal}` up to entry {last}, and the NAS had decided others up to {number}, for another bucket: missing segments are copied"
        ),
    }
    let mut state = there.clone();
    state.last = Some((entry.number, hash, entry.committed_at));
    checkpoint::write(wasabi, state.clone(), &CancellationToken::new()).await?;
    Ok(state)
}
