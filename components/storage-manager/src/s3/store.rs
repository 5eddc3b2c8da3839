//! One bucket of one tier.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_runtime::config;
use cim_runtime::retry::{self, Backoff, Class};
use s3::creds::Credentials;
use s3::{Bucket, Region};
use tokio_util::sync::CancellationToken;

use super::error::{Kind, S3Error, deepest};
use crate::config::S3Config;
use crate::hooks::sabotage;

/// Which tier a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Tier {
    /// The secondary tier.
    Nas,
    /// The tertiary tier.
    Wasabi,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nas => "nas",
            Self::Wasabi => "wasabi",
        })
    }
}

/// How a put-if-absent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is ours.
    Created,
    /// There was one already.
    Exists,
}

/// What a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The key, or the common prefix.
    pub key: String,
    /// The object's size in bytes; 0 for a prefix.
    pub size: u64,
}

/// A bucket, reached with the credentials of its configuration.
#[derive(Debug)]
pub struct Store {
    bucket: Bucket,
    tier: Tier,
    timeout: Duration,
    single_writer: bool,
    requests: AtomicU64,
    /// Ends the patience of a patient one.
    patience: Option<CancellationToken>,
    /// It has answered something, be it that it is busy.
    answered: AtomicBool,
}

/// How often a patient store asks a service that has answered before: one that throttles, or drops a
/// connection. With the waits in between that is about half a minute.
const TRIES: u32 = 12;
/// The same for one that has never answered: it may be away for good, and somebody waits.
const TRIES_AT_FIRST: u32 = 3;

/// Long enough for the slowest upload from a host whose clock is a quarter of an hour behind, which is what
/// services let pass; short enough to be of no use to who finds the URL in a log.
const URL_LIFETIME_SECONDS: u32 = 1800;

/// Bytes that are set aside at most for an object that nothing was seen of: its size may be a lie.
const RESERVED: usize = 64 << 20;

/// When an answer is given up of which something still comes.
const LONGEST: Duration = Duration::from_secs(3600);

/// The part of an object that is asked for.
enum Wanted {
    /// All of it, so many bytes at most.
    Whole(u64),
    /// So many bytes of its end.
    Tail(u64),
    /// The bytes in a range.
    Span(Range<u64>),
}

/// The answer to a request for an object.
struct Answer {
    status: u16,
    /// The size of the whole object, where a part came.
    size: Option<u64>,
    bytes: Bytes,
}

impl Wanted {
    fn header(&self) -> Option<String> {
        match self {
            Self::Whole(_) => None,
            Self::Tail(bytes) => Some(format!("bytes=-{bytes}")),
            Self::Span(range) => {
                Some(format!("bytes={}-{}", range.start, range.end.saturating_sub(1)))
            }
        }
    }

