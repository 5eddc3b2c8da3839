//! Segments' files, from the tier or from the one behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cim_core::archive::Segment;

use crate::s3::{Kind, S3Error, Store};

/// Bytes of shared objects that are kept for the next stream that has a part in them.
const KEPT: usize = 24 << 20;

/// More bytes than any object has that several streams share.
const SHARED: u64 = 256 << 20;

/// Where files come from: a tier, and another one for what the first has lost.
#[derive(Debug, Clone)]
pub struct Source {
    /// The tier.
    pub tier: Arc<Store>,
    /// Keys and hashes are the same on every tier, so a file that is missing here may come from there.
    pub fallback: Option<Arc<Store>>,
    shared: Arc<Mutex<Kept>>,
}

/// Objects by key, and which were used last.
#[derive(Debug, Default)]
struct Kept {
    objects: BTreeMap<String, (u64, Bytes)>,
    bytes: usize,
    uses: u64,
}

impl Source {
    /// Files of a tier, and of another one.
    pub fn new(tier: Arc<Store>, fallback: Option<Arc<Store>>) -> Self {
        Self { tier, fallback, shared: Arc::default() }
    }

    /// The file that a segment is in.
    ///
    /// # Errors
    /// When neither tier gives it.
    pub async fn file(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        if segment.part.is_none() {
            return self.fetch(&segment.key, segment.size).await;
        }
        let kept = self.kept().take(&segment.key);
        if let Some(file) = kept {
            return Ok(file);
        }
        // How large an object is that several share is not stated.
        let file = self.fetch(&segment.key, SHARED).await?;
        self.kept().put(&segment.key, &file);
        Ok(file)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, key: &str, size: u64) -> Result<Bytes, S3Error> {
        match (self.tier.get_at_most(key, size).await, &self.fallback) {
            (Err(error), Some(other)) if error.kind == Kind::NotFound => {
                tracing::warn!("{error}; reading it from {}", other.tier());
                other.get_at_most(key, size).await
            }
            (outcome, _) => outcome,
        }
    }
}

impl Kept {
    fn take(&mut self, key: &str) -> Option<Bytes> {
        self.uses += 1;
        let (used, object) = self.objects.get_mut(key)?;
        *used = self.uses;
        Some(object.clone())
    }

    fn put(&mut self, key: &str, object: &Bytes) {
        self.uses += 1;
        self.bytes += object.len();
        let before = self.objects.insert(key.to_owned(), (self.uses, object.clone()));
        self.bytes -= before.map_or(0, |(_, object)| object.len());
        while self.bytes > KEPT {
            let oldest = self.objects.iter().min_by_key(|(_, (used, _))| *used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            self.bytes -= self.objects.remove(&key).map_or(0, |(_, object)| object.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_is_kept() {
        let mut kept = Kept::default();
        let object = Bytes::from(vec![0; KEPT / 2]);
        kept.put("a", &object);
        kept.put("b", &object);
        assert!(kept.take("a").is_some());
        kept.put("c", &object);
        assert!(kept.take("b").is_none());
        assert!(kept.take("a").is_some() && kept.take("c").is_some());
        assert!(kept.bytes <= KEPT);
    }
}
