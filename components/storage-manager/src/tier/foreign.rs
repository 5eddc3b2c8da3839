//! Tells a stream from another host's of the same name: the archive of the one does not go on with the other.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::Served;
use cim_core::names::{JournalName, StreamName};
use jiff::Timestamp;

use super::alignment::Alignment;
use super::history::{HistoryError, align};
use super::sides::Sides;
use crate::jetstream::StreamInfo;

/// A stream that the archive has from another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The stream.
    pub stream: StreamName,
    /// The journal that has it, where that is not the one that this host writes.
    pub journal: Option<JournalName>,
    /// By whom that one was served.
    pub from: Served,
    /// By whom this one is served.
    pub here: Served,
}

impl Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, journal, from, here } = self;
        write!(f, "stream `{stream}`: ")?;
        match journal {
            None => write!(f, "the archive has it")?,
            Some(journal) => write!(f, "journal `{journal}` of this bucket has it")?,
        }
        write!(
            f,
            " from {from}, and this is {here}, with other messages: it is not archived; give this host a bucket of \
             its own, or, if it takes the place of `{0}`, delete the stream and restore it, or set \
             `succeeds = [\"{0}\"]` in `[archive]`",
            from.name
        )
    }
}

/// Returns when the stream was created, in each of its timelines.
pub fn births(state: &ArchiveState) -> BTreeSet<Timestamp> {
    state.timelines.keys().map(|timeline| state.stream_of(*timeline).0.created).collect()
}

/// A live stream, and who has it.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The stream.
    pub stream: &'a StreamName,
    /// As it is now.
    pub live: &'a StreamInfo,
    /// By whom it is served, where that is known.
    pub served: Option<&'a Served>,
    /// Servers whose streams this host goes on with.
    pub succeeds: &'a [String],
}

impl Here<'_> {
    /// Returns what is wrong, should what is archived share no message with the live stream: where that was
    /// served by another one, whose place this one does not take.
    pub fn suspect(
        &self,
        journal: Option<&JournalName>,
        from: Option<&Served>,
        births: &BTreeSet<Timestamp>,
    ) -> Option<Foreign> {
        let (from, here) = from.zip(self.served)?;
        let known = births.contains(&self.live.record.created);
        if known || !from.differs(here) || self.succeeds.contains(&from.name) {
            return None;
        }
        Some(Foreign {
            stream: self.stream.clone(),
            journal: journal.cloned(),
            from: from.clone(),
            here: here.clone(),
        })
    }

    /// Returns what is wrong with the stream's archive in the journal that this host writes, given how both go
    /// together.
    pub fn in_own_aligned(
        &self,
        archived: &ArchiveState,
        alignment: &Alignment,
    ) -> Option<Foreign> {
        let foreign = self.suspect(None, archived.served.as_ref(), &births(archived))?;
        is_unrelated(alignment).then_some(foreign)
    }

    /// Compares as [`Self::in_own_aligned`] does, with the journal of another process.
    ///
    /// # Errors
    /// When the two cannot be compared.
    pub async fn in_own(
        &self,
        sides: &Sides,
        archived: &ArchiveState,
    ) -> Result<Option<Foreign>, HistoryError> {
        let foreign = self.suspect(None, archived.served.as_ref(), &births(archived));
        self.unless_shared(sides, archived, foreign).await
    }

    /// Returns what is wrong where another journal has the stream too.
    ///
    /// # Errors
    /// When the two cannot be compared.
    pub async fn in_other(
        &self,
        sides: &Sides,
        journal: &JournalName,
        archived: &ArchiveState,
    ) -> Result<Option<Foreign>, HistoryError> {
        let (from, births) = (archived.served.as_ref(), births(archived));
        let Some(foreign) = self.suspect(Some(journal), from, &births) else { return Ok(None) };
        // Of nothing there is nothing to be shared.
        let nothing = archived.watermark().seq == 0 && archived.timelines.len() == 1;
        if nothing {
            return Ok(Some(foreign));
        }
        self.unless_shared(sides, archived, Some(foreign)).await
    }

    /// Takes back what is wrong where the archive and the live stream share messages: it was restored here.
    async fn unless_shared(
        &self,
        sides: &Sides,
        archived: &ArchiveState,
        foreign: Option<Foreign>,
    ) -> Result<Option<Foreign>, HistoryError> {
        let Some(foreign) = foreign else { return Ok(None) };
        let alignment = align(sides, self.stream, archived, self.live).await?;
        Ok(is_unrelated(&alignment).then_some(foreign))
    }
}

fn is_unrelated(alignment: &Alignment) -> bool {
    matches!(alignment, Alignment::Forks { parent: None, .. })
}
