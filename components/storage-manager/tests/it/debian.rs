//! docs/debian.md, done as it says where that takes no systemd, and compared with what nixos/lib renders. `ci/vm/debian`
//! does the rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Lab, SECRET, USER, required_tool};

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// The block that has a text in it.
fn block(with: &str) -> String {
    let page = read("docs/debian.md");
    let blocks = page.split("```").skip(1).step_by(2);
    let found: Vec<_> = blocks.filter(|block| block.contains(with)).collect();
    let [block] = found[..] else { panic!("{} blocks have `{with}`", found.len()) };
    block.split_once('\n').unwrap().1.to_owned()
}

/// The subjects that stand in quotes behind a key.
fn quoted(text: &str, key: &str) -> BTreeSet<String> {
    let (_, list) = text.split_once(&format!("{key}: [")).unwrap();
    let list = list.split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn what_it_says_is_what_is_rendered() {
    let unit = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.contains('=') && !line.starts_with('#'));
        // The lab has other addresses, an nkey for a password, and its own name for NATS's unit.
        let own = ["IPAddressAllow", "LoadCredential", "After", "Wants", "WantedBy"];
        lines
            .filter(|line| !own.contains(&line.split('=').next().unwrap()))
            .map(str::to_owned)
            .collect()
    };
    let rendered = "fixtures/rendered/lab/host/etc/systemd/system/cim-storage-manager";
    let service = |more: &str| read(&format!("{rendered}{more}.service"));
    assert_eq!(unit(&block("LoadCredential")), unit(&service("")));
    let (said, watch) = (unit(&block("--no-block")), unit(&service("-secrets")));
    // The page leaves the sandbox of what runs for a moment out.
    assert!(said.is_subset(&watch), "{said:?}");
    let runs = |lines: &BTreeSet<String>| {
        let lines = lines.iter().filter(|line| line.starts_with("Exec") || line.contains("Limit"));
        lines.cloned().collect::<Vec<_>>()
    };
    assert_eq!(runs(&said), runs(&watch));
    // What is handed over is watched, here and there.
    let watched = |service: &str, watch: &str| {
        let files = |of: &str, key: &str| -> BTreeSet<String> {
            let lines = of.lines().filter(|line| line.starts_with(key));
            lines.map(|line| line.rsplit(['=', ':']).next().unwrap().to_owned()).collect()
        };
        assert_eq!(files(watch, "PathChanged="), files(service, "LoadCredential="));
    };
    watched(&block("LoadCredential"), &block("PathChanged"));
    watched(&service(""), &read(&format!("{rendered}-secrets.path")));

    let policy: Value = serde_json::from_str(&block("s3:PutObject")).unwrap();
    let rendered: Value =
        serde_json::from_str(&read("fixtures/rendered/lab/nas/etc/cim/nas-policy.json")).unwrap();
    assert_eq!(policy, rendered);

    let server = read("fixtures/rendered/lab/host/etc/nats-server.conf");
    let server: Value = serde_json::from_str(server.split_once('\n').unwrap().1).unwrap();
    let users = server["accounts"]["CIM"]["users"].as_array().unwrap();
    let list = |user: &Value, what: &str| -> BTreeSet<String> {
        let list = user["permissions"][what]["allow"].as_array().into_iter().flatten();
        list.map(|subject| subject.as_str().unwrap().to_owned()).collect()
    };
    let tiers = |user: &&Value| list(user, "publish").contains("$JS.API.STREAM.LIST");
    let ours = users.iter().find(tiers).unwrap();
    let said = block("password: NATS_PASSWORD");
    for what in ["publish", "subscribe"] {
        assert_eq!(quoted(&said, what), list(ours, what), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn done_as_it_says_it_archives_and_restores() {
    let users =
        block("password: NATS_PASSWORD").replace("cim-tier-cim-archive", "cim-tier-archive");
    let users = users.replace("NATS_PASSWORD", "one").replace("APP_PASSWORD", "two");
    // The test is the application.
    let users = format!("{users}no_auth_user: app\n");
    let lab = Lab::with().own_nas().server(users).start().await;
    let commands = block("mc admin user add")
        .replace("http://192.168.1.20:9000", &lab.nas.url)
        // The tests' MinIO begins with a bucket.
        .replace("cim-archive", "archive")
        .replace("mc mb ", "mc mb --ignore-existing ")
        .replace("ADMIN_PASSWORD", SECRET)
        .replace("ADMIN", USER)
        .replace("storage-manager SECRET", "storage-manager another-secret");
    let policy = block("s3:PutObject").replace("cim-archive", "archive");
    std::fs::write(lab.path("policy.json"), policy).unwrap();
    let bin = required_tool("bin/mc");
    let (bin, home) = (bin.parent().unwrap().display(), lab.dir().display());
    let output = Command::new("bash")
        .args(["-euc", &format!("export PATH={bin}:$PATH MC_CONFIG_DIR={home}/mc\n{commands}")])
        .current_dir(lab.dir())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    std::fs::write(lab.path("nats-password"), "one\n").unwrap();
    let credentials = "AWS_ACCESS_KEY_ID=storage-manager\nAWS_SECRET_ACCESS_KEY=another-secret\n";
    std::fs::write(lab.path("nas.env"), credentials).unwrap();
    let config = block("[secondary]")
        .replace("nats://127.0.0.1:4222", &lab.nats.url)
        .replace("http://192.168.1.20:9000", &lab.nas.url)
        .replace("cim-archive", "archive")
        .replace("/run/credentials/cim-storage-manager.service", &lab.dir().display().to_string());
    std::fs::write(lab.manager.config(), config).unwrap();

    lab.nats.create("ORDERS", json!({ "subjects": ["orders.>"] })).await;
    let daemon = lab.manager.tier().await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    for n in 0..20 {
        jetstream.publish(format!("orders.{n}"), "x".into()).await.unwrap().await.unwrap();
    }
    lab.manager.reaches("ORDERS", "nas", 20).await;
    assert!(!daemon.log().contains("Permissions Violation"), "{}", daemon.log());
    let steps = block("cim-run-storage-manager verify");
    let steps = steps.lines().filter_map(|line| line.strip_prefix("sudo cim-run-storage-manager "));
    for step in steps {
        let words: Vec<_> = step.split(' ').map(|word| word.trim_matches('\'')).collect();
        let output = lab.manager.run(&words);
        assert!(output.status.success(), "{step}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(lab.nats.info("REHEARSAL").await["state"]["messages"], 20);
    daemon.stop().await;
}
