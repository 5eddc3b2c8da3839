//! One bucket of one tier.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::names::BucketName;
use cim_runtime::retry::{self, Backoff, Class};
use jiff::{SignedDuration, Timestamp};
use s3::serde_types::ListBucketResult;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Way};
use super::error::{ErrorKind, S3Error, root_cause};
use super::page;
use super::tier::Tier;
use super::versions::{Versions, versions_query};
use crate::clock;
use crate::config::S3Config;
use crate::config::lock::{LockMode, ObjectLock};
use crate::crypt;
use crate::hooks::sabotage;

/// How a put-if-absent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// The object is ours.
    Created,
    /// There was one already.
    AlreadyExists,
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
    access: Access,
    tier: Tier,
    timeout: Duration,
    single_writer: bool,
    lock: Option<ObjectLock>,
    requests: AtomicU64,
    /// Ends the retry_until of a patient one.
    retry_until: Option<CancellationToken>,
    /// Ends the wait for a key that the service takes.
    key: Option<CancellationToken>,
    /// It has answered something, be it that it is busy.
    answered: AtomicBool,
}

/// How often a patient store asks a service that has answered before: one that throttles, or drops a
/// connection. With the waits in between that is about half a minute.
const RETRY_BUDGET: u32 = 12;
/// The same for one that has never answered: it may be away for good, and somebody waits.
const FIRST_RETRY_BUDGET: u32 = 3;

/// Long enough for the slowest upload from a host whose clock is a quarter of an hour behind, which is what
/// services let pass; short enough to be of no use to who finds the URL in a log.
const URL_LIFETIME_SECONDS: u32 = 1800;

/// Bytes that are set aside at most for an object that nothing was seen of: its size may be a lie.
const RESERVED: usize = 64 << 20;

/// How often a file is looked at whose key is refused, and how many looks there are from one try to the next.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 8;

/// Bytes of an object's end that say with which key it opens, of most.
const END: u64 = 8 << 10;

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

/// What goes with an object that is written.
#[derive(Clone, Copy)]
struct Sent {
    checksum: u32,
    only_new: bool,
    /// By whom it may be unlocked, and when it is.
    lock: Option<(LockMode, Timestamp)>,
}

/// Where objects lie that are only tried out.
const PROBES: &str = "v1/probe/";

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

