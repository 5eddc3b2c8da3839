//! Object lock.

use std::time::{Duration, SystemTime};

use s3s::dto::{Timestamp, TimestampFormat};

use crate::raw::{Client, Reply};
use crate::support::{Server, element};
use crate::versions::set_versioning;

const DAY: Duration = Duration::from_hours(24);

fn in_days(days: u32) -> String {
    let mut text = Vec::new();
    let moment = Timestamp::from(SystemTime::now() + days * DAY);
    moment.format(TimestampFormat::DateTime, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// Starts a server with a bucket `locked` that has object lock.
async fn start() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client();
    let headers = [("x-amz-bucket-object-lock-enabled", "true")];
    client.send("PUT", "/locked", &headers, "").await.unwrap().expect(200);
    (server, client)
}

/// Puts an object and returns the target of its version.
async fn put(client: &Client, headers: &[(&str, &str)]) -> String {
    let reply = client.send("PUT", "/locked/key", headers, "x").await.unwrap().expect(200);
    format!("/locked/key?versionId={}", reply.header("x-amz-version-id").unwrap())
}

async fn delete(client: &Client, target: &str, bypass: bool) -> Reply {
    let header = [("x-amz-bypass-governance-retention", "true")];
    let headers = if bypass { &header[..] } else { &[] };
    client.send("DELETE", target, headers, "").await.unwrap()
}

async fn retain(client: &Client, target: &str, mode: &str, days: u32, bypass: bool) -> Reply {
    let body = format!(
        "<Retention><Mode>{mode}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
        in_days(days)
    );
    let header = [("x-amz-bypass-governance-retention", "true")];
    let headers = if bypass { &header[..] } else { &[] };
    let target = target.replace('?', "?retention&");
    client.send("PUT", &target, headers, body).await.unwrap()
}

#[tokio::test]
async fn governance_holds_until_bypassed_or_over() {
    let (mut server, client) = start().await;
    let until = in_days(10);
    let lock = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", &*until),
    ];
    let first = put(&client, &lock).await;
    let second = put(&client, &lock).await;
    let head = client.send("HEAD", &first, &[], "").await.unwrap().expect(200);
    assert_eq!(head.header("x-amz-object-lock-mode"), Some("GOVERNANCE"));
    server.restart().await;
    let client = server.client();

    delete(&client, &first, false).await.expect_code(403, "AccessDenied");
    delete(&client, &first, true).await.expect(204);
    // Shortening needs the bypass, prolonging does not.
    retain(&client, &second, "governance", 5, false).await.expect_code(403, "AccessDenied");
    retain(&client, &second, "governance", 20, false).await.expect(200);
    retain(&client, &second, "Governance", 15, true).await.expect(200);
    server.wasabi().advance_clock(14 * DAY);
    delete(&client, &second, false).await.expect_code(403, "AccessDenied");
    server.wasabi().advance_clock(2 * DAY);
    delete(&client, &second, false).await.expect(204);
}

#[tokio::test]
async fn compliance_holds_against_everyone() {
    let (mut server, client) = start().await;
    let version = put(&client, &[]).await;
    retain(&client, &version, "COMPLIANCE", 10, false).await.expect(200);
    server.restart().await;
    let client = server.client();
    delete(&client, &version, true).await.expect_code(403, "AccessDenied");
    retain(&client, &version, "COMPLIANCE", 5, true).await.expect_code(403, "AccessDenied");
    retain(&client, &version, "GOVERNANCE", 20, true).await.expect_code(403, "AccessDenied");
    retain(&client, &version, "COMPLIANCE", 20, false).await.expect(200);
    let kept = client.get(&version.replace('?', "?retention&")).await.expect(200);
    assert_eq!(element(&kept.text(), "Mode"), Some("COMPLIANCE"));

    // A delete without a version only hides the object.
    let hidden = client.delete("/locked/key").await.expect(204);
    assert_eq!(hidden.header("x-amz-delete-marker"), Some("true"));
    client.get("/locked/key").await.expect(404);
    client.get(&version).await.expect(200);
    let body = format!(
        "<Delete><Object><Key>key</Key><VersionId>{}</VersionId></Object></Delete>",
        version.split_once('=').unwrap().1
    );
    let many = client.send("POST", "/locked?delete", &[], body).await.unwrap().expect(200);
    assert_eq!(element(&many.text(), "Code"), Some("AccessDenied"));
    server.wasabi().advance_clock(21 * DAY);
    delete(&client, &version, false).await.expect(204);
}

