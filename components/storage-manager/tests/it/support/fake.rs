//! An S3 service that can be told to fail: fake Wasabi, as either tier.

use std::path::Path;

use cim_fake_wasabi::{Config, Credentials, FakeWasabi};

use super::{SECRET, USER};

/// Starts one with a bucket `archive`, in a folder of this name.
pub(crate) async fn fake_s3(dir: &Path, name: &str) -> FakeWasabi {
    fake_s3_with(dir, name, |_| ()).await
}

/// The same with a changed configuration.
pub(crate) async fn fake_s3_with(
    dir: &Path,
    name: &str,
    change: impl FnOnce(&mut Config),
) -> FakeWasabi {
    let mut config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, SECRET)],
        // These tests are not about what a power cut leaves of it.
        fsync: false,
        ..Config::new(dir.join(name))
    };
    change(&mut config);
    FakeWasabi::start(config).await.unwrap()
}

/// Returns how often a fault has happened, by its name.
pub(crate) fn struck(service: &FakeWasabi, fault: &str) -> u64 {
    service.stats().faults.get(fault).copied().unwrap_or_default()
}
