//! The parts of a plan that take reading.

use super::error::RestoreError;
use super::fetch::read_anew;
use super::partial_batch::PartialBatch;
use super::plan::Plan;
use super::point_in_time;
use super::rolled_up::RolledUp;
use super::source::Source;

/// Cuts a plan off at its point in time, finds what its end says that it took away, and leaves out half a batch there.
/// Where segments were merged meanwhile they are read where they went. Once is enough.
pub(super) async fn resolve(source: &Source, plan: &mut Plan) -> Result<(), RestoreError> {
    if plan.resolved {
        return Ok(());
    }
    if let Err(error) = point_in_time::cut_off(source, plan).await {
        renew(source, plan, error).await?;
        point_in_time::cut_off(source, plan).await?;
    }
    if let Err(error) = find_rolled_up(source, plan).await {
        renew(source, plan, error).await?;
        find_rolled_up(source, plan).await?;
    }
    if let Err(error) = leave_out_half_batch(source, plan).await {
        renew(source, plan, error).await?;
        leave_out_half_batch(source, plan).await?;
    }
    plan.resolved = true;
    Ok(())
}

/// Returns whether it takes reading to know what the plan leaves out and a user is told before.
pub(super) fn is_worth_it(plan: &Plan) -> bool {
    plan.config["allow_atomic"] == true
}

/// Reads anew where a plan's messages are; where that is nowhere else the error stands.
async fn renew(source: &Source, plan: &mut Plan, error: RestoreError) -> Result<(), RestoreError> {
    match read_anew(source, plan, plan.first_seq).await {
        Some(pieces) if pieces != plan.pieces => {
            plan.pieces = pieces;
            Ok(())
        }
        _ => Err(error),
    }
}

/// Finds what the end of a stream says that it took away, where it may say that.
async fn find_rolled_up(source: &Source, plan: &mut Plan) -> Result<(), RestoreError> {
    let Some(tail) = plan.tail else { return Ok(()) };
    let mut found = RolledUp::default();
    for piece in plan.pieces.iter().filter(|piece| tail.has(piece)) {
        let (segment, first, last) = piece;
        let content = source.content(segment).await?;
        content.read::<RestoreError>(segment, |message| {
            if (first..=last).contains(&&message.seq) {
                found.note(message);
            }
            Ok(())
        })?;
        source.put_back(segment, content);
    }
    plan.rolled_up = found;
    Ok(())
}

/// Leaves out what a stream ends in where that is half a batch.
async fn leave_out_half_batch(source: &Source, plan: &mut Plan) -> Result<(), RestoreError> {
    if plan.config["allow_atomic"] != true {
        return Ok(());
    }
    let Some((segment, first, last)) = plan.pieces.last() else { return Ok(()) };
    let content = source.content(segment).await?;
    let mut half = None;
    content.read::<RestoreError>(segment, |message| {
        if (first..=last).contains(&&message.seq) {
            // What was deleted since counts: the rest of its batch is whole.
            half = PartialBatch::ending_with(message);
        }
        Ok(())
    })?;
    source.put_back(segment, content);
    // Behind a message that was deleted before it was archived, all was there.
    half = half.filter(|half| half.messages.last == plan.last_seq);
    if let Some(half) = &half {
        plan.removed.insert(half.messages);
    }
    plan.partial_batch = half;
    Ok(())
}
