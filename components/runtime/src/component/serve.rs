//! `serve`, `rebuild` and `digest`: the parts put together.

use std::sync::Arc;

use async_nats::jetstream::kv::{self, Store};
use async_nats::jetstream::{self, stream};
use cim_core::names::ConsumerName;
use cim_core::subjects::SubjectKind;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::aggregate::Aggregate;
use super::digest::digest;
use super::engine::{self, Engine, EngineError};
use super::folded::Folded;
use super::log::{Log, LogError};
use super::metrics::Metrics;
use super::register::{self, Registrar};
use super::settings::Settings;
use super::views::Views;
use super::{http, notes, service, snapshot};
use crate::error::chain;
use crate::nats::NatsError;

/// Requests that wait for the engine; further ones wait in NATS's own queues.
const WAITING: usize = 256;

/// A command of the program that failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings.
    #[error("{0}")]
    Usage(String),
    /// NATS.
    #[error(transparent)]
    Nats(#[from] NatsError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// An event.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The bucket.
    #[error(
        "bucket `{bucket}` cannot be used: declare it in the inventory (`cim.buckets`), or start with `--create`: {why}"
    )]
    Bucket {
        /// The bucket.
        bucket: String,
        /// The reason.
        why: String,
    },
    /// A component's own, with an exit status of its own.
    #[error("{said}")]
    Own {
        /// The exit status.
        status: u8,
        /// The line that says it.
        said: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Returns the exit status: 2 for settings, 3 when NATS, stream or bucket cannot be used, 4 for an event that
    /// cannot be read, otherwise 1.
    pub fn status(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Nats(NatsError::Config(_)) => 2,
            Self::Engine(EngineError::Unreadable(_)) => 4,
            Self::Nats(_) | Self::Log(_) | Self::Bucket { .. } | Self::Engine(_) => 3,
            Self::Own { status, .. } => *status,
            Self::Other(_) => 1,
        }
    }
}

/// The state at a place in the log.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    component: &'static str,
    version: &'static str,
    stream: String,
    sequence: u64,
    events: u64,
    unknown: u64,
    digest: String,
    /// Views that differed from the state, and were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    views_changed: Option<usize>,
}

/// The place of a component's own command: its settings, and the way to NATS.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    settings: &'a Settings,
}

impl<'a> Place<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings }
    }

    /// Reports whether streams and buckets are to be made where they are missing.
    pub fn create(&self) -> bool {
        self.settings.create
    }

    /// Connects to NATS.
    ///
    /// # Errors
    /// When the settings cannot be used, or no server answers.
    pub async fn connect<A: Aggregate>(&self) -> Result<async_nats::Client, Failure> {
        let nats = self.settings.nats().map_err(Failure::Usage)?;
        Ok(nats.connect(&format!("cim-{}", A::NAME)).await?)
    }

    /// Folds the whole log and returns the state.
    ///
    /// # Errors
    /// When the log or one of its events cannot be read.
    pub async fn state<A: Aggregate>(&self) -> Result<A, Failure> {
        Ok(fold::<A>(self.settings, None).await?.1.state)
    }
}

struct Opened {
    client: async_nats::Client,
    log: Log,
    bucket: String,
}

impl Opened {
    async fn open<A: Aggregate>(settings: &Settings, suffix: &str) -> Result<Self, Failure> {
        let nats = settings.nats().map_err(Failure::Usage)?;
        let client = nats.connect(&format!("cim-{}", A::NAME)).await?;
        let bucket = settings.bucket.as_ref().map_or(A::NAME, |bucket| bucket.as_str()).to_owned();
        if settings.create {
            create(&client, settings, &bucket).await?;
        }
        let filter = SubjectKind::Event.filter_of(A::COMPONENT);
        let reader = settings.reader.as_ref().map_or(A::NAME, |reader| reader.as_str());
        let reader = ConsumerName::new(format!("{reader}{suffix}"))
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let log = Log::open(&client, &settings.stream, filter, reader).await?;
        Ok(Self { client, log, bucket })
    }

    async fn bucket(&self) -> Result<Store, Failure> {
        let jetstream = jetstream::new(self.client.clone());
        jetstream
            .get_key_value(&self.bucket)
            .await
            .map_err(|error| Failure::Bucket { bucket: self.bucket.clone(), why: chain(&error) })
    }
}

async fn create(
    client: &async_nats::Client,
    settings: &Settings,
    bucket: &str,
) -> Result<(), Failure> {
    let jetstream = jetstream::new(client.clone());
    let stream = stream::Config {
        name: settings.stream.to_string(),
        subjects: vec![format!("{}.>", SubjectKind::Event.prefix())],
        allow_direct: true,
        ..stream::Config::default()
    };
    let made = jetstream.get_or_create_stream(stream).await;
    made.map_err(|error| Failure::Other(chain(&error)))?;
    if jetstream.get_key_value(bucket).await.is_err() {
        let config = kv::Config { bucket: bucket.to_owned(), ..kv::Config::default() };
        let made = jetstream.create_key_value(config).await;
        made.map_err(|error| Failure::Other(chain(&error)))?;
    }
    Ok(())
}

fn told(name: &'static str) -> impl FnMut(u64, u64) {
    move |events, pending| tracing::info!("{name}: {events} events read, {pending} to come")
}