/// What a page of a list is asked for with.
fn list_query(
    prefix: &str,
    folders: bool,
    token: Option<&str>,
    after: Option<&str>,
) -> HashMap<String, String> {
    let named = [
        ("list-type", Some("2")),
        ("prefix", Some(prefix)),
        ("delimiter", folders.then_some("/")),
        ("continuation-token", token),
        ("start-after", after),
    ];
    let given = named.into_iter().filter_map(|(name, value)| Some((name.into(), value?.into())));
    given.collect()
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Store {
    /// Reads the credentials; connects to nothing yet.
    pub fn open(tier: Tier, config: &S3Config) -> anyhow::Result<Self> {
        let access = Access::new(tier, config)?;
        let (timeout, single_writer) = (config.timeout, config.single_writer);
        Ok(Self {
            access,
            tier,
            timeout,
            single_writer,
            lock: config.object_lock,
            requests: AtomicU64::new(0),
            retry_until: None,
            key: None,
            answered: AtomicBool::new(false),
        })
    }

    /// The same, which asks again when a call fails in a way that may pass, until `end`: all but
    /// [`Store::put_if_absent`], whose second answer means something else. What reads or writes many objects
    /// comes to no end otherwise where every so manieth request fails.
    #[must_use]
    pub fn with_retries(self, end: CancellationToken) -> Self {
        Self { retry_until: Some(end), ..self }
    }

    /// The same, which waits until `end` where the service refuses the key: an operator changes one after the
    /// other, the service and the file, and nothing but another key, or the same one accepted again, is of any use.
    #[must_use]
    pub fn waiting_for_a_key(self, end: CancellationToken) -> Self {
        Self { key: Some(end), ..self }
    }

    /// Returns whether the service refuses the key that its file has.
    pub fn refuses_key(&self) -> bool {
        self.access.refuses()
    }

    /// Which tier this is.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Returns the bucket's name, for an error.
    pub fn name(&self) -> Box<BucketName> {
        Box::new(self.access.name().clone())
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        self.access.bucket()
    }

    /// Whether the configuration promises that nobody else writes.
    pub fn single_writer(&self) -> bool {
        self.single_writer
    }

    /// Requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// An object's bytes, if it is not encrypted with a key that is not here.
    pub async fn get(&self, key: &str) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.get_as_is(key).await?)
    }

    /// The same, asked for once even where the store is patient.
    pub async fn get_once(&self, key: &str) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.get_as_is_once(key).await?)
    }

    /// An object's bytes, whether there is a key of it or not.
    pub async fn get_as_is(&self, key: &str) -> Result<Bytes, S3Error> {
        self.call("get", key, || self.get_as_is_once(key)).await
    }

    async fn get_as_is_once(&self, key: &str) -> Result<Bytes, S3Error> {
        Ok(self.read(key, Wanted::Whole(u64::MAX), self.timeout).await?.bytes)
    }

    /// Passes on what was fetched of an object, if there is a key of it.
    fn unlocked(&self, key: &str, bytes: Bytes) -> Result<Bytes, S3Error> {
        match crypt::check(&bytes) {
            Ok(()) => Ok(bytes),
            Err(locked) => Err(self.error("get", key, ErrorKind::Locked(Box::new(locked)))),
        }
    }

    /// Takes an object for damaged that could not be had, while the service lists it: a disk that rots is no service that
    /// is away.
    pub async fn judged(&self, error: S3Error) -> S3Error {
        if !error.kind.may_be_of_an_object() || self.list(&error.key, false).await.is_err() {
            return error;
        }
        S3Error { kind: ErrorKind::Withheld(error.kind.to_string()), ..error }
    }

    /// An object's bytes, which are `size` as far as is known. They go into one buffer of that size; of
    /// an object that is larger there is one byte more, for whoever checks its hash.
    ///
    /// The time limit is one for silence: many large objects may come at once over a slow line.
    pub async fn get_at_most(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        self.unlocked(key, self.call("get", key, || self.get_at_most_once(key, size)).await?)
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
                let unexpected = || self.error("get", key, ErrorKind::Unexpected(what.into()));
                return Ok((bytes, size.ok_or_else(unexpected)?));
            }
            // It is empty, or the service refuses a part that is longer than the object.
            if status == 416 {
                bytes = self.read(key, Wanted::Whole(u64::MAX), LONGEST).await?.bytes;
            }
            // Now, or where the service does not do ranges, this is all of it.
            let size = bytes.len() as u64;
            Ok((bytes.split_off(bytes.len().saturating_sub(to_usize(wanted))), size))
        };
        let (bytes, size) = self.call("get", key, once).await?;
        Ok((self.unlocked(key, bytes)?, size))
    }

    /// Looks whether there is a key of an object, which its end says. What is not Parquet passes.
    ///
    /// # Errors
    /// When there is none, or the object cannot be had.
    pub async fn look(&self, key: &str) -> Result<(), S3Error> {
        let (end, size) = self.get_tail(key, END).await?;
        let Some(range) = crypt::label_range(&end, size) else { return Ok(()) };
        let bytes = self.get_range(key, range).await?;
        let looked = crypt::check_range(&bytes);
        looked.map_err(|locked| self.error("get", key, ErrorKind::Locked(Box::new(locked))))
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
        self.unlocked(key, self.call("get", key, once).await?)
    }

    /// Asks for an object, or for a part of it, and reads the answer into one buffer that is set aside for it: pieces
    /// that were put together at the end would be there twice.
    async fn read(&self, key: &str, wanted: Wanted, limit: Duration) -> Result<Answer, S3Error> {
        self.keyed(|way| self.read_by(way, key, &wanted, limit)).await
    }

    async fn read_by(
        &self,
        way: Arc<Way>,
        key: &str,
        wanted: &Wanted,
        limit: Duration,
    ) -> Result<Answer, S3Error> {
        self.count();
        let url = way.bucket.presign_get(key, URL_LIFETIME_SECONDS, None).await;
        let url = url.map_err(|e| self.client_error("get", key, &e))?;
        let mut request = way.client.get(url).timeout(limit);
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
            return Err(self.error("get", key, ErrorKind::from_response(status, &text)));
        }
        if let Some(what) = page::not_the_object(response.headers()) {
            return Err(self.error("get", key, ErrorKind::Unexpected(what)));
        }
        let size = response.headers().get("content-range").and_then(|v| v.to_str().ok());
        let size = size.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        // Some services send a part as if it were the whole, and say where it is from (rclone 1.75.2).
        let status = if size.is_some() { 206 } else { status };
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
            Err(_) => Err(self.error("get", key, ErrorKind::Timeout)),
        }
    }

    /// Writes an object, over whatever is there.
    pub async fn put(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
        self.call("put", &key.to_string(), || self.put_once(key, body.clone())).await
    }

    /// The same, tried once even where the store is patient.
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
    pub(super) async fn put_damaged(&self, key: &ArchiveKey, body: Bytes) -> Result<(), S3Error> {
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
    pub(super) async fn put_locked(
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
            // Two conditional writes at once: whoever lost asks again and finds the winner's object.
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

    /// Sends a request, and returns its answer's status and text.
    async fn answer(
        &self,
        operation: &'static str,
        key: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, String), S3Error> {
        let answer = async {
            let response = request.send().await?;
            Ok((response.status().as_u16(), response.text().await?))
        };
        answer.await.map_err(|error: reqwest::Error| {
            let timeout = error.is_timeout();
            let kind = if timeout {
                ErrorKind::Timeout
            } else {
                ErrorKind::Unreachable(root_cause(&error))
            };
            self.error(operation, key, kind)
        })
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
            let page = self.call("list", prefix, || {
                let query = list_query(prefix, folders, token.as_deref(), after);
                self.keyed(move |way| self.list_by(way, prefix, query.clone()))
            });
            let page = page.await?;
            let next = page::next(prefix, &page, token.as_deref());
            token = next.map_err(|what| self.error("list", prefix, ErrorKind::Unexpected(what)))?;
            if folders {
                let prefixes = page.common_prefixes.unwrap_or_default();
                found.extend(prefixes.into_iter().map(|p| Listed { key: p.prefix, size: 0 }));
            } else {
                // Consoles and file managers make objects of folders.
                let objects = page.contents.into_iter().filter(|object| !object.key.ends_with('/'));
                found.extend(objects.map(|o| Listed { key: o.key, size: o.size }));
            }
            if token.is_none() || !more(&found) {
                return Ok(found);
            }
        }
    }

    async fn list_by(
        &self,
        way: Arc<Way>,
        prefix: &str,
        query: HashMap<String, String>,
    ) -> Result<ListBucketResult, S3Error> {
        self.count();
        let url = way.bucket.presign_get("/", URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("list", prefix, &e))?;
        let request = way.client.get(url).timeout(self.timeout);
        match self.answer("list", prefix, request).await? {
            (200..=299, text) => quick_xml::de::from_str(&text).map_err(|error| {
                let what = format!("no list of S3's: {error}");
                self.error("list", prefix, ErrorKind::Unexpected(what))
            }),
            (status, text) => {
                Err(self.error("list", prefix, ErrorKind::from_response(status, &text)))
            }
        }
    }

    /// Every version below `prefix` that is not its object's newest, by key and id: none where the bucket keeps no versions, or
    /// the service knows of none.
    pub async fn old_versions(&self, prefix: &str) -> Result<Vec<(String, String)>, S3Error> {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let page = self.call("list", prefix, || {
                let query = versions_query(prefix, next.as_ref());
                self.keyed(move |way| self.versions_by(way, prefix, query.clone()))
            });
            let Some(page) = page.await? else { return Ok(found) };
            found.extend(page.old());
            next = page.next();
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    async fn versions_by(
        &self,
        way: Arc<Way>,
        prefix: &str,
        query: HashMap<String, String>,
    ) -> Result<Option<Versions>, S3Error> {
        self.count();
        let url = way.bucket.presign_get("/", URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("list", prefix, &e))?;
        let request = way.client.get(url).timeout(self.timeout);
        match self.answer("list", prefix, request).await? {
            (200..=299, text) => Ok(Versions::read(&text)),
            // A service that keeps no versions need not know the question.
            (400 | 404 | 405 | 501, _) => Ok(None),
            (status, text) => {
                Err(self.error("list", prefix, ErrorKind::from_response(status, &text)))
            }
        }
    }

    /// The bytes of a version of an object, whether there is a key of them or not, and until when it is locked, where the
    /// service says so.
    pub async fn get_version(
        &self,
        key: &str,
        version: &str,
    ) -> Result<(Bytes, Option<String>), S3Error> {
        self.call("get", key, || self.keyed(|way| self.get_version_by(way, key, version))).await
    }

    async fn get_version_by(
        &self,
        way: Arc<Way>,
        key: &str,
        version: &str,
    ) -> Result<(Bytes, Option<String>), S3Error> {
        self.count();
        let query = HashMap::from([("versionId".to_owned(), version.to_owned())]);
        let url = way.bucket.presign_get(key, URL_LIFETIME_SECONDS, Some(query)).await;
        let url = url.map_err(|e| self.client_error("get", key, &e))?;
        let response = self.in_time(key, way.client.get(url).timeout(LONGEST).send()).await?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let text = self.in_time(key, response.text()).await?;
            return Err(self.error("get", key, ErrorKind::from_response(status, &text)));
        }
        let until = response.headers().get("x-amz-object-lock-retain-until-date");
        let until = until.and_then(|until| until.to_str().ok()).map(ToOwned::to_owned);
        let bytes = response.bytes().await;
        Ok((bytes.map_err(|error| self.client_error("get", key, &error.into()))?, until))
    }

    /// Makes a request with the key that its file has, and again where that was refused and the file has another;
    /// where this waits for a key, until the service takes one.
    async fn keyed<T, F>(&self, mut attempt: impl FnMut(Arc<Way>) -> F) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        loop {
            let way = self.access.way();
            // One allocation beside a request; without it all that wait for one are large.
            let error = match Box::pin(attempt(Arc::clone(&way))).await {
                Ok(done) => {
                    self.access.is_taken();
                    return Ok(done);
                }
                Err(error) => error,
            };
            // A certificate of an authority that is not trusted is a service that cannot be reached.
            let may_be_the_files =
                matches!(error.kind, ErrorKind::Denied(_) | ErrorKind::Unreachable(_));
            if may_be_the_files && self.access.is_another(&way) {
                continue;
            }
            let Some(end) = self.key.as_ref().filter(|_| error.kind.refused_key().is_some()) else {
                return Err(error);
            };
            self.access.is_refused(&error);
            let another = async {
                for _ in 0..LOOKS {
                    tokio::time::sleep(LOOK).await;
                    if self.access.is_another(&way) {
                        break;
                    }
                }
            };
            if end.run_until_cancelled(another).await.is_none() {
                return Err(error);
            }
        }
    }

    /// Calls the service once, or until it answers, as far as retry_until goes.
    async fn call<T, F>(
        &self,
        operation: &str,
        key: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let Some(end) = &self.retry_until else { return attempt().await };
        let tries = AtomicU32::new(0);
        let class = |error: &S3Error| {
            let tried = tries.fetch_add(1, Ordering::Relaxed) + 1;
            let answers = self.answered.load(Ordering::Relaxed)
                || matches!(error.kind, ErrorKind::Unavailable(_));
            let most = match error.kind {
                _ if answers => RETRY_BUDGET,
                // Its time limit was retry_until enough.
                ErrorKind::Timeout => 1,
                _ => FIRST_RETRY_BUDGET,
            };
            if error.kind.is_transient() && tried < most {
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
        self.error(operation, key, ErrorKind::from_client(error))
    }

    fn error(&self, operation: &'static str, key: &str, kind: ErrorKind) -> S3Error {
        let (tier, bucket, key) = (self.tier, self.name(), key.into());
        S3Error { tier, bucket, operation, key, kind }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const OBJECT: &[u8] = b"0123456789";

    /// What a service answers that sends a part with the status of the whole, and refuses one that is longer than it.
    fn answer(range: Option<&str>) -> String {
        let size = OBJECT.len();
        let part = range.map(|range| match range.split_once('-').unwrap() {
            ("", tail) => size.checked_sub(tail.parse().unwrap()).map(|from| (from, size - 1)),
            (from, to) => Some((from.parse().unwrap(), to.parse::<usize>().unwrap().min(size - 1))),
        });
        let (head, body) = match part {
            Some(None) => ("HTTP/1.1 416 Range Not Satisfiable\r\n".into(), &[][..]),
            Some(Some((from, to))) => {
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Range: bytes {from}-{to}/{size}\r\n");
                (head, &OBJECT[from..=to])
            }
            None => ("HTTP/1.1 200 OK\r\n".into(), OBJECT),
        };
        let (length, body) = (body.len(), String::from_utf8_lossy(body));
        format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    async fn serve(listener: TcpListener) {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let (mut lines, mut range) = (BufReader::new(&mut socket).lines(), None);
            while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty())
            {
                range = line.to_lowercase().strip_prefix("range: bytes=").map(Into::into).or(range);
            }
            let range: Option<String> = range;
            socket.write_all(answer(range.as_deref()).as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_part_is_one_whatever_its_status() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(serve(listener));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=s\n").unwrap();
        let config = format!(
            "endpoint = \"{url}\"\nbucket = \"bucket\"\ncredentials_file = \"{}\"\n",
            file.path().display()
        );
        let config = cim_runtime::config::parse(std::path::Path::new("c"), &config).unwrap();
        let store = Store::open(Tier::Nas, &config).unwrap();
        assert_eq!(store.get_range("o", 2..5).await.unwrap(), "234");
        assert_eq!(store.get_range("o", 8..20).await.unwrap(), "89");
        assert_eq!(store.get_tail("o", 3).await.unwrap(), (Bytes::from_static(b"789"), 10));
        assert_eq!(store.get_tail("o", 30).await.unwrap(), (Bytes::from_static(OBJECT), 10));
        assert_eq!(store.get("o").await.unwrap(), OBJECT);
        serving.abort();
    }
}
