//! What consumers know of single messages: which ones are pending, how often they were delivered, which ones they have
//! given up. The server tells it in the snapshot of a whole stream alone, so it is asked for with moderation.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_core::archive::{ConsumerRecord, Deliveries, Position};
use cim_core::names::{ConsumerName, StreamName};
use cim_runtime::error::chain;
use jiff::Timestamp;
use tokio::time::Instant;

use super::archived::ArchivedSoFar;
use super::context::Context;
use super::query_budget::QueryBudget;
use crate::jetstream::{Consumers, StreamInfo, Unknown};

/// Of a stream whose consumers have come to rest it is asked for so long after the last time; longer where they know
/// much.
const LEAST: Duration = Duration::from_secs(2);
/// Most that is stored of one consumer, and how much of it makes the time above longer by as much again.
const RUNS: usize = 10_000;
const MANY: usize = 1_000;
/// The interval at which it is tried again where the server cannot tell, or may not be asked.
const AGAIN: Duration = Duration::from_mins(10);
/// The server makes snapshots for one part in so many of the time.
const SHARE: u32 = 20;
/// Up to so many bytes of messages a snapshot is taken to its end, so that the server notes none that failed.
const SMALL: u64 = 1 << 20;

/// The mark of a consumer that counts single messages: while it looks the same it knows the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    created: Timestamp,
    delivered: Position,
    ack_floor: Position,
    ack_pending: u64,
    redelivered: u64,
}

type Marks = BTreeMap<ConsumerName, Mark>;

fn marks(found: &Consumers) -> Marks {
    let mark = |consumer: &ConsumerRecord| {
        let redelivered = found.redelivered.get(&consumer.name).copied().unwrap_or_default();
        // Of those that deliver a message once the server does not say how many they have given up.
        let once = consumer.config.value()["max_deliver"] == 1 && consumer.delivered.stream_seq > 0;
        let counts = consumer.ack_pending > 0 || redelivered > 0 || once;
        let mark = Mark {
            created: consumer.created,
            delivered: consumer.delivered,
            ack_floor: consumer.ack_floor,
            ack_pending: consumer.ack_pending,
            redelivered,
        };
        counts.then(|| (consumer.name.clone(), mark))
    };
    found.reported.iter().filter_map(mark).collect()
}

/// Asks for what the consumers of one stream know.
#[derive(Debug, Default)]
pub struct Asker {
    /// The deliveries that they know, as far as they were told, and when each was created; `None` before the first survey. What the archive
    /// has may be older.
    known: Option<BTreeMap<ConsumerName, (Timestamp, Deliveries)>>,
    /// Their marks at the last survey, and when they were asked for last.
    seen: Marks,
    asked: Marks,
    last: Option<Instant>,
    /// The size of their knowledge then.
    runs: usize,
}

/// The knowledge after a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// By consumer.
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
    /// True if there is more to be known, soon.
    pub owing: bool,
}

impl Asker {
    /// Returns what consumers know that look like this: what is known of them already, or more.
    pub async fn ask(
        &mut self,
        context: &Context,
        stream: &StreamName,
        info: &StreamInfo,
        found: &Consumers,
        known: &ArchivedSoFar,
    ) -> Found {
        let now = marks(found);
        let mut held = self.known.take().unwrap_or_else(|| archived(known));
        held.retain(|name, (created, deliveries)| holds(name, *created, deliveries, found, &now));
        let told = self.tell(context, stream, info, now).await;
        let owing = matches!(told, Told::Owing);
        if let Told::Now(told, now) = told {
            let created = |name: &ConsumerName| now.get(name).map(|mark| mark.created);
            let told = told.into_iter();
            held.extend(told.filter_map(|(name, of)| Some((name.clone(), (created(&name)?, of)))));
        }
        let deliveries = held.iter().map(|(name, (_, of))| (name.clone(), of.clone())).collect();
        self.known = Some(held);
        Found { deliveries, owing }
    }

