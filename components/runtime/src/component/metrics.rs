//! Metrics, for Prometheus; and what health is told from.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::done::Done;
use super::refusal::Refusal;

/// The engine looks round at least once a second; one that has not for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `changed`, `unchanged`, or the code of a refusal.
    outcome: String,
}

/// The component's metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    commands: Family<Outcome, Counter>,
    duration: Histogram,
    pub(super) conflicts: Counter,
    position: Gauge,
    lag: Gauge,
    views: Gauge,
    unknown: Gauge,
    pub(super) snapshot: Gauge,
    ready: AtomicBool,
    connected: AtomicBool,
    seen: Mutex<Instant>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("cim_component");
        let metrics = Self {
            commands: Family::default(),
            duration: Histogram::new([
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0,
            ]),
            conflicts: Counter::default(),
            position: Gauge::default(),
            lag: Gauge::default(),
            views: Gauge::default(),
            unknown: Gauge::default(),
            snapshot: Gauge::default(),
            ready: AtomicBool::new(false),
            connected: AtomicBool::new(true),
            seen: Mutex::new(Instant::now()),
            registry: Registry::default(),
        };
        registry.register("commands", "Commands by outcome", metrics.commands.clone());
        registry.register_with_unit(
            "command_duration",
            "Time from the receipt of a command to its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register(
            "conflicts",
            "Appends that another writer was ahead of",
            metrics.conflicts.clone(),
        );
        for (name, help, gauge) in [
            ("position", "Sequence of the last event in the state", &metrics.position),
            ("lag", "Events in the log that are not in the state yet", &metrics.lag),
            ("views_position", "Sequence up to which views are written", &metrics.views),
            ("unknown_events", "Events of an unknown type or version", &metrics.unknown),
            ("snapshot_position", "Sequence of the last snapshot", &metrics.snapshot),
        ] {
            registry.register(name, help, gauge.clone());
        }
        Self { registry, ..metrics }
    }

    pub(super) fn commanded(&self, result: &Result<Done, Refusal>, took: Duration) {
        let outcome = match result {
            Ok(done) if done.changed => "changed",
            Ok(_) => "unchanged",
            Err(refusal) => refusal.code.word,
        };
        self.commands.get_or_create(&Outcome { outcome: outcome.into() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn show(&self, position: u64, lag: u64, views: u64, unknown: u64) {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.position.set(number(position));
        self.lag.set(number(lag));
        self.views.set(number(views));
        self.unknown.set(number(unknown));
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Reports whether the engine moves. One that has not begun yet reads the log, which may take its time.
    pub(super) fn is_live(&self) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        !self.ready.load(Ordering::Relaxed) || seen.elapsed() < STUCK
    }

    /// Reports whether requests are answered from a state that has all of the log.
    pub(super) fn is_ready(&self) -> bool {
        let served = self.ready.load(Ordering::Relaxed) && self.connected.load(Ordering::Relaxed);
        served && self.is_live() && self.lag.get() == 0
    }

    /// Returns health as JSON.
    pub(super) fn health(&self) -> String {
        serde_json::json!({
            "live": self.is_live(),
            "ready": self.is_ready(),
            "position": self.position.get(),
            "lag": self.lag.get(),
            "views_position": self.views.get(),
            "unknown_events": self.unknown.get(),
        })
        .to_string()
    }

    /// Returns all metrics in the text that Prometheus reads.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes any text");
        text
    }
}
