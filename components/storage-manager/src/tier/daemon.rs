//! The daemon: finds streams and gives each its task.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::names::{JournalName, StreamName};
use cim_runtime::error::chain;
use cim_runtime::retry::{Backoff, Class, retry};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::anew::Anew;
use super::budget::Budget;
use super::context::Context;
use super::deliveries::Asking;
use super::former::Former;
use super::journaled::Opened;
use super::others::Others;
use super::overview::Overview;
use super::session::{self, End, SessionError};
use super::{journaled, stream, takeover};
use crate::archive::ArchiveError;
use crate::check::{self, Found, Tried, Unfit};
use crate::config::{Config, Layout, StreamMatcher};
use crate::jetstream::{ApiError, JetStream};
use crate::journal::expire::CopiedTo;
use crate::journal::{AdoptError, Ailing, Journal, OpenError, Unopened};
use crate::s3::{S3Error, Store, Tier};
use crate::wire::{Link, WireError};

/// How often streams are looked for.
const DISCOVER: Duration = Duration::from_secs(1);
/// Streams that are begun with at once: each reads its archive and looks at the stream's history.
const BEGINNING: usize = 16;
/// How long a service may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Races for one key at start; `check` takes its time.
const RACES: usize = 2;
/// How long a cluster may take to elect who leads it; nine seconds at most, and again when votes are split.
const ELECTION: Duration = Duration::from_secs(20);
/// How long ending may take before it is cut short.
const FINISH: Duration = Duration::from_secs(20);
/// The same where the NAS refuses the key: a copy of systemd's stays what it is until this process has ended.
const REFUSED: Duration = Duration::from_millis(500);
/// How long it may take after that.
const LAST: Duration = Duration::from_secs(4);

