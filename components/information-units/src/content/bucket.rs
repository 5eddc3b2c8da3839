//! A bucket of NATS's object store, as small named blocks.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::object_store::{
    Config, GetErrorKind, InfoErrorKind, ObjectInfo, ObjectMetadata, ObjectOptions, ObjectStore,
};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, HeaderMap};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE as URL_SAFE;
use bytes::Bytes;
use cim_core::envelope::EventId;
use cim_runtime::error::chain;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::cut::MAX;
use super::error::ContentError;

/// The end of the names of lists.
const LIST: &str = ".chunks";
/// A block is waited for so long: an object whose messages are gone would be waited for without end.
const PATIENCE: Duration = Duration::from_secs(10);
/// Left free in a message for its headers.
const HEADERS: usize = 4096;

/// A place that blocks can be had from.
pub(super) trait Source: Send + Sync {
    /// Returns the place's name.
    fn name(&self) -> String;

    /// Returns a block, not checked; `None` when it is not there.
    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, ContentError>>;
}

/// A bucket of an object store.
pub(crate) struct Bucket {
    name: String,
    store: ObjectStore,
    stream: Stream<()>,
    jetstream: Context,
    /// The most bytes of a message: a block of a chunk is one, unless the server takes less.
    message: usize,
}

/// Returns the name of the list of some content.
pub(super) fn list_name(id: &str) -> String {
    format!("{id}{LIST}")
}

impl Bucket {
    /// Opens a bucket, and makes it where it is missing if `create` says so.
    pub(crate) async fn open(
        client: &Client,
        name: &str,
        create: bool,
    ) -> Result<Self, ContentError> {
        let jetstream = jetstream::new(client.clone());
        let failed = |why: String| ContentError::Bucket { bucket: name.to_owned(), why };
        let store = match jetstream.get_object_store(name).await {
            Ok(store) => store,
            Err(_) if create => {
                let config = Config { bucket: name.to_owned(), ..Config::default() };
                let made = jetstream.create_object_store(config).await;
                made.map_err(|error| failed(chain(&error)))?
            }
            Err(error) => {
                return Err(failed(format!(
                    "{}; declare it in the inventory (`cim.buckets`), or start with `--create`",
                    chain(&error)
                )));
            }
        };
        let stream = stream(&jetstream, name).await.map_err(failed)?;
        let message = MAX.min(client.server_info().max_payload.saturating_sub(HEADERS).max(1024));
        Ok(Self { name: name.to_owned(), store, stream, jetstream, message })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn failed(&self, why: String) -> ContentError {
        ContentError::Bucket { bucket: self.name.clone(), why }
    }

    async fn info(&self, name: &str) -> Result<Option<ObjectInfo>, ContentError> {
        match self.store.info(name).await {
            Ok(info) if info.deleted => Ok(None),
            Ok(info) => Ok(Some(info)),
            Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(chain(&error))),
        }
    }

    /// Writes a block if none of this length is there, and reports whether it did.
    pub(super) async fn ensure(&self, name: &str, bytes: Bytes) -> Result<bool, ContentError> {
        match self.info(name).await? {
            Some(info) if info.size == bytes.len() => return Ok(false),
            Some(_) => self.put(name, &bytes).await?,
            None => self.put_new(name, bytes).await?,
        }
        Ok(true)
    }

    /// Returns the length of a block.
    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, ContentError> {
        Ok(self.info(name).await?.map(|info| info.size as u64))
    }

    /// Writes a block, in place of another one of this name.
    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Result<(), ContentError> {
        let about = ObjectMetadata {
            name: name.to_owned(),
            chunk_size: Some(self.message),
            ..ObjectMetadata::default()
        };
        let put = self.store.put(about, &mut &*bytes).await;
        put.map(drop).map_err(|error| self.failed(chain(&error)))
    }

    /// Writes a block of which there is none of this name: in one message, and what is to be known of it in another.
    ///
    /// The client's own way asks for an object of this name first, which was done already.
    pub(super) async fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), ContentError> {
        if bytes.len() > self.message || bytes.is_empty() {
            return self.put(name, &bytes).await;
        }
        let nuid = EventId::now().to_string();
        let info = ObjectInfo {
            name: name.to_owned(),
            description: None,
            metadata: HashMap::new(),
            headers: None,
            options: Some(ObjectOptions { link: None, max_chunk_size: Some(self.message) }),
            bucket: self.name.clone(),
            size: bytes.len(),
            chunks: 1,
            modified: None,
            digest: Some(format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(&bytes)))),
            deleted: false,
            nuid,
        };
        self.publish(format!("$O.{}.C.{}", self.name, info.nuid), HeaderMap::new(), bytes).await?;
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let subject = format!("$O.{}.M.{}", self.name, URL_SAFE.encode(name));
        let mut info = serde_json::json!(info);
        info["mtime"] = Timestamp::now().to_string().into();
        let info = info.to_string();
        self.publish(subject, headers, info.into()).await
    }

    async fn publish(
        &self,
        subject: String,
        headers: HeaderMap,
        bytes: Bytes,
    ) -> Result<(), ContentError> {
        let sent = self.jetstream.publish_with_headers(subject, headers, bytes).await;
        let acked = match sent {
            Ok(acked) => acked.await,
            Err(error) => Err(error),
        };
        acked.map(drop).map_err(|error| self.failed(chain(&error)))
    }

    async fn get(&self, name: &str) -> Result<Option<Bytes>, ContentError> {
        let Some(info) = self.info(name).await? else { return Ok(None) };
        if info.chunks == 0 {
            return Ok(Some(Bytes::new()));
        }
        if info.chunks == 1 {
            let subject = format!("$O.{}.C.{}", self.name, info.nuid);
            return match self.stream.direct_get_last_for_subject(subject).await {
                Ok(message) => Ok(Some(message.payload)),
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
                Err(error) => Err(self.failed(chain(&error))),
            };
        }
        let mut object = match self.store.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(chain(&error))),
        };
        let mut bytes = Vec::with_capacity(info.size);
        match tokio::time::timeout(PATIENCE, object.read_to_end(&mut bytes)).await {
            Ok(Ok(_)) => Ok(Some(bytes.into())),
            // NATS's own digest does not fit: for the caller the bytes are others.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => {
                Ok(Some(bytes.into()))
            }
            Ok(Err(error)) => Err(self.failed(error.to_string())),
            // Its messages are gone.
            Err(_) => Ok(None),
        }
    }
}

impl Source for Bucket {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn fetch<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, ContentError>> {
        Box::pin(self.get(name))
    }
}

async fn stream(jetstream: &Context, bucket: &str) -> Result<Stream<()>, String> {
    let name = format!("OBJ_{bucket}");
    jetstream.get_stream_no_info(name).await.map_err(|error| chain(&error))
}
