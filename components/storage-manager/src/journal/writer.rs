//! Gathers what streams have to say and commits it, entry after entry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use cim_core::archive::journal::{JournalError, JournalState};
use cim_core::archive::{ArchiveState, Sha256};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use parquet::errors::ParquetError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::object::{Commit, Made, Place, make};
use super::share::Share;
use super::validate::{Refused, reject_invalid};
use crate::chain::{CommitError, EntryRef, Log};
use crate::crypt::is_encrypted;
use crate::s3::Store;

/// Commits that may wait for a place in an entry.
const WAITING: usize = 256;
/// Bytes of messages that are worth an object, however young they are.
const WORTH: usize = 2 << 20;
/// How often it is asked whether the log is to be looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The journal was closed: its log is another one, or cannot be written. It is opened anew.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the journal was closed: {0}")]
pub struct JournalClosed(Arc<str>);

/// A commit that did not come about, or of which a part did not.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub enum NotCommitted {
    /// The journal was closed: whether the entry was committed, reading it again will tell.
    Closed(#[from] JournalClosed),
    /// One of its streams' share. The rest of it was committed.
    Refused(#[from] Refused),
}

/// How many entries are behind the last checkpoint, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Committed {
    /// The entries' number.
    pub entries: u64,
    /// Their objects' bytes.
    pub bytes: u64,
}

/// A journal that is written by this process.
#[derive(Debug, Clone)]
pub struct Journal {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Waiting>,
    asks: mpsc::Sender<Asked>,
}

/// Where it is told whether the log is there; dropped where the NAS did not say.
type Asked = oneshot::Sender<()>;

#[derive(Debug)]
struct Shared {
    state: Mutex<JournalState>,
    closed: CancellationToken,
    why: OnceLock<Arc<str>>,
    committed: watch::Sender<Committed>,
    /// Since when an entry is on its way, or the NAS asked whether the last one is there.
    busy: Mutex<Option<Instant>>,
    /// Checkpoints that are wanted before one is due.
    restate: AtomicU8,
    /// The number and the hash of the last entry's object, where that is of use.
    last: Mutex<Option<(u64, Sha256)>>,
}

/// What is to go into an entry.
#[derive(Debug)]
struct Waiting {
    shares: Vec<(StreamName, Share)>,
    collected: Vec<String>,
    /// Bytes of messages.
    bytes: usize,
    due: Instant,
    /// `None` where shares have only grown.
    reply: Option<Reply>,
}

/// Where it is told what became of a commit.
type Reply = oneshot::Sender<Result<(), Refused>>;

/// An entry that did not come about.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot encode a journal entry")]
    Encode(#[from] ParquetError),
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

impl Shared {
    fn state(&self) -> MutexGuard<'_, JournalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> MutexGuard<'_, Option<Instant>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last(&self) -> MutexGuard<'_, Option<(u64, Sha256)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, why: &str) {
        // The first reason is the one that explains the others.
        drop(self.why.set(why.into()));
        self.closed.cancel();
    }
}

/// One that waits for an entry, and its streams.
#[derive(Debug)]
struct Waiter {
    streams: Vec<StreamName>,
    reply: Reply,
}

impl Waiter {
    /// Tells what became of it.
    fn tell(self, refused: &BTreeMap<StreamName, Refused>) {
        let mine = self.streams.iter().find_map(|stream| refused.get(stream));
        // A caller that does not wait any more has ended.
        self.reply.send(mine.cloned().map_or(Ok(()), Err)).unwrap_or_default();
    }
}

/// What waits for the next entry.
#[derive(Debug, Default)]
struct Gathered {
    shares: Vec<(StreamName, Share)>,
    collected: Vec<String>,
    replies: Vec<Waiter>,
    bytes: usize,
    due: Option<Instant>,
}

impl Gathered {
    fn take_in(&mut self, waiting: Waiting) {
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
    fn commits(&self) -> BTreeMap<StreamName, Commit> {
        let mut commits: BTreeMap<StreamName, Commit> = BTreeMap::new();
        for (stream, share) in &self.shares {
            if let Some(commit) = share.take() {
                commits.entry(stream.clone()).or_default().merge(commit);
            }
        }
        commits
    }
}

/// What a look at the log has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    There,
    /// It is another one, and the journal is closed.
    Lost,
    /// The NAS did not say.
    Unknown,
}

struct Writer {
    shared: Arc<Shared>,
    store: Arc<Store>,
    name: Arc<str>,
    by: Arc<str>,
    room: usize,
    abort: CancellationToken,
    receiver: mpsc::Receiver<Waiting>,
    asked: mpsc::Receiver<Asked>,
    /// `None` while an entry is on its way.
    log: Option<Log>,
    gathered: Gathered,
    committing: Option<JoinHandle<Put>>,
}

/// An entry on its way, and who waits for it.
struct Put {
    log: Log,
    replies: Vec<Waiter>,
    /// The shares that were not taken into it.
    refused: BTreeMap<StreamName, Refused>,
    /// The size of its object; `None` where nothing was left to be said.
    outcome: Result<Option<u64>, WriteError>,
}

