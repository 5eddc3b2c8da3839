//! What tiering needs is looked for before it begins, and all that is missing is said at once.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Lab, wait_until};

/// Starts a lab whose storage manager may do everything in NATS.
async fn unrestricted() -> Lab<FakeWasabi> {
    let server = server("\">\"", "\">\"");
    Lab::with().faulty_nas().login("manager", "secret").server(server).start().await
}

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

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_missing_on_both_sides_is_one_line() {
    let lab = Lab::with()
        .faulty_nas()
        .login("manager", "secret")
        .server(server(LITTLE, "\"_INBOX.>\""))
        .start()
        .await;
    lab.nas.set_faults(vec![Rule::new(Fault::ReadOnly).operation("PutObject")]).unwrap();
    lab.nats.create("EVENTS", json!({})).await;
    for command in [&["check"][..], &["tier", "--ready-file", &lab.path("ready").to_string_lossy()]]
    {
        let (status, error) = lab.manager.error(command);
        assert_eq!(
            (status, error.as_str()),
            (
                3,
                "error: rights are missing: allow the NATS user to publish `$JS.API.STREAM.LIST`, \
                 `$JS.API.STREAM.MSG.GET.*`; allow the key for NAS `s3:PutObject` on \
                 `arn:aws:s3:::archive/*`"
            )
        );
        assert!(!lab.path("ready").exists());
    }
    // Without an inbox nothing can be asked, and all is named even so.
    lab.nats.reload(&server("\"$JS.API.STREAM.NAMES\"", "\"none\""));
    let (status, error) = lab.manager.error(&["check"]);
    assert_eq!(status, 3, "{error}");
    assert!(error.contains("user to publish `$JS.API.STREAM.LIST`, "), "{error}");
    let end = "`$JS.API.CONSUMER.DELETE.*.*` and subscribe to `_INBOX.>`, or set `nats.inbox_prefix` to what it may hear; allow the key";
    assert!(error.contains(end), "{error}");

    // One stream is all that this user may ask for, and it is enough.
    lab.nats.reload(&server(ENOUGH, "\"_INBOX.>\", \"cim.service.storage.>\""));
    lab.nas.set_faults(Vec::new()).unwrap();
    let output = lab.manager.run(&["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.ends_with("\nall that tiering needs is there\n"), "{said}");
    assert!(
        said.contains("note: for `restore` allow the NATS user to publish `$JS.API.INFO`, "),
        "{said}"
    );
    let daemon = lab.manager.tier().await;
    lab.nats.publish("EVENTS", 10).await;
    lab.manager.reaches("EVENTS", "nas", 10).await;
    daemon.stop().await;
}

/// A host that boots starts both, and the one that is faster waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_just_starting_is_waited_for() {
    let lab = Lab::with().faulty_nas().start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let manager = lab.manager_with("early", |settings| settings.nats = format!("nats://{address}"));
    let log = manager.config().with_extension("log");
    let to = lab.nats.url.trim_start_matches("nats://").to_owned();
    let comes = async {
        wait_until("it has found nobody there", async || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            if log.contains("waiting for NATS: ") { Ok(()) } else { Err(log) }
        })
        .await;
        let listener = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let to = to.clone();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(to).await.unwrap();
                    drop(copy_bidirectional(&mut here, &mut there).await);
                });
            }
        });
    };
    let (daemon, ()) = tokio::join!(manager.tier(), comes);
    daemon.stop().await;
}

/// What is answered goes where the user hears nothing: one line says what to set, whatever the command, and at once.
#[tokio::test(flavor = "multi_thread")]
async fn an_inbox_that_may_not_be_heard_is_named_with_the_one_that_may() {
    let server = server("\">\"", "\"_INBOX_storage.>\", \"cim.service.storage.>\"");
    let lab = Lab::with().faulty_nas().login("manager", "secret").server(server).start().await;
    for prefix in ["", "inbox_prefix = \"_INBOX_storag\"\n"] {
        let said = prefix.split('"').nth(1).unwrap_or("_INBOX");
        let manager = lab.manager_with("wrong", |settings| settings.login += prefix);
        for command in [&["check"][..], &["tier"], &["status"], &["restore", "--all"]] {
            let began = std::time::Instant::now();
            let (status, error) = manager.error(command);
            let expected = format!(
                "error: rights are missing: allow the NATS user to subscribe to `{said}.>`, or set \
                 `nats.inbox_prefix` to `_INBOX_storage`, which it may hear"
            );
            assert_eq!((status, error), (3, expected), "{command:?}");
            assert!(began.elapsed().as_secs() < 10, "{command:?} asks nobody");
        }
    }
    let right = "inbox_prefix = \"_INBOX_storage\"\n";
    let manager = lab.manager_with("right", |settings| settings.login += right);
    assert!(manager.run(&["check"]).status.success());
}

/// A file of secrets that every user may read is named; where only its owner may there is nothing to say.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_all_may_read_are_named() {
    let lab = unrestricted().await;
    let files = [lab.path("manager.password"), lab.path("host.env")];
    for mode in [0o600, 0o644] {
        for file in &files {
            fs::set_permissions(file, fs::Permissions::from_mode(mode)).unwrap();
        }
        let checked = lab.manager.run(&["check"]);
        let daemon = lab.manager.tier().await;
        let log = daemon.log();
        daemon.stop().await;
        for said in [String::from_utf8(checked.stdout).unwrap(), log] {
            for file in &files {
                let file = file.display();
                let line =
                    format!("can read secret `{file}` (its mode is 0644): `chmod 0600 {file}`");
                assert_eq!(said.contains(&line), mode == 0o644, "{said}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_archive_stands_on_is_tried() {
    let lab = unrestricted().await;
    for (fault, status, says) in [
        (Fault::Overwrite, 2, "does not honour `If-None-Match` for all who write at once"),
        (Fault::Unchecked, 4, "stores an object that is not what its `x-amz-checksum-crc32c` says"),
    ] {
        lab.nas.set_faults(vec![Rule::new(fault)]).unwrap();
        let (found, error) = lab.manager.error(&["tier"]);
        assert_eq!(found, status, "{error}");
        assert!(error.contains(says), "{error}");
    }
    lab.nas.set_faults(Vec::new()).unwrap();
    // By another name it is the same bucket.
    let twice = lab.manager_with("twice", |settings| {
        settings.wasabi = Some(lab.nas.s3_url().replace("127.0.0.1", "localhost"));
    });
    let (status, error) = twice.error(&["check"]);
    assert_eq!(status, 2, "{error}");
    let named = "are the same bucket, `archive`: losing it";
    assert!(error.contains(named), "{error}");
    // Nothing waits for Wasabi, so the daemon does not end.
    let daemon = twice.tier().await;
    daemon.says(named).await;
    daemon.stop().await;
}