/// Tiering that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The NAS does not answer as it should.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// JetStream does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// NATS does not let the reader in.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Rights are missing, or the NAS does not honour what the archive stands on.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The globs are wrong.
    #[error("`streams`: a glob cannot be read")]
    Glob(#[from] globset::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// What a tier holds cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A journal goes on with what chains once held.
    #[error(
        "{tier}: stream `{stream}` is held by journal `{journal}`, a chain beside it would be a second history: \
         set `layout = \"journal\"` and `journal = \"{journal}\"` in `[archive]`, or name the stream in \
         `streams.exclude`"
    )]
    TakenOver {
        /// Where the journal lies.
        tier: Tier,
        /// A stream that it holds.
        stream: StreamName,
        /// The journal.
        journal: JournalName,
    },
    /// Wasabi's journal could not be taken over.
    #[error(transparent)]
    Adopt(#[from] AdoptError),
    /// The ready file could not be written.
    #[error("cannot write `{}`, which `--ready-file` names", path.display())]
    Ready {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What to do where an archive is damaged that tiering would go on with.
const DAMAGED: &str = "put it back from a copy of the nas and start again, or give the nas a new, empty bucket, \
     which wasabi and JetStream fill, and keep this one: `streams` shows what can be read of it, `restore --all --before-damage` brings that back; \
     docs/recovery.md#an-object-on-the-nas-is-damaged";

impl StartError {
    /// What to do, where an archive on the NAS is damaged.
    pub fn way_out(&self) -> Option<&'static str> {
        let is_damage = match self {
            Self::Journal(OpenError::S3(error)) => error.kind.is_damage(),
            Self::Journal(_) => true,
            Self::Archive(error) => error.s3().is_none(),
            _ => false,
        };
        is_damage.then_some(DAMAGED)
    }

    fn class(&self) -> Class {
        let s3 = if let Self::Archive(error) = self { error.s3() } else { None };
        s3.map_or(Class::Permanent, S3Error::class)
    }
}

/// Tiers until `stop`.
pub async fn run(
    config: Config,
    client: async_nats::Client,
    nas: Store,
    wasabi: Option<Store>,
    ready_file: Option<&Path>,
    stop: CancellationToken,
) -> Result<(), StartError> {
    let matcher = config.streams.matcher()?;
    let jetstream = JetStream::new(client);
    let looked = stop.run_until_cancelled(look(&config, &matcher, &jetstream, &nas, &stop)).await;
    let Some(names) = looked.transpose()? else { return Ok(()) };
    let abort = CancellationToken::new();
    let lasting = |store: Store| store.patient(abort.clone()).waiting_for_a_key(abort.clone());
    let wasabi = wasabi.map(|wasabi| Arc::new(lasting(wasabi)));
    let nas = Arc::new(lasting(nas));
    // Wasabi may be away for a while, and not to answer takes long: nothing waits for it.
    if let Some(wasabi) = wasabi.clone() {
        let nas = Arc::clone(&nas);
        tokio::spawn(async move { try_out(&nas, &wasabi).await });
    }
    let context = Arc::new(Context {
        budget: Budget::new(config.memory.budget.bytes()),
        writer: format!("{} {}", config.node.name, uuid::Uuid::now_v7()).into(),
        jetstream,
        overview: Overview::default(),
        beginning: Semaphore::new(BEGINNING),
        counting: Semaphore::new(1),
        looking: Semaphore::new(1),
        asking: Asking::default(),
        link: Link::new(config.nats.clone()),
        nas,
        wasabi,
        merging: Semaphore::new(1),
        carrying: Semaphore::new(1),
        shipping: Mutex::default(),
        others: Others::default(),
        foreign: Mutex::default(),
        former: Former::default(),
        ailing: Ailing::default(),
        unopened: Unopened::default(),
        copied: CopiedTo::default(),
        anew: Anew::default(),
        begun: Notify::new(),
        stop: stop.clone(),
        abort,
        config,
    });
    let looking = Arc::clone(&context);
    tokio::spawn(async move { looking.overview.run(&looking.jetstream, &looking.stop).await });
    let tasks = Tasks { context, journal: None, matcher, running: BTreeMap::new() };
    let ready = || -> Result<(), StartError> {
        if let Some(path) = ready_file {
            std::fs::write(path, "")
                .map_err(|source| StartError::Ready { path: path.into(), source })?;
        }
        notify(&[sd_notify::NotifyState::Ready]);
        Ok(())
    };
    match tasks.context.config.archive.layout {
        Layout::Journal => journaled::run(tasks, ready).await,
        Layout::Chains => {
            let mut tasks = tasks;
            let new = takeover::refuse(&tasks.context.nas, &tasks.matcher).await?;
            ready()?;
            if new && let Some(wasabi) = tasks.context.wasabi.clone() {
                let refused = tasks.refuse_wasabis_journals(&wasabi);
                match stop.run_until_cancelled(refused).await {
                    Some(refused) => refused?,
                    None => return Ok(()),
                }
            }
            tasks.start(names);
            tracing::info!(node = %tasks.context.config.node.name, "tiering");
            let (nas, matcher) = (Arc::clone(&tasks.context.nas), tasks.matcher.clone());
            let taken = tokio::select! {
                () = tasks.discover(&stop) => None,
                taken = takeover::comes(&nas, &matcher) => Some(taken),
            };
            notify(&[sd_notify::NotifyState::Stopping]);
            match taken {
                None => tasks.finish(None).await,
                // What is under way would go where no reader looks any more. JetStream has it.
                Some(taken) => {
                    tasks.abort().await;
                    return Err(taken);
                }
            }
            Ok(())
        }
    }
}

/// Lists the streams, and gives a cluster time to elect: until it has, it answers nobody.
async fn patiently_list(
    jetstream: &JetStream,
    stop: &CancellationToken,
) -> Result<Vec<String>, ApiError> {
    let started = tokio::time::Instant::now();
    loop {
        let listed = tokio::select! {
            listed = jetstream.stream_names() => listed,
            () = stop.cancelled() => return Ok(Vec::new()),
        };
        match listed {
            Err(error @ ApiError::Silent { .. }) if started.elapsed() < ELECTION => {
                tracing::info!("waiting for JetStream: {}", chain(&error));
            }
            other => return other,
        }
    }
}

/// Looks whether all that tiering needs is there, and returns the streams' names.
async fn look(
    config: &Config,
    matcher: &StreamMatcher,
    jetstream: &JetStream,
    nas: &Store,
    stop: &CancellationToken,
) -> Result<Vec<String>, StartError> {
    let names = async || Ok(patiently_list(jetstream, stop).await?);
    let (names, nats) = check::lacking::<StartError>(config, matcher, names).await?;
    let found = Found { nats, tiers: vec![patiently_try(nas, stop).await?] };
    found.fit()?;
    for note in found.notes() {
        tracing::warn!("{note}");
    }
    Ok(names)
}

/// Tries a service out, and gives one that is just starting a while to come up.
async fn patiently_try(store: &Store, stop: &CancellationToken) -> Result<Tried, S3Error> {
    let started = tokio::time::Instant::now();
    let mut tries = 0;
    loop {
        let error = match Tried::by(store, RACES).await {
            Err(error) if started.elapsed() < PATIENCE && error.kind.may_pass_soon() => error,
            other => return other,
        };
        tries += 1;
        tracing::info!("waiting for {}: {}", store.tier(), chain(&error));
        if !Backoff::default().wait(tries, stop).await {
            return Err(error);
        }
    }
}

/// Finds out what Wasabi does, which nothing depends on.
async fn try_out(nas: &Store, wasabi: &Store) {
    let found = match Tried::by(wasabi, 1).await {
        Ok(tried) => Found { nats: Vec::new(), tiers: vec![tried] },
        Err(error) if error.kind.may_pass_soon() => {
            tracing::warn!("wasabi does not answer, going on without: {}", chain(&error));
            return;
        }
        Err(error) => {
            tracing::error!(
                "wasabi refuses, nothing is copied before it does not: {}",
                chain(&error)
            );
            return;
        }
    };
    if let Err(unfit) = found.fit() {
        tracing::error!("what wasabi lacks is not copied before that is mended: {unfit}");
    }
    for note in found.notes() {
        tracing::info!("{note}");
    }
    if check::is_same_bucket(nas, wasabi).await.is_ok_and(|same| same) {
        tracing::error!("{}", check::one_bucket(nas));
    }
}

/// Tells systemd.
pub(super) fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd was not told: {error}");
    }
}

