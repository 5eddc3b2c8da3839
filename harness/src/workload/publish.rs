//! Publishers: a steady rate, a window of publishes in flight, every ack into the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishError};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, publish::PublishAck};
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::event::Generator;
use crate::lab::endpoint::Endpoint;
use crate::ledger::{EventId, Ledger};
use crate::scenario::Rate;

/// The host as publishers and consumers see it; `None` while there is none.
pub type Host = Option<HostAt>;

/// The address and life of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAt {
    /// The server, through the link.
    pub nats: Endpoint,
    /// The host's life.
    pub epoch: u32,
}

/// A publisher that is late by more than this (the host was away) starts its schedule anew.
const BEHIND: Duration = Duration::from_millis(500);

/// An acked event that is to be deleted again.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToDelete {
    pub(super) event: EventId,
    pub(super) epoch: u32,
    pub(super) seq: u64,
}

/// One publisher's share of a load.
pub(super) struct Publisher {
    pub(super) ledger: Arc<Ledger>,
    pub(super) generator: Arc<Generator>,
    pub(super) stream: usize,
    pub(super) events: Vec<EventId>,
    pub(super) rate: Option<Rate>,
    pub(super) publishers: u32,
    pub(super) window: usize,
    pub(super) republish: bool,
    pub(super) ack_within: Duration,
    pub(super) deletes: Arc<BTreeSet<EventId>>,
    pub(super) to_delete: mpsc::UnboundedSender<ToDelete>,
    pub(super) stopped: Arc<AtomicBool>,
    pub(super) host: watch::Receiver<Host>,
}

struct InFlight {
    event: EventId,
    epoch: u32,
    due: Instant,
    ack: PublishAckFuture,
}

/// The attempts to reconnect, [`RECONNECT_AFTER`] apart: for longer than any outage of a scenario,
/// but not forever, for the client of a lost host cannot be told to stop.
const RECONNECTS: usize = 6_000;
const RECONNECT_AFTER: Duration = Duration::from_millis(50);

/// Connects and keeps trying while the host may come back.
pub(crate) async fn connect(host: &HostAt) -> Option<async_nats::Client> {
    let options = async_nats::ConnectOptions::new()
        .max_reconnects(RECONNECTS)
        // The servers' gossip has addresses that no link leads to.
        .ignore_discovered_servers()
        .reconnect_delay_callback(|_| RECONNECT_AFTER)
        .client_capacity(65_536)
        .subscription_capacity(65_536);
    let options = match host.nats.seed() {
        Some(seed) => options.nkey(seed.to_owned()),
        None => options,
    };
    options.retry_on_initial_connect().connect(host.nats.servers()).await.ok()
}

impl Publisher {
    /// Publishes everything; ends when all is acked or given up.
    pub(super) async fn run(mut self) {
        let mut events = std::mem::take(&mut self.events);
        while !events.is_empty() && !self.stopped.load(Ordering::Relaxed) {
            let (sent, acks) = mpsc::channel(self.window.max(1));
            let collector = tokio::spawn(collect(
                Arc::clone(&self.ledger),
                self.stream,
                acks,
                self.host.clone(),
                Arc::clone(&self.deletes),
                self.to_delete.clone(),
            ));
            // The connection stays open until its last ack is in.
            let connection = self.publish(&events, &sent).await;
            drop(sent);
            let unacked = collector.await.unwrap_or_default();
            drop(connection);
            events = if self.republish { unacked } else { Vec::new() };
        }
    }

    async fn publish(
        &mut self,
        events: &[EventId],
        sent: &mpsc::Sender<InFlight>,
    ) -> Option<jetstream::Context> {
        let mut context: Option<(u32, jetstream::Context)> = None;
        let gap =
            self.rate.map(|rate| Duration::from_secs(1) * self.publishers / rate.per_second());
        let mut due = Instant::now();
        for &event in events {
            let host = self.host.wait_for(Option::is_some).await.ok().and_then(|h| h.clone());
            let Some(host) = host else { break };
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            if context.as_ref().is_none_or(|(epoch, _)| *epoch != host.epoch) {
                let Some(client) = connect(&host).await else { continue };
                let builder = jetstream::ContextBuilder::new()
                    .timeout(self.ack_within)
                    .max_ack_inflight(self.window * 2)
                    .backpressure_on_inflight(true);
                context = Some((host.epoch, builder.build(client)));
            }
            let Some((epoch, context)) = &context else { continue };
            if let Some(gap) = gap {
                let now = Instant::now();
                if now > due + BEHIND {
                    due = now;
                }
                sleep_until(due).await;
                due += gap;
            }
            let made = self.generator.content(event);
            let mut message = PublishMessage::build().payload(made.payload);
            if !made.headers.is_empty() {
                let mut headers = HeaderMap::new();
                for (name, value) in &made.headers {
                    headers.append(*name, value.as_str());
                }
                message = message.headers(headers);
            }
            self.ledger.published(event);
            let lost = self.host.wait_for(|h| h.as_ref().is_none_or(|h| h.epoch != *epoch));
            let ack = tokio::select! {
                ack = context.send_publish(made.subject, message) => ack,
                // It may have arrived or not: it stays without an ack.
                _ = lost => continue,
            };
            let Ok(ack) = ack else { continue };
            let in_flight =
                InFlight { event, epoch: *epoch, due: Instant::now() + self.ack_within, ack };
            if sent.send(in_flight).await.is_err() {
                break;
            }
        }
        context.map(|(_, context)| context)
    }
}

/// Waits for acks; returns the events without one.
async fn collect(
    ledger: Arc<Ledger>,
    stream: usize,
    mut acks: mpsc::Receiver<InFlight>,
    mut host: watch::Receiver<Host>,
    deletes: Arc<BTreeSet<EventId>>,
    to_delete: mpsc::UnboundedSender<ToDelete>,
) -> Vec<EventId> {
    let mut unacked = Vec::new();
    while let Some(InFlight { event, epoch, due, ack }) = acks.recv().await {
        let mut ack = ack.into_future();
        let gone = host.wait_for(|h| h.as_ref().is_none_or(|h| h.epoch != epoch));
        let answer: Option<Result<PublishAck, PublishError>> = tokio::select! {
            biased;
            answer = timeout_at(due, &mut ack) => answer.ok(),
            // An ack that had arrived before the host went counts.
            _ = gone => ack.now_or_never(),
        };
        let Some(Ok(answer)) = answer else {
            unacked.push(event);
            continue;
        };
        ledger.acked(event, stream, epoch, answer.sequence);
        if deletes.contains(&event) {
            let _ = to_delete.send(ToDelete { event, epoch, seq: answer.sequence });
        }
    }
    unacked
}
