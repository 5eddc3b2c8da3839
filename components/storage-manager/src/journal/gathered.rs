//! The content of the next entry, gathered while another one is on its way.

use std::collections::BTreeMap;

use cim_core::names::StreamName;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::object::Commit;
use super::share::Share;
use super::validate::Refused;

/// Shares that are to go into an entry.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) shares: Vec<(StreamName, Share)>,
    pub(super) collected: Vec<String>,
    /// Bytes of messages.
    pub(super) bytes: usize,
    pub(super) due: Instant,
    /// `None` where shares have only grown.
    pub(super) reply: Option<Reply>,
}

/// The channel that tells the outcome of a commit.
pub(super) type Reply = oneshot::Sender<Result<(), Refused>>;

/// One that waits for an entry, and its streams.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) streams: Vec<StreamName>,
    pub(super) reply: Reply,
}

impl Waiter {
    /// Tells what became of it.
    pub(super) fn tell(self, refused: &BTreeMap<StreamName, Refused>) {
        let mine = self.streams.iter().find_map(|stream| refused.get(stream));
        // A caller that does not wait any more has ended.
        self.reply.send(mine.cloned().map_or(Ok(()), Err)).unwrap_or_default();
    }
}

/// The content of the next entry.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) shares: Vec<(StreamName, Share)>,
    pub(super) collected: Vec<String>,
    pub(super) replies: Vec<Waiter>,
    pub(super) bytes: usize,
    pub(super) due: Option<Instant>,
}

impl Gathered {
    pub(super) fn take_in(&mut self, waiting: Waiting) {
        let grown = waiting.reply.is_none();
        if grown && self.replies.is_empty() {
            // Its share was taken meanwhile.
            return;
        }
        self.replies.extend(waiting.reply.map(|reply| {
            let streams = waiting.shares.iter().map(|(stream, _)| stream.clone()).collect();
            Waiter { streams, reply }
        }));
        self.shares.extend(waiting.shares);
        self.collected.extend(waiting.collected);
        self.bytes += waiting.bytes;
        self.due = Some(self.due.map_or(waiting.due, |due| due.min(waiting.due)));
    }

    /// Takes the shares of all streams.
    pub(super) fn commits(&self) -> BTreeMap<StreamName, Commit> {
        let mut commits: BTreeMap<StreamName, Commit> = BTreeMap::new();
        for (stream, share) in &self.shares {
            if let Some(commit) = share.take() {
                commits.entry(stream.clone()).or_default().merge(commit);
            }
        }
        commits
    }
}
