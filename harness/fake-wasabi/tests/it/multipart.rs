//! Multipart uploads.

use s3::serde_types::Part;

use crate::raw::Client;
use crate::support::{Server, element, elements, noise};

const MIB: usize = 1024 * 1024;

async fn begin(client: &Client, key: &str) -> String {
    let headers = [("content-type", "text/x-parts"), ("x-amz-meta-a", "1")];
    let target = format!("/tier/{key}?uploads");
    let reply = client.send("POST", &target, &headers, "").await.unwrap().expect(200);
    element(&reply.text(), "UploadId").unwrap().to_owned()
}

async fn part(client: &Client, key: &str, id: &str, number: u32, body: Vec<u8>) -> String {
    let target = format!("/tier/{key}?partNumber={number}&uploadId={id}");
    client.put(&target, body).await.expect(200).header("etag").unwrap().to_owned()
}

fn manifest(parts: &[(u32, &str)]) -> String {
    let mut text = "<CompleteMultipartUpload>".to_owned();
    for (number, etag) in parts {
        let number = number.to_string();
        let part = ["<Part><PartNumber>", &number, "</PartNumber><ETag>", etag, "</ETag></Part>"];
        text += &part.concat();
    }
    text + "</CompleteMultipartUpload>"
}

async fn complete(
    client: &Client,
    key: &str,
    id: &str,
    parts: &[(u32, &str)],
) -> crate::raw::Reply {
    let target = format!("/tier/{key}?uploadId={id}");
    client.send("POST", &target, &[], manifest(parts)).await.unwrap()
}

#[tokio::test]
async fn rust_s3_streams_in_parts() {
    let server = Server::start().await;
    let bucket = server.bucket();
    let body = noise(1, 20 * MIB + 12_345);
    let put = bucket.put_object_stream(&mut body.as_slice(), "stream").await.unwrap();
    assert_eq!(put.status_code(), 200);
    let got = bucket.get_object("stream").await.unwrap();
    assert!(got.as_slice() == body, "the bytes differ");
    let (head, _) = bucket.head_object("stream").await.unwrap();
    let etag = head.e_tag.unwrap();
    assert!(etag.trim_matches('"').ends_with("-3"), "{etag}");
    assert!(server.wasabi().stats().requests["UploadPart"].ok >= 3);
    assert_eq!(server.wasabi().stats().storage.uploads, 0);
}

#[tokio::test]
async fn an_upload_survives_a_restart_and_becomes_an_object() {
    let mut server = Server::start().await;
    let client = server.client();
    let id = begin(&client, "big").await;
    let first = part(&client, "big", &id, 1, b"never used".to_vec()).await;
    let one = part(&client, "big", &id, 1, noise(1, 5 * MIB)).await;
    let three = part(&client, "big", &id, 3, noise(3, 7)).await;
    assert_ne!(first, one);
    server.restart().await;
    let client = server.client();
    client.get("/tier/big").await.expect_code(404, "NoSuchKey");

    let listed = client.get(&format!("/tier/big?uploadId={id}&max-parts=1")).await.expect(200);
    let text = listed.text();
    assert_eq!(elements(&text, "PartNumber"), ["1"]);
    assert_eq!(element(&text, "IsTruncated"), Some("true"));
    let target = format!("/tier/big?uploadId={id}&part-number-marker=1");
    let rest = client.get(&target).await.expect(200);
    assert_eq!(elements(&rest.text(), "PartNumber"), ["3"]);
    let uploads = client.get("/tier?uploads").await.expect(200);
    assert_eq!(elements(&uploads.text(), "UploadId"), [id.as_str()]);

    let reply = complete(&client, "big", &id, &[(1, &one), (3, &three)]).await.expect(200);
    // MD5 over the parts' MD5s, and the number of parts.
    let parts =
        [one.trim_matches('"'), three.trim_matches('"')].map(|etag| hex::decode(etag).unwrap());
    let md5 = <s3s::crypto::Md5 as s3s::crypto::Checksum>::checksum(&parts.concat());
    let got = client.get("/tier/big").await.expect(200);
    assert_eq!(got.header("etag"), Some(format!("\"{}-2\"", hex::encode(md5)).as_str()));
    assert!(reply.text().contains(&hex::encode(md5)));
    assert!(got.body == [noise(1, 5 * MIB), noise(3, 7)].concat(), "the bytes differ");
    assert_eq!(got.header("content-type"), Some("text/x-parts"));
    assert_eq!(got.header("x-amz-meta-a"), Some("1"));
    complete(&client, "big", &id, &[(1, &one)]).await.expect_code(404, "NoSuchUpload");
    server.restart().await;
    assert_eq!(server.wasabi().stats().storage.uploads, 0);
    server.client().get("/tier/big").await.expect(200);
}

