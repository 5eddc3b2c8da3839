//! Fetches a restore's segments ahead of the sender, many at once, and hands them over in order.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::error::RestoreError;
use super::plan::{Piece, Plan, pieces};
use super::prefetch::Held;
use super::source::{Content, Source};
use crate::archive::Archive;
use crate::s3::{ErrorKind, S3Error, Tier};

/// The next item.
pub(super) enum Next {
    /// A segment.
    Segment(Box<Fetched>),
    /// That was all. Without it something is missing.
    End,
}

/// A segment's messages, and which of them count.
pub(super) struct Fetched {
    pub(super) piece: Piece,
    pub(super) content: Content,
    _place: Place,
}

/// The room that a segment takes; given back when it is let go.
struct Place {
    size: u64,
    back: mpsc::UnboundedSender<u64>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // When the feeder has gone nothing is fetched any more.
        self.back.send(self.size).ok();
    }
}

/// Fetches the segments of a plan, until the other end hangs up.
pub(super) async fn feed(
    source: &Source,
    plan: &Plan,
    out: mpsc::UnboundedSender<Next>,
) -> Result<(), RestoreError> {
    let (back, mut returned) = mpsc::unbounded_channel();
    let fetch = |piece: Piece| {
        let place = Place { size: source.room(&piece.0), back: back.clone() };
        async move {
            match source.content(&piece.0).await {
                Ok(content) => Ok(Box::new(Fetched { piece, content, _place: place })),
                Err(error) => Err((piece, error)),
            }
        }
    };
    let (mut held, mut fetching) = (Held::default(), FuturesOrdered::new());
    let mut pieces = plan.pieces.clone().into_iter().peekable();
    loop {
        while let Some(piece) = pieces.next_if(|piece| held.take_in(source.room(&piece.0))) {
            fetching.push_back(fetch(piece));
        }
        tokio::select! {
            fetched = fetching.next() => match fetched {
                Some(Ok(fetched)) => {
                    if out.send(Next::Segment(fetched)).is_err() {
                        return Ok(());
                    }
                }
                Some(Err((piece, error))) => {
                    fetching = FuturesOrdered::new();
                    let renewed = Box::pin(renewed(source, plan, &piece, error)).await?;
                    pieces = renewed.into_iter().peekable();
                }
                None if pieces.peek().is_none() => {
                    drop(out.send(Next::End));
                    return Ok(());
                }
                None => held.let_go(returned.recv().await.expect("it holds one end itself")),
            },
            Some(size) = returned.recv() => held.let_go(size),
            // It has failed, and says why.
            () = out.closed() => return Ok(()),
        }
    }
}

/// Returns what takes the place of a piece that cannot be read, and of those behind it. If the archive has nothing
/// else, the error stands.
async fn renewed(
    source: &Source,
    plan: &Plan,
    (missing, first_seq, _): &Piece,
    error: RestoreError,
) -> Result<Vec<Piece>, RestoreError> {
    if !may_have_moved(&error, source.tier.tier()) {
        return Err(error);
    }
    let pieces = read_anew(source, plan, *first_seq).await.unwrap_or_default();
    match pieces.first() {
        Some((first, ..)) if first.key != missing.key => {
            tracing::info!(
                "stream `{}`: segments were merged while it was restored; going on with `{}`",
                plan.stream,
                first.key
            );
            Ok(pieces)
        }
        _ => Err(error),
    }
}

/// Returns true if a piece that cannot be read may be elsewhere by now. Of a tier that does not answer nothing new is to
/// be learnt, nor of what is damaged.
fn may_have_moved(error: &RestoreError, own: Tier) -> bool {
    match error {
        RestoreError::S3(S3Error { kind: ErrorKind::NotFound, .. }) => true,
        RestoreError::S3(S3Error { tier, .. }) | RestoreError::Locked { tier, .. } => *tier != own,
        _ => false,
    }
}

/// Reads the pieces of a plan from a sequence on, as they are now. Small segments are merged and their files deleted an
/// hour later; a restore may take longer.
pub(super) async fn read_anew(source: &Source, plan: &Plan, first_seq: u64) -> Option<Vec<Piece>> {
    let archive = Archive::open(Arc::clone(&source.tier));
    let read = async { archive.await?.stream(&plan.stream).await };
    match read.await {
        Ok(state) => {
            Some(pieces(&state?, plan.timeline, &plan.stand_ins, first_seq, plan.last_seq))
        }
        Err(why) => {
            tracing::debug!("the archive of stream `{}` cannot be read anew: {why}", plan.stream);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_or_on_the_other_tier_is_looked_for_elsewhere() {
        let of = |tier, kind| {
            let bucket = Box::new("archive".parse().unwrap());
            let (operation, key) = ("get", "k".to_owned());
            RestoreError::from(S3Error { tier, bucket, operation, key, kind })
        };
        for (tier, kind, moved) in [
            (Tier::Nas, ErrorKind::NotFound, true),
            (Tier::Nas, ErrorKind::Timeout, false),
            (Tier::Nas, ErrorKind::Withheld("503".into()), false),
            (Tier::Wasabi, ErrorKind::Timeout, true),
        ] {
            assert_eq!(may_have_moved(&of(tier, kind.clone()), Tier::Nas), moved, "{kind:?}");
        }
        assert!(!may_have_moved(&RestoreError::Interrupted("S".into()), Tier::Nas));
    }
}
