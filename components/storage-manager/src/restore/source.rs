//! Segments' messages, from the tier or from the one behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Part, Segment};
use tokio::sync::Semaphore;

use super::error::RestoreError;
use super::prefetch::REQUESTS;
use crate::s3::{ErrorKind, S3Error, Store};
use crate::segment::{Columns, Footer, Message, Rows, SegmentError, Window, read_parts};

/// Bytes of footers that are kept: the same objects have parts of many streams.
const KEPT: usize = 8 << 20;
/// Bytes that hold the footer of most shared objects.
const TAIL: u64 = 64 << 10;
/// The same of a journal's entries, which have the decision in them too.
const TAIL_OF_ENTRY: u64 = 192 << 10;
/// Bytes that are read of a shared object beside a stream's own: a row group has other streams' rows too.
const BESIDE: u64 = 1 << 20;

/// Objects that a tier may not give before it counts as one that does not answer.
const WITHHELD: usize = 8;

/// Where messages come from: a tier, and another one for what the first has lost.
#[derive(Debug, Clone)]
pub struct Source {
    /// The tier.
    pub tier: Arc<Store>,
    /// Keys and hashes are the same on every tier, so a file that is missing here may come from there.
    pub fallback: Option<Arc<Store>>,
    footers: Arc<Mutex<Footers>>,
    turns: Arc<Semaphore>,
    /// Objects that the tier does not give though it answers, and what it says.
    withheld: Arc<Mutex<BTreeMap<String, ErrorKind>>>,
    /// Requests that this one and its copies made.
    requests: Arc<AtomicU64>,
    /// Of a stream, what was read of it together with others.
    loaded: Arc<Mutex<Loaded>>,
}

/// Messages of a stream's parts, by object, timeline and first sequence.
#[derive(Debug, Default)]
pub(super) struct Loaded(BTreeMap<(String, u32, u64), Columns>);

/// Footers by key, and which were used last.
#[derive(Debug, Default)]
struct Footers {
    by_key: BTreeMap<String, (u64, Arc<Footer>)>,
    bytes: usize,
    uses: u64,
}

/// A segment's messages, as they were fetched.
#[derive(Debug)]
pub(super) enum Content {
    /// Its file.
    File(Bytes),
    /// The row groups of an object that it shares with others, and which part of it it is.
    Shared(Arc<Footer>, Window, Part),
    /// They were read, and are what they should be.
    Rows(Columns),
}

impl Source {
    /// Reads segments of a tier, and of another one.
    pub fn new(tier: Arc<Store>, fallback: Option<Arc<Store>>) -> Self {
        Self {
            tier,
            fallback,
            footers: Arc::default(),
            turns: Arc::new(Semaphore::new(REQUESTS)),
            withheld: Arc::default(),
            requests: Arc::default(),
            loaded: Arc::default(),
        }
    }

    /// Returns the same for one stream, some parts of which were read. It counts requests anew.
    pub(super) fn of_stream(&self, loaded: Loaded) -> Self {
        let loaded = Arc::new(Mutex::new(loaded));
        Self { requests: Arc::default(), loaded, ..self.clone() }
    }

    /// Returns the number of requests that were made.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns about how many bytes of memory it takes to have a segment ready to be read.
    pub(super) fn room(&self, segment: &Segment) -> u64 {
        match &segment.part {
            _ if self.loaded().has(segment) => 0,
            None => segment.size,
            Some(_) => segment.bytes.saturating_add(BESIDE),
        }
    }

    /// Fetches what a segment's messages are read from.
    ///
    /// # Errors
    /// When neither tier gives it, or it is in no object that streams share.
    pub(super) async fn content(&self, segment: &Segment) -> Result<Content, RestoreError> {
        let loaded = self.loaded().take(segment);
        if let Some(columns) = loaded {
            return Ok(Content::Rows(columns));
        }
        let Some(part) = &segment.part else {
            return Ok(Content::File(self.file(segment).await?));
        };
        let (footer, tail) = self.footer(&segment.key).await?;
        let range = footer.range(segment, part)?;
        let window = self.window(&segment.key, range, tail).await?;
        Ok(Content::Shared(footer, window, part.clone()))
    }

