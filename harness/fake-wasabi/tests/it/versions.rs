//! Versioning.

use crate::raw::Client;
use crate::support::{Server, element, elements};

pub(crate) async fn set_versioning(client: &Client, status: &str) -> crate::raw::Reply {
    let body =
        format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    client.put("/tier?versioning", body).await
}

async fn put(client: &Client, key: &str, body: &'static str) -> Option<String> {
    let reply = client.put(&format!("/tier/{key}"), body).await.expect(200);
    reply.header("x-amz-version-id").map(str::to_owned)
}

#[tokio::test]
async fn every_version_is_kept_until_it_is_deleted_by_name() {
    let mut server = Server::start().await;
    let client = server.client();
    let status = client.get("/tier?versioning").await.expect(200);
    assert_eq!(element(&status.text(), "Status"), None);
    assert_eq!(put(&client, "key", "before").await, None);
    // The header as boto3 users write it; operations that need an MFA device are not implemented.
    let with_mfa = |mfa: &str| {
        format!(
            "<VersioningConfiguration><MfaDelete>{mfa}</MfaDelete><Status>Enabled</Status></VersioningConfiguration>"
        )
    };
    client.put("/tier?versioning", with_mfa("Disabled")).await.expect(200);
    client.put("/tier?versioning", with_mfa("Enabled")).await.expect_code(501, "NotImplemented");
    set_versioning(&client, "Enabled").await.expect(200);
    let one = put(&client, "key", "one").await.unwrap();
    let two = put(&client, "key", "two").await.unwrap();
    // Wasabi's own form: nanoseconds, a dash, ten characters.
    assert_eq!((two.len(), two.find('-')), (32, Some(21)), "{two}");
    assert!(one < two);

    let deleted = client.delete("/tier/key").await.expect(204);
    assert_eq!(deleted.header("x-amz-delete-marker"), Some("true"));
    let marker = deleted.header("x-amz-version-id").unwrap().to_owned();
    server.restart().await;
    let client = server.client();

    let gone = client.get("/tier/key").await.expect_code(404, "NoSuchKey");
    assert_eq!(gone.header("x-amz-delete-marker"), Some("true"));
    let by_name = client.get(&format!("/tier/key?versionId={marker}")).await;
    by_name.expect_code(405, "MethodNotAllowed");
    for (version, body) in [("null", "before"), (&one, "one"), (&two, "two")] {
        let got = client.get(&format!("/tier/key?versionId={version}")).await.expect(200);
        assert_eq!(got.text(), body);
    }
    client.get("/tier/key?versionId=unknown").await.expect_code(404, "NoSuchVersion");
    let listed = client.get("/tier?list-type=2").await.expect(200);
    assert_eq!(elements(&listed.text(), "Key"), [""; 0]);
    assert_eq!(server.wasabi().stats().storage.objects, 3);
    client.delete("/tier").await.expect_code(409, "BucketNotEmpty");

    client.delete(&format!("/tier/key?versionId={marker}")).await.expect(204);
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "two");
    client.delete(&format!("/tier/key?versionId={two}")).await.expect(204);
    assert_eq!(client.get("/tier/key").await.expect(200).text(), "one");
    let copy = [("x-amz-copy-source", "/tier/key?versionId=null")];
    client.send("PUT", "/tier/copy", &copy, "").await.unwrap().expect(200);
    assert_eq!(client.get("/tier/copy").await.expect(200).text(), "before");
}

#[tokio::test]
async fn suspending_keeps_one_null_version() {
    let server = Server::start().await;
    let client = server.client();
    set_versioning(&client, "Enabled").await.expect(200);
    put(&client, "key", "one").await.unwrap();
    set_versioning(&client, "Suspended").await.expect(200);
    assert_eq!(put(&client, "key", "two").await, None);
    assert_eq!(put(&client, "key", "three").await, None);
    let listed = client.get("/tier?versions").await.expect(200).text();
    assert_eq!(elements(&listed, "VersionId").len(), 2);
    assert_eq!(elements(&listed, "VersionId")[0], "null");
    assert_eq!(elements(&listed, "IsLatest"), ["true", "false"]);
    // The delete marker takes the place of the null version.
    client.delete("/tier/key").await.expect(204);
    client.get("/tier/key?versionId=null").await.expect_code(405, "MethodNotAllowed");
    let status = client.get("/tier?versioning").await.expect(200);
    assert_eq!(element(&status.text(), "Status"), Some("Suspended"));
    set_versioning(&client, "Sometimes").await.expect(400);
}

#[tokio::test]
async fn versions_are_listed_in_pages_of_any_size() {
    let server = Server::start().await;
    let client = server.client();
    set_versioning(&client, "Enabled").await.expect(200);
    for key in ["a", "b", "d/1", "d/2", "e"] {
        for body in ["1", "2", "3"] {
            put(&client, key, body).await.unwrap();
        }
    }
    client.delete("/tier/b").await.expect(204);
    let whole = client.get("/tier?versions").await.expect(200).text();
    let all: Vec<String> = elements(&whole, "VersionId").into_iter().map(str::to_owned).collect();
    assert_eq!(all.len(), 16);
    assert_eq!(elements(&whole, "DeleteMarker").len(), 1);

    for size in [1, 2, 5, 7] {
        let pages = pages(&client, &format!("/tier?versions&max-keys={size}")).await;
        let mut listed: Vec<String> = Vec::new();
        for page in &pages {
            let ids = elements(page, "VersionId");
            assert!(ids.len() <= size, "{page}");
            listed.extend(ids.into_iter().map(str::to_owned));
        }
        // Within a page, versions and delete markers are separate; over all pages, none is missing.
        let sort = |mut ids: Vec<String>| {
            ids.sort();
            ids
        };
        assert_eq!(sort(listed), sort(all.clone()), "{size} at a time");
    }
    let pages = pages(&client, "/tier?versions&delimiter=%2F&max-keys=4").await;
    let rolled: Vec<_> = pages.iter().flat_map(|page| elements(page, "CommonPrefixes")).collect();
    assert_eq!(rolled, ["<Prefix>d/</Prefix>"]);
    let ids: usize = pages.iter().map(|page| elements(page, "VersionId").len()).sum();
    assert_eq!(ids, 10);
}

async fn pages(client: &Client, target: &str) -> Vec<String> {
    let mut pages = Vec::new();
    let mut next = target.to_owned();
    loop {
        let page = client.get(&next).await.expect(200).text();
        let more = element(&page, "IsTruncated") == Some("true");
        if more {
            let key = element(&page, "NextKeyMarker").unwrap().replace('/', "%2F");
            let version = element(&page, "NextVersionIdMarker");
            next = format!("{target}&key-marker={key}");
            if let Some(version) = version {
                next += &["&version-id-marker=", version].concat();
            }
        }
        pages.push(page);
        if !more {
            return pages;
        }
    }
}