    /// Returns how many bytes of the answer are read.
    fn most(&self, status: u16) -> u64 {
        match self {
            Self::Whole(most) => *most,
            Self::Tail(bytes) if status == 206 => *bytes,
            Self::Tail(_) => u64::MAX,
            Self::Span(range) if status == 206 => range.end.saturating_sub(range.start),
            Self::Span(range) => range.end,
        }
    }
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Store {
    /// Reads the credentials; connects to nothing yet.
    pub fn open(tier: Tier, config: &S3Config) -> anyhow::Result<Self> {
        // Retries are ours to make: they must be seen, and end when the process is told to.
        s3::set_retries(0);
        let file = &config.credentials_file;
        let key = config::env_file_value(file, "AWS_ACCESS_KEY_ID")?;
        let secret = config::env_file_value(file, "AWS_SECRET_ACCESS_KEY")?;
        let credentials = Credentials::new(Some(&key), Some(&secret), None, None, None)?;
        let endpoint = config.endpoint.trim_end_matches('/').to_owned();
        let region = Region::Custom { region: config.region.clone(), endpoint };
        let bucket = Bucket::new(config.bucket.as_str(), region, credentials)?;
        let bucket = if config.path_style { bucket.with_path_style() } else { bucket };
        let bucket = *bucket.with_request_timeout(config.timeout)?;
        let (timeout, single_writer) = (config.timeout, config.single_writer);
        Ok(Self {
            bucket,
            tier,
            timeout,
            single_writer,
            requests: AtomicU64::new(0),
            patience: None,
            answered: AtomicBool::new(false),
        })
    }

    /// The same, which asks again when a call fails in a way that may pass, until `end`: all but
    /// [`Store::put_new`], whose second answer means something else. What reads or writes many objects
    /// comes to no end otherwise where every so manieth request fails.
    #[must_use]
    pub fn patient(self, end: CancellationToken) -> Self {
        Self { patience: Some(end), ..self }
    }

    /// Which tier this is.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Whether the configuration promises that nobody else writes.
    pub fn single_writer(&self) -> bool {
        self.single_writer
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// An object's bytes.
    pub async fn get(&self, key: &str) -> Result<Bytes, S3Error> {
        self.ask("get", key, || self.get_once(key)).await
    }

    /// The same, asked for once even where the store is patient.
    pub async fn get_once(&self, key: &str) -> Result<Bytes, S3Error> {
        Ok(self.read(key, Wanted::Whole(u64::MAX), self.timeout).await?.bytes)
    }

    /// Takes an object for damaged that could not be had, while the service lists it: a disk that rots is no service that
    /// is away.
    pub async fn judged(&self, error: S3Error) -> S3Error {
        if !error.kind.may_be_of_an_object() || self.list(&error.key, false).await.is_err() {
            return error;
        }
        S3Error { kind: Kind::Withheld(error.kind.to_string()), ..error }
    }

    /// An object's bytes, which are `size` as far as is known. They go into one buffer of that size; of
    /// an object that is larger there is one byte more, for whoever checks its hash.
    ///
    /// The time limit is one for silence: many large objects may come at once over a slow line.
    pub async fn get_at_most(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        self.ask("get", key, || self.get_at_most_once(key, size)).await
    }

    async fn get_at_most_once(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        Ok(self.read(key, Wanted::Whole(size.saturating_add(1)), LONGEST).await?.bytes)
    }

    /// The last bytes of an object, so many at most, and its size. An empty object has none.
    pub async fn get_tail(&self, key: &str, wanted: u64) -> Result<(Bytes, u64), S3Error> {
        let once = || async {
            let Answer { status, mut bytes, size } =
                self.read(key, Wanted::Tail(wanted), LONGEST).await?;
            if status == 206 {
                let what = "a part of an object without a `Content-Range`";
                let unexpected = || self.error("get", key, Kind::Unexpected(what.into()));
                return Ok((bytes, size.ok_or_else(unexpected)?));
            }
            // It was empty, or the service does not do ranges: then this is all of it.
            let size = bytes.len() as u64;
            Ok((bytes.split_off(bytes.len().saturating_sub(to_usize(wanted))), size))
        };
        self.ask("get", key, once).await
    }

    /// Some bytes of an object; fewer where it ends before them.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, S3Error> {
        let once = || async {
            let answer = self.read(key, Wanted::Span(range.clone()), LONGEST).await?;
            let Answer { status, mut bytes, .. } = answer;
            // A service that does not do ranges begins at the beginning.
            let before = if status == 206 { 0 } else { to_usize(range.start) };
            Ok(bytes.split_off(before.min(bytes.len())))
        };
        self.ask("get", key, once).await
    }

    /// Asks for an object, or for a part of it, and reads the answer into one buffer that is set aside for it: pieces
    /// that were put together at the end would be there twice.
    async fn read(&self, key: &str, wanted: Wanted, limit: Duration) -> Result<Answer, S3Error> {
        self.count();
        let url = self.bucket.presign_get(key, URL_LIFETIME_SECONDS, None).await;
        let url = url.map_err(|e| self.client_error("get", key, &e))?;
        let mut request = self.bucket.http_client().get(url).timeout(limit);
        if let Some(range) = wanted.header() {
            request = request.header("range", range);
        }
        let mut response = self.in_time(key, request.send()).await?;
        let status = response.status().as_u16();
        // What is asked for lies behind the object's end.
        if status == 416 && wanted.header().is_some() {
            return Ok(Answer { status, size: None, bytes: Bytes::new() });
        }
        if !response.status().is_success() {
            let text = self.in_time(key, response.text()).await?;
            return Err(self.error("get", key, Kind::of_answer(status, &text)));
        }
        let size = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let size = size.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let most = to_usize(wanted.most(status));
        let stated = response.content_length().map_or(0, to_usize);
        let mut bytes = Vec::with_capacity(stated.min(most).min(RESERVED));
        while let Some(part) = self.in_time(key, response.chunk()).await? {
            bytes.extend_from_slice(&part[..part.len().min(most - bytes.len())]);
            if bytes.len() == most {
                break;
            }
        }
        Ok(Answer { status, size, bytes: bytes.into() })
    }

    /// What comes of a step of an answer, unless it is not heard of in time.
    async fn in_time<T, E>(
        &self,
        key: &str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, S3Error>
    where
        s3::error::S3Error: From<E>,
    {
        match tokio::time::timeout(self.timeout, step).await {
            Ok(done) => done.map_err(|error| self.client_error("get", key, &error.into())),
            Err(_) => Err(self.error("get", key, Kind::Timeout)),
        }
    }

    /// Writes an object, over whatever is there.
    pub async fn put(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
        self.ask("put", &key.to_string(), || self.put_once(key, body.clone())).await
    }

    /// The same, tried once even where the store is patient.
    pub async fn put_once(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
        let key = key.to_string();
        match sabotage!(answer, self.send(&key, body, false).await)? {
            Put::Created => Ok(()),
            Put::Exists => Err(self.error("put", &key, Kind::Unexpected("HTTP 412".into()))),
        }
    }

    /// Writes an object unless there is one, where the service honours `If-None-Match: *`.
    pub async fn put_new(&self, key: &ArchiveKey, body: Bytes) -> Result<Put, S3Error> {
        self.send(&key.to_string(), body, true).await
    }

    async fn send(&self, key: &str, body: Bytes, only_new: bool) -> Result<Put, S3Error> {
        self.count();
        let mut headers = http::HeaderMap::new();
        let checksum = STANDARD.encode(crc32c::crc32c(&body).to_be_bytes());
        headers.insert(
            "x-amz-checksum-crc32c",
            checksum.parse().expect("base64 is a valid header value"),
        );
        if only_new {
            headers.insert("if-none-match", "*".parse().expect("a valid header value"));
        }
        let url = self
            .bucket
            .presign_put(key, URL_LIFETIME_SECONDS, Some(headers.clone()), None)
            .await
            .map_err(|e| self.client_error("put", key, &e))?;
        let request = self.bucket.http_client().put(url).headers(headers).timeout(self.timeout);
        let unreachable = |error: &(dyn std::error::Error + 'static), timeout: bool| {
            let kind = if timeout { Kind::Timeout } else { Kind::Unreachable(deepest(error)) };
            self.error("put", key, kind)
        };
        let response = match request.body(body).send().await {
            Ok(response) => response,
            Err(error) => return Err(unreachable(&error, error.is_timeout())),
        };
        let status = response.status().as_u16();
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => return Err(unreachable(&error, error.is_timeout())),
        };
        match status {
            200..=299 => Ok(Put::Created),
            412 => Ok(Put::Exists),
            // Two conditional writes at once: whoever lost asks again and finds the winner's object.
            409 if only_new => Err(self.error("put", key, Kind::Unavailable("conflict".into()))),
            _ => Err(self.error("put", key, Kind::of_answer(status, &text))),
        }
    }

    /// Deletes an object; one that is not there is fine.
    pub async fn delete(&self, key: &str) -> Result<(), S3Error> {
        self.count();
        let deleted = self.bucket.delete_object(key).await;
        match deleted.map_err(|e| self.client_error("delete", key, &e)) {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Every key below `prefix`; with `folders` the common prefixes up to the next `/` instead.
    pub async fn list(&self, prefix: &str, folders: bool) -> Result<Vec<Listed>, S3Error> {
        self.list_from(prefix, folders, None).await
    }

    /// Every key below `prefix` that comes after the key `after`, in the order of their bytes. A service that
    /// does not know `start-after` sends the others too; they are left out here.
    pub async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, S3Error> {
        let mut found = self.list_from(prefix, false, Some(after)).await?;
        found.retain(|object| object.key.as_str() > after);
        Ok(found)
    }

    /// Keys below `prefix` up to the key `end`, and some behind it: pages are asked for until one reaches it.
    pub async fn list_until(&self, prefix: &str, end: &str) -> Result<Vec<Listed>, S3Error> {
        let reached = |found: &[Listed]| found.last().is_some_and(|last| last.key.as_str() >= end);
        self.list_while(prefix, false, None, |found| !reached(found)).await
    }

    async fn list_from(
        &self,
        prefix: &str,
        folders: bool,
        after: Option<&str>,
    ) -> Result<Vec<Listed>, S3Error> {
        self.list_while(prefix, folders, after, |_| true).await
    }

    async fn list_while(
        &self,
        prefix: &str,
        folders: bool,
        after: Option<&str>,
        more: impl Fn(&[Listed]) -> bool,
    ) -> Result<Vec<Listed>, S3Error> {
        let (mut found, mut token) = (Vec::new(), None);
        loop {
            let page = self.ask("list", prefix, || {
                self.count();
                let delimiter = folders.then(|| "/".to_owned());
                let after = after.map(str::to_owned);
                let page =
                    self.bucket.list_page(prefix.into(), delimiter, token.clone(), after, None);
                async { page.await.map_err(|e| self.client_error("list", prefix, &e)) }
            });
            let (page, _) = page.await?;
            if folders {
                let prefixes = page.common_prefixes.unwrap_or_default();
                found.extend(prefixes.into_iter().map(|p| Listed { key: p.prefix, size: 0 }));
            } else {
                let objects = page.contents.into_iter();
                found.extend(objects.map(|o| Listed { key: o.key, size: o.size }));
            }
            token = page.next_continuation_token;
            if token.is_none() || !more(&found) {
                return Ok(found);
            }
        }
    }

    /// Calls the service once, or until it answers, as far as patience goes.
    async fn ask<T, F>(
        &self,
        operation: &str,
        key: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let Some(end) = &self.patience else { return attempt().await };
        let tries = AtomicU32::new(0);
        let class = |error: &S3Error| {
            let tried = tries.fetch_add(1, Ordering::Relaxed) + 1;
            let answers =
                self.answered.load(Ordering::Relaxed) || matches!(error.kind, Kind::Unavailable(_));
            let most = match error.kind {
                _ if answers => TRIES,
                // Its time limit was patience enough.
                Kind::Timeout => 1,
                _ => TRIES_AT_FIRST,
            };
            if error.kind.may_pass_soon() && tried < most {
                Class::Transient
            } else {
                Class::Permanent
            }
        };
        let what = format!("{}: {operation} `{key}`", self.tier);
        let done = retry::retry(&what, Backoff::default(), end, class, attempt).await;
        if done.is_ok() {
            self.answered.store(true, Ordering::Relaxed);
        }
        done
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn client_error(
        &self,
        operation: &'static str,
        key: &str,
        error: &s3::error::S3Error,
    ) -> S3Error {
        self.error(operation, key, Kind::of_client(error))
    }

    fn error(&self, operation: &'static str, key: &str, kind: Kind) -> S3Error {
        S3Error { tier: self.tier, operation, key: key.into(), kind }
    }
}
