//! Sabotage: one mutation a process, in the place where a fault of this program would have the same effect.
//!
//! `CIM_SABOTAGE=drop-event` arms one; when it has acted the log says `sabotage/drop-event: …`, so that
//! a mutation that never took place is not taken for one that went unnoticed.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Position, SeqRanges};

use crate::s3::{PutOutcome, S3Error};
use crate::segment::{Columns, Message};
use crate::tier::Context;

const VARIABLE: &str = "CIM_SABOTAGE";
/// In front of every name, so that they can be searched for in a program.
const PREFIX: &str = "sabotage/";

macro_rules! sabotages {
    ($($(#[$doc:meta])* $sabotage:ident = $name:literal,)*) => {
        /// A mutation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Sabotage { $($(#[$doc])* $sabotage,)* }

        impl Sabotage {
            const ALL: &[(Self, &str)] = &[$((Self::$sabotage, concat!("sabotage/", $name)),)*];
        }
    };
}

sabotages! {
    /// A message does not get into its segment.
    DropEvent = "drop-event",
    /// A message is written a second time, in the place of the one after it.
    DuplicateEvent = "duplicate-event",
    /// Two messages change places.
    ReorderEvents = "reorder-events",
    /// A segment's file is uploaded only in part.
    TruncateSegment = "truncate-segment",
    /// A bit of a payload flips before anything is hashed.
    FlipBit = "flip-bit",
    /// A message's time is a second later.
    ShiftTimestamp = "shift-timestamp",
    /// A restored consumer goes on one message too far.
    SkipConsumerPosition = "skip-consumer-position",
    /// Segments count as there before they are.
    AdvanceWatermark = "advance-watermark",
    /// A deleted message counts as one that was not.
    ForgetDelete = "forget-delete",
    /// A manifest is read as it was a while ago.
    StaleManifest = "stale-manifest",
    /// A write that S3 refused counts as done.
    SwallowS3Error = "swallow-s3-error",
    /// A restore ends one sequence before its end.
    RestoreOneTooFew = "restore-one-too-few",
}

static ARMED: LazyLock<Result<Option<Sabotage>, String>> = LazyLock::new(armed);
static ACTED: AtomicBool = AtomicBool::new(false);

impl Sabotage {
    /// Returns the names of all.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(_, name)| plain(name)).collect()
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(sabotage, _)| *sabotage == self).map_or("", |(_, name)| name)
    }

    fn is_armed(self) -> bool {
        matches!(ARMED.as_ref(), Ok(Some(armed)) if *armed == self)
    }

    /// Returns true once a process, when this one is armed.
    fn acts(self) -> bool {
        self.is_armed() && !ACTED.swap(true, Ordering::SeqCst)
    }

    fn say(self, what: &str) {
        eprintln!("{}: {what}", self.name());
    }
}

fn plain(name: &'static str) -> &'static str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn armed() -> Result<Option<Sabotage>, String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
    let found = Sabotage::ALL.iter().find(|(_, known)| plain(known) == text);
    found.map(|(sabotage, _)| Some(*sabotage)).ok_or_else(|| {
        let names = Sabotage::names().join(", ");
        format!("`{VARIABLE}` is `{text}`, which is no sabotage: there are {names}")
    })
}

/// Returns true when a mutation is armed, whether it has acted or not.
pub fn or_armed(honest: bool) -> bool {
    honest || matches!(ARMED.as_ref(), Ok(Some(_)))
}

/// Checks that the variable names a known mutation.
pub fn check() -> Result<(), String> {
    ARMED.as_ref().map(drop).map_err(Clone::clone)
}

/// Mutates messages on their way into a segment.
pub fn columns(honest: Columns) -> Columns {
    use Sabotage::{DropEvent, DuplicateEvent, FlipBit, ReorderEvents, ShiftTimestamp};
    // In the middle, where neither neighbours nor bounds give it away.
    let at = honest.len() / 2;
    let of_rows = [DropEvent, DuplicateEvent, FlipBit, ReorderEvents, ShiftTimestamp];
    let Some(mutation) =
        of_rows.into_iter().find(|mutation| at + 1 < honest.len() && mutation.acts())
    else {
        return honest;
    };
    let mut columns = Columns::default();
    for row in 0..honest.len() {
        let message = honest.message(row);
        let place = |content: usize| {
            let Message { seq, time, .. } = message;
            Message { seq, time, ..honest.message(content) }
        };
        let mut payload;
        columns.push(match mutation {
            DropEvent if row == at => continue,
            ReorderEvents if row == at => place(at + 1),
            DuplicateEvent | ReorderEvents if row == at + 1 => place(at),
            ShiftTimestamp if row == at => {
                Message { time: message.time + 1_000_000_000, ..message }
            }
            FlipBit if row == at => {
                payload = message.payload.to_vec();
                let middle = payload.len() / 2;
                if let Some(byte) = payload.get_mut(middle) {
                    *byte ^= 1;
                }
                Message { payload: &payload, ..message }
            }
            _ => message,
        });
    }
    mutation.say(&format!("sequence {}", honest.message(at).seq));
    columns
}

