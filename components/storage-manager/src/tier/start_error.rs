//! Tiering that could not begin, and the way out.

use std::path::PathBuf;

use cim_core::names::{JournalName, StreamName};
use cim_runtime::retry::Class;

use crate::archive::ArchiveError;
use crate::check::Unfit;
use crate::jetstream::ApiError;
use crate::journal::{BootstrapError, OpenError};
use crate::s3::{S3Error, Tier};
use crate::wire::WireError;

/// Tiering that could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The NAS does not answer as it should.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// JetStream does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// NATS does not let the reader in.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Rights are missing, or the NAS does not honour what the archive stands on.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// The globs are wrong.
    #[error("`streams` in the configuration has a glob that cannot be read")]
    Glob(#[from] globset::Error),
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The content of a tier cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A journal goes on with what chains once held.
    #[error(
        "{tier}: journal `{journal}` holds stream `{stream}`, and a chain beside it would be a second history: \
         set `layout = \"journal\"` and `journal = \"{journal}\"` in `[archive]`, or name the stream in \
         `streams.exclude`"
    )]
    TakenOver {
        /// The tier with the journal.
        tier: Tier,
        /// A stream that it holds.
        stream: StreamName,
        /// The journal.
        journal: JournalName,
    },
    /// Wasabi's journal could not be taken over.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The ready file could not be written.
    #[error("cannot write `{}`, which `--ready-file` names", path.display())]
    Ready {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The way out where an archive is damaged that tiering would go on with.
const DAMAGED: &str = "put it back from a copy of the NAS and start again, or give the NAS a new, empty bucket, \
     which Wasabi and JetStream fill, and keep this one: `streams` shows what can be read of it, `restore --all --before-damage` brings that back; \
     docs/recovery.md#an-object-on-the-nas-is-damaged";

impl StartError {
    /// Returns what to do, where an archive on the NAS is damaged.
    pub fn way_out(&self) -> Option<&'static str> {
        let is_damage = match self {
            Self::Journal(OpenError::S3(error)) => error.kind.is_damage(),
            Self::Journal(_) => true,
            Self::Archive(error) => error.s3().is_none(),
            _ => false,
        };
        is_damage.then_some(DAMAGED)
    }

    pub(super) fn class(&self) -> Class {
        let s3 = if let Self::Archive(error) = self { error.s3() } else { None };
        s3.map_or(Class::Permanent, S3Error::class)
    }
}
