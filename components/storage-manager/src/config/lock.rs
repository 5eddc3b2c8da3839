//! `object_lock`: for how long the service lets nothing delete or overwrite what is written.

use std::num::NonZeroU16;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// `object_lock = { mode = "compliance", days = 90 }`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectLock {
    /// The mode: who may lift the lock.
    pub mode: LockMode,
    /// For how long an object is locked, from when it is written.
    pub days: NonZeroU16,
}

/// The mode of a lock: who may lift it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// A key that has the right to.
    Governance,
    /// Nothing does, not even the owner of the account.
    Compliance,
}

impl LockMode {
    /// Returns its name in a request.
    pub fn header(self) -> &'static str {
        match self {
            Self::Governance => "GOVERNANCE",
            Self::Compliance => "COMPLIANCE",
        }
    }
}

impl ObjectLock {
    /// Returns until when what is written now is locked.
    pub fn until(self, now: Timestamp) -> Timestamp {
        now + SignedDuration::from_hours(24 * i64::from(self.days.get()))
    }
}
