//! Authentication: accepted and refused requests.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cim_fake_wasabi::{Config, Credentials};

use crate::raw::Client;
use crate::support::{BUCKET, Server, bucket, noise, refusal};

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_key_are_told_apart() {
    let server = Server::start().await;
    let url = server.wasabi().s3_url();
    let wrong = Client::new(&url, Config::TEST_ACCESS_KEY, "not the secret");
    wrong.get("/tier/key").await.expect_code(403, "SignatureDoesNotMatch");
    let unknown = Client::new(&url, "UNKNOWN", Config::TEST_SECRET_KEY);
    unknown.get("/tier/key").await.expect_code(403, "InvalidAccessKeyId");
    let anonymous = server.client().transmit("GET", "/tier/key", &[], Bytes::new()).await.unwrap();
    anonymous.expect_code(403, "AccessDenied");

    let stats = server.wasabi().stats();
    assert_eq!(stats.requests["Refused"].client_errors, 3);
}

#[tokio::test]
async fn rust_s3_is_refused_the_same_way() {
    let server = Server::start().await;
    let url = server.wasabi().s3_url();
    let wrong = bucket(&url, BUCKET, Config::TEST_ACCESS_KEY, "not the secret");
    let (status, text) = refusal(wrong.put_object("key", b"x").await);
    assert_eq!(status, 403);
    assert!(text.contains("<Code>SignatureDoesNotMatch</Code>"), "{text}");
    assert_eq!(server.wasabi().stats().storage.objects, 0);
}

#[tokio::test]
async fn a_request_of_another_hour_is_refused() {
    let server = Server::start().await;
    let mut client = server.client();
    client.now = Some(SystemTime::now() - Duration::from_hours(1));
    client.get("/tier/key").await.expect_code(403, "RequestTimeTooSkewed");
}

#[tokio::test]
async fn every_key_pair_may_sign() {
    let server = Server::with(|config| {
        config.credentials.push(Credentials::new("SECOND", "second-secret"));
    })
    .await;
    let second = Client::new(&server.wasabi().s3_url(), "SECOND", "second-secret");
    second.put("/tier/key", "x").await.expect(200);
    server.client().get("/tier/key").await.expect(200);
}

#[tokio::test]
async fn a_body_that_is_not_the_one_signed_is_not_stored() {
    let server = Server::start().await;
    let client = server.client();
    let body = noise(1, 100_000);
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&body));
    let mut other = body.clone();
    other[50_000] ^= 1;
    let signed = client.sign("PUT", "/tier/key", &[], &hash);
    let reply = client.transmit("PUT", "/tier/key", &signed.headers, other.into()).await.unwrap();
    reply.expect_code(400, "XAmzContentSHA256Mismatch");
    client.get("/tier/key").await.expect_code(404, "NoSuchKey");
    let reply = client.transmit("PUT", "/tier/key", &signed.headers, body.into()).await.unwrap();
    reply.expect(200);
}

#[tokio::test]
async fn presigned_urls_work_until_they_are_tampered_with() {
    let server = Server::start().await;
    let bucket = server.bucket();
    let client = server.client();
    let target = |url: &str| {
        let start = url.find("/tier/").expect("path style");
        url[start..].to_owned()
    };
    let put = target(&bucket.presign_put("/key", 60, None, None).await.unwrap());
    let reply = client.transmit("PUT", &put, &[], "presigned".into()).await.unwrap();
    reply.expect(200);
    let get = target(&bucket.presign_get("/key", 60, None).await.unwrap());
    let reply = client.transmit("GET", &get, &[], Bytes::new()).await.unwrap().expect(200);
    assert_eq!(reply.text(), "presigned");
    let other = get.replace("/tier/key", "/tier/other");
    let reply = client.transmit("GET", &other, &[], Bytes::new()).await.unwrap();
    reply.expect_code(403, "SignatureDoesNotMatch");
}

#[tokio::test]
async fn the_bucket_may_be_in_the_host_name() {
    let server = Server::start().await;
    let mut client = server.client();
    let port = client.addr.rsplit_once(':').unwrap().1.to_owned();
    for (host, target) in [
        (format!("tier.localhost:{port}"), "/key"),
        ("tier.s3.wasabisys.com".to_owned(), "/key"),
        (format!("localhost:{port}"), "/tier/key"),
        (format!("some.proxy.internal:{port}"), "/tier/key"),
    ] {
        client.host = Some(host.clone());
        client.put(target, host.clone()).await.expect(200);
        assert_eq!(client.get(target).await.expect(200).text(), host);
    }
    assert_eq!(server.wasabi().stats().storage.objects, 1);
}
