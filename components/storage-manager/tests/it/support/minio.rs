//! MinIO as a NAS: a bucket, and its files on disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cim_testing::wait_until;

use super::Authority;
use super::minio_process::{MinioProcess, SharedMinio};

/// A bucket of the MinIO that all tests share, or a MinIO of its own.
pub(crate) struct Minio {
    pub(crate) url: String,
    pub(crate) bucket: String,
    /// Where MinIO keeps its buckets.
    data: PathBuf,
    own: Option<MinioProcess>,
}

impl Minio {
    /// Makes a bucket in the MinIO that all tests share.
    pub(crate) async fn shared() -> Self {
        static BUCKETS: AtomicU32 = AtomicU32::new(0);
        let shared = SharedMinio::get().await;
        let bucket = format!("archive-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        let minio = Self { url: shared.url.clone(), bucket, data: shared.data.clone(), own: None };
        std::fs::create_dir(minio.bucket_dir()).unwrap();
        minio
    }

    /// Starts one below a folder, with a bucket `archive`: for tests that end it, or are its administrator.
    pub(crate) async fn own(dir: &Path) -> Self {
        Self::of(MinioProcess::start(dir, None).await)
    }

    /// The same with TLS and a certificate of this authority.
    pub(crate) async fn secure(dir: &Path, authority: &Authority) -> Self {
        Self::of(MinioProcess::start(dir, Some(authority)).await)
    }

    fn of(process: MinioProcess) -> Self {
        let (url, data) = (process.url.clone(), process.data.clone());
        let minio = Self { url, bucket: "archive".into(), data, own: Some(process) };
        std::fs::create_dir_all(minio.bucket_dir()).unwrap();
        minio
    }

    /// Returns true if no other test uses it.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    fn process(&mut self) -> &mut MinioProcess {
        self.own.as_mut().expect("the lab has a MinIO of its own")
    }

    /// Loses the NAS: kill -9, and it does not come back.
    pub(crate) fn kill(&mut self) {
        self.process().kill();
    }

    /// Kills it and starts it again at the same address, with a certificate of this authority.
    pub(crate) async fn start_again(&mut self, authority: &Authority) {
        self.process().start_again(authority).await;
    }

    /// Returns the folder of its bucket.
    pub(crate) fn bucket_dir(&self) -> PathBuf {
        self.data.join(&self.bucket)
    }

    /// Makes another bucket; returns its name.
    pub(crate) fn another_bucket(&self, name: &str) -> String {
        let name = format!("{}-{name}", self.bucket);
        std::fs::create_dir(self.data.join(&name)).unwrap();
        name
    }

    /// From one moment to the next it is another, empty one at the same address.
    pub(crate) fn replace(&self) {
        for layout in ["v1", "v2"] {
            let gone = self.data.with_file_name(format!("gone-{}", uuid::Uuid::now_v7()));
            let there = self.bucket_dir().join(layout);
            if there.exists() {
                std::fs::rename(there, gone).unwrap();
            }
        }
    }

    /// Waits until nothing is written any more: its newest file is older than any `seal.interval` and `flush_age` of
    /// these tests that is short, by the file system's clock.
    pub(crate) async fn comes_to_rest(&self) {
        wait_until("nothing is written to the NAS", async || {
            let written = |path: &PathBuf| path.metadata().and_then(|found| found.modified()).ok();
            let newest = self.files("/v").iter().filter_map(written).max();
            match newest.and_then(|newest| newest.elapsed().ok()) {
                Some(age) if age > Duration::from_millis(1500) => Ok(()),
                age => Err(format!("the newest file is {age:?} old")),
            }
        })
        .await;
    }

    /// Lists every file of the bucket whose path in it contains `part`: MinIO keeps an object as a folder.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.bucket_dir()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            // What is being collected may go while it is looked at.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(part) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Minio {
    fn drop(&mut self) {
        if self.own.is_none() {
            // What a test leaves is in no other one's way; it only takes room.
            drop(std::fs::remove_dir_all(self.bucket_dir()));
        }
    }
}
