//! Conditional writes: honoured, raced for, and ignored on request.

use futures_util::future::join_all;
use hyper::header::{HeaderMap, HeaderValue, IF_NONE_MATCH};

use crate::support::{Server, refusal};

const IF_ABSENT: &[(&str, &str)] = &[("if-none-match", "*")];

#[tokio::test]
async fn only_the_first_conditional_put_wins() {
    let server = Server::start().await;
    let client = server.client();
    let put = |n: usize| {
        let client = client.clone();
        let body = format!("writer {n}").repeat(10_000);
        async move { client.send("PUT", "/tier/commit/1", IF_ABSENT, body).await.unwrap() }
    };
    let replies = join_all((0..16).map(put)).await;
    let won = replies.iter().filter(|reply| reply.status == 200).count();
    let lost = replies.iter().filter(|reply| reply.code() == "PreconditionFailed").count();
    assert_eq!((won, lost), (1, 15));
    let winner = replies.iter().position(|reply| reply.status == 200).unwrap();
    let stored = client.get("/tier/commit/1").await.expect(200);
    assert!(stored.text().starts_with(&format!("writer {winner}w")), "another one's bytes");
    client.delete("/tier/commit/1").await.expect(204);
    put(0).await.expect(200);
}

#[tokio::test]
async fn rust_s3_sees_the_precondition_fail() {
    let server = Server::start().await;
    let bucket = server.bucket();
    let put = || {
        let builder = bucket.put_object_builder("key", b"x");
        builder.with_header("If-None-Match", "*").unwrap().execute()
    };
    assert_eq!(put().await.unwrap().status_code(), 200);
    assert_eq!(refusal(put().await).0, 412);
}

#[tokio::test]
async fn a_presigned_put_may_carry_the_condition() {
    let server = Server::start().await;
    let headers: HeaderMap = [(IF_NONE_MATCH, HeaderValue::from_static("*"))].into_iter().collect();
    let url = server.bucket().presign_put("/key", 60, Some(headers), None).await.unwrap();
    let target = &url[url.find("/tier/").expect("path style")..];
    let headers = [("if-none-match".to_owned(), "*".to_owned())];
    let client = server.client();
    let put = async |headers: &[(String, String)]| {
        client.transmit("PUT", target, headers, "x".into()).await.unwrap()
    };
    // The condition was signed, so it cannot be left out.
    put(&[]).await.expect_code(403, "SignatureDoesNotMatch");
    put(&headers).await.expect(200);
    put(&headers).await.expect_code(412, "PreconditionFailed");
}

#[tokio::test]
async fn if_match_guards_an_overwrite() {
    let server = Server::start().await;
    let client = server.client();
    let if_match = |etag: &str| {
        let (client, etag) = (client.clone(), etag.to_owned());
        async move { client.send("PUT", "/tier/key", &[("if-match", &etag)], "y").await.unwrap() }
    };
    if_match("\"any\"").await.expect_code(404, "NoSuchKey");
    let etag = client.put("/tier/key", "x").await.header("etag").unwrap().to_owned();
    if_match("\"other\"").await.expect_code(412, "PreconditionFailed");
    if_match(&etag).await.expect(200);
    if_match(&etag).await.expect_code(412, "PreconditionFailed");

    let copy = [("x-amz-copy-source", "/tier/key"), ("if-none-match", "*")];
    let onto_itself = client.send("PUT", "/tier/copy", &copy, "").await.unwrap();
    onto_itself.expect(200);
    let again = client.send("PUT", "/tier/copy", &copy, "").await.unwrap();
    again.expect_code(412, "PreconditionFailed");
    let delete = [("if-match", "\"other\"")];
    let kept = client.send("DELETE", "/tier/key", &delete, "").await.unwrap();
    kept.expect_code(412, "PreconditionFailed");
}

#[tokio::test]
async fn a_service_that_ignores_conditions_can_be_had() {
    let server = Server::with(|config| config.conditional_writes = false).await;
    let client = server.client();
    for body in ["first", "second"] {
        client.send("PUT", "/tier/key", IF_ABSENT, body).await.unwrap().expect(200);
    }
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "second");
    // Reads keep their conditions.
    let reply = client.send("GET", "/tier/key", IF_ABSENT, "").await.unwrap();
    reply.expect(304);
}

#[tokio::test]
async fn a_deleted_version_counts_as_absent() {
    let server = Server::start().await;
    let client = server.client();
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.put("/tier?versioning", enable).await.expect(200);
    client.send("PUT", "/tier/key", IF_ABSENT, "x").await.unwrap().expect(200);
    client.send("PUT", "/tier/key", IF_ABSENT, "x").await.unwrap().expect(412);
    client.delete("/tier/key").await.expect(204);
    client.send("PUT", "/tier/key", IF_ABSENT, "x").await.unwrap().expect(200);
}