    /// Takes back what was fetched, and need not be fetched again where nothing was.
    pub(super) fn put_back(&self, segment: &Segment, content: Content) {
        if let Content::Rows(columns) = content {
            self.loaded().put(segment, columns);
        }
    }

    /// Looks whether there is a key of an object.
    pub(super) async fn look(&self, key: &str) -> Result<(), S3Error> {
        self.fetch(key, async |store| store.look(key).await).await
    }

    async fn file(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        self.fetch(&segment.key, async |store| store.get_at_most(&segment.key, segment.size).await)
            .await
    }

    /// Reads the footer of a shared object; also returns the object's end if it was fetched.
    pub(super) async fn footer(
        &self,
        key: &str,
    ) -> Result<(Arc<Footer>, Option<Window>), RestoreError> {
        if let Some(footer) = self.footers().take(key) {
            return Ok((footer, None));
        }
        let is_entry = matches!(ArchiveKey::parse(key), Ok(ArchiveKey::Journal { .. }));
        let mut wanted = if is_entry { TAIL_OF_ENTRY } else { TAIL };
        loop {
            let (bytes, size) =
                self.fetch(key, async |store| store.get_tail(key, wanted).await).await?;
            match Footer::read(key, &bytes, size)? {
                Ok(footer) => {
                    let footer = Arc::new(footer);
                    self.footers().put(key, &footer);
                    let start = size.saturating_sub(bytes.len() as u64);
                    return Ok((footer, Some(Window { start, bytes })));
                }
                Err(needed) if needed > wanted && needed <= size => wanted = needed,
                Err(_) => {
                    let what = "it is cut short".into();
                    return Err(SegmentError::Contradiction { key: key.into(), what }.into());
                }
            }
        }
    }

    /// Reads a stretch of an object, the end of which may be in memory.
    pub(super) async fn window(
        &self,
        key: &str,
        range: Range<u64>,
        tail: Option<Window>,
    ) -> Result<Window, S3Error> {
        if let Some(tail) = tail.filter(|tail| tail.start <= range.start) {
            return Ok(tail);
        }
        let bytes =
            self.fetch(key, async |store| store.get_range(key, range.clone()).await).await?;
        Ok(Window { start: range.start, bytes })
    }

    async fn fetch<T>(
        &self,
        key: &str,
        get: impl AsyncFn(&Store) -> Result<T, S3Error>,
    ) -> Result<T, S3Error> {
        let _turn = self.turns.acquire().await.expect("it is never closed");
        if let Some(error) = self.withheld(key, None) {
            return Err(error);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let error = match get(&self.tier).await {
            Ok(got) => return Ok(got),
            Err(error) => self.tier.judged(error).await,
        };
        let error = self.withheld(key, Some(&error)).unwrap_or(error);
        let Some(other) = self.fallback.as_ref().filter(|_| error.kind.is_damage()) else {
            return Err(error);
        };
        tracing::warn!("{error}; reading it from {}", other.tier());
        match (get(other).await, &error.kind) {
            // The first answer says more.
            (Err(missing), ErrorKind::Withheld(_)) if missing.kind == ErrorKind::NotFound => {
                Err(error)
            }
            (outcome, _) => outcome,
        }
    }

    /// Returns why an object is not asked for again; takes note of the reason where it is new. It takes half a minute to
    /// know, and many streams may have a part in it. Where there are many such objects, it is the service after all.
    fn withheld(&self, key: &str, new: Option<&S3Error>) -> Option<S3Error> {
        let mut known = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = match new.map(|error| &error.kind) {
            None => known.get(key)?.clone(),
            Some(ErrorKind::Withheld(why)) if known.len() >= WITHHELD => {
                ErrorKind::Unavailable(why.clone())
            }
            Some(kind @ ErrorKind::Withheld(_)) => {
                known.insert(key.to_owned(), kind.clone());
                kind.clone()
            }
            Some(_) => return None,
        };
        let (tier, bucket) = (self.tier.tier(), self.tier.name());
        Some(S3Error { tier, bucket, operation: "get", key: key.to_owned(), kind })
    }

    fn footers(&self) -> MutexGuard<'_, Footers> {
        self.footers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// Calls `each` for every message, in order, when the segment is known to be what the manifest says.
    pub(super) fn read<E: From<SegmentError>>(
        &self,
        segment: &Segment,
        mut each: impl FnMut(&Message<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::File(file) => {
                Rows::read(segment, file, |rows| rows.messages().try_for_each(|m| each(&m)))
            }
            Self::Shared(footer, window, part) => {
                let mut read = read_parts(footer, window.clone(), &[(segment, part)]);
                let columns = read.pop().expect("there is one for every part")?;
                columns.messages().try_for_each(|m| each(&m))
            }
            Self::Rows(columns) => columns.messages().try_for_each(|m| each(&m)),
        }
    }
}

impl Loaded {
    pub(super) fn put(&mut self, segment: &Segment, columns: Columns) {
        self.0.insert(Self::place(segment), columns);
    }

