//! How much to ask a stream's consumer for.
//!
//! A stream at rest has one small request open, for which nothing is reserved: the server waits with it.
//! When that was used up at once, more is reserved and asked for, and each such request ends when there
//! is nothing more: so bytes are reserved while they come, and never while nothing does.

use std::time::Duration;

use crate::wire::{EndReason, PullRequest, RequestEnd};

/// Bytes of the small request, of one stream and of all.
const IDLE: usize = 16 << 10;
const IDLE_LEAST: usize = 1 << 10;
const IDLE_OF_ALL: usize = 16 << 20;
/// Largest request, unless a message can be larger.
const LARGE: usize = 8 << 20;
/// From here on the next one is there before the last is served.
const WIDE: usize = 1 << 20;
const GROWTH: usize = 8;
/// Room for what the server counts besides a message's bytes.
const MARGIN: usize = 64 << 10;
/// Used up sooner than this means that more is there, or soon is.
const QUICK: Duration = Duration::from_millis(500);
/// The time for which a small request stays open, and how long a large one may wait for its first message.
const IDLE_EXPIRES: Duration = Duration::from_mins(5);
const EXPIRES: Duration = Duration::from_secs(1);
/// More than a server has ever put into a request.
const MESSAGES: u64 = 1 << 16;

/// The next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    idle: usize,
    limit: usize,
    /// `None` at rest.
    size: Option<usize>,
    heartbeat: Duration,
}

impl Pace {
    /// Creates the pace for messages of up to `max_payload` bytes, in a budget of `budget` bytes. At rest the server
    /// sends a heartbeat every `heartbeat`.
    pub fn new(max_payload: usize, budget: usize, heartbeat: Duration) -> Self {
        // A quarter of the budget, so that no stream has all of it; but the largest message must fit.
        let limit = LARGE.min(budget / 4).max(max_payload + MARGIN).max(IDLE);
        Self { idle: IDLE, limit, size: None, heartbeat }
    }

    /// Takes into account that it is one of so many.
    pub fn share(&mut self, readers: usize) {
        self.idle = (IDLE_OF_ALL / readers.max(1)).clamp(IDLE_LEAST, IDLE);
    }

    /// Returns the bytes to reserve for each request; `None` at rest.
    pub fn reserve(&self) -> Option<usize> {
        self.size
    }

    /// Returns the number of requests to have open.
    pub fn open(&self) -> usize {
        if self.size.is_some_and(|size| (WIDE..=LARGE).contains(&size)) { 2 } else { 1 }
    }

    /// Returns the next request.
    pub fn ask(&self) -> PullRequest {
        let bytes = Some(self.size.unwrap_or(self.idle));
        match self.size {
            None => PullRequest {
                messages: MESSAGES,
                bytes,
                expires: IDLE_EXPIRES,
                heartbeat: Some(self.heartbeat),
                at_once: false,
            },
            Some(_) => PullRequest {
                messages: MESSAGES,
                bytes,
                expires: EXPIRES,
                heartbeat: None,
                at_once: true,
            },
        }
    }

    /// Returns how long a healthy server is silent at most.
    pub fn silence(&self) -> Duration {
        const LATE: Duration = Duration::from_secs(5);
        match self.size {
            None => self.heartbeat * 2 + LATE,
            Some(_) => EXPIRES + LATE,
        }
    }

    /// Takes into account how a request ended.
    pub fn ended(&mut self, RequestEnd { why, lasted }: RequestEnd) {
        match why {
            EndReason::Drained => self.size = None,
            EndReason::Full if lasted >= QUICK => {}
            EndReason::Full | EndReason::TooSmall => {
                self.size = Some((self.size.unwrap_or(self.idle) * GROWTH).min(self.limit));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BEAT: Duration = Duration::from_mins(1);

    fn ended(pace: &mut Pace, why: EndReason, millis: u64) {
        pace.ended(RequestEnd { why, lasted: Duration::from_millis(millis) });
    }

    #[test]
    fn a_trickle_reserves_nothing() {
        let mut pace = Pace::new(8 << 20, 96 << 20, BEAT);
        for _ in 0..10 {
            ended(&mut pace, EndReason::Full, 501);
            ended(&mut pace, EndReason::Drained, 300_000);
            assert_eq!((pace.reserve(), pace.open()), (None, 1));
        }
    }

    #[test]
    fn a_flood_has_two_large_requests_open_after_a_few_steps() {
        let mut pace = Pace::new(1 << 20, 96 << 20, BEAT);
        for _ in 0..3 {
            ended(&mut pace, EndReason::Full, 1);
        }
        assert_eq!((pace.reserve(), pace.open()), (Some(LARGE), 2));
        ended(&mut pace, EndReason::Drained, 0);
        assert_eq!(pace.reserve(), None);
    }

    proptest! {
        #[test]
        fn the_largest_message_is_asked_for_in_the_end_and_all_at_rest_stays_small(
            readers in 0usize..20_000,
            max_payload in 1usize..(64 << 20),
            budget in (32usize << 20)..(1 << 30),
            before in prop::collection::vec((0u8..3, 0u64..2_000), 0..20),
        ) {
            let mut pace = Pace::new(max_payload, budget, BEAT);
            pace.share(readers);
            for (why, millis) in before {
                ended(&mut pace, [EndReason::Full, EndReason::TooSmall, EndReason::Drained][usize::from(why)], millis);
                prop_assert!(pace.reserve().is_none_or(|size| size <= LARGE.max(max_payload + MARGIN)));
            }
            for _ in 0..6 {
                ended(&mut pace, EndReason::TooSmall, 0);
            }
            prop_assert!(pace.ask().bytes.unwrap() > max_payload);
            ended(&mut pace, EndReason::Drained, 0);
            prop_assert!(pace.ask().bytes.unwrap() * readers <= IDLE_OF_ALL.max(readers * IDLE_LEAST));
            prop_assert!(pace.ask().heartbeat.unwrap() * 2 <= pace.ask().expires);
        }
    }
}
