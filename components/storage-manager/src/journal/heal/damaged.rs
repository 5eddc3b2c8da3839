//! Which objects of the NAS could not be read, until they are healed or can be read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_core::archive::Segment;
use cim_core::names::StreamName;
use cim_runtime::retry::Backoff;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::journal::log_throttle::LogThrottle;

/// The time for which an object is left alone that could not be healed.
const PAUSE: Backoff = Backoff { first: Duration::from_secs(1), most: Duration::from_mins(1) };
/// Objects that are named to who asks.
const NAMED: usize = 4;
/// The time for which it is remembered that one could be read.
const REMEMBERED: Duration = Duration::from_mins(5);

/// Objects of the NAS that could not be read.
#[derive(Debug, Default)]
pub struct DamagedObjects {
    known: Mutex<Known>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Known {
    objects: BTreeMap<String, Case>,
    /// Those that could be read not long ago: how often that was so, and when last.
    ended: BTreeMap<String, (u32, Instant)>,
    said: LogThrottle,
    /// Entries behind which a checkpoint was asked for.
    restated: BTreeSet<String>,
}

/// One object.
#[derive(Debug)]
struct Case {
    tries: u32,
    /// The time at which it is looked at.
    due: Instant,
    /// Why it stays as it is, where something has to be done.
    why: Option<String>,
    /// Parts that no newest timeline needs: nothing waits for them any more.
    given_up: BTreeSet<(StreamName, u32, u64)>,
}

impl DamagedObjects {
    /// Takes note of an object that could not be read. One that could be read here just now, and not there, is left
    /// alone for a while: else the two would go on like that as fast as they can.
    pub fn report(&self, key: &str) {
        let mut known = self.lock();
        let now = Instant::now();
        known.ended.retain(|_, (_, at)| at.elapsed() < REMEMBERED);
        let tries = known.ended.get(key).map_or(0, |(times, _)| *times);
        let due = if tries == 0 { now } else { now + PAUSE.after(tries) };
        let case = || Case { tries, due, why: None, given_up: BTreeSet::new() };
        known.objects.entry(key.to_owned()).or_insert_with(case);
        drop(known);
        self.news.notify_one();
    }

    /// Returns whether an object is to be left alone.
    pub(in crate::journal) fn has(&self, key: &str) -> bool {
        self.lock().objects.contains_key(key)
    }

    /// Returns whether a part stays damaged, in a timeline that its stream has left.
    pub(in crate::journal) fn is_given_up(&self, stream: &StreamName, segment: &Segment) -> bool {
        let place = (stream.clone(), segment.timeline, segment.first_seq);
        self.lock().objects.get(&segment.key).is_some_and(|case| case.given_up.contains(&place))
    }

    /// Gives a part up; returns whether that is new.
    pub(super) fn give_up(&self, stream: &StreamName, segment: &Segment) -> bool {
        let place = (stream.clone(), segment.timeline, segment.first_seq);
        let mut known = self.lock();
        known.objects.get_mut(&segment.key).is_some_and(|case| case.given_up.insert(place))
    }

    /// Takes back that a part was given up.
    pub(super) fn take_back(&self, stream: &StreamName, segment: &Segment) {
        let place = (stream.clone(), segment.timeline, segment.first_seq);
        if let Some(case) = self.lock().objects.get_mut(&segment.key) {
            case.given_up.remove(&place);
        }
    }

    /// Schedules another look at an object, soon: the meaning of its damage has changed.
    pub(crate) fn again(&self, key: &str) {
        if let Some(case) = self.lock().objects.get_mut(key) {
            (case.tries, case.due) = (0, Instant::now());
        }
        self.news.notify_one();
    }

    /// Returns how often one was looked at and stayed as it was.
    pub(super) fn tries(&self, key: &str) -> u32 {
        self.lock().objects.get(key).map_or(0, |case| case.tries)
    }