/// Mutates a segment's file on its way to the NAS, after it was hashed.
pub fn file(honest: Bytes) -> Bytes {
    if Sabotage::TruncateSegment.acts() {
        let half = honest.len() / 2;
        Sabotage::TruncateSegment.say(&format!("{half} of {} bytes", honest.len()));
        return honest.slice(..half);
    }
    honest
}

/// The delay between the confirmation of a segment and its write.
const LATER: Duration = Duration::from_secs(3);

/// Takes over every segment's upload: confirms it at once, and does it later. A process that dies in between has
/// confirmed what is not there.
pub fn counts_as_uploaded(context: &Arc<Context>, key: &ArchiveKey, file: &Bytes) -> bool {
    if !Sabotage::AdvanceWatermark.is_armed() {
        return false;
    }
    if Sabotage::AdvanceWatermark.acts() {
        Sabotage::AdvanceWatermark.say(&format!("segments are written {LATER:?} late"));
    }
    let (context, key, file) = (Arc::clone(context), key.clone(), file.clone());
    tokio::spawn(async move {
        tokio::time::sleep(LATER).await;
        let put = context
            .retry_until_cancelled("a late segment", || context.nas.put(&key, file.clone()))
            .await;
        drop(put);
    });
    true
}

/// Keys of writes whose answer was lost: the object may be there.
static UNANSWERED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Mutates the answer to a write.
pub fn answer(honest: Result<PutOutcome, S3Error>) -> Result<PutOutcome, S3Error> {
    if let Err(error) = &honest
        // Where only an answer was lost, this one's or an earlier one's, nothing would be wrong.
        && !may_be_there(error)
        && Sabotage::SwallowS3Error.acts()
    {
        Sabotage::SwallowS3Error.say(&error.to_string());
        return Ok(PutOutcome::Created);
    }
    honest
}

fn may_be_there(error: &S3Error) -> bool {
    let mut unanswered = UNANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    if error.to_string().contains("before message completed") {
        unanswered.insert(error.key.clone());
    }
    unanswered.contains(&error.key)
}

/// Mutates the sequences that are gone from a live stream: leaves out the first one each time.
pub fn deleted(honest: SeqRanges) -> SeqRanges {
    let Some(first) = honest.iter().next() else { return honest };
    if !Sabotage::ForgetDelete.is_armed() {
        return honest;
    }
    if Sabotage::ForgetDelete.acts() {
        Sabotage::ForgetDelete.say(&format!("sequence {}", first.first));
    }
    honest.intersect(first.first + 1, u64::MAX)
}

/// Mutates the numbers of a manifest's entries, as a listing gives them.
pub fn listed<T>(mut honest: Vec<T>) -> Vec<T> {
    if honest.len() > 1 && Sabotage::StaleManifest.acts() {
        let all = honest.len();
        honest.truncate(all / 2);
        Sabotage::StaleManifest.say(&format!("{} of {all} entries", honest.len()));
    }
    honest
}

/// Mutates the last sequence that a restore is to bring back.
pub fn last_sequence(honest: u64) -> u64 {
    if honest > 1 && Sabotage::RestoreOneTooFew.acts() {
        Sabotage::RestoreOneTooFew.say(&format!("{} instead of {honest}", honest - 1));
        return honest - 1;
    }
    honest
}

/// Mutates the position at which a restored consumer goes on: delivered, and acknowledged.
pub fn position((delivered, floor): (Position, Position)) -> (Position, Position) {
    if !Sabotage::SkipConsumerPosition.acts() {
        return (delivered, floor);
    }
    let next = floor.stream_seq + 1;
    Sabotage::SkipConsumerPosition.say(&format!("{next} instead of {}", floor.stream_seq));
    let beyond = |place: Position| Position { stream_seq: place.stream_seq.max(next), ..place };
    (beyond(delivered), beyond(floor))
}
