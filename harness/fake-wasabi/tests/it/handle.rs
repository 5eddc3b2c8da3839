//! The library's handle.

use std::time::Duration;

use cim_fake_wasabi::{Config, FakeWasabi, StartError};

use crate::raw::Client;
use crate::support::{Server, noise};

#[tokio::test]
async fn dropping_stops_and_frees_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { buckets: vec!["tier".into()], ..Config::new(dir.path()) };
    let wasabi = FakeWasabi::start(config.clone()).await.unwrap();
    let url = wasabi.s3_url();
    let client = Client::new(&url, Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY);
    client.put("/tier/key", "x").await.expect(200);
    let second = FakeWasabi::start(config.clone()).await;
    assert!(matches!(second, Err(StartError::InUse { .. })), "{second:?}");

    drop(wasabi);
    let freed = async {
        loop {
            match FakeWasabi::start(config.clone()).await {
                Err(StartError::InUse { .. }) => tokio::task::yield_now().await,
                other => break other.unwrap(),
            }
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(10), freed).await.unwrap();
    client.send("GET", "/tier/key", &[], "").await.unwrap_err();
    let client = Client::new(&again.s3_url(), Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY);
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "x");
}

#[tokio::test]
async fn a_stop_lets_requests_end() {
    let mut server = Server::start().await;
    let client = server.client();
    let rule = cim_fake_wasabi::Rule::new(cim_fake_wasabi::Fault::Delay).seconds(0.5);
    server.wasabi().set_faults(vec![rule]).unwrap();
    let slow = tokio::spawn({
        let client = client.clone();
        async move { client.put("/tier/key", noise(1, 100_000)).await }
    });
    let struck = || server.wasabi().stats().faults.contains_key("delay");
    crate::support::wait_until("the delay", Duration::from_secs(10), struck).await;
    server.restart().await;
    slow.await.unwrap().expect(200);
    server.client().get("/tier/key").await.expect(200);
}
