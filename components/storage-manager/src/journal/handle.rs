//! The handle of a journal that this process writes: commits, and questions.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::closed::{Committed, JournalClosed, NotCommitted};
use super::gathered::{Gathered, Waiting};
use super::object::{Commit, Place};
use super::share::Share;
use super::shared_state::{Asked, Shared};
use super::writer::Writer;
use crate::chain::{EntryRef, Log};
use crate::s3::Store;

/// Commits that may wait for a place in an entry.
const WAITING: usize = 256;

/// A journal that is written by this process.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Waiting>,
    asks: mpsc::Sender<Asked>,
}

impl Journal {
    /// Goes on with a journal that was just read. About `room` bytes of messages gather while an entry is on
    /// its way. The task ends when every handle is dropped and all is
    /// committed, or when the journal is closed.
    pub fn start(
        store: Arc<Store>,
        (state, behind): (JournalState, Committed),
        writer: Arc<str>,
        room: usize,
        abort: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let name: Arc<str> = format!("journal `{}`", state.journal).into();
        let link = |number, hash| EntryRef {
            store: Arc::clone(&store),
            log: Arc::clone(&name),
            key: Place { number, ..Place::after(&state) }.key(),
            folder: state.of.entries(&state.journal),
            number,
            hash,
        };
        let log = Log::resume_after(state.last.map(|(number, hash, _)| link(number, hash)));
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            closed: CancellationToken::new(),
            why: OnceLock::new(),
            committed: watch::channel(behind).0,
            busy: Mutex::new(None),
            restate: AtomicU8::new(0),
            last: Mutex::new(None),
        });
        let (asks, asked) = mpsc::channel(1);
        let task = Writer {
            shared: Arc::clone(&shared),
            store,
            name,
            by: writer,
            room,
            abort,
            receiver,
            asked,
            log: Some(log),
            gathered: Gathered::default(),
            committing: None,
        };
        (Self { shared, sender, asks }, tokio::spawn(task.run()))
    }

    /// Reads the state after the last entry that the tier has.
    pub fn with<T>(&self, read: impl FnOnce(&JournalState) -> T) -> T {
        read(&self.shared.state())
    }

    /// Reads one stream's archive; `None` when the journal has none.
    pub fn stream<T>(
        &self,
        stream: &StreamName,
        read: impl FnOnce(&ArchiveState) -> T,
    ) -> Option<T> {
        self.with(|state| state.streams.get(stream).map(read))
    }

    /// Commits shares of streams. Returns when the tier has them.
    ///
    /// # Errors
    /// When the journal was closed, or something in it contradicts what the journal holds.
    pub async fn commit(
        &self,
        commits: Vec<(StreamName, Commit)>,
        collected: Vec<String>,
        due: Instant,
    ) -> Result<(), NotCommitted> {
        let shares = commits.into_iter().map(|(stream, commit)| (stream, Share::new(commit)));
        self.send(shares.collect(), collected, due).await
    }

    /// Commits the share of one stream, which may grow until its entry is made.
    ///
    /// # Errors
    /// When the journal was closed, or something in it contradicts what the journal holds.
    pub async fn commit_share(
        &self,
        stream: StreamName,
        share: Share,
        due: Instant,
    ) -> Result<(), NotCommitted> {
        self.send(vec![(stream, share)], Vec::new(), due).await
    }

    /// Tells that a share that was handed over has grown by so many bytes, and is due then.
    pub fn grown(&self, bytes: usize, due: Instant) {
        let grown = Waiting { shares: Vec::new(), collected: Vec::new(), bytes, due, reply: None };
        // Where the writer has that much to do it need not know: it takes what there is.
        self.sender.try_send(grown).unwrap_or_default();
    }

    async fn send(
        &self,
        shares: Vec<(StreamName, Share)>,
        collected: Vec<String>,
        due: Instant,
    ) -> Result<(), NotCommitted> {
        let (reply, answer) = oneshot::channel();
        let bytes = shares.iter().map(|(_, share)| share.bytes()).sum();
        let waiting = Waiting { shares, collected, bytes, due, reply: Some(reply) };
        if self.sender.send(waiting).await.is_err() {
            return Err(self.why().into());
        }
        Ok(answer.await.map_err(|_| self.why())??)
    }

    /// Looks whether the log is there now, with all that was written to it: an object that is gone may have gone with
    /// the bucket. Returns false where the NAS does not say; where it is another log the journal is closed.
    pub async fn look(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.asks.send(reply).await.is_ok() && answer.await.is_ok()
    }

    /// Asks for a checkpoint now, and for another one behind the next entry: then no entry before them is needed,
    /// whichever of the two is lost.
    pub fn restate(&self) {
        self.shared.restate.store(2, Ordering::Relaxed);
    }

    /// Returns whether a checkpoint was asked for, now that `entries` are behind the last one.
    pub(super) fn is_to_be_restated(&self, entries: u64) -> bool {
        match self.shared.restate.load(Ordering::Relaxed) {
            0 => false,
            1 => entries > 0,
            _ => true,
        }
    }

    /// Waits until the journal is closed.
    pub async fn closed(&self) -> JournalClosed {
        self.shared.closed.cancelled().await;
        self.why()
    }

    /// Returns the token that is cancelled when the journal is closed.
    pub fn closing(&self) -> &CancellationToken {
        &self.shared.closed
    }

    /// Returns whether an entry has been on its way, or an answer not come, for so long.
    pub fn is_stuck(&self, limit: Duration) -> bool {
        self.shared.busy().is_some_and(|since| since.elapsed() > limit)
    }

    /// Watches what was committed since the last call of [`Journal::checkpointed`].
    pub fn committed(&self) -> watch::Receiver<Committed> {
        self.shared.committed.subscribe()
    }

    /// Counts anew, but for what came behind a checkpoint that was just made.
    pub fn checkpointed(&self, covered: Committed) {
        let one_less = |wanted: u8| wanted.checked_sub(1);
        self.shared.restate.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).ok();
        self.shared.committed.send_modify(|committed| {
            committed.entries -= covered.entries.min(committed.entries);
            committed.bytes -= covered.bytes.min(committed.bytes);
        });
    }

    /// Closes it: another writer wants to go on with it.
    pub fn close(&self, why: &str) {
        self.shared.close(why);
    }

    fn why(&self) -> JournalClosed {
        JournalClosed(self.shared.why.get().cloned().unwrap_or_else(|| "it ended".into()))
    }
}
