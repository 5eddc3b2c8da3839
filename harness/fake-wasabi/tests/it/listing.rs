//! Listings over HTTP; the order and the paging themselves are tested with the code.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};

use crate::raw::Client;
use crate::support::{Server, element, elements};

/// Stores empty objects, several at a time.
async fn fill(client: &Client, keys: impl Iterator<Item = String>) {
    stream::iter(keys)
        .for_each_concurrent(16, |key| async move {
            client.put(&format!("/tier/{key}"), "").await.expect(200);
        })
        .await;
}

#[tokio::test]
async fn more_than_a_thousand_keys_come_in_pages() {
    let mut server = Server::start().await;
    let keys: BTreeSet<String> =
        (0..2345).map(|n| format!("{}/{n:05}", if n % 3 == 0 { "a" } else { "b" })).collect();
    fill(&server.client(), keys.iter().cloned()).await;
    server.restart().await;
    let client = server.client();

    let pages = server.bucket().list(String::new(), None).await.unwrap();
    assert_eq!(pages.iter().map(|page| page.contents.len()).collect::<Vec<_>>(), [1000, 1000, 345]);
    let listed: Vec<_> = pages.iter().flat_map(|page| &page.contents).map(|o| &o.key).collect();
    assert!(listed.into_iter().eq(&keys), "not the keys that were put, in order");

    let rolled = server.bucket().list(String::new(), Some("/".to_owned())).await.unwrap();
    let prefixes: Vec<_> = rolled
        .iter()
        .flat_map(|page| page.common_prefixes.iter().flatten())
        .map(|common| common.prefix.as_str())
        .collect();
    assert_eq!(prefixes, ["a/", "b/"]);
    assert_eq!(rolled[0].contents.len(), 0);

    let few = client.get("/tier?list-type=2&prefix=b%2F&start-after=b%2F00009&max-keys=3").await;
    let few = few.expect(200).text();
    assert_eq!(elements(&few, "Key"), ["b/00010", "b/00011", "b/00013"]);
    assert_eq!(element(&few, "IsTruncated"), Some("true"));
    let token = element(&few, "NextContinuationToken").unwrap();
    let target = format!("/tier?list-type=2&prefix=b%2F&max-keys=1&continuation-token={token}");
    let next = client.get(&target).await.expect(200);
    assert_eq!(elements(&next.text(), "Key"), ["b/00014"]);
    let empty = client.get("/tier?list-type=2&max-keys=1&continuation-token=").await.expect(200);
    assert_eq!(elements(&empty.text(), "Key"), ["a/00000"]);
    client
        .get("/tier?list-type=2&continuation-token=nonsense")
        .await
        .expect_code(400, "InvalidArgument");

    // Version 1, as rclone lists.
    let first = client.get("/tier?prefix=a%2F&max-keys=2").await.expect(200).text();
    assert_eq!(elements(&first, "Key"), ["a/00000", "a/00003"]);
    assert_eq!(element(&first, "NextMarker"), None);
    let second = client.get("/tier?prefix=a%2F&max-keys=2&marker=a%2F00003").await.expect(200);
    assert_eq!(elements(&second.text(), "Key"), ["a/00006", "a/00009"]);
    let rolled = client.get("/tier?delimiter=%2F&max-keys=1").await.expect(200).text();
    assert_eq!(element(&rolled, "NextMarker"), Some("a/"));
    let rest = client.get("/tier?delimiter=%2F&marker=a%2F").await.expect(200).text();
    assert_eq!(elements(&rest, "CommonPrefixes"), ["<Prefix>b/</Prefix>"]);
}

#[tokio::test]
async fn keys_are_encoded_when_asked() {
    let server = Server::start().await;
    let client = server.client();
    fill(&client, ["d%20d/%01x", "d%20d/a%2Bb"].map(str::to_owned).into_iter()).await;
    let listed = client.get("/tier?list-type=2&encoding-type=url&prefix=d%20").await.expect(200);
    let text = listed.text();
    assert_eq!(elements(&text, "Key"), ["d%20d/%01x", "d%20d/a%2Bb"]);
    assert_eq!(elements(&text, "Prefix"), ["d%20"]);
    client.get("/tier?encoding-type=base64").await.expect_code(400, "InvalidArgument");
}

#[tokio::test]
async fn nothing_matches_and_nothing_is_asked_for() {
    let server = Server::start().await;
    let client = server.client();
    client.put("/tier/key", "x").await.expect(200);
    for query in ["prefix=other", "max-keys=0", "start-after=zzz"] {
        let listed = client.get(&format!("/tier?list-type=2&{query}")).await.expect(200).text();
        assert_eq!(element(&listed, "KeyCount"), Some("0"), "{query}");
        assert_eq!(element(&listed, "IsTruncated"), Some("false"), "{query}");
    }
    client.get("/absent?list-type=2").await.expect_code(404, "NoSuchBucket");
    client.get("/tier?list-type=2&max-keys=-1").await.expect_code(400, "InvalidArgument");
}
