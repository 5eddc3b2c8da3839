//! rclone, a client that this project did not write.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cim_fake_wasabi::Config;
use cim_testing::optional_tool;

use crate::support::{Server, noise};

struct Rclone {
    program: PathBuf,
    endpoint: String,
    home: tempfile::TempDir,
}

impl Rclone {
    /// Runs rclone with a remote `wasabi:` and an empty environment.
    fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .args(args)
            .args(["--s3-chunk-size", "5Mi", "--s3-upload-cutoff", "5Mi", "--retries", "1"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("RCLONE_CONFIG", self.home.path().join("rclone.conf"))
            .env("RCLONE_CONFIG_WASABI_TYPE", "s3")
            // Not `Wasabi`: with that, old versions insist on host names for buckets.
            .env("RCLONE_CONFIG_WASABI_PROVIDER", "Other")
            .env("RCLONE_CONFIG_WASABI_ENDPOINT", &self.endpoint)
            .env("RCLONE_CONFIG_WASABI_ACCESS_KEY_ID", Config::TEST_ACCESS_KEY)
            .env("RCLONE_CONFIG_WASABI_SECRET_ACCESS_KEY", Config::TEST_SECRET_KEY)
            .output()
            .unwrap()
    }

    /// Runs it, expects success, and returns its stdout.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rclone {args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn write(dir: &Path, name: &str, content: &[u8]) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_lists_writes_reads_and_syncs() {
    let Some(program) = optional_tool("bin/rclone", "rclone_lists_writes_reads_and_syncs") else {
        return;
    };
    let server = Server::start().await;
    let endpoint = server.wasabi().s3_url();
    let rclone = Rclone { program, endpoint, home: tempfile::tempdir().unwrap() };
    let source = tempfile::tempdir().unwrap();
    let big = noise(1, 17_000_000);
    write(source.path(), "a b+c é.txt", b"hello");
    write(source.path(), "deep/er/file", b"x");
    write(source.path(), "empty", b"");
    write(source.path(), "big", &big);
    let from = source.path().to_str().unwrap();

    rclone.ok(&["copy", from, "wasabi:tier/copy"]);
    assert!(server.wasabi().stats().requests["UploadPart"].ok >= 4, "not in parts");
    let listed = rclone.ok(&["lsf", "-R", "--files-only", "wasabi:tier/copy"]);
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["a b+c é.txt", "big", "deep/er/file", "empty"]);
    assert_eq!(rclone.ok(&["lsf", "wasabi:tier/copy/deep"]), "er/\n");
    assert_eq!(rclone.ok(&["cat", "wasabi:tier/copy/a b+c é.txt"]), "hello");
    assert_eq!(
        rclone.ok(&["cat", "--offset", "1", "--count", "3", "wasabi:tier/copy/a b+c é.txt"]),
        "ell"
    );
    rclone.ok(&["check", "--download", from, "wasabi:tier/copy"]);

    // A sync makes the other side equal, deletions included, and back again.
    std::fs::remove_file(source.path().join("deep/er/file")).unwrap();
    write(source.path(), "a b+c é.txt", b"hello, again");
    write(source.path(), "new", b"n");
    rclone.ok(&["sync", from, "wasabi:tier/copy"]);
    rclone.ok(&["check", "--download", from, "wasabi:tier/copy"]);
    let target = tempfile::tempdir().unwrap();
    rclone.ok(&["sync", "wasabi:tier/copy", target.path().to_str().unwrap()]);
    assert!(std::fs::read(target.path().join("big")).unwrap() == big, "the bytes differ");
    assert!(!target.path().join("deep").exists());
    // The times came through metadata, so a second sync copies nothing.
    let before = server.wasabi().stats().requests["PutObject"].count;
    rclone.ok(&["sync", from, "wasabi:tier/copy"]);
    assert_eq!(server.wasabi().stats().requests["PutObject"].count, before);

    // A corrupted object is found.
    server.client().put("/tier/copy/new", "m").await.expect(200);
    assert!(!rclone.run(&["check", "--download", from, "wasabi:tier/copy"]).status.success());

    rclone.ok(&["mkdir", "wasabi:another-bucket"]);
    rclone.ok(&["copyto", "wasabi:tier/copy/big", "wasabi:another-bucket/big"]);
    assert_eq!(rclone.ok(&["lsf", "wasabi:"]), "another-bucket/\ntier/\n");
    rclone.ok(&["purge", "wasabi:another-bucket"]);
    assert_eq!(rclone.ok(&["lsf", "wasabi:"]), "tier/\n");
    assert_eq!(server.wasabi().stats().not_implemented, 0);
}
