//! Fetches a restore's files ahead of whoever sends them, many at once, and hands them over in order.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Segment};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::{Semaphore, mpsc};

use super::ahead::{Held, REQUESTS};
use super::plan::{Piece, Plan, pieces};
use super::run::RestoreError;
use super::source::Source;
use crate::archive::Archive;
use crate::s3::{Kind, S3Error};

/// What comes next.
pub(super) enum Next {
    /// A file.
    File(Box<File>),
    /// That was all. Without it something is missing.
    End,
}

/// A segment's file, and which of its messages count.
pub(super) struct File {
    pub(super) piece: Piece,
    pub(super) bytes: Bytes,
    _place: Place,
}

/// The room that a file takes; given back when the file is let go.
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

/// Fetches the files of a plan, until the other end hangs up.
pub(super) async fn feed(
    source: &Source,
    plan: &Plan,
    out: mpsc::UnboundedSender<Next>,
) -> Result<(), RestoreError> {
    let (back, mut returned) = mpsc::unbounded_channel();
    let requests = Semaphore::new(REQUESTS);
    let fetch = |piece: Piece| {
        let place = Place { size: room(&piece.0), back: back.clone() };
        let requests = &requests;
        async move {
            let _turn = requests.acquire().await.expect("it is never closed");
            match source.file(&piece.0).await {
                Ok(bytes) => Ok(Box::new(File { piece, bytes, _place: place })),
                Err(error) => Err((piece, error)),
            }
        }
    };
    let (mut held, mut fetching) = (Held::default(), FuturesOrdered::new());
    let mut pieces = plan.pieces.clone().into_iter().peekable();
    loop {
        while let Some(piece) = pieces.next_if(|piece| held.take_in(room(&piece.0))) {
            fetching.push_back(fetch(piece));
        }
        tokio::select! {
            fetched = fetching.next() => match fetched {
                Some(Ok(file)) => {
                    if out.send(Next::File(file)).is_err() {
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

/// How many bytes a segment's file takes, about: the size of one that is shared is not stated.
fn room(segment: &Segment) -> u64 {
    const SHARED: u64 = 4 << 20;
    const ENTRY: u64 = 256 << 10;
    match (&segment.part, ArchiveKey::parse(&segment.key)) {
        (None, _) => segment.size,
        (Some(_), Ok(ArchiveKey::Journal { .. })) => segment.bytes.max(ENTRY),
        (Some(_), _) => segment.bytes.max(SHARED),
    }
}

/// What takes the place of a piece that cannot be read, and of those behind it. Where the archive has
/// nothing else there the error stands.
async fn renewed(
    source: &Source,
    plan: &Plan,
    (missing, first_seq, _): &Piece,
    error: S3Error,
) -> Result<Vec<Piece>, RestoreError> {
    // Of a tier that does not answer nothing new is to be learnt.
    if error.kind != Kind::NotFound && error.tier == source.tier.tier() {
        return Err(error.into());
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
        _ => Err(error.into()),
    }
}

/// The pieces of a plan from a sequence on, as they are now. Small segments are merged and their files
/// deleted an hour later; a restore may take longer.
pub(super) async fn read_anew(source: &Source, plan: &Plan, first_seq: u64) -> Option<Vec<Piece>> {
    let archive = Archive::open(Arc::clone(&source.tier));
    let read = async { archive.await?.stream(&plan.stream).await };
    match read.await {
        Ok(state) => Some(pieces(&state?, plan.timeline, first_seq, plan.last_seq)),
        Err(why) => {
            tracing::debug!("the archive of stream `{}` cannot be read anew: {why}", plan.stream);
            None
        }
    }
}
