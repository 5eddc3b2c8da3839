//! What tiering needs is looked for before it begins, and all that is missing is said at once.

use std::path::Path;

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::support::{Manager, Nats, Settings, fake_s3};

fn server(publish: &str, subscribe: &str) -> String {
    format!(
        "server_name: one\nno_auth_user: a\naccounts {{ A {{ jetstream: enabled, users: [\n\
         {{ user: a, password: a }},\n\
         {{ user: manager, password: secret, permissions: {{\n\
           publish: {{ allow: [{publish}] }}, subscribe: {{ allow: [{subscribe}] }}\n\
         }} }}\n] }} }}"
    )
}

const LITTLE: &str =
    "\"$JS.API.STREAM.NAMES\", \"$JS.API.STREAM.INFO.EVENTS\", \"$JS.API.CONSUMER.>\"";
const ENOUGH: &str = "\"$JS.API.STREAM.NAMES\", \"$JS.API.STREAM.LIST\", \"$JS.API.*.*.EVENTS\", \"$JS.API.STREAM.MSG.GET.EVENTS\", \"$JS.API.CONSUMER.*.EVENTS.*\", \"$JS.API.CONSUMER.MSG.NEXT.EVENTS.*\", \"cim.service.storage.>\"";

fn settings(dir: &Path, nats: &Nats, nas: &str) -> Settings {
    let password = dir.join("password");
    std::fs::write(&password, "secret").unwrap();
    let mut settings = Settings::new(&nats.url, nas);
    settings.login = format!("user = \"manager\"\npassword_file = \"{}\"\n", password.display());
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_missing_on_both_sides_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let nas = fake_s3(path, "nas").await;
    nas.set_faults(vec![Rule::new(Fault::ReadOnly).operation("PutObject")]).unwrap();
    let nats = Nats::start_with(&path.join("host"), &server(LITTLE, "\"_INBOX.>\"")).await;
    nats.create("EVENTS", json!({})).await;
    let manager = Manager::new(path, "host", &settings(path, &nats, &nas.s3_url()));
    for command in
        [&["check"][..], &["tier", "--ready-file", &path.join("ready").to_string_lossy()]]
    {
        let (status, error) = manager.error(command);
        assert_eq!(
            (status, error.as_str()),
            (
                3,
                "error: rights are missing: allow the NATS user to publish `$JS.API.STREAM.LIST`, \
                 `$JS.API.STREAM.MSG.GET.*`; allow the key for nas `s3:PutObject` on \
                 `arn:aws:s3:::archive/*`"
            )
        );
        assert!(!path.join("ready").exists());
    }
    // Without an inbox nothing can be asked, and all is named even so.
    nats.reload(&server("\"$JS.API.STREAM.NAMES\"", "\"none\""));
    let (status, error) = manager.error(&["check"]);
    assert_eq!(status, 3, "{error}");
    assert!(error.contains("user to publish `$JS.API.STREAM.LIST`, "), "{error}");
    let end = "`$JS.API.CONSUMER.DELETE.*.*` and subscribe to `_INBOX.>`; allow the key";
    assert!(error.contains(end), "{error}");

    // One stream is all that this user may ask for, and it is enough.
    nats.reload(&server(ENOUGH, "\"_INBOX.>\", \"cim.service.storage.>\""));
    nas.set_faults(Vec::new()).unwrap();
    let output = manager.run(&["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("\nall that tiering needs is there\n"), "{said}");
    assert!(
        said.contains("note: for `restore` allow the NATS user to publish `$JS.API.INFO`, "),
        "{said}"
    );
    let daemon = manager.tier().await;
    nats.publish("EVENTS", 10).await;
    manager.reaches("EVENTS", "nas", 10).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_archive_stands_on_is_tried() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let nas = fake_s3(path, "nas").await;
    let nats = Nats::start_with(&path.join("host"), &server("\">\"", "\">\"")).await;
    let mut settings = settings(path, &nats, &nas.s3_url());
    let manager = Manager::new(path, "host", &settings);
    for (fault, status, says) in [
        (Fault::Overwrite, 2, "does not honour `If-None-Match` for all who write at once"),
        (Fault::Unchecked, 4, "stores an object that is not what its `x-amz-checksum-crc32c` says"),
    ] {
        nas.set_faults(vec![Rule::new(fault)]).unwrap();
        let (found, error) = manager.error(&["tier"]);
        assert_eq!(found, status, "{error}");
        assert!(error.contains(says), "{error}");
    }
    nas.set_faults(Vec::new()).unwrap();
    // By another name it is the same bucket.
    settings.wasabi = Some(nas.s3_url().replace("127.0.0.1", "localhost"));
    let (status, error) = Manager::new(path, "twice", &settings).error(&["check"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("are the same bucket, `archive`: losing it"), "{error}");
}
