//! mc, MinIO's client, which this project did not write.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use cim_fake_wasabi::Config;
use cim_testing::optional_tool;
use serde_json::Value;

use crate::support::{Server, noise};

struct Mc {
    program: PathBuf,
    endpoint: String,
    home: tempfile::TempDir,
}

impl Mc {
    /// Runs mc with an alias `wasabi` and an empty environment.
    fn run(&self, args: &[&str]) -> Output {
        let address = self.endpoint.trim_start_matches("http://");
        let (key, secret) = (Config::TEST_ACCESS_KEY, Config::TEST_SECRET_KEY);
        Command::new(&self.program)
            .args(["--json", "--config-dir"])
            .arg(self.home.path())
            .args(args)
            .env_clear()
            .env("HOME", self.home.path())
            .env("MC_HOST_wasabi", format!("http://{key}:{secret}@{address}"))
            .output()
            .unwrap()
    }

    /// Runs it, expects success, and returns its stdout.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> Vec<u8> {
        let output = self.run(args);
        let said = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mc {args:?}: {said}{stderr}");
        output.stdout
    }

    /// Runs it and returns the JSON documents on its stdout.
    #[track_caller]
    fn rows(&self, args: &[&str]) -> Vec<Value> {
        let printed = self.ok(args);
        serde_json::Deserializer::from_slice(&printed).into_iter().map(Result::unwrap).collect()
    }

    /// Runs a listing and returns its keys, sorted.
    #[track_caller]
    fn keys(&self, args: &[&str]) -> Vec<String> {
        let rows = self.rows(args);
        let mut keys: Vec<_> = rows.iter().map(|r| r["key"].as_str().unwrap().to_owned()).collect();
        keys.sort();
        keys
    }
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

async fn start(test: &str) -> Option<(Server, Mc)> {
    let program = optional_tool("bin/mc", test)?;
    let server = Server::start().await;
    let endpoint = server.wasabi().s3_url();
    Some((server, Mc { program, endpoint, home: tempfile::tempdir().unwrap() }))
}

