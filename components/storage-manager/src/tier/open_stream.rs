//! Opens a stream before it is read into a journal: its archive is begun, gone on with, or left alone.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::{Change, Retention, Served, StreamCheckpoint};
use cim_core::archive::key::Chain;
use cim_core::archive::{
    ArchiveState, ConsumerRecord, Fork, ParentTimeline, TimelineRecord, Watermark,
};
use cim_core::names::StreamName;
use tokio::time::Instant;

use super::alignment::Alignment;
use super::context::Context;
use super::foreign::{Foreign, Here};
use super::gaps::preview;
use super::history::align;
use super::open_chain::{find_remote_archive, has_another, wait_for_a_message};
use super::rearchive::Cut;
use super::session_outcome::{SessionError, SessionOutcome};
use super::sides::Note;
use super::survey::missed;
use super::{other_journals, unsupported_config};
use crate::jetstream::{Consumers, StreamInfo};
use crate::journal::{Commit, Journal};
use crate::tier::damaged;
use crate::{chain, clock};

/// Time between two looks at a stream that is refused.
const LOOK: Duration = Duration::from_secs(5);
/// Time after which it is compared anew with the archive.
const COMPARE: Duration = Duration::from_mins(5);

/// A stream that is to be read, and by whom it is served, where that is known.
pub type Begun = (StreamInfo, Option<Served>);

/// Opens a stream's archive; goes on where there is something to read.
pub async fn open(
    context: &Arc<Context>,
    journal: &Journal,
    stream: &StreamName,
) -> Result<ControlFlow<SessionOutcome, Begun>, SessionError> {
    let live = match context.jetstream.stream_info(stream.as_str(), false).await {
        Err(error) if error.not_found() => {
            return Ok(ControlFlow::Break(SessionOutcome::StreamDeleted));
        }
        other => other?,
    };
    let served = context.jetstream.served(&live).await;
    let opened = Opening { context, journal, stream, served: served.as_ref() }.open(&live).await?;
    if !matches!(opened, Opened::Foreign(_)) {
        context.foreign().remove(stream);
    }
    Ok(match opened {
        Opened::Ready => ControlFlow::Continue((live, served)),
        Opened::Empty => ControlFlow::Break(wait_for_a_message(context, stream, &live).await?),
        Opened::Foreign(foreign) => {
            ControlFlow::Break(wait_while_foreign(context, journal, &foreign, &live).await?)
        }
    })
}

/// Says that a stream is refused, once, and waits until it is another one, or may be told from the other host's.
async fn wait_while_foreign(
    context: &Arc<Context>,
    journal: &Journal,
    foreign: &Foreign,
    live: &StreamInfo,
) -> Result<SessionOutcome, SessionError> {
    let (stream, why) = (&foreign.stream, foreign.to_string());
    if context.foreign().insert(stream.clone(), why.clone()).as_ref() != Some(&why) {
        tracing::error!("{why}");
    }
    let served = || journal.stream(stream, |state| state.served.clone());
    let (known, begun) = (served(), Instant::now());
    while begun.elapsed() < COMPARE && served() == known {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            closed = journal.closed() => return Err(closed.into()),
        }
        match context.jetstream.stream_info(stream.as_str(), false).await {
            Err(error) if error.not_found() => return Ok(SessionOutcome::StreamDeleted),
            Err(error) => return Err(error.into()),
            Ok(now) if now.record.created != live.record.created => break,
            Ok(_) => {}
        }
    }
    Ok(SessionOutcome::StreamChanged)
}

/// A stream's archive when it was opened.
enum Opened {
    /// It goes on.
    Ready,
    /// An empty stream stands in the place of one that was archived (docs/adr/0009).
    Empty,
    /// The archive is another host's.
    Foreign(Foreign),
}

/// A timeline that is opened.
struct New {
    parent: Option<ParentTimeline>,
    watermark: Watermark,
    reason: &'static str,
}

/// A stream that is opened.
struct Opening<'a> {
    context: &'a Arc<Context>,
    journal: &'a Journal,
    stream: &'a StreamName,
    served: Option<&'a Served>,
}

