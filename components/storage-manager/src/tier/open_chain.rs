//! Opens the chain of a stream: begins it, goes on with it, or takes over that of Wasabi.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveState, Fork, SeqRange, SeqRanges, Watermark};
use cim_core::names::StreamName;

use super::alignment::Alignment;
use super::context::Context;
use super::history::align;
use super::session_outcome::{SessionError, SessionOutcome};
use super::survey::missed;
use super::{replica_check, unsupported_config};
use crate::chain::{self, Committer, Draft};
use crate::hooks::fail_point;
use crate::jetstream::StreamInfo;

/// The interval at which an empty stream is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Reads the chain, and goes on with it where there is something to read.
pub(super) async fn open(
    context: &Arc<Context>,
    stream: &StreamName,
) -> Result<ControlFlow<SessionOutcome, (Committer, StreamInfo)>, SessionError> {
    let live = match context.jetstream.stream_info(stream.as_str(), false).await {
        Err(error) if error.not_found() => {
            return Ok(ControlFlow::Break(SessionOutcome::StreamDeleted));
        }
        other => other?,
    };
    Ok(match open_chain(context, stream, &live).await? {
        Some(committer) => ControlFlow::Continue((committer, live)),
        None => ControlFlow::Break(wait_for_a_message(context, stream, &live).await?),
    })
}

/// Waits for an empty stream to become more than that, or to go.
pub(super) async fn wait_for_a_message(
    context: &Arc<Context>,
    stream: &StreamName,
    empty: &StreamInfo,
) -> Result<SessionOutcome, SessionError> {
    tracing::warn!(
        stream = %stream,
        "the archive has messages of this stream, but the server has a new, empty one: nothing is archived until its first message; if the host was lost, delete the empty stream and restore it"
    );
    loop {
        tokio::time::sleep(LOOK).await;
        match context.jetstream.stream_info(stream.as_str(), false).await {
            Err(error) if error.not_found() => return Ok(SessionOutcome::StreamDeleted),
            Err(error) => return Err(error.into()),
            Ok(live) if live.record.created != empty.record.created => {
                return Ok(SessionOutcome::StreamChanged);
            }
            Ok(live) if live.state.last_seq > 0 => return Ok(SessionOutcome::StreamChanged),
            Ok(_) => {}
        }
    }
}

/// Reads the chain, or begins it; opens a new timeline where the live stream went another way. `None`
/// where an empty stream stands in the place of one that was archived: as often as not that is a host
/// that was lost and not restored yet, and what would be archived of it would hide what is to come back.
pub(super) async fn open_chain(
    context: &Arc<Context>,
    stream: &StreamName,
    live: &StreamInfo,
) -> Result<Option<Committer>, SessionError> {
    let state = chain::load(&context.nas, Chain::Manifest, stream).await?;
    let known = state.is_some();
    let committer = |state| {
        let (nas, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
        Committer::new(nas, Chain::Manifest, stream.clone(), writer, state)
    };
    let mut committer = committer(state);
    let consumers = context.jetstream.lasting_consumers(stream.as_str()).await?;
    if !known {
        // What the one before has on its way to Wasabi is part of what is taken over.
        let alone = context.abort.run_until_cancelled(context.lock_shipping(stream)).await;
        if let Some(wasabi) = find_remote_archive(context, stream).await? {
            tracing::warn!(
                stream = %stream,
                "the NAS has no archive of this stream but Wasabi has one: taking that over, up to sequence {}",
                wasabi.watermark().seq
            );
            context.previous_nas.bootstrapped(stream, &wasabi);
            committer.bootstrap_from(&wasabi, &context.abort).await?;
            fail_point!(AdoptAfter);
        } else {
            let consumers = consumers.reported.clone();
            let draft = Draft::first(live.record.clone(), live.state.clone(), consumers);
            committer.commit(draft, &context.abort).await?;
        }
        drop(alone);
    }
    let state = committer.opened()?;
    match align(&context.sides(), stream, state, live).await? {
        Alignment::Continues => {
            if let Some(range) = missed(state, live)
                && !has_another(context, stream, live, range).await?
            {
                context.previous_nas.missed(stream, state, range).say(stream);
                let mut draft = Draft::from_state(state);
                draft.missed = vec![range];
                draft.watermark.seq = range.last;
                committer.commit(draft, &context.abort).await?;
            }
        }
        Alignment::Forks { parent: None, .. } if live.state.last_seq == 0 => return Ok(None),
        Alignment::Forks { parent, last, reason } => {
            tracing::warn!(stream = %stream, "{reason}: opening timeline {}", state.timeline() + 1);
            if let Some(parent) = &parent
                && let Some(left) = state.after_fork(parent)
            {
                tracing::error!(
                    stream = %stream,
                    "sequences {} to {} of timeline {} are not in the live stream: unless it was restored to an earlier point, the server has lost them; the archive keeps them, and `restore {stream} --timeline {} --as NAME` brings them back",
                    left.first, left.last, parent.timeline, parent.timeline
                );
            }
            let mut draft = Draft::from_state(state);
            draft.timeline = state.timeline() + 1;
            draft.watermark = Watermark { seq: parent.as_ref().map_or(0, |p| p.last_seq), last };
            draft.lost = draft.lost.intersect(1, draft.watermark.seq);
            draft.fork = Some(Fork { parent, reason: reason.into() });
            let jetstream = &context.jetstream;
            let consumers = unsupported_config::consumers(jetstream, &state.consumers, consumers);
            draft.consumers = consumers.merged_with_previous(&state.consumers);
            let record = live.record.clone();
            draft.stream =
                unsupported_config::stream(jetstream, stream, &state.stream, record, &mut true);
            draft.state = live.state.clone();
            committer.commit(draft, &context.abort).await?;
        }
    }
    Ok(Some(committer))
}

/// Returns true if another server has some of the messages that the stream's leader does not have.
pub(super) async fn has_another(
    context: &Arc<Context>,
    stream: &StreamName,
    live: &StreamInfo,
    range: SeqRange,
) -> Result<bool, SessionError> {
    let gone = SeqRanges::from_iter([range]);
    let found =
        replica_check::held_by_replicas(context, stream, &live.cluster.current, &gone).await?;
    Ok(found.is_some_and(|found| !found.is_empty()))
}

/// Loads Wasabi's archive of a stream that the NAS has none of.
pub(super) async fn find_remote_archive(
    context: &Context,
    stream: &StreamName,
) -> Result<Option<ArchiveState>, SessionError> {
    let Some(wasabi) = &context.wasabi else { return Ok(None) };
    // Not to know is not to have nothing: a chain begun over one that Wasabi holds would hide it.
    let what = format!("looking for an archive of stream `{stream}` at Wasabi");
    let prefix = Chain::Manifest.prefix(stream);
    let folders = context.retry_until_cancelled(&what, || wasabi.list(&prefix, true)).await?;
    if folders.is_empty() {
        return Ok(None);
    }
    Ok(chain::load(wasabi, Chain::Manifest, stream).await?)
}
