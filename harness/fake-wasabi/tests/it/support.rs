//! A server for each test, and clients for it.

use std::time::Duration;

use cim_fake_wasabi::{Config, FakeWasabi};
pub(crate) use cim_testing::noise;
use cim_testing::wait_until_within;
use s3::creds::Credentials;
use s3::error::S3Error;
use s3::{Bucket, Region};
use tempfile::TempDir;

use crate::raw::Client;

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

/// Polls until the condition holds, and panics with the condition's name if it never does.
pub(crate) async fn wait_until(what: &str, timeout: Duration, mut holds: impl FnMut() -> bool) {
    let holds = async || holds().then_some(()).ok_or_else(|| "it does not".to_owned());
    wait_until_within(what, timeout, holds).await;
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