impl Opening<'_> {
    fn state(&self) -> Option<ArchiveState> {
        self.journal.stream(self.stream, ArchiveState::clone)
    }

    async fn commit(&self, change: Change) -> Result<ArchiveState, SessionError> {
        let commit = Commit { change, ..Commit::default() };
        self.journal
            .commit(vec![(self.stream.clone(), commit)], Vec::new(), Instant::now())
            .await?;
        self.state().ok_or_else(|| SessionError::NotInJournal(self.stream.clone()))
    }

    /// Begins the stream's archive where there is none; opens a new timeline where the live stream went
    /// another way.
    async fn open(&self, live: &StreamInfo) -> Result<Opened, SessionError> {
        let here = Here {
            stream: self.stream,
            live,
            served: self.served,
            succeeds: &self.context.config.archive.succeeds,
        };
        if let Some(foreign) = self.in_other(&here).await? {
            return Ok(Opened::Foreign(foreign));
        }
        let consumers = self.context.jetstream.lasting_consumers(self.stream.as_str()).await?;
        let state = if let Some(state) = self.state() {
            state
        } else {
            let begin = self.begin(live, &consumers.reported).await?;
            let begun = self.commit(Change { begin: Some(begin), ..Change::default() }).await?;
            self.context.begun.notify_one();
            begun
        };
        let sides = self.context.sides();
        let alignment = align(&sides, self.stream, &state, live).await?;
        for Note { key, error } in sides.unread.take() {
            if !self.context.locked.note_fetch(&error) {
                self.context.damaged.report(&key);
            }
        }
        // A timeline that begins for another reason may be whole; where it is not, that is found again.
        let damaged = self.context.rearchive.take(self.stream);
        let foreign = here.in_own_aligned(&state, &alignment);
        match alignment {
            Alignment::Continues => {
                if let Some(range) = missed(&state, live)
                    && !has_another(self.context, self.stream, live, range).await?
                {
                    self.context.previous_nas.missed(self.stream, &state, range).say(self.stream);
                    let last = state.watermark().last.clone();
                    let watermark = Some(Watermark { seq: range.last, last });
                    self.commit(Change { missed: vec![range], watermark, ..Change::default() })
                        .await?;
                }
                if let Some(place) = damaged {
                    self.begin_anew(live, &consumers, place).await?;
                }
            }
            Alignment::Forks { parent: None, .. } if live.state.last_seq == 0 => {
                return Ok(Opened::Empty);
            }
            Alignment::Forks { parent, last, reason } => {
                if let Some(foreign) = foreign {
                    return Ok(Opened::Foreign(foreign));
                }
                let next = state.timeline() + 1;
                tracing::warn!(stream = %self.stream, "{reason}: opening timeline {next}");
                if let Some(parent) = &parent
                    && let Some(left) = state.after_fork(parent)
                {
                    tracing::error!(
                        stream = %self.stream,
                        "sequences {} to {} of timeline {} are not in the live stream: unless it was restored to an earlier point, the server has lost them; the archive keeps them, and `restore {} --timeline {} --as NAME` brings them back",
                        left.first, left.last, parent.timeline, self.stream, parent.timeline
                    );
                }
                let seq = parent.as_ref().map_or(0, |p| p.last_seq);
                let new = New { parent, watermark: Watermark { seq, last }, reason };
                self.fork(&state, live, &consumers, new).await?;
            }
        }
        Ok(Opened::Ready)
    }

    /// Opens a timeline.
    async fn fork(
        &self,
        state: &ArchiveState,
        live: &StreamInfo,
        consumers: &Consumers,
        new: New,
    ) -> Result<(), SessionError> {
        let New { parent, watermark, reason } = new;
        let shared = parent.as_ref().map_or(0, |parent| parent.last_seq);
        let lost = state.current().lost.intersect(1, shared);
        let jetstream = &self.context.jetstream;
        let consumers =
            unsupported_config::consumers(jetstream, &state.consumers, consumers.clone());
        let record = live.record.clone();
        let record =
            unsupported_config::stream(jetstream, self.stream, &state.stream, record, &mut true);
        let change = Change {
            watermark: Some(watermark),
            lost: (!lost.is_empty()).then(|| lost.iter().collect()),
            fork: Some(Fork { parent, reason: reason.into() }),
            consumers: Some(consumers.merged_with_previous(&state.consumers)),
            stream: Some(record),
            state: Some(live.state.clone()),
            served: self.served.and_then(|served| served.news(state.served.as_ref())),
            ..Change::default()
        };
        self.commit(change).await.map(drop)
    }

    /// Begins a timeline before a damaged segment, unless that can be read by now.
    async fn begin_anew(
        &self,
        live: &StreamInfo,
        consumers: &Consumers,
        place: (u32, u64),
    ) -> Result<(), SessionError> {
        let Some(state) = self.state() else { return Ok(()) };
        let Some(Cut { damaged, parent, last }) = Cut::before(&state, place) else { return Ok(()) };
        if !damaged::is_damaged(self.context, &damaged).await || !self.journal.look().await {
            return Ok(());
        }
        let (stream, key, left) = (self.stream, &damaged.key, state.timeline());
        let shared = parent.as_ref().map_or(0, |parent| parent.last_seq);
        let lost = state.current().lost.intersect(shared + 1, u64::MAX);
        // What limits have dropped is not missed: the stream begins behind it.
        let seq = shared.max(live.state.first_seq.saturating_sub(1));
        let new = New { parent, watermark: Watermark { seq, last }, reason: Fork::ANEW };
        self.fork(&state, live, consumers, new).await?;
        tracing::warn!(
            stream = %stream,
            "`{key}` of the NAS is damaged, and no other copy has sequences {} to {} of stream `{stream}` exactly as they were archived: the messages that the live stream still has after sequence {shared} are archived again, in timeline {}; those that it has dropped or deleted are in timeline {left} only, as far as that can be read",
            damaged.first_seq, damaged.last_seq, left + 1
        );
        if !lost.is_empty() {
            tracing::error!(
                stream = %stream,
                "sequences {}, which the server has lost by damage, are only in timeline {left} now: `restore {stream} --timeline {left} --as NAME` brings them back, as far as they can be read",
                preview(&lost)
            );
        }
        self.context.damaged.again(key);
        Ok(())
    }

    /// Looks for the stream in the other journals of the bucket: of two that have it readers believe the one that
    /// spoke last.
    async fn in_other(&self, here: &Here<'_>) -> Result<Option<Foreign>, SessionError> {
        let Context { nas, other_journals, config, .. } = &**self.context;
        let own = &config.archive.journal;
        let spoke = self.journal.stream(self.stream, |state| state.committed_at);
        let other = other_journals.latest(nas, own, self.stream, spoke.is_none()).await?;
        let Some(other) = other else { return Ok(None) };
        let last = spoke.is_none_or(|spoke| spoke < other.committed_at);
        let suspect = here.suspect(Some(&other.journal), other.served.as_ref(), &other.births);
        if !last || suspect.is_none() {
            return Ok(None);
        }
        let journals = other_journals::read(nas, own).await?;
        let Some((journal, state)) = other_journals::latest(&journals, self.stream) else {
            return Ok(None);
        };
        Ok(here.in_other(&self.context.sides(), journal, state).await?)
    }

    /// Returns what a journal says first of a stream: what its chain says, where it was archived by one, or nothing.
    async fn begin(
        &self,
        live: &StreamInfo,
        consumers: &[ConsumerRecord],
    ) -> Result<StreamCheckpoint, SessionError> {
        if let Some(state) = chain::load(&self.context.nas, Chain::Manifest, self.stream).await? {
            tracing::info!(
                stream = %self.stream,
                "the journal takes over its chain, up to sequence {}",
                state.watermark().seq
            );
            return Ok(StreamCheckpoint::of(&state));
        }
        if let Some(state) = find_remote_archive(self.context, self.stream).await? {
            tracing::warn!(
                stream = %self.stream,
                "the NAS has no archive of this stream but Wasabi has one: taking that over, up to sequence {}",
                state.watermark().seq
            );
            self.context.previous_nas.bootstrapped(self.stream, &state);
            return Ok(StreamCheckpoint::of(&state));
        }
        let timeline = TimelineRecord::first(live.state.clone());
        Ok(StreamCheckpoint {
            timelines: vec![timeline],
            segments: Vec::new(),
            stream: live.record.clone(),
            consumers: consumers.to_vec(),
            served: self.served.cloned(),
            deletes_known: None,
            deliveries: BTreeMap::new(),
            erased: Vec::new(),
            retention: Retention::default(),
            number: 0,
            committed_at: clock::now(),
        })
    }
}
