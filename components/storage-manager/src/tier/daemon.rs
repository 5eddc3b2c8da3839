//! The daemon: finds streams and gives each its task.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::names::StreamName;
use cim_runtime::error::chain;
use cim_runtime::retry::Backoff;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::context::Context;
use super::overview::Overview;
use super::session::{self, End};
use crate::config::{Config, StreamMatcher};
use crate::jetstream::{ApiError, JetStream};
use crate::s3::{Probe, S3Error, Store, Tier, probe};
use crate::wire::Link;

/// How often streams are looked for.
const DISCOVER: Duration = Duration::from_secs(1);
/// Streams that are begun with at once: each reads its archive and looks at the stream's history.
const BEGINNING: usize = 16;
/// How long a service may take to come up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a cluster may take to elect who leads it; nine seconds at most, and again when votes are split.
const ELECTION: Duration = Duration::from_secs(20);
/// How long ending may take before it is cut short.
const FINISH: Duration = Duration::from_secs(20);

/// Tiering that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The NAS does not answer as it should.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// JetStream does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The NAS cannot keep two writers apart, and nobody promised that there is one.
    #[error(
        "{0}: the service ignores `If-None-Match`, so two writers could overwrite each other: \
         set `single_writer = true` if there is only this one"
    )]
    Unconditional(Tier),
    /// The globs are wrong.
    #[error("`streams`: a glob cannot be read")]
    Glob(#[from] globset::Error),
    /// The ready file could not be written.
    #[error("cannot write ready file")]
    Ready(#[source] std::io::Error),
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
    let names = patiently_list(&jetstream, &stop).await?;
    check(&nas, patiently_probe(&nas, &stop).await?)?;
    let abort = CancellationToken::new();
    let wasabi = wasabi.map(|wasabi| Arc::new(wasabi.patient(abort.clone())));
    // Wasabi may be away for a while, and not to answer takes long: nothing waits for it.
    if let Some(wasabi) = wasabi.clone() {
        tokio::spawn(async move {
            match probe(&wasabi).await {
                Ok(found) => {
                    let honoured = found.conditional_writes;
                    tracing::info!("wasabi honours conditional writes: {honoured}");
                }
                Err(error) => {
                    tracing::warn!("wasabi does not answer, going on without: {}", chain(&error));
                }
            }
        });
    }
    let nas = nas.patient(abort.clone());
    let context = Arc::new(Context {
        budget: Budget::new(config.memory.budget.bytes()),
        writer: format!("{} {}", config.node.name, uuid::Uuid::now_v7()).into(),
        jetstream,
        overview: Overview::default(),
        beginning: Semaphore::new(BEGINNING),
        counting: Semaphore::new(1),
        link: Link::new(config.nats.clone()),
        nas: Arc::new(nas),
        wasabi,
        background: Semaphore::new(1),
        shipping: Mutex::default(),
        stop: stop.clone(),
        abort,
        config,
    });
    let mut tasks = Tasks { context: Arc::clone(&context), matcher, running: BTreeMap::new() };
    tasks.start(names);
    let looking = Arc::clone(&context);
    tokio::spawn(async move { looking.overview.run(&looking.jetstream, &looking.stop).await });
    if let Some(path) = ready_file {
        std::fs::write(path, "").map_err(StartError::Ready)?;
    }
    notify(&[sd_notify::NotifyState::Ready]);
    tracing::info!(node = %context.config.node.name, "tiering");
    tasks.discover(&stop).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    tasks.finish().await;
    Ok(())
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

/// Probes, and gives a service that is just starting a while to come up.
async fn patiently_probe(store: &Store, stop: &CancellationToken) -> Result<Probe, S3Error> {
    let started = tokio::time::Instant::now();
    let mut tries = 0;
    loop {
        let error = match probe(store).await {
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

fn check(store: &Store, found: Probe) -> Result<(), StartError> {
    if found.conditional_writes {
        return Ok(());
    }
    if !store.single_writer() {
        return Err(StartError::Unconditional(store.tier()));
    }
    tracing::warn!("{} ignores `If-None-Match`: a second writer would do harm", store.tier());
    Ok(())
}

fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("systemd was not told: {error}");
    }
}

struct Tasks {
    context: Arc<Context>,
    matcher: StreamMatcher,
    running: BTreeMap<String, JoinHandle<()>>,
}

impl Tasks {
    async fn discover(&mut self, stop: &CancellationToken) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(DISCOVER) => {}
            }
            match self.context.jetstream.stream_names().await {
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

    fn start(&mut self, names: Vec<String>) {
        self.running.retain(|_, task| !task.is_finished());
        for name in names {
            if self.running.contains_key(&name) || !self.matcher.matches(&name) {
                continue;
            }
            match StreamName::new(name.clone()) {
                Ok(stream) => {
                    let task = tokio::spawn(tier(Arc::clone(&self.context), stream));
                    self.running.insert(name, task);
                }
                Err(error) => tracing::error!("stream is not tiered: {error}"),
            }
        }
    }

    async fn finish(self) {
        let abort = self.context.abort.clone();
        let end = async {
            for (_, task) in self.running {
                if let Err(error) = task.await {
                    tracing::error!("a stream's task failed: {error}");
                }
            }
        };
        tokio::pin!(end);
        if tokio::time::timeout(FINISH, &mut end).await.is_err() {
            tracing::error!(
                "not everything could be flushed in {} s; what is not on the nas stays in JetStream",
                FINISH.as_secs()
            );
            abort.cancel();
            end.await;
        }
    }
}

/// One stream's sessions, until it is gone or everything ends.
async fn tier(context: Arc<Context>, stream: StreamName) {
    let mut failures = 0;
    loop {
        let started = tokio::time::Instant::now();
        match session::run(&context, &stream).await {
            Ok(End::Gone) => {
                tracing::info!(stream = %stream, "stream is gone; its archive stays");
                return;
            }
            Ok(End::Stopped) => return,
            Ok(End::Replaced) => failures = 0,
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
