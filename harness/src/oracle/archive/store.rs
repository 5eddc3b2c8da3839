//! A tier's bucket, with the oracle's own requests.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use s3::Bucket;
use s3::error::S3Error;

use super::shared::{Shared, footer};
use crate::error::{Context as _, Error, Result};

/// The bytes of a shared object's end that are read first: most entries fit in them.
const END: u64 = 64 << 10;

/// A tier's bucket, and the number of requests to it.
#[derive(Debug)]
pub(super) struct Store {
    bucket: Bucket,
    asked: AtomicU64,
}

/// Returns an object's bytes, or `None` if it does not exist.
pub(crate) async fn get(bucket: &Bucket, key: &str) -> Result<Option<Bytes>> {
    let cannot = || format!("cannot read `{key}`");
    let answer = bucket.get_object(key).await;
    answered(answer.map(|answer| (answer.status_code(), answer.into_bytes())), cannot)
}

/// Returns the answer, or `None` if the object does not exist.
fn answered<T>(
    answer: Result<(u16, T), S3Error>,
    cannot: impl Fn() -> String,
) -> Result<Option<T>> {
    match answer {
        Ok((200 | 206, answer)) => Ok(Some(answer)),
        Ok((404, _)) | Err(S3Error::HttpFailWithBody(404, _)) => Ok(None),
        Ok((status, _)) => Err(Error::step(format!("{}: HTTP {status}", cannot()))),
        Err(error) => Err(error).step(cannot),
    }
}

impl Store {
    pub(super) fn new(bucket: &Bucket) -> Self {
        Self { bucket: bucket.clone(), asked: AtomicU64::new(0) }
    }

    /// Returns the number of requests so far.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn ask(&self, requests: u64) -> &Bucket {
        self.asked.fetch_add(requests, Ordering::Relaxed);
        &self.bucket
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        get(self.ask(1), key).await
    }

    /// Returns an object's length.
    pub(super) async fn size(&self, key: &str) -> Result<Option<u64>> {
        let cannot = || format!("cannot look for `{key}`");
        let answer = self.ask(1).head_object(key).await.map(|(head, status)| (status, head));
        let Some(head) = answered(answer, cannot)? else { return Ok(None) };
        Ok(Some(head.content_length.and_then(|n| u64::try_from(n).ok()).unwrap_or_default()))
    }

    async fn range(&self, key: &str, from: u64, to: u64) -> Result<Option<Bytes>> {
        if from >= to {
            return Ok(Some(Bytes::new()));
        }
        let answer = self.ask(1).get_object_range(key, from, Some(to - 1)).await;
        let answer = answer.map(|answer| (answer.status_code(), answer.into_bytes()));
        answered(answer, || format!("cannot read from `{key}`"))
    }

    /// Reads a shared object's metadata, which is at its end. Returns `None` if there is no such
    /// object; the inner error is what is wrong with it.
    pub(super) async fn shared(&self, key: &str) -> Result<Option<Result<Shared, String>>> {
        let Some(size) = self.size(key).await? else { return Ok(None) };
        let mut from = size.saturating_sub(END);
        let Some(mut end) = self.range(key, from, size).await? else { return Ok(None) };
        match footer(&end, size) {
            Ok(length) if length > end.len() as u64 => {
                from = size - length;
                let Some(more) = self.range(key, from, size).await? else { return Ok(None) };
                end = more;
            }
            Ok(_) => {}
            Err(what) => return Ok(Some(Err(what))),
        }
        Ok(Some(Shared::open(size, from, end)))
    }

    /// Reads a shared object's metadata and the rows of some row groups.
    pub(super) async fn rows(
        &self,
        key: &str,
        (group, groups): (u32, u32),
    ) -> Result<Option<Result<Shared, String>>> {
        let mut shared = match self.shared(key).await? {
            Some(Ok(shared)) => shared,
            other => return Ok(other),
        };
        let (from, to) = match shared.span(group, groups) {
            Ok(span) => span,
            Err(what) => return Ok(Some(Err(what))),
        };
        if !shared.has(from, to) {
            let Some(rows) = self.range(key, from, to).await? else { return Ok(None) };
            shared.add(from, rows);
        }
        Ok(Some(Ok(shared)))
    }

    /// Lists the keys below a prefix, or with `folders` the prefixes one level below it.
    pub(super) async fn list(&self, prefix: &str, folders: bool) -> Result<Vec<String>> {
        let delimiter = folders.then(|| "/".to_owned());
        let pages = self.ask(0).list(prefix.to_owned(), delimiter).await;
        let pages = pages.step(|| format!("cannot list `{prefix}`"))?;
        self.ask(pages.len() as u64);
        let mut keys = Vec::new();
        for page in pages {
            if folders {
                keys.extend(page.common_prefixes.into_iter().flatten().map(|p| p.prefix));
            } else {
                keys.extend(page.contents.into_iter().map(|object| object.key));
            }
        }
        Ok(keys)
    }
}
