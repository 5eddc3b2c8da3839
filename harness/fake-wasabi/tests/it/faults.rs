//! Every fault, as a client sees it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_fake_wasabi::{Fault, Rule};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Server, noise, refusal, wait_until};

async fn start(rule: Rule) -> Server {
    let server = Server::start().await;
    server.client().put("/tier/old", "old").await.expect(200);
    server.wasabi().set_faults(vec![rule]).unwrap();
    server
}

#[tokio::test]
async fn errors_are_answered_as_s3_does() {
    for (fault, status, code) in [
        (Fault::SlowDown, 503, "SlowDown"),
        (Fault::Unavailable, 503, "ServiceUnavailable"),
        (Fault::InternalError, 500, "InternalError"),
        (Fault::ReadOnly, 403, "AccessDenied"),
        (Fault::Full, 507, "XMinioStorageFull"),
    ] {
        let server = start(Rule::new(fault).count(2)).await;
        // Large enough that the answer would be lost if the server did not read the body.
        let body = noise(1, 2_000_000);
        let client = server.client();
        client.put("/tier/new", body.clone()).await.expect_code(status, code);
        let by_rust_s3 = refusal(server.bucket().put_object("new", &body).await);
        assert_eq!(by_rust_s3.0, status);
        client.get("/tier/new").await.expect_code(404, "NoSuchKey");
        client.put("/tier/new", body).await.expect(200);
        assert_eq!(server.wasabi().stats().faults[fault.name()], 2);
    }
}

#[tokio::test]
async fn read_only_and_full_let_reads_pass() {
    let server = start(Rule::new(Fault::ReadOnly)).await;
    let client = server.client();
    assert_eq!(client.get("/tier/old").await.expect(200).text(), "old");
    client.delete("/tier/old").await.expect_code(403, "AccessDenied");
    server.wasabi().set_faults(vec![Rule::new(Fault::Full)]).unwrap();
    client.put("/tier/new", "x").await.expect_code(507, "XMinioStorageFull");
    // Deleting is the way out of a full disk.
    client.delete("/tier/old").await.expect(204);
}

#[tokio::test]
async fn a_delay_holds_and_then_serves() {
    let server = start(Rule::new(Fault::Delay).seconds(0.3).operation("GetObject")).await;
    let start = Instant::now();
    assert_eq!(server.client().get("/tier/old").await.expect(200).text(), "old");
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_timeout_answers_nothing_and_does_nothing() {
    let server = start(Rule::new(Fault::Timeout).seconds(0.3).count(1)).await;
    let client = server.client();
    let start = Instant::now();
    client.send("PUT", "/tier/new", &[], "x").await.unwrap_err();
    assert!(start.elapsed() >= Duration::from_millis(300));
    client.get("/tier/new").await.expect_code(404, "NoSuchKey");

    // A client that gives up first is noticed, long before the sixty seconds are over.
    server.wasabi().set_faults(vec![Rule::new(Fault::Timeout).count(1)]).unwrap();
    let patience = Duration::from_millis(200);
    let gave_up = tokio::time::timeout(patience, client.send("PUT", "/tier/new", &[], "x")).await;
    gave_up.unwrap_err();
    let cut = || server.wasabi().stats().requests["PutObject"].cut == 2;
    wait_until("the server to notice", Duration::from_secs(10), cut).await;
    client.put("/tier/new", "x").await.expect(200);
}

#[tokio::test]
async fn a_cut_does_nothing() {
    let server = start(Rule::new(Fault::Cut).count(1)).await;
    let client = server.client();
    client.send("DELETE", "/tier/old", &[], "").await.unwrap_err();
    client.get("/tier/old").await.expect(200);
}

#[tokio::test]
async fn a_torn_upload_stores_nothing() {
    for after in [Some(0), Some(100_000), None, Some(u64::MAX)] {
        let rule = Rule { after_bytes: after, ..Rule::new(Fault::TornUpload).count(1) };
        let server = start(rule).await;
        let client = server.client();
        let body = noise(1, 1_000_000);
        client.send("PUT", "/tier/old", &[], body.clone()).await.unwrap_err();
        assert_eq!(client.get("/tier/old").await.expect(200).text(), "old", "after {after:?}");
        let stats = server.wasabi().stats();
        assert_eq!((stats.requests["PutObject"].cut, stats.faults["torn_upload"]), (1, 1));
        client.put("/tier/old", body).await.expect(200);
        // The handler of the torn upload may not have ended yet.
        let tmp = server.dir.path().join("tmp");
        let empty = || std::fs::read_dir(&tmp).unwrap().next().is_none();
        wait_until("nothing to be left over", Duration::from_secs(10), empty).await;
    }
    // An empty body has nothing to tear but its end.
    let server = start(Rule::new(Fault::TornUpload).count(1)).await;
    server.client().send("PUT", "/tier/empty", &[], "").await.unwrap_err();
    server.client().get("/tier/empty").await.expect(404);
}

#[tokio::test]
async fn a_torn_download_ends_early() {
    let server = Server::start().await;
    let body = noise(1, 1_000_000);
    server.client().put("/tier/key", body.clone()).await.expect(200);
    let rule = Rule::new(Fault::TornDownload).after_bytes(300_000).count(1);
    server.wasabi().set_faults(vec![rule]).unwrap();
    // By hand, to count the bytes that arrived.
    let client = server.client();
    let empty = hex::encode(Sha256::digest(b""));
    let signed = client.sign("GET", "/tier/key", &[], &empty);
    let mut request = "GET /tier/key HTTP/1.1\r\n".to_owned();
    for (name, value) in &signed.headers {
        request += &[name, ": ", value, "\r\n"].concat();
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(&client.addr).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&answer[..head]).contains("content-length: 1000000"));
    assert!(answer[head..] == body[..300_000], "{} bytes", answer.len() - head);
    assert!(client.get("/tier/key").await.expect(200).body == body, "the bytes differ");
}