    /// Returns the keys of all damaged objects.
    pub(in crate::journal) fn keys(&self) -> BTreeSet<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Waits until one is to be looked at.
    pub(super) async fn due(&self) -> String {
        loop {
            let next = {
                let known = self.lock();
                let next = known.objects.iter().min_by_key(|(_, case)| case.due);
                next.map(|(key, case)| (key.clone(), case.due))
            };
            match next {
                Some((key, due)) if due <= Instant::now() => return key,
                Some((_, due)) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.news.notified() => {}
                },
                None => self.news.notified().await,
            }
        }
    }

    /// Forgets one that can be read, or need not be any more.
    pub(super) fn end(&self, key: &str) {
        let mut known = self.lock();
        if known.objects.remove(key).is_some() {
            let times = known.ended.get(key).map_or(0, |(times, _)| *times);
            known.ended.insert(key.to_owned(), (times.saturating_add(1), Instant::now()));
        }
    }

    /// Returns what is to be known of those that stay as they are until something is done.
    pub(in crate::journal) fn stay(&self) -> Vec<String> {
        let known = self.lock();
        let mut why = known.objects.values().filter_map(|case| case.why.clone());
        let mut stay: Vec<_> = why.by_ref().take(NAMED).collect();
        match why.count() {
            0 => {}
            more => stay.push(format!("{more} more objects of the NAS cannot be read")),
        }
        stay
    }

    /// Leaves one alone for a while; `why` where something has to be done.
    pub(super) fn put_off(&self, key: &str, why: Option<String>) {
        if let Some(case) = self.lock().objects.get_mut(key) {
            case.tries += 1;
            case.why = why;
            case.due = Instant::now() + PAUSE.after(case.tries);
        }
    }

    /// Returns whether an entry is one behind which no checkpoint was asked for, and takes note that it is now.
    pub(super) fn is_first(&self, key: &str) -> bool {
        self.lock().restated.insert(key.to_owned())
    }

    /// Returns whether the reason may be said.
    pub(super) fn allows(&self, why: &str) -> bool {
        self.lock().said.allows(why)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_healed_is_looked_at_less_and_less_often() {
        let (damaged, mut looks) = (DamagedObjects::default(), 0);
        damaged.report("a");
        let begun = Instant::now();
        let mut said = 0;
        while begun.elapsed() < Duration::from_mins(10) {
            assert_eq!(damaged.due().await, "a");
            looks += 1;
            // It is found again and again meanwhile.
            damaged.report("a");
            damaged.put_off("a", Some("it is damaged".into()));
            said += u32::from(damaged.allows("it is damaged"));
        }
        assert!((10..40).contains(&looks), "{looks}");
        assert!((2..=3).contains(&said), "{said}");
        damaged.report("b");
        assert_eq!(damaged.due().await, "b");
        damaged.put_off("b", None);
        assert_eq!(damaged.stay(), ["it is damaged"], "b is healed by itself");
        for key in ["c", "d", "e", "f"] {
            damaged.report(key);
            damaged.put_off(key, Some(format!("{key} too")));
        }
        let stay = damaged.stay();
        assert_eq!((stay.len(), &*stay[4]), (5, "1 more objects of the NAS cannot be read"));
        damaged.end("b");
        assert!(damaged.has("a") && !damaged.has("b"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_read_here_and_not_there_does_not_go_round_and_round() {
        let (damaged, begun, mut looks) = (DamagedObjects::default(), Instant::now(), 0);
        while begun.elapsed() < Duration::from_mins(10) && looks < 1000 {
            damaged.report("a");
            assert_eq!(damaged.due().await, "a");
            damaged.end("a");
            looks += 1;
        }
        assert!((10..40).contains(&looks), "{looks}");
        tokio::time::advance(REMEMBERED).await;
        let now = Instant::now();
        damaged.report("a");
        damaged.due().await;
        assert_eq!(now.elapsed(), Duration::ZERO);
    }
}
