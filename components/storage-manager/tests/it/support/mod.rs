//! A small lab: one directory, one nats-server, one S3 service, one storage manager.

mod cluster;
mod manager;
mod nats;
mod routes;
mod s3;
mod tools;
mod version;

pub(crate) use cluster::Cluster;
pub(crate) use manager::{Daemon, Manager, Settings};
pub(crate) use nats::{Nats, fingerprint};
pub(crate) use s3::{Authority, Minio, SECRET, USER, credentials_file, fake_s3};
pub(crate) use tools::{noise, tool, wait_until};
pub(crate) use version::{Version, pinned};

/// Ends with its process: nothing outlives a test, failed ones included.
pub(crate) struct Child(pub(crate) std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // A process that is gone already needs no killing.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
