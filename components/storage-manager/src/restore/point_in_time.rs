//! Which sequence a point in time is.
//!
//! A stream is restored as it was just before the first message that is later than the point. A host's
//! clock may have been set back or forward, so times need not ascend: what follows that message is not
//! restored even where it is earlier again, for a history without its middle never was. Segments say in
//! the manifest when their first and last messages are, in their footers when the latest is.

use cim_core::archive::Segment;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use super::error::RestoreError;
use super::plan::{FirstLater, Plan};
use super::source::{Content, Source};
use crate::segment::{Message, SegmentError, times};

/// Footers that are asked for at once.
const AT_ONCE: usize = 8;

/// Cuts a plan off at its point in time, if it has one.
pub(super) async fn cut_off(source: &Source, plan: &mut Plan) -> Result<(), RestoreError> {
    let Some(until) = plan.until_time else { return Ok(()) };
    let mut latest = stream::iter(plan.pieces.clone())
        .map(|(segment, ..)| async move { source.times(&segment).await })
        .buffered(AT_ONCE);
    let (mut last_seq, mut first_later) = (0, plan.later);
    for (index, (segment, first, last)) in plan.pieces.iter().enumerate() {
        let latest = latest.try_next().await?.flatten().map(|(_, latest)| latest);
        if latest.is_none_or(|latest| latest > until) {
            let content = source.content(segment).await?;
            let (before, found) = cut(segment, &content, (*first, *last), until)?;
            last_seq = before.unwrap_or(last_seq);
            if let Some(found) = found {
                let after = plan.pieces[index + 1..].iter().map(|(segment, ..)| segment.clone());
                plan.segments_after.splice(..0, after);
                let back = found.back || first_later.is_some_and(|later| later.back);
                first_later = Some(FirstLater { back, ..found });
                break;
            }
        }
        last_seq = segment.last.seq.min(*last);
    }
    drop(latest);
    if let Some(later) = &mut first_later {
        later.back = later.back || is_earlier_again(source, &plan.segments_after, until).await?;
    }
    if let Some(later) = first_later.filter(|later| later.back) {
        tracing::warn!(
            "stream `{}`: sequence {} is later than the point in time, and messages after it are not, \
             for the host's clock was set back: the restore ends before it; `--until-seq` reaches \
             further",
            plan.stream,
            later.seq
        );
    }
    plan.last_seq = last_seq;
    plan.pieces.retain(|(_, first, _)| *first <= last_seq);
    for (_, _, last) in &mut plan.pieces {
        *last = (*last).min(last_seq);
    }
    Ok(())
}

/// Returns true if one of the segments has a message that is not later: the manifest knows their first and last.
async fn is_earlier_again(
    source: &Source,
    rest: &[Segment],
    until: i64,
) -> Result<bool, RestoreError> {
    let earlier = |time: Timestamp| time.as_nanosecond() <= until.into();
    if rest.iter().any(|segment| earlier(segment.first_time) || earlier(segment.last_time)) {
        return Ok(true);
    }
    let mut found = stream::iter(rest)
        .map(|segment| source.times(segment))
        .buffered(AT_ONCE)
        .map_ok(|times| times.is_some_and(|(earliest, _)| earliest <= until));
    while let Some(earlier) = found.try_next().await? {
        if earlier {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the last sequence of a piece before the first message that is later, and that message.
fn cut(
    segment: &Segment,
    content: &Content,
    (first, last): (u64, u64),
    until: i64,
) -> Result<(Option<u64>, Option<FirstLater>), RestoreError> {
    let mut scan = Scan { until, before: None, later: None };
    content.read::<RestoreError>(segment, |message| {
        if (first..=last).contains(&message.seq) {
            scan.see(message.seq, message.time);
        }
        Ok(())
    })?;
    Ok((scan.before, scan.later))
}

/// The messages of a piece, seen one after the other.
struct Scan {
    until: i64,
    /// The last sequence before the first message that is later.
    before: Option<u64>,
    later: Option<FirstLater>,
}

impl Scan {
    /// Takes note of the next message.
    fn see(&mut self, seq: u64, time: i64) {
        match &mut self.later {
            Some(later) => later.back |= time <= self.until,
            None if time > self.until => self.later = Some(FirstLater { seq, back: false }),
            None => self.before = Some(seq),
        }
    }
}

impl Source {
    /// Returns the times of the earliest and the latest message of a segment, from its footer; `None` if only reading
    /// all of it would tell. The footer alone proves nothing: what is restored is checked against its hash before its
    /// first row is sent.
    async fn times(&self, segment: &Segment) -> Result<Option<(i64, i64)>, RestoreError> {
        if segment.part.is_some() {
            // The footer of its object speaks of other streams too.
            return Ok(times_of(segment, &self.content(segment).await?)?);
        }
        let mut wanted = FOOTER.min(segment.size);
        loop {
            let from = segment.size - wanted;
            let Ok(tail) = self.tier.get_range(&segment.key, from..segment.size).await else {
                return Ok(None);
            };
            match times(&tail, segment.size) {
                Ok(times) => return Ok(times),
                Err(needed) if needed > wanted && needed <= segment.size => wanted = needed,
                Err(_) => return Ok(None),
            }
        }
    }
}

/// Returns the times of the earliest and the latest message of a segment, from its messages.
fn times_of(segment: &Segment, content: &Content) -> Result<Option<(i64, i64)>, SegmentError> {
    let mut found: Option<(i64, i64)> = None;
    content.read::<SegmentError>(segment, |Message { time, .. }| {
        let (earliest, latest) = found.unwrap_or((*time, *time));
        found = Some((earliest.min(*time), latest.max(*time)));
        Ok(())
    })?;
    Ok(found)
}

/// Bytes that hold the footer of most segments.
const FOOTER: u64 = 32 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the clock did: what comes back is all before the first later message, and nothing behind it.
        #[test]
        fn the_cut_is_before_the_first_later_message(
            times in prop::collection::vec(-3..4_i64, 0..12), until in -4..5_i64
        ) {
            let mut scan = Scan { until, before: None, later: None };
            (1..).zip(&times).for_each(|(seq, time)| scan.see(seq, *time));
            let first = times.iter().position(|time| *time > until);
            let kept = first.unwrap_or(times.len()) as u64;
            prop_assert_eq!(scan.before, (kept > 0).then_some(kept));
            prop_assert_eq!(scan.later.map(|later| later.seq), first.map(|first| first as u64 + 1));
            let back = first.is_some_and(|first| times[first..].iter().any(|time| *time <= until));
            prop_assert_eq!(scan.later.is_some_and(|later| later.back), back);
        }
    }
}
