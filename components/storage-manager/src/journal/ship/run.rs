//! Ships at an interval, until the journal is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::StreamCheckpoint;
use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use cim_runtime::error::chain as error_chain;
use cim_runtime::retry::Backoff;
use jiff::Timestamp;

use super::error::ShipError;
use super::gc::Collecting;
use super::merge::Merged;
use super::outbox::Outbox;
use super::source::{Shared, Source};
use super::step::{self, Step};
use crate::journal::log_throttle::LogThrottle;
use crate::journal::object::{Place, make};
use crate::journal::{Journal, expire};
use crate::s3::Store;
use crate::tier::Context;
use crate::{chain, clock};

/// Bytes of messages in one entry of Wasabi's, about.
const ENTRY: u64 = 32 << 20;

/// Ships until the journal is closed.
pub async fn run(context: Arc<Context>, wasabi: Arc<Store>, journal: Journal) {
    let closing = journal.closing().clone();
    let (mut shipping, mut tries) = (Shipping::default(), 0);
    loop {
        let once = Box::pin(shipping.once(&context, &wasabi, &journal));
        let Some(done) = closing.run_until_cancelled(once).await else { return };
        match done {
            Ok(true) => tries = 0,
            Ok(false) => {
                tries = 0;
                let wait = until_due(&context, shipping.decided.as_ref());
                if closing.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
            }
            Err(error) => {
                shipping.forget();
                context.copied.forget();
                tries += 1;
                let out = error.way_out().map(|out| format!("; {out}")).unwrap_or_default();
                let error = error_chain(&error);
                tracing::warn!("copying to Wasabi failed, trying again: {error}{out}");
                if !Backoff::default().wait(tries, &closing).await {
                    return;
                }
            }
        }
    }
}

/// The knowledge of Wasabi between two looks at what is due.
#[derive(Default)]
pub struct Shipping {
    decided: Option<Outbox>,
    merged: Merged,
    collecting: Collecting,
    /// Troubles of single streams.
    seldom: LogThrottle,
}

impl Shipping {
    /// Ships what is due, or else merges a little; false when nothing is due.
    pub async fn once(
        &mut self,
        context: &Arc<Context>,
        wasabi: &Arc<Store>,
        journal: &Journal,
    ) -> Result<bool, ShipError> {
        if let Some(decided) = &self.decided
            && is_due(context, decided)
            && !decided.is_there().await?
        {
            // Its bucket was replaced or emptied meanwhile.
            self.forget();
            context.copied.forget();
        }
        let mut decided = if let Some(decided) = self.decided.take() {
            decided
        } else {
            let name = journal.with(|state| state.journal.clone());
            let used = |key: &str| journal.with(|state| state.shares(key));
            Outbox::open(Arc::clone(&context.nas), Arc::clone(wasabi), &name, used).await?
        };
        if is_due(context, &decided) {
            let Self { merged, collecting, seldom, .. } = self;
            let said = Said { merged, collecting, seldom };
            ship(context, wasabi, journal, &mut decided, said).await?;
        }
        context.copied.note(&decided.state);
        let more = self.merged.next(context, wasabi, journal, &decided.state).await;
        self.collecting.once(context, wasabi, &decided.state).await;
        self.decided = Some(decided);
        Ok(more)
    }

    /// Forgets what may not be so any more, after a failure.
    fn forget(&mut self) {
        (self.decided, self.merged) = (None, Merged::default());
        self.collecting.forget();
    }
}

/// The content of an entry beside the new messages.
struct Said<'a> {
    merged: &'a mut Merged,
    collecting: &'a mut Collecting,
    seldom: &'a mut LogThrottle,
}

/// Returns true if the next entry may be put: counted from the last one, whichever process put it.
fn is_due(context: &Context, decided: &Outbox) -> bool {
    let last = decided.state.last;
    last.is_none_or(|(.., last)| age(last) >= context.config.seal.interval)
}

fn age(since: Timestamp) -> Duration {
    (clock::now().as_duration() - since.as_duration()).unsigned_abs()
}

/// Returns how long until the next entry may be put.
fn until_due(context: &Context, decided: Option<&Outbox>) -> Duration {
    let interval = context.config.seal.interval;
    let Some((.., last)) = decided.and_then(|decided| decided.state.last) else { return interval };
    // Where nothing is new no entry is put, and the last one gets older and older.
    interval.saturating_sub(age(last)).max(interval / 10)
}

/// Ships all that is new, in as many entries as it takes.
async fn ship(
    context: &Arc<Context>,
    wasabi: &Arc<Store>,
    journal: &Journal,
    decided: &mut Outbox,
    said: Said<'_>,
) -> Result<(), ShipError> {
    loop {
        let streams: Vec<StreamName> =
            journal.with(|state| state.streams.keys().cloned().collect());
        let (mut commits, mut bytes) = (BTreeMap::new(), 0);
        // Streams come in the order in which their rows stand in shared objects: each is read once.
        let mut shared = Shared::default();
        let mut held = None;
        for stream in streams {
            if bytes >= ENTRY {
                break;
            }
            let there = decided.state.streams.get(&stream);
            let step = match there {
                None => begin(journal, wasabi, &stream).await,
                Some(_) => Ok(journal.stream(&stream, |nas| step::next(nas, there)).flatten()),
            };
            let taken = match step {
                Ok(Some(step)) => {
                    let (shared, held) = (&mut shared, &mut held);
                    let mut source =
                        Source { context, wasabi, journal, stream: &stream, shared, held };
                    source.take(step, ENTRY - bytes).await
                }
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match taken {
                Ok(Some((commit, more))) => {
                    bytes += more;
                    commits.insert(stream, commit);
                }
                Ok(None) => {}
                // One stream's trouble is that stream's alone.
                Err(error) if error.is_of_one_stream() => {
                    let error = error_chain(&error);
                    if said.seldom.allows(&error) {
                        tracing::error!("{error}");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        drop(shared);
        said.merged.say(&mut commits);
        expire::say(context, journal, &decided.state, &mut commits).await;
        let collected = said.collecting.say();
        if commits.is_empty() && collected.is_empty() {
            return Ok(());
        }
        let place = Place::after(&decided.state);
        let place = place.behind(&context.nas, decided.last).await;
        let writer = Arc::clone(&context.writer);
        let made = tokio::task::spawn_blocking(move || make(place, commits, collected, &writer));
        let made = made.await.expect("encoding does not panic")?;
        decided.put(made, journal, &context.abort).await?;
    }
}

/// Returns the first record of a stream at Wasabi: that of its chain there, where it was archived by one.
async fn begin(
    journal: &Journal,
    wasabi: &Store,
    stream: &StreamName,
) -> Result<Option<Step>, ShipError> {
    let step = journal.stream(stream, |nas| step::next(nas, None)).flatten();
    let chain = chain::load(wasabi, Chain::Manifest, stream).await.map_err(ShipError::Chain)?;
    let (Some(mut step), Some(chain)) = (step.clone(), chain) else { return Ok(step) };
    step.change.begin = Some(StreamCheckpoint::of(&chain));
    Ok(Some(step))
}
