//! A link between two nodes: a TCP proxy that can delay, throttle, cut and black-hole.
//!
//! What a link cannot do: reorder or drop single packets. TCP hides both from programs, except as
//! delay, which it can do.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::error::{Context as _, Result};
use crate::scenario::{Size, Span};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;
/// Bytes that a delayed direction may hold: 20 ms at 10 Gbit/s, with room to spare.
const IN_FLIGHT: usize = 32 * 1024 * 1024;

/// The state of a link. The default is an undisturbed one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Conditions {
    /// Extra time that every byte takes in each direction; a round trip takes twice as long.
    pub delay: Span,
    /// Instead of `delay`, for what goes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_back: Option<Span>,
    /// Bytes per second in each direction; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Size>,
    /// Connections are reset, and new ones refused.
    pub cut: bool,
    /// Nothing arrives any more, and nobody is told: what a dead switch looks like.
    pub black_hole: bool,
}

/// A link. Dropping it resets its connections.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    conditions: watch::Sender<Conditions>,
    traffic: Arc<Traffic>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Traffic {
    forth: AtomicU64,
    back: AtomicU64,
}

impl Link {
    /// Opens a link on a free port of the loopback interface.
    pub async fn open(target: Option<SocketAddr>, conditions: Conditions) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.setup(|| "cannot listen on 127.0.0.1".into())?;
        let addr = listener.local_addr().setup(|| "cannot read a listener's address".into())?;
        let (target, targets) = watch::channel(target);
        let (conditions, current) = watch::channel(conditions);
        let traffic = Arc::new(Traffic::default());
        let task = tokio::spawn(accept(listener, targets, current, Arc::clone(&traffic)));
        Ok(Self { addr, target, conditions, traffic, task })
    }

    /// The address to connect to instead of the target's.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where new connections go from now on; `None` refuses them.
    pub fn set_target(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }

    /// Changes the conditions, for open connections too.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// The conditions.
    pub fn conditions(&self) -> Conditions {
        *self.conditions.borrow()
    }

    /// Bytes that went to the target and came back.
    pub fn traffic(&self) -> (u64, u64) {
        (self.traffic.forth.load(Ordering::Relaxed), self.traffic.back.load(Ordering::Relaxed))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    targets: watch::Receiver<Option<SocketAddr>>,
    conditions: watch::Receiver<Conditions>,
    traffic: Arc<Traffic>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, say: the next attempt may do better.
                let Ok((near, _)) = accepted else { continue };
                let target = *targets.borrow();
                connections.spawn(connect(near, target, conditions.clone(), Arc::clone(&traffic)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connect(
    near: TcpStream,
    target: Option<SocketAddr>,
    mut conditions: watch::Receiver<Conditions>,
    traffic: Arc<Traffic>,
) {
    // Resets instead of an orderly end: that is what a cut looks like from both sides.
    let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
    reset(&near);
    // In a black hole even the handshake would stall: nobody answers until it is over.
    let open = conditions.wait_for(|c| !c.black_hole).await.map(|c| !c.cut);
    let (Ok(true), Some(target)) = (open, target) else { return };
    let Ok(far) = TcpStream::connect(target).await else { return };
    reset(&far);
    drop(near.set_nodelay(true).and(far.set_nodelay(true)));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let forth = pump(near_read, far_write, conditions.clone(), &traffic.forth, |c| c.delay);
    let back = pump(far_read, near_write, conditions.clone(), &traffic.back, |c| {
        c.delay_back.unwrap_or(c.delay)
    });
    tokio::select! {
        // Each direction ends by itself, so that a half-closed connection still answers.
        _ = async { tokio::join!(forth, back) } => {}
        _ = conditions.wait_for(|c| c.cut) => {}
    }
}

struct Waiting {
    due: Instant,
    bytes: Vec<u8>,
}

/// Carries bytes one way until the end, an error or a cut.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut conditions: watch::Receiver<Conditions>,
    count: &AtomicU64,
    delay: impl Fn(&Conditions) -> Span,
) {
    let mut buffer = vec![0; CHUNK];
    let mut queue: VecDeque<Waiting> = VecDeque::new();
    let mut queued = 0;
    let mut line_free = Instant::now();
    let mut ended = false;
    while !(ended && queue.is_empty()) {
        let now = *conditions.borrow_and_update();
        if now.black_hole {
            if conditions.changed().await.is_err() {
                return;
            }
            continue;
        }
        let due = queue.front().map(|w| w.due);
        tokio::select! {
            biased;
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let Some(waiting) = queue.pop_front() else { continue };
                queued -= waiting.bytes.len();
                if to.write_all(&waiting.bytes).await.is_err() {
                    return;
                }
            }
            changed = conditions.changed() => if changed.is_err() { return },
            read = from.read(&mut buffer), if !ended && queued < IN_FLIGHT => {
                let Ok(length) = read else { return };
                ended = length == 0;
                count.fetch_add(length as u64, Ordering::Relaxed);
                let delay = Duration::from(delay(&now));
                if delay.is_zero() && now.bandwidth.is_none() && queue.is_empty() {
                    if to.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                } else if length > 0 {
                    let arrival = Instant::now();
                    line_free = line_free.max(arrival) + on_the_line(length, now.bandwidth);
                    queued += length;
                    queue.push_back(Waiting { due: line_free + delay, bytes: buffer[..length].to_vec() });
                }
            }
        }
    }
    drop(to.shutdown().await);
}

fn on_the_line(bytes: usize, bandwidth: Option<Size>) -> Duration {
    bandwidth.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(bytes as f64 / (rate.bytes().max(1)) as f64)
    })
}
