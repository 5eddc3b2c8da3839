//! The parts of a plan that take reading.

use super::error::RestoreError;
use super::feed::read_anew;
use super::plan::Plan;
use super::source::Source;
use super::{half_batch, rolled_up, until};

/// Cuts a plan off at its point in time, finds what its end says that it took away, and leaves out half a batch there.
/// Where segments were merged meanwhile they are read where they went. Once is enough.
pub(super) async fn resolve(source: &Source, plan: &mut Plan) -> Result<(), RestoreError> {
    if plan.resolved {
        return Ok(());
    }
    if let Err(error) = until::cut_off(source, plan).await {
        renew(source, plan, error).await?;
        until::cut_off(source, plan).await?;
    }
    if let Err(error) = rolled_up::find(source, plan).await {
        renew(source, plan, error).await?;
        rolled_up::find(source, plan).await?;
    }
    if let Err(error) = half_batch::leave_out(source, plan).await {
        renew(source, plan, error).await?;
        half_batch::leave_out(source, plan).await?;
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
