//! An archive and a live stream, to be compared.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_runtime::retry::{Backoff, retry};
use tokio_util::sync::CancellationToken;

use crate::jetstream::JetStream;
use crate::s3::{Kind, S3Error, Store};

/// Where both of them are read.
#[derive(Debug, Clone)]
pub struct Sides {
    /// Where the stream lives.
    pub jetstream: JetStream,
    /// The archive.
    pub nas: Arc<Store>,
    /// The archive's other tier, where there is one.
    pub wasabi: Option<Arc<Store>>,
    /// Cancelled when S3 is not to be asked again.
    pub abort: CancellationToken,
}

impl Sides {
    /// Fetches a segment's file for who reads it with [`crate::segment::Rows`], which checks it; from Wasabi
    /// where a NAS that was lost has not got it back yet.
    pub async fn fetch(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        match (self.ask(&self.nas, segment).await, &self.wasabi) {
            (Err(error), Some(wasabi)) if error.kind == Kind::NotFound => {
                self.ask(wasabi, segment).await
            }
            (fetched, _) => fetched,
        }
    }

    async fn ask(&self, store: &Store, segment: &Segment) -> Result<Bytes, S3Error> {
        let what = format!("reading segment `{}`", segment.key);
        let get = || store.get(&segment.key);
        retry(&what, Backoff::default(), &self.abort, S3Error::class, get).await
    }
}
