//! How far a stream was read, and when that was all that there is.
//!
//! The watermark may pass sequences that the stream does not have, its deleted end, only when nothing of
//! them can still come: what was read is committed, and nothing is on its way to the reader. The reader
//! and the survey look at different moments, so both conditions are put together here.

use std::sync::{Mutex, PoisonError};

/// The messages that a reader has handed over to its segmenter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Read {
    /// The highest sequence.
    pub seq: u64,
    /// Up to here nothing more can come, where the reader knows that by itself.
    pub drained: u64,
    /// The consumer that it reads through, and how many messages that one has delivered.
    pub consumer: Option<(String, u64)>,
    /// Messages are asked for by the stream's name and their sequences: where the stream was made again it may have read
    /// the new one's.
    pub by_name: bool,
}

/// The same, as reader and survey share it.
#[derive(Debug, Default)]
pub struct Progress(Mutex<Read>);

impl Progress {
    /// Begins behind this sequence.
    pub fn begin(seq: u64) -> Self {
        Self(Mutex::new(Read { seq, ..Read::default() }))
    }

    /// Returns how far the stream has been read.
    pub fn get(&self) -> Read {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of what was read, after it was handed over.
    pub fn update(&self, change: impl FnOnce(&mut Read)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A consumer as its server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivered {
    /// Messages that it has sent.
    pub count: u64,
    /// Messages that it has still to send.
    pub pending: u64,
}

/// The end of a stream that has no messages: nothing up to `until` comes any more once everything up to
/// `read` is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    read: u64,
    until: u64,
}

impl Tail {
    /// Returns the tail of a stream whose last sequence was `last_seq`, which then had no message behind what had
    /// been read, and then a consumer that had delivered so much. `now` is what was read when all of that was known.
    pub fn seen(last_seq: u64, delivered: Option<Delivered>, now: &Read) -> Option<Self> {
        let until = match (delivered, &now.consumer) {
            // What is on its way has not been read.
            (Some(delivered), Some((_, count))) => {
                (delivered.count == *count && delivered.pending == 0).then_some(last_seq)?
            }
            _ => now.drained.min(last_seq),
        };
        (now.seq <= until).then_some(Self { read: now.seq, until })
    }

    /// Returns the sequence to which a watermark may move.
    pub fn passes(&self, watermark: u64) -> Option<u64> {
        (self.read <= watermark && watermark < self.until).then_some(self.until)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use proptest::prelude::*;

    use super::*;

    /// A survey as far as it has got.
    #[derive(Debug, Clone)]
    enum Survey {
        Last(u64),
        Nothing(u64),
        Done(Tail),
    }

    /// A stream, its reader and its archive, which take steps in any order.
    #[derive(Debug, Default)]
    struct World {
        last_seq: u64,
        stream: BTreeSet<u64>,
        /// The sequence that the consumer looks at next.
        cursor: u64,
        sent: u64,
        on_the_way: VecDeque<u64>,
        read: Read,
        gathered: Vec<u64>,
        uploaded: VecDeque<Vec<u64>>,
        watermark: u64,
        archived: Vec<u64>,
        survey: Option<Survey>,
    }

    impl World {
        fn new() -> Self {
            let read = Read { consumer: Some(("c".into(), 0)), ..Read::default() };
            Self { read, ..Self::default() }
        }

        fn next(&self, from: u64) -> Option<u64> {
            self.stream.range(from..).next().copied()
        }

        fn pending(&self) -> u64 {
            self.stream.range(self.cursor + 1..).count() as u64
        }

        fn step(&mut self, step: u8, which: u64) {
            match step {
                0 => {
                    self.last_seq += 1;
                    self.stream.insert(self.last_seq);
                }
                1 => drop(self.stream.remove(&(which % (self.last_seq + 1)))),
                2 => {
                    if let Some(seq) = self.next(self.cursor + 1) {
                        (self.cursor, self.sent) = (seq, self.sent + 1);
                        self.on_the_way.push_back(seq);
                    }
                }
                3 => {
                    if let Some(seq) = self.on_the_way.pop_front() {
                        self.gathered.push(seq);
                        self.read.seq = seq;
                        self.read.consumer.as_mut().unwrap().1 += 1;
                    }
                }
                4 => {
                    if !self.gathered.is_empty() {
                        self.uploaded.push_back(std::mem::take(&mut self.gathered));
                    }
                }
                5 => {
                    if let Some(segment) = self.uploaded.pop_front() {
                        assert!(segment[0] > self.watermark, "a segment overlaps the watermark");
                        self.watermark = *segment.last().unwrap();
                        self.archived.extend(segment);
                    }
                }
                _ => self.survey(),
            }
        }

        fn survey(&mut self) {
            self.survey = match self.survey.take() {
                None => Some(Survey::Last(self.last_seq)),
                Some(Survey::Last(last)) => {
                    let next = self.next(self.read.seq + 1).filter(|seq| *seq <= last);
                    next.is_none().then_some(Survey::Nothing(last))
                }
                Some(Survey::Nothing(last)) => {
                    let delivered = Delivered { count: self.sent, pending: self.pending() };
                    Tail::seen(last, Some(delivered), &self.read).map(Survey::Done)
                }
                Some(Survey::Done(tail)) => {
                    self.watermark = tail.passes(self.watermark).unwrap_or(self.watermark);
                    None
                }
            };
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn no_order_of_steps_skips_or_repeats(steps in prop::collection::vec((0u8..10, any::<u64>()), 0..120)) {
            let mut world = World::new();
            for (step, which) in steps {
                world.step(step, which);
            }
            // Then everything comes to rest, and the watermark gets to the end.
            for step in [2, 3, 4, 5].into_iter().flat_map(|step| std::iter::repeat_n(step, 130)) {
                world.step(step, 0);
            }
            for _ in 0..8 {
                world.step(9, 0);
            }
            prop_assert!(world.archived.windows(2).all(|w| w[0] < w[1]));
            prop_assert_eq!(world.archived.len() as u64, world.sent, "what was read is archived");
            prop_assert_eq!(world.watermark, world.last_seq);
        }
    }

    #[test]
    fn what_is_on_its_way_holds_the_watermark() {
        let read = Read { seq: 30, drained: 0, consumer: Some(("c".into(), 30)), by_name: false };
        let all = Some(Delivered { count: 30, pending: 0 });
        assert_eq!(Tail::seen(35, all, &read), Some(Tail { read: 30, until: 35 }));
        for other in [Delivered { count: 31, pending: 0 }, Delivered { count: 30, pending: 1 }] {
            assert_eq!(Tail::seen(35, Some(other), &read), None);
        }
        let tail = Tail { read: 30, until: 35 };
        assert_eq!([29, 30, 34, 35].map(|at| tail.passes(at)), [None, Some(35), Some(35), None]);
    }

    #[test]
    fn a_reader_that_knows_its_end_says_so() {
        let read = Read { seq: 30, drained: 33, consumer: None, by_name: false };
        assert_eq!(Tail::seen(35, None, &read), Some(Tail { read: 30, until: 33 }));
        let read = Read { drained: 0, ..read };
        assert_eq!(Tail::seen(35, None, &read), None);
    }
}
