//! A link between two nodes: a TCP proxy that can delay, throttle, cut and black-hole, lose answers and
//! tear requests.
//!
//! It carries bytes and knows no protocol. The first bytes that come back after some went forth are an
//! answer; that is right for HTTP, where each side waits for the other.
//!
//! A link cannot reorder or drop single packets. TCP hides both from programs, except as delay,
//! which a link can add.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// Bytes read at once.
const CHUNK: usize = 128 * 1024;
/// Bytes that a delayed direction may hold: 20 ms at 10 Gbit/s, with room to spare.
const IN_FLIGHT: usize = 32 * 1024 * 1024;

/// The state of a link. The default is an undisturbed one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Conditions {
    /// Extra time that every byte takes in each direction; a round trip takes twice as long.
    pub delay: Span,
    /// Extra time for bytes from the target, instead of `delay`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_back: Option<Span>,
    /// Bytes per second in each direction; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Size>,
    /// Connections are reset, and new ones refused.
    pub cut: bool,
    /// Nothing arrives any more, and connections stay open: as with a dead switch.
    pub black_hole: bool,
    /// Loses each n-th answer: its request arrives and is done, and when the answer comes the
    /// connection is reset instead. Counted over all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lose_answer_every: Option<NonZeroU32>,
    /// Resets a connection when this many bytes have gone to the target since this was set: in the
    /// middle of a request, whose beginning arrives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tear_after: Option<Size>,
}

impl Conditions {
    fn delay_back(&self) -> Span {
        self.delay_back.unwrap_or(self.delay)
    }

    /// Returns a description of conditions that exclude each other, or `None`.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let others = Self { cut: false, black_hole: false, ..*self };
        if self.cut && self.black_hole {
            return Some("`cut` and `black-hole` exclude each other");
        }
        if (self.cut || self.black_hole) && others != Self::default() {
            return Some("a link on which nothing arrives has no other conditions");
        }
        let torn_at_once = self.tear_after.is_some_and(|size| size.bytes() == 0);
        torn_at_once.then_some("`tear-after` of nothing is `cut`")
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        if self.delay != Span::default() || self.delay_back.is_some() {
            let back = self.delay_back.map(|back| format!(" and {back} back")).unwrap_or_default();
            words.push(format!("delay {}{back}", self.delay));
        }
        words.extend(self.bandwidth.map(|bandwidth| format!("{bandwidth}/s")));
        words.extend(self.lose_answer_every.map(|n| format!("loses every {n}th answer")));
        words.extend(self.tear_after.map(|size| format!("torn after {size}")));
        words.extend(self.cut.then(|| "cut".to_owned()));
        words.extend(self.black_hole.then(|| "black hole".to_owned()));
        f.write_str(if words.is_empty() { "undisturbed" } else { "" })?;
        f.write_str(&words.join(", "))
    }
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
    answers: AtomicU64,
    lost: AtomicU64,
    torn: AtomicU64,
}

/// Counts of what a link has broken on purpose so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Broken {
    /// Answers that were lost.
    pub answers: u64,
    /// Requests that were torn.
    pub requests: u64,
}

impl Link {
    /// Opens a link on a free port of the loopback interface.
    pub async fn open(target: Option<SocketAddr>, conditions: Conditions) -> Result<Self> {
        Self::open_on(Ipv4Addr::LOCALHOST.into(), target, conditions).await
    }

    /// Opens a link on a free port of another address of this machine.
    pub async fn open_on(
        ip: IpAddr,
        target: Option<SocketAddr>,
        conditions: Conditions,
    ) -> Result<Self> {
        let listener = TcpListener::bind((ip, 0)).await;
        let listener = listener.setup(|| format!("cannot listen on {ip}"))?;
        let addr = listener.local_addr().setup(|| "cannot read a listener's address".into())?;
        let (target, targets) = watch::channel(target);
        let (conditions, current) = watch::channel(conditions);
        let traffic = Arc::new(Traffic::default());
        let task = tokio::spawn(accept(listener, targets, current, Arc::clone(&traffic)));
        Ok(Self { addr, target, conditions, traffic, task })
    }

    /// Returns the address to connect to instead of the target's.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the target of new connections; `None` refuses them.
    pub fn set_target(&self, target: Option<SocketAddr>) {
        self.target.send_replace(target);
    }

    /// Changes the conditions, for open connections too.
    pub fn set(&self, conditions: Conditions) {
        self.conditions.send_replace(conditions);
    }

    /// Returns the current conditions.
    pub fn conditions(&self) -> Conditions {
        *self.conditions.borrow()
    }

    /// Returns how many answers and requests the link broke so far.
    pub fn broken(&self) -> Broken {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Broken { answers: count(&self.traffic.lost), requests: count(&self.traffic.torn) }
    }

