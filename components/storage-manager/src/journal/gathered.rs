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
    /// Tells the outcome.
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
    /// Adds shares, or notes that some have grown.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cim_core::archive::Watermark;
    use cim_core::archive::key::JournalOf;
    use proptest::prelude::*;

    use super::*;
    use crate::journal::testing::{empty, stream};
    use crate::journal::validate::reject_invalid;

    fn waiting(due: Instant, bytes: usize, reply: Option<Reply>) -> Waiting {
        Waiting { shares: Vec::new(), collected: Vec::new(), bytes, due, reply }
    }

    proptest! {
        /// Growth counts only while a commit waits whose share it is.
        #[test]
        fn the_earliest_is_due_and_bytes_add_up(
            all in prop::collection::vec((0u64..100, 0usize..100, any::<bool>()), 0..20),
        ) {
            let (now, mut gathered, mut kept) = (Instant::now(), Gathered::default(), Vec::new());
            let mut answers = Vec::new();
            for (after, bytes, has_reply) in &all {
                let due = now + Duration::from_secs(*after);
                let reply = has_reply.then(oneshot::channel).map(|(reply, answer)| {
                    answers.push(answer);
                    reply
                });
                if reply.is_some() || !answers.is_empty() {
                    kept.push((due, *bytes));
                }
                gathered.take_in(waiting(due, *bytes, reply));
            }
            prop_assert_eq!(gathered.due, kept.iter().map(|(due, _)| *due).min());
            prop_assert_eq!(gathered.bytes, kept.iter().map(|(_, bytes)| bytes).sum::<usize>());
            prop_assert_eq!(gathered.replies.len(), answers.len());
        }
    }

    #[tokio::test]
    async fn a_refused_share_is_told_to_its_own_commit_alone() {
        let mut gathered = Gathered::default();
        let mut answers = Vec::new();
        for index in 0..2 {
            let (reply, answer) = oneshot::channel();
            let mut commit = Commit::default();
            if index == 0 {
                // The journal does not have the stream.
                commit.change.watermark = Some(Watermark { seq: 1, last: None });
            } else {
                commit.change.begin = Some(crate::journal::testing::begin());
            }
            let shares = vec![(stream(index), Share::new(commit))];
            gathered.take_in(Waiting { shares, ..waiting(Instant::now(), 0, Some(reply)) });
            answers.push(answer);
        }
        let mut commits = gathered.commits();
        let refused = reject_invalid(&empty(JournalOf::Secondary), &mut commits);
        assert_eq!(commits.into_keys().collect::<Vec<_>>(), [stream(1)]);
        gathered.replies.into_iter().for_each(|waiter| waiter.tell(&refused));
        let mut told = Vec::new();
        for answer in answers {
            told.push(answer.await.unwrap().is_ok());
        }
        assert_eq!(told, [false, true]);
    }
}
