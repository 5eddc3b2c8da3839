//! Objects: bytes, metadata, ranges, conditions, digests, copies, deletes.

use crate::raw::{Client, hmac};
use crate::support::{Server, element, elements, noise};

#[tokio::test]
async fn an_object_comes_back_as_it_was_put() {
    let mut server = Server::start().await;
    let bucket = server.bucket();
    let body = noise(1, 3_000_000);
    let put = bucket.put_object_with_content_type("a/b.bin", &body, "text/x-test").await.unwrap();
    assert_eq!(put.status_code(), 200);
    let got = bucket.get_object("a/b.bin").await.unwrap();
    assert_eq!(got.status_code(), 200);
    assert!(got.as_slice() == body, "the bytes differ");
    let (head, status) = bucket.head_object("a/b.bin").await.unwrap();
    assert_eq!((status, head.content_length), (200, Some(3_000_000)));
    assert_eq!(head.content_type.as_deref(), Some("text/x-test"));

    // An overwrite, then a restart: the last version is read, with its metadata.
    let headers = [("x-amz-meta-node", "nas-1"), ("cache-control", "no-store")];
    server.client().send("PUT", "/tier/a/b.bin", &headers, "new").await.unwrap().expect(200);
    server.restart().await;
    let got = server.client().get("/tier/a/b.bin").await.expect(200);
    assert_eq!(got.text(), "new");
    assert_eq!(got.header("x-amz-meta-node"), Some("nas-1"));
    assert_eq!(got.header("cache-control"), Some("no-store"));
    assert_eq!(got.header("content-type"), Some("binary/octet-stream"));
    assert_eq!(got.header("etag"), Some("\"22af645d1859cb5ca6da0c484f1f37ea\""));
    assert_eq!(server.wasabi().stats().storage.objects, 1);
}

#[tokio::test]
async fn keys_may_be_anything() {
    let mut server = Server::start().await;
    let long = "k".repeat(1024);
    let keys = [
        "a",
        "a/b",
        "a/",
        "a//b",
        "..",
        "../x",
        "ä ö+%&=?#",
        "日本語",
        "%41",
        "null",
        "x.lock",
        &long,
    ];
    for key in keys {
        let target = format!("/tier/{}", encode(key));
        server.client().put(&target, key.to_owned()).await.expect(200);
    }
    server.restart().await;
    for key in keys {
        let got = server.client().get(&format!("/tier/{}", encode(key))).await.expect(200);
        assert_eq!(got.text(), key);
    }
    assert_eq!(server.wasabi().stats().storage.objects, keys.len() as u64);
    let too_long = format!("/tier/{}", "k".repeat(1025));
    server.client().put(&too_long, "").await.expect_code(400, "KeyTooLongError");
}

#[tokio::test]
async fn ranges_are_as_rfc_9110_has_them() {
    let server = Server::start().await;
    let client = server.client();
    client.put("/tier/digits", "0123456789").await.expect(200);
    for (range, status, body, content_range) in [
        ("bytes=0-0", 206, "0", "bytes 0-0/10"),
        ("bytes=3-5", 206, "345", "bytes 3-5/10"),
        ("bytes=8-", 206, "89", "bytes 8-9/10"),
        ("bytes=8-100", 206, "89", "bytes 8-9/10"),
        ("bytes=-3", 206, "789", "bytes 7-9/10"),
        ("bytes=-100", 206, "0123456789", "bytes 0-9/10"),
    ] {
        let headers = [("range", range)];
        let got = client.send("GET", "/tier/digits", &headers, "").await.unwrap().expect(status);
        assert_eq!((got.text().as_str(), got.header("content-range")), (body, Some(content_range)));
        let head = client.send("HEAD", "/tier/digits", &headers, "").await.unwrap().expect(status);
        assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()));
    }
    let headers = [("range", "bytes=10-")];
    let beyond = client.send("GET", "/tier/digits", &headers, "").await.unwrap();
    beyond.expect_code(416, "InvalidRange");

    let body = noise(2, 1_000_000);
    server.bucket().put_object("big", &body).await.unwrap();
    let part = server.bucket().get_object_range("big", 500_000, Some(700_000)).await.unwrap();
    assert_eq!(part.status_code(), 206);
    assert!(part.as_slice() == &body[500_000..=700_000], "the bytes differ");
}

