//! Segments' files, from the tier or from the one behind it.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::Segment;

use crate::s3::{Kind, S3Error, Store};

/// Where files come from: a tier, and another one for what the first has lost.
#[derive(Debug, Clone)]
pub struct Source {
    /// The tier.
    pub tier: Arc<Store>,
    /// Keys and hashes are the same on every tier, so a file that is missing here may come from there.
    pub fallback: Option<Arc<Store>>,
}

impl Source {
    /// A segment's file.
    pub async fn file(&self, segment: &Segment) -> Result<Bytes, S3Error> {
        let (key, size) = (&segment.key, segment.size);
        match (self.tier.get_at_most(key, size).await, &self.fallback) {
            (Err(error), Some(other)) if error.kind == Kind::NotFound => {
                tracing::warn!("{error}; reading it from {}", other.tier());
                other.get_at_most(key, size).await
            }
            (outcome, _) => outcome,
        }
    }
}
