//! The reasons for which the server does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The reason for which the server did not start. Nothing was served, and nothing stored was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address would let other machines in.
    #[error("`{addr}` is not a loopback address; pass --i-know-this-is-a-fake to serve on it")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("failed to listen on `{addr}`; choose another port, or 0 for a free one")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// No key pair may sign requests.
    #[error("no credentials; give --access-key and --secret-key, or --credentials-file")]
    NoCredentials,
    /// The credentials file cannot be used.
    #[error("failed to read credentials from `{path}`")]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The error in it.
        source: io::Error,
    },
    /// A path under the directory cannot be used.
    #[error("failed to use `{path}`")]
    Dir {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Another server uses the directory.
    #[error("`{path}` is in use by another cim-fake-wasabi; stop it or choose another directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("`{path}` is not empty and not a cim-fake-wasabi directory: it holds `{example}`")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// One thing in it.
        example: String,
    },
    /// The directory was written by another layout.
    #[error("`{path}` says `{found}`, which this build does not read")]
    Layout {
        /// The FORMAT file.
        path: PathBuf,
        /// The layout that it names.
        found: String,
    },
    /// A committed file is not as it was written.
    #[error("`{path}` is damaged; remove it to start without it")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The damage.
        source: io::Error,
    },
    /// A bucket that was to be created at start has no valid name.
    #[error("`{name}` is not a bucket name: 3 to 63 of a-z, 0-9, `.` and `-`")]
    BucketName {
        /// The name.
        name: String,
    },
    /// A bucket could not be created at start.
    #[error("failed to create bucket `{name}`: {reason}")]
    CreateBucket {
        /// The bucket.
        name: String,
        /// The reason.
        reason: String,
    },
}
