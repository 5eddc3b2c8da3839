//! A bucket as any S3 client sees it.

use std::path::{Path, PathBuf};

use super::{SECRET, USER};

/// Opens a bucket of a service.
pub(crate) fn bucket_at(url: &str, name: &str) -> Box<s3::Bucket> {
    let credentials =
        s3::creds::Credentials::new(Some(USER), Some(SECRET), None, None, None).unwrap();
    let region = s3::Region::Custom { region: "us-east-1".into(), endpoint: url.into() };
    s3::Bucket::new(name, region, credentials).unwrap().with_path_style()
}

/// Lists the keys of a bucket below a prefix, ascending.
pub(crate) async fn keys(bucket: &s3::Bucket, prefix: &str) -> Vec<String> {
    let pages = bucket.list(prefix.into(), None).await.unwrap();
    let mut keys: Vec<String> =
        pages.into_iter().flat_map(|page| page.contents).map(|object| object.key).collect();
    keys.sort();
    keys
}

/// Copies a bucket into a folder through S3, since MinIO keeps objects in a form of its own; returns the copy.
pub(crate) async fn download(bucket: &s3::Bucket, dir: &Path) -> PathBuf {
    let copy = dir.join("copy");
    for key in keys(bucket, "").await {
        let object = bucket.get_object(&key).await.unwrap();
        let path = copy.join(&key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, object.bytes()).unwrap();
    }
    copy
}