impl Writer {
    async fn run(mut self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut open = true;
        loop {
            let idle = self.committing.is_none();
            if !open && idle && self.gathered.replies.is_empty() {
                break;
            }
            let due = self.gathered.due.filter(|_| idle);
            let room = self.gathered.bytes < self.room;
            let wait = open && self.gathered.bytes < WORTH.min(self.room);
            let due = if wait { due } else { due.map(|_| Instant::now()) };
            tokio::select! {
                waiting = self.receiver.recv(), if open && room => match waiting {
                    Some(waiting) => self.gathered.take_in(waiting),
                    None => open = false,
                },
                () = until(due) => self.put(),
                put = join(&mut self.committing) => if !self.settle(put) { return },
                Some(asked) = self.asked.recv(), if open && idle => {
                    match self.look_now().await {
                        Looked::There => asked.send(()).unwrap_or_default(),
                        Looked::Unknown => drop(asked),
                        Looked::Lost => return,
                    }
                }
                _ = looks.tick(), if idle => {
                    if self.verification_due() && self.look_now().await == Looked::Lost {
                        return;
                    }
                }
            }
        }
        // The last entry may have gone to a bucket that was replaced just then.
        if self.log.as_ref().is_some_and(Log::has_unverified) {
            self.look_now().await;
        }
        self.shared.close("all is committed");
    }

    fn put(&mut self) {
        let Some(log) = self.log.take() else { return };
        let gathered = std::mem::take(&mut self.gathered);
        *self.shared.busy() = Some(Instant::now());
        let entry = EntryTask {
            shared: Arc::clone(&self.shared),
            store: Arc::clone(&self.store),
            name: Arc::clone(&self.name),
            writer: Arc::clone(&self.by),
            abort: self.abort.clone(),
        };
        self.committing = Some(tokio::spawn(entry.run(log, gathered)));
    }

    /// Takes in that an entry was committed, or was not; false when that is the end.
    fn settle(&mut self, put: Put) -> bool {
        self.committing = None;
        *self.shared.busy() = None;
        self.log = Some(put.log);
        let bytes = match put.outcome {
            Ok(bytes) => bytes,
            Err(error) => {
                self.shared.close(&chain(&error));
                return false;
            }
        };
        if let Some(bytes) = bytes {
            self.shared.committed.send_modify(|committed| {
                committed.entries += 1;
                committed.bytes += bytes;
            });
        }
        put.replies.into_iter().for_each(|waiter| waiter.tell(&put.refused));
        true
    }

    fn verification_due(&self) -> bool {
        self.log.as_ref().is_some_and(Log::verification_due)
    }

    async fn look_now(&mut self) -> Looked {
        let Some(log) = &mut self.log else { return Looked::Unknown };
        *self.shared.busy() = Some(Instant::now());
        let looked = self.abort.run_until_cancelled(log.verify_anchor(None)).await;
        *self.shared.busy() = None;
        match looked {
            Some(Ok(Some(lost))) => {
                self.shared.close(&chain(&lost));
                Looked::Lost
            }
            Some(Err(error)) => {
                tracing::warn!("{}: cannot verify that the archive is still there: {}", self.name, chain(&error));
                Looked::Unknown
            }
            Some(Ok(None)) => Looked::There,
            None => Looked::Unknown,
        }
    }
}

/// What it takes to commit one entry.
struct EntryTask {
    shared: Arc<Shared>,
    store: Arc<Store>,
    name: Arc<str>,
    writer: Arc<str>,
    abort: CancellationToken,
}

impl EntryTask {
    async fn run(self, mut log: Log, gathered: Gathered) -> Put {
        let mut commits = gathered.commits();
        let Gathered { collected, replies, .. } = gathered;
        let refused = reject_invalid(&self.shared.state(), &mut commits);
        let outcome = if commits.is_empty() && collected.is_empty() && !refused.is_empty() {
            Ok(None)
        } else {
            self.commit(&mut log, commits, collected).await.map(Some)
        };
        Put { log, replies, refused, outcome }
    }

    /// Makes an entry, puts it, and takes it in; the size of its object.
    async fn commit(
        &self,
        log: &mut Log,
        commits: BTreeMap<StreamName, Commit>,
        collected: Vec<String>,
    ) -> Result<u64, WriteError> {
        let (link, made) = self.make(commits, collected).await?;
        log.put(link, &made.object, &self.abort).await?;
        if is_encrypted(&made.object) {
            *self.shared.last() = Some((made.entry.number, Sha256::of(&made.object)));
        }
        self.shared.state().apply(&made.entry, made.hash)?;
        Ok(made.object.len() as u64)
    }

    async fn make(
        &self,
        commits: BTreeMap<StreamName, Commit>,
        collected: Vec<String>,
    ) -> Result<(EntryRef, Made), WriteError> {
        let (place, last) = (Place::after(&self.shared.state()), *self.shared.last());
        let place = place.behind(&self.store, last).await;
        let (writer, to_make) = (Arc::clone(&self.writer), place.clone());
        let made = tokio::task::spawn_blocking(move || make(to_make, commits, collected, &writer));
        let made = made.await.expect("encoding does not panic")?;
        // No reader would take an entry that contradicts what is there.
        self.shared.state().check(&made.entry)?;
        let link = EntryRef {
            store: Arc::clone(&self.store),
            log: Arc::clone(&self.name),
            key: place.key(),
            folder: place.of.entries(&place.journal),
            number: place.number,
            hash: made.hash,
        };
        Ok((link, made))
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn join(task: &mut Option<JoinHandle<Put>>) -> Put {
    match task {
        Some(task) => task.await.expect("committing does not panic"),
        None => std::future::pending().await,
    }
}