#[tokio::test]
async fn a_legal_hold_outlasts_retention() {
    let (server, client) = start().await;
    let version = put(&client, &[("x-amz-object-lock-legal-hold", "ON")]).await;
    let hold = version.replace('?', "?legal-hold&");
    delete(&client, &version, true).await.expect_code(403, "AccessDenied");
    server.wasabi().advance_clock(1000 * DAY);
    delete(&client, &version, true).await.expect_code(403, "AccessDenied");
    let status = client.get(&hold).await.expect(200);
    assert_eq!(element(&status.text(), "Status"), Some("ON"));
    let off = "<LegalHold><Status>off</Status></LegalHold>";
    client.put(&hold, off).await.expect(200);
    delete(&client, &version, false).await.expect(204);
}

#[tokio::test]
async fn a_bucket_may_retain_by_default() {
    let (mut server, client) = start().await;
    let default = |mode: &str, period: &str| {
        format!(
            "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>\
             <DefaultRetention><Mode>{mode}</Mode>{period}</DefaultRetention></Rule>\
             </ObjectLockConfiguration>"
        )
    };
    let before = put(&client, &[]).await;
    let set = default("COMPLIANCE", "<Days>3</Days>");
    client.put("/locked?object-lock", set).await.expect(200);
    let both = default("COMPLIANCE", "<Days>3</Days><Years>1</Years>");
    client.put("/locked?object-lock", both).await.expect_code(400, "MalformedXML");
    server.restart().await;
    let client = server.client();
    let shown = client.get("/locked?object-lock").await.expect(200).text();
    assert_eq!((element(&shown, "Mode"), element(&shown, "Days")), (Some("COMPLIANCE"), Some("3")));
    let after = put(&client, &[]).await;
    delete(&client, &before, false).await.expect(204);
    delete(&client, &after, true).await.expect_code(403, "AccessDenied");
    server.wasabi().advance_clock(3 * DAY + Duration::from_secs(1));
    delete(&client, &after, false).await.expect(204);
}

#[tokio::test]
async fn lock_needs_a_bucket_that_was_made_for_it() {
    let (_server, client) = start().await;
    let until = in_days(1);
    let lock = [
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-object-lock-retain-until-date", &*until),
    ];
    let refused = client.send("PUT", "/tier/key", &lock, "x").await.unwrap();
    refused.expect_code(400, "InvalidRequest");
    client.put("/tier/key", "x").await.expect(200);
    let enable = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    client.put("/tier?object-lock", enable).await.expect_code(409, "InvalidBucketState");
    let none = client.get("/tier?object-lock").await;
    none.expect_code(404, "ObjectLockConfigurationNotFoundError");
    client.get("/tier/key?retention").await.expect_code(400, "InvalidRequest");

    // Versioning came with the lock and stays.
    let status = client.get("/locked?versioning").await.expect(200);
    assert_eq!(element(&status.text(), "Status"), Some("Enabled"));
    let suspend = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>";
    client.put("/locked?versioning", suspend).await.expect_code(409, "InvalidBucketState");
    set_versioning(&client, "Suspended").await.expect(200);

    let past = "2001-01-01T00:00:00Z";
    let lock =
        [("x-amz-object-lock-mode", "COMPLIANCE"), ("x-amz-object-lock-retain-until-date", past)];
    let refused = client.send("PUT", "/locked/key", &lock, "x").await.unwrap();
    refused.expect_code(400, "InvalidArgument");
}

#[tokio::test]
async fn a_change_of_mode_needs_the_bypass_and_a_known_word() {
    let (_server, client) = start().await;
    let version = put(&client, &[]).await;
    retain(&client, &version, "GOVERNANCE", 5, false).await.expect(200);
    retain(&client, &version, "COMPLIANCE", 9, false).await.expect_code(403, "AccessDenied");
    retain(&client, &version, "COMPLIANCE", 9, true).await.expect(200);
    retain(&client, &version, "FOREVER", 10, false).await.expect_code(400, "MalformedXML");
    let hold = "<LegalHold><Status>maybe</Status></LegalHold>";
    let target = version.replace('?', "?legal-hold&");
    client.put(&target, hold).await.expect_code(400, "MalformedXML");
}
