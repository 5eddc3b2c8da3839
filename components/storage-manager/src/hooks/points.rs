//! Fail points: one at each of this program's own commit points. The program dies there by SIGKILL, which no
//! handler and no destructor survives.
//!
//! `CIM_FAIL_POINT=entry-before` aborts when that point is reached, `CIM_FAIL_POINT=entry-before:3` when
//! it is reached for the third time.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const VARIABLE: &str = "CIM_FAIL_POINT";
/// In front of every name, so that they can be searched for in a program.
const PREFIX: &str = "fail-point/";

macro_rules! fail_points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place at which this program can be made to die.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum FailPoint { $($(#[$doc])* $point,)* }

        impl FailPoint {
            const ALL: &[(Self, &str)] = &[$((Self::$point, concat!("fail-point/", $name)),)*];
        }
    };
}

fail_points! {
    /// A segment is made and not uploaded.
    SegmentBefore = "segment-before",
    /// A segment is on the NAS and no entry names it.
    SegmentAfter = "segment-after",
    /// An entry of the NAS's manifest is about to be committed.
    EntryBefore = "entry-before",
    /// It is committed, and nothing here knows it yet.
    EntryAfter = "entry-after",
    /// A merged segment is on the NAS, and no entry names it.
    SealUploaded = "seal-uploaded",
    /// The entry that puts a sealed segment in others' place is committed.
    SealCommitted = "seal-committed",
    /// A checkpoint is about to be written.
    CheckpointBefore = "checkpoint-before",
    /// It is written, and nothing here knows it yet.
    CheckpointAfter = "checkpoint-after",
    /// Segments are about to leave the NAS by rule, and no entry says so.
    ExpireBefore = "expire-before",
    /// An entry says so, and nothing of them is deleted.
    ExpireAfter = "expire-after",
    /// Replaced segments are about to be deleted.
    CollectBefore = "collect-before",
    /// One of them is deleted, and no entry says so.
    CollectMidway = "collect-midway",
    /// All of them are deleted, and no entry says so.
    CollectAfter = "collect-after",
    /// A segment is at Wasabi, and no entry names it there.
    ShipSegment = "ship-segment",
    /// Wasabi's entry is decided on the NAS, and not at Wasabi.
    ShipDecided = "ship-decided",
    /// It is at Wasabi, and nothing here knows it yet.
    ShipCopied = "ship-copied",
    /// A new NAS has taken over Wasabi's chain, and nothing has been done with it yet.
    AdoptAfter = "adopt-after",
    /// Some of Wasabi's entries are back on the NAS, as decided.
    RecoverMidway = "recover-midway",
    /// Some of the segments that a new NAS lacks are back.
    BackfillMidway = "backfill-midway",
    /// The server has begun a restore, and was sent nothing.
    RestoreBegun = "restore-begun",
    /// A part of the snapshot is sent.
    RestoreMidway = "restore-midway",
    /// All of the snapshot is sent, or on its way, but the last chunk.
    RestoreBeforeEnd = "restore-before-end",
}

/// The point that is armed, and at which time that it is reached.
struct Armed {
    point: FailPoint,
    at: u32,
}

static ARMED: LazyLock<Result<Option<Armed>, String>> = LazyLock::new(armed);
static REACHED: AtomicU32 = AtomicU32::new(0);

impl FailPoint {
    /// Returns the names of all.
    pub fn names() -> Vec<&'static str> {
        Self::ALL.iter().map(|(_, name)| plain(name)).collect()
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(point, _)| *point == self).map_or("", |(_, name)| name)
    }
}

fn plain(name: &'static str) -> &'static str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

fn armed() -> Result<Option<Armed>, String> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
    let (name, at) = text.split_once(':').unwrap_or((&text, "1"));
    let at = at.parse().ok().filter(|at| *at > 0);
    let point = FailPoint::ALL.iter().find(|(_, known)| plain(known) == name);
    match (point, at) {
        (Some((point, _)), Some(at)) => Ok(Some(Armed { point: *point, at })),
        (None, _) => Err(format!(
            "`{VARIABLE}` is `{text}`, which is no fail point: there are {}",
            FailPoint::names().join(", ")
        )),
        (_, None) => Err(format!("`{VARIABLE}` is `{text}`: behind the colon stands a number")),
    }
}

/// Checks that the variable names a point that there is.
pub fn check() -> Result<(), String> {
    ARMED.as_ref().map(drop).map_err(Clone::clone)
}

/// Ends when this point is armed and this is the time that was asked for.
pub fn reached(point: FailPoint) {
    let Ok(Some(armed)) = ARMED.as_ref() else { return };
    if armed.point == point && REACHED.fetch_add(1, Ordering::SeqCst) + 1 == armed.at {
        eprintln!("{}: dying here, as `{VARIABLE}` asks", point.name());
        // Nothing is left to be done about an error; the harness waits for this end and for no other.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
