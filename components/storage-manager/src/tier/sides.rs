//! An archive and a live stream, to be compared.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_runtime::retry::{Backoff, retry};
use tokio_util::sync::CancellationToken;

use super::error::FetchError;
use crate::jetstream::JetStream;
use crate::s3::{ErrorKind, S3Error, Store};

/// The stores and the server from which both are read.
#[derive(Debug, Clone)]
pub struct Sides {
    /// The server with the stream.
    pub jetstream: JetStream,
    /// The archive.
    pub nas: Arc<Store>,
    /// The archive's other tier, where there is one.
    pub wasabi: Option<Arc<Store>>,
    /// Cancelled when S3 is not to be asked again.
    pub abort: CancellationToken,
    /// Objects that were wanted and could not be read.
    pub unread: Unread,
}

/// Objects that could not be read, with the reasons.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Mutex<Vec<Note>>>);

/// One of them.
#[derive(Debug)]
pub struct Note {
    /// Its key.
    pub key: String,
    /// Why it could not be read.
    pub error: FetchError,
}

impl Unread {
    /// Takes note of one.
    pub fn note(&self, key: &str, error: FetchError) {
        self.lock().push(Note { key: key.to_owned(), error });
    }

    /// Takes what was noted.
    pub fn take(&self) -> Vec<Note> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what the NAS answered or, where it has no such object, what Wasabi does. Most objects are of one tier alone:
/// where Wasabi lacks it too, the NAS's answer says more.
pub(super) async fn or_wasabi(
    nas: Result<Bytes, S3Error>,
    wasabi: Option<impl Future<Output = Result<Bytes, S3Error>>>,
) -> Result<Bytes, S3Error> {
    let is_missing = |error: &S3Error| error.kind == ErrorKind::NotFound;
    match (nas, wasabi) {
        (Err(missing), Some(wasabi)) if is_missing(&missing) => {
            wasabi.await.map_err(|error| if is_missing(&error) { missing } else { error })
        }
        (nas, _) => nas,
    }
}

impl Sides {
    /// Fetches a segment's file for who reads it with [`crate::segment::Rows`], which checks it; from Wasabi
    /// where a NAS that was lost has not got it back yet.
    pub async fn fetch(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        let wasabi = self.wasabi.as_ref().map(|wasabi| self.ask(wasabi, segment));
        or_wasabi(self.ask(&self.nas, segment).await, wasabi).await
    }

    async fn ask(&self, store: &Store, segment: &Segment) -> Result<Bytes, S3Error> {
        let what = format!("reading segment `{}`", segment.key);
        let get = || store.get(&segment.key);
        retry(&what, Backoff::default(), &self.abort, S3Error::class, get).await
    }
}
