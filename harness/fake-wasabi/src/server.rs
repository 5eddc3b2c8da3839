//! Starting and stopping: two listeners, one for S3 and one for the admin endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::service::S3ServiceBuilder;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::access::{Access, Hosts, KeyPairs};
use crate::admin::Admin;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::StartError;
use crate::faults::{Plan, PlanError, Rule, RuleState};
use crate::s3::Api;
use crate::service::Service;
use crate::state::State;
use crate::stats::{Counters, Stats};
use crate::store::{Store, StoreError};

/// Time that a clean stop waits for requests under way.
const STOP_TIME: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops it at once and cuts every connection; the directory can be
/// opened again a moment later, when the writes under way are done. To wait for that, use
/// [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct FakeWasabi {
    s3: SocketAddr,
    admin: SocketAddr,
    state: Arc<State>,
    tracker: TaskTracker,
    /// Asks connections to end after their current request.
    graceful: CancellationToken,
    /// Ends everything at once, at the latest when this is dropped.
    abort: CancellationToken,
    _guard: DropGuard,
}

impl FakeWasabi {
    /// Opens the directory, creates the buckets and serves. Needs a running tokio runtime.
    ///
    /// # Errors
    /// See [`StartError`]; when it fails, nothing is served.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        config.check()?;
        let s3_listener = listen(config.listen).await?;
        let admin_listener = listen(config.admin_listen).await?;
        let s3 = local(&s3_listener, config.listen)?;
        let admin = local(&admin_listener, config.admin_listen)?;

        let (dir, fsync, buckets) = (config.dir.clone(), config.fsync, config.buckets.clone());
        let opening = tokio::task::spawn_blocking(move || open(&dir, fsync, &buckets));
        let store = match opening.await {
            Ok(opened) => Arc::new(opened?),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let state = Arc::new(State {
            store: store.clone(),
            plan: Arc::new(Plan::new(config.seed)),
            counters: Arc::new(Counters::default()),
        });
        let service = service(&state, config);

        let tracker = TaskTracker::new();
        let graceful = CancellationToken::new();
        let abort = CancellationToken::new();
        let stop = Stop { graceful: graceful.clone(), abort: abort.clone() };
        tracker.spawn(serve(s3_listener, tracker.clone(), stop.clone(), move |request| {
            service.clone().serve(request)
        }));
        let endpoint = Admin::new(state.clone());
        tracker.spawn(serve(admin_listener, tracker.clone(), stop, move |request| {
            endpoint.clone().serve(request)
        }));
        tracker.close();
        tracing::info!(%s3, %admin, dir = %state.store.root().display(), "serving");
        let guard = abort.clone().drop_guard();
        Ok(Self { s3, admin, state, tracker, graceful, abort, _guard: guard })
    }

    /// Returns the URL of S3, for example `http://127.0.0.1:40111`.
    pub fn s3_url(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// Returns the URL of the admin endpoint.
    pub fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Puts a fault plan into force in place of the old one; an empty one ends all faults.
    ///
    /// # Errors
    /// When a rule makes no sense; then the old plan stays.
    pub fn set_faults(&self, rules: Vec<Rule>) -> Result<(), PlanError> {
        self.state.plan.set(rules)
    }

    /// Returns the plan in force and how often each rule struck.
    pub fn faults(&self) -> Vec<RuleState> {
        self.state.plan.state()
    }

    /// Returns the requests counted and the storage in use.
    pub fn stats(&self) -> Stats {
        self.state.counters.snapshot(&self.state.store)
    }

    /// Moves the clock of storage forward: it dates objects, and decides about retention and the minimum
    /// storage duration. Signatures keep to the machine's clock.
    pub fn advance_clock(&self, by: Duration) {
        self.state.store.clock().advance(by);
    }

    /// Stops the server: no new connections, requests under way end within five seconds or are cut.
    pub async fn shutdown(self) {
        self.graceful.cancel();
        if tokio::time::timeout(STOP_TIME, self.tracker.wait()).await.is_err() {
            tracing::warn!("cutting requests that did not end");
            self.abort.cancel();
            self.tracker.wait().await;
        }
        tracing::info!("stopped");
    }
}

fn open(dir: &std::path::Path, fsync: bool, buckets: &[String]) -> Result<Store, StartError> {
    let store = Store::open(dir, fsync, Arc::new(Clock::default()))?;
    for name in buckets {
        match store.create_bucket(name, false) {
            Ok(()) | Err(StoreError::BucketExists) => {}
            Err(error) => {
                let reason = error.to_string();
                return Err(StartError::CreateBucket { name: name.clone(), reason });
            }
        }
    }
    Ok(store)
}

fn service(state: &State, config: Config) -> Service {
    let hosts = Hosts::new(&config.region, &config.domains);
    let mut builder = S3ServiceBuilder::new(Api {
        store: state.store.clone(),
        region: config.region,
        conditional_writes: config.conditional_writes,
    });
    builder.set_auth(KeyPairs(config.credentials));
    builder.set_access(Access { plan: state.plan.clone(), counters: state.counters.clone() });
    builder.set_host(hosts);
    Service::new(builder.build(), state.counters.clone())
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).await.map_err(|source| StartError::Listen { addr, source })
}

fn local(listener: &TcpListener, addr: SocketAddr) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen { addr, source })
}

#[derive(Clone)]
struct Stop {
    graceful: CancellationToken,
    abort: CancellationToken,
}

/// Accepts connections until told to stop; each is served by a task of its own.
async fn serve<F, R, B, E>(listener: TcpListener, tracker: TaskTracker, stop: Stop, handler: F)
where
    F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: hyper::body::Body<Error: Into<s3s::StdError>, Data: Send> + Send + 'static,
    E: Into<s3s::StdError> + Send + 'static,
{
    loop {
        let stream = tokio::select! {
            () = stop.graceful.cancelled() => return,
            () = stop.abort.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely; the next connection may succeed.
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        tracker.spawn(connection(stream, handler.clone(), stop.clone()));
    }
}

async fn connection<F, R, B, E>(stream: TcpStream, handler: F, stop: Stop)
where
    F: Fn(Request<Incoming>) -> R + Send + 'static,
    R: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: hyper::body::Body<Error: Into<s3s::StdError>, Data: Send> + Send + 'static,
    E: Into<s3s::StdError> + Send + 'static,
{
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
    let connection =
        http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(handler));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.abort.cancelled() => return,
        () = stop.graceful.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.abort.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        // Faults end here, and connections whose client went away.
        tracing::debug!(%error, "connection ended");
    }
}