#[tokio::test]
async fn an_abort_leaves_nothing() {
    let server = Server::start().await;
    let bucket = server.bucket();
    let upload = bucket.initiate_multipart_upload("key", "text/plain").await.unwrap();
    let id = upload.upload_id;
    let stored: Part =
        bucket.put_multipart_chunk(noise(1, 5 * MIB), "key", 1, &id, "text/plain").await.unwrap();
    assert_eq!(stored.part_number, 1);
    assert_eq!(server.wasabi().stats().storage.upload_bytes, 5 * MIB as u64);
    let pages = bucket.list_multiparts_uploads(None, None).await.unwrap();
    assert_eq!(pages[0].uploads.len(), 1);
    bucket.abort_upload("key", &id).await.unwrap();
    let stats = server.wasabi().stats();
    assert_eq!(
        (stats.storage.uploads, stats.storage.upload_bytes, stats.storage.objects),
        (0, 0, 0)
    );
    assert_eq!(stats.deleted_early.bytes, 5 * MIB as u64);
    let target = format!("/tier/key?partNumber=2&uploadId={id}");
    server.client().put(&target, "late").await.expect_code(404, "NoSuchUpload");
}

#[tokio::test]
async fn a_completion_is_checked() {
    let server = Server::start().await;
    let client = server.client();
    let id = begin(&client, "key").await;
    let one = part(&client, "key", &id, 1, noise(1, 5 * MIB - 1)).await;
    let two = part(&client, "key", &id, 2, noise(2, 10)).await;
    let try_parts = async |parts: &[(u32, &str)]| complete(&client, "key", &id, parts).await;
    try_parts(&[(1, &one), (2, &two)]).await.expect_code(400, "EntityTooSmall");
    try_parts(&[(2, &two), (1, &one)]).await.expect_code(400, "InvalidPartOrder");
    try_parts(&[(1, &two)]).await.expect_code(400, "InvalidPart");
    try_parts(&[(3, &one)]).await.expect_code(400, "InvalidPart");
    try_parts(&[]).await.expect_code(400, "MalformedXML");
    for number in [0, 10_001] {
        let target = format!("/tier/key?partNumber={number}&uploadId={id}");
        client.put(&target, "x").await.expect_code(400, "InvalidArgument");
    }
    let foreign = format!("/tier/other?partNumber=1&uploadId={id}");
    client.put(&foreign, "x").await.expect_code(404, "NoSuchUpload");
    try_parts(&[(1, &one)]).await.expect(200);
}

#[tokio::test]
async fn a_part_may_be_copied() {
    let server = Server::start().await;
    let client = server.client();
    let source = noise(1, 6 * MIB);
    client.put("/tier/source", source.clone()).await.expect(200);
    let id = begin(&client, "key").await;
    let mut etags = Vec::new();
    for (number, range) in [(1, None), (2, Some("bytes=100-299"))] {
        let mut headers = vec![("x-amz-copy-source", "/tier/source")];
        headers.extend(range.map(|range| ("x-amz-copy-source-range", range)));
        let target = format!("/tier/key?partNumber={number}&uploadId={id}");
        let reply = client.send("PUT", &target, &headers, "").await.unwrap().expect(200);
        etags.push(element(&reply.text(), "ETag").unwrap().to_owned());
    }
    complete(&client, "key", &id, &[(1, &etags[0]), (2, &etags[1])]).await.expect(200);
    let got = client.get("/tier/key").await.expect(200);
    assert!(got.body == [&source[..], &source[100..300]].concat(), "the bytes differ");
    let id = begin(&client, "key").await;
    let beyond =
        [("x-amz-copy-source", "/tier/source"), ("x-amz-copy-source-range", "bytes=0-99999999")];
    let target = format!("/tier/key?partNumber=1&uploadId={id}");
    let refused = client.send("PUT", &target, &beyond, "").await.unwrap();
    refused.expect_code(400, "InvalidArgument");
}

#[tokio::test]
async fn uploads_are_listed_in_pages() {
    let server = Server::start().await;
    let client = server.client();
    let mut ids = Vec::new();
    for key in ["a", "a", "b/1", "b/2", "c"] {
        ids.push(begin(&client, key).await);
    }
    let mut listed = Vec::new();
    let mut target = "/tier?uploads&max-uploads=2".to_owned();
    loop {
        let page = client.get(&target).await.expect(200).text();
        listed.extend(elements(&page, "UploadId").into_iter().map(str::to_owned));
        if element(&page, "IsTruncated") == Some("false") {
            break;
        }
        let key = element(&page, "NextKeyMarker").unwrap().replace('/', "%2F");
        let id = element(&page, "NextUploadIdMarker").unwrap();
        target = format!("/tier?uploads&max-uploads=2&key-marker={key}&upload-id-marker={id}");
    }
    assert_eq!(listed, ids);
    let rolled = client.get("/tier?uploads&delimiter=%2F").await.expect(200).text();
    assert_eq!(elements(&rolled, "CommonPrefixes"), ["<Prefix>b/</Prefix>"]);
    assert_eq!(elements(&rolled, "Key"), ["a", "a", "c"]);
}
