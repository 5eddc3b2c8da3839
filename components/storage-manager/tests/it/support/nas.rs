//! The two NASes that a lab may have: MinIO, and one that fails on request.

use std::path::Path;

use cim_fake_wasabi::FakeWasabi;

use super::{Minio, fake_s3};

pub(crate) trait Nas: Sized {
    /// Starts one with an empty bucket; its files are below the folder if the lab is to have a service of its own.
    async fn start(dir: &Path, own: bool) -> Self;

    fn url(&self) -> String;

    /// Returns the name of its bucket.
    fn bucket_name(&self) -> &str;
}

impl Nas for Minio {
    async fn start(dir: &Path, own: bool) -> Self {
        if own { Self::own(dir).await } else { Self::shared().await }
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn bucket_name(&self) -> &str {
        &self.bucket
    }
}

impl Nas for FakeWasabi {
    async fn start(dir: &Path, _: bool) -> Self {
        fake_s3(dir, "nas").await
    }

    fn url(&self) -> String {
        self.s3_url()
    }

    fn bucket_name(&self) -> &'static str {
        "archive"
    }
}