/// The tasks of all streams.
pub(super) struct Tasks {
    pub(super) context: Arc<Context>,
    /// The journal that they write, where there is one.
    pub(super) journal: Option<Journal>,
    matcher: StreamMatcher,
    running: BTreeMap<String, JoinHandle<()>>,
}

impl Tasks {
    /// Starts a task for each stream that there is or comes.
    pub(super) async fn discover(&mut self, stop: &CancellationToken) {
        let mut failing = false;
        let mut pause = if self.running.is_empty() { Duration::ZERO } else { DISCOVER };
        loop {
            let listed = async {
                tokio::time::sleep(std::mem::replace(&mut pause, DISCOVER)).await;
                self.context.jetstream.stream_names().await
            };
            // NATS may be away when the end comes.
            let Some(listed) = stop.run_until_cancelled(listed).await else { return };
            match listed {
                Ok(names) => {
                    failing = false;
                    self.start(names);
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!("cannot list streams, trying again: {}", chain(&error));
                }
                Err(_) => {}
            }
        }
    }

    /// The same at Wasabi, for a new NAS, which begins with what Wasabi holds: its answer is waited for.
    async fn refuse_wasabis_journals(&self, wasabi: &Arc<Store>) -> Result<(), StartError> {
        let what = "looking for a journal at wasabi";
        let ask = || takeover::refuse(wasabi, &self.matcher);
        let abort = &self.context.abort;
        retry(what, Backoff::default(), abort, StartError::class, ask).await.map(drop)
    }

    fn start(&mut self, names: Vec<String>) {
        self.running.retain(|_, task| !task.is_finished());
        for name in names {
            if self.running.contains_key(&name) || !self.matcher.matches(&name) {
                continue;
            }
            match StreamName::new(name.clone()) {
                Ok(stream) => {
                    let (context, journal) = (Arc::clone(&self.context), self.journal.clone());
                    let task = tokio::spawn(tier(context, journal, stream));
                    self.running.insert(name, task);
                }
                Err(error) => tracing::error!("stream is not tiered: {error}"),
            }
        }
    }

    /// Ends all tasks at once.
    pub(super) async fn abort(&mut self) {
        self.journal = None;
        self.running.values().for_each(JoinHandle::abort);
        for (_, task) in std::mem::take(&mut self.running) {
            // It was told to end just now.
            task.await.unwrap_or_default();
        }
    }

    /// Waits until all is committed, for a while; then ends what is left.
    pub(super) async fn finish(self, opened: Option<Opened>) {
        let (abort, nas) = (self.context.abort.clone(), Arc::clone(&self.context.nas));
        drop(self.journal);
        let end = async {
            for (_, task) in self.running {
                if let Err(error) = task.await {
                    tracing::error!("a stream's task failed: {error}");
                }
            }
            if let Some(opened) = opened {
                opened.end().await;
            }
        };
        tokio::pin!(end);
        let why = tokio::select! {
            () = &mut end => return,
            () = tokio::time::sleep(FINISH) => format!("in {} s", FINISH.as_secs()),
            () = refuses(&nas) => "for the nas refuses the key".into(),
        };
        tracing::error!(
            "not everything could be flushed {why}; what is not on the nas stays in JetStream"
        );
        abort.cancel();
        if tokio::time::timeout(LAST, &mut end).await.is_err() {
            tracing::error!("some streams did not even notice that, ending without them");
        }
    }
}

/// Waits until a service has refused the key for a while.
async fn refuses(store: &Store) {
    let mut refused = Duration::ZERO;
    while refused < REFUSED {
        let pause = REFUSED / 5;
        tokio::time::sleep(pause).await;
        refused = if store.refuses_key() { refused + pause } else { Duration::ZERO };
    }
}

/// One stream's sessions, until it is gone or everything ends.
async fn tier(context: Arc<Context>, journal: Option<Journal>, stream: StreamName) {
    let mut failures = 0;
    loop {
        let started = tokio::time::Instant::now();
        let outcome = match &journal {
            Some(journal) => Box::pin(stream::run(&context, journal, &stream)).await,
            None => Box::pin(session::run(&context, &stream)).await,
        };
        match outcome {
            Ok(End::Gone) => {
                tracing::info!(stream = %stream, "stream is gone; its archive stays");
                return;
            }
            // Where the journal was closed it is not this stream that is at fault, and all begin anew.
            Ok(End::Stopped) | Err(SessionError::Journal(_)) => return,
            Ok(End::Replaced | End::Anew) => failures = 0,
            Err(error) => {
                // A session that worked for a while and then failed is not the same failure again.
                failures =
                    if started.elapsed() > Duration::from_secs(30) { 1 } else { failures + 1 };
                tracing::warn!(stream = %stream, "starting again from the manifest: {}", chain(&error));
                if context.stop.is_cancelled()
                    || !Backoff::default().wait(failures, &context.stop).await
                {
                    return;
                }
            }
        }
    }
}
