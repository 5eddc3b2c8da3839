//! Exit statuses: what the user can do something about has one of its own.

use std::error::Error;

use cim_runtime::config::ConfigError;
use cim_runtime::error::chain;
use cim_runtime::nats::NatsError;

use crate::archive::ArchiveError;
use crate::chain::ReadError;
use crate::check::Unfit;
use crate::copy::CopyError;
use crate::crypt::KeyError;
use crate::jetstream::ApiError;
use crate::journal::{BootstrapError, OpenError};
use crate::restore::{PlanError, RestoreError};
use crate::s3::{ErrorKind, S3Error};
use crate::segment::SegmentError;
use crate::tier::error::FetchError;
use crate::tier::{HistoryError, StartError};
use crate::wire::WireError;

/// Why the program fails.
#[derive(Debug)]
pub(super) struct Failure {
    status: u8,
    message: String,
}

const OTHER: u8 = 1;
const USAGE: u8 = 2;
const NATS: u8 = 3;
const S3: u8 = 4;
const DAMAGED: u8 = 5;
const REFUSED: u8 = 6;
const EMPTY: u8 = 7;
const BEHIND: u8 = 8;
const LOCKED: u8 = 9;
const INTERRUPTED: u8 = 130;

impl Failure {
    fn new(status: u8, error: &(dyn Error + 'static)) -> Self {
        Self { status, message: chain(error) }
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { status: USAGE, message: message.into() }
    }

    pub(super) fn damaged(message: impl Into<String>) -> Self {
        Self { status: DAMAGED, message: message.into() }
    }

    pub(super) fn locked(message: impl Into<String>) -> Self {
        Self { status: LOCKED, message: message.into() }
    }

    pub(super) fn empty(message: impl Into<String>) -> Self {
        Self { status: EMPTY, message: message.into() }
    }

    pub(super) fn behind(message: impl Into<String>) -> Self {
        Self { status: BEHIND, message: message.into() }
    }

    pub(super) fn interrupted(message: impl Into<String>) -> Self {
        Self { status: INTERRUPTED, message: message.into() }
    }

    pub(super) fn refused(error: &(dyn Error + 'static)) -> Self {
        Self::new(REFUSED, error)
    }

    pub(super) fn refusal(message: impl Into<String>) -> Self {
        Self { status: REFUSED, message: message.into() }
    }

    pub(super) fn is_damage(&self) -> bool {
        self.status == DAMAGED
    }

    pub(super) fn is_locked(&self) -> bool {
        self.status == LOCKED
    }

    pub(super) fn is_s3(&self) -> bool {
        self.status == S3
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.status == REFUSED
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.status == INTERRUPTED
    }

    /// Returns the same status with another message.
    pub(super) fn with_message(self, message: String) -> Self {
        Self { message, ..self }
    }

    pub(super) fn other(error: &(dyn Error + 'static)) -> Self {
        Self::new(OTHER, error)
    }

    pub(super) fn status(&self) -> u8 {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(USAGE, &error)
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        Self::new(USAGE, &error)
    }
}

impl From<NatsError> for Failure {
    fn from(error: NatsError) -> Self {
        let status = if matches!(error, NatsError::Config(_)) { USAGE } else { NATS };
        Self::new(status, &error)
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::new(if matches!(error, ApiError::NoResponse { .. }) { NATS } else { REFUSED }, &error)
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        let status = match &error.kind {
            ErrorKind::Locked(_) => LOCKED,
            kind if kind.is_damage() => DAMAGED,
            _ => S3,
        };
        Self::new(status, &error)
    }
}

impl From<SegmentError> for Failure {
    fn from(error: SegmentError) -> Self {
        Self::new(DAMAGED, &error)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::S3(error) => error.into(),
            damaged => Self::new(DAMAGED, &damaged),
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::S3(error) => error.into(),
            damaged => Self::new(DAMAGED, &damaged),
        }
    }
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Chain(error) => error.into(),
            ArchiveError::Journal(error) => error.into(),
            ArchiveError::S3(error) => error.into(),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Api(error) => error.into(),
            HistoryError::Fetch(FetchError::S3(error)) => error.into(),
            HistoryError::Fetch(FetchError::Segment(error)) => error.into(),
            HistoryError::Fetch(error @ FetchError::Key(_)) => Self::new(DAMAGED, &error),
        }
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let status = match error {
            PlanError::NoTimeline { .. } => USAGE,
            PlanError::Left { .. } => EMPTY,
        };
        Self::new(status, &error)
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Locked { ref locked, .. } => {
                Self::locked(format!("{}: {}", chain(&error), locked.way_out()))
            }
            RestoreError::S3(error) => error.into(),
            RestoreError::Api(error)
            | RestoreError::Send(crate::restore::SendError::Api(error)) => error.into(),
            RestoreError::Segment(error) => error.into(),
            RestoreError::Archive(error) => error.into(),
            RestoreError::Missing { .. } => Self::new(DAMAGED, &error),
            RestoreError::Exists { .. }
            | RestoreError::Empty(_)
            | RestoreError::MemoryOnOldServer(_)
            | RestoreError::TooNew { .. }
            | RestoreError::Unknown { .. }
            | RestoreError::Shorn { .. }
            | RestoreError::Alone(_)
            | RestoreError::Overlaps { .. }
            | RestoreError::TooLarge { .. }
            | RestoreError::NoRoom { .. }
            | RestoreError::Unencodable(_) => Self::new(REFUSED, &error),
            RestoreError::Send(_) => Self::new(NATS, &error),
            RestoreError::Interrupted(_) => Self::new(INTERRUPTED, &error),
            RestoreError::Differs { .. } | RestoreError::SnapshotTruncated(_) => {
                Self::new(OTHER, &error)
            }
        }
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        let status = match &error {
            CopyError::From(cause) | CopyError::To(cause)
                if matches!(cause.kind, ErrorKind::Locked(_)) =>
            {
                LOCKED
            }
            CopyError::From(_) | CopyError::To(_) => S3,
            CopyError::Clash(_) => REFUSED,
            CopyError::Interrupted => INTERRUPTED,
        };
        Self::new(status, &error)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        let is_setting = matches!(error, WireError::Config(_) | WireError::Setting(_));
        Self::new(if is_setting { USAGE } else { NATS }, &error)
    }
}

impl From<Unfit> for Failure {
    fn from(error: Unfit) -> Self {
        let status = match error {
            Unfit::Rights { nats: true, .. } => NATS,
            Unfit::Unconditional(_) | Unfit::Unlocked { .. } => USAGE,
            Unfit::Rights { .. } | Unfit::Unchecked(_) | Unfit::Lists(_) => S3,
        };
        Self::new(status, &error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let out = error.way_out();
        let failure: Self = match error {
            StartError::S3(error) | StartError::Bootstrap(BootstrapError::S3(error)) => {
                error.into()
            }
            StartError::Journal(error) | StartError::Bootstrap(BootstrapError::Open(error)) => {
                error.into()
            }
            StartError::Archive(error) => error.into(),
            StartError::Bootstrap(BootstrapError::Journal(error)) => Self::new(OTHER, &error),
            StartError::Api(error) => error.into(),
            StartError::Wire(error) => error.into(),
            StartError::Unfit(error) => error.into(),
            StartError::Glob(_) | StartError::TakenOver { .. } | StartError::Ready { .. } => {
                Self::new(USAGE, &error)
            }
            StartError::Bootstrap(BootstrapError::Refused(error)) => Self::new(DAMAGED, &error),
        };
        let Some(out) = out else { return failure };
        let message = format!("{}; {out}", failure.message);
        failure.with_message(message)
    }
}