#[tokio::test]
async fn a_lost_response_was_a_success() {
    let server = start(Rule::new(Fault::LostResponse).count(2)).await;
    let client = server.client();
    client.send("PUT", "/tier/new", &[], "x").await.unwrap_err();
    assert_eq!(client.get("/tier/new").await.expect(200).text(), "x");
    // A conditional retry finds the object of the first attempt.
    client.send("DELETE", "/tier/old", &[], "").await.unwrap_err();
    client.get("/tier/old").await.expect(404);
    // A request that fails anyway is answered.
    server.wasabi().set_faults(vec![Rule::new(Fault::LostResponse)]).unwrap();
    let again = client.send("PUT", "/tier/new", &[("if-none-match", "*")], "y").await.unwrap();
    again.expect_code(412, "PreconditionFailed");
}

#[tokio::test]
async fn a_lost_response_to_rust_s3_is_an_error_that_it_can_retry() {
    let server = start(Rule::new(Fault::LostResponse).count(1)).await;
    let bucket = server.bucket();
    assert!(bucket.put_object("new", b"x").await.is_err());
    assert_eq!(bucket.get_object("new").await.unwrap().as_slice(), b"x");
}

#[tokio::test]
async fn a_bit_flip_changes_exactly_one_bit() {
    let server = Server::start().await;
    let client = server.client();
    let body = noise(1, 1_000_000);
    client.put("/tier/key", body.clone()).await.expect(200);
    server.wasabi().set_faults(vec![Rule::new(Fault::BitFlip).count(1)]).unwrap();
    let got = client.get("/tier/key").await.expect(200);
    let bits: u32 = body.iter().zip(&got.body).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert_eq!((got.body.len(), bits), (body.len(), 1));
    assert!(client.get("/tier/key").await.expect(200).body == body, "flipped for good");
}

#[tokio::test]
async fn a_service_may_forget_conditions_and_checksums() {
    let server = Server::start().await;
    let client = server.client();
    let new = &[("if-none-match", "*")];
    let wrong = &[("x-amz-checksum-crc32c", "AAAAAA==")];
    client.send("PUT", "/tier/key", new, "x").await.unwrap().expect(200);
    for (fault, headers, status) in [(Fault::Overwrite, new, 412), (Fault::Unchecked, wrong, 400)] {
        client.send("PUT", "/tier/key", headers, "y").await.unwrap().expect(status);
        server.wasabi().set_faults(vec![Rule::new(fault)]).unwrap();
        client.send("PUT", "/tier/key", headers, "y").await.unwrap().expect(200);
        server.wasabi().set_faults(Vec::new()).unwrap();
    }
}

#[tokio::test]
async fn faults_follow_keys_and_the_seed() {
    let strikes = async |seed: u64| {
        let server = Server::with(|config| config.seed = seed).await;
        let rule = Rule { probability: Some(0.5), ..Rule::new(Fault::SlowDown).keys("segments/*") };
        server.wasabi().set_faults(vec![rule]).unwrap();
        let client = server.client();
        let mut statuses = Vec::new();
        for n in 0..40 {
            client.put(&format!("/tier/other/{n}"), "x").await.expect(200);
            statuses.push(client.put(&format!("/tier/segments/{n}"), "x").await.status);
        }
        statuses
    };
    let first = strikes(1).await;
    assert_eq!(first, strikes(1).await);
    assert_ne!(first, strikes(2).await);
    assert!(first.contains(&200) && first.contains(&503));
}

#[tokio::test]
async fn a_fault_does_not_help_the_unauthenticated() {
    let server = start(Rule::new(Fault::SlowDown)).await;
    let reply = server.client().transmit("GET", "/tier/old", &[], Bytes::new()).await.unwrap();
    reply.expect_code(403, "AccessDenied");
    assert_eq!(server.wasabi().stats().faults.len(), 0);
}