#[tokio::test]
async fn reads_may_have_conditions() {
    let server = Server::start().await;
    let client = server.client();
    let etag = client.put("/tier/key", "x").await.expect(200).header("etag").unwrap().to_owned();
    let modified = client.get("/tier/key").await.header("last-modified").unwrap().to_owned();
    let past = "Mon, 01 Jan 2001 00:00:00 GMT";
    for (name, value, status) in [
        ("if-match", etag.as_str(), 200),
        ("if-match", "\"other\"", 412),
        ("if-none-match", &etag, 304),
        ("if-none-match", "\"other\"", 200),
        ("if-none-match", "*", 304),
        ("if-modified-since", &modified, 304),
        ("if-modified-since", past, 200),
        ("if-unmodified-since", &modified, 200),
        ("if-unmodified-since", past, 412),
    ] {
        for method in ["GET", "HEAD"] {
            let reply = client.send(method, "/tier/key", &[(name, value)], "").await.unwrap();
            assert_eq!(reply.status, status, "{method} with {name}: {value}");
            if status == 304 {
                assert_eq!(reply.header("etag"), Some(etag.as_str()));
                assert!(reply.body.is_empty());
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_digest_stores_nothing() {
    let server = Server::start().await;
    let client = server.client();
    // Of "hello": MD5, CRC32, SHA-256.
    let right = [
        ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
        ("x-amz-checksum-crc32", "NhCmhg=="),
        ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
    ];
    for (name, value) in right {
        let target = format!("/tier/{name}");
        let wrong = client.send("PUT", &target, &[(name, value)], "hellp").await.unwrap();
        wrong.expect_code(400, "BadDigest");
        client.get(&target).await.expect_code(404, "NoSuchKey");
        client.send("PUT", &target, &[(name, value)], "hello").await.unwrap().expect(200);
    }
    let bad = client.send("PUT", "/tier/k", &[("content-md5", "short")], "hello").await.unwrap();
    bad.expect_code(400, "InvalidDigest");
    let empty = client.send("PUT", "/tier/k", &[("content-md5", "")], "hello").await.unwrap();
    empty.expect_code(400, "InvalidDigest");
    let asked = [("x-amz-checksum-mode", "ENABLED")];
    let got = client.send("GET", "/tier/x-amz-checksum-crc32", &asked, "").await.unwrap();
    assert_eq!(got.expect(200).header("x-amz-checksum-crc32"), Some("NhCmhg=="));
}

#[tokio::test]
async fn a_body_may_come_in_signed_chunks() {
    let server = Server::start().await;
    let client = server.client();
    let body = noise(3, 200_000);
    for tampered in [true, false] {
        let reply = put_chunked(&client, "/tier/chunked", &body, tampered).await;
        if tampered {
            reply.expect_code(403, "SignatureDoesNotMatch");
            client.get("/tier/chunked").await.expect_code(404, "NoSuchKey");
        } else {
            reply.expect(200);
            let got = client.get("/tier/chunked").await.expect(200);
            assert!(got.body == body, "the bytes differ");
            assert_eq!(got.header("content-encoding"), None);
        }
    }
}

async fn put_chunked(
    client: &Client,
    target: &str,
    body: &[u8],
    tamper: bool,
) -> crate::raw::Reply {
    let length = body.len().to_string();
    let headers =
        [("content-encoding", "aws-chunked"), ("x-amz-decoded-content-length", length.as_str())];
    let signed = client.sign("PUT", target, &headers, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let empty = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b""));
    let mut previous = signed.signature.clone();
    let mut wire = Vec::new();
    for chunk in body.chunks(65_536).chain([&[][..]]) {
        let to_sign = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{empty}\n{}",
            signed.date,
            signed.scope,
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(chunk)),
        );
        previous = hex::encode(hmac(&signed.key, to_sign.as_bytes()));
        wire.extend(format!("{:x};chunk-signature={previous}\r\n", chunk.len()).bytes());
        let start = wire.len();
        wire.extend(chunk);
        if tamper && !chunk.is_empty() {
            wire[start] ^= 1;
        }
        wire.extend(b"\r\n");
    }
    client.transmit("PUT", target, &signed.headers, wire.into()).await.unwrap()
}

#[tokio::test]
async fn a_checksum_may_come_after_the_body() {
    let server = Server::start().await;
    let client = server.client();
    for (crc32, status) in [("AAAAAA==", 400), ("NhCmhg==", 200)] {
        let headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", "5"),
            ("x-amz-trailer", "x-amz-checksum-crc32"),
        ];
        let payload = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
        let signed = client.sign("PUT", "/tier/key", &headers, payload);
        let wire = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{crc32}\r\n\r\n");
        let reply =
            client.transmit("PUT", "/tier/key", &signed.headers, wire.into()).await.unwrap();
        reply.expect(status);
    }
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "hello");
}