/// Serves until `cancel` comes; then takes no more requests, answers those that came, and ends.
pub(super) async fn serve<A: Aggregate>(
    settings: &Settings,
    cancel: CancellationToken,
) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new());
    let listening = http::serve(settings.listen, Arc::clone(&metrics)).await;
    let address = listening.map_err(|error| {
        Failure::Usage(format!("cannot listen on `{}`: {error}; set `--listen`", settings.listen))
    })?;
    tracing::info!("health and metrics at http://{address}");
    let begun = async {
        let place = Opened::open::<A>(settings, "").await?;
        let bucket = place.bucket().await?;
        let cached = snapshot::load::<A>(&bucket).await.unwrap_or_default();
        let snapshot_at = cached.events;
        let read = engine::read_all(&place.log, cached, &settings.skip, None, told(A::NAME));
        let (folded, reader, mut changed) = read.await?;
        let mut views = Views::new(bucket.clone());
        let of_now = views.are_of::<A>(folded.position).await.unwrap_or(false);
        if of_now {
            views.position = folded.position;
            changed.clear();
        } else {
            let compared = views.compare(&folded, &mut changed).await;
            compared.map_err(|why| Failure::Bucket { bucket: place.bucket.clone(), why })?;
        }
        Ok::<_, Failure>((place, bucket, folded, reader, changed, views, snapshot_at))
    };
    let (place, bucket, folded, reader, changed, views, snapshot_at) = tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        begun = begun => begun?,
    };
    tracing::info!(
        "{} {} is at sequence {} of stream `{}`, {} events since its snapshot",
        A::NAME,
        A::VERSION,
        folded.position,
        place.log.stream(),
        folded.events.saturating_sub(snapshot_at)
    );
    let max_payload = place.client.server_info().max_payload;
    let watched = A::NOTES.map(|prefix| notes::watch(bucket.clone(), prefix, cancel.clone()));
    let (asks, waiting) = mpsc::channel(WAITING);
    let engine = Engine {
        log: place.log,
        reader,
        folded,
        changed,
        views,
        bucket: bucket.clone(),
        notes: watched,
        metrics: Arc::clone(&metrics),
        skip: settings.skip.clone(),
        snapshot_every: settings.snapshot_every.max(1),
        snapshot_at,
        max_payload,
        cancel: cancel.clone(),
    };
    let mut engine = tokio::spawn(engine.run(waiting));
    let serving = service::start(&place.client, &bucket, &asks).await;
    let serving = serving.map_err(|error| Failure::Other(error.to_string()))?;
    let flushed = place.client.flush().await;
    flushed.map_err(|error| Failure::Other(error.to_string()))?;
    metrics.set_ready(true);
    tracing::info!("{} serves", A::NAME);
    let registered = (!settings.no_register).then(|| {
        let instance = settings.instance.as_ref().map(ToString::to_string);
        let registrar = Registrar {
            client: place.client.clone(),
            asks: asks.clone(),
            bucket: bucket.clone(),
            instance: instance.unwrap_or_else(register::machine),
        };
        tokio::spawn(registrar.keep(cancel.clone()))
    });
    let ended = |ended: Result<Result<(), EngineError>, tokio::task::JoinError>| match ended {
        Ok(result) => result.map_err(Failure::from),
        Err(error) => Err(Failure::Other(format!("the engine ended: {error}"))),
    };
    tokio::select! {
        result = &mut engine => return ended(result),
        () = cancel.cancelled() => {}
    }
    metrics.set_ready(false);
    if let Some(registered) = registered {
        let _ = registered.await;
    }
    drop(asks);
    serving.drain().await;
    let result = ended(engine.await);
    // Answers that are not on their way yet.
    let _ = place.client.flush().await;
    result
}

/// Folds the whole log, writes every view that differs and a new snapshot, and reports.
pub(super) async fn rebuild<A: Aggregate>(settings: &Settings) -> Result<Report, Failure> {
    let place = Opened::open::<A>(settings, "-cli").await?;
    let bucket = place.bucket().await?;
    let (folded, ..) =
        engine::read_all(&place.log, Folded::<A>::default(), &settings.skip, None, told(A::NAME))
            .await?;
    let failed = |why| Failure::Bucket { bucket: place.bucket.clone(), why };
    let mut views = Views::new(bucket.clone());
    let mut changed = super::Changed::new();
    let differ = views.compare(&folded, &mut changed).await.map_err(failed)?;
    views.write(&folded, &mut changed).await.map_err(failed)?;
    let max_payload = place.client.server_info().max_payload;
    snapshot::save(&bucket, &folded, max_payload).await.map_err(failed)?;
    Ok(report(&place.log, &folded, Some(differ)))
}

/// Folds the log up to a sequence and reports, from nothing but the log.
pub(super) async fn digest_at<A: Aggregate>(
    settings: &Settings,
    until: Option<u64>,
) -> Result<Report, Failure> {
    let (log, folded) = fold::<A>(settings, until).await?;
    Ok(report(&log, &folded, None))
}

async fn fold<A: Aggregate>(
    settings: &Settings,
    until: Option<u64>,
) -> Result<(Log, Folded<A>), Failure> {
    let place = Opened::open::<A>(settings, "-cli").await?;
    let (folded, ..) =
        engine::read_all(&place.log, Folded::<A>::default(), &settings.skip, until, told(A::NAME))
            .await?;
    Ok((place.log, folded))
}

fn report<A: Aggregate>(log: &Log, folded: &Folded<A>, views_changed: Option<usize>) -> Report {
    Report {
        component: A::NAME,
        version: A::VERSION,
        stream: log.stream().to_owned(),
        sequence: folded.position,
        events: folded.events,
        unknown: folded.unknown.values().map(|unknown| unknown.count).sum(),
        digest: digest(&folded.state),
        views_changed,
    }
}