    /// Asks the server, if it is time to.
    async fn tell(
        &mut self,
        context: &Context,
        stream: &StreamName,
        info: &StreamInfo,
        now: Marks,
    ) -> Told {
        let settled = std::mem::replace(&mut self.seen, now.clone()) == now;
        let every = context.config.consumers.every;
        // A cluster's server does not know it of consumers that another one has.
        let can = !every.is_zero() && !info.clustered && context.jetstream.tells_deliveries();
        if now.is_empty() || now == self.asked || !can {
            return Told::Nothing;
        }
        if !self.is_due(settled, every, context.stop.is_cancelled())
            || !context.delivery_queries.may()
        {
            return Told::Owing;
        }
        let Ok(_alone) = context.looking.try_acquire() else { return Told::Owing };
        let began = Instant::now();
        let small = info.state.bytes <= SMALL;
        let told = context.jetstream.deliveries(stream.as_str(), small).await;
        let mut next = Instant::now() + began.elapsed() * SHARE;
        self.last = Some(Instant::now());
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                let silent = context.delivery_queries.note_silence(error.is_silence());
                if error.is_of_all() || (error.is_silence() && silent) {
                    next = Instant::now() + AGAIN;
                    warn(&context.delivery_queries, &error);
                } else if error.is_of_now() {
                    next = Instant::now() + LEAST;
                } else {
                    let error = chain(&error);
                    tracing::info!(stream = %stream, "the pending and redelivered messages of its consumers are not archived: {error}");
                    self.asked = now;
                }
                context.delivery_queries.not_before(next);
                return Told::Owing;
            }
        };
        context.delivery_queries.not_before(next);
        context.delivery_queries.note_silence(false);
        let of_those = told.into_iter().filter(|(name, _)| now.contains_key(name));
        let (told, large): (BTreeMap<_, _>, BTreeMap<_, _>) =
            of_those.partition(|(_, deliveries)| deliveries.runs() <= RUNS);
        if !large.is_empty() {
            let names: Vec<_> = large.keys().map(ConsumerName::as_str).collect();
            tracing::info!(stream = %stream, "these consumers have too many pending or redelivered messages for the archive, which keeps their positions only: {}", names.join(", "));
        }
        self.runs = told.values().map(Deliveries::runs).sum();
        self.asked = now.clone();
        Told::Now(told, now)
    }

    /// Returns true if it is time to ask: at once the first time, and when the process ends.
    fn is_due(&self, settled: bool, every: Duration, ending: bool) -> bool {
        let Some(last) = self.last else { return true };
        let longer = u32::try_from(self.runs / MANY).unwrap_or(u32::MAX).saturating_add(1);
        let least = LEAST.saturating_mul(longer);
        ending || last.elapsed() >= every || (settled && last.elapsed() >= least)
    }
}

/// The outcome of asking.
enum Told {
    /// This, by consumers that looked like that before.
    Now(BTreeMap<ConsumerName, Deliveries>, Marks),
    /// Nothing, and there is more to be known.
    Owing,
    /// There is nothing more to be known.
    Nothing,
}

/// Returns what an archive knows.
fn archived(known: &ArchivedSoFar) -> BTreeMap<ConsumerName, (Timestamp, Deliveries)> {
    let of = |consumer: &ConsumerRecord| {
        let deliveries = known.deliveries.get(&consumer.name)?.clone();
        Some((consumer.name.clone(), (consumer.created, deliveries)))
    };
    known.consumers.iter().filter_map(of).collect()
}

/// Returns true if what is known of a consumer still holds: it is the same one, and was not set back.
fn holds(
    name: &ConsumerName,
    created: Timestamp,
    deliveries: &Deliveries,
    found: &Consumers,
    now: &Marks,
) -> bool {
    if found.unavailable.iter().any(|silent| name.as_str() == silent) {
        return true;
    }
    let live = found.reported.iter().find(|consumer| consumer.name == *name);
    let Some(live) = live.filter(|_| now.contains_key(name)) else { return false };
    live.created == created && deliveries.holds_for(live)
}

