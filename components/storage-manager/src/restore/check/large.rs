//! A message that is larger than the server takes into a stream in memory. A file stream's blocks come as they are,
//! whatever the limits for messages.

use super::server::Server;
use crate::restore::error::RestoreError;
use crate::restore::plan::{Piece, Plan};
use crate::restore::source::Source;
use crate::restore::write::is_included;
use crate::segment::SegmentError;

/// The limits of messages, and the bytes that these may have.
type Limit = (&'static str, u64);

/// Returns what limits the messages of a stream.
fn limits(max_payload: u64, plan: &Plan) -> Vec<Limit> {
    if !plan.in_memory() {
        return Vec::new();
    }
    let of_stream = plan.config["max_msg_size"].as_u64().filter(|most| *most > 0);
    let of_stream = of_stream.map(|most| ("max_msg_size", most));
    [Some(("max_payload", max_payload)), of_stream].into_iter().flatten().collect()
}

/// Returns the parts of a stream that may have a message above one of the limits.
fn suspects<'a>(plan: &'a Plan, limits: &'a [Limit]) -> impl Iterator<Item = &'a Piece> {
    let may = move |piece: &&Piece| limits.iter().any(|(_, most)| piece.0.bytes > *most);
    plan.pieces.iter().filter(may)
}

/// Returns whether a stream has to be read to know.
pub(super) fn is_suspect(server: &Server, plan: &Plan) -> bool {
    suspects(plan, &limits(server.max_payload, plan)).next().is_some()
}

/// Returns the first message that is too large, as what stands against the restore.
pub(super) async fn find(
    source: &Source,
    server: &Server,
    plan: &Plan,
) -> Result<Option<RestoreError>, RestoreError> {
    let limits = limits(server.max_payload, plan);
    for piece in suspects(plan, &limits) {
        let (segment, first, last) = piece;
        let gone = plan.removed_in(*first, *last);
        let content = source.content(segment).await?;
        let mut found = None;
        let read = content.read::<Ended>(segment, |message| {
            let bytes = (message.headers.len() + message.payload.len()) as u64;
            let above = limits.iter().find(|(_, most)| bytes > *most);
            let above = above.filter(|_| is_included(plan, &gone, piece, message));
            let Some(&(limit, most)) = above else { return Ok(()) };
            let (stream, seq) = (plan.target.to_string(), message.seq);
            found = Some(RestoreError::TooLarge { stream, seq, bytes, limit, most });
            Err(Ended::Found)
        });
        if let Err(Ended::Failed(error)) = read {
            return Err(error.into());
        }
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Why no further message is read.
enum Ended {
    Found,
    Failed(SegmentError),
}

impl From<SegmentError> for Ended {
    fn from(error: SegmentError) -> Self {
        Self::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::tests::{piece, plan_of};

    #[test]
    fn only_streams_in_memory_are_suspect_and_only_large_segments_of_them() {
        let config = |storage: &str| json!({ "storage": storage, "max_msg_size": 50 });
        assert!(limits(100, &plan_of(config("file"))).is_empty());
        let mut plan = plan_of(config("memory"));
        let found = limits(100, &plan);
        assert_eq!(found, [("max_payload", 100), ("max_msg_size", 50)]);
        plan.pieces = vec![piece(50, 1), piece(51, 1)];
        let large: Vec<u64> = suspects(&plan, &found).map(|piece| piece.0.bytes).collect();
        assert_eq!(large, [51]);
    }
}