    fn has(&self, segment: &Segment) -> bool {
        self.0.contains_key(&Self::place(segment))
    }

    fn take(&mut self, segment: &Segment) -> Option<Columns> {
        self.0.remove(&Self::place(segment))
    }

    fn place(segment: &Segment) -> (String, u32, u64) {
        (segment.key.clone(), segment.timeline, segment.first_seq)
    }
}

impl Footers {
    fn take(&mut self, key: &str) -> Option<Arc<Footer>> {
        self.uses += 1;
        let (used, footer) = self.by_key.get_mut(key)?;
        *used = self.uses;
        Some(Arc::clone(footer))
    }

    fn put(&mut self, key: &str, footer: &Arc<Footer>) {
        self.uses += 1;
        self.bytes += footer.memory();
        let before = self.by_key.insert(key.to_owned(), (self.uses, Arc::clone(footer)));
        self.bytes -= before.map_or(0, |(_, footer)| footer.memory());
        while self.bytes > KEPT && self.by_key.len() > 1 {
            let oldest = self.by_key.iter().min_by_key(|(_, (used, _))| *used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.bytes -= self.by_key.remove(&key).map_or(0, |(_, footer)| footer.memory());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cim_core::archive::key::JournalOf;
    use cim_core::names::JournalName;
    use cim_fake_wasabi::{Config, FakeWasabi, Fault, Rule};
    use serde_json::json;

    use super::*;
    use crate::s3::Tier;

    fn key(number: u64) -> ArchiveKey {
        let journal = JournalName::new("main").unwrap();
        ArchiveKey::Journal { of: JournalOf::Secondary, journal, number }
    }

    /// Returns a tier with two objects.
    async fn source(dir: &Path) -> (FakeWasabi, Source) {
        let config = Config { buckets: vec!["archive".into()], ..Config::new(dir.join("s3")) };
        let fake = FakeWasabi::start(config).await.unwrap();
        let (id, secret) = (Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY);
        let credentials = dir.join("keys");
        let text = format!("AWS_ACCESS_KEY_ID={id}\nAWS_SECRET_ACCESS_KEY={secret}\n");
        std::fs::write(&credentials, text).unwrap();
        let config = json!({
            "endpoint": fake.s3_url(), "bucket": "archive", "credentials_file": credentials,
        });
        let store = Store::open(Tier::Nas, &serde_json::from_value(config).unwrap()).unwrap();
        for number in 0..2 {
            store.put(&key(number), Bytes::from_static(b"whole")).await.unwrap();
        }
        (fake, Source::new(Arc::new(store), None))
    }

    #[tokio::test]
    async fn an_object_that_a_service_withholds_is_damaged_and_the_service_is_not_away() {
        let dir = tempfile::tempdir().unwrap();
        let (fake, source) = source(dir.path()).await;
        let (one, other) = (key(0).to_string(), key(1).to_string());
        let slow = || Rule::new(Fault::SlowDown);
        fake.set_faults(vec![slow().operation("GetObject").keys(one.clone())]).unwrap();
        for _ in 0..2 {
            let error = source.window(&one, 0..5, None).await.unwrap_err();
            assert!(matches!(error.kind, ErrorKind::Withheld(_)), "{error}");
            assert!(RestoreError::S3(error).is_of_one_stream());
        }
        // It takes long to know, and is asked for once.
        assert_eq!(source.requests(), 1);
        assert_eq!(source.window(&other, 0..5, None).await.unwrap().bytes, "whole");
        fake.set_faults(vec![slow()]).unwrap();
        let error = source.window(&other, 0..5, None).await.unwrap_err();
        assert!(!RestoreError::S3(error).is_of_one_stream());
    }
}
