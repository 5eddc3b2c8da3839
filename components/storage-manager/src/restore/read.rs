//! Messages of an archive for who only reads them.

use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::error::RestoreError;
use super::fetch::feed;
use super::plan::Plan;
use super::resolve::resolve;
use super::source::Source;
use super::write::messages;
use crate::segment::Message;

/// Hands every message of a plan to `each`, in order, on a thread of its own, until it breaks; returns what it kept.
/// A segment's hash is checked before its first message is handed over.
///
/// # Errors
/// When the archive cannot be read, or `each` fails.
pub async fn read<T, E>(
    source: &Source,
    mut plan: Plan,
    mut kept: T,
    mut each: impl FnMut(&mut T, &Message<'_>) -> Result<ControlFlow<()>, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<RestoreError> + Send + 'static,
{
    Box::pin(resolve(source, &mut plan)).await?;
    let plan = Arc::new(plan);
    let (segments, incoming) = mpsc::unbounded_channel();
    let to_read = Arc::clone(&plan);
    let reader = tokio::task::spawn_blocking(move || {
        messages(&to_read, incoming, |message| each(&mut kept, message)).map(|()| kept)
    });
    let (fed, read) = tokio::join!(Box::pin(feed(source, &plan, segments)), reader);
    // Where both have failed, the feeder's error is the cause.
    fed?;
    read.expect("reading does not panic")
}
