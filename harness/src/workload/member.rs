//! A member of a consumer: a process of its own, so that it can be killed or hang as a service would.
//!
//! It writes each step down, one line a write, before it does it. The file is complete at any end
//! of the process, and every acknowledgement is in it:
//!
//! `q <time>` asks for a batch · `r <time> <seq> <deliveries> <event>` got a message · `a <time>
//! <seq>` is about to acknowledge it · `c <time> <seq>` the server has confirmed that. Times are
//! microseconds of this machine's clock, which all members of a lab share; `-` stands for a message
//! that is no event.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use super::event::identity;
use super::publish::{HostAt, connect};
use crate::error::{Context as _, Result};
use crate::lab::endpoint::Endpoint;

/// The variable with the NATS URL.
pub(super) const URL: &str = "CIM_MEMBER_NATS_URL";
/// The variable with the seed of the nkey to log in with, if there is one; not an argument, which
/// every user can see.
pub(super) const NKEY: &str = "CIM_MEMBER_NKEY_SEED";

/// The messages of a batch, all of which a member has in hand at once.
const BATCH: usize = 64;
/// The longest wait for a full batch. Less than any `ack-wait`.
const EXPIRES: Duration = Duration::from_millis(300);
/// The work on each message: without any, a member would hardly ever have one in hand.
const WORK: Duration = Duration::from_millis(5);
/// A batch without a message for this long has ended, though a server that was killed cannot say
/// so.
const SILENT: Duration = Duration::from_secs(5);

/// The hidden `member` command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The stream.
    #[arg(long)]
    stream: String,
    /// The durable consumer.
    #[arg(long)]
    consumer: String,
    /// The run's seed, by which it knows events.
    #[arg(long)]
    seed: u64,
}

/// Works until it is killed.
pub fn run(args: &Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.setup(|| "cannot start the runtime".into())?;
    let url = std::env::var(URL).setup(|| format!("`{URL}` is not set"))?;
    let nats = match std::env::var(NKEY) {
        Ok(seed) => Endpoint::with_seed(url, seed).setup(|| format!("`{NKEY}` is no nkey seed"))?,
        Err(_) => (&url).into(),
    };
    runtime.block_on(work(args, &HostAt { nats, epoch: 0 }));
    Ok(ExitCode::SUCCESS)
}

async fn work(args: &Args, host: &HostAt) {
    let Some(client) = connect(host).await else { return };
    let context = jetstream::new(client);
    loop {
        let consumer: Result<PullConsumer, _> =
            context.get_consumer_from_stream(args.consumer.as_str(), args.stream.as_str()).await;
        let batch = match &consumer {
            Ok(consumer) => {
                note(format_args!("q {}", now()));
                consumer.fetch().max_messages(BATCH).expires(EXPIRES).messages().await.ok()
            }
            Err(_) => None,
        };
        match batch {
            Some(batch) => one_batch(args.seed, batch).await,
            None => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn one_batch(seed: u64, mut batch: jetstream::consumer::pull::Batch) {
    let (mut open, mut in_hand) = (true, FuturesUnordered::new());
    loop {
        tokio::select! {
            next = timeout(SILENT, batch.next()), if open => match next {
                Ok(Some(Ok(message))) => {
                    if let Some(seq) = received(seed, &message) {
                        in_hand.push(handle(seq, message));
                    }
                }
                _ => open = false,
            },
            Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
            else => return,
        }
    }
}

fn received(seed: u64, message: &jetstream::Message) -> Option<u64> {
    let info = message.info().ok()?;
    let event = identity(seed, &message.payload).map_or_else(|| "-".into(), |e| e.to_string());
    note(format_args!("r {} {} {} {event}", now(), info.stream_sequence, info.delivered));
    Some(info.stream_sequence)
}

async fn handle(seq: u64, message: jetstream::Message) {
    tokio::time::sleep(WORK).await;
    note(format_args!("a {} {seq}", now()));
    if message.double_ack().await.is_ok() {
        note(format_args!("c {} {seq}", now()));
    }
}

fn now() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// Writes a note. A member whose notes cannot be written ends.
fn note(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}
