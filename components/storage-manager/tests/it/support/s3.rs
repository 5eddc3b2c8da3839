//! MinIO, the NAS.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
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
    port: u16,
    child: Child,
}

/// A house's own authority, which no system knows.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: rcgen::Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Writes a certificate for 127.0.0.1 and its key, as MinIO looks for them.
    fn sign(&self, dir: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("public.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.join("private.key"), key.serialize_pem()).unwrap();
    }
}

impl Minio {
    /// With a bucket `archive`.
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_at(dir, 0, None).await
    }

    /// The same, with a certificate.
    pub(crate) async fn start_secure(dir: &Path, authority: &Authority) -> Self {
        Self::start_at(dir, 0, Some(authority)).await
    }

    /// Killed and started again with a certificate of this authority.
    pub(crate) async fn again(mut self, authority: &Authority) -> Self {
        drop(self.child.0.kill());
        drop(self.child.0.wait());
        Self::start_at(self.data.parent().unwrap(), self.port, Some(authority)).await
    }

    async fn start_at(dir: &Path, port: u16, authority: Option<&Authority>) -> Self {
        let data = dir.join("nas");
        // On a single drive MinIO's buckets are folders.
        std::fs::create_dir_all(data.join("archive")).unwrap();
        let certificates = dir.join("certificates");
        if let Some(authority) = authority {
            authority.sign(&certificates);
        }
        loop {
            // Between asking for a port and MinIO taking it somebody else may: then once more.
            let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let port = if port == 0 { free() } else { port };
            let log = std::fs::File::create(dir.join("minio.log")).unwrap();
            let child = Command::new(tool("bin/minio"))
                .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
                .arg("--certs-dir")
                .arg(&certificates)
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
                let is_ready = async {
                    if authority.is_some() {
                        // What it says is encrypted.
                        return tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map(drop);
                    }
                    // It listens before it can write.
                    ready(port).await
                };
                is_ready.await.map(|()| true).map_err(|error| error.to_string())
            })
            .await;
            if started {
                let scheme = if authority.is_some() { "https" } else { "http" };
                return Self { url: format!("{scheme}://127.0.0.1:{port}"), data, port, child };
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
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}
