//! Writes and deletes objects.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use jiff::{SignedDuration, Timestamp};

use super::{Store, URL_LIFETIME_SECONDS};
use crate::clock;
use crate::config::lock::{LockMode, ObjectLock};
use crate::hooks::sabotage;
use crate::s3::access::Way;
use crate::s3::error::{ErrorKind, S3Error};
use crate::s3::page;

/// The outcome of a put-if-absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is ours.
    Created,
    /// There was one already.
    AlreadyExists,
}

/// The headers of an object that is written.
#[derive(Clone, Copy)]
struct Sent {
    checksum: u32,
    only_new: bool,
    /// By whom it may be unlocked, and when it is.
    lock: Option<(LockMode, Timestamp)>,
}

/// Where objects lie that are only tried out.
const PROBES: &str = "v1/probe/";

impl Store {
    /// Writes an object, over whatever is there.
    pub async fn put(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
        self.call("put", &key.to_string(), || self.put_once(key, body.clone())).await
    }

    /// Writes an object with one try, even if the store has retries.
    pub async fn put_once(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
        let key = key.to_string();
        match sabotage!(answer, self.send(&key, body, false).await)? {
            PutOutcome::Created => Ok(()),
            PutOutcome::AlreadyExists => {
                Err(self.error("put", &key, ErrorKind::Unexpected("HTTP 412".into())))
            }
        }
    }

    /// Writes an object unless there is one, where the service honours `If-None-Match: *`.
    pub async fn put_if_absent(
        &self,
        key: &ArchiveKey,
        body: Bytes,
    ) -> Result<PutOutcome, S3Error> {
        self.send(&key.to_string(), body, true).await
    }

    /// Sends an object with a checksum that is not its own, as if it had been damaged on the way: to be refused.
    pub(in crate::s3) async fn put_damaged(
        &self,
        key: &ArchiveKey,
        body: Bytes,
    ) -> Result<(), S3Error> {
        let (key, checksum) = (key.to_string(), !crc32c::crc32c(&body));
        let sent = Sent { checksum, only_new: false, lock: None };
        self.keyed(|way| self.send_by(way, &key, body.clone(), sent)).await.map(drop)
    }

    /// Returns what is asked of the service to lock what is written.
    pub fn lock(&self) -> Option<ObjectLock> {
        self.lock
    }

    /// Writes an object that is locked for a moment, to be told whether the bucket knows locks; `None` where none are
    /// asked for.
    pub(in crate::s3) async fn put_locked(
        &self,
        key: &ArchiveKey,
        body: Bytes,
    ) -> Option<Result<(), S3Error>> {
        const MOMENT: SignedDuration = SignedDuration::from_mins(1);
        let lock = Some((self.lock?.mode, clock::now() + MOMENT));
        let (key, checksum) = (key.to_string(), crc32c::crc32c(&body));
        let sent = Sent { checksum, only_new: false, lock };
        Some(self.keyed(|way| self.send_by(way, &key, body.clone(), sent)).await.map(drop))
    }

    async fn send(&self, key: &str, body: Bytes, only_new: bool) -> Result<PutOutcome, S3Error> {
        // What is only tried out is deleted at once.
        let locked = self.lock.filter(|_| !key.starts_with(PROBES));
        let lock = locked.map(|lock| (lock.mode, lock.until(clock::now())));
        let sent = Sent { checksum: crc32c::crc32c(&body), only_new, lock };
        self.keyed(|way| self.send_by(way, key, body.clone(), sent)).await
    }

    async fn send_by(
        &self,
        way: Arc<Way>,
        key: &str,
        body: Bytes,
        sent: Sent,
    ) -> Result<PutOutcome, S3Error> {
        let Sent { checksum, only_new, lock } = sent;
        self.count();
        let mut headers = http::HeaderMap::new();
        let checksum = STANDARD.encode(checksum.to_be_bytes());
        headers.insert(
            "x-amz-checksum-crc32c",
            checksum.parse().expect("base64 is a valid header value"),
        );
        if let Some((mode, until)) = lock {
            let until = until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            let value = |text: &str| text.parse().expect("a valid header value");
            headers.insert("x-amz-object-lock-mode", value(mode.header()));
            headers.insert("x-amz-object-lock-retain-until-date", value(&until));
        }
        if only_new {
            headers.insert("if-none-match", "*".parse().expect("a valid header value"));
        }
        let url = way
            .bucket
            .presign_put(key, URL_LIFETIME_SECONDS, Some(headers.clone()), None)
            .await
            .map_err(|e| self.client_error("put", key, &e))?;
        let request = way.client.put(url).headers(headers).timeout(self.timeout);
        let (status, text) = self.answer("put", key, request.body(body)).await?;
        match status {
            200..=299 => match page::not_done(&text) {
                None => Ok(PutOutcome::Created),
                Some(kind) => Err(self.error("put", key, kind)),
            },
            412 => Ok(PutOutcome::AlreadyExists),
            // Two conditional writes at once: the loser asks again and finds the winner's object.
            409 if only_new => {
                Err(self.error("put", key, ErrorKind::Unavailable("conflict".into())))
            }
            _ => Err(self.error("put", key, ErrorKind::from_response(status, &text))),
        }
    }

    /// Deletes an object; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        let deleted = self.keyed(|way| self.delete_by(way, key)).await;
        match deleted {
            Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    async fn delete_by(&self, way: Arc<Way>, key: &str) -> Result<(), S3Error> {
        self.count();
        let url = way.bucket.presign_delete(key, URL_LIFETIME_SECONDS).await;
        let url = url.map_err(|e| self.client_error("delete", key, &e))?;
        let request = way.client.delete(url).timeout(self.timeout);
        match self.answer("delete", key, request).await? {
            (200..=299, _) => Ok(()),
            (status, text) => {
                Err(self.error("delete", key, ErrorKind::from_response(status, &text)))
            }
        }
    }
}