#[tokio::test]
async fn copies_keep_or_replace_metadata() {
    let server = Server::start().await;
    let client = server.client();
    let headers = [("x-amz-meta-a", "1"), ("content-type", "text/plain")];
    client.send("PUT", "/tier/from%20here", &headers, "body").await.unwrap().expect(200);
    let copy = |target: &'static str, more: &[(&'static str, &'static str)]| {
        let mut headers = vec![("x-amz-copy-source", "/tier/from%20here")];
        headers.extend(more);
        let client = client.clone();
        async move { client.send("PUT", target, &headers, "").await.unwrap() }
    };
    let same = copy("/tier/same", &[]).await.expect(200);
    assert_eq!(element(&same.text(), "ETag"), Some("\"841a2d689ad86bd1611447453c22c6fc\""));
    let got = client.get("/tier/same").await.expect(200);
    assert_eq!((got.text().as_str(), got.header("x-amz-meta-a")), ("body", Some("1")));

    let replace = [("x-amz-metadata-directive", "REPLACE"), ("x-amz-meta-b", "2")];
    copy("/tier/other", &replace).await.expect(200);
    let got = client.get("/tier/other").await.expect(200);
    assert_eq!((got.header("x-amz-meta-a"), got.header("x-amz-meta-b")), (None, Some("2")));

    copy("/tier/from%20here", &[]).await.expect_code(400, "InvalidRequest");
    copy("/tier/from%20here", &replace).await.expect(200);
    assert_eq!(client.get("/tier/from%20here").await.header("x-amz-meta-b"), Some("2"));
    let condition = [("x-amz-copy-source-if-match", "\"other\"")];
    copy("/tier/x", &condition).await.expect_code(412, "PreconditionFailed");
}

#[tokio::test]
async fn many_keys_are_deleted_at_once() {
    let server = Server::start().await;
    let client = server.client();
    for key in ["a", "b", "c"] {
        client.put(&format!("/tier/{key}"), "x").await.expect(200);
    }
    let body = "<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object>\
                <Object><Key>absent</Key></Object></Delete>";
    let reply = client.send("POST", "/tier?delete", &[], body).await.unwrap().expect(200);
    assert_eq!(elements(&reply.text(), "Key"), ["a", "b", "absent"]);
    let left = client.get("/tier?list-type=2").await.expect(200);
    assert_eq!(elements(&left.text(), "Key"), ["c"]);
    client.delete("/tier/c").await.expect(204);
    client.delete("/tier/c").await.expect(204);
    assert_eq!(server.bucket().delete_object("nothing").await.unwrap().status_code(), 204);
}

#[tokio::test]
async fn buckets_come_and_go() {
    let mut server = Server::start().await;
    server.client().put("/other-bucket", "").await.expect(200);
    server.client().put("/other-bucket", "").await.expect_code(409, "BucketAlreadyOwnedByYou");
    server.client().put("/Bad_Name", "").await.expect_code(400, "InvalidBucketName");
    server.client().put("/other-bucket/key", "x").await.expect(200);
    server.client().delete("/other-bucket").await.expect_code(409, "BucketNotEmpty");
    server.restart().await;
    let client = server.client();
    let names = client.get("/").await.expect(200);
    assert_eq!(elements(&names.text(), "Name"), ["other-bucket", "tier"]);
    client.delete("/other-bucket/key").await.expect(204);
    client.delete("/other-bucket").await.expect(204);
    client.send("HEAD", "/other-bucket", &[], "").await.unwrap().expect(404);
    client.put("/other-bucket/key", "x").await.expect_code(404, "NoSuchBucket");
    client.get("/tier?location").await.expect(200);
    let elsewhere = "<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint>\
                     </CreateBucketConfiguration>";
    let refused = client.put("/third", elsewhere).await;
    refused.expect_code(400, "IllegalLocationConstraintException");
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let server = Server::start().await;
    let client = server.client();
    client.put("/tier/key", "x").await.expect(200);
    for (method, target, headers) in [
        ("GET", "/tier?acl", &[][..]),
        ("GET", "/tier?lifecycle", &[]),
        ("GET", "/tier/key?tagging", &[]),
        ("GET", "/tier/key?partNumber=1", &[]),
        ("DELETE", "/tier?force_delete=true", &[]),
        ("PUT", "/tier?compliance", &[]),
        ("MOVE", "/tier/key", &[("destination", "other")]),
        ("PUT", "/tier/key", &[("x-amz-tagging", "a=b")]),
        ("PUT", "/tier/key", &[("x-amz-server-side-encryption", "AES256")]),
        ("PUT", "/tier/key", &[("x-amz-acl", "public-read")]),
        ("PUT", "/tier/key", &[("if-none-match", "\"an-etag\"")]),
    ] {
        let reply = client.send(method, target, headers, "").await.unwrap();
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (501, "NotImplemented"),
            "{method} {target}"
        );
    }
    assert_eq!(server.wasabi().stats().not_implemented, 11);
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "x");
}

#[tokio::test]
async fn metadata_has_a_limit() {
    let server = Server::start().await;
    let value = "v".repeat(2048);
    let headers = [("x-amz-meta-n", value.as_str())];
    let refused = server.client().send("PUT", "/tier/key", &headers, "x").await.unwrap();
    refused.expect_code(400, "MetadataTooLarge");
    let headers = [("x-amz-meta-n", &value[1..])];
    server.client().send("PUT", "/tier/key", &headers, "x").await.unwrap().expect(200);
}

/// Percent-encodes a key as S3 clients do for the path.
fn encode(key: &str) -> String {
    use std::fmt::Write as _;
    key.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            other => write!(out, "%{other:02X}").unwrap(),
        }
        out
    })
}
