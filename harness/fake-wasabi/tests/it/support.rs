//! A server for each test, and clients for it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cim_fake_wasabi::{Config, FakeWasabi};
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::{Bucket, Region};
use tempfile::TempDir;

use crate::raw::Client;

/// Returns a program that this project did not write, from `.tools/bin` or PATH. Without it the test is
/// skipped, prints so and ci/test counts it, unless `CIM_REQUIRE_TOOLS=1` makes it fail.
pub(crate) fn program(name: &str, test: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(ours).chain(std::env::split_paths(&path));
    let found = places.map(|place| place.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let reason = format!("`{name}` is not there: run `ci/setup --test`");
        let required = std::env::var_os("CIM_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "{reason}");
        eprintln!("skipped: {test}: {reason}");
        if let Some(path) = std::env::var_os("CIM_SKIPPED_FILE") {
            let mut file = std::fs::File::options().append(true).create(true).open(path).unwrap();
            writeln!(file, "{test}: {reason}").unwrap();
        }
    }
    found
}

/// The bucket that every test server has.
pub(crate) const BUCKET: &str = "tier";

/// A server over a directory that lives as long as this.
pub(crate) struct Server {
    pub(crate) wasabi: Option<FakeWasabi>,
    pub(crate) dir: TempDir,
    config: Config,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        config.buckets = vec![BUCKET.to_owned()];
        // These tests are not about the disk's speed.
        config.fsync = false;
        change(&mut config);
        let wasabi = FakeWasabi::start(config.clone()).await.unwrap();
        Self { wasabi: Some(wasabi), dir, config }
    }

    pub(crate) fn wasabi(&self) -> &FakeWasabi {
        self.wasabi.as_ref().unwrap()
    }

    /// Stops and starts again over the same directory, on other ports.
    pub(crate) async fn restart(&mut self) {
        if let Some(wasabi) = self.wasabi.take() {
            wasabi.shutdown().await;
        }
        self.wasabi = Some(FakeWasabi::start(self.config.clone()).await.unwrap());
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.wasabi().s3_url(), Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY)
    }

    pub(crate) fn bucket(&self) -> Box<Bucket> {
        bucket(&self.wasabi().s3_url(), BUCKET, Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY)
    }
}

/// Opens a bucket with rust-s3.
pub(crate) fn bucket(url: &str, name: &str, access_key: &str, secret_key: &str) -> Box<Bucket> {
    let region = Region::Custom { region: "us-east-1".to_owned(), endpoint: url.to_owned() };
    let credentials = Credentials::new(Some(access_key), Some(secret_key), None, None, None);
    // Retries would hide the server's first answer.
    s3::set_retries(0);
    Bucket::new(name, region, credentials.unwrap()).unwrap().with_path_style()
}

/// Returns the status and text of rust-s3's error.
#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, S3Error>) -> (u16, String) {
    match result.unwrap_err() {
        S3Error::HttpFailWithBody(status, text) => (status, text),
        other => panic!("not an answer of the server's: {other}"),
    }
}

/// Returns pseudo-random bytes that do not compress and that no other seed repeats.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// Polls until the condition holds, and panics with the condition's name if it never does.
pub(crate) async fn wait_until(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < timeout, "waited {timeout:?} for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the text of the first element with this name.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    elements(xml, name).into_iter().next()
}

/// Returns the texts of all elements with this name, in order.
pub(crate) fn elements<'a>(xml: &'a str, name: &str) -> Vec<&'a str> {
    let open = format!("<{name}>");
    let close = format!("</{name}>");
    xml.split(open.as_str())
        .skip(1)
        .filter_map(|rest| rest.split_once(close.as_str()).map(|(text, _)| text))
        .collect()
}