    /// Returns the bytes that went to the target and the bytes that came back.
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
                // An accept that fails, for lack of file descriptors say, may succeed at the next
                // attempt.
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
    // Resets instead of an orderly end: both sides see a cut like that.
    let reset = |stream: &TcpStream| drop(stream.set_zero_linger());
    reset(&near);
    // In a black hole even the handshake would stall: nothing answers until it is over.
    let open = conditions.wait_for(|c| !c.black_hole).await.map(|c| !c.cut);
    let (Ok(true), Some(target)) = (open, target) else { return };
    let Ok(far) = TcpStream::connect(target).await else { return };
    reset(&far);
    drop(near.set_nodelay(true).and(far.set_nodelay(true)));
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let asked = AtomicBool::new(false);
    let way =
        |forth| Way { forth, conditions: conditions.clone(), traffic: &traffic, asked: &asked };
    let forth = way(true).carry(near_read, far_write);
    let back = way(false).carry(far_read, near_write);
    tokio::select! {
        // Each direction ends by itself, so that a half-closed connection still answers.
        _ = async { tokio::try_join!(forth, back) } => {}
        _ = conditions.wait_for(|c| c.cut) => {}
    }
}

struct Waiting {
    due: Instant,
    bytes: Vec<u8>,
}

/// A request to reset the connection, both directions at once.
struct Reset;

/// One direction of a connection.
struct Way<'a> {
    /// True for the direction to the target.
    forth: bool,
    conditions: watch::Receiver<Conditions>,
    traffic: &'a Traffic,
    /// True while a request to the target has no answer yet.
    asked: &'a AtomicBool,
}

impl Way<'_> {
    /// Carries bytes until the end, an error or a cut.
    async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<(), Reset> {
        let mut buffer = vec![0; CHUNK];
        let mut queue: VecDeque<Waiting> = VecDeque::new();
        let (mut queued, mut since_set) = (0, 0);
        let mut line_free = Instant::now();
        let mut ended = false;
        while !(ended && queue.is_empty()) {
            let now = *self.conditions.borrow_and_update();
            if now.black_hole {
                if self.conditions.changed().await.is_err() {
                    return Ok(());
                }
                since_set = 0;
                continue;
            }
            let due = queue.front().map(|w| w.due);
            tokio::select! {
                biased;
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    let Some(waiting) = queue.pop_front() else { continue };
                    queued -= waiting.bytes.len();
                    if to.write_all(&waiting.bytes).await.is_err() {
                        return Ok(());
                    }
                }
                changed = self.conditions.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    since_set = 0;
                }
                read = from.read(&mut buffer), if !ended && queued < IN_FLIGHT => {
                    let Ok(length) = read else { return Ok(()) };
                    ended = length == 0;
                    let passes = self.passes(&now, since_set, length)?;
                    since_set += length as u64;
                    let torn = passes < length;
                    let delay = Duration::from(if self.forth { now.delay } else { now.delay_back() });
                    if delay.is_zero() && now.bandwidth.is_none() && queue.is_empty() {
                        if to.write_all(&buffer[..passes]).await.is_err() {
                            return Ok(());
                        }
                    } else if passes > 0 {
                        let arrival = Instant::now();
                        line_free = line_free.max(arrival) + on_the_line(passes, now.bandwidth);
                        queued += passes;
                        let bytes = buffer[..passes].to_vec();
                        queue.push_back(Waiting { due: line_free + delay, bytes });
                    }
                    if torn {
                        return Err(Reset);
                    }
                }
            }
        }
        drop(to.shutdown().await);
        Ok(())
    }

    /// Returns how many of the `length` bytes just read may go on; fewer than all if the connection
    /// is torn there.
    fn passes(&self, now: &Conditions, since_set: u64, length: usize) -> Result<usize, Reset> {
        let count = |counter: &AtomicU64, by| counter.fetch_add(by, Ordering::Relaxed) + by;
        if length == 0 {
            return Ok(0);
        }
        if self.forth {
            count(&self.traffic.forth, length as u64);
            self.asked.store(true, Ordering::Relaxed);
            let left = now.tear_after.map(|size| size.bytes().saturating_sub(since_set));
            let passes = left.and_then(|left| usize::try_from(left).ok()).unwrap_or(length);
            if passes < length {
                count(&self.traffic.torn, 1);
            }
            return Ok(passes.min(length));
        }
        count(&self.traffic.back, length as u64);
        if self.asked.swap(false, Ordering::Relaxed) {
            let number = count(&self.traffic.answers, 1);
            if now.lose_answer_every.is_some_and(|every| number.is_multiple_of(every.get().into()))
            {
                count(&self.traffic.lost, 1);
                return Err(Reset);
            }
        }
        Ok(length)
    }
}

fn on_the_line(bytes: usize, bandwidth: Option<Size>) -> Duration {
    bandwidth.map_or(Duration::ZERO, |rate| {
        Duration::from_secs_f64(bytes as f64 / (rate.bytes().max(1)) as f64)
    })
}