#[tokio::test(flavor = "multi_thread")]
async fn mc_makes_buckets_copies_mirrors_and_removes() {
    let Some((server, mc)) = start("mc_makes_buckets_copies_mirrors_and_removes").await else {
        return;
    };
    mc.ok(&["mb", "wasabi/made"]);
    assert_eq!(mc.keys(&["ls", "wasabi"]), ["made/", "tier/"]);

    let source = tempfile::tempdir().unwrap();
    let big = noise(1, 40_000_000);
    write(source.path(), "a b+c é.txt", b"hello");
    write(source.path(), "deep/er/file", b"x");
    write(source.path(), "empty", b"");
    write(source.path(), "big", &big);
    let from = source.path().to_str().unwrap();

    mc.ok(&["cp", &format!("{from}/a b+c é.txt"), "wasabi/made/one"]);
    assert_eq!(mc.ok(&["cat", "wasabi/made/one"]), b"hello");
    mc.ok(&["cp", &format!("{from}/big"), "wasabi/made/big"]);
    assert!(server.wasabi().stats().requests["UploadPart"].ok >= 3, "not in parts");
    assert!(mc.ok(&["cat", "wasabi/made/big"]) == big, "the bytes differ");
    assert_eq!(mc.ok(&["cat", "--offset", "39999999", "wasabi/made/big"]), big[39_999_999..]);
    let stat = &mc.rows(&["stat", "wasabi/made/big"])[0];
    assert_eq!(stat["size"], 40_000_000);

    mc.ok(&["mirror", from, "wasabi/made/mirror"]);
    let listed = mc.keys(&["ls", "--recursive", "wasabi/made/mirror"]);
    assert_eq!(listed, ["a b+c é.txt", "big", "deep/er/file", "empty"]);
    std::fs::remove_file(source.path().join("deep/er/file")).unwrap();
    write(source.path(), "a b+c é.txt", b"hello, again");
    write(source.path(), "new", b"n");
    mc.ok(&["mirror", "--overwrite", "--remove", from, "wasabi/made/mirror"]);
    assert_eq!(
        mc.keys(&["ls", "-r", "wasabi/made/mirror"]),
        ["a b+c é.txt", "big", "empty", "new"]
    );
    assert_eq!(mc.ok(&["cat", "wasabi/made/mirror/a b+c é.txt"]), b"hello, again");
    // Nothing is left to do.
    let puts = server.wasabi().stats().requests["PutObject"].count;
    mc.ok(&["mirror", "--overwrite", "--remove", from, "wasabi/made/mirror"]);
    assert_eq!(server.wasabi().stats().requests["PutObject"].count, puts);
    let back = tempfile::tempdir().unwrap();
    mc.ok(&["mirror", "wasabi/made/mirror", back.path().to_str().unwrap()]);
    assert!(std::fs::read(back.path().join("big")).unwrap() == big, "the bytes differ");

    mc.ok(&["mv", "wasabi/made/one", "wasabi/tier/two"]);
    assert_eq!(mc.keys(&["ls", "-r", "wasabi/tier"]), ["two"]);
    mc.ok(&["rm", "wasabi/tier/two"]);
    assert!(!mc.run(&["stat", "wasabi/tier/two"]).status.success());
    mc.ok(&["rm", "--recursive", "--force", "wasabi/made"]);
    assert_eq!(mc.keys(&["ls", "-r", "wasabi/made"]), [""; 0]);
    mc.ok(&["rb", "wasabi/made"]);
    assert_eq!(mc.keys(&["ls", "wasabi"]), ["tier/"]);
    assert_eq!(server.wasabi().stats().not_implemented, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mc_sees_versions_and_brings_one_back() {
    let Some((server, mc)) = start("mc_sees_versions_and_brings_one_back").await else { return };
    mc.ok(&["mb", "--with-versioning", "wasabi/kept"]);
    let info = &mc.rows(&["version", "info", "wasabi/kept"])[0];
    assert_eq!(info["versioning"]["status"], "Enabled");
    let source = tempfile::tempdir().unwrap();
    for text in ["first", "second"] {
        write(source.path(), "k", text.as_bytes());
        mc.ok(&["cp", source.path().join("k").to_str().unwrap(), "wasabi/kept/k"]);
    }
    mc.ok(&["rm", "wasabi/kept/k"]);
    assert!(!mc.run(&["cat", "wasabi/kept/k"]).status.success());

    let versions = mc.rows(&["ls", "--versions", "wasabi/kept"]);
    let markers: Vec<_> = versions.iter().map(|v| v["isDeleteMarker"] == true).collect();
    assert_eq!(markers, [true, false, false], "{versions:?}");
    let first = versions[2]["versionId"].as_str().unwrap();
    assert_eq!(mc.ok(&["cat", "--version-id", first, "wasabi/kept/k"]), b"first");
    mc.ok(&["undo", "--force", "wasabi/kept/k"]);
    assert_eq!(mc.ok(&["cat", "wasabi/kept/k"]), b"second");

    mc.ok(&["rm", "--recursive", "--versions", "--force", "wasabi/kept"]);
    assert_eq!(mc.rows(&["ls", "--versions", "wasabi/kept"]).len(), 0);
    assert_eq!(server.wasabi().stats().not_implemented, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn mc_shares_what_anybody_may_read_who_has_the_address() {
    let test = "mc_shares_what_anybody_may_read_who_has_the_address";
    let Some((server, mc)) = start(test).await else { return };
    server.client().put("/tier/shared", "for you").await.expect(200);
    let shared = &mc.rows(&["share", "download", "--expire", "1h", "wasabi/tier/shared"])[0];
    let url = shared["share"].as_str().unwrap();
    let target = url.strip_prefix(&server.wasabi().s3_url()).unwrap();
    let client = server.client();
    let reply = client.transmit("GET", target, &[], Bytes::new()).await.unwrap().expect(200);
    assert_eq!(reply.text(), "for you");
    let forged = target.replace("shared", "other");
    client
        .transmit("GET", &forged, &[], Bytes::new())
        .await
        .unwrap()
        .expect_code(403, "SignatureDoesNotMatch");
    assert_eq!(server.wasabi().stats().not_implemented, 0);
}