/// Says once that it is not archived, and why.
fn warn(asking: &QueryBudget, error: &Unknown) {
    if !asking.is_first_warning() {
        return;
    }
    let error = chain(error);
    tracing::warn!(
        "the pending, redelivered and given-up messages of consumers are not archived, only their positions: {error}; allow the NATS user to publish `$JS.API.STREAM.SNAPSHOT.*`, or set `every` of `[consumers]` to 0s"
    );
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Pending, RawJson, SeqRanges, StreamRecord};

    use super::*;

    fn position(seq: u64) -> Position {
        Position { consumer_seq: seq, stream_seq: seq }
    }

    fn consumer(name: &str, floor: u64, delivered: u64) -> ConsumerRecord {
        ConsumerRecord {
            name: name.parse().unwrap(),
            created: Timestamp::UNIX_EPOCH,
            delivered: position(delivered),
            ack_floor: position(floor),
            ack_pending: delivered - floor,
            config: RawJson::new("{}".into()).unwrap(),
        }
    }

    fn known(of: &[&str]) -> ArchivedSoFar {
        let pending = vec![Pending { stream_seq: 4, consumer_seq: 4, time: 0 }];
        let deliveries = Deliveries::of(position(5), position(3), pending, Vec::new());
        let all = of.iter().map(|name| (name.parse().unwrap(), deliveries.clone()));
        ArchivedSoFar {
            watermark: 0,
            first_seq: 1,
            away: SeqRanges::default(),
            record: StreamRecord {
                created: Timestamp::UNIX_EPOCH,
                config: RawJson::new("{}".into()).unwrap(),
            },
            consumers: of.iter().map(|name| consumer(name, 3, 5)).collect(),
            deliveries: all.collect(),
        }
    }

    #[test]
    fn what_is_known_holds_until_a_consumer_is_through_or_set_back() {
        let known = known(&["a", "b", "c", "d", "e", "f"]);
        let created = "2026-01-01T00:00:00Z".parse().unwrap();
        let found = Consumers {
            reported: vec![
                consumer("a", 4, 9),
                consumer("b", 9, 9),
                consumer("c", 2, 5),
                ConsumerRecord { created, ..consumer("d", 4, 9) },
            ],
            unavailable: vec!["e".into()],
            ..Consumers::default()
        };
        let mut held = archived(&known);
        held.retain(|name, (created, of)| holds(name, *created, of, &found, &marks(&found)));
        let held: Vec<_> = held.keys().map(ConsumerName::as_str).collect();
        assert_eq!(held, ["a", "e"]);
    }

    #[test]
    fn a_consumer_that_gave_a_message_up_counts_it() {
        let redelivered = BTreeMap::from([("a".parse().unwrap(), 1)]);
        let known = vec![consumer("a", 9, 9), consumer("b", 9, 9)];
        let found = Consumers { reported: known, redelivered, ..Consumers::default() };
        let marks = marks(&found);
        assert_eq!(marks.keys().map(ConsumerName::as_str).collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_at_rest_are_asked_for_soon_and_others_at_times() {
        let every = Duration::from_secs(30);
        let mut asker = Asker::default();
        assert!(asker.is_due(false, every, false));
        asker.last = Some(Instant::now());
        let due = |asker: &Asker| {
            [(true, false), (false, false), (false, true)]
                .map(|(settled, ending)| asker.is_due(settled, every, ending))
        };
        assert_eq!(due(&asker), [false, false, true]);
        tokio::time::advance(LEAST).await;
        assert_eq!(due(&asker), [true, false, true]);
        asker.runs = MANY;
        assert_eq!(due(&asker), [false, false, true]);
        tokio::time::advance(every).await;
        assert_eq!(due(&asker), [true, true, true]);
    }
}
