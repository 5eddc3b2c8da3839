//! One bucket of one tier: requests, their keys, their repetition and their errors.
//!
//! It owns the way to a service, the time limit of each request and the number of tries. It does not own the objects'
//! meaning, nor their keys' spelling (cim-core), nor what a failed call means for a stream.

mod get; // whole, in part, from the end
mod list; // keys below a prefix
mod put; // write, write if absent, delete
mod versions; // older versions

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use cim_core::names::BucketName;
use cim_runtime::retry::{self, Backoff, Class};
use tokio_util::sync::CancellationToken;

use super::access::{Access, Way};
use super::error::{ErrorKind, S3Error, root_cause};
use super::tier::Tier;
use crate::config::S3Config;
use crate::config::lock::ObjectLock;

pub use list::Listed;
pub use put::PutOutcome;

/// A bucket, reached with the credentials of its configuration.
#[derive(Debug)]
pub struct Store {
    access: Access,
    tier: Tier,
    timeout: Duration,
    single_writer: bool,
    lock: Option<ObjectLock>,
    requests: AtomicU64,
    /// Ends the repetition of failed calls.
    retry_until: Option<CancellationToken>,
    /// Ends the wait for a key that the service takes.
    key: Option<CancellationToken>,
    /// It has answered something, be it that it is busy.
    answered: AtomicBool,
}

/// The tries of a patient store at a service that has answered before: one that throttles, or drops a
/// connection. With the waits in between that is about half a minute.
const RETRY_BUDGET: u32 = 12;
/// The same for one that has never answered: it may be away for good, and an operator waits.
const FIRST_RETRY_BUDGET: u32 = 3;

/// Long enough for the slowest upload from a host whose clock is a quarter of an hour behind, which is what
/// services let pass; short enough to be of no use to who finds the URL in a log.
const URL_LIFETIME_SECONDS: u32 = 1800;

/// The looks at a file whose key is refused, and their number from one try to the next.
const LOOK: Duration = Duration::from_millis(250);
const LOOKS: u32 = 8;

/// When an answer is given up of which something still comes.
const LONGEST: Duration = Duration::from_secs(3600);

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

    /// Repeats calls that fail in a way that may pass, until `end`: all but [`Store::put_if_absent`], whose second
    /// answer means something else. Without this, an operation over many objects never finishes against a service that
    /// fails one request in N.
    #[must_use]
    pub fn with_retries(self, end: CancellationToken) -> Self {
        Self { retry_until: Some(end), ..self }
    }

    /// Waits until `end` where the service refuses the key: an operator changes service and file one after the other,
    /// and only another key, or the same one accepted again, helps.
    #[must_use]
    pub fn waiting_for_a_key(self, end: CancellationToken) -> Self {
        Self { key: Some(end), ..self }
    }

    /// Returns whether the service refuses the key that its file has.
    pub fn refuses_key(&self) -> bool {
        self.access.refuses()
    }

    /// Returns the tier.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Returns the bucket's name, for an error.
    pub fn name(&self) -> Box<BucketName> {
        Box::new(self.access.name().clone())
    }

    /// Returns the bucket's name.
    pub fn bucket(&self) -> &str {
        self.access.bucket()
    }

    /// Returns true if the configuration promises a single writer.
    pub fn single_writer(&self) -> bool {
        self.single_writer
    }

    /// Returns the number of requests sent so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
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

    /// Waits for a step of an answer, as long as the time limit allows.
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
