//! MinIO, the NAS.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cim_fake_wasabi::{Config, Credentials, FakeWasabi};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::Child;
use super::tools::{listens, tool, wait_until};

pub(crate) const USER: &str = "cim-test";
pub(crate) const SECRET: &str = "cim-test-secret";

pub(crate) struct Minio {
    pub(crate) url: String,
    pub(crate) data: PathBuf,
    _child: Child,
}

impl Minio {
    /// With a bucket `archive`.
    pub(crate) async fn start(dir: &Path) -> Self {
        let data = dir.join("nas");
        // On a single drive MinIO's buckets are folders.
        std::fs::create_dir_all(data.join("archive")).unwrap();
        loop {
            // Between asking for a port and MinIO taking it somebody else may: then once more.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let log = std::fs::File::create(dir.join("minio.log")).unwrap();
            let child = Command::new(tool("bin/minio"))
                .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
                .arg(&data)
                .env("MINIO_ROOT_USER", USER)
                .env("MINIO_ROOT_PASSWORD", SECRET)
                .env("MINIO_BROWSER", "off")
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut child = Child(child);
            let started = wait_until("MinIO listens", async || {
                if child.0.try_wait().unwrap().is_some() {
                    return Ok(false);
                }
                if !listens(&child.0, port) {
                    return Err("another process may have taken the port".into());
                }
                // It listens before it can write.
                ready(port).await.map(|()| true).map_err(|error| error.to_string())
            })
            .await;
            if started {
                return Self { url: format!("http://127.0.0.1:{port}"), data, _child: child };
            }
        }
    }

    /// From one moment to the next it is another, empty one at the same address.
    pub(crate) fn replace(&self) {
        for layout in ["v1", "v2"] {
            let gone = self.data.with_file_name(format!("gone-{}", uuid::Uuid::now_v7()));
            let there = self.data.join("archive").join(layout);
            if there.exists() {
                std::fs::rename(there, gone).unwrap();
            }
        }
    }

    /// Every file of the bucket whose path contains `part`: MinIO keeps an object as a folder.
    pub(crate) fn files(&self, part: &str) -> Vec<PathBuf> {
        let mut folders = vec![self.data.join("archive")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            // What is being collected may go while it is looked at.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.to_string_lossy().contains(part) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// An S3 service that can be told to fail, with a bucket `archive`.
pub(crate) async fn fake_s3(dir: &Path, name: &str) -> FakeWasabi {
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, SECRET)],
        ..Config::new(dir.join(name))
    };
    FakeWasabi::start(config).await.unwrap()
}

/// Asks MinIO whether it is ready.
async fn ready(port: u16) -> std::io::Result<()> {
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    socket
        .write_all(
            b"GET /minio/health/cluster HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default();
    if status.contains(" 200 ") { Ok(()) } else { Err(std::io::Error::other(status.to_owned())) }
}

pub(crate) fn credentials_file(dir: &Path, name: &str, user: &str, secret: &str) -> PathBuf {
    let path = dir.join(name);
    let text = format!("AWS_ACCESS_KEY_ID={user}\nAWS_SECRET_ACCESS_KEY={secret}\n");
    std::fs::write(&path, text).unwrap();
    path
}
